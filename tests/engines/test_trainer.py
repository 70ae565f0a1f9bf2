from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.optimization import get_scheduler
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.engines import PrepareBatch
from torch import nn
from torch.utils.data import DataLoader

from leaf_seg.diffusion import TimestepSampler
from leaf_seg.engines import (
    BundleTrainer,
    PrepareDenoisingBatch,
    ShareOfSteps,
    WeightAverage,
    trainable_parameters,
)
from leaf_seg.inference import AutocastInferer
from leaf_seg.networks import LatentSegmenter, MaskCodec, MaskEncoder
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.runtime.errors import InputError
from tests.conftest import denoising_loss

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "leaf_seg" / "configs"
Make = Callable[..., LatentSegmenter]
Weights = dict[str, torch.Tensor]
warmup = partial(get_scheduler, "constant_with_warmup", num_warmup_steps=4)


class PrepareFromSample(PrepareBatch):
    """Noise and timestep come with the sample, so that they do not depend on the batches."""

    def __init__(self, network: LatentSegmenter) -> None:
        self.network = network

    def __call__(self, batchdata: Weights, *_: Any, **__: Any) -> tuple:
        clean, noise, timesteps = (batchdata[key] for key in ("clean", "noise", "timesteps"))
        noisy = self.network.schedule.add_noise(clean, noise, timesteps)
        target = self.network.schedule.target(clean, noise, timesteps)
        return batchdata["image"], {"target": target}, (noisy, timesteps), {}


