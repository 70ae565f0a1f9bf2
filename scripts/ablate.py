"""Train and evaluate a grid of settings, one row after the other; tables, a figure and MLflow runs of the results.

The same command again goes on where it stopped. ``--table`` makes the paper's tables for any data set.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser

from leaf_seg.ablation import (
    PAPER_TABLES,
    Ablation,
    check_folders,
    distinct_rows,
    parent_run,
    plan_tables,
    run_all,
    write_report,
)
from leaf_seg.runtime.config_keys import unused_keys
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.termination import interrupt_on_signals

logger = logging.getLogger("ablate")

# As a user would type it.
BUNDLE = Path(os.path.relpath(Path(__file__).resolve().parents[1] / "bundles" / "leaf_seg"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ablation; the exit code is 0, 1 when a row failed, 2 for bad input, or 130 when it was interrupted."""
    interrupt_on_signals()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # says much when MLflow makes its data base
    options = _parser().parse_args(arguments)
    try:
        return ablate(options)
    except InputError as error:
        logger.error("ablate: %s", error)
        return 2
    except KeyboardInterrupt:
        logger.error("ablate: interrupted; the same command again goes on.")
        return 130


def ablate(options: argparse.Namespace) -> int:
    """Train, evaluate and report; the exit code is 0, or 1 when a row failed."""
    defaults = ConfigParser(ConfigParser.load_config_file(BUNDLE / "configs" / "train.json"))
    tables = plan_tables(options.table, options.grid, _baselines(options.baseline), _settings(options), defaults)
    rows = distinct_rows(tables)
    ablation = Ablation(
        bundle=BUNDLE,
        dataset_dir=options.dataset_dir,
        num_classes=options.num_classes,
        output_dir=Path(options.output_dir),
        seeds=list(dict.fromkeys(options.seeds)),
        noise_seeds=options.noise_seeds,
    )
    check_folders(ablation, rows)
    with parent_run(ablation.output_dir, options.tracking_uri) as parent:
        failed = run_all(ablation, rows, parent)
        parent.artifacts = write_report(ablation, tables, failed)
        parent.status = "FAILED" if failed else "FINISHED"
    logger.info("\n%s", parent.artifacts[0].read_text())
    for artifact in parent.artifacts:
        logger.info("%s", artifact)
    for name, seeds in failed.items():
        logger.error("failed: %s, seeds %s", name, ", ".join(map(str, seeds)))
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--dataset_dir", required=True, help="data set, as for training")
    parser.add_argument("--num_classes", type=int, help="background included; where the data set does not say")
    parser.add_argument("--output_dir", required=True, help="folder for the rows, the tables and the MLflow store")
    what = parser.add_argument_group("what is compared (at least one)")
    what.add_argument(
        "--table",
        nargs="+",
        default=[],
        choices=sorted(PAPER_TABLES),
        help="tables of the paper: " + "; ".join(title for title, _ in PAPER_TABLES.values()),
    )
    what.add_argument("--grid", type=_grid, help="JSON object of config keys and the values of each: every combination")
    what.add_argument("--baseline", nargs="+", default=[], help="overlays in configs/baselines, such as unet")
    how = parser.add_argument_group("how")
    how.add_argument("--seeds", nargs="+", type=int, default=[0], help="training seeds of each row")
    how.add_argument("--noise_seeds", type=_at_least_one, default=10, help="noise seeds to evaluate each model with")
    how.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="config keys of training, for all rows")
    how.add_argument("--max_minutes", type=float, help="the same time for each row")
    how.add_argument("--max_cpu_minutes", type=float, help="the same CPU time for each row")
    how.add_argument("--teacher", help="folder, file or name of the vision transformer, for rows with alignment")
    how.add_argument("--tracking_uri", help="MLflow store; mlruns.db in the output folder unless given")
    return parser


def _grid(text: str) -> dict[str, list[Any]]:
    try:
        grid = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON ({error})") from error
    if not isinstance(grid, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is no object; expected {{"key": [values], ...}}')
    return grid


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, at least 1")
    return int(text)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Overrides for all rows."""
    settings = {}
    for pair in options.set:
        key, separator, value = pair.partition("=")
        if not separator:
            raise InputError(f"--set got {pair!r}; expected KEY=VALUE, such as image_size=[96,96].")
        settings[key.removeprefix("--")] = DefaultParseValue(value)  # as the training command reads it
    for key in ("max_minutes", "max_cpu_minutes", "teacher"):
        if getattr(options, key) is not None:
            settings[key] = getattr(options, key)
    return settings


def _baselines(names: Sequence[str]) -> dict[str, set[str]]:
    """The config keys that each of these overlays makes nothing of."""
    folder = BUNDLE / "configs" / "baselines"
    known = {file.stem: file for file in sorted(folder.glob("*.json"))}
    for name in names:
        if name not in known:
            raise InputError(f"No baseline {name!r} in {folder}; expected one of: {', '.join(known) or 'none there'}.")
    return {
        name: unused_keys(ConfigParser.load_config_files([BUNDLE / "configs" / "train.json", known[name]]))
        for name in names
    }


if __name__ == "__main__":
    sys.exit(main())
