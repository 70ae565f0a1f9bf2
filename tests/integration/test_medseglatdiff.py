"""MedSegLatDiff's three trainings, by the commands that a user types, in miniature."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leaf_seg.networks import LatentDecoder, LatentSegmenter, load_autoencoder
from leaf_seg.weights import load_network

CONFIGS = "bundles/leaf_seg/configs"
METHOD = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/methods/medseglatdiff.json']"]
Run = Callable[..., subprocess.CompletedProcess[str]]


def files(*names: str) -> list[str]:
    return ["--config_file", "[{}]".format(",".join(f"'{CONFIGS}/{name}.json'" for name in names))]


@pytest.fixture(scope="module")
def method(tiny_data: list[object], small_autoencoders: dict[str, Path], small_run: list[str]) -> list[object]:
    image, mask = small_autoencoders.values()
    folders = ["--autoencoder_dir", image, "--mask_autoencoder_dir", mask]
    return [*METHOD, *tiny_data, *small_run, "--image_size", "[16,16]", *folders, "--num_steps", 3, "--num_overlays", 0]


@pytest.fixture(scope="module")
def model(bundle_run: Run, method: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    small_network = ["--unet_config#block_out_channels", "[32,32,32]", "--output_dir", folder]
    bundle_run("training", *method, *small_network)
    return folder


@pytest.mark.slow
def test_autoencoders(small_autoencoders: dict[str, Path]) -> None:
    image, mask = (load_autoencoder(folder) for folder in small_autoencoders.values())
    assert type(image).__name__ == type(mask).__name__ == "VQModel"
    assert [image.config[key] for key in ("in_channels", "latent_channels", "num_vq_embeddings")] == [3, 3, 512]
    assert [mask.config[key] for key in ("in_channels", "out_channels", "latent_channels")] == [3, 3, 1]
    assert mask.config["scaling_factor"] not in (0.18215, 1.0)  # measured


def test_ceiling_of_the_label_maps(
    bundle_run: Run, tiny_data: list[object], small_autoencoders: dict[str, Path], tmp_path: Path
) -> None:
    config = files("train_autoencoder", "profiles/mask_autoencoder", "evaluate_autoencoder")
    folders = ["--output_dir", small_autoencoders["mask_autoencoder"], "--report_dir", tmp_path]
    bundle_run("evaluating", *config, *tiny_data, *folders, "--image_size", "[16,16]", "--num_slices", 1)
    assert json.loads((tmp_path / "metrics_summary.json").read_text())["split"] == "testing"


@pytest.mark.slow
def test_the_model_knows_its_method(model: Path, small_autoencoders: dict[str, Path]) -> None:
    network = load_network(model)
    assert isinstance(network, LatentSegmenter)
    assert (network.image_encoder.channels, network.mask_decoder.channels) == (3, 1)
    assert (network.unet.config["in_channels"], network.unet.config["out_channels"]) == (4, 1)
    assert network.diffusion.parameterization == "eps"
    config = json.loads((model / "config.json").read_text())["network"]
    assert config["codec"]["_class_name"] == "OneHotCodec"
    assert config["sampler"]["num_steps"] == 3
    decoder = LatentDecoder(load_autoencoder(small_autoencoders["mask_autoencoder"])).state_dict()
    kept = network.mask_decoder.state_dict()
    assert all(torch.equal(kept[key], value) for key, value in decoder.items())


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
    bundle_run: Run, method: list[object], model: Path, small_autoencoders: dict[str, Path], tmp_path: Path
) -> None:
    other = ["--mask_autoencoder_dir", small_autoencoders["vq_autoencoder"]]
    options = ["--init_dir", model, *other, "--output_dir", tmp_path]
    result = bundle_run("training", *method, *options, check=False)
    assert "decodes masks by another autoencoder" in result.stderr.splitlines()[-1]