def make_samples(number: int) -> list[Weights]:
    generator = torch.Generator().manual_seed(2)
    shapes = {"image": (3, 16, 16), "clean": (4, 4, 4), "noise": (4, 4, 4)}
    return [
        {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
        | {"timesteps": torch.tensor(97 * index % 1000)}
        for index in range(number)
    ]


def make_trainer(network: LatentSegmenter, batch_size: int = 4, number: int = 8, **options: Any) -> BundleTrainer:
    """A trainer in double precision, so that rounding does not blur what is compared."""
    network.double()
    arguments: dict[str, Any] = {
        "optimizer": torch.optim.AdamW(trainable_parameters(network), lr=1e-2, weight_decay=0.05),
        "prepare_batch": PrepareFromSample(network),
        "train_data_loader": DataLoader(make_samples(number), batch_size=batch_size),  # type: ignore[arg-type]
        "max_epochs": 3,
    }
    return BundleTrainer(
        device="cpu",
        network=network,
        loss_function=denoising_loss(network),
        **(arguments | options),
    )


def copy_weights(network: nn.Module) -> Weights:
    return {name: value.clone() for name, value in network.state_dict().items()}


def averaged_weights(average: WeightAverage, network: nn.Module) -> Weights:
    with average.applied():
        return copy_weights(network)


@pytest.mark.parametrize("parameterization", ["x0", "v"])
def test_accumulated_batches_of_one_equal_a_batch_of_four(parameterization: str, make_segmenter: Make) -> None:
    results = []
    for batch_size in (4, 1):
        network = make_segmenter(parameterization=parameterization)
        start = copy_weights(network.double())
        average = WeightAverage(network, decay=0.9)
        trainer = make_trainer(
            network,
            batch_size,
            accumulation_steps=4 // batch_size,
            max_grad_norm=0.1,
            lr_scheduler=warmup,
            ema=average,
        )
        trainer.run()
        assert trainer.state.iteration == 3 * 8 // batch_size
        results.append((copy_weights(network), averaged_weights(average, network)))
    (weights, average_weights), others = results[0], results[1]
    torch.testing.assert_close(others[0], weights, rtol=0, atol=1e-9)
    torch.testing.assert_close(others[1], average_weights, rtol=0, atol=1e-9)
    for result in (weights, average_weights):
        assert max((result[name] - start[name]).abs().max().item() for name in start) > 1e-2
    assert (weights["unet.conv_out.weight"] - average_weights["unet.conv_out.weight"]).abs().max() > 1e-4


def test_gradients_are_clipped_once_they_are_whole(make_segmenter: Make) -> None:
    """With clipping of each micro-batch, or none, the weights would move another way."""
    moves = {}
    for norm in (None, 0.01):
        network = make_segmenter()
        network.double()
        optimizer = torch.optim.SGD(trainable_parameters(network), lr=1.0)
        trainer = make_trainer(
            network, 1, 4, accumulation_steps=4, max_grad_norm=norm, optimizer=optimizer, max_epochs=1
        )
        before = copy_weights(network)
        trainer.run()
        moves[norm] = torch.cat([(value - before[name]).flatten() for name, value in network.state_dict().items()])
    assert moves[None].norm() > 0.05
    assert moves[0.01].norm().item() == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(moves[0.01] / 0.01, moves[None] / moves[None].norm(), rtol=1e-3, atol=1e-6)


def test_rate_and_average_advance_with_the_optimizer(make_segmenter: Make) -> None:
    network = make_segmenter().double()
    average = WeightAverage(network)
    trainer = make_trainer(network, 1, lr_scheduler=warmup, accumulation_steps=4, ema=average, max_epochs=2)
    rates, steps = [], []

    @trainer.on(Events.ITERATION_COMPLETED)
    def note(engine: Engine) -> None:
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        steps.append(average.state_dict()["optimization_step"])

    trainer.run()
    assert steps == [0] * 3 + [1] * 4 + [2] * 4 + [3] * 4 + [4]
    assert rates == pytest.approx([0.01 * step / 4 for step in steps])


def test_schedule_spans_the_optimizer_steps_of_the_run(make_segmenter: Make) -> None:
    trainer = make_trainer(
        make_segmenter(),
        batch_size=1,
        number=10,  # 3 steps an epoch: the rest of an epoch makes one of its own
        accumulation_steps=4,
        max_epochs=2,
        lr_scheduler=partial(get_scheduler, "linear", num_warmup_steps=0),
    )
    rates = []
    trainer.optimizer.register_step_pre_hook(lambda *_: rates.append(trainer.optimizer.param_groups[0]["lr"]))
    trainer.run()
    assert rates == pytest.approx([0.01 * left / 6 for left in (6, 5, 4, 3, 2, 1)])
    assert trainer.optimizer.param_groups[0]["lr"] == 0


def test_schedule_that_is_longer_than_the_run(make_segmenter: Make) -> None:
    linear = partial(get_scheduler, "linear", num_warmup_steps=0)
    trainer = make_trainer(
        make_segmenter(), batch_size=1, number=3, max_epochs=2, lr_scheduler=linear, schedule_epochs=4
    )
    trainer.run()
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    with pytest.raises(InputError, match="schedule_epochs is 1; expected at least max_epochs, 2"):
        make_trainer(make_segmenter(), max_epochs=2, lr_scheduler=linear, schedule_epochs=1)


def test_rate_stays_without_a_schedule(make_segmenter: Make) -> None:
    trainer = make_trainer(make_segmenter(), max_epochs=1)
    trainer.run()
    assert trainer.optimizer.param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("autoencoder", ["kl", "tiny"])
@pytest.mark.parametrize("image_loss_weight", [0.0, 0.5])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_frozen_parts_do_not_move(
    autoencoder: str,
    image_loss_weight: float,
    precision: str,
    make_segmenter: Make,
    make_autoencoder: Callable[..., Autoencoder],
) -> None:
    network = make_segmenter(autoencoder=autoencoder)
    mask_encoder = MaskEncoder(make_autoencoder(autoencoder), MaskCodec(3))
    before = {module: copy_weights(module) for module in (network, mask_encoder)}
    samples = [
        {"image": torch.rand(3, 16, 16), "label": torch.randint(0, 3, (1, 16, 16), dtype=torch.uint8)} for _ in range(6)
    ]
    trainer = BundleTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=DataLoader(samples, batch_size=2),  # type: ignore[arg-type]
        network=network,
        optimizer=torch.optim.AdamW(trainable_parameters(network), lr=1e-2),
        loss_function=denoising_loss(network, image_loss_weight=image_loss_weight),
        inferer=AutocastInferer(precision),
        prepare_batch=PrepareDenoisingBatch(network.schedule, mask_encoder, TimestepSampler()),
        max_grad_norm=1.0,
        precision=precision,
    )
    trainer.run()
    assert trainer.state.iteration == 3
    moved = {
        name
        for module, weights in before.items()
        for name, value in module.state_dict().items()
        if not torch.equal(value, weights[name])
    }
    assert {name.split(".")[0] for name in moved} == {"unet", "image_encoder"}
    weights = {name for name, parameter in network.named_parameters() if parameter.requires_grad and parameter.ndim > 1}
    assert weights <= moved
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_trains_in_training_mode_after_a_validation(make_segmenter: Make) -> None:
    """The published code leaves dropout off after a validation."""
    network = make_segmenter()
    modes = []
    trainer = make_trainer(network, max_epochs=2)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: network.eval())
    network.unet.register_forward_hook(
        lambda module, *_: modes.append((module.training, network.mask_decoder.training))
    )
    trainer.run()
    assert modes == [(True, False)] * 4


