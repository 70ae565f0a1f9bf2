"""Names and shapes of the weights of the published networks, at any width, by their authors' names."""

from __future__ import annotations

from collections.abc import Iterator

import torch

Shapes = dict[str, list[int]]

UNET_LEVELS = (1, 2, 2, 4, 4)
AUTOENCODER_LEVELS = (1, 2, 4, 4)


def ldm_unet_shapes(channels: int = 192, in_channels: int = 8) -> Shapes:
    """U-Net of LDM's lsun_churches256, of LEAF and of SDSeg: attention at all levels but the deepest."""
    return dict(_ldm_unet(channels, in_channels))


def _ldm_unet(channels: int, in_channels: int) -> Iterator[tuple[str, list[int]]]:
    embedding = 4 * channels
    yield from _affine("time_embed.0", [embedding, channels])
    yield from _affine("time_embed.2", [embedding, embedding])
    yield from _affine("input_blocks.0.0", [channels, in_channels, 3, 3])
    skips, width, block, last = [channels], channels, 1, len(UNET_LEVELS) - 1
    for level, factor in enumerate(UNET_LEVELS):
        for _ in range(2):
            yield from _unet_resnet(f"input_blocks.{block}.0", width, factor * channels, embedding)
            width = factor * channels
            if level < last:
                yield from _unet_attention(f"input_blocks.{block}.1", width)
            skips.append(width)
            block += 1
        if level < last:
            yield from _unet_resnet(f"input_blocks.{block}.0", width, width, embedding)
            skips.append(width)
            block += 1
    yield from _unet_resnet("middle_block.0", width, width, embedding)
    yield from _unet_attention("middle_block.1", width)
    yield from _unet_resnet("middle_block.2", width, width, embedding)
    block = 0
    for level in range(last, -1, -1):
        for index in range(3):
            yield from _unet_resnet(
                f"output_blocks.{block}.0", width + skips.pop(), UNET_LEVELS[level] * channels, embedding
            )
            width = UNET_LEVELS[level] * channels
            if level < last:
                yield from _unet_attention(f"output_blocks.{block}.1", width)
            if index == 2 and level > 0:
                yield from _unet_resnet(f"output_blocks.{block}.{1 + (level < last)}", width, width, embedding)
            block += 1
    yield from _norm("out.0", width)
    yield from _affine("out.2", [4, width, 3, 3])


def ldm_autoencoder_shapes(channels: int = 128) -> Shapes:
    """LDM's kl-f8."""
    return dict(_ldm_encoder(channels)) | dict(_ldm_decoder(channels))


def ldm_encoder_shapes(channels: int = 128) -> Shapes:
    """The encoder part with ``quant_conv``: LEAF's image encoder."""
    return dict(_ldm_encoder(channels))


def _ldm_encoder(channels: int) -> Iterator[tuple[str, list[int]]]:
    yield from _affine("encoder.conv_in", [channels, 3, 3, 3])
    width, last = channels, len(AUTOENCODER_LEVELS) - 1
    for level, factor in enumerate(AUTOENCODER_LEVELS):
        for index in range(2):
            yield from _resnet(f"encoder.down.{level}.block.{index}", width, factor * channels)
            width = factor * channels
        if level < last:
            yield from _affine(f"encoder.down.{level}.downsample.conv", [width, width, 3, 3])
    yield from _middle("encoder", width)
    yield from _norm("encoder.norm_out", width)
    yield from _affine("encoder.conv_out", [8, width, 3, 3])
    yield from _affine("quant_conv", [8, 8, 1, 1])


def _ldm_decoder(channels: int) -> Iterator[tuple[str, list[int]]]:
    width = AUTOENCODER_LEVELS[-1] * channels
    yield from _affine("post_quant_conv", [4, 4, 1, 1])
    yield from _affine("decoder.conv_in", [width, 4, 3, 3])
    yield from _middle("decoder", width)
    for level in reversed(range(len(AUTOENCODER_LEVELS))):
        for index in range(3):
            yield from _resnet(f"decoder.up.{level}.block.{index}", width, AUTOENCODER_LEVELS[level] * channels)
            width = AUTOENCODER_LEVELS[level] * channels
        if level > 0:
            yield from _affine(f"decoder.up.{level}.upsample.conv", [width, width, 3, 3])
    yield from _norm("decoder.norm_out", width)
    yield from _affine("decoder.conv_out", [3, width, 3, 3])


