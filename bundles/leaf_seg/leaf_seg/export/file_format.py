"""What a format of exported files has to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from leaf_seg.export.description import Description
from leaf_seg.export.variants import Tensors, Variant
from leaf_seg.runtime.errors import InputError

# The exported function: float32 tensors on the CPU, in the order of the variant's inputs, to those of its outputs.
Run = Callable[..., Tensors]


class ExportFormat(ABC):
    """Base class of the formats.

    Attributes:
        suffix: of the files, by which they are known.
    """

    suffix: ClassVar[str]

    @abstractmethod
    def check(self, module: Variant) -> None:
        """Find out before the work what would go wrong.

        Raises:
            InputError: When a library is missing, or the network does not fit into such a file.
        """

    @abstractmethod
    def write(self, module: Variant, description: Description, file: Path) -> None:
        """Write a module in evaluation mode."""

    @abstractmethod
    def read(self, file: Path) -> tuple[Run, Description]:
        """Read a file that :meth:`write` has written.

        Raises:
            InputError: When it is damaged or somebody else's, or a library is missing.
        """


def damaged(file: Path, fault: object) -> InputError:
    """The error for a file that cannot be read."""
    return InputError(f"{file}: is damaged or no file that leaf_seg has exported ({fault}). Export the model again.")


def foreign(file: Path) -> InputError:
    """The error for a file without a description."""
    return InputError(
        f"{file}: was not written by python -m leaf_seg export, and is not opened: expected its description of the "
        "model. Export the model again, or segment with the model's folder."
    )
