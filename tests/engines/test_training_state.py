from __future__ import annotations

import copy
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.optimization import get_scheduler
from ignite.engine import Events
from monai.data import DataLoader
from monai.handlers import ValidationHandler
from monai.transforms import Compose, RandFlipd, RandGaussianNoised
from transformers import Dinov2Config, Dinov2Model

from leaf_seg.data import SliceDataset, SliceSampler, load_datalist, make_phantoms
from leaf_seg.diffusion import TimestepSampler
from leaf_seg.distillation import Alignment, FeatureDistillation
from leaf_seg.engines import (
    BundleEvaluator,
    BundleTrainer,
    PrepareDenoisingBatch,
    WeightAverage,
    trainable_parameters,
    training_state,
)
from leaf_seg.engines.training_state import lay_out_as_parameters
from leaf_seg.handlers import EarlyStopping, FinalValidation
from leaf_seg.inference import AutocastInferer, SegmentationInferer
from leaf_seg.networks import LatentSegmenter, MaskCodec, MaskEncoder
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.load_case import LoadCase
from leaf_seg.transforms.scale_image import ScaleImage
from tests.conftest import denoising_loss

NUM_BATCHES, ACCUMULATION, MAX_EPOCHS = 5, 2, 4


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SliceDataset:
    root = make_phantoms(tmp_path_factory.mktemp("phantoms"), num_cases=14, size=(20, 20), channels=1)
    preprocessing = Compose([LoadCase(), ScaleImage("image", window=None)])
    augmentation = Compose([RandFlipd(["image", "label"], prob=0.5), RandGaussianNoised("image", prob=0.5)])
    cases = load_datalist(str(root)).training[:9]
    return SliceDataset(cases, preprocessing, (16, 16), augmentation=augmentation)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture
def make_trainer(
    dataset: SliceDataset,
    teacher: Path,
    make_segmenter: Callable[..., LatentSegmenter],
    make_autoencoder: Callable[..., Autoencoder],
) -> Callable[..., BundleTrainer]:
    """Factory of trainers with everything that has a state; each starts from other weights and random states."""

    def make(seed: int = 0, num_workers: int = 0, **options: Any) -> BundleTrainer:
        network = make_segmenter(seed=seed, encoder_dropout=0.2)
        torch.manual_seed(seed)
        optimizer = torch.optim.AdamW(trainable_parameters(network), lr=1e-3, fused=True)
        average = WeightAverage(network, decay=0.9)
        validator = BundleEvaluator(
            device="cpu",
            network=network,
            val_data_loader=[{"image": torch.rand(1, 1, 16, 16)}],
            inferer=SegmentationInferer((16, 16)),
            ema=average,
        )
        validator.state.metrics = {"dice": 0.5}
        validator.state.key_metric_name = "dice"
        arguments: dict[str, Any] = {
            "train_handlers": [
                FeatureDistillation(Alignment(network.unet, teacher, 0.5), optimizer, hidden_dim=16, seed=seed),
                ValidationHandler(1, validator, epoch_level=True),
                EarlyStopping(validator, patience=99),
                FinalValidation(validator),
            ],
            "lr_scheduler": partial(get_scheduler, "cosine", num_warmup_steps=2),
            "ema": average,
            "max_grad_norm": 1.0,
            "accumulation_steps": ACCUMULATION,
            "max_epochs": MAX_EPOCHS,
        }
        return BundleTrainer(
            device="cpu",
            train_data_loader=DataLoader(
                dataset,
                batch_size=2,
                sampler=SliceSampler(dataset, seed=3),
                num_workers=num_workers,
                generator=torch.Generator().manual_seed(0),
            ),
            network=network,
            optimizer=optimizer,
            loss_function=denoising_loss(network),
            inferer=AutocastInferer("fp32"),
            prepare_batch=PrepareDenoisingBatch(
                network.schedule, MaskEncoder(make_autoencoder(), MaskCodec(3)), TimestepSampler()
            ),
            **(arguments | options),
        )

    return make


def saved(trainer: BundleTrainer) -> dict[str, Any]:
    """The state as it comes back from a file."""
    file = io.BytesIO()
    torch.save(training_state(trainer), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def run_and_save(trainer: BundleTrainer, steps: list[int]) -> dict[int, dict[str, Any]]:
    """Train to the end; the states between steps, at the end of an epoch those after its validation."""
    states = {}

    def note(engine: Any, ends_epoch: bool) -> None:
        step = engine.state.iteration
        if step in steps and (step % NUM_BATCHES == 0) == ends_epoch:
            states[step] = saved(engine)

    trainer.add_event_handler(Events.ITERATION_COMPLETED, note, False)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, note, True)
    trainer.run()
    return states


def assert_equal(one: Any, two: Any, where: str = "state") -> None:
    if isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_equal(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), where
        for index, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_equal(a, b, f"{where}.{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    else:
        assert one == two, where


@pytest.mark.parametrize("step", [4, 10, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 5, 14))])
def test_a_resumed_training_ends_like_one_that_was_not_stopped(
    step: int, make_trainer: Callable[..., BundleTrainer]
) -> None:
    whole = make_trainer()
    state = run_and_save(whole, [step])[step]
    resumed = make_trainer(seed=step)  # other weights, other random state
    resumed.restore(state)
    torch.rand(100)  # starting a run may draw
    assert resumed.state.iteration == step
    resumed.run()
    assert resumed.state.iteration == MAX_EPOCHS * NUM_BATCHES
    assert_equal(saved(resumed), saved(whole))


