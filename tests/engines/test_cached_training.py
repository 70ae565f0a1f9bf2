"""A training with a cache of mask latents and teacher features is, to the bit, the one without."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader
from monai.transforms import Compose
from torch import nn
from transformers import Dinov2Config, Dinov2Model

from leaf_seg.data import SliceDataset, SliceSampler, SliceShard, load_datalist, make_phantoms
from leaf_seg.diffusion import TimestepSampler
from leaf_seg.distillation import Alignment, FeatureDistillation, load_teacher
from leaf_seg.engines import BundleTrainer, PrepareDenoisingBatch, WeightAverage, trainable_parameters
from leaf_seg.handlers import FeatureCacheReport
from leaf_seg.inference import AutocastInferer
from leaf_seg.networks import FeatureCache, LatentSegmenter, MaskCodec, MaskEncoder
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.runtime.distributed import num_processes
from leaf_seg.transforms import BatchAugmentation, BatchMirror
from leaf_seg.transforms.load_case import LoadCase
from leaf_seg.transforms.scale_image import ScaleImage
from tests.conftest import denoising_loss
from tests.two_processes import in_two_processes

NUM_SLICES, BATCH_SIZE, MAX_EPOCHS = 6, 4, 4  # the last batch of an epoch has two

Record = tuple[list[float], dict[str, torch.Tensor]]
Train = Callable[..., Record]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SliceDataset:
    root = make_phantoms(tmp_path_factory.mktemp("phantoms"), num_cases=10, size=(20, 20), num_classes=3, channels=1)
    preprocessing = Compose([LoadCase(), ScaleImage("image", window=None)])
    cases = load_datalist(str(root)).training[:NUM_SLICES]
    augmentation = BatchAugmentation([BatchMirror([0.5, 0.5])])
    return SliceDataset(cases, preprocessing, (16, 16), augmentation=augmentation)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    model = Dinov2Model(
        Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("teacher")
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def train(
    dataset: SliceDataset,
    teacher: Path,
    make_segmenter: Callable[..., LatentSegmenter],
    make_autoencoder: Callable[..., Autoencoder],
) -> Train:
    """Trains with a cache or without one; every loss, and all weights at the end."""

    def run(cache: FeatureCache | None, precision: str = "fp32", max_epochs: int = MAX_EPOCHS) -> Record:
        network = make_segmenter()
        torch.manual_seed(5)
        optimizer = torch.optim.AdamW(trainable_parameters(network), lr=1e-3)
        average = WeightAverage(network, decay=0.9)
        distillation = FeatureDistillation(
            Alignment(network.unet, load_teacher(teacher, 56), 0.5), optimizer, hidden_dim=16, device="cpu", cache=cache
        )
        encoder = MaskEncoder(make_autoencoder(seed=3), MaskCodec(3))
        torch.manual_seed(6)
        trainer = BundleTrainer(
            device="cpu",
            train_data_loader=DataLoader(
                dataset, batch_size=BATCH_SIZE // num_processes(), sampler=SliceShard(SliceSampler(dataset, seed=3))
            ),
            network=network,
            optimizer=optimizer,
            loss_function=denoising_loss(network, image_loss_weight=2.0, precision=precision),
            inferer=AutocastInferer(precision),
            prepare_batch=PrepareDenoisingBatch(
                network.schedule, encoder, TimestepSampler(0.5), precision, cache=cache
            ),
            train_handlers=[distillation, *([] if cache is None else [FeatureCacheReport(cache)])],
            ema=average,
            max_epochs=max_epochs,
        )
        losses: list[float] = []

        def note(engine: Any) -> None:
            losses.extend(engine.state.output[key].item() for key in ("loss", "loss_prediction", "loss_alignment"))

        trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
        trainer.run()
        parts = {"network": network, "projector": distillation.projector}
        weights = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
        return losses, weights | {f"average.{key}": value for key, value in average.state_dict().items()}

    return run


def assert_equal(one: Record, two: Record) -> None:
    assert one[0] == two[0]
    assert one[1].keys() == two[1].keys()
    assert [key for key in one[1] if not equal(one[1][key], two[1][key])] == []


def equal(one: Any, two: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(equal, one, two))
    return torch.equal(one, two) if isinstance(one, torch.Tensor) else bool(one == two)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cold_warm_and_without(train: Train, tmp_path: Path, precision: str, caplog: pytest.LogCaptureFixture) -> None:
    without = train(None, precision)
    steps = -(-NUM_SLICES // BATCH_SIZE) * MAX_EPOCHS
    assert len(without[0]) == 3 * steps
    cold = FeatureCache(tmp_path, 1)
    assert_equal(train(cold, precision), without)
    assert cold.num_items == 2 * NUM_SLICES * MAX_EPOCHS  # of the mask and of the image

    warm = FeatureCache(tmp_path, 1)
    caplog.clear()
    with caplog.at_level(logging.INFO, "leaf_seg.handlers"):
        assert_equal(train(warm, precision), without)
    assert warm.num_hits == warm.num_items == cold.num_items
    summaries = [record.message for record in caplog.records if record.message.startswith("Features in")]
    assert len(summaries) == 2
    assert f"{2 * NUM_SLICES} of {2 * NUM_SLICES} look-ups (100%)" in summaries[0]  # after the first epoch
    assert summaries[1] == warm.summary()


def test_a_cache_that_is_half_full_or_full(train: Train, tmp_path: Path) -> None:
    without = train(None)
    train(FeatureCache(tmp_path, 1), max_epochs=1)
    limit = FeatureCache(tmp_path, 1).store.measure()[1] * 1.5
    cache = FeatureCache(tmp_path, limit / 1e9)
    assert_equal(train(cache), without)
    assert cache.store.is_full
    assert 0 < cache.num_hits < cache.num_items
    assert cache.store.measure()[1] <= limit


def test_the_cache_is_what_is_used(train: Train, tmp_path: Path) -> None:
    """The trap is set: other entries give another training."""
    without = train(None, max_epochs=1)
    train(FeatureCache(tmp_path, 1), max_epochs=1)
    store = FeatureCache(tmp_path, 1).store
    names = [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()]
    assert {name.partition("_")[0] for name in names} == {"MaskEncoder", "Teacher"}
    for name in names:
        tensor = store.get(name)
        assert tensor is not None
        store.add({name: -tensor})
    losses, _ = train(FeatureCache(tmp_path, 1), max_epochs=1)
    assert all(one != two for one, two in zip(losses, without[0], strict=True))


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_fill_one_folder(train: Train, tmp_path: Path) -> None:
    def of_a_process(use: bool) -> tuple[list[float], int, int]:
        cache = FeatureCache(tmp_path / "features", 1) if use else None
        losses, _ = train(cache, max_epochs=2)
        return losses, cache.num_hits if cache else 0, cache.num_items if cache else 0

    for folder in ("without", "cold", "warm"):
        (tmp_path / folder).mkdir()
    without = in_two_processes(of_a_process, tmp_path / "without", False)
    cold = in_two_processes(of_a_process, tmp_path / "cold", True)
    warm = in_two_processes(of_a_process, tmp_path / "warm", True)
    for rank in range(2):
        assert cold[rank][0] == warm[rank][0] == without[rank][0]
        assert warm[rank][1] == warm[rank][2] > 0
