from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.diffusion import TimestepSampler
from leaf_seg.distillation import Alignment, FeatureDistillation
from leaf_seg.engines import BundleTrainer, PrepareDenoisingBatch, WeightAverage, trainable_parameters
from leaf_seg.networks import LatentSegmenter, MaskCodec, MaskEncoder
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.weights import load_network, save_model
from tests.conftest import denoising_loss

Make = Callable[..., LatentSegmenter]
SETTINGS = ModelSettings(["background", "a", "b"], [16, 16])


@pytest.fixture
def train(
    make_segmenter: Make, make_autoencoder: Callable[..., Autoencoder], teacher_folders: dict[str, Path]
) -> Callable[[Path, bool], LatentSegmenter]:
    """Two steps of training, aligned with a teacher or not, whose model is saved in a folder and returned."""

    def run(folder: Path, is_aligned: bool) -> LatentSegmenter:
        torch.manual_seed(0)
        network = make_segmenter()
        average = WeightAverage(network)
        optimizer = torch.optim.AdamW(trainable_parameters(network), lr=1e-2)
        handlers: list[Any] = []
        if is_aligned:
            teacher = teacher_folders["dinov2"]
            handlers.append(FeatureDistillation(Alignment(network.unet, teacher, 0.75), optimizer, hidden_dim=16))
        samples = [
            {"image": torch.rand(3, 16, 16), "label": torch.randint(0, 3, (1, 16, 16), dtype=torch.uint8)}
            for _ in range(4)
        ]
        BundleTrainer(
            device="cpu",
            max_epochs=1,
            train_data_loader=DataLoader(samples, batch_size=2),  # type: ignore[arg-type]
            network=network,
            optimizer=optimizer,
            loss_function=denoising_loss(network),
            prepare_batch=PrepareDenoisingBatch(
                network.schedule, MaskEncoder(make_autoencoder(), MaskCodec(3)), TimestepSampler()
            ),
            train_handlers=handlers,
            max_grad_norm=1.0,
            ema=average,
        ).run()
        with average.applied():
            save_model(network, SETTINGS, folder)
        return network.eval()

    return run


def count_flops(network: torch.nn.Module) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(2, 3, 16, 16))
    return counter.get_total_flops()


def test_saved_model_is_the_same_with_and_without_alignment(
    train: Callable[[Path, bool], LatentSegmenter], tmp_path: Path
) -> None:
    aligned, plain = train(tmp_path / "aligned", True), train(tmp_path / "plain", False)
    states = [torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("aligned", "plain")]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    assert list(shapes[0]) == list(shapes[1])
    assert shapes[0] == shapes[1]
    assert {name.split(".")[0] for name in shapes[0]} == {"noise", "image_encoder", "unet", "mask_decoder"}
    # Alignment did act.
    assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0])
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("aligned", "plain")]
    assert all(configs[0][key] == configs[1][key] for key in ("network", "settings", "training"))
    assert configs[0].keys() == configs[1].keys() == {"network", "settings", "training", "weights", "sha256"}

    flops = count_flops(plain)
    assert flops > 1e6
    assert count_flops(aligned) == flops
    loaded = [load_network(tmp_path / name) for name in ("aligned", "plain")]
    assert [count_flops(network) for network in loaded] == [flops, flops]
    parameters = [sum(parameter.numel() for parameter in network.parameters()) for network in (*loaded, plain)]
    assert len(set(parameters)) == 1


def test_alignment_moves_the_unet_up_to_the_aligned_layer_and_the_image_encoder(
    make_segmenter: Make, teacher_folders: dict[str, Path]
) -> None:
    """Its gradient alone, without that of the prediction."""
    network = make_segmenter().train()
    optimizer = torch.optim.SGD(trainable_parameters(network), lr=0.1)
    distillation = FeatureDistillation(
        Alignment(network.unet, teacher_folders["dinov2"], 1.0), optimizer, hidden_dim=16
    )

    class Nothing(torch.nn.Module):
        def forward(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return 0 * output.sum()

    latent, timesteps = torch.randn(2, 4, 4, 4), torch.tensor([999, 10])
    BundleTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=[{"image": torch.rand(2, 3, 16, 16)}],
        network=network,
        optimizer=optimizer,
        loss_function=Nothing(),
        prepare_batch=lambda batch, *_, **__: (batch["image"], batch["image"], (latent, timesteps), {}),
        train_handlers=[distillation],
    ).run()
    reached = {
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().max() > 0
    }
    assert {"unet.conv_in.weight", "unet.down_blocks.0.resnets.0.conv2.weight"} <= reached
    assert "image_encoder.encoder.conv_in.weight" in reached
    assert not any(name.startswith(("unet.up_blocks", "unet.mid_block", "mask_decoder")) for name in reached)
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in distillation.projector.parameters())
    assert all(parameter.grad is None for parameter in distillation.teacher.parameters())