@pytest.mark.slow
def test_a_stop_changes_nothing_but_the_order_does(make_trainer: Callable[..., BundleTrainer]) -> None:
    """The comparison above can fail: without the place in the data the results differ."""
    whole = make_trainer()
    state = run_and_save(whole, [2])[2]
    resumed = make_trainer()
    resumed.restore(state)
    resumed.data_loader.sampler.start_at(0, 0)  # type: ignore[union-attr]
    resumed.run()
    before, after = (saved(trainer)["parts"]["network"] for trainer in (whole, resumed))
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_weights_do_not_depend_on_the_workers(make_trainer: Callable[..., BundleTrainer]) -> None:
    states = []
    for num_workers in (0, 2):
        trainer = make_trainer(num_workers=num_workers)
        trainer.run()
        states.append(saved(trainer))
    assert_equal(states[0], states[1])


def test_the_state_is_a_snapshot_of_every_part(make_trainer: Callable[..., BundleTrainer]) -> None:
    trainer = make_trainer()
    state = saved(trainer)
    assert set(state["parts"]) == {
        "network",
        "optimizer",
        "lr_scheduler",
        "ema",
        "FeatureDistillation",
        "EarlyStopping",
        "FinalValidation",
    }
    before = copy.deepcopy(state)
    trainer.run()
    assert_equal(state, before)


@pytest.mark.slow
def test_a_complete_training_is_not_trained_again(make_trainer: Callable[..., BundleTrainer]) -> None:
    whole = make_trainer()
    whole.run()
    state = saved(whole)
    again = make_trainer(seed=1)
    again.restore(state)
    steps: list[object] = []
    again.add_event_handler(Events.ITERATION_STARTED, steps.append)
    again.run()
    assert not steps
    assert_equal(saved(again)["parts"], state["parts"])


def test_more_epochs_go_on(make_trainer: Callable[..., BundleTrainer]) -> None:
    whole = make_trainer()
    whole.run()
    longer = make_trainer(max_epochs=MAX_EPOCHS + 1)
    longer.restore(saved(whole))
    longer.run()
    assert longer.state.iteration == (MAX_EPOCHS + 1) * NUM_BATCHES


def test_other_data_is_an_error(make_trainer: Callable[..., BundleTrainer]) -> None:
    state = saved(make_trainer())
    with pytest.raises(InputError, match=r"made with 7 batches an epoch, this training has 5"):
        make_trainer().restore(state | {"epoch_length": 7})


def test_another_split_is_an_error(make_trainer: Callable[..., BundleTrainer]) -> None:
    state = saved(make_trainer(data_id="abc"))
    with pytest.raises(InputError, match=r"another split of it \(hash abc, now xyz\)"):
        make_trainer(data_id="xyz").restore(state)


@pytest.mark.slow
def test_the_loss_scale_goes_on(make_trainer: Callable[..., BundleTrainer]) -> None:
    """MONAI's trainer makes its GradScaler when it starts to run."""

    def make_scaler(engine: BundleTrainer, scale: float) -> None:
        engine.scaler = torch.amp.GradScaler("cpu", init_scale=scale)  # type: ignore[assignment]

    whole = make_trainer()
    whole.add_event_handler(Events.STARTED, make_scaler, 8.0)
    state = run_and_save(whole, [4])[4]
    resumed = make_trainer()
    resumed.add_event_handler(Events.STARTED, make_scaler, 2.0)
    resumed.restore(state)
    resumed.run()
    assert resumed.scaler is not None
    assert resumed.scaler.get_scale() == 8.0


def test_other_parts_are_an_error(make_trainer: Callable[..., BundleTrainer]) -> None:
    state = saved(make_trainer())
    with pytest.raises(InputError, match=r"holds the state of .*EarlyStopping.*this training has"):
        make_trainer(train_handlers=[]).restore(state)


def test_another_network_is_an_error(make_trainer: Callable[..., BundleTrainer]) -> None:
    state = saved(make_trainer())
    state["parts"]["network"].pop("noise")
    with pytest.raises(InputError, match=r"(?s)network does not fit this training .*noise"):
        make_trainer().restore(state)


def test_nothing_to_restore(make_trainer: Callable[..., BundleTrainer]) -> None:
    trainer = make_trainer()
    trainer.restore(None)
    assert trainer.state.iteration == 0


def test_an_optimizer_that_is_restored_is_laid_out_as_the_parameters() -> None:
    """Fused AdamW goes through memory: moments in another order would be those of other weights."""
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        network = torch.nn.Conv2d(8, 8, 3)
        image = torch.randn(2, 8, 6, 6)

        def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer, image: torch.Tensor = image) -> None:
            optimizer.zero_grad()
            network(image).square().mean().backward()
            optimizer.step()

        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
        for _ in range(2):
            step(network, optimizer)
        again = copy.deepcopy(network).to(memory_format=layout)  # type: ignore[call-overload]
        restored = torch.optim.AdamW(again.parameters(), lr=0.1, fused=True)
        restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        lay_out_as_parameters(restored)
        step(again, restored)
        results.append(again.weight.detach())
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)
