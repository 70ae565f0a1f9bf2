"""The rows of an ablation, from the paper's tables or from a grid over config keys."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from monai.bundle import ConfigParser

from leaf_seg.ablation.rows import Entry, Row, Settings, Table
from leaf_seg.runtime.config_items import check_item
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import check_keys

_BETA_KEYS = ("scheduler#beta_schedule", "scheduler#beta_start", "scheduler#beta_end")
_BETAS = (
    ("linear", 0.0001, 0.02),
    ("linear", 0.00085, 0.012),
    ("linear", 0.0015, 0.0155),
    ("scaled_linear", 0.0001, 0.02),
    ("scaled_linear", 0.0015, 0.0155),
)

# What varies in the tables of the paper (Huang et al., MICCAI 2025).
PAPER_TABLES: dict[str, tuple[str, list[Settings]]] = {
    "2": (
        "Table 2: parameterisation and alignment",
        [{"parameterization": p, "alignment_weight": w} for p in ("eps", "v", "x0") for w in (0, 0.75)],
    ),
    "3": (
        "Table 3: weight of the alignment",
        [{"alignment_weight": w} for w in (0, 0.15, 0.25, 0.5, 0.75, 1, 1.25)],
    ),
    "4": (
        "Table 4: stability over noise seeds",
        [{"parameterization": p} for p in ("eps", "v", "x0")],
    ),
    "6": (
        "Table 6: schedule of the betas",
        [dict(zip(_BETA_KEYS, betas, strict=True)) for betas in _BETAS],
    ),
}

# Keys that the ablation sets itself, and what sets them.
_TAKEN = {
    "seed": "--seeds",
    "dataset_dir": "--dataset_dir",
    "output_dir": "--output_dir",
    "tracking_uri": "--tracking_uri",
    "num_noise_seeds": "--noise_seeds",
}


def plan_tables(
    numbers: Sequence[str],
    grid: Mapping[str, Sequence[Any]] | None,
    baselines: Mapping[str, Collection[str]],
    settings: Settings,
    defaults: ConfigParser,
) -> list[Table]:
    """Make the tables; lines that come to the same training share a row.

    Args:
        numbers: keys of :data:`PAPER_TABLES`.
        grid: values for each of some config keys; every combination is a line of one more table.
        baselines: overlays in ``configs/baselines``, without suffix, and the config keys that each makes nothing of; a
            line of each is added to every table.
        settings: overrides for all rows; left out is a teacher where there is no alignment, and what a baseline makes
            nothing of.
        defaults: the training config.

    Raises:
        InputError: When there is nothing to vary, or a key is unknown or set by the ablation itself.
    """
    plans = [PAPER_TABLES[number] for number in dict.fromkeys(numbers)]
    if grid is not None:
        plans.append(("Grid", _combinations(grid)))
    if baselines and not plans:
        plans.append(("Baselines", []))
    if not plans:
        raise InputError("There is nothing to compare: give --table, --grid or --baseline.")
    lines = [settings, *(line for _, lines in plans for line in lines)]
    keys = {key for overrides in lines for key in overrides}
    check_not_taken(keys)
    check_keys(sorted(keys), defaults.get().keys(), "train.json")
    for key, value in (item for overrides in lines for item in overrides.items()):
        check_item(defaults.get(), key, value, "train.json")
    rows = _Rows(settings, defaults)
    return [
        Table(
            title,
            [Entry(overrides, rows.leaf(overrides)) for overrides in lines]
            + [Entry({}, rows.baseline(name, unused)) for name, unused in baselines.items()],
        )
        for title, lines in plans
    ]


class _Rows:
    """Makes rows, one for the same settings."""

    def __init__(self, settings: Settings, defaults: ConfigParser) -> None:
        self.settings = settings
        self.defaults = defaults
        self.rows: dict[str, Row] = {}  # by name

    def leaf(self, overrides: Settings) -> Row:
        """The row of LEAF with these overrides."""
        changed = {key: value for key, value in overrides.items() if self._base(key) != value}
        settings = {**self.settings, **changed}
        if settings.get("alignment_weight", self.defaults.get("alignment_weight")) == 0:
            changed.pop("teacher", None)
            settings.pop("teacher", None)
        return self._add(Row(_name(changed), settings))

    def baseline(self, name: str, unused: Collection[str]) -> Row:
        """The row of a baseline."""
        settings = {key: value for key, value in self.settings.items() if key.split("#")[0] not in unused}
        return self._add(Row(_file_safe(name), settings, (f"baselines/{name}",), draws_noise=False))

    def _base(self, key: str) -> Any:
        """Value of a key where a row does not override it."""
        return self.settings[key] if key in self.settings else self.defaults.get(key)

    def _add(self, new: Row) -> Row:
        for row in self.rows.values():
            if (row.settings, row.overlays) == (new.settings, new.overlays):
                return row
        if new.name in self.rows:  # different values that are written alike in a file name
            digest = hashlib.sha256(repr(new.settings).encode()).hexdigest()[:6]
            new = replace(new, name=f"{new.name}_{digest}")
        self.rows[new.name] = new
        return new


def _combinations(grid: Mapping[str, Sequence[Any]]) -> list[Settings]:
    if not grid or not all(isinstance(values, list) and values for values in grid.values()):
        raise InputError(
            f"The grid is {dict(grid)}; expected a list of one or more values for each key, such as "
            '{"parameterization": ["x0", "v"], "alignment_weight": [0, 0.75]}.'
        )
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def check_not_taken(keys: Collection[str]) -> None:
    """Refuse settings that have options of their own.

    Raises:
        InputError: Names the setting and the option.
    """
    for key in sorted(keys):
        if key in _TAKEN:
            raise InputError(f"The command sets {key} itself, but --set or --grid does, too: use {_TAKEN[key]}.")


def _name(changed: Settings) -> str:
    return _file_safe("__".join(f"{key}_{value}" for key, value in changed.items())) or "default"


def _file_safe(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-")
