from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DModel

from leaf_seg.networks import LatentEncoder, initial_autoencoder, load_autoencoder
from leaf_seg.networks.autoencoder import (
    Autoencoder,
    autoencoder_from_config,
    downsampling_factor,
)
from leaf_seg.runtime.errors import InputError

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(params=["kl", "tiny", "vq"])
def autoencoder(request: pytest.FixtureRequest, make_autoencoder: Callable[..., Autoencoder]) -> Autoencoder:
    return make_autoencoder(request.param).eval()


@pytest.fixture
def folder(make_autoencoder: Callable[..., Autoencoder], tmp_path: Path) -> Path:
    make_autoencoder().save_pretrained(tmp_path / "autoencoder")
    return tmp_path / "autoencoder"


def test_loads_what_save_pretrained_wrote(autoencoder: Autoencoder, tmp_path: Path) -> None:
    autoencoder.train().save_pretrained(tmp_path)
    loaded = load_autoencoder(tmp_path)
    assert type(loaded) is type(autoencoder)
    assert not any(module.training for module in loaded.modules())
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(loaded(image).sample, autoencoder.eval()(image).sample)
    assert loaded.config["scaling_factor"] == autoencoder.config["scaling_factor"]


def test_downsampling_factor(autoencoder: Autoencoder) -> None:
    assert downsampling_factor(autoencoder) == 4
    assert downsampling_factor(AutoencoderKL(block_out_channels=(4,), norm_num_groups=4)) == 1


def test_autoencoder_of_the_paper() -> None:
    with torch.device("meta"):
        autoencoder = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
    assert downsampling_factor(autoencoder) == 8
    assert sum(parameter.numel() for parameter in autoencoder.parameters()) == 83_653_863
    assert sum(parameter.numel() for parameter in LatentEncoder(autoencoder).parameters()) == 34_163_664


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_missing_file(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"No {name} in .*{folder.name}.*--autoencoder_dir"):
        load_autoencoder(folder)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No config.json in .*/nowhere.*--autoencoder_dir"):
        load_autoencoder(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_damaged_config(text: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        load_autoencoder(folder)


@pytest.mark.parametrize("keep", [0, 5, 1000, -10])
def test_truncated_weights(keep: int, folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:keep])
    with pytest.raises(InputError, match=rf"Cannot load the autoencoder weights in {folder}.*restore or retrain"):
        load_autoencoder(folder)


def test_wrong_class(tmp_path: Path) -> None:
    unet = UNet2DModel(
        block_out_channels=(4, 4),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
        add_attention=False,
    )
    unet.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"/config.json .*class 'UNet2DModel'.* one of AutoencoderKL, AutoencoderTiny"):
        load_autoencoder(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"block_out_channels": [8, 8, 12]},  # other shapes
        {"layers_per_block": 2},  # weights missing
        {"use_quant_conv": False},  # weights left over
        {"block_out_channels": [8, 8, 15]},  # impossible
    ],
    ids=str,
)
def test_config_that_the_weights_do_not_fit(change: dict, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=rf"autoencoder weights in {folder}"):
        load_autoencoder(folder)


def test_weights_are_not_unpickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    torch.save({}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match=f"No {WEIGHTS}"):
        load_autoencoder(folder)


def test_unknown_class_name() -> None:
    with pytest.raises(InputError, match="class None"):
        autoencoder_from_config({})


def test_shipped_autoencoder(caplog: pytest.LogCaptureFixture) -> None:
    folder = Path(__file__).parents[2] / "bundles" / "leaf_seg" / "models" / "autoencoder"
    with caplog.at_level(logging.WARNING):
        autoencoder = load_autoencoder(folder)
    assert not caplog.records
    assert downsampling_factor(autoencoder) in (4, 8)
    assert sum(parameter.numel() for parameter in autoencoder.parameters()) <= 3_000_000
    assert (folder / WEIGHTS).stat().st_size <= 12 * 1024**2


def test_autoencoder_stage_starts_anew_or_from_a_folder(
    folder: Path, make_autoencoder: Callable[..., Autoencoder]
) -> None:
    new = initial_autoencoder({"block_out_channels": [8], "norm_num_groups": 4, "latent_channels": 2})
    assert isinstance(new, AutoencoderKL)
    assert new.config["latent_channels"] == 2
    continued = initial_autoencoder({}, folder)
    expected = make_autoencoder().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in continued.state_dict().items())
