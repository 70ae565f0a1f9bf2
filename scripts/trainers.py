"""Trainers as the config files build them, for what measures their steps."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from fire.parser import DefaultParseValue
from ignite.engine import Events
from monai.bundle import ConfigParser

from leaf_seg.engines import BundleTrainer
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import root_key

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "leaf_seg"
_MANY = 1_000_000


def build_trainer(files: Sequence[Path], settings: Mapping[str, Any], pairs: Sequence[str]) -> BundleTrainer:
    """The trainer of ``train.json`` with its overlays, which never validates and never saves.

    Args:
        files: ``train.json`` and its overlays.
        settings: values of config keys; those that the files do not have are left out.
        pairs: the same from the command line, KEY=VALUE.

    Raises:
        InputError: When a pair is none, or as of the training command.
    """
    config = ConfigParser(ConfigParser.load_config_files([str(file) for file in files]))
    endless = {"max_epochs": _MANY, "val_interval": _MANY, "checkpoint_minutes": _MANY}
    known = {key: value for key, value in settings.items() if root_key(key) in config}
    config.update({"bundle_root": str(BUNDLE), **endless, **known, **_parsed(pairs, config)})
    config.get_parsed_content("initialize")
    trainer = config.get_parsed_content("train#trainer")
    trainer.logger.setLevel(logging.WARNING)  # Ignite tells of each pause
    return trainer


def _parsed(pairs: Sequence[str], config: ConfigParser) -> dict[str, Any]:
    """Those of the settings on the command line that a config has."""
    settings = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise InputError(f"--set got {pair!r}; expected KEY=VALUE, such as ema_decay=0.99.")
        if root_key(key) in config:
            settings[key] = DefaultParseValue(value)  # as the training command reads it
    return settings


def train_steps(trainer: BundleTrainer, steps: int) -> None:
    """Train for so many steps more."""
    end = trainer.state.iteration + steps
    with trainer.add_event_handler(Events.ITERATION_COMPLETED(once=end), trainer.interrupt):
        trainer.run()


def abandon(trainer: BundleTrainer) -> None:
    """End the training where it is, without its last validation."""
    logging.disable(logging.CRITICAL)
    cast(Generator[Any], trainer._internal_run_generator).close()
    logging.disable(logging.NOTSET)
