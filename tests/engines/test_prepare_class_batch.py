from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from leaf_seg.diffusion import TimestepSampler
from leaf_seg.engines import BundleTrainer, PrepareClassBatch, WeightAverage, parameter_groups, training_state
from leaf_seg.losses import DenoisingLoss
from leaf_seg.networks import ClassMasksCodec, ClassPassSegmenter, DrawnClass, MaskCodec, MaskEncoder
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.runtime.errors import InputError
from tests.two_processes import in_two_processes

Make = Callable[..., ClassPassSegmenter]
MakeAutoencoder = Callable[..., Autoencoder]
PART = "unet.class_embedding"


@pytest.fixture
def network(make_segmenter: Make) -> ClassPassSegmenter:
    return make_segmenter(kind=ClassPassSegmenter, parameterization="eps", image_latent_first=False)


@pytest.fixture
def prepare(network: ClassPassSegmenter, make_autoencoder: MakeAutoencoder) -> PrepareClassBatch:
    encoder = MaskEncoder(make_autoencoder(), MaskCodec(2))
    return PrepareClassBatch(network.schedule, encoder, TimestepSampler(), DrawnClass(3))


def make_batch(number: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 3, (number, 1, 16, 16), generator=generator, dtype=torch.uint8)
    label[0] = 0
    label[1] = 2
    return {"image": torch.rand(number, 3, 16, 16, generator=generator), "label": label}


def test_the_latent_is_that_of_the_drawn_class(prepare: PrepareClassBatch, network: ClassPassSegmenter) -> None:
    batch = make_batch()
    image, targets, (noisy, timesteps), keywords = prepare(batch, "cpu")
    classes = keywords["class_labels"]
    assert classes[:2].tolist() == [0, 2]  # an empty slice, and one of a single class
    images = ClassMasksCodec(3).encode(batch["label"]).unflatten(0, (4, 3))[torch.arange(4), classes]
    assert isinstance(prepare.mask_encoder, MaskEncoder)
    torch.testing.assert_close(targets["clean"], prepare.mask_encoder.encoder(images))
    assert torch.equal(targets["label"][:, 1] > 0, images[:, 0] > 0)
    assert torch.equal(image, batch["image"])
    output = network(image, noisy, timesteps, **keywords)
    assert output.shape == targets["target"].shape == (4, 4, 4, 4)
    loss = DenoisingLoss(network.schedule, network.mask_decoder, MaskCodec(2), image_loss_weight=1.0)
    assert loss(output, targets).isfinite()  # in image space it is of the binary mask


def test_an_encoder_of_other_classes_is_refused(network: ClassPassSegmenter, make_autoencoder: MakeAutoencoder) -> None:
    encoder = MaskEncoder(make_autoencoder(), MaskCodec(3))
    with pytest.raises(InputError, match="codec is of 3 classes; expected 2"):
        PrepareClassBatch(network.schedule, encoder, TimestepSampler(), DrawnClass(3))


@pytest.mark.dist
def test_two_processes_draw_what_one_would(prepare: PrepareClassBatch, tmp_path: Path) -> None:
    batch = make_batch(8)

    def drawn(share: int = 0, of: int = 1) -> torch.Tensor:
        from leaf_seg.runtime.distributed import num_processes, rank

        share, of = rank(), num_processes()
        torch.manual_seed(7)
        _, _, (noisy, _), keywords = prepare({key: value[share::of] for key, value in batch.items()})
        return torch.cat([keywords["class_labels"][:, None], noisy.flatten(1)], dim=1)

    alone = drawn()
    for share, found in enumerate(in_two_processes(drawn, tmp_path)):
        torch.testing.assert_close(found, alone[share::2])


def groups(network: ClassPassSegmenter, factor: float = 100.0) -> list[dict[str, Any]]:
    return parameter_groups(network, PART, learning_rate=1e-4, factor=factor)


def test_the_class_embedding_learns_at_another_rate(network: ClassPassSegmenter, prepare: PrepareClassBatch) -> None:
    """One step of AdamW without decay moves a weight by its rate, where it has a gradient."""
    image, targets, arguments, keywords = prepare(make_batch())
    loss = DenoisingLoss(network.schedule, network.mask_decoder, MaskCodec(2), latent_loss_weight=1.0)
    optimizer = torch.optim.AdamW(groups(network), lr=1e-4, weight_decay=0.0)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    loss(network(image, *arguments, **keywords), targets).backward()
    optimizer.step()
    moved = {name: (value - before[name]).abs().amax().item() for name, value in network.named_parameters()}
    assert moved.pop(f"{PART}.weight") == pytest.approx(1e-2, rel=1e-3)
    assert max(moved.values()) == pytest.approx(1e-4, rel=1e-2)
    absent = [k for k in range(3) if k not in keywords["class_labels"].tolist()]
    assert torch.equal(network.unet.class_embedding.weight[absent], before[f"{PART}.weight"][absent])


def test_every_parameter_is_in_one_group(network: ClassPassSegmenter) -> None:
    rest, own = groups(network, factor=3)
    assert [id(parameter) for parameter in own["params"]] == [id(network.unet.class_embedding.weight)]
    assert own["lr"] == pytest.approx(3e-4)
    trainable = {id(parameter) for parameter in network.parameters() if parameter.requires_grad}
    assert {id(parameter) for parameter in [*rest["params"], *own["params"]]} == trainable
    assert len(rest["params"]) + 1 == len(trainable)
    for part in ("unet.no_such", "mask_decoder"):  # the decoder is frozen
        with pytest.raises(InputError, match=f"no part '{part}' that trains"):
            parameter_groups(network, part, 1e-4, 100)


def make_trainer(network: ClassPassSegmenter, prepare: PrepareClassBatch, **options: Any) -> BundleTrainer:
    batch = make_batch(8)
    samples: Any = [{key: value[index] for key, value in batch.items()} for index in range(8)]
    loader = torch.utils.data.DataLoader(samples, batch_size=4, generator=torch.Generator())
    return BundleTrainer(
        device="cpu",
        train_data_loader=loader,
        network=network,
        optimizer=torch.optim.AdamW(groups(network), lr=1e-4),
        loss_function=DenoisingLoss(network.schedule, network.mask_decoder, MaskCodec(2), latent_loss_weight=1.0),
        prepare_batch=prepare,
        ema=WeightAverage(network),
        **({"max_epochs": 2} | options),
    )


def test_a_resumed_training_draws_the_same_classes(network: ClassPassSegmenter, prepare: PrepareClassBatch) -> None:
    start = copy.deepcopy(network.state_dict())
    torch.manual_seed(0)
    make_trainer(network, prepare).run()
    expected = copy.deepcopy(network.state_dict())

    network.load_state_dict(start)
    torch.manual_seed(0)
    stopped = make_trainer(network, prepare, max_epochs=1)
    stopped.run()
    state = copy.deepcopy(training_state(stopped))
    network.load_state_dict(start)
    torch.manual_seed(1)
    resumed = make_trainer(network, prepare)
    resumed.restore(state)
    resumed.run()
    assert [name for name, value in network.state_dict().items() if not torch.equal(value, expected[name])] == []


def test_a_schedule_scales_both_rates(network: ClassPassSegmenter, prepare: PrepareClassBatch) -> None:
    def halved(optimizer: torch.optim.Optimizer, num_training_steps: int) -> Any:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)

    trainer = make_trainer(network, prepare, lr_scheduler=halved)
    trainer.run()
    rates = [group["lr"] for group in trainer.optimizer.param_groups]
    assert rates == pytest.approx([1e-4 / 16, 1e-2 / 16])  # after four steps
