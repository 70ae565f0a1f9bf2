from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from diffusers.optimization import get_scheduler
from ignite.metrics import Metric
from monai.data import DataLoader, Dataset
from monai.handlers import MeanDice, from_engine
from monai.transforms import AsDiscreted, Compose

from leaf_seg.data import SliceDataset, make_phantoms
from leaf_seg.diffusion import TimestepSampler
from leaf_seg.engines import LeafEvaluator, LeafTrainer, PrepareDenoising, WeightAverage, trainable_parameters
from leaf_seg.inferers import AutocastInferer, SegmentationInferer
from leaf_seg.losses import DenoisingLoss
from leaf_seg.networks import LatentSegmenter, MaskEncoder, build_conditional_unet, load_autoencoder
from leaf_seg.transforms import CheckPaird, LoadCased, ScaleImaged

AUTOENCODER = Path(__file__).parents[2] / "bundles" / "leaf_seg" / "models" / "autoencoder"
UNET = {
    "sample_size": 16,
    "block_out_channels": (32, 64, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    "attention_head_dim": 32,
    "resnet_time_scale_shift": "scale_shift",
}
SIZE = (64, 64)


def test_four_phantoms_are_learnt_by_heart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    root = make_phantoms(tmp_path, num_cases=5, num_classes=3, size=(80, 72))
    names = [f"phantom_{index:04d}.png" for index in (0, 1, 2, 4)]  # number 3 has small structures only
    cases = [{key: str(root / f"{key}s" / name) for key in ("image", "label")} for name in names]
    preprocessing = Compose([LoadCased(), CheckPaird(num_classes=3), ScaleImaged("image", window=None)])

    autoencoder = load_autoencoder(AUTOENCODER)
    network = LatentSegmenter(
        autoencoder,
        build_conditional_unet(UNET),
        DDIMScheduler(beta_start=0.0015, beta_end=0.0155, clip_sample=False),
        num_classes=3,
        image_size=SIZE,
    )
    average = WeightAverage(network, decay=0.9)
    trainer = LeafTrainer(
        device="cpu",
        max_epochs=60,
        train_data_loader=DataLoader(SliceDataset(cases, preprocessing, SIZE), batch_size=4, shuffle=True),
        network=network,
        optimizer=torch.optim.AdamW(trainable_parameters(network), lr=1e-3),
        loss_function=DenoisingLoss(network),
        inferer=AutocastInferer("fp32"),
        prepare_batch=PrepareDenoising(network, MaskEncoder(autoencoder, 3), TimestepSampler()),
        max_grad_norm=1.0,
        lr_scheduler=partial(get_scheduler, "cosine", num_warmup_steps=10),
        ema=average,
    )
    metric: dict[str, Metric] = {
        "dice": MeanDice(include_background=False, num_classes=3, output_transform=from_engine(["pred", "label"]))
    }
    evaluator = LeafEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Dataset(cases, preprocessing), batch_size=1),
        network=network,
        inferer=SegmentationInferer(SIZE),
        postprocessing=AsDiscreted("pred", argmax=True),
        key_val_metric=metric,
        ema=average,
    )
    evaluator.run()
    assert evaluator.state.metrics["dice"] < 0.5
    trainer.run()
    evaluator.run()
    assert evaluator.state.metrics["dice"] >= 0.85
