"""Published weights, from conversion to a trained model, by the commands that a user types."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import Dinov2Config, Dinov2Model

from tests.weights.conftest import write_leaf_folder
from tests.weights.published_layouts import ldm_autoencoder_shapes, ldm_unet_shapes, sdseg_constants, sdseg_shapes
from tests.weights.published_rule import rule_state

CONFIGS = "bundles/leaf_seg/configs"
TRAIN = ["--config_file", f"{CONFIGS}/train.json"]
PROFILE = [
    "--config_file",
    f"['{CONFIGS}/train.json','{CONFIGS}/methods/leaf_paper.json','{CONFIGS}/profiles/ldm_kl8.json']",
]
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.nightly
def test_profile_trains_and_infers_from_converted_folders(
    bundle_run: Run, run_python: Run, small_run: list[str], pictures: Path, tmp_path: Path
) -> None:
    torch.save({"state_dict": rule_state(ldm_autoencoder_shapes(32))}, tmp_path / "kl-f8.ckpt")
    unet = rule_state({f"model.diffusion_model.{k}": v for k, v in ldm_unet_shapes(32, in_channels=4).items()})
    torch.save({"state_dict": unet}, tmp_path / "lsun.ckpt")
    for name in ("kl-f8", "lsun"):
        run_python("-m", "leaf_seg", "convert", tmp_path / f"{name}.ckpt", "--to", tmp_path / name)
    Dinov2Model(
        Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    ).save_pretrained(tmp_path / "teacher")

    width = ["--unet_config#block_out_channels", "[32,64,64,128,128]", "--unet_config#attention_head_dim", 4]
    weights = [
        "--autoencoder_dir",
        tmp_path / "kl-f8",
        "--unet_dir",
        tmp_path / "lsun",
        "--teacher",
        tmp_path / "teacher",
    ]
    data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path / "model"]
    sizes = [*small_run, "--image_size", "[128,128]", "--learning_rate", 0, "--dropout", 0.2, "--max_epochs", 1]
    bundle_run("training", *PROFILE, *sizes, *width, *weights, *data)

    state = torch.load(tmp_path / "model" / "model.pt", weights_only=True)
    conv_in = unet["model.diffusion_model.input_blocks.0.0.weight"]
    torch.testing.assert_close(state["unet.conv_in.weight"], conv_in.repeat(1, 2, 1, 1) / 2)
    torch.testing.assert_close(
        state["image_encoder.encoder.conv_in.weight"],
        load_file(tmp_path / "kl-f8" / "diffusion_pytorch_model.safetensors")["encoder.conv_in.weight"],
    )
    image = sorted((pictures / "images").iterdir())[0]
    output = tmp_path / "segmented"
    bundle_run("inference", *INFER, "--dataset_dir", image, "--model_dir", tmp_path / "model", "--output_dir", output)
    assert Image.open(output / f"{image.stem}.png").size == Image.open(image).size


@pytest.mark.nightly
def test_a_converted_model_is_trained_on_by_one_key(
    bundle_run: Run, python_process: Run, run_python: Run, small_run: list[str], pictures: Path, tmp_path: Path
) -> None:
    """LEAF's two classes become the three of the pictures; U-Net and autoencoder are the model's."""
    source = write_leaf_folder(tmp_path / "published")
    size = ["--image-size", 128, 128]
    python_process("-m", "leaf_seg", "convert", source, "--to", tmp_path / "leaf", *size)
    image = sorted((pictures / "images").iterdir())[0]
    run_python("-m", "leaf_seg", "segment", image, tmp_path / "segmented", "--model", tmp_path / "leaf")
    assert set(np.unique(np.asarray(Image.open(tmp_path / "segmented" / f"{image.stem}.png")))) <= {0, 1}

    by_config = tmp_path / "by_config"
    bundle_run("inference", *INFER, "--dataset_dir", image, "--model_dir", tmp_path / "leaf", "--output_dir", by_config)
    assert (by_config / f"{image.stem}.png").read_bytes() == (tmp_path / "segmented" / f"{image.stem}.png").read_bytes()

    data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path / "model"]
    sizes = [*small_run, "--image_size", "[128,128]", "--learning_rate", 0]
    bundle_run("training", *TRAIN, *sizes, *data, "--init_dir", tmp_path / "leaf")
    found = torch.load(tmp_path / "model" / "model.pt", weights_only=True)
    expected = load_file(tmp_path / "leaf" / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert json.loads((tmp_path / "model" / "config.json").read_text())["network"]["codec"]["num_classes"] == 3


@pytest.mark.nightly
def test_a_converted_sdseg_is_trained_on_with_its_overlay(
    bundle_run: Run, run_python: Run, small_run: list[str], pictures: Path, tmp_path: Path
) -> None:
    """Its scale, betas and weights are the model's own; two classes become the three of the pictures."""
    torch.save({"state_dict": rule_state(sdseg_shapes(32, 32)) | sdseg_constants(0.2)}, tmp_path / "sdseg.ckpt")
    model = tmp_path / "sdseg"
    run_python("-m", "leaf_seg", "convert", tmp_path / "sdseg.ckpt", "--to", model, "--image-size", 128, 128)
    files = ["--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/methods/sdseg.json']"]
    data = ["--dataset_dir", pictures, "--num_classes", 3, "--output_dir", tmp_path / "model", "--init_dir", model]
    bundle_run("training", *files, *small_run, *data, "--image_size", "[128,128]", "--learning_rate", 0)
    found = torch.load(tmp_path / "model" / "model.pt", weights_only=True)
    expected = load_file(model / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    network = json.loads((tmp_path / "model" / "config.json").read_text())["network"]
    assert network["mask_decoder"]["autoencoder"]["scaling_factor"] == pytest.approx(0.2)
    assert network["diffusion"]["scheduler"]["beta_schedule"] == "scaled_linear"


@pytest.mark.slow
def test_a_trained_model_is_trained_on_with_other_data(
    bundle_run: Run, picture_model: Path, small_run: list[str], volumes: Path, tmp_path: Path
) -> None:
    """Grey volumes with two classes after colour pictures with three; settings of the model's own are refused."""
    data = ["--dataset_dir", volumes, "--num_classes", 2, "--num_slices", 3, "--output_dir", tmp_path]
    start = ["--init_dir", picture_model]
    refused = bundle_run("training", *TRAIN, *small_run, *data, *start, "--parameterization", "v", check=False)
    assert refused.returncode
    assert "--parameterization would have no effect: init_dir is" in refused.stderr
    bundle_run("training", *TRAIN, *small_run, *data, *start, "--learning_rate", 0)
    found, expected = (torch.load(f / "model.pt", weights_only=True) for f in (tmp_path, picture_model))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak memory of a process")
def test_memory_of_converting_and_loading_at_full_size(python_process: Run, tmp_path: Path) -> None:
    source, folder = write_leaf_folder(tmp_path / "published", 192, 128), tmp_path / "leaf"
    convert = f"from leaf_seg.weights.convert import convert; convert({str(source)!r}, {str(folder)!r})"
    converting = _peak(python_process, convert)
    loading = _peak(python_process, f"import leaf_seg; use(leaf_seg.load({str(folder)!r}, device='cpu').network)")
    print(f"converting: {converting / 1e9:.2f} GB, loading: {loading / 1e9:.2f} GB")  # noqa: T201
    assert converting < 4e9
    assert loading < 2.5e9


def _peak(python_process: Run, work: str) -> float:
    """Peak memory in bytes of a process that does this; mapped weights count once they are used."""
    use = "use = lambda network: [parameter.sum() for parameter in network.parameters()]"
    # Not ru_maxrss, which a process inherits from the one that starts it.
    measure = "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM:')][0])"
    return 1024 * float(python_process("-c", f"{use}; {work}; {measure}").stdout.split()[-1])
