"""The results of a table of methods as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from leaf_seg.ablation.published import SOURCE, Published
from leaf_seg.ablation.results import RowResult
from leaf_seg.ablation.rows import Row, Table, common_settings
from leaf_seg.ablation.table import NONE, as_rows, interval_text, label, number_text

_SCORES = ("GED", "HM-IoU", "hypotheses", "Dice", "IoU", "HD95", "std, noise seeds", "ECE")
_COSTS = ("s per image", "parameters, M", "denoising steps", "training steps", "CPU minutes")
_COLUMNS = ("method", *_SCORES, *_COSTS, "n", "std, training seeds", "of its own", "published")


def methods_markdown(
    tables: Sequence[Table],
    results: Mapping[str, RowResult],
    failed: Mapping[str, Sequence[int]],
    facts: Mapping[str, str],
    figure: str,
    published: Published | None = None,
) -> str:
    """Write tables of methods; a column in which no row has anything is left out.

    Args:
        tables: to write.
        results: by name of the row.
        failed: training seeds that failed, by name of the row.
        facts: what is worth stating of the whole, such as the data set.
        figure: file of the figure, relative to the Markdown's.
        published: figures to stand beside.
    """
    parts = ["# Methods", "\n".join(f"- {name}: {value}" for name, value in facts.items()), _NOTES]
    if published is not None:
        also = f" Further methods: {published.others}." if published.others else ""
        parts.append(f'"Published" are figures for {published.name}: {SOURCE}{also}')
    for table in tables:
        common = common_settings([entry.row for entry in table.entries])
        lines = [
            [
                label(entry),
                *_cells(results.get(entry.row.name), failed.get(entry.row.name, ())),
                _own(entry.row, common),
                published.rows.get(entry.row.name, NONE) if published else NONE,
            ]
            for entry in table.entries
        ]
        parts.append(f"## {table.title}\n\n{as_rows(_without_empty([_COLUMNS, *lines]))}")
        parts += [_RATERS_NOTE] if any(result.ged.n for result in results.values()) else []
        parts += [_SDSEG_NOTE] if any(entry.row.name.startswith("sdseg_noise") for entry in table.entries) else []
    return "\n\n".join([*parts, f"![What each row scored, with its interval]({figure})"]) + "\n"


_NOTES = """\
Dice, IoU and HD95 are means over cases of the mean over foreground classes, at native size, with a 95 % bootstrap
interval over cases; with several training seeds each case is averaged over them first. HD95 is in mm for volumes and in
pixels for pictures; cases in which it is undefined are left out of it, and "n =" says so. "std, noise seeds" is the
standard deviation (ddof = 1) of the mean Dice over noise seeds, one model, one hypothesis each. ECE is the mean over
the foreground classes. "s per image" is the time of the network and its inferer for one case, median over the cases of
the evaluation, on the machine and under the load that there were. "CPU minutes" are those of the training command,
start and validations included; behind "+" stand those of the autoencoders that are trained first, or of an ensemble's
further members; its training steps are those of the first. "of its own" is what a row sets besides what all have. LEAF
is as `train.json` has it: without a teacher, unless it is said to be set.

Each checkpoint was chosen on the validation split; nothing was chosen on the testing split, and nothing should be
chosen by a table of it."""

_RATERS_NOTE = """\
GED is the squared generalised energy distance of the hypotheses to all raters, lower is better; HM-IoU is their
Hungarian-matched IoU. Both depend on the number of hypotheses: compare rows that have equally many. Dice, IoU, HD95 and
ECE are those of the hypotheses' mean against `label`."""

_SDSEG_NOTE = """\
Latent fusion, the third part of SDSeg's ablation, is a concatenation in all rows: the U-Nets here have no
cross-attention to put in its place. A frozen image encoder is the autoencoder's, without the new projection, which
would never be trained."""


def _cells(result: RowResult | None, failed: Sequence[int]) -> list[str]:
    """The cells between the method's name and its own settings."""
    failures = f"seeds {', '.join(map(str, failed))} failed" if failed else ""
    if result is None:
        return [NONE, NONE, NONE, failures or NONE, *[NONE] * (len(_COLUMNS) - 7)]
    count = "" if result.hd95.n == result.dice.n else f" (n = {result.hd95.n})"
    return [
        interval_text(result.ged),
        interval_text(result.hm_iou),
        number_text(result.hypotheses, ".0f"),
        interval_text(result.dice) + (f" ({failures})" if failures else ""),
        interval_text(result.iou),
        interval_text(result.hd95, ".1f") + count,
        number_text(result.noise_std, ".5f"),
        number_text(result.ece, ".3f"),
        number_text(result.seconds_per_case, ".3f"),
        number_text(result.parameters / 1e6, ".2f"),
        number_text(result.denoising_steps, ".0f"),
        number_text(result.steps, ".0f"),
        number_text(result.cpu_minutes, ".1f") + _stages(result),
        str(result.dice.n),
        number_text(result.training_std, ".4f"),
    ]


def _stages(result: RowResult) -> str:
    minutes = result.stage_cpu_minutes
    return "" if math.isnan(minutes) or minutes == 0 else f" + {minutes:.1f}"


def _own(row: Row, common: Mapping[str, object]) -> str:
    """What a row, or a training before it, sets that not all have."""
    own = {key: value for key, value in {**row.settings, **row.evaluation}.items() if key not in common}
    found = [f"{key} {value}" for key, value in own.items() if key != "num_cases"]  # n has a column
    for stage in row.stages:
        usual = {"num_slices": 1, **common}  # as train.json has it
        own = {key: value for key, value in stage.settings.items() if usual.get(key) != value}
        found += [f"{stage.name}: {key} {value}" for key, value in own.items()]
    return ", ".join(found) or NONE


def _without_empty(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """The table without the columns that hold nothing but dashes below their names."""
    kept = [column for column in range(len(lines[0])) if any(line[column] != NONE for line in lines[1:])]
    return [[line[column] for column in kept] for line in lines]
