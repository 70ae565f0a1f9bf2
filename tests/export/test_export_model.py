"""Exported files: that they do what the model does, and that no other file is kept."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leaf_seg.data.slicing import resize_image
from leaf_seg.export import export_model, load_exported
from leaf_seg.networks import NETWORKS, LatentSegmenter, SavedNetwork, SegResNetSegmenter
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights import load_network, load_settings
from tests.export.exported import Fickle, saved, small_network
from tests.networks.test_baselines import make


def _slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


def _nightly(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.nightly)


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        (SegResNetSegmenter, "torchscript"),
        *(_slow(kind, "torchscript") for kind in NETWORKS.values() if kind is not SegResNetSegmenter),
        _slow(SegResNetSegmenter, "onnx"),
    ],
)
def test_the_network_alone(
    kind: type[SavedNetwork], to: str, make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    folder = saved(small_network(kind, make_segmenter), tmp_path / "m", axis=["coronal", "axial"], mirror_axes=[0])
    file = export_model(folder, to)
    assert file == folder / {"onnx": "model.onnx", "torchscript": "model.ts"}[to]
    exported, settings = load_exported(file)
    assert settings == load_settings(folder)
    assert not exported.resizes
    network = load_network(folder)
    for number in (1, 4):
        image = torch.rand(number, 3, *network.image_size)
        with torch.no_grad():
            torch.testing.assert_close(exported(image), network(image), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        (SegResNetSegmenter, "torchscript"),
        *(_slow(kind, "torchscript") for kind in NETWORKS.values() if kind is not SegResNetSegmenter),
        *(_nightly(kind, "onnx") for kind in NETWORKS.values() if kind is not LatentSegmenter),  # as the shipped model
    ],
)
def test_the_whole_model_takes_any_size(
    kind: type[SavedNetwork], to: str, make_segmenter: Callable[..., LatentSegmenter], tmp_path: Path
) -> None:
    folder = saved(small_network(kind, make_segmenter), tmp_path / "m")
    file = export_model(folder, to, whole=True, output=tmp_path / f"x{'.onnx' if to == 'onnx' else '.ts'}")
    exported, network = load_exported(file)[0], load_network(folder)
    for size in ((96, 112), (80, 50), network.image_size, (9, 130)):
        image = torch.rand(3, 3, *size) * 500 - 100
        labels, probabilities = exported._run(image, torch.tensor(-50.0), torch.tensor(350.0))
        scaled = ((image + 50) / 400).clamp(0, 1)
        with torch.no_grad():
            expected = resize_image(network(resize_image(scaled, network.image_size)), size)
        torch.testing.assert_close(probabilities, expected, atol=1e-4, rtol=0)
        assert labels.dtype == torch.uint8
        assert (labels != expected.argmax(dim=1)).float().mean() < 1e-3
    assert [path.name for path in tmp_path.iterdir() if path != folder] == [file.name]


@pytest.mark.parametrize("whole", [True, False])
def test_a_file_that_does_something_else_is_refused(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(make(SegResNetSegmenter), tmp_path / "m")
    module = importlib.import_module("leaf_seg.export.export_model")
    monkeypatch.setattr(module, "load_network", lambda _: Fickle())
    (tmp_path / "x.ts").write_text("the former one")
    with pytest.raises(InputError, match=r"x\.ts was not written, since it would not do what the model does: class pr"):
        export_model(folder, "torchscript", whole, tmp_path / "x.ts")
    assert (tmp_path / "x.ts").read_text() == "the former one"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("output", "said"),
    [("x.pt", r"ends in \.ts"), ("no/x.ts", "in a folder that exists"), ("", r"ends in \.ts"), ("~/x.ts", "~")],
)
def test_where_a_file_can_be_written(output: str, said: str, tmp_path: Path) -> None:
    folder = saved(make(SegResNetSegmenter), tmp_path / "m")
    with pytest.raises(InputError, match=said):
        export_model(folder, "torchscript", output=output if output.startswith("~") else tmp_path / output)
    assert list(tmp_path.iterdir()) == [folder]


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No config\.json"):
        export_model(tmp_path, "torchscript")
    with pytest.raises(InputError, match="to is 'tensorrt'; expected one of onnx, torchscript"):
        export_model(tmp_path, "tensorrt")
    assert not list(tmp_path.iterdir())
