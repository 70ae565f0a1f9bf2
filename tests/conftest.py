"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from monai.utils import set_determinism

# Before any Hugging Face import: a test must not depend on the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """Use one thread: the tensors are tiny, and the machine may be shared."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``gpu`` where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Start every test from the same state of all random generators."""
    set_determinism(seed=0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of small real datasets beside the checkout, one folder per dataset (``shared_data / "wbc"``)."""
    if not SHARED_DATA.is_dir():
        reason = "real datasets are missing: no folder ../shared/data beside the checkout"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return SHARED_DATA
