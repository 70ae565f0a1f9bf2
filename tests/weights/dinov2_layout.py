"""The layout of the files of DINOv2's authors."""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]

S, B, L, G = (
    {"embed_dim": 384, "depth": 12},
    {"embed_dim": 768, "depth": 12},
    {"embed_dim": 1024, "depth": 24},
    {"embed_dim": 1536, "depth": 40, "swiglu": True},
)


def dinov2_layout(
    embed_dim: int,
    depth: int,
    num_register_tokens: int = 0,
    img_size: int = 518,
    patch_size: int = 14,
    swiglu: bool = False,
) -> Shapes:
    """Keys and shapes of a DINOv2; the MLP has four times the width, SwiGLU two thirds of that, twice."""
    width, hidden = embed_dim, 4 * embed_dim
    if swiglu:
        hidden = (hidden * 2 // 3 + 7) // 8 * 8
        mlp = {"w12": (2 * hidden, width), "w3": (width, hidden)}
    else:
        mlp = {"fc1": (hidden, width), "fc2": (width, hidden)}
    linear = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    linear |= {f"mlp.{name}": shape for name, shape in mlp.items()}
    shapes: Shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 1 + (img_size // patch_size) ** 2, width)}
    if num_register_tokens:
        shapes["register_tokens"] = (1, num_register_tokens, width)
    shapes["mask_token"] = (1, width)
    shapes["patch_embed.proj.weight"] = (width, 3, patch_size, patch_size)
    shapes["patch_embed.proj.bias"] = (width,)
    for i in range(depth):
        shapes |= {f"blocks.{i}.norm{n}.{kind}": (width,) for n in (1, 2) for kind in ("weight", "bias")}
        shapes |= {f"blocks.{i}.{name}.weight": shape for name, shape in linear.items()}
        shapes |= {f"blocks.{i}.{name}.bias": shape[:1] for name, shape in linear.items()}
        shapes |= {f"blocks.{i}.ls{n}.gamma": (width,) for n in (1, 2)}
    return shapes | {"norm.weight": (width,), "norm.bias": (width,)}
