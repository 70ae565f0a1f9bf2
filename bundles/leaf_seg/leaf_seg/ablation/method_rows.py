"""The rows of a table of methods."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from leaf_seg.ablation.grid import check_not_taken
from leaf_seg.ablation.methods import METHOD_TABLES, Method, known_methods
from leaf_seg.ablation.rows import Entry, Row, Settings, Stage, Table
from leaf_seg.runtime.config_items import check_item
from leaf_seg.runtime.config_keys import unused_keys
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import check_keys, root_key
from leaf_seg.runtime.setting_bounds import check_settings
from leaf_seg.runtime.text import nearest

# The config that files make together: below configs, without suffix.
Load = Callable[[Sequence[str]], dict[str, Any]]

_OF_EVERY_EVALUATION = ("num_cases",)
_OF_EVALUATION = (*_OF_EVERY_EVALUATION, "num_samples")
# Settings of a row that say what the data is and what computes: the trainings before it need them, too.
_SHARED = (
    *("datalist_file", "split_file", "fold", "modality", "group_regex", "group_file"),
    *("label_encoding", "label_colors", "channels", "tiff_stack", "image_size", "axis", "num_slices", "window"),
    *("cache_dir", "cache_gb", "memory_limit_gb", "device_name", "precision", "num_workers"),
)


def plan_methods(
    table: str,
    names: Sequence[str],
    settings: Settings,
    own: Mapping[str, Settings],
    overlays: Collection[str],
    load: Load,
) -> Table:
    """Make a table of methods.

    Args:
        table: a key of :data:`~leaf_seg.ablation.methods.METHOD_TABLES`.
        names: of the rows; none: all of the table whose overlays there are.
        settings: overrides for all rows; each takes those that it makes something of.
        own: overrides for one row, or one training before it, by its name.
        overlays: those that there are, such as ``methods/sdseg``.
        load: makes the config.

    Raises:
        InputError: When a row, a setting or a value is unknown, or a setting has no effect.
    """
    described = METHOD_TABLES[table]
    known = known_methods(table, overlays)
    chosen = list(dict.fromkeys(names)) or [name for name in described.methods if name in known]
    for name in chosen:
        if name not in known:
            raise InputError(f"No method {name!r}{nearest(name, known)} Expected some of: {', '.join(known)}.")
    stages = [stage.name for name in chosen for stage in known[name].stages]
    for name in own:
        if name not in (*chosen, *stages):
            raise InputError(
                f"--set_for has {name!r}, which is no row here; expected one of: {', '.join((*chosen, *stages))}."
            )
    check_not_taken({key for each in (settings, *own.values()) for key in each})
    planner = _Planner(described.settings, settings, own, load)
    entries = [Entry({}, planner.row(name, known[name]), known[name].title) for name in chosen]
    planner.check_all_used()
    return Table(described.title, entries, described.score)


class _Planner:
    """Makes rows, and remembers which of the settings for all of them some row has taken."""

    def __init__(self, defaults: Settings, settings: Settings, own: Mapping[str, Settings], load: Load) -> None:
        self.defaults = defaults
        self.settings = settings
        self.own = own
        self.load = load
        self._left = set(settings)
        self._keys: set[str] = set()

    def row(self, name: str, method: Method) -> Row:
        """The row of a method."""
        config = self.load(("train", *method.overlays))
        used = set(config) - unused_keys(config)
        self._keys |= {*config, *_OF_EVALUATION}
        taken = {*used, *_OF_EVERY_EVALUATION, *method.evaluation} - set(method.settings)
        common = {key: value for key, value in self.settings.items() if root_key(key) in taken}
        self._left -= set(common)
        own = self.own.get(name, {})
        settings = {**self.defaults, **common, **method.settings, **own}
        own_evaluation = {key: settings.pop(key) for key in _OF_EVALUATION if key in settings}
        evaluation = {**method.evaluation, **own_evaluation}
        if method.num_members > 1 and "num_samples" in evaluation:
            raise InputError(f"num_samples of {name} is the number of its members, {method.num_members}. Leave it out.")
        check_settings(evaluation)
        _check(settings, config, used, f"row {name}")
        _refuse({stage.key for stage in method.stages} & set(settings), name)
        stages = tuple(self._stage(stage, settings) for stage in method.stages)
        return Row(name, settings, method.overlays, stages, evaluation, method.draws_noise, method.num_members)

    def _stage(self, stage: Stage, of_row: Settings) -> Stage:
        config = self.load(("train_autoencoder", *stage.overlays))
        shared = {key: value for key, value in of_row.items() if key in _SHARED and key in config}
        settings = {**stage.settings, **shared, **self.own.get(stage.name, {})}
        _check(settings, config, set(config) - unused_keys(config), stage.name)
        return replace(stage, settings=settings)

    def check_all_used(self) -> None:
        """Refuse a setting for all rows that none has taken."""
        check_keys(sorted(self._left), self._keys, "train.json and the overlays of these rows")
        if self._left:
            raise InputError(
                f"--set has {', '.join(sorted(self._left))}, of which no row here makes anything. Leave it out."
            )


def _check(settings: Settings, config: Mapping[str, Any], used: Collection[str], where: str) -> None:
    """Refuse settings that a training would refuse, before any begins."""
    check_keys(sorted(settings), config, f"the config of {where}")
    without = sorted(key for key in settings if root_key(key) not in used)
    if without:
        raise InputError(f"{', '.join(without)}: {where} has no part that uses it. Leave it out.")
    for key, value in settings.items():
        check_item(config, key, value, f"the config of {where}")
    check_settings({**config, **settings})


def _refuse(keys: Iterable[str], name: str) -> None:
    for key in sorted(keys):
        raise InputError(f"{key} of {name} is what the training before it leaves. Leave it out.")
