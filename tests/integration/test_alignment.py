"""Alignment with a teacher in the other diffusion models, as their overlays put them together, in miniature."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigWorkflow
from monai.engines.utils import IterationEvents
from torch import nn
from transformers import Dinov2Config, Dinov2Model

from leaf_seg.data import make_phantoms
from leaf_seg.distillation import FeatureDistillation
from leaf_seg.engines import BundleTrainer
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.weights import load_network, save_model

CONFIGS = "bundles/leaf_seg/configs"
PARTS = {"noise", "image_encoder", "unet", "mask_decoder"}
UNET = {"unet_config#block_out_channels": [32, 32, 32], "unet_config#layers_per_block": 1}
MAPPER = {"unet_config#block_out_channels": [32], "unet_config#layers_per_block": 1}
RUN = {"image_size": [16, 16], "num_slices": 1, "batch_size": 4, "num_workers": 0, "precision": "fp32"}
Run = Callable[..., subprocess.CompletedProcess[str]]
Content = Callable[[str], Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(tmp_path_factory.mktemp("data"), num_cases=8, num_classes=3, size=(16, 16))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = Dinov2Model(
        Dinov2Config(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    )
    for parameter in model.parameters():  # the usual 0.02 would make all the tokens nearly the same
        nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("teacher")
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def build(
    data: Path, teacher: Path, make_autoencoder: Callable[..., Autoencoder], tmp_path: Path
) -> Callable[..., Content]:
    """Builds the objects of ``train.json`` and the overlay of a method, as they are named there."""

    def make(method: str, **options: Any) -> Content:
        settings: dict[str, Any] = {
            "dataset_dir": str(data),
            "num_classes": 3,
            "output_dir": str(tmp_path / "run"),
            "alignment_weight": 0.75,
            "teacher": str(teacher),
            "train#handlers#1#hidden_dim": 32,
            "learning_rate": 5e-3,
        }
        if method == "medseglatdiff":
            for key in ("autoencoder_dir", "mask_autoencoder_dir"):
                settings[key] = str(tmp_path / key)
                make_autoencoder("vq").save_pretrained(settings[key])
        settings |= RUN | (MAPPER if method == "gms" else UNET) | options
        files = [f"{CONFIGS}/train.json", f"{CONFIGS}/methods/{method}.json"]
        workflow = ConfigWorkflow(files, logging_file=False, workflow_type="train", **settings)
        workflow.initialize()
        return workflow.parser.get_parsed_content

    return make


class Nothing(nn.Module):
    """No loss of the prediction, so that all there is of a gradient is that of the alignment."""

    def forward(self, output: torch.Tensor, targets: object) -> torch.Tensor:
        return 0 * output.sum()


def train(content: Content, steps: int, loss: nn.Module | None = None) -> tuple[FeatureDistillation, list[float]]:
    """So many steps on one batch; the handler, and the alignment's loss at each step."""
    distillation = content("train#handlers")[1]
    assert isinstance(distillation, FeatureDistillation)
    losses: list[float] = []

    def note(engine: Engine) -> None:
        output: Any = engine.state.output
        expected = output["loss_prediction"] + 0.75 * output["loss_alignment"]
        torch.testing.assert_close(output["loss"].detach(), expected)
        losses.append(output["loss_alignment"].item())

    trainer = BundleTrainer(
        device="cpu",
        max_epochs=steps,
        train_data_loader=[next(iter(content("train#dataloader")))],
        network=content("network"),
        optimizer=content("optimizer"),
        loss_function=loss or content("loss"),
        prepare_batch=content("prepare_batch"),
        train_handlers=[distillation],
    )
    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, note)
    trainer.run()
    return distillation, losses


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["repa", "irepa"])
@pytest.mark.parametrize("method", ["sdseg", "medseglatdiff", "gms"])
def test_alignment_trains_the_method_and_leaves_nothing_in_its_model(
    build: Callable[..., Content], method: str, recipe: str, tmp_path: Path
) -> None:
    content = build(method, alignment_recipe=recipe)
    network = content("network_def")
    distillation, _ = train(content, 1, Nothing())
    unet: nn.Module = network.unet
    reached = {name for name, p in unet.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert "conv_in.weight" in reached
    assert any(
        parameter is unet.get_parameter(name) for name in reached for parameter in distillation.layer.parameters()
    )
    assert not any(name.startswith("conv_out") for name in reached)  # behind the aligned layer
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in distillation.projector.parameters())

    _, losses = train(content, 25)
    assert len(losses) == 25
    assert losses[-1] < losses[0] - 0.1

    save_model(network, content("settings"), tmp_path / "model")
    state = torch.load(tmp_path / "model" / "model.pt", weights_only=True)
    assert {key.split(".")[0] for key in state} <= PARTS
    assert state.keys() == network.state_dict().keys()
    assert load_network(tmp_path / "model").state_dict().keys() == state.keys()


def test_sdseg_by_the_command(bundle_run: Run, data: Path, teacher: Path, tmp_path: Path) -> None:
    """Trained, and resumed: the projector is in the checkpoint and not in the model."""
    settings: dict[str, Any] = RUN | UNET | {"dataset_dir": data, "num_classes": 3, "output_dir": tmp_path}
    settings |= {"alignment_weight": 0.75, "alignment_recipe": "irepa", "teacher": teacher, "num_overlays": 0}
    settings |= {"image_size": [32, 32], "val_interval": 1}
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value).replace(" ", ""))]
    command = ["training", "--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/methods/sdseg.json']", *words]
    first = bundle_run(*command, "--max_epochs", 1)
    assert "alignment=" in first.stderr  # the progress bar
    resumed = bundle_run(*command, "--max_epochs", 2, "--resume", "true")
    assert "Going on after step" in resumed.stdout
    assert {key.split(".")[0] for key in torch.load(tmp_path / "model.pt", weights_only=True)} == PARTS
    assert json.loads((tmp_path / "config.json").read_text())["network"]["diffusion"]["parameterization"] == "eps"
    other = bundle_run(*command, "--max_epochs", 3, "--resume", "true", "--alignment_recipe", "repa", check=False)
    assert other.returncode
    assert "does not fit this training" in other.stderr.splitlines()[-1]


def test_the_mapper_has_other_layers(bundle_run: Run, data: Path, teacher: Path, tmp_path: Path) -> None:
    given = ["--dataset_dir", data, "--num_classes", 3, "--image_size", "[16,16]", "--output_dir", tmp_path]
    given += ["--alignment_weight", 0.75, "--teacher", teacher, "--alignment_layer", "down_blocks.0.resnets.0"]
    files = f"['{CONFIGS}/train.json','{CONFIGS}/methods/gms.json']"
    result = bundle_run("training", "--config_file", files, *given, check=False)
    assert result.returncode
    message = result.stderr.splitlines()[-1]
    assert "a LatentMapper. There: conv_in, mid_block, conv_norm_out, conv_out; the nearest names" in message
