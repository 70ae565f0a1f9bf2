"""What ``benchmark_training.py`` lets train."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from leaf_seg.data import make_phantoms
from leaf_seg.runtime.allocator import freed_memory_kept
from measuring import CONFIGS, SMALL_UNET
from published_training import PublishedTraining
from trainers import abandon, build_trainer, train_steps

NUM_CLASSES = 2
PAPER = ("train.json", "methods/leaf_paper.json", "profiles/ldm_kl8.json")
BASELINE = ("train.json", "baselines/unet.json")


@dataclass(frozen=True)
class Job:
    """What all candidates have in common.

    Attributes:
        folder: temporary, for all files.
        device: that computes.
        batch_size: slices in a step.
        image_size: pixels along each side.
        is_small: whether it is a rehearsal with small networks.
        threads: of PyTorch on the CPU.
        num_workers: processes that load data for a config's trainer.
        settings: KEY=VALUE, of config keys.
    """

    folder: Path
    device: torch.device
    batch_size: int
    image_size: int
    is_small: bool
    threads: int
    num_workers: int
    settings: tuple[str, ...]

    @property
    def phantoms(self) -> Path:
        """Folder of the data set."""
        return self.folder / "phantoms"

    @property
    def autoencoder(self) -> Path:
        """Folder of the frozen autoencoder."""
        return self.folder / "kl-f8"

    @property
    def teacher(self) -> Path:
        """Folder of the teacher."""
        return self.folder / "teacher"

    def output(self, name: str) -> Path:
        """Folder in which a candidate trains."""
        return self.folder / name


class Training(Protocol):
    """Something that trains."""

    num_trained: int

    def train(self, steps: int) -> None:
        """Train for so many steps more."""

    def close(self) -> None:
        """End where it is."""


@dataclass(frozen=True)
class Candidate:
    """A line of the table.

    Attributes:
        title: in the table.
        precision: number format that it computes in.
        held: GiB that its process has while it waits: weights, optimiser, average.
        per_image: GiB that an image of a step takes in addition.
        files: configs; none is the published composition.
        has_cache: whether features may be cached.
    """

    title: str
    precision: str
    held: float
    per_image: float
    files: tuple[str, ...] = ()
    has_cache: bool = True

    def build(self, name: str, job: Job) -> Training:
        """Ready to train."""
        if self.files:
            return ConfiguredTraining(self, name, job)
        return PublishedTraining(job.device, self.precision, job.batch_size, job.image_size, job.is_small)


CANDIDATES = {
    "published_fp32": Candidate("published fp32", "fp32", 7.0, 1.5),
    "published_bf16": Candidate("published bf16", "bf16", 7.0, 1.25),
    "leaf_seg": Candidate("leaf_seg bf16", "bf16", 8.0, 1.25, PAPER),
    "leaf_seg_no_cache": Candidate("leaf_seg bf16, no cache", "bf16", 8.0, 1.25, PAPER, has_cache=False),
    "unet": Candidate("unet bf16", "bf16", 1.0, 0.25, BASELINE),
}


class ConfiguredTraining:
    """The training of config files, on phantoms.

    Args:
        candidate: whose files these are.
        name: of the candidate.
        job: what all have in common.
    """

    def __init__(self, candidate: Candidate, name: str, job: Job) -> None:
        files = [CONFIGS / file for file in candidate.files]
        self.trainer = build_trainer(files, _settings(candidate, name, job), job.settings)
        self.memory = ExitStack()
        if self.trainer.keep_memory and job.device.type == "cpu":  # between its turns, too
            self.memory.enter_context(freed_memory_kept())
            self.trainer.keep_memory = False
        groups = self.trainer.optimizer.param_groups
        self.num_trained = sum(parameter.numel() for group in groups for parameter in group["params"])

    def train(self, steps: int) -> None:
        """Train for so many steps more."""
        train_steps(self.trainer, steps)

    def close(self) -> None:
        """End without the last validation."""
        abandon(self.trainer)
        self.memory.close()


def _settings(candidate: Candidate, name: str, job: Job) -> dict[str, Any]:
    """Values of config keys, where the config has them."""
    settings: dict[str, Any] = {
        "dataset_dir": str(job.phantoms),
        "output_dir": str(job.output(name)),
        "device_name": str(job.device),
        "precision": candidate.precision,
        "image_size": [job.image_size] * 2,
        "num_classes": NUM_CLASSES,
        "batch_size": job.batch_size,
        "num_workers": job.num_workers,
        "flip_probability": [1.0, 1.0],  # always the same images, so that one epoch makes a cache warm
        "empty_slice_rate": 1.0,
    }
    if candidate.files == PAPER:
        settings |= {"autoencoder_dir": str(job.autoencoder), "unet_dir": None, "teacher": str(job.teacher)}
        if job.is_small:
            settings |= {f"unet_config#{key}": list(v) if isinstance(v, tuple) else v for key, v in SMALL_UNET.items()}
    if not candidate.has_cache:
        settings["feature_cache_gb"] = None
    return settings


def write_phantoms(job: Job, num_slices: int) -> None:
    """A data set with so many slices for training."""
    make_phantoms(
        job.phantoms,
        num_cases=2 * num_slices + 3,  # more than enough of them are for training
        num_classes=NUM_CLASSES,
        size=(job.image_size, job.image_size),
        channels=3,
    )
    file = job.phantoms / "split.json"
    split = json.loads(file.read_text())
    file.write_text(json.dumps(split | {"training": split["training"][:num_slices]}))
