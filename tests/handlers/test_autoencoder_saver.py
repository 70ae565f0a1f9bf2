from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanSquaredError, from_engine

from leaf_seg.engines import PrepareImageBatch
from leaf_seg.handlers import AutoencoderSaver
from leaf_seg.networks import LatentEncoder, load_autoencoder
from leaf_seg.networks.autoencoder import Autoencoder
from leaf_seg.networks.reconstruction import ReconstructionNetwork
from leaf_seg.runtime.errors import InputError

BATCHES = [{"image": torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(i)) * 2 - 1} for i in range(3)]


class Reconstruction(ReconstructionNetwork):
    """Only the picture, for a metric of MONAI."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(image)["reconstruction"]


def make_evaluator(autoencoder: Autoencoder, saver: AutoencoderSaver) -> SupervisedEvaluator:
    metric = MeanSquaredError(output_transform=from_engine(["pred", "label"]))
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=BATCHES,
        network=Reconstruction(autoencoder),
        prepare_batch=PrepareImageBatch(),
        key_val_metric={"val_error": metric},
        metric_cmp_fn=lambda current, best: current < best or best == -1,
        val_handlers=[saver],
    )


@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_saves_with_latents_of_unit_variance(
    kind: str, make_autoencoder: Callable[..., Autoencoder], tmp_path: Path
) -> None:
    autoencoder = make_autoencoder(kind)
    make_evaluator(autoencoder, AutoencoderSaver(autoencoder, BATCHES, tmp_path / "new", num_batches=2)).run()
    loaded = load_autoencoder(tmp_path / "new")
    assert all(map(torch.equal, loaded.state_dict().values(), autoencoder.state_dict().values()))
    with torch.no_grad():
        encode = LatentEncoder(loaded)
        latents = torch.cat([encode(batch["image"]) for batch in BATCHES[:2]])
        others = encode(BATCHES[2]["image"])
    assert latents.std().item() == pytest.approx(1, abs=1e-4)
    assert others.std().item() != pytest.approx(1, abs=1e-4)
    assert {file.name for file in (tmp_path / "new").iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }


def test_saves_the_best_only(make_autoencoder: Callable[..., Autoencoder], tmp_path: Path) -> None:
    autoencoder = make_autoencoder()
    evaluator = make_evaluator(autoencoder, AutoencoderSaver(autoencoder, BATCHES, tmp_path))
    weight = autoencoder.decoder.conv_out.weight
    saved = []
    for epoch, factor in enumerate((1.0, 10.0, 0.01), start=1):  # good, worse, best
        with torch.no_grad():
            weight.mul_(factor)
        evaluator.run(global_epoch=epoch)
        saved.append(torch.equal(load_autoencoder(tmp_path).decoder.conv_out.weight, weight))
    assert saved == [True, False, True]


def test_unwritable_folder(make_autoencoder: Callable[..., Autoencoder], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write to the output folder"):
        AutoencoderSaver(make_autoencoder(), BATCHES, tmp_path / "file")
