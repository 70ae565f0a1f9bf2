from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from torch import distributed
from torch.multiprocessing import start_processes
from torch.nn.parallel import DistributedDataParallel

from leaf_seg.networks import LatentSegmenter, MaskCodec, build_conditional_unet
from tests.conftest import TINY_UNET, denoising_loss, segmenter_parts

Gradients = dict[str, torch.Tensor]


def batch(rank: int) -> dict[str, torch.Tensor]:
    """Another one for each rank."""
    torch.manual_seed(1 + rank)
    noisy, timesteps = torch.randn(2, 4, 4, 4), torch.tensor([500, 999])
    tensors = {"target": torch.randn(2, 4, 4, 4), "noisy": noisy, "timesteps": timesteps}
    tensors["label"] = torch.randint(0, 3, (2, 1, 16, 16))
    return tensors | {"image": torch.rand(2, 3, 16, 16)}


def gradients(targets: dict[str, torch.Tensor], *, distributed_data_parallel: bool) -> Gradients:
    """Of one batch."""
    torch.manual_seed(0)
    autoencoder = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[8, 8, 8],
        norm_num_groups=4,
    )
    unet = build_conditional_unet(TINY_UNET, num_mask_latents=1)
    parts = segmenter_parts(autoencoder, {"train_decoder": True})
    network = LatentSegmenter(unet=unet, codec=MaskCodec(3), image_size=(16, 16), **parts)
    loss = denoising_loss(network, image_loss_weight=5.0)
    model = DistributedDataParallel(network) if distributed_data_parallel else network
    loss(model(targets["image"], targets["noisy"], targets["timesteps"]), targets).backward()
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


def _save_gradients(rank: int, folder: Path) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    torch.save(gradients(batch(rank), distributed_data_parallel=True), folder / f"{rank}.pt")


@pytest.mark.dist
def test_decoder_is_trained_by_all_processes(tmp_path: Path) -> None:
    """The loss decodes outside of DistributedDataParallel's forward; gradients are those of one batch all the same."""
    start_processes(_save_gradients, (tmp_path,), nprocs=2, start_method="fork")  # what is imported, is there
    first, second = batch(0), batch(1)
    together = {name: torch.cat([first[name], second[name]]) for name in first}
    alone = gradients(together, distributed_data_parallel=False)
    assert any(name.startswith("mask_decoder") for name in alone)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-6)
