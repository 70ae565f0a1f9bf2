"""What has to be checked on a GPU, by one command of less than eight minutes; --device cpu rehearses it.

The tests that need a GPU; two deterministic trainings, which have to be equal; a training in fp16 that is resumed, and
has to be equal to one in one go; the labels of inference_gpu.json, which may differ from those in fp32 by 0.1 % of the
foreground; and what inference and a training step cost at the paper's scale (scripts/benchmark_inference.py and
benchmark_training.py).
"""

from __future__ import annotations

import argparse
import csv
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from leaf_seg.data import make_phantoms
from leaf_seg.image_io import list_images, read_image
from leaf_seg.runtime.termination import interrupt_on_signals, run_python

logger = logging.getLogger("gpu_checks")

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = "bundles/leaf_seg/configs"
IMAGES = ROOT.parent / "shared" / "data" / "msd_hippocampus" / "images"
MOST_DIFFERING = 0.001
EPOCHS = 4
SETTINGS: dict[str, object] = {
    "num_classes": 3,
    "image_size": "[32,32]",
    "unet_config#block_out_channels": "[32,32,32]",
    "batch_size": 8,
    "warmup_steps": 5,
    "ema_decay": 0.9,
    "dropout": 0.1,
    "schedule_epochs": EPOCHS,
    "val_interval": 1,
    "num_workers": 0,
    "num_overlays": 0,
    "deterministic": "true",
}


class Failed(Exception):
    """A check that did not hold."""


def main() -> int:
    """Run the checks; the exit code is the number of those that failed."""
    interrupt_on_signals()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    options = _parser().parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="gpu_checks_") as folder:
        for name in options.only:
            start = time.monotonic()
            place = Path(folder) / name
            place.mkdir()
            try:
                found = CHECKS[name](place, options)
                logger.info("== %s: %s (%.0f s)", name, found, time.monotonic() - start)
            except Failed as error:
                failed += 1
                logger.error("== %s FAILED: %s (%.0f s)", name, error, time.monotonic() - start)
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--images", type=Path, default=IMAGES, help="hippocampus volumes, for the shipped model")
    parser.add_argument("--num_images", type=int, default=20, help="how many of them")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS), help="which checks")
    return parser


def tests(folder: Path, options: argparse.Namespace) -> str:
    """The tests marked gpu."""
    run("-m", "pytest", "-q", "-m", "gpu", "tests", "-p", "no:cacheprovider")
    return "passed" if torch.cuda.is_available() else "skipped, for want of a CUDA device"


def deterministic(folder: Path, options: argparse.Namespace) -> str:
    """Two trainings are equal bit for bit."""
    data = phantoms(folder)
    for name in ("one", "other"):
        train(data, folder / name, options.device, "bf16", "--max_epochs", EPOCHS)
    return compared(folder / "one", folder / "other")


