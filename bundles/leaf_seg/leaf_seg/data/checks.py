"""A look at every case before the work begins."""

from __future__ import annotations

from torch.utils.data import Dataset
from tqdm import tqdm


def check_cases(dataset: Dataset) -> None:
    """Load every case once, so that an unfit one is found before training and not at the first validation.

    Args:
        dataset: whose transforms load and check a case.

    Raises:
        InputError: From those transforms, for the first unfit case.
    """
    for index in tqdm(range(len(dataset)), desc="Checking validation cases", unit="case", leave=False):  # type: ignore[arg-type]
        dataset[index]
