"""TorchScript files that are somebody else's, or damaged: none is opened by PyTorch."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from leaf_seg.export import export_model, load_exported
from leaf_seg.networks import SegResNetSegmenter
from leaf_seg.runtime.errors import InputError
from tests.export.exported import saved
from tests.networks.test_baselines import make


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("model")
    return export_model(saved(make(SegResNetSegmenter), folder), "torchscript").read_bytes()


@pytest.fixture
def _not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> NoReturn:
        pytest.fail("PyTorch has opened the file")

    monkeypatch.setattr(torch.jit, "load", opened)


@pytest.mark.usefixtures("_not_opened")
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    file = tmp_path / "model.ts"
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), file, _extra_files={"metadata.json": "{}"})
    with pytest.raises(InputError, match=r"model\.ts: was not written by python -m leaf_seg export, and is not opened"):
        load_exported(file)


@pytest.mark.usefixtures("_not_opened")
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_file_that_ends_too_early(share: float, exported: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.ts"
    file.write_bytes(exported[: int(len(exported) * share)])
    with pytest.raises(InputError, match=r"model\.ts: is damaged or no file that leaf_seg has exported"):
        load_exported(file)


@pytest.mark.usefixtures("_not_opened")
def test_a_byte_of_the_weights_that_has_changed(exported: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.ts"
    file.write_bytes(exported)
    with zipfile.ZipFile(file) as archive:
        weight = next(entry for entry in archive.infolist() if "/data/" in entry.filename and entry.file_size > 999)
    content = bytearray(exported)
    content[weight.header_offset + 500] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.ts: is damaged .*\(checksum of model/data/"):
        load_exported(file)


@pytest.mark.parametrize("description", [b"{}", b"[1", b'{"format": 2, "variant": "whole"}'])
@pytest.mark.usefixtures("_not_opened")
def test_a_description_of_something_else(description: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.ts"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/extra/leaf_seg.json", description)
    with pytest.raises(InputError, match=r"model\.ts: (its description is none|cannot be read as JSON)") as error:
        load_exported(file)
    assert "\n" not in str(error.value)


def test_a_forged_description_does_not_make_a_model(tmp_path: Path, exported: bytes) -> None:
    (tmp_path / "whole.ts").write_bytes(exported)
    with zipfile.ZipFile(tmp_path / "whole.ts") as archive:
        name = next(name for name in archive.namelist() if name.endswith("leaf_seg.json"))
        description = archive.read(name)
    with zipfile.ZipFile(tmp_path / "model.ts", "w") as archive:
        archive.writestr("model/extra/leaf_seg.json", description)
    with pytest.raises(InputError, match=r"model\.ts: is damaged"):
        load_exported(tmp_path / "model.ts")
