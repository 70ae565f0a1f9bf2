from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import BertConfig, CLIPVisionModel, Dinov2Model, Dinov2WithRegistersModel

from leaf_seg.distillation import load_teacher
from leaf_seg.runtime.errors import InputError

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
OPENAI = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
KINDS = ("dinov2", "dinov2_with_registers", "clip_vision_model", "clip")


def expected_tokens(kind: str, folder: Path, image: torch.Tensor) -> torch.Tensor:
    """Patch tokens of an image of 224 x 224 pixels, by the parts of the transformers model.

    DINOv2 without registers gets its position embeddings resampled with anti-aliasing, which transformers does not.
    """
    mean, std = OPENAI if kind.startswith("clip") else IMAGENET
    pixels = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    if kind.startswith("clip"):
        clip = CLIPVisionModel.from_pretrained(folder).eval()
        hidden = clip.pre_layrnorm(clip.embeddings(pixels, interpolate_pos_encoding=True))
        return clip.post_layernorm(clip.encoder(hidden).last_hidden_state)[:, 1:]
    if kind == "dinov2":
        dinov2 = Dinov2Model.from_pretrained(folder).eval()
        positions = dinov2.embeddings.position_embeddings
        grid = functional.interpolate(
            positions[:, 1:].reshape(1, 4, 4, 24).permute(0, 3, 1, 2), (16, 16), mode="bicubic", antialias=True
        )
        resampled = torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, 256, 24)], dim=1)
        dinov2.embeddings.position_embeddings = torch.nn.Parameter(resampled)
        return dinov2.layernorm(dinov2.encoder(dinov2.embeddings(pixels)).last_hidden_state)[:, 1:]
    registers = Dinov2WithRegistersModel.from_pretrained(folder).eval()
    tokens = registers.layernorm(registers.encoder(registers.embeddings(pixels)).last_hidden_state)
    return tokens[:, 1 + registers.config.num_register_tokens :]


@pytest.mark.parametrize("kind", KINDS)
def test_patch_tokens_are_the_encoders_own(kind: str, teacher_folders: dict[str, Path]) -> None:
    teacher = load_teacher(teacher_folders[kind])
    image = torch.rand(2, 3, 224, 224)

    tokens = teacher(image)

    side = 14 if kind.startswith("clip") else 16
    assert teacher.grid == (side, side)
    assert teacher.embed_dim == 24
    assert tokens.shape == (2, side * side, 24)
    with torch.no_grad():
        torch.testing.assert_close(tokens, expected_tokens(kind, teacher_folders[kind], image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_is_frozen(kind: str, teacher_folders: dict[str, Path]) -> None:
    teacher = load_teacher(teacher_folders[kind])
    teacher.train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher(torch.rand(1, 3, 32, 32, requires_grad=True)).requires_grad


def test_resizes_to_its_input(teacher_folders: dict[str, Path]) -> None:
    teacher = load_teacher(teacher_folders["dinov2"], image_size=56)
    image = (torch.rand(1, 3, 100, 80) > 0.5).float()  # hard edges, where bicubic overshoots
    resized = functional.interpolate(image, (56, 56), mode="bicubic", antialias=True)
    assert resized.min() < 0 < 1 < resized.max()
    torch.testing.assert_close(teacher(image), teacher(resized.clamp(0, 1)))
    assert teacher.grid == (4, 4)


def test_computes_in_fp32_under_autocast(teacher_folders: dict[str, Path]) -> None:
    teacher = load_teacher(teacher_folders["dinov2"])
    image = torch.rand(1, 3, 64, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = teacher(image)
    assert tokens.dtype == torch.float32
    torch.testing.assert_close(tokens, teacher(image), rtol=0, atol=0)


def test_half_precision_weights_are_loaded_in_fp32(teacher_folders: dict[str, Path], tmp_path: Path) -> None:
    Dinov2Model.from_pretrained(teacher_folders["dinov2"]).half().save_pretrained(tmp_path)
    teacher = load_teacher(tmp_path)
    assert {parameter.dtype for parameter in teacher.parameters()} == {torch.float32}
    assert teacher(torch.rand(1, 3, 64, 64)).dtype == torch.float32


def test_mean_and_std_of_the_folder(teacher_folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(teacher_folders["clip"], tmp_path, dirs_exist_ok=True)
    config = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    teacher = load_teacher(tmp_path)
    assert teacher.mean.flatten().tolist() == pytest.approx(config["image_mean"])
    assert teacher.std.flatten().tolist() == pytest.approx(config["image_std"])


@pytest.mark.parametrize(("kind", "expected"), [("dinov2", IMAGENET), ("clip", OPENAI)])
def test_mean_and_std_of_the_family_are_announced(
    kind: str,
    expected: tuple[list[float], list[float]],
    teacher_folders: dict[str, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="leaf_seg"):
        teacher = load_teacher(teacher_folders[kind])
    assert teacher.mean.flatten().tolist() == pytest.approx(expected[0])
    assert teacher.std.flatten().tolist() == pytest.approx(expected[1])
    assert "preprocessor_config.json" in caplog.text


def test_image_size_that_does_not_fit(teacher_folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="multiple of its patch size, 14: use 224"):
        load_teacher(teacher_folders["dinov2"], image_size=225)


def test_found_in_the_hugging_face_cache(
    teacher_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, commit = tmp_path / "models--leaf-seg--tiny", "0" * 40
    shutil.copytree(teacher_folders["dinov2"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(load_teacher("leaf-seg/tiny")(image), load_teacher(teacher_folders["dinov2"])(image))


@pytest.mark.parametrize("name", ["leaf-seg/no-such-teacher", "./no/such/folder"])
def test_found_nowhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        load_teacher(name)
    for part in (name, "local folder or file", f"Hugging Face cache ({tmp_path})", "hub", "--alignment_weight 0"):
        assert part in str(caught.value)


def test_folder_without_weights(teacher_folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copy(teacher_folders["dinov2"] / "config.json", tmp_path)
    with pytest.raises(InputError, match=r"cannot be loaded.*--alignment_weight 0"):
        load_teacher(tmp_path)


def test_damaged_weights(teacher_folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(teacher_folders["dinov2"], tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be loaded"):
        load_teacher(tmp_path)


def test_incomplete_weights(teacher_folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(teacher_folders["dinov2"], tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"weights are missing: layernorm\.weight"):
        load_teacher(tmp_path)


def test_other_kind_of_model(tmp_path: Path) -> None:
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"a 'bert' model.*kinds dinov2"):
        load_teacher(tmp_path)


def test_kind_of_model_that_transformers_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_model"}))
    with pytest.raises(InputError, match="no_such_model"):
        load_teacher(tmp_path)


def test_weights_of_other_sizes(teacher_folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(teacher_folders["dinov2"], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    with pytest.raises(InputError, match="cannot be loaded"):
        load_teacher(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_config_says_what_it_computes_not_where_it_lay(
    kind: str, teacher_folders: dict[str, Path], tmp_path: Path
) -> None:
    config = json.dumps(load_teacher(teacher_folders[kind]).config)
    copied = shutil.copytree(teacher_folders[kind], tmp_path / "copy")
    assert json.dumps(load_teacher(copied).config) == config
    assert json.dumps(load_teacher(copied, 112).config) != config
