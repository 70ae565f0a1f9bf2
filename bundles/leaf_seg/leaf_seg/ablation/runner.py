"""Trains and evaluates the rows of an ablation by the commands that a user would type."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaf_seg.ablation.rows import Row, Stage
from leaf_seg.ablation.state import RowState, forget_evaluation, load_state
from leaf_seg.ablation.tracking import ParentRun
from leaf_seg.runtime.termination import run_python

logger = logging.getLogger(__name__)

# Settings that say where data is and what to compute on: evaluation needs them, too.
_EVALUATION_KEYS = (
    *("datalist_file", "split_file", "fold", "modality", "group_regex", "group_file"),
    *("device_name", "batch_size"),
)

_MEMBERS_APART = 1000  # between the seeds of an ensemble's members

Execute = Callable[[Sequence[str], Path], None]


class CommandFailed(Exception):
    """A command ended with an error; the message says which, and how its log ends."""


@dataclass(frozen=True)
class Ablation:
    """What all rows share.

    Attributes:
        bundle: folder of the bundle.
        dataset_dir: data set, as for training.
        num_classes: K, background included; None where the data set says.
        output_dir: folder that holds one folder for each row.
        seeds: training seeds.
        noise_seeds: noise seeds of the evaluation.
        split: data split of the evaluation.
    """

    bundle: Path
    dataset_dir: str
    num_classes: int | None
    output_dir: Path
    seeds: Sequence[int]
    noise_seeds: int
    split: str = "testing"

    def folder(self, row: Row, seed: int, member: int = 0) -> Path:
        """Folder of a row's training with one seed; of an ensemble the first member, or another."""
        return self.output_dir / row.name / (f"member_{member}_seed_{seed}" if member else f"seed_{seed}")

    def stage_folder(self, row: Row, stage: Stage, seed: int) -> Path:
        """Folder of one of a row's preparatory trainings; the autoencoder lies in its ``model``."""
        return self.output_dir / row.name / f"{stage.name}_seed_{seed}"

    def settings(self, row: Row, seed: int, member: int = 0) -> dict[str, Any]:
        """Everything that decides what a training comes to, as plain JSON values."""
        return self._plain({"overlays": row.overlays, "seed": _member_seed(seed, member), **row.settings})

    def stage_settings(self, stage: Stage, seed: int) -> dict[str, Any]:
        """The same of a preparatory training."""
        return self._plain({"overlays": stage.overlays, "seed": seed, **stage.settings})

    def _plain(self, settings: dict[str, Any]) -> dict[str, Any]:
        data = {"dataset_dir": str(Path(self.dataset_dir).resolve()), "num_classes": self.num_classes}
        return json.loads(json.dumps({**data, **settings}, default=list))

    def training_command(
        self, row: Row, seed: int, parent: ParentRun, resume: bool = False, member: int = 0
    ) -> list[str]:
        """Words of the training command, after ``python``."""
        stages = {stage.key: self.stage_folder(row, stage, seed) / "model" for stage in row.stages}
        folder = self.folder(row, seed, member)
        tracking = self._tracking(parent) | {"run_name": f"{row.name}_{folder.name}", "parent_run": parent.run_id}
        own = {"seed": _member_seed(seed, member), **stages, **row.settings}
        arguments = {**self._common(folder), **self._classes, **own}
        arguments |= tracking | ({"resume": "true"} if resume else {})
        return _bundle_run("training", self._configs("train", *row.overlays), arguments)

    def stage_command(self, row: Row, stage: Stage, seed: int) -> list[str]:
        """Words of the command of a preparatory training, which begins anew each time."""
        folder = self.stage_folder(row, stage, seed) / "model"
        arguments = {**self._common(folder), **self._classes, "seed": seed, **stage.settings, "overwrite": "true"}
        return _bundle_run("training", self._configs("train_autoencoder", *stage.overlays), arguments)

    def evaluation_command(self, row: Row, seed: int, parent: ParentRun) -> list[str]:
        """Words of the evaluation command, after ``python``."""
        passed_on = {key: row.settings[key] for key in _EVALUATION_KEYS if key in row.settings}
        arguments = {**self._common(self.folder(row, seed)), **passed_on, "save_overlays": "false"}
        arguments |= self._tracking(parent) | self.evaluation(row)
        if row.num_members > 1:
            arguments["ensemble"] = [str(self.folder(row, seed, member)) for member in range(1, row.num_members)]
        return _bundle_run("evaluating", self._configs("train", "evaluate"), arguments)

    def evaluation(self, row: Row) -> dict[str, Any]:
        """What a row is evaluated by."""
        number = self.noise_seeds if row.draws_noise else 1
        return {"split": self.split, "num_noise_seeds": number, **row.evaluation}

    def evaluated_by(self, row: Row) -> dict[str, Any]:
        """The same, with what else decides what an evaluation comes to."""
        return self.evaluation(row) | ({"num_members": row.num_members} if row.num_members > 1 else {})

    @property
    def _classes(self) -> dict[str, int]:
        return {} if self.num_classes is None else {"num_classes": self.num_classes}

    def _configs(self, *names: str) -> list[Path]:
        return [self.bundle / "configs" / f"{name}.json" for name in names]

    def _common(self, folder: Path) -> dict[str, Any]:
        return {"bundle_root": self.bundle, "dataset_dir": self.dataset_dir, "output_dir": folder}

    @staticmethod
    def _tracking(parent: ParentRun) -> dict[str, Any]:
        store = {"tracking_uri": parent.tracking_uri, "experiment_name": parent.experiment_name}
        return {"tracking": "mlflow", **store}


