"""Train and evaluate the methods of a paper's table on any data set, each by its overlays, and write the table.

The same command again goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from compared import BUNDLE, add_shared_options, carry_out, own_settings, pairs, run_script
from leaf_seg.ablation import (
    METHOD_TABLES,
    PUBLISHED,
    Ablation,
    Table,
    distinct_rows,
    methods_markdown,
    plan_methods,
    write_report,
)
from leaf_seg.runtime.errors import InputError

# Options that are settings of all rows, too.
_OF_ROWS = ("split_file", "datalist_file", "fold", "group_regex", "group_file", "modality", "num_cases")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the table; the exit code is 0, 1 when a row failed, 2 for bad input, or 130 when it was interrupted."""
    return run_script("reproduce", reproduce, _parser().parse_args(arguments))


def reproduce(options: argparse.Namespace) -> int:
    """Train, evaluate and report; the exit code is 0, or 1 when a row failed."""
    table = _plan(options)
    ablation = Ablation(
        bundle=BUNDLE,
        dataset_dir=options.dataset_dir,
        num_classes=options.num_classes,
        output_dir=Path(options.output_dir),
        seeds=list(dict.fromkeys(options.seeds)),
        noise_seeds=options.noise_seeds,
        split=options.split,
    )
    published = PUBLISHED[options.published] if options.published else None
    to_markdown = partial(methods_markdown, published=published)
    return carry_out(
        ablation,
        distinct_rows([table]),
        options.tracking_uri,
        lambda failed: write_report(ablation, [table], failed, "reproduce", to_markdown),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    how = add_shared_options(parser)
    data = parser.add_argument_group("which cases")
    for key in ("split_file", "datalist_file", "group_regex", "group_file", "modality"):
        data.add_argument(f"--{key}", help="as for training")
    data.add_argument("--fold", type=int, help="as for training")
    data.add_argument("--split", choices=("validation", "testing"), default="testing", help="what is evaluated")
    data.add_argument("--num_cases", type=int, help="evaluate so many cases at most, at equal distances in the split")
    what = parser.add_argument_group("what is compared")
    titles = "; ".join(f"{name}: {table.title}" for name, table in METHOD_TABLES.items())
    what.add_argument("--table", choices=sorted(METHOD_TABLES), default="leaf", help=titles)
    what.add_argument("--methods", nargs="+", default=[], help="rows by name; all of the table unless given")
    what.add_argument("--published", choices=sorted(PUBLISHED), help="data set whose published figures stand beside")
    how.add_argument(
        "--set_for",
        nargs="+",
        action="append",
        default=[],
        metavar=("METHOD", "KEY=VALUE"),
        help="config keys for one row, or for one of the autoencoders trained before it; may be given several times",
    )
    return parser


def _plan(options: argparse.Namespace) -> Table:
    """The table that the options ask for."""
    settings = own_settings(options, ("max_minutes", "max_cpu_minutes", *_OF_ROWS))
    own: dict[str, dict[str, Any]] = {}
    for name, *words in options.set_for:
        if not words:
            raise InputError(f"--set_for got {name!r} alone; expected a row and KEY=VALUE, such as unet batch_size=16.")
        own[name] = own.get(name, {}) | pairs(f"--set_for {name}", words)
    overlays = [
        file.relative_to(BUNDLE / "configs").with_suffix("").as_posix()
        for kind in ("methods", "baselines")
        for file in (BUNDLE / "configs" / kind).glob("*.json")
    ]
    return plan_methods(options.table, options.methods, settings, own, overlays, _load)


def _load(names: Sequence[str]) -> dict[str, Any]:
    return ConfigParser.load_config_files([str(BUNDLE / "configs" / f"{name}.json") for name in names])


if __name__ == "__main__":
    sys.exit(main())
