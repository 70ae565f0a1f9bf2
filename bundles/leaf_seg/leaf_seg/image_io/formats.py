"""The formats that there are, and which of them a file has."""

from __future__ import annotations

from pathlib import Path

from leaf_seg.image_io.bmp import Bmp
from leaf_seg.image_io.dicom import Dicom, holds_dicom
from leaf_seg.image_io.format import ImageFormat
from leaf_seg.image_io.jpeg import Jpeg
from leaf_seg.image_io.jpeg2000 import Jpeg2000
from leaf_seg.image_io.meta_image import MetaImage
from leaf_seg.image_io.mgh import Mgh
from leaf_seg.image_io.nifti import Nifti
from leaf_seg.image_io.nifti_pair import NiftiPair
from leaf_seg.image_io.nrrd_volume import Nrrd
from leaf_seg.image_io.png import Png
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.image_io.tiff import Tiff
from leaf_seg.image_io.tiff_stack import TiffStack
from leaf_seg.image_io.webp import WebP
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike
from leaf_seg.runtime.paths import FILE, FOLDER, kind_of
from leaf_seg.runtime.text import is_unicode, printable

# A new format is a class in a file of its own and a line here.
FORMATS: tuple[ImageFormat, ...] = (
    Png(),
    Jpeg(),
    Tiff(),
    Bmp(),
    WebP(),
    Jpeg2000(),
    Nifti(),
    NiftiPair(),
    Nrrd(),
    MetaImage(),
    Mgh(),
    Dicom(),
)

_HEAD_BYTES = 4096


def format_names() -> tuple[str, ...]:
    """Names of the formats, for messages and help."""
    return tuple(form.name for form in FORMATS)


def suffixes() -> tuple[str, ...]:
    """Suffixes of image files, in small letters, with the dot."""
    return tuple(suffix for form in FORMATS for suffix in form.suffixes)


def image_suffix(path: PathLike) -> str:
    """The suffix by which a file name is that of an image, as it stands there: ``.nii.gz``; empty for other names."""
    name = Path(path).name
    length = max((len(suffix) for suffix in suffixes() if name.lower().endswith(suffix)), default=0)
    return name[len(name) - length :]


def format_of(path: PathLike, options: ReadingOptions = DEFAULT_READING) -> ImageFormat:
    """The format of a file, or of a folder with the DICOM files of a series, by its content.

    The file's name only chooses where the content may be of several formats. So a PNG that is called .jpg is read as
    the PNG that it is, and a NIfTI whatever it is called and whether it is compressed as its name says or not.

    Args:
        path: of the file or folder.
        options: how files are read.

    Raises:
        InputError: When there is no file, its name is not UTF-8, or its content is of none of the formats.
    """
    form = _form_of(path)
    if options.tiff_stack and isinstance(form, Tiff):
        return TiffStack(options)
    return form.with_options(options)


def _form_of(path: PathLike) -> ImageFormat:
    shown, kind = printable(path), kind_of(path)
    is_series = kind == FOLDER and holds_dicom(path)
    if kind != FILE and not is_series:
        found = f"is {kind}" if kind == FOLDER else kind
        raise InputError(f"{shown}: {found}; expected a file. Check the path and the dataset's list of cases.")
    if not is_unicode(path):
        raise InputError(f"{shown}: its name is not UTF-8; expected one that tables and logs can hold. Rename it.")
    if is_series:
        return next(form for form in FORMATS if isinstance(form, Dicom))
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{shown}: cannot be read ({error.strerror}); correct the file's permissions.") from error
    suffix = image_suffix(path).lower()
    unmarked = [form for form in FORMATS if suffix in form.unmarked]
    fitting = [form for form in unmarked if form.has_header(path)] or [form for form in FORMATS if form.matches(head)]
    fitting = fitting or unmarked
    called = [form for form in fitting or FORMATS if suffix in form.suffixes]
    if fitting:
        return (called or fitting)[0]
    if called:
        raise InputError(
            f"{shown}: cannot be read (its content is none of {', '.join(format_names())}); expected a complete "
            f"{called[0].name} file. Copy or export the file again, or remove the case."
        )
    raise InputError(
        f"{shown}: the file type {Path(path).suffix or '(no suffix)'!r} is not supported; expected one of "
        f"{', '.join(suffixes())}. Convert the file."
    )


def files_of(path: PathLike) -> tuple[Path, ...]:
    """The files that an image is in, such as a header and its voxels; of what is no image the file itself."""
    try:
        return format_of(path).files(path)
    except InputError:
        return (Path(path),)


def format_to_create(path: PathLike) -> ImageFormat:
    """The format of a file that is still to be written, by its suffix.

    Raises:
        ValueError: When it is none of :func:`suffixes`.
    """
    for form in FORMATS:
        if image_suffix(path).lower() in form.suffixes:
            return form
    raise ValueError(f"{path} is not called as an image; expected a name that ends in {', '.join(suffixes())}.")
