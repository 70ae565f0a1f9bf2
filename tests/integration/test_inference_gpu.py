"""inference_gpu.json and inference_trt.json by the command that a user types, on a CPU; and precision auto."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image

CONFIGS = "bundles/leaf_seg/configs"
INFER = ["--config_file", f"{CONFIGS}/inference.json"]
GPU = ["--config_file", f"['{CONFIGS}/inference.json','{CONFIGS}/inference_gpu.json']"]
TRT = ["--config_file", f"['{CONFIGS}/inference.json','{CONFIGS}/inference_trt.json']"]
Run = Callable[..., subprocess.CompletedProcess[str]]


def labels(folder: Path) -> dict[str, np.ndarray]:
    return {file.name: np.asarray(Image.open(file)) for file in sorted(folder.glob("*.png"))}


@pytest.fixture(scope="module")
def images(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures and one that is damaged."""
    folder = tmp_path_factory.mktemp("images")
    for file in sorted((pictures / "images").iterdir())[:4]:
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "a_damaged.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def plain(run_python: Run, images: Path, picture_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What fp32 leaves."""
    folder = tmp_path_factory.mktemp("plain")
    words = ["-m", "leaf_seg", "segment", images, folder, "--model", picture_model, "--device", "cpu"]
    run_python(*words, check=False)
    assert len(labels(folder)) == 4
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "share"), [("auto", 0.001), ("bf16", 0.1)])  # one epoch leaves many on the edge
def test_the_overlay_leaves_the_same_files(
    bundle_run: Run, images: Path, picture_model: Path, plain: Path, tmp_path: Path, precision: str, share: float
) -> None:
    given = ["--dataset_dir", images, "--model_dir", picture_model, "--output_dir", tmp_path, "--device_name", "cpu"]
    result = bundle_run("inference", *GPU, *given, "--precision", precision, check=False)
    assert result.stderr.rstrip().splitlines()[-1].startswith("leaf_seg: 1 of 5 images could not be segmented")
    found, expected = labels(tmp_path), labels(plain)
    assert found.keys() == expected.keys()
    foreground = sum(np.count_nonzero(label) for label in expected.values())
    assert foreground > 1000
    differing = sum(np.count_nonzero(found[name] != expected[name]) for name in found)
    assert differing <= share * foreground
    assert {file.name for file in tmp_path.rglob("*.png")} == {file.name for file in plain.rglob("*.png")}


@pytest.mark.parametrize(
    ("config", "option", "value", "message"),
    [
        (GPU, "precision", "fp16", "precision fp16 needs a CUDA device, found cpu; use bf16 or fp32."),
        (GPU, "compile", "max", "compile is 'max'; expected one of off, default, cudagraphs."),
        (GPU, "channels_last", "7", "The value of channels_last is 7, which is neither true nor false"),
        (INFER, "compile", "off", "no key 'compile' in inference.json"),
    ],
)
def test_settings_that_cannot_be_meant(
    bundle_run: Run,
    images: Path,
    picture_model: Path,
    tmp_path: Path,
    config: list[str],
    option: str,
    value: str,
    message: str,
) -> None:
    given = ["--dataset_dir", images, "--model_dir", picture_model, "--output_dir", tmp_path, "--device_name", "cpu"]
    result = bundle_run("inference", *config, *given, f"--{option}", value, check=False)
    assert result.returncode != 0
    assert f"leaf_seg: {message}" in result.stderr
    assert "Traceback" not in result.stderr


def test_training_has_no_precision_auto(bundle_run: Run, pictures: Path, small: list[str], tmp_path: Path) -> None:
    given = ["--dataset_dir", pictures, "--output_dir", tmp_path / "model", *small, "--num_classes", 3]
    config = ["--config_file", f"{CONFIGS}/train.json"]
    result = bundle_run("training", *config, *given, "--precision", "auto", check=False)
    last = result.stderr.rstrip().splitlines()[-1]
    assert last == "leaf_seg: precision is 'auto'; expected one of fp32, bf16, fp16."


@pytest.mark.slow
def test_segment_with_precision_auto(
    run_python: Run, images: Path, picture_model: Path, plain: Path, tmp_path: Path
) -> None:
    words = ["-m", "leaf_seg", "segment", images, tmp_path, "--model", picture_model, "--device", "cpu"]
    result = run_python(*words, "--precision", "auto", "--no-overlays", check=False)
    assert "precision auto: fp32" in result.stdout + result.stderr
    found, expected = labels(tmp_path), labels(plain)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_tensorrt_says_what_is_missing(bundle_run: Run, images: Path, picture_model: Path, tmp_path: Path) -> None:
    given = ["--dataset_dir", images, "--model_dir", picture_model, "--output_dir", tmp_path]
    result = bundle_run("inference", *TRT, *given, check=False)
    last = result.stderr.rstrip().splitlines()[-1]
    assert last.startswith(
        "leaf_seg: inference_trt.json needs the packages tensorrt, polygraphy, onnx; not installed: "
    )
    assert "Traceback" not in result.stderr


def test_every_reference_of_the_tensorrt_config_resolves() -> None:
    parser = ConfigParser(ConfigParser.load_config_files(json.loads(TRT[1].replace("'", '"'))))
    args = parser.get_parsed_content("trt_args")
    assert args == {"method": "onnx", "dynamic_batchsize": [1, 16, 16]}
    content = parser.get_parsed_content("inference", instantiate=False, eval_expr=False)
    assert content is not None
    assert parser.ref_resolver.get_resolved_content("network", instantiate=False, eval_expr=False)
