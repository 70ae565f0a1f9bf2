from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leaf_seg.data import make_phantoms
from tests.in_process import run_in_process

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


def _run_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` from the repository root, as a user does."""
    words = [sys.executable, *map(str, arguments)]
    # The threads that the tests themselves use: results depend on their number in the last bits.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


def _checked(run: Run) -> Run:
    """Runs that fail the test when the command fails, unless told not to: ``run(*arguments, check=False)``."""

    def checked(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = run(*arguments)
        assert result.returncode == 0 or not check, result.stdout[-3000:] + result.stderr[-3000:]
        return result

    return checked


def _of_bundle(run: Run) -> Run:
    """Runs of ``python -m monai.bundle run RUN_ID ARGUMENTS``, with paths relative to the repository root."""

    def bundle_run(run_id: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        words = ["-m", "monai.bundle", "run", run_id, "--bundle_root", "bundles/leaf_seg"]
        return run(*words, *arguments, check=check)

    return bundle_run


# A run small enough for a test, of a network small enough; the file is the real one.
SMALL_RUN = {
    "image_size": "[32,32]",
    "batch_size": "4",
    "max_epochs": "1",
    "val_interval": "1",
    "num_workers": "0",
    "precision": "fp32",
}
SMALL_NETWORK = {
    "unet_config#block_out_channels": "[32,32,32]",
    "unet_config#layers_per_block": "1",
    "num_overlays": "0",
}


@pytest.fixture(scope="session")
def run_python() -> Run:
    """Runs ``python ARGUMENTS`` in this process, which takes seconds less than one of its own."""
    return _checked(run_in_process)


@pytest.fixture(scope="session")
def bundle_run(run_python: Run) -> Run:
    """Runs a command of the bundle in this process."""
    return _of_bundle(run_python)


@pytest.fixture(scope="session")
def python_process() -> Run:
    """Runs ``python ARGUMENTS`` as a user does. Each command has one such test; for others, a run in here will do."""
    return _checked(_run_process)


@pytest.fixture(scope="session")
def bundle_process(python_process: Run) -> Run:
    """Runs a command of the bundle as a user does."""
    return _of_bundle(python_process)


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Overrides for a small network and run."""
    return _overrides(SMALL_RUN | SMALL_NETWORK)


@pytest.fixture(scope="session")
def small_run() -> list[str]:
    """Overrides for a small run, whatever the network."""
    return _overrides(SMALL_RUN)


def _overrides(values: dict[str, str]) -> list[str]:
    return [word for key, value in values.items() for word in (f"--{key}", value)]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve RGB phantoms with three classes."""
    folder = tmp_path_factory.mktemp("pictures")
    return make_phantoms(folder, dimension=2, num_cases=12, num_classes=3, size=(40, 48), channels=3)


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five volumes with two classes, in RAS, LPI and oblique orientation."""
    folder = tmp_path_factory.mktemp("volumes")
    return make_phantoms(folder, dimension=3, num_cases=5, num_classes=2, size=(28, 32, 16))


@pytest.fixture(scope="session")
def picture_model(bundle_run: Run, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the training command leaves, trained on pictures for one epoch."""
    return _train(bundle_run, pictures, 3, tmp_path_factory.mktemp("picture_model"))


@pytest.fixture(scope="session")
def volume_model(bundle_run: Run, volumes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on volumes, 2.5D, sagittal."""
    folder = tmp_path_factory.mktemp("volume_model")
    return _train(bundle_run, volumes, 2, folder, "--num_slices", 3, "--axis", "sagittal")


def _train(run: Run, dataset: Path, num_classes: int, output: Path, *arguments: object) -> Path:
    config = ["--config_file", "bundles/leaf_seg/configs/train.json"]
    data = ["--dataset_dir", dataset, "--num_classes", num_classes, "--output_dir", output]
    run("training", *config, *data, *_overrides(SMALL_RUN | SMALL_NETWORK), *arguments)
    return output


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Options that choose eight grey phantoms with three classes, of 16 x 16 pixels."""
    folder = make_phantoms(tmp_path_factory.mktemp("tiny_data"), num_cases=8, num_classes=3, size=(16, 16))
    return ["--dataset_dir", folder, "--num_classes", 3]


@pytest.fixture(scope="session")
def small_autoencoders(
    bundle_run: Run, small_run: list[str], tiny_data: list[object], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """MedSegLatDiff's two, f = 2, trained for one epoch; that of label maps has three classes."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("vq_autoencoder", "mask_autoencoder")}
    config = "--autoencoder_def#config#"
    small = [f"{config}block_out_channels", "[8,8]", f"{config}norm_num_groups", 4]
    small += [f"{config}down_block_types", "['DownEncoderBlock2D','DownEncoderBlock2D']"]
    small += [f"{config}up_block_types", "['UpDecoderBlock2D','UpDecoderBlock2D']"]
    options = [*tiny_data, *small_run, *small, "--num_slices", 1, "--image_size", "[16,16]"]
    for name, folder in folders.items():
        more = ["--num_phantoms", 4] if name == "vq_autoencoder" else ["--precision", "bf16"]
        files = [f"bundles/leaf_seg/configs/{file}.json" for file in ("train_autoencoder", f"profiles/{name}")]
        bundle_run("training", "--config_file", str(files), *options, *more, "--output_dir", folder)
    return folders


@pytest.fixture
def short_temporary() -> Iterator[Path]:
    """A folder for temporary files whose path leaves room for that of a socket: 108 letters hold both."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
