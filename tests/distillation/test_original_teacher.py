"""DINOv2 from a file in its authors' layout, and its position embeddings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPVisionModel

from leaf_seg.distillation import Teacher, load_teacher
from leaf_seg.distillation.teacher import resample_positions
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.dinov2 import dinov2_from_original
from tests.weights.dinov2_layout import dinov2_layout
from tests.weights.published_rule import assert_record, rule_input, rule_state

RECORDS = json.loads((Path(__file__).parents[1] / "weights" / "published_records.json").read_text())
REGISTERS = pytest.mark.parametrize("num_registers", [0, 4])


def small_state(num_registers: int = 0) -> dict[str, torch.Tensor]:
    return rule_state(dinov2_layout(64, 2, num_registers, img_size=70))


@REGISTERS
def test_resampled_positions_give_the_recorded_tokens(num_registers: int) -> None:
    records = RECORDS[f"dinov2_{num_registers}_registers_224_resampled"]
    state = rule_state(dinov2_layout(384, 2, num_registers))
    model = dinov2_from_original({key: tensor.double() for key, tensor in state.items()})

    resample_positions(model, 224)

    assert model.config.image_size == 224
    assert_record(model.embeddings.position_embeddings, records["pos_embed_resampled"], atol=1e-11)
    with torch.no_grad():
        tokens = model(pixel_values=rule_input("input:x", (1, 3, 224, 224)).double()).last_hidden_state
    assert_record(tokens[:, 1 + num_registers :], records["x_norm_patchtokens"], atol=1e-11)


@REGISTERS
def test_teacher_gives_the_recorded_tokens(num_registers: int) -> None:
    """The recorded input is no image in [0, 1]; a mean and std are chosen that turn such an image into it."""
    records = RECORDS[f"dinov2_{num_registers}_registers_224_resampled"]
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
