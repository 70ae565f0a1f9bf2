"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before any Hugging Face import, of which MONAI's is one: a test must not depend on the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from monai.utils import set_determinism

if TYPE_CHECKING:
    from leaf_seg.networks import LatentSegmenter
    from leaf_seg.networks.autoencoder import Autoencoder

# Takes latents whose sides are multiples of 2.
TINY_UNET = {
    "sample_size": 4,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 8,
    "norm_num_groups": 4,
}

SHARED = Path(__file__).resolve().parents[2] / "shared"


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


def _shared_folder(name: str, what: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        reason = f"{what} are missing: no folder ../shared/{name} beside the checkout"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of small real datasets beside the checkout, one folder per dataset (``shared_data / "wbc"``)."""
    return _shared_folder("data", "real datasets")


@pytest.fixture(scope="session")
def shared_layouts() -> Path:
    """Folder of the layouts of published checkpoints beside the checkout (``shared_layouts / "dinov2_hub.json"``)."""
    return _shared_folder("facts/layouts", "recorded layouts")


@pytest.fixture
def make_autoencoder() -> Callable[..., Autoencoder]:
    """Factory of a tiny autoencoder with random weights, f = 4: ``make_autoencoder(kind="kl" | "tiny", seed=0)``."""
    from diffusers import AutoencoderKL, AutoencoderTiny

    def make(kind: str = "kl", seed: int = 0) -> Autoencoder:
        torch.manual_seed(seed)
        if kind == "tiny":
            return AutoencoderTiny(
                encoder_block_out_channels=(8, 8, 8),
                decoder_block_out_channels=(8, 8, 8),
                num_encoder_blocks=(1, 1, 1),
                num_decoder_blocks=(1, 1, 1),
                scaling_factor=0.8,
            )
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(8, 8, 16),
            norm_num_groups=4,
            scaling_factor=0.7,
        )

    return make


@pytest.fixture
def make_segmenter(make_autoencoder: Callable[..., Autoencoder]) -> Callable[..., LatentSegmenter]:
    """Factory of a tiny LatentSegmenter with random weights, in evaluation mode.

    ``make_segmenter(num_classes=3, image_size=(16, 16), autoencoder="kl", seed=0, **arguments of LatentSegmenter)``.
    """
    from diffusers import DDIMScheduler

    from leaf_seg.networks import LatentSegmenter, MaskCodec, build_conditional_unet

    def make(
        num_classes: int = 3,
        image_size: tuple[int, int] = (16, 16),
        autoencoder: str = "kl",
        seed: int = 0,
        **arguments: Any,
    ) -> LatentSegmenter:
        parts: dict[str, Any] = {
            "autoencoder": make_autoencoder(autoencoder, seed),
            "unet": build_conditional_unet(TINY_UNET, num_mask_latents=MaskCodec(num_classes).num_images),
            "scheduler": DDIMScheduler(beta_start=0.0015, beta_end=0.0155, clip_sample=False),
        }
        return LatentSegmenter(num_classes=num_classes, image_size=image_size, **(parts | arguments)).eval()

    return make
