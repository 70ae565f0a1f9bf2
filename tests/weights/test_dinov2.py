from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.dinov2 import dinov2_from_original, is_original_dinov2
from tests.weights.dinov2_layout import B, G, L, S, dinov2_layout
from tests.weights.published_rule import assert_record, rule_input, rule_state

SMALL: dict[str, Any] = {"embed_dim": 64, "depth": 2, "img_size": 56}


def empty_state(**sizes: Any) -> dict[str, torch.Tensor]:
    """A layout without values and memory."""
    return {key: torch.empty(shape, device="meta") for key, shape in dinov2_layout(**sizes).items()}


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("dinov2_vits14", S),
        ("dinov2_vits14_reg", S | {"num_register_tokens": 4}),
        ("dinov2_vitb14", B),
        ("dinov2_vitb14_reg", B | {"num_register_tokens": 4}),
    ],
)
def test_layout_is_the_recorded_one(name: str, sizes: dict[str, Any], shared_layouts: Path) -> None:
    recorded = json.loads((shared_layouts / "dinov2_hub.json").read_text())["keys"][name]
    assert {key: list(shape) for key, shape in dinov2_layout(**sizes).items()} == recorded


@pytest.mark.parametrize(
    ("sizes", "num_registers", "num_heads", "num_parameters"),
    [
        (S, 0, 6, 22_056_576),
        (S, 4, 6, 22_058_112),
        (B, 0, 12, 86_580_480),
        (B, 4, 12, 86_583_552),
        (L, 4, 16, None),
        (G, 0, 24, None),
        (G, 4, 24, None),
    ],
)
def test_published_sizes(sizes: dict[str, Any], num_registers: int, num_heads: int, num_parameters: int | None) -> None:
    state = empty_state(**sizes, num_register_tokens=num_registers)
    model = dinov2_from_original(state)
    assert type(model) is (Dinov2WithRegistersModel if num_registers else Dinov2Model)
    expected = {
        "hidden_size": sizes["embed_dim"],
        "num_hidden_layers": sizes["depth"],
        "num_attention_heads": num_heads,
        "mlp_ratio": 4,
        "use_swiglu_ffn": "swiglu" in sizes,
        "patch_size": 14,
        "image_size": 518,
        "layer_norm_eps": 1e-6,
        "hidden_act": "gelu",
    }
    assert {key: getattr(model.config, key) for key in expected} == expected
    assert getattr(model.config, "num_register_tokens", 0) == num_registers
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == sum(tensor.numel() for tensor in state.values())
    if num_parameters is not None:
        assert count == num_parameters


@pytest.mark.parametrize(
    ("num_registers", "name", "size"), [(4, "input:x", 224), (4, "input:x518", 518), (0, "input:x518", 518)]
)
def test_outputs_are_the_recorded_ones(num_registers: int, name: str, size: int, records: dict[str, Any]) -> None:
    state = rule_state(dinov2_layout(384, 2, num_registers))
    model = dinov2_from_original({key: tensor.double() for key, tensor in state.items()})
    with torch.no_grad():
        tokens = model(pixel_values=rule_input(name, (1, 3, size, size)).double()).last_hidden_state
    assert tokens.dtype == torch.float64
    outputs = {
        "x_norm_clstoken": tokens[:, 0],
        "x_norm_regtokens": tokens[:, 1 : 1 + num_registers],
        "x_norm_patchtokens": tokens[:, 1 + num_registers :],
    }
    for output, record in records[f"dinov2_{num_registers}_registers_{size}"].items():
        assert_record(outputs[output], record, atol=1e-11)


@pytest.mark.parametrize("num_registers", [0, 3])
def test_swiglu(num_registers: int, tmp_path: Path) -> None:
    """The published transformers layout of the giant, renamed by hand to the original one."""
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "image_size": 56, "patch_size": 14}
    if num_registers:
        config = Dinov2WithRegistersConfig(**sizes, use_swiglu_ffn=True, num_register_tokens=num_registers)
        expected = Dinov2WithRegistersModel(config).eval()
    else:
        expected = Dinov2Model(Dinov2Config(**sizes, use_swiglu_ffn=True)).eval()
    for parameter in expected.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    expected.save_pretrained(tmp_path)
    state = original_names(load_file(tmp_path / "model.safetensors"))
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == dinov2_layout(
        64, 2, num_registers, img_size=56, swiglu=True
    )

    model = dinov2_from_original(state)

    image = torch.randn(2, 3, 56, 56)
    hidden = torch.randn(2, 5, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            model(pixel_values=image).last_hidden_state, expected(pixel_values=image).last_hidden_state
        )
        gate, value = functional.linear(hidden, state["blocks.1.mlp.w12.weight"], state["blocks.1.mlp.w12.bias"]).chunk(
            2, dim=-1
        )
        by_hand = functional.linear(
            functional.silu(gate) * value, state["blocks.1.mlp.w3.weight"], state["blocks.1.mlp.w3.bias"]
        )
        torch.testing.assert_close(model.encoder.layer[1].mlp(hidden), by_hand)


