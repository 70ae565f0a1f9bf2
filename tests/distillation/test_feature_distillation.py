from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch import nn
from torch.multiprocessing import start_processes
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from leaf_seg.distillation import (
    Alignment,
    FeatureDistillation,
    alignment_loss,
    load_teacher,
    match_tokens,
    spatially_normalized,
)
from leaf_seg.runtime.errors import InputError

Batch = dict[str, torch.Tensor]
LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class TinySegmenter(nn.Module):
    """A U-Net on the first channel, made four times smaller, which stands for the latent."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet2DModel(
            in_channels=3,
            out_channels=2,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=4,
            norm_num_groups=4,
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.unet(functional.avg_pool2d(image[:, :1].expand(-1, 3, -1, -1), 4), 0).sample  # [B, 2, H / 4, W / 4]


def make_batches(number: int = 2, batch_size: int = 2, channels: int = 3) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "image": torch.rand(batch_size, channels, 32, 32, generator=generator),
            "label": torch.rand(batch_size, 2, 8, 8, generator=generator),
        }
        for _ in range(number)
    ]


def make_trainer(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    handlers: Sequence[FeatureDistillation],
    batches: list[Batch] | None = None,
    loss_function: LossFunction = functional.l1_loss,
    max_epochs: int = 1,
) -> SupervisedTrainer:
    return SupervisedTrainer(
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=make_batches() if batches is None else batches,
        network=network,
        optimizer=optimizer,
        loss_function=loss_function,
        train_handlers=handlers,
    )


def make_parts(teacher: Path, **options: object) -> tuple[TinySegmenter, torch.optim.Optimizer, FeatureDistillation]:
    network = TinySegmenter()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    arguments: dict = {"weight": 0.5, "hidden_dim": 16, **options}
    aligned = {name: arguments.pop(name) for name in ("weight", "layer", "recipe") if name in arguments}
    alignment = Alignment(network.unet, teacher, **aligned)
    return network, optimizer, FeatureDistillation(alignment, optimizer, **arguments)


def run(trainer: SupervisedTrainer) -> dict[str, torch.Tensor]:
    """Run the trainer; the output of its last step, before it is decollated."""
    output: dict[str, torch.Tensor] = {}
    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, lambda engine: output.update(engine.state.output))
    trainer.run()
    return output


@pytest.fixture
def folder(teacher_folders: dict[str, Path]) -> Path:
    return teacher_folders["dinov2"]


def test_alignment_loss_by_hand() -> None:
    teacher_tokens = torch.tensor([[[2.0, 0.0], [0.0, 3.0]], [[1.0, 1.0], [1.0, 0.0]]])
    projected = torch.tensor([[[5.0, 0.0], [0.0, -1.0]], [[0.0, 4.0], [0.0, 1.0]]])
    cosines = (1 - 1 + math.sqrt(0.5) + 0) / 4
    assert alignment_loss(teacher_tokens, projected).item() == pytest.approx(-cosines)


def test_alignment_loss_is_fp32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = alignment_loss(torch.randn(1, 4, 8), torch.randn(1, 4, 8, dtype=torch.bfloat16))
    assert loss.dtype == torch.float32


def test_alignment_loss_does_not_broadcast() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        alignment_loss(torch.randn(1, 4, 8), torch.randn(2, 4, 8))


def test_tokens_on_the_same_grid_stay() -> None:
    tokens = torch.randn(2, 6, 5)
    assert match_tokens(tokens, (2, 3), (2, 3)) is tokens


def test_tokens_on_a_finer_grid() -> None:
    tokens = torch.tensor([0.0, 1.0, 10.0, 11.0]).view(1, 4, 1)  # value = 10 * row + column
    rows, columns = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 0.25, 0.75, 1.0])
    expected = 10 * rows[:, None] + columns[None]
    torch.testing.assert_close(match_tokens(tokens, (2, 2), (3, 4)).view(3, 4), expected)


def test_tokens_on_a_coarser_grid_use_them_all() -> None:
    tokens = torch.zeros(1, 64, 1)
    tokens[0, 0] = 1.0  # a corner, which interpolation between the nearest four would miss
    assert match_tokens(tokens, (8, 8), (2, 2))[0, 0].item() > 0


@pytest.mark.parametrize("kind", ["dinov2", "dinov2_with_registers", "clip_vision_model"])
def test_alignment_alone_trains_unet_and_projector_not_teacher(kind: str, teacher_folders: dict[str, Path]) -> None:
    network, optimizer, distillation = make_parts(teacher_folders[kind])
    teacher_before = copy.deepcopy(distillation.teacher.state_dict())
    projector_before = copy.deepcopy(distillation.projector.state_dict())
    trainer = make_trainer(network, optimizer, [distillation], loss_function=lambda pred, label: 0 * pred.sum())

    trainer.run()

    unet = network.unet
    for parameter in [*unet.conv_in.parameters(), *unet.get_submodule("down_blocks.0.resnets.0").parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0
    for parameter in unet.conv_out.parameters():  # behind the aligned layer
        assert parameter.grad is not None
        assert parameter.grad.abs().max() == 0
    for name, value in distillation.projector.state_dict().items():
        assert not torch.equal(value, projector_before[name])
    for name, value in distillation.teacher.state_dict().items():
        assert torch.equal(value, teacher_before[name])
    assert all(parameter.grad is None for parameter in distillation.teacher.parameters())


@pytest.mark.parametrize(("channels", "recipe"), [(1, "repa"), (3, "repa"), (3, "irepa")])
def test_loss_is_prediction_plus_weighted_alignment(channels: int, recipe: str, folder: Path) -> None:
    network, optimizer, distillation = make_parts(folder, weight=0.75, recipe=recipe)
    batches = make_batches(number=1, channels=channels)
    image, label = batches[0]["image"], batches[0]["label"]
    seen: list[torch.Tensor] = []
    hook = network.unet.get_submodule("down_blocks.0.resnets.0").register_forward_hook(
        lambda module, inputs, output: seen.append(output)
    )
    with torch.no_grad():
        prediction = functional.l1_loss(network(image), label)
        tokens = load_teacher(folder)(image.expand(-1, 3, -1, -1))
        tokens = match_tokens(spatially_normalized(tokens) if recipe == "irepa" else tokens, (16, 16), (8, 8))
        alignment = alignment_loss(tokens, distillation.projector(seen[0]))
    hook.remove()

    output = run(make_trainer(network, optimizer, [distillation], batches))

    torch.testing.assert_close(output["loss_prediction"], prediction)
    torch.testing.assert_close(output["loss_alignment"], alignment)
    torch.testing.assert_close(output["loss"].detach(), prediction + 0.75 * alignment)
    assert not output["loss_prediction"].requires_grad
    assert not output["loss_alignment"].requires_grad


@pytest.mark.parametrize("recipe", ["repa", "irepa"])
def test_training_aligns(recipe: str, folder: Path) -> None:
    network, optimizer, distillation = make_parts(folder, hidden_dim=64, recipe=recipe)
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 1e-2
    trainer = make_trainer(network, optimizer, [distillation], make_batches(number=1), max_epochs=40)
    losses: list[float] = []
    trainer.add_event_handler(
        IterationEvents.BACKWARD_COMPLETED, lambda engine: losses.append(engine.state.output["loss_alignment"].item())
    )
    trainer.run()
    assert losses[-1] < losses[0] - 0.5
    assert losses[-1] < -0.7


@pytest.mark.parametrize("layer", ["conv_in", "down_blocks.0.downsamplers.0", "mid_block.attentions.0", "up_blocks.1"])
@pytest.mark.parametrize("recipe", ["repa", "irepa"])
def test_every_layer_with_a_feature_map(recipe: str, layer: str, folder: Path) -> None:
    network, optimizer, distillation = make_parts(folder, layer=layer, recipe=recipe)
    assert run(make_trainer(network, optimizer, [distillation]))["loss_alignment"].isfinite()


def test_unknown_layer_names_the_nearest(folder: Path) -> None:
    with pytest.raises(InputError, match=r"'down_blocks.0.resnet.0'.*down_blocks\.0\.resnets\.0"):
        make_parts(folder, layer="down_blocks.0.resnet.0")


def test_a_unet_that_is_told_a_class(folder: Path) -> None:
    network = TinySegmenter()
    network.unet = UNet2DModel.from_config(network.unet.config, num_class_embeds=3)
    unet = network.unet
    network.forward = lambda image: unet(image[..., ::4, ::4], 0, class_labels=torch.tensor([0, 2])).sample  # type: ignore[method-assign]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    distillation = FeatureDistillation(Alignment(unet, folder, 1.0, recipe="irepa"), optimizer)
    assert run(make_trainer(network, optimizer, [distillation]))["loss_alignment"].isfinite()
    assert unet.class_embedding.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("layer", "there"),
    [
        (
            "",
            "conv_in, time_proj, time_embedding, down_blocks, up_blocks, mid_block, conv_norm_out, conv_act, conv_out",
        ),
        ("down_blocks.2.resnets.0", r"down_blocks\.0, down_blocks\.1"),
        ("conv_in.0", "none"),
    ],
)
def test_unknown_layer_names_what_is_there(layer: str, there: str, folder: Path) -> None:
    with pytest.raises(InputError, match=rf"to align, a UNet2DModel. There: {there}; .*Set --alignment_layer"):
        make_parts(folder, layer=layer)


def test_unknown_recipe(folder: Path) -> None:
    with pytest.raises(InputError, match="alignment_recipe is 'repa-e'; expected one of repa, irepa"):
        make_parts(folder, recipe="repa-e")


@pytest.mark.parametrize("layer", ["down_blocks.0", "down_blocks.0.resnets", "time_embedding"])
def test_layer_without_a_feature_map(layer: str, folder: Path) -> None:
    with pytest.raises(InputError, match="gives no feature map"):
        make_parts(folder, layer=layer)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_weight_must_be_above_zero(weight: float, folder: Path) -> None:
    with pytest.raises(InputError, match="--alignment_weight 0"):
        make_parts(folder, weight=weight)


def test_images_of_other_channels(folder: Path) -> None:
    network, optimizer, distillation = make_parts(folder)
    trainer = make_trainer(network, optimizer, [distillation], make_batches(channels=2))
    with pytest.raises(InputError, match="1 or 3 channels, found 2"):
        trainer.run()


def test_network_stays_as_it_was(folder: Path) -> None:
    network, optimizer, distillation = make_parts(folder)
    make_trainer(network, optimizer, [distillation]).run()
    assert network.state_dict().keys() == TinySegmenter().state_dict().keys()
    assert not any(module._forward_hooks for module in network.modules())


def test_validation_within_a_step_is_not_aligned(folder: Path) -> None:
    losses = []
    for validates in (False, True):
        torch.manual_seed(0)
        network, optimizer, distillation = make_parts(folder)
        trainer = make_trainer(network, optimizer, [distillation], make_batches(number=1))

        def validate(engine: Engine, network: TinySegmenter = network) -> None:
            network.eval()
            with torch.no_grad():
                network(torch.zeros(5, 3, 32, 32))
            network.train()

        if validates:
            trainer.add_event_handler(IterationEvents.FORWARD_COMPLETED, validate)
        losses.append(run(trainer)["loss"].item())
    assert losses[0] == losses[1]


def test_network_that_did_not_run(folder: Path) -> None:
    _, optimizer, distillation = make_parts(folder)
    other = TinySegmenter()
    with pytest.raises(RuntimeError, match="did not run in training mode"):
        make_trainer(other, optimizer, [distillation]).run()


def test_feature_is_forgotten_after_use(folder: Path) -> None:
    network, optimizer, distillation = make_parts(folder)
    make_trainer(network, optimizer, [distillation]).run()
    assert distillation._feature is None


def test_fp32_under_autocast(folder: Path) -> None:
    network, optimizer, distillation = make_parts(folder)
    seen: dict[str, torch.Tensor] = {}
    for name in ("teacher", "projector"):
        getattr(distillation, name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({f"{name} input": inputs[0], name: output})
        )
    trainer = make_trainer(network, optimizer, [distillation], make_batches(number=1))
    network.unet.get_submodule("down_blocks.0.resnets.0.conv1").register_forward_hook(
        lambda module, inputs, output: seen.update(unet=output)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = run(trainer)
    assert seen.pop("unet").dtype == torch.bfloat16  # autocast was on
    assert {name: value.dtype for name, value in seen.items()} == dict.fromkeys(seen, torch.float32)
    assert output["loss"].dtype == torch.float32
    assert output["loss_alignment"].dtype == torch.float32


def test_meta_tensors(folder: Path) -> None:
    network, optimizer, distillation = make_parts(folder)
    batches = [{key: MetaTensor(value) for key, value in batch.items()} for batch in make_batches()]
    trainer = make_trainer(network, optimizer, [distillation], batches)  # type: ignore[arg-type]
    assert type(run(trainer)["loss_alignment"]) is torch.Tensor


def test_projector_joins_the_optimizer_with_its_settings(folder: Path) -> None:
    _, optimizer, distillation = make_parts(folder)
    first, added = optimizer.param_groups
    assert added["params"] == list(distillation.projector.parameters())
    assert {key: first[key] for key in first if key != "params"} == {
        key: added[key] for key in added if key != "params"
    }
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    assert scheduler.get_last_lr() == [5e-4, 5e-4]


def test_scheduler_built_before(folder: Path) -> None:
    network = TinySegmenter()
    optimizer = torch.optim.AdamW(network.parameters())
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    with pytest.raises(RuntimeError, match="before the learning-rate scheduler"):
        FeatureDistillation(Alignment(network.unet, load_teacher(folder), 1.0), optimizer)


def test_seed_fixes_the_projector_and_nothing_else(folder: Path) -> None:
    network = TinySegmenter().train()

    def projector(seed: int) -> torch.Tensor:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        distillation = FeatureDistillation(Alignment(network.unet, folder, 1.0), optimizer, hidden_dim=16, seed=seed)
        return next(distillation.projector.parameters()).detach()

    state = torch.random.get_rng_state()
    first = projector(seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert network.unet.training
    torch.rand(5)
    assert torch.equal(projector(seed=3), first)
    assert not torch.equal(projector(seed=4), first)


def _train_a_rank(rank: int, world_size: int, folder: str, output: str) -> None:
    """Two steps of one process on its share of the batches; writes the trained parameters."""
    if world_size > 1:
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{output}/rendezvous",
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=60),
        )
    torch.manual_seed(0)
    network = TinySegmenter()
    model = DistributedDataParallel(network) if world_size > 1 else network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    distillation = FeatureDistillation(Alignment(network.unet, folder, 1.0), optimizer, hidden_dim=16, seed=rank)
    share = [{key: value[rank::world_size] for key, value in batch.items()} for batch in make_batches()]
    make_trainer(model, optimizer, [distillation], share).run()
    state = {"network": network.state_dict(), "projector": distillation.projector.state_dict()}
    torch.save(state, f"{output}/{world_size}_{rank}.pt")


@pytest.mark.dist
def test_two_processes_train_as_one(folder: Path, tmp_path: Path) -> None:
    where = (str(folder), str(tmp_path))
    start_processes(_train_a_rank, (2, *where), nprocs=2, start_method="fork")  # what is imported, is there
    _train_a_rank(0, 1, *where)
    one, *two = (torch.load(tmp_path / name, weights_only=True) for name in ("1_0.pt", "2_0.pt", "2_1.pt"))
    for state in two:
        torch.testing.assert_close(state, one, rtol=1e-4, atol=1e-5)
