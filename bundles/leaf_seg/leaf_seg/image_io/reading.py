"""Reads images and their grids from files of any format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from leaf_seg.image_io.format import ImageFormat
from leaf_seg.image_io.formats import format_of
from leaf_seg.image_io.grid import Grid
from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB, check_memory, memory_limit_bytes
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike
from leaf_seg.runtime.text import printable

if TYPE_CHECKING:
    from monai.data import MetaTensor

_GREATEST = 1e37  # a tenth of what float32 holds


def read_image(
    path: PathLike,
    is_label: bool = False,
    load: Callable[[PathLike], MetaTensor] | None = None,
    memory_limit_gb: float | None = DEFAULT_MEMORY_LIMIT_GB,
    options: ReadingOptions = DEFAULT_READING,
) -> MetaTensor:
    """Read an image, values as in the file.

    The file is read to its end, and where it has checksums (PNG, gzip) they are checked.

    Args:
        path: file of a picture or volume.
        is_label: whether the values are class numbers, not intensities; palette pictures then keep their indices.
        load: reads the file in place of its format, once its header and its checksums have been checked.
        memory_limit_gb: gigabytes that reading and scaling may take, as the header says; None is no limit, for files
            that have been judged before.
        options: how files are read that can be read in several ways; of labels all channels are.

    Returns:
        float32 [C, H, W] (picture, C = 1 or 3, rows first) or [C, X, Y, Z] (volume in the voxel order of the file),
        with the path in ``meta["filename_or_obj"]``.

    Raises:
        InputError: For a file that is missing, unreadable, of an unsupported kind or shape, too large, or with
            non-finite values.
    """
    limit = memory_limit_bytes(memory_limit_gb)
    form = format_of(path, options.whole() if is_label else options)
    with _named(path, form):
        form.check_header(path)
        channels = form.chosen_channels(path)
        size = " x ".join(map(str, form.grid(path).shape))
        check_memory(form.memory(path), f"an image of {size}", limit)
        if load is None:
            image = form.read(path, is_label)
        else:
            form.check_content(path)
            image = load(path)
            if form.options.channels is not None:
                image = cast("MetaTensor", image[list(channels)])
        _check_values(image)
    return image


def read_grid(path: PathLike, options: ReadingOptions = DEFAULT_READING) -> Grid:
    """Read size and place in space of an image, from the file's header only: what follows it may be damaged.

    Args:
        path: file of a picture or volume.
        options: how files are read that can be read in several ways; its channels do not matter.

    Raises:
        InputError: For a file that is missing, unreadable, or of an unsupported kind or shape.
    """
    form = format_of(path, options.whole())
    with _named(path, form):
        form.check_header(path)
        return form.grid(path)


def _check_values(image: MetaTensor) -> None:
    """Refuse values that are not finite, or so large that their differences are not."""
    import torch

    low, high = (float(value) for value in torch.aminmax(image.as_tensor()))  # NaN where there is one
    if low >= -_GREATEST and high <= _GREATEST:
        return
    count = int((~image.isfinite()).sum())
    if count:
        raise InputError(
            f"{count} of {image.numel()} values are NaN or infinite; expected finite numbers. Replace them, for "
            "example by the value of air, or remove the case."
        )
    raise InputError(
        f"its values go from {low:.4g} to {high:.4g}; expected none beyond {_GREATEST:g}. Correct the scaling in its "
        "header, or remove the case."
    )


@contextmanager
def _named(path: PathLike, form: ImageFormat) -> Iterator[None]:
    """Let errors say which file they are about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{printable(path)}: {error}") from None
    except Exception as error:  # a damaged file makes Pillow, nibabel and zlib raise many kinds of error
        reason = printable(" ".join(str(error).split()))
        raise InputError(
            f"{printable(path)}: cannot be read ({type(error).__name__}: {reason}); expected a complete {form.name} "
            "file. Copy or export the file again, or remove the case."
        ) from error