def original_names(saved: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names and tensors of the authors, of a model with SwiGLU that transformers has saved."""
    state = {key: saved[f"embeddings.{key}"] for key in ("cls_token", "mask_token")}
    if "embeddings.register_tokens" in saved:
        state["register_tokens"] = saved["embeddings.register_tokens"]
    state["pos_embed"] = saved["embeddings.position_embeddings"]
    for kind in ("weight", "bias"):
        state[f"patch_embed.proj.{kind}"] = saved[f"embeddings.patch_embeddings.projection.{kind}"]
        state[f"norm.{kind}"] = saved[f"layernorm.{kind}"]
        for i in range(2):
            old, new = f"encoder.layer.{i}", f"blocks.{i}"
            qkv = [saved[f"{old}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            state[f"{new}.attn.qkv.{kind}"] = torch.cat(qkv)
            state[f"{new}.attn.proj.{kind}"] = saved[f"{old}.attention.output.dense.{kind}"]
            state[f"{new}.mlp.w12.{kind}"] = saved[f"{old}.mlp.weights_in.{kind}"]
            state[f"{new}.mlp.w3.{kind}"] = saved[f"{old}.mlp.weights_out.{kind}"]
            for n in (1, 2):
                state[f"{new}.norm{n}.{kind}"] = saved[f"{old}.norm{n}.{kind}"]
                state[f"{new}.ls{n}.gamma"] = saved[f"{old}.layer_scale{n}.lambda1"]
    return state


def test_nothing_is_left_to_chance_and_memory_is_shared() -> None:
    state = rule_state(dinov2_layout(**SMALL))
    model = dinov2_from_original(state)
    assert not model.training
    pointers = {tensor.untyped_storage().data_ptr() for tensor in state.values()}
    tensors = [*model.parameters(), *model.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert {tensor.untyped_storage().data_ptr() for tensor in tensors} == pointers
    torch.testing.assert_close(model.encoder.layer[1].layer_scale2.lambda1, state["blocks.1.ls2.gamma"])


def test_recognised_by_its_keys() -> None:
    keys = dinov2_layout(**SMALL)
    assert is_original_dinov2(keys)
    assert not is_original_dinov2(Dinov2Model(Dinov2Config(num_hidden_layers=1)).state_dict())
    assert not is_original_dinov2([key.replace("blocks.0.", "blocks.0.0.") for key in keys])  # in chunks


def test_all_that_does_not_fit_is_in_one_error() -> None:
    state = empty_state(**SMALL, num_register_tokens=4)
    for key in ("norm.bias", "blocks.1.attn.proj.bias"):
        del state[key]
    state["head.weight"] = torch.empty(10, 64)
    state["blocks.0.attn.qkv.bias"] = torch.empty(190)
    state["blocks.1.mlp.fc2.weight"] = torch.empty(64, 250)
    with pytest.raises(InputError) as caught:
        dinov2_from_original(state)
    for part in (
        "DINOv2 in its authors' layout (2 layers of width 64, 4 registers)",
        "2 missing: blocks.1.attn.proj.bias, norm.bias.",
        "1 unexpected: head.weight.",
        "blocks.0.attn.qkv.bias (found (190,)",
        "blocks.1.mlp.fc2.weight (found (64, 250), expected (64, 256))",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("key", sorted(set(dinov2_layout(**SMALL)) - {"pos_embed"}))
def test_each_key_is_needed(key: str) -> None:
    state = empty_state(**SMALL, num_register_tokens=4)
    del state[key]
    with pytest.raises(InputError, match=rf"1 missing: {key}\."):
        dinov2_from_original(state)


@pytest.mark.parametrize("shape", [(1, 17, 24), (17, 64), (1, 17, 0)])
def test_pos_embed_that_no_dinov2_has(shape: tuple[int, ...]) -> None:
    state = empty_state(**SMALL) | {"pos_embed": torch.empty(shape)}
    with pytest.raises(InputError, match="width a multiple of 64"):
        dinov2_from_original(state)


def test_positions_that_are_no_square() -> None:
    state = empty_state(**SMALL) | {"pos_embed": torch.empty(1, 20, 64)}
    with pytest.raises(InputError, match=r"of another shape: pos_embed \(found \(1, 20, 64\)"):
        dinov2_from_original(state)
