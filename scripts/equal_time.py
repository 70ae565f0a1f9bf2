"""Train LEAF and baselines for equal CPU time on several data sets, and compare them case by case.

Every training has one thread, and no settings but data, classes and CPU minutes. Two run at a time. The same command
again leaves out what is done, and goes on with what was stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from leaf_seg.ablation import CommandFailed
from leaf_seg.ablation.runner import run_command
from leaf_seg.data import make_phantoms
from leaf_seg.handlers import CASES_NAME, SUMMARY_NAME
from leaf_seg.metrics.comparison import MEAN_FOREGROUND, paired_difference, read_cases
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.termination import interrupt_on_signals
from leaf_seg.runtime.text import aligned

logger = logging.getLogger("equal_time")

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundles" / "leaf_seg"
CONFIGS = BUNDLE / "configs"
METHODS = {"leaf": [], "unet": ["baselines/unet.json"], "dynunet": ["baselines/dynunet.json"]}
SCORE = "dice_positive"


@dataclass(frozen=True)
class Run:
    """One training, with its evaluation."""

    data: str
    dataset_dir: Path
    num_classes: int
    method: str
    minutes: float
    seed: int
    folder: Path

    @property
    def evaluation(self) -> Path:
        """Folder of the evaluations, one for each split."""
        return self.folder / "evaluation"


def main() -> int:
    """Train, evaluate, compare; the exit code is 0, 1 when a run failed, 2 for bad input, 130 when interrupted."""
    interrupt_on_signals()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    options = _parser().parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the trainings
    try:
        runs = list(_runs(options))
        with ThreadPoolExecutor(options.jobs) as pool:
            try:
                done = list(pool.map(lambda run: _train_and_evaluate(run, options.split), runs))
            finally:
                pool.shutdown(cancel_futures=True)
    except InputError as error:
        logger.error("equal_time: %s", error)
        return 2
    except KeyboardInterrupt:
        logger.error("equal_time: interrupted; the same command again goes on.")
        return 130
    report(runs, options.split)
    return 0 if all(done) else 1


def report(runs: Sequence[Run], split: str) -> None:
    """Log a table of what is there."""
    header = ("data", "CPU minutes", "seed", "method", "steps", "Dice", "empty", "made up", "minus the U-Net's")
    lines: list[tuple[str, ...]] = [header]
    lines += [_row(run, runs, split) for run in runs if (run.evaluation / split / SUMMARY_NAME).is_file()]
    logger.info("%s split: Dice of the classes that are in the truth, mean over cases [95 %% bootstrap]", split)
    logger.info(aligned(lines))


def _row(run: Run, runs: Sequence[Run], split: str) -> tuple[str, ...]:
    folder = run.evaluation / split
    summary = json.loads((folder / SUMMARY_NAME).read_text())
    dice = summary["mean_foreground"][SCORE]
    counts = [f"{summary[key]['n']} of {summary[key]['of']}" for key in ("predicted_empty", "false_positives")]
    others = [
        other.evaluation / split / CASES_NAME
        for other in runs
        if (other.data, other.minutes, other.seed, other.method) == (run.data, run.minutes, run.seed, "unet")
    ]
    difference = ""
    if run.method != "unet" and others and others[0].is_file():
        own, unet = (read_cases(file)[SCORE][MEAN_FOREGROUND] for file in (folder / CASES_NAME, others[0]))
        interval = paired_difference(own, unet)
        difference = f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
    interval_text = f"{dice['mean']:.3f}"
    if dice["low"] is not None:
        interval_text += f" [{dice['low']:.3f}, {dice['high']:.3f}]"
    head = (run.data, f"{run.minutes:g}", str(run.seed), run.method, str(_steps(run)))
    return (*head, interval_text, *counts, difference)


def _steps(run: Run) -> int:
    """Optimiser steps, by the table of losses."""
    with (run.folder / "losses.csv").open(newline="") as file:
        return int(list(csv.DictReader(file))[-1]["step"])


def _train_and_evaluate(run: Run, split: str) -> bool:
    """Run the two commands, unless their results are there; whether both ended well."""
    overlays = ",".join(f"'{CONFIGS / name}'" for name in ["train.json", *METHODS[run.method]])
    common = ["--bundle_root", BUNDLE, "--dataset_dir", run.dataset_dir, "--output_dir", run.folder]
    training = ["--num_classes", run.num_classes, "--max_cpu_minutes", run.minutes, "--seed", run.seed]
    trained = run.folder / "trained"
    try:
        if not trained.is_file():
            _bundle(run, "training", f"[{overlays}]", *common, *training, "--resume", "true")
            trained.touch()
        if not (run.evaluation / split / SUMMARY_NAME).is_file():
            evaluate = f"[{overlays},'{CONFIGS / 'evaluate.json'}']"
            _bundle(run, "evaluating", evaluate, *common, "--split", split, "--seed", run.seed)
    except CommandFailed as error:
        logger.error("%s", error)
        return False
    return True


def _bundle(run: Run, run_id: str, config_file: str, *arguments: object) -> None:
    """Run a command of the bundle, its output in a file beside the run's folder."""
    logger.info("%s: %s", run_id, run.folder.name)
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    words = ["-m", "monai.bundle", "run", run_id, "--config_file", config_file, *map(str, arguments)]
    run_command(words, run.folder.with_name(f"{run.folder.name}.log"))


def _runs(options: argparse.Namespace) -> Iterator[Run]:
    """The longest come first, so that none is left alone at the end."""
    sets = [_data_set(text) for text in options.data]
    if options.phantoms:
        folder = Path(options.output) / "phantoms"
        if not (folder / "split.json").is_file():
            # 140 for training, 20 for validation, 40 for testing; a ninth is empty.
            make_phantoms(folder, num_cases=200, num_classes=2, channels=3, target_share=(0.01, 0.15))
        sets.insert(0, ("phantoms", folder, 2))
    minutes = sorted(options.minutes, reverse=True)
    for seed, time, data, method in product(options.seeds, minutes, sets, options.methods):
        folder = Path(options.output).resolve() / f"{data[0]}_{method}_{time:g}min_seed{seed}"
        yield Run(*data, method, time, seed, folder)


def _data_set(text: str) -> tuple[str, Path, int]:
    folder, _, classes = text.rpartition(":")
    if not Path(folder).is_dir() or not classes.isdigit():
        raise InputError(f"--data {text}: expected FOLDER:CLASSES, such as ../shared/data/wbc:3, of a folder there is.")
    return Path(folder).resolve().name, Path(folder).resolve(), int(classes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("output", help="folder of the trainings")
    parser.add_argument("--data", nargs="*", default=[], metavar="FOLDER:CLASSES", help="data sets")
    parser.add_argument("--phantoms", action="store_true", help="also on generated pictures with small targets")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["leaf", "unet"], help="networks")
    parser.add_argument("--minutes", nargs="+", type=float, default=[6.0, 12.0], help="CPU minutes of a training")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="seeds of the trainings")
    parser.add_argument("--split", choices=("validation", "testing"), default="validation", help="what to evaluate on")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, each on one thread")
    return parser


if __name__ == "__main__":
    sys.exit(main())
