"""TorchScript files."""

from __future__ import annotations

import warnings
import zipfile
import zlib
from pathlib import Path

import torch

from leaf_seg.export.description import KEY, Description
from leaf_seg.export.file_format import ExportFormat, Run, damaged, foreign
from leaf_seg.export.variants import Tensors, Variant
from leaf_seg.runtime.json_file import MAX_BYTES
from leaf_seg.runtime.text import one_line

_DESCRIPTION_NAME = f"{KEY}.json"


class TorchScriptFormat(ExportFormat):
    """Traces, as PyTorch's ``torch.jit`` saves them: ZIP archives with code and weights.

    The code runs with the rights of who loads it. A file without leaf_seg's description, or with an entry that is
    damaged, is refused before PyTorch opens it; that a description is there does not prove where a file is from.
    """

    suffix = ".ts"

    def check(self, module: Variant) -> None:
        """Nothing but PyTorch is needed."""

    def write(self, module: Variant, description: Description, file: Path) -> None:
        """Trace and save."""
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is constant in a trace; the file is compared with the module
            traced = torch.jit.trace(module, module.traced_with(), check_trace=False)
            torch.jit.save(traced, str(file), _extra_files={_DESCRIPTION_NAME: description.to_json()})

    def read(self, file: Path) -> tuple[Run, Description]:
        """As in :class:`ExportFormat`."""
        description = Description.from_json(_description(file), file)
        try:
            module = torch.jit.load(str(file), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise damaged(file, one_line(error, 120)) from error

        def run(*inputs: torch.Tensor) -> Tensors:
            found = module(*inputs)
            return found if isinstance(found, tuple) else (found,)

        return run, description


def _description(file: Path) -> bytes:
    """The description within, when all entries are as they were written."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(f"/extra/{_DESCRIPTION_NAME}")]
            if not names:
                raise foreign(file)
            entry = archive.testzip()
            if entry is not None:
                raise damaged(file, f"checksum of {one_line(entry, 80)}")
            with archive.open(names[0]) as opened:
                return opened.read(MAX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise damaged(file, one_line(error, 120)) from error
