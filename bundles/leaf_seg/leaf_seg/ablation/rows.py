"""What is trained, and how tables are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Settings = dict[str, Any]  # config key -> value


@dataclass(frozen=True)
class Stage:
    """A training of an autoencoder that has to be done before a row's own, with each training seed.

    Attributes:
        name: its own among the stages; the overlay ``configs/profiles/<name>.json`` goes on ``train_autoencoder.json``.
        key: setting of the row's training that names the folder of the autoencoder.
        settings: overrides of its training command.
    """

    name: str
    key: str
    settings: Settings = field(default_factory=dict)

    @property
    def overlays(self) -> tuple[str, ...]:
        """Config files after ``train_autoencoder.json``, below ``configs``, without suffix."""
        return (f"profiles/{self.name}",)


@dataclass(frozen=True)
class Row:
    """One thing to train, with every training seed.

    Attributes:
        name: its own among the rows; fit for a folder.
        settings: overrides of the training command, those of all rows among them.
        overlays: config files after ``train.json``, such as ``methods/sdseg``: below ``configs``, without suffix.
        stages: trainings that come before, in this order.
        evaluation: overrides of the evaluation command.
        draws_noise: whether its answers depend on noise, so that it is evaluated with several noise seeds.
        num_members: trainings for each training seed, which answer together; 1 is no ensemble.
    """

    name: str
    settings: Settings
    overlays: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    evaluation: Settings = field(default_factory=dict)
    draws_noise: bool = True
    num_members: int = 1


@dataclass(frozen=True)
class Entry:
    """A line of a table.

    Attributes:
        values: what distinguishes it from the table's other lines; empty for a baseline or a method.
        row: what is trained; several entries may share one.
        title: what it is called; by its values or its row's name unless given.
    """

    values: Settings
    row: Row
    title: str | None = None


@dataclass(frozen=True)
class Table:
    """Lines that are compared with each other.

    Attributes:
        title: of the table.
        entries: its lines.
        score: what its figure shows, a key of :data:`~leaf_seg.ablation.figure.SCORES`.
    """

    title: str
    entries: list[Entry]
    score: str = "dice"

    @property
    def keys(self) -> list[str]:
        """Config keys that vary."""
        return list(dict.fromkeys(key for entry in self.entries for key in entry.values))


def distinct_rows(tables: Sequence[Table]) -> list[Row]:
    """The rows of all tables, each once, in order."""
    return list({entry.row.name: entry.row for table in tables for entry in table.entries}.values())


def common_settings(rows: Sequence[Row]) -> Settings:
    """Settings that every row has alike."""
    first, *others = (row.settings for row in rows)
    return {key: value for key, value in first.items() if all(row.get(key) == value for row in others)}