def check_folders(ablation: Ablation, rows: Sequence[Row]) -> None:
    """Refuse folders that hold a model of other settings, before anything is trained.

    Raises:
        InputError: Names the settings.
    """
    for row in rows:
        for seed in ablation.seeds:
            for stage in row.stages:
                load_state(ablation.stage_folder(row, stage, seed), ablation.stage_settings(stage, seed))
            for member in range(row.num_members):
                load_state(ablation.folder(row, seed, member), ablation.settings(row, seed, member))


def run_all(
    ablation: Ablation, rows: Sequence[Row], parent: ParentRun, execute: Execute | None = None
) -> dict[str, list[int]]:
    """Train and evaluate every row with every seed, as far as that has not been done; a failing one is logged.

    Args:
        ablation: what the rows share.
        rows: to train.
        parent: MLflow run whose children the trainings are.
        execute: runs the words of a command and raises :class:`CommandFailed`; a process of its own unless given.

    Returns:
        For each row that failed, by name, the training seeds that did.
    """
    failed: dict[str, list[int]] = {}
    for number, row in enumerate(rows, start=1):
        for seed in ablation.seeds:
            logger.info("\nrow %d of %d: %s, seed %d", number, len(rows), row.name, seed)
            try:
                _run(ablation, row, seed, parent, execute or run_command)
            except CommandFailed as error:
                logger.error("%s\nThe other rows go on.", error)
                failed.setdefault(row.name, []).append(seed)
    return failed


def run_command(words: Sequence[str], log: Path) -> None:
    """Show a ``python`` command and run it; its output goes to the end of a file.

    Raises:
        CommandFailed: When the exit code is not zero.
    """
    line = shlex.join(["python", *words])
    logger.info("$ %s", line)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {line}\n")
        file.flush()
        code = run_python(words, stdout=file, stderr=subprocess.STDOUT)
    if code:
        raise CommandFailed(f"The command failed with exit code {code}. The end of {log}:\n{_end_of(log)}")


def _run(ablation: Ablation, row: Row, seed: int, parent: ParentRun, execute: Execute) -> None:
    """Do what is left to do of one row and seed."""
    for stage in row.stages:
        _prepare(ablation, row, stage, seed, execute)
    folder = ablation.folder(row, seed)
    for member in range(1, row.num_members):
        _train(ablation, row, seed, member, parent, execute)
    state = _train(ablation, row, seed, 0, parent, execute)
    if state.evaluated == ablation.evaluated_by(row):
        logger.info("evaluated: %s", folder)
        return
    state.evaluated = None
    state.save(folder)
    execute(ablation.evaluation_command(row, seed, parent), folder / "evaluation.log")
    state.evaluated = ablation.evaluated_by(row)
    state.save(folder)


def _train(ablation: Ablation, row: Row, seed: int, member: int, parent: ParentRun, execute: Execute) -> RowState:
    """Train a row with one seed, or a member of its ensemble, unless that has been done; what stands in its folder."""
    folder, settings = ablation.folder(row, seed, member), ablation.settings(row, seed, member)
    state = load_state(folder, settings)
    resume = state is not None and not state.trained
    state = state or RowState(settings)
    folder.mkdir(parents=True, exist_ok=True)
    if not state.trained:
        forget_evaluation(ablation.folder(row, seed))
        words = ablation.training_command(row, seed, parent, resume, member)
        state.train(folder, lambda: execute(words, folder / "training.log"))
    return state


def _prepare(ablation: Ablation, row: Row, stage: Stage, seed: int, execute: Execute) -> None:
    """Train what a row's training begins with, unless that has been done."""
    folder, settings = ablation.stage_folder(row, stage, seed), ablation.stage_settings(stage, seed)
    state = load_state(folder, settings) or RowState(settings)
    if not state.trained:
        folder.mkdir(parents=True, exist_ok=True)
        state.train(folder, lambda: execute(ablation.stage_command(row, stage, seed), folder / "training.log"))


def _member_seed(seed: int, member: int) -> int:
    return seed + _MEMBERS_APART * member


def _bundle_run(run_id: str, configs: Sequence[Path], arguments: dict[str, Any]) -> list[str]:
    files = str(configs[0]) if len(configs) == 1 else json.dumps([str(file) for file in configs])
    words = ["-m", "monai.bundle", "run", run_id, "--config_file", files]
    return words + [word for key, value in arguments.items() for word in (f"--{key}", _word(value))]


def _word(value: Any) -> str:
    """A value as Fire reads it from the command line; MONAI would pass over a plain None."""
    if value is None:
        return "$None"
    return str(value) if isinstance(value, (str, Path)) else repr(value)


def _end_of(log: Path, num_lines: int = 8) -> str:
    """The last lines of a log, each progress bar only as it stood last."""
    text = log.read_bytes().decode(errors="replace")
    lines = [line.rstrip("\r").split("\r")[-1] for line in text.split("\n")]
    return "\n".join([f"  {line}" for line in lines if line.strip()][-num_lines:])
