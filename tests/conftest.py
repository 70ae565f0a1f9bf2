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
    from leaf_seg.losses import DenoisingLoss
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


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQLite store of MLflow without runs, to be copied: MLflow takes seconds to make one."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("empty_store") / "mlruns.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def make_autoencoder() -> Callable[..., Autoencoder]:
    """Factory of a tiny autoencoder with random weights, f = 4: ``make_autoencoder(kind="kl", seed=0)``; tiny, vq."""
    from diffusers import AutoencoderKL, AutoencoderTiny, VQModel

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
        blocks: dict[str, Any] = {
            "down_block_types": ("DownEncoderBlock2D",) * 3,
            "up_block_types": ("UpDecoderBlock2D",) * 3,
            "block_out_channels": (8, 8, 16),
            "norm_num_groups": 4,
        }
        if kind == "vq":
            return VQModel(**blocks, latent_channels=4, num_vq_embeddings=16, scaling_factor=0.9)
        return AutoencoderKL(**blocks, scaling_factor=0.7)

    return make


@pytest.fixture
def make_segmenter(make_autoencoder: Callable[..., Autoencoder]) -> Callable[..., LatentSegmenter]:
    """Factory of a tiny LatentSegmenter with random weights, in evaluation mode.

    ``make_segmenter(num_classes=3, image_size=(16, 16), autoencoder="kl", seed=0, kind=LatentSegmenter, **options)``;
    the other kind is ClassPassSegmenter. Options are those of LatentSegmenter, and those of its parts:
    parameterization, image_latent_first, ldm_schedule, scheduler, scaled, encoder_dropout, train_decoder.
    """
    from leaf_seg.networks import (
        ClassMasksCodec,
        ClassPassSegmenter,
        LatentSegmenter,
        MaskCodec,
        build_conditional_unet,
    )

    def make(
        num_classes: int = 3,
        image_size: tuple[int, int] = (16, 16),
        autoencoder: str = "kl",
        seed: int = 0,
        kind: type[LatentSegmenter] = LatentSegmenter,
        **options: Any,
    ) -> LatentSegmenter:
        codec: Any = MaskCodec(num_classes)
        told: dict[str, Any] = {}
        if kind is ClassPassSegmenter:
            codec, told = ClassMasksCodec(num_classes), {"num_class_embeds": num_classes}
        parts = segmenter_parts(make_autoencoder(autoencoder, seed), options)
        latents = kind.latents_at_once(codec)
        unet = options.pop("unet", None) or build_conditional_unet({**TINY_UNET, **told}, num_mask_latents=latents)
        return kind(unet=unet, codec=codec, image_size=image_size, **parts, **options).eval()

    return make


def segmenter_parts(autoencoder: Autoencoder, options: dict[str, Any]) -> dict[str, Any]:
    """Encoder, decoder and diffusion settings of a LatentSegmenter; takes theirs out of the options."""
    from diffusers import DDIMScheduler

    from leaf_seg.diffusion import DiffusionSettings
    from leaf_seg.networks import LatentDecoder, LatentEncoder

    scheduler = options.pop("scheduler", None) or DDIMScheduler(beta_start=0.0015, beta_end=0.0155, clip_sample=False)
    names = ("parameterization", "image_latent_first", "ldm_schedule", "with_noise")
    settings = {name: options.pop(name) for name in names if name in options}
    encoder = LatentEncoder(autoencoder, options.pop("scaled", True), options.pop("encoder_dropout", 0.0))
    decoder = LatentDecoder(autoencoder, options.pop("train_decoder", False))
    diffusion = DiffusionSettings(scheduler, **settings)
    return {"image_encoder": encoder, "mask_decoder": decoder, "diffusion": diffusion}


def denoising_loss(network: LatentSegmenter, **options: Any) -> DenoisingLoss:
    """The training loss of a network."""
    from leaf_seg.losses import DenoisingLoss

    return DenoisingLoss(network.schedule, network.mask_decoder, network.codec, **options)
