from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from leaf_seg.errors import InputError
from leaf_seg.weights.dinov2 import dinov2_from_original, is_original_dinov2
from tests.weights.dinov2_layout import B, G, L, S, dinov2_layout
from tests.weights.published_rule import assert_record, rule_input, rule_state

SMALL: dict[str, Any] = {"embed_dim": 64, "depth": 2, "img_size": 56}

# Outputs of the original modules, in fp64, on weights and inputs by the published rule.
# fmt: off
REGISTERS_224 = {
    "x_norm_clstoken": {
        "shape": [1, 384], "mean": -0.00173592471287, "std": 1.00617671024, "absmax": 2.99087429729,
        "index": [0, 47, 70, 93, 116, 139, 162, 185, 208, 231, 254, 277, 300, 323, 346, 369],
        "value": [
            2.32234307876, -0.194451350846, -0.180130009163, -1.5049623115, 0.533368639249, -0.99819031942,
            -2.00118010189, 0.19794157472, 0.125890552871, -0.465491349723, -0.942781406101, -0.944379330104,
            0.928656467826, -0.772616635389, 0.299088440455, 0.42680458189
        ],
    },
    "x_norm_regtokens": {
        "shape": [1, 4, 384], "mean": -0.00512341605268, "std": 1.01567129477, "absmax": 4.50368484264,
        "index": [0, 143, 286, 333, 476, 523, 666, 713, 856, 903, 1046, 1093, 1236, 1283, 1426, 1473],
        "value": [
            2.09382051104, 0.24577964917, -1.35367997141, 1.66506077096, 0.363248470944, -0.752301762039,
            -0.519793823898, 0.621770043402, 0.405951033952, 1.64623965118, -0.597060640373, 1.52054215492,
            1.08140070828, -1.39498609319, 0.0248996899102, -0.141787746536
        ],
    },
    "x_norm_patchtokens": {
        "shape": [1, 256, 384], "mean": -0.00238261975519, "std": 1.01250777614, "absmax": 4.86227878428,
        "index": [
            0, 7919, 15838, 23757, 25532, 33451, 41370, 43145, 51064, 58983, 66902, 68677, 76596, 84515, 86290, 94209
        ],
        "value": [
            0.451637296959, 0.189280912565, 1.141155782, 0.614976761685, -0.791520953768, -0.468011340112,
            1.66061557154, -0.232412805808, -1.90562600454, -2.96882034431, 0.322762418815, -0.568571006179,
            0.0208744993825, 0.323719708579, -1.46710984521, 0.621212370884
        ],
    },
}
REGISTERS_518 = {
    "x_norm_clstoken": {
        "shape": [1, 384], "mean": -0.00294616272964, "std": 1.00513431093, "absmax": 3.03053120095,
        "index": [0, 47, 70, 93, 116, 139, 162, 185, 208, 231, 254, 277, 300, 323, 346, 369],
        "value": [
            2.13376812539, -0.184218285508, 0.0153677350386, -1.38940425329, 0.427740847618, -0.791288246885,
            -1.99461787649, 0.285806706996, 0.196378225746, -0.36953463316, -0.83505582351, -0.921556281119,
            0.757646289619, -0.812095229901, 0.337137181633, 0.533666917877
        ],
    },
    "x_norm_regtokens": {
        "shape": [1, 4, 384], "mean": -0.00514433599708, "std": 1.01662132599, "absmax": 4.31508570636,
        "index": [0, 143, 286, 333, 476, 523, 666, 713, 856, 903, 1046, 1093, 1236, 1283, 1426, 1473],
        "value": [
            1.95051506724, 0.183186981165, -1.29275345176, 1.51150992531, 0.307363947116, -0.368367922404,
            -0.391308752589, 0.706141110637, 0.18656542211, 1.28090370324, -0.813849926561, 2.07626873309,
            1.10148394169, -1.1193051882, -0.0639831820855, -0.49043983946
        ],
    },
    "x_norm_patchtokens": {
        "shape": [1, 1369, 384], "mean": -0.00204821560295, "std": 1.01288211081, "absmax": 5.30957277999,
        "index": [
            0, 40775, 81550, 122325, 163100, 171019, 211794, 252569, 293344, 301263, 342038, 382813, 423588, 431507,
            472282, 513057
        ],
        "value": [
            0.177483567574, -0.385019446079, 1.30230208515, -1.07996047345, -0.951666671352, 1.07671459609,
            0.658588701025, 0.209179058312, -0.63868861638, -0.303480382744, 0.0691714940287, 0.334922350496,
            -3.59303482835, 0.0857924819481, -0.938382820365, -0.910171878975
        ],
    },
}
PLAIN_518 = {
    "x_norm_clstoken": {
        "shape": [1, 384], "mean": -0.00294573284533, "std": 1.00520936986, "absmax": 3.02782054143,
        "index": [0, 47, 70, 93, 116, 139, 162, 185, 208, 231, 254, 277, 300, 323, 346, 369],
        "value": [
            2.13144552997, -0.188396675279, 0.0216216789874, -1.38835195111, 0.430421543309, -0.788568289208,
            -1.99714224583, 0.280871043959, 0.195453979075, -0.37344427763, -0.835672712587, -0.923891618701,
            0.758635277186, -0.807207300302, 0.342994986926, 0.53827198222
        ],
    },
    "x_norm_patchtokens": {
        "shape": [1, 1369, 384], "mean": -0.00204124616022, "std": 1.01289510439, "absmax": 5.30760938921,
        "index": [
            0, 40775, 81550, 122325, 163100, 171019, 211794, 252569, 293344, 301263, 342038, 382813, 423588, 431507,
            472282, 513057
        ],
        "value": [
            0.173000903154, -0.383669060008, 1.303715988, -1.0800085834, -0.951879430683, 1.081252611, 0.657781687223,
            0.208089921007, -0.635544083573, -0.302649953044, 0.070922193422, 0.336344214135, -3.59237953752,
            0.0755277516059, -0.937140133832, -0.909873280817
        ],
    },
}
# fmt: on


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
    ("num_registers", "name", "size", "records"),
    [
        (4, "input:x", 224, REGISTERS_224),
        (4, "input:x518", 518, REGISTERS_518),
        (0, "input:x518", 518, PLAIN_518),
    ],
)
def test_outputs_are_the_recorded_ones(
    num_registers: int, name: str, size: int, records: dict[str, dict[str, Any]]
) -> None:
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
    for output, record in records.items():
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
