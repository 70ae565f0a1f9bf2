"""Train and evaluate a grid of settings, one row after the other; tables, a figure and MLflow runs of the results.

The same command again goes on where it stopped. ``--table`` makes the paper's tables for any data set.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from compared import BUNDLE, add_shared_options, carry_out, own_settings, run_script
from leaf_seg.ablation import PAPER_TABLES, Ablation, distinct_rows, plan_tables, write_report
from leaf_seg.runtime.config_keys import unused_keys
from leaf_seg.runtime.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ablation; the exit code is 0, 1 when a row failed, 2 for bad input, or 130 when it was interrupted."""
    return run_script("ablate", ablate, _parser().parse_args(arguments))


def ablate(options: argparse.Namespace) -> int:
    """Train, evaluate and report; the exit code is 0, or 1 when a row failed."""
    defaults = ConfigParser(ConfigParser.load_config_file(BUNDLE / "configs" / "train.json"))
    tables = plan_tables(options.table, options.grid, _baselines(options.baseline), _settings(options), defaults)
    ablation = Ablation(
        bundle=BUNDLE,
        dataset_dir=options.dataset_dir,
        num_classes=options.num_classes,
        output_dir=Path(options.output_dir),
        seeds=list(dict.fromkeys(options.seeds)),
        noise_seeds=options.noise_seeds,
    )
    return carry_out(
        ablation,
        distinct_rows(tables),
        options.tracking_uri,
        lambda failed: write_report(ablation, tables, failed),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    how = add_shared_options(parser)
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
    how.add_argument("--teacher", help="folder, file or name of the vision transformer, for rows with alignment")
    return parser


def _grid(text: str) -> dict[str, list[Any]]:
    try:
        grid = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON ({error})") from error
    if not isinstance(grid, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is no object; expected {{"key": [values], ...}}')
    return grid


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Overrides for all rows."""
    return own_settings(options, ("max_minutes", "max_cpu_minutes", "teacher"))


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
