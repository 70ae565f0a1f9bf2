"""MedSegLatDiff's three trainings, by the commands that a user types, in miniature."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import leaf_seg
from leaf_seg.data import make_phantoms
from leaf_seg.networks import LatentDecoder, LatentSegmenter, load_autoencoder
from leaf_seg.weights import load_network

CONFIGS = "bundles/leaf_seg/configs"
SMALL = ["--autoencoder_def#config#block_out_channels", "[8,8]", "--autoencoder_def#config#norm_num_groups", 4]
SMALL += ["--autoencoder_def#config#down_block_types", "['DownEncoderBlock2D','DownEncoderBlock2D']"]
SMALL += ["--autoencoder_def#config#up_block_types", "['UpDecoderBlock2D','UpDecoderBlock2D']"]
METHOD = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/methods/medseglatdiff.json']"]
Run = Callable[..., subprocess.CompletedProcess[str]]


def files(*names: str) -> list[str]:
    return ["--config_file", "[{}]".format(",".join(f"'{CONFIGS}/{name}.json'" for name in names))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = make_phantoms(tmp_path_factory.mktemp("data"), num_cases=8, num_classes=3, size=(16, 16))
    return ["--dataset_dir", folder, "--num_classes", 3]


@pytest.fixture(scope="module")
def autoencoders(
    bundle_run: Run, small_run: list[str], data: list[object], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("vq_autoencoder", "mask_autoencoder")}
    options = [*data, *small_run, *SMALL, "--num_slices", 1, "--image_size", "[16,16]"]
    for name, folder in folders.items():
        more = ["--num_phantoms", 4] if name == "vq_autoencoder" else ["--precision", "bf16"]
        config = files("train_autoencoder", f"profiles/{name}")
        bundle_run("training", *config, *options, *more, "--output_dir", folder)
    return folders


@pytest.fixture(scope="module")
def method(data: list[object], autoencoders: dict[str, Path], small_run: list[str]) -> list[object]:
    image, mask = autoencoders.values()
    folders = ["--autoencoder_dir", image, "--mask_autoencoder_dir", mask]
    return [*METHOD, *data, *small_run, "--image_size", "[16,16]", *folders, "--num_steps", 3, "--num_overlays", 0]


@pytest.fixture(scope="module")
def model(bundle_run: Run, method: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    small_network = ["--unet_config#block_out_channels", "[32,32,32]", "--output_dir", folder]
    bundle_run("training", *method, *small_network)
    return folder


def test_autoencoders(autoencoders: dict[str, Path]) -> None:
    image, mask = (load_autoencoder(folder) for folder in autoencoders.values())
    assert type(image).__name__ == type(mask).__name__ == "VQModel"
    assert [image.config[key] for key in ("in_channels", "latent_channels", "num_vq_embeddings")] == [3, 3, 512]
    assert [mask.config[key] for key in ("in_channels", "out_channels", "latent_channels")] == [3, 3, 1]
    assert mask.config["scaling_factor"] not in (0.18215, 1.0)  # measured


def test_ceiling_of_the_label_maps(
    bundle_run: Run, data: list[object], autoencoders: dict[str, Path], tmp_path: Path
) -> None:
    config = files("train_autoencoder", "profiles/mask_autoencoder", "evaluate_autoencoder")
    folders = ["--output_dir", autoencoders["mask_autoencoder"], "--report_dir", tmp_path]
    bundle_run("evaluating", *config, *data, *folders, "--image_size", "[16,16]", "--num_slices", 1)
    assert json.loads((tmp_path / "metrics_summary.json").read_text())["split"] == "testing"


def test_the_model_knows_its_method(model: Path, autoencoders: dict[str, Path]) -> None:
    network = load_network(model)
    assert isinstance(network, LatentSegmenter)
    assert (network.image_encoder.channels, network.mask_decoder.channels) == (3, 1)
    assert (network.unet.config["in_channels"], network.unet.config["out_channels"]) == (4, 1)
    assert network.diffusion.parameterization == "eps"
    config = json.loads((model / "config.json").read_text())["network"]
    assert config["codec"]["_class_name"] == "OneHotCodec"
    assert config["sampler"]["num_steps"] == 3
    decoder = LatentDecoder(load_autoencoder(autoencoders["mask_autoencoder"])).state_dict()
    kept = network.mask_decoder.state_dict()
    assert all(torch.equal(kept[key], value) for key, value in decoder.items())


def test_hypotheses_differ(model: Path, data: list[object]) -> None:
    image = next((Path(str(data[1])) / "images").iterdir())
    segmenter = leaf_seg.load(model, device="cpu")
    one, again, five = segmenter(image), segmenter(image), segmenter(image, num_samples=5)
    assert torch.equal(torch.as_tensor(one.probabilities), torch.as_tensor(again.probabilities))
    assert not torch.equal(torch.as_tensor(one.probabilities), torch.as_tensor(five.probabilities))


@pytest.mark.slow
def test_trains_on_from_a_model(bundle_run: Run, method: list[object], model: Path, tmp_path: Path) -> None:
    bundle_run("training", *method, "--init_dir", model, "--output_dir", tmp_path)
    first, second = load_network(model), load_network(tmp_path)
    for part in ("image_encoder", "mask_decoder"):  # frozen
        states = [getattr(network, part).state_dict() for network in (first, second)]
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    weights = [network.state_dict()["unet.conv_in.weight"] for network in (first, second)]
    assert not torch.equal(*weights)


def test_without_the_autoencoders_it_says_which(bundle_run: Run, method: list[object], tmp_path: Path) -> None:
    options = ["--mask_autoencoder_dir", tmp_path / "nowhere", "--output_dir", tmp_path / "run"]
    result = bundle_run("training", *method, *options, check=False)
    assert "set --mask_autoencoder_dir" in result.stderr.splitlines()[-1]


def test_another_autoencoder_of_label_maps_than_the_model_s(
    bundle_run: Run, method: list[object], model: Path, autoencoders: dict[str, Path], tmp_path: Path
) -> None:
    options = ["--init_dir", model, "--mask_autoencoder_dir", autoencoders["vq_autoencoder"], "--output_dir", tmp_path]
    result = bundle_run("training", *method, *options, check=False)
    assert "decodes masks by another autoencoder" in result.stderr.splitlines()[-1]