def test_loss_goes_down(make_segmenter: Make) -> None:
    network = make_segmenter()
    trainer = make_trainer(network, 8, max_grad_norm=1.0, max_epochs=40)
    losses = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"].item())
    )
    trainer.run()
    assert losses[-1] < 0.6 * losses[0]


def test_same_seed_same_weights(make_segmenter: Make) -> None:
    results = []
    for _ in range(2):
        network = make_segmenter()
        make_trainer(network, max_epochs=1).run()
        results.append(copy.deepcopy(network.state_dict()))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_fp16_needs_cuda(make_segmenter: Make) -> None:
    with pytest.raises(InputError, match="fp16 needs a CUDA device, found cpu; use bf16 or fp32"):
        make_trainer(make_segmenter(), precision="fp16")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_an_error(value: float, make_segmenter: Make) -> None:
    samples = make_samples(8)
    samples[5]["clean"][0, 0, 0] = value
    trainer = make_trainer(make_segmenter(), train_data_loader=DataLoader(samples, batch_size=2))  # type: ignore[arg-type]
    completed: list[object] = []
    trainer.add_event_handler(Events.COMPLETED, completed.append)
    with pytest.raises(InputError, match=r"The loss is (nan|inf) at step 3, epoch 1.*Lower learning_rate"):
        trainer.run()
    assert not completed  # no last validation of spoilt weights


@pytest.mark.parametrize(("steps", "warns"), [(5, False), (6, True), (100, True)])
def test_warm_up_as_long_as_the_training(
    steps: int, warns: bool, make_segmenter: Make, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(make_segmenter(), lr_scheduler=partial(get_scheduler, "constant_with_warmup", num_warmup_steps=steps))
    assert ("The warm-up takes all 6 steps" in caplog.text) == warns


@pytest.mark.parametrize(("share", "steps"), [(0.5, 3), (1.0, 4)])  # of 6 steps; at most 4
def test_warm_up_and_average_fit_the_steps_there_are(share: float, steps: int, make_segmenter: Make) -> None:
    network = make_segmenter()
    average = WeightAverage(network.double(), ShareOfSteps(500, share))
    warm = partial(get_scheduler, "constant_with_warmup", num_warmup_steps=ShareOfSteps(4, share))
    trainer = make_trainer(network, lr_scheduler=warm, ema=average)
    rates: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: rates.append(trainer.optimizer.param_groups[0]["lr"]))
    trainer.run()
    assert rates == pytest.approx([0.01 * min(1, (step + 1) / steps) for step in range(6)])
    assert average.state_dict()["decay"] == pytest.approx(1 - 1 / (6 * share))


def test_a_new_training_is_not_said_to_be_resumed(make_segmenter: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    make_trainer(make_segmenter(), max_epochs=1).run()
    assert "Engine run finished" in caplog.text
    assert "resuming" not in caplog.text


@pytest.mark.parametrize(("precision", "fused"), [("bf16", True), ("fp32", True), ("fp16", False)])
def test_the_fused_optimizer_is_not_for_scaled_gradients(precision: str, fused: bool) -> None:
    """It takes the scale off itself, behind the hook that clips."""
    config = json.loads((CONFIGS / "train.json").read_text())
    optimizer = config["optimizer"] | {"params": [torch.nn.Parameter(torch.zeros(2))]}
    settings = {key: config[key] for key in ("learning_rate", "weight_decay")} | {
        "precision": precision,
        "suggested": {},
    }
    made = ConfigParser(settings | {"optimizer": optimizer}).get_parsed_content("optimizer")
    assert made.param_groups[0]["fused"] is fused


@pytest.mark.parametrize("kept", [True, "true", False, "false"])
def test_memory_is_kept_as_long_as_it_trains(
    kept: bool | str, make_segmenter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    @contextmanager
    def recorded() -> Iterator[bool]:
        told.append("from here")
        yield True
        told.append("to here")

    monkeypatch.setattr("leaf_seg.engines.trainer.freed_memory_kept", recorded)
    trainer = make_trainer(make_segmenter(), batch_size=2, keep_memory=kept)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: told.append("a step"))
    trainer.run()
    assert told == (["from here", "a step", "to here"] if str(kept).lower() == "true" else ["a step"])
