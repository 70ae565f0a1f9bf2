"""leaf_seg: latent-diffusion segmentation of medical images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leaf_seg import moved

if TYPE_CHECKING:
    from leaf_seg.inference.segmenter import Segmentation, Segmenter, load

__version__ = "0.2.0"
__all__ = ["Segmentation", "Segmenter", "load"]


def __getattr__(name: str) -> Any:
    """Import the segmenter when it is asked for: configs and help texts need not wait for it."""
    if name in __all__:
        from leaf_seg.inference import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


moved.install()