def fp16_resume(folder: Path, options: argparse.Namespace) -> str:
    """A training that is stopped half way and resumed is equal to one in one go; on a CPU in bf16."""
    precision = "fp16" if options.device.startswith("cuda") else "bf16"
    data = phantoms(folder)
    train(data, folder / "one", options.device, precision, "--max_epochs", EPOCHS)
    train(data, folder / "other", options.device, precision, "--max_epochs", EPOCHS // 2)
    train(data, folder / "other", options.device, precision, "--max_epochs", EPOCHS, "--resume", "true")
    return f"{precision}, {compared(folder / 'one', folder / 'other')}"


def agreement(folder: Path, options: argparse.Namespace) -> str:
    """The labels of the shipped model by inference_gpu.json, in half-precision weights, against fp32."""
    images = folder / "images"
    images.mkdir()
    for file in sorted(options.images.glob("*.nii.gz"))[: options.num_images]:
        shutil.copy(file, images)
    if not list(images.iterdir()):
        raise Failed(f"no volumes in {options.images}; expected some: --images FOLDER, or leave it out of --only")
    fast = f"['{CONFIGS}/inference.json','{CONFIGS}/inference_gpu.json']"
    precision = "fp16" if options.device.startswith("cuda") else "fp32"
    segment(f"{CONFIGS}/inference.json", images, folder / "plain", options.device, "fp32")
    segment(fast, images, folder / "fast", options.device, precision)
    segment(fast, images, folder / "auto", options.device, "auto")
    shares = {name: differing(folder / "plain", folder / name) for name in ("fast", "auto")}
    text = ", ".join(f"{name} differs in {share:.4%}" for name, share in shares.items())
    if max(shares.values()) > MOST_DIFFERING:
        raise Failed(f"{text} of the foreground; expected at most {MOST_DIFFERING:.1%}")
    return f"fast is {precision}: {text} of the foreground of {len(list(images.iterdir()))} volumes"


def benchmark(folder: Path, options: argparse.Namespace) -> str:
    """Batches of 1 and 16 with graphs, then compiled; on a CPU small networks."""
    script = "scripts/benchmark_inference.py"
    if not options.device.startswith("cuda"):
        run(script, "--device", options.device, "--small", "--image_size", 128, "--rounds", 2)
        return "rehearsed"
    run(script, "--device", options.device, "--batch_size", 1, 16, "--rounds", 20)
    run(script, "--device", options.device, "--batch_size", 16, "--rounds", 20, "--compile", "default")
    return "above"


def benchmark_training(folder: Path, options: argparse.Namespace) -> str:
    """Batches of 16; on a CPU small networks."""
    words = ["scripts/benchmark_training.py", "--device", options.device]
    if not options.device.startswith("cuda"):
        run(*words, "--small", "--batch_size", 2, "--rounds", 2)
        return "rehearsed"
    run(*words, "--batch_size", 16, "--rounds", 15, "--steps", 2)
    return "above"


CHECKS: dict[str, Callable[[Path, argparse.Namespace], str]] = {
    "tests": tests,
    "deterministic": deterministic,
    "fp16_resume": fp16_resume,
    "agreement": agreement,
    "benchmark": benchmark,
    "benchmark_training": benchmark_training,
}


def run(*words: object) -> None:
    """Run Python with these words, at the root of the repository."""
    code = run_python([str(word) for word in words], cwd=ROOT)
    if code:
        raise Failed(f"{' '.join(map(str, words[:5]))} ended with exit code {code}")


def phantoms(folder: Path) -> Path:
    """A data set of pictures."""
    return make_phantoms(folder / "phantoms", num_cases=24, num_classes=3, size=(40, 48), channels=3)


def train(data: Path, output: Path, device: str, precision: str, *more: object) -> None:
    """Train for some epochs."""
    words = ["-m", "monai.bundle", "run", "training", "--config_file", f"{CONFIGS}/train.json"]
    words += ["--bundle_root", "bundles/leaf_seg", "--dataset_dir", str(data), "--output_dir", str(output)]
    given = {**SETTINGS, "device_name": device, "precision": precision}
    run(*words, *(word for key, value in given.items() for word in (f"--{key}", value)), *more)


def compared(one: Path, other: Path) -> str:
    """What two trainings left, if it is the same.

    Raises:
        Failed: When losses or weights differ.
    """
    losses = [_losses(folder / "losses.csv") for folder in (one, other)]
    if losses[0] != losses[1]:
        raise Failed("the losses differ")
    states = [torch.load(folder / "model.pt", weights_only=True) for folder in (one, other)]
    unequal = [name for name, value in states[0].items() if not torch.equal(value, states[1][name])]
    if unequal:
        raise Failed(f"{len(unequal)} of {len(states[0])} weights differ, {unequal[0]} is the first")
    return f"{len(losses[0])} steps and {len(states[0])} weights are equal"


def _losses(file: Path) -> list[dict[str, str]]:
    """What was noted of each step but its time."""
    with file.open(newline="", encoding="utf-8") as stream:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def segment(config: str, images: Path, output: Path, device: str, precision: str) -> None:
    """Segment with the shipped model."""
    words = ["-m", "monai.bundle", "run", "inference", "--config_file", config, "--bundle_root", "bundles/leaf_seg"]
    given = ["--dataset_dir", images, "--output_dir", output, "--device_name", device, "--precision", precision]
    run(*words, *given, "--save_overlays", "false")


def differing(plain: Path, other: Path) -> float:
    """Share of the foreground voxels of ``plain`` that have another label in ``other``."""
    pairs = [
        tuple(np.asarray(read_image(folder / Path(case["image"]).name)) for folder in (plain, other))
        for case in list_images(str(plain))
    ]
    foreground = sum(np.count_nonzero(label) for label, _ in pairs)
    return sum(np.count_nonzero(label != found) for label, found in pairs) / foreground


if __name__ == "__main__":
    sys.exit(main())
