"""DINOv2 from a file in its authors' layout, and its position embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPVisionModel

from leaf_seg.distillation import Teacher, load_teacher
from leaf_seg.distillation.teacher import resample_positions
from leaf_seg.errors import InputError
from leaf_seg.weights.dinov2 import dinov2_from_original
from tests.weights.dinov2_layout import dinov2_layout
from tests.weights.published_rule import assert_record, rule_input, rule_state

# Outputs of the original modules, in fp64, with positions resampled as the published code of LEAF does, on weights and
# inputs by the published rule.
# fmt: off
REGISTERS = {
    "pos_embed_resampled": {
        "shape": [1, 257, 384], "mean": 2.24175739106e-05, "std": 0.180303716745, "absmax": 1.46305918694,
        "index": [
            0, 7919, 15838, 23757, 25508, 33427, 41346, 49265, 51016, 58935, 66854, 68605, 76524, 84443, 92362, 94113
        ],
        "value": [
            0.802079081535, 0.0384494438767, 0.077803298831, 0.110923625529, -0.203489154577, 0.152253255248,
            0.250904887915, -0.0937556028366, -0.0538140647113, 0.248826369643, 0.119323708117, 0.20171430707,
            0.186612665653, -0.117632173002, 0.0752234011889, 0.0833693817258
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
PLAIN = {
    "pos_embed_resampled": {
        "shape": [1, 257, 384], "mean": 2.24175739106e-05, "std": 0.180303716745, "absmax": 1.46305918694,
        "index": [
            0, 7919, 15838, 23757, 25508, 33427, 41346, 49265, 51016, 58935, 66854, 68605, 76524, 84443, 92362, 94113
        ],
        "value": [
            0.802079081535, 0.0384494438767, 0.077803298831, 0.110923625529, -0.203489154577, 0.152253255248,
            0.250904887915, -0.0937556028366, -0.0538140647113, 0.248826369643, 0.119323708117, 0.20171430707,
            0.186612665653, -0.117632173002, 0.0752234011889, 0.0833693817258
        ],
    },
    "x_norm_patchtokens": {
        "shape": [1, 256, 384], "mean": -0.00234676534687, "std": 1.01260870984, "absmax": 4.86038584018,
        "index": [
            0, 7919, 15838, 23757, 25532, 33451, 41370, 43145, 51064, 58983, 66902, 68677, 76596, 84515, 86290, 94209
        ],
        "value": [
            0.436455636561, 0.193749969439, 1.11967633697, 0.612317685133, -0.7878531362, -0.465903182846,
            1.65799454043, -0.216039839344, -1.90356921169, -2.97548172908, 0.330094601537, -0.561195418754,
            0.0214712454519, 0.324345186747, -1.46620319515, 0.609119502985
        ],
    },
}
# fmt: on
RECORDS = pytest.mark.parametrize(("num_registers", "records"), [(0, PLAIN), (4, REGISTERS)])


def small_state(num_registers: int = 0) -> dict[str, torch.Tensor]:
    return rule_state(dinov2_layout(64, 2, num_registers, img_size=70))


@RECORDS
def test_resampled_positions_give_the_recorded_tokens(num_registers: int, records: dict[str, dict[str, Any]]) -> None:
    state = rule_state(dinov2_layout(384, 2, num_registers))
    model = dinov2_from_original({key: tensor.double() for key, tensor in state.items()})

    resample_positions(model, 224)

    assert model.config.image_size == 224
    assert_record(model.embeddings.position_embeddings, records["pos_embed_resampled"], atol=1e-11)
    with torch.no_grad():
        tokens = model(pixel_values=rule_input("input:x", (1, 3, 224, 224)).double()).last_hidden_state
    assert_record(tokens[:, 1 + num_registers :], records["x_norm_patchtokens"], atol=1e-11)


@RECORDS
def test_teacher_gives_the_recorded_tokens(num_registers: int, records: dict[str, dict[str, Any]]) -> None:
    """The recorded input is no image in [0, 1]; a mean and std are chosen that turn such an image into it."""
    pixels = rule_input("input:x", (1, 3, 224, 224))
    low, span = pixels.min(), pixels.max() - pixels.min()
    mean, std = [(-low / span).item()] * 3, [(1 / span).item()] * 3
    teacher = Teacher(dinov2_from_original(rule_state(dinov2_layout(384, 2, num_registers))), mean, std)
    assert_record(teacher((pixels - low) / span), records["x_norm_patchtokens"], atol=2e-5)


def test_positions_of_the_same_grid_stay() -> None:
    model = dinov2_from_original(small_state())
    positions = model.embeddings.position_embeddings
    resample_positions(model, 70)
    assert model.embeddings.position_embeddings is positions


def test_clip_keeps_its_positions(teacher_folders: dict[str, Path]) -> None:
    teacher = load_teacher(teacher_folders["clip_vision_model"])
    saved = CLIPVisionModel.from_pretrained(teacher_folders["clip_vision_model"])
    for (name, found), (_, expected) in zip(
        teacher.model.state_dict().items(), saved.state_dict().items(), strict=True
    ):
        assert torch.equal(found, expected), name


@pytest.mark.parametrize("num_registers", [0, 4])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_file_is_the_same_teacher_as_the_folder(num_registers: int, suffix: str, tmp_path: Path) -> None:
    state = small_state(num_registers)
    file, folder = tmp_path / f"dinov2_tiny{suffix}", tmp_path / "folder"
    (save_file if suffix == ".safetensors" else torch.save)(state, file)
    dinov2_from_original(state).save_pretrained(folder)

    teacher, expected = load_teacher(file), load_teacher(folder)

    assert teacher.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert teacher.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    assert teacher.grid == (16, 16)
    assert teacher.model.state_dict().keys() == expected.model.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(teacher.state_dict()[name], tensor), name
    image = torch.rand(2, 3, 60, 50)
    torch.testing.assert_close(teacher(image), expected(image), rtol=0, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_file_of_something_else(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"encoder.weight": torch.zeros(3)}, file)
    with pytest.raises(InputError) as caught:
        load_teacher(file)
    for part in (str(file), "no DINOv2 in its authors' layout", "save_pretrained", "--alignment_weight 0"):
        assert part in str(caught.value)


def test_incomplete_file_is_named(tmp_path: Path) -> None:
    state = small_state()
    del state["norm.weight"]
    torch.save(state, tmp_path / "dinov2.pth")
    with pytest.raises(InputError, match=r"dinov2\.pth cannot be loaded\. .*1 missing: norm\.weight"):
        load_teacher(tmp_path / "dinov2.pth")


def test_damaged_file(tmp_path: Path) -> None:
    file = tmp_path / "dinov2.pth"
    torch.save(small_state(), file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"dinov2\.pth cannot be read as weights"):
        load_teacher(file)
