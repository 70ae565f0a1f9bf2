"""Images that cannot be segmented, among others that can."""

from __future__ import annotations

import torch

from leaf_seg.runtime.errors import InputError, causes

_OUT_OF_MEMORY = ("can't allocate memory", "bad_alloc")  # in the RuntimeErrors of PyTorch on the CPU


class FaultyImages(InputError):
    """Some images could not be segmented; the others were."""


def fault_of(error: BaseException, source: str) -> str | None:
    """Why an image cannot be segmented, on one line; None for an error that is no fault of the image.

    Args:
        error: that came of reading, preparing or segmenting it, also wrapped by MONAI.
        source: image file.
    """
    for cause in causes(error):
        if isinstance(cause, InputError):
            return " ".join(str(cause).split())
    out_of_memory = memory_fault_of(error, source)
    if out_of_memory is not None:
        return out_of_memory
    for cause in causes(error):
        if isinstance(cause, OSError):
            return f"{source}: cannot be read ({cause.strerror or cause}); expected a file that can be read to its end."
    return None


def memory_fault_of(error: BaseException, source: str) -> str | None:
    """The same for want of memory only, which is all that can be an image's fault when its results are written."""
    for cause in causes(error):
        if _is_out_of_memory(cause):
            return (
                f"{source}: there is not enough memory to segment it ({type(cause).__name__}); expected an image that "
                "fits: free memory, lower the batch size, or take a larger machine."
            )
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY):
        return True
    return isinstance(error, MemoryError | torch.OutOfMemoryError)