def sdseg_shapes(unet_channels: int = 192, autoencoder_channels: int = 128) -> Shapes:
    """A whole SDSeg checkpoint but for the constants of its schedule, :func:`sdseg_constants`."""
    unet = {f"diffusion_model.{name}": shape for name, shape in ldm_unet_shapes(unet_channels).items()}
    vision_encoder = dict(_ldm_encoder(autoencoder_channels)) | {"out.weight": [4, 8, 1, 1], "out.bias": [4]}
    del vision_encoder["quant_conv.weight"], vision_encoder["quant_conv.bias"]
    return {
        **{f"model.{name}": shape for name, shape in unet.items()},
        **{f"model_ema.{name.replace('.', '')}": shape for name, shape in unet.items()},
        **{f"first_stage_model.{name}": shape for name, shape in ldm_autoencoder_shapes(autoencoder_channels).items()},
        **{f"cond_stage_model.{name}": shape for name, shape in vision_encoder.items()},
    }


def sdseg_constants(scale_factor: float) -> dict[str, torch.Tensor]:
    """Schedule buffers and scalars of a SDSeg checkpoint, with their true values."""
    betas = torch.linspace(0.0015**0.5, 0.0155**0.5, 1000, dtype=torch.float64) ** 2
    cumulative = (1 - betas).cumprod(0)
    previous = torch.cat([torch.ones(1, dtype=torch.float64), cumulative[:-1]])
    variance = betas * (1 - previous) / (1 - cumulative)
    buffers = {
        "betas": betas,
        "alphas_cumprod": cumulative,
        "alphas_cumprod_prev": previous,
        "sqrt_alphas_cumprod": cumulative.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - cumulative).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - cumulative).log(),
        "sqrt_recip_alphas_cumprod": (1 / cumulative).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / cumulative - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * previous.sqrt() / (1 - cumulative),
        "posterior_mean_coef2": (1 - previous) * (1 - betas).sqrt() / (1 - cumulative),
        "scale_factor": torch.tensor(scale_factor),
        "model_ema.decay": torch.tensor(0.9999),
    }
    return {name: value.float() for name, value in buffers.items()} | {
        "model_ema.num_updates": torch.tensor(0, dtype=torch.int32)
    }


def _affine(name: str, shape: list[int]) -> Iterator[tuple[str, list[int]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _norm(name: str, width: int) -> Iterator[tuple[str, list[int]]]:
    yield from _affine(name, [width])


def _unet_resnet(name: str, width_in: int, width_out: int, embedding: int) -> Iterator[tuple[str, list[int]]]:
    yield from _norm(f"{name}.in_layers.0", width_in)
    yield from _affine(f"{name}.in_layers.2", [width_out, width_in, 3, 3])
    yield from _affine(f"{name}.emb_layers.1", [2 * width_out, embedding])
    yield from _norm(f"{name}.out_layers.0", width_out)
    yield from _affine(f"{name}.out_layers.3", [width_out, width_out, 3, 3])
    if width_in != width_out:
        yield from _affine(f"{name}.skip_connection", [width_out, width_in, 1, 1])


def _unet_attention(name: str, width: int) -> Iterator[tuple[str, list[int]]]:
    yield from _norm(f"{name}.norm", width)
    yield from _affine(f"{name}.qkv", [3 * width, width, 1])
    yield from _affine(f"{name}.proj_out", [width, width, 1])


def _resnet(name: str, width_in: int, width_out: int) -> Iterator[tuple[str, list[int]]]:
    yield from _norm(f"{name}.norm1", width_in)
    yield from _affine(f"{name}.conv1", [width_out, width_in, 3, 3])
    yield from _norm(f"{name}.norm2", width_out)
    yield from _affine(f"{name}.conv2", [width_out, width_out, 3, 3])
    if width_in != width_out:
        yield from _affine(f"{name}.nin_shortcut", [width_out, width_in, 1, 1])


def _middle(part: str, width: int) -> Iterator[tuple[str, list[int]]]:
    yield from _resnet(f"{part}.mid.block_1", width, width)
    yield from _norm(f"{part}.mid.attn_1.norm", width)
    for name in ("q", "k", "v", "proj_out"):
        yield from _affine(f"{part}.mid.attn_1.{name}", [width, width, 1, 1])
    yield from _resnet(f"{part}.mid.block_2", width, width)
