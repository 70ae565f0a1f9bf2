"""WebP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leaf_seg.image_io.lossy import lossy_coding
from leaf_seg.image_io.picture import Picture
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import PathLike

if TYPE_CHECKING:
    from PIL.Image import Image

_KIND = b"WEBP"


class WebP(Picture):
    """Pictures of the web in three channels; with loss no format for labels."""

    name = "WebP"
    pillow_name = "WEBP"
    suffixes = (".webp",)
    signatures = (b"RIFF",)
    plugin = "PIL.WebPImagePlugin"

    def matches(self, head: bytes) -> bool:
        """Whether it is a RIFF of that kind."""
        return super().matches(head) and head[8:12] == _KIND

    def _remark(self, picture: Image, path: PathLike, is_label: bool) -> None:
        """Also refuse labels that have been stored with loss."""
        super()._remark(picture, path, is_label)
        if is_label and lossy_coding(path) is not None:
            raise InputError("the label is a WebP with loss, which alters class numbers; save it as PNG.")
