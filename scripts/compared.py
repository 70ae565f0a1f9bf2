"""What the scripts that train and evaluate many rows share: options, the run of the rows, exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue

from leaf_seg.ablation import Ablation, Row, check_folders, parent_run, run_all
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.termination import interrupt_on_signals

logger = logging.getLogger("compared")

# As a user would type it.
BUNDLE = Path(os.path.relpath(Path(__file__).resolve().parents[1] / "bundles" / "leaf_seg"))


def run_script(name: str, work: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Do the work of a script; its exit code, 2 for bad input, or 130 when it was interrupted."""
    interrupt_on_signals()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # says much when MLflow makes its data base
    try:
        return work(options)
    except InputError as error:
        logger.error("%s: %s", name, error)
        return 2
    except KeyboardInterrupt:
        logger.error("%s: interrupted; the same command again goes on.", name)
        return 130


def carry_out(
    ablation: Ablation,
    rows: Sequence[Row],
    tracking_uri: str | None,
    report: Callable[[Mapping[str, Sequence[int]]], Sequence[Path]],
) -> int:
    """Train, evaluate and report; the exit code is 0, or 1 when a row failed.

    Args:
        ablation: what the rows share.
        rows: to train.
        tracking_uri: MLflow store; None is that of the output folder.
        report: writes the files of the results, the text first; takes the training seeds that failed, by row.
    """
    check_folders(ablation, rows)
    with parent_run(ablation.output_dir, tracking_uri) as parent:
        failed = run_all(ablation, rows, parent)
        parent.artifacts = report(failed)
        parent.status = "FAILED" if failed else "FINISHED"
    logger.info("\n%s", parent.artifacts[0].read_text())
    for artifact in parent.artifacts:
        logger.info("%s", artifact)
    for name, seeds in failed.items():
        logger.error("failed: %s, seeds %s", name, ", ".join(map(str, seeds)))
    return 1 if failed else 0


def add_shared_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what all of these scripts have; the group of the options that say how rows are trained."""
    parser.add_argument("--dataset_dir", required=True, help="data set, as for training")
    parser.add_argument("--num_classes", type=int, help="background included; where the data set does not say")
    parser.add_argument("--output_dir", required=True, help="folder for the rows, the tables and the MLflow store")
    how = parser.add_argument_group("how")
    how.add_argument("--seeds", nargs="+", type=int, default=[0], help="training seeds of each row")
    how.add_argument("--noise_seeds", type=_at_least_one, default=10, help="noise seeds to evaluate each model with")
    how.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="config keys of training, for all rows")
    how.add_argument("--max_minutes", type=float, help="the same time for each row")
    how.add_argument("--max_cpu_minutes", type=float, help="the same CPU time for each row")
    how.add_argument("--tracking_uri", help="MLflow store; mlruns.db in the output folder unless given")
    return how


def own_settings(options: argparse.Namespace, keys: Sequence[str]) -> dict[str, Any]:
    """Overrides for all rows: those of ``--set``, and the options of these names that are given."""
    given = {key: getattr(options, key) for key in keys if getattr(options, key) is not None}
    return pairs("--set", options.set) | given


def pairs(option: str, words: Sequence[str]) -> dict[str, Any]:
    """The values of ``KEY=VALUE`` by key, read as the training command reads them.

    Raises:
        InputError: Names the option and the word that is none.
    """
    settings = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator:
            raise InputError(f"{option} got {word!r}; expected KEY=VALUE, such as image_size=[96,96].")
        settings[key.removeprefix("--")] = DefaultParseValue(value)
    return settings


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, at least 1")
    return int(text)
