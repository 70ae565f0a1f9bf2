"""Trains and evaluates the rows of an ablation by the commands that a user would type."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leaf_seg.ablation.grid import Row
from leaf_seg.ablation.tracking import ParentRun
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import replacing
from leaf_seg.runtime.termination import run_python

logger = logging.getLogger(__name__)

ROW_STATE_NAME = "ablation_row.json"
# Settings that say where data is and what to compute on: evaluation needs them, too.
_EVALUATION_KEYS = (
    *("datalist_file", "split_file", "fold", "modality", "group_regex", "group_file"),
    *("device_name", "batch_size"),
)

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
    """

    bundle: Path
    dataset_dir: str
    num_classes: int | None
    output_dir: Path
    seeds: Sequence[int]
    noise_seeds: int

    def folder(self, row: Row, seed: int) -> Path:
        """Folder of a row's training with one seed."""
        return self.output_dir / row.name / f"seed_{seed}"

    def settings(self, row: Row, seed: int) -> dict[str, Any]:
        """Everything that decides what a training comes to, as plain JSON values."""
        data = {"dataset_dir": str(Path(self.dataset_dir).resolve()), "num_classes": self.num_classes}
        settings = {**data, "baseline": row.baseline, "seed": seed, **row.settings}
        return json.loads(json.dumps(settings, default=list))

    def training_command(self, row: Row, seed: int, parent: ParentRun, resume: bool = False) -> list[str]:
        """Words of the training command, after ``python``."""
        configs = [self.bundle / "configs" / "train.json"]
        if row.baseline is not None:
            configs.append(self.bundle / "configs" / "baselines" / f"{row.baseline}.json")
        num_classes = {} if self.num_classes is None else {"num_classes": self.num_classes}
        tracking = {
            "tracking": "mlflow",
            "tracking_uri": parent.tracking_uri,
            "experiment_name": parent.experiment_name,
            "run_name": f"{row.name}_seed_{seed}",
            "parent_run": parent.run_id,
        }
        arguments = {**self._common(row, seed), **num_classes, "seed": seed, **row.settings, **tracking}
        return _bundle_run("training", configs, arguments | ({"resume": "true"} if resume else {}))

    def evaluation_command(self, row: Row, seed: int, parent: ParentRun) -> list[str]:
        """Words of the evaluation command, after ``python``."""
        configs = [self.bundle / "configs" / name for name in ("train.json", "evaluate.json")]
        passed_on = {key: row.settings[key] for key in _EVALUATION_KEYS if key in row.settings}
        tracking = {
            "tracking": "mlflow",
            "tracking_uri": parent.tracking_uri,
            "experiment_name": parent.experiment_name,
        }
        arguments = {**self._common(row, seed), **passed_on, "save_overlays": "false", **tracking}
        return _bundle_run("evaluating", configs, arguments | {"num_noise_seeds": self.num_noise_seeds(row)})

    def num_noise_seeds(self, row: Row) -> int:
        """Noise seeds to evaluate a row with; a baseline draws no noise."""
        return self.noise_seeds if row.baseline is None else 1

    def _common(self, row: Row, seed: int) -> dict[str, Any]:
        folder = self.folder(row, seed)
        return {"bundle_root": self.bundle, "dataset_dir": self.dataset_dir, "output_dir": folder}


@dataclass
class _State:
    """What has been done in a folder.

    Attributes:
        settings: of the training.
        trained: whether the training ended well.
        noise_seeds: number of noise seeds of the evaluation; 0 before it.
    """

    settings: dict[str, Any]
    trained: bool = False
    noise_seeds: int = 0

    def save(self, folder: Path) -> None:
        with replacing(folder / ROW_STATE_NAME) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")


def check_folders(ablation: Ablation, rows: Sequence[Row]) -> None:
    """Refuse folders that hold a model of other settings, before anything is trained.

    Raises:
        InputError: Names the settings.
    """
    for row in rows:
        for seed in ablation.seeds:
            _load_state(ablation.folder(row, seed), ablation.settings(row, seed))


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
    folder = ablation.folder(row, seed)
    state = _load_state(folder, ablation.settings(row, seed))
    resume = state is not None and not state.trained
    state = state or _State(ablation.settings(row, seed))
    folder.mkdir(parents=True, exist_ok=True)
    if not state.trained:
        state.noise_seeds = 0
        state.save(folder)
        execute(ablation.training_command(row, seed, parent, resume), folder / "training.log")
        state.trained = True
        state.save(folder)
    if state.noise_seeds == ablation.num_noise_seeds(row):
        logger.info("evaluated: %s", folder)
        return
    state.noise_seeds = 0
    state.save(folder)
    execute(ablation.evaluation_command(row, seed, parent), folder / "evaluation.log")
    state.noise_seeds = ablation.num_noise_seeds(row)
    state.save(folder)


def _load_state(folder: Path, settings: dict[str, Any]) -> _State | None:
    """What has been done in a folder with these settings; None when it has to be begun.

    Raises:
        InputError: When weights of other settings are there.
    """
    if not (folder / ROW_STATE_NAME).is_file():
        return None
    state = _State(**json.loads((folder / ROW_STATE_NAME).read_text()))
    if state.settings == settings:
        return state
    if not any(folder.rglob("*.pt")):  # failed before there was anything to keep
        return None
    keys = [key for key in {**state.settings, **settings} if state.settings.get(key) != settings.get(key)]
    changes = ", ".join(f"{k}: {state.settings.get(k, 'not set')!r}, now {settings.get(k, 'not set')!r}" for k in keys)
    raise InputError(
        f"{folder} was made with other settings ({changes}); expected the same, to go on with it. Choose another "
        "--output_dir, repeat the former settings, or move the folder away."
    )


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
