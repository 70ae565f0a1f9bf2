"""Images to segment, of which some may be damaged."""

from __future__ import annotations

from typing import Any

from monai.data import Dataset

from leaf_seg.inference.faults import fault_of

FAULT = "fault"  # key under which a case says why it cannot be segmented


class TolerantDataset(Dataset):
    """MONAI's Dataset, which makes a case that cannot be prepared into ``{"image": file, "fault": reason}``.

    Args:
        data: cases with "image", a file.
        transform: prepares a case.
    """

    def _transform(self, index: int) -> Any:
        try:
            return super()._transform(index)
        except Exception as error:
            source = str(self.data[index]["image"])
            reason = fault_of(error, source)
            if reason is None:
                raise
            return {"image": source, FAULT: reason}
