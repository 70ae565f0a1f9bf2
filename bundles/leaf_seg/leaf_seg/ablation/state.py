"""What has been done in the folder of a row, so that the same command goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import replacing

ROW_STATE_NAME = "ablation_row.json"


@dataclass
class RowState:
    """What has been done in a folder.

    Attributes:
        settings: of the training.
        trained: whether the training ended well.
        evaluated: what it was evaluated by; None before it was.
        cpu_seconds: CPU time of the training command, over all its sessions.
    """

    settings: dict[str, Any]
    trained: bool = False
    evaluated: dict[str, Any] | None = None
    cpu_seconds: float = 0.0

    def save(self, folder: Path) -> None:
        """Write it into the folder."""
        with replacing(folder / ROW_STATE_NAME) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def train(self, folder: Path, command: Callable[[], None]) -> None:
        """Run the training's command, and keep in the folder whether it ended well, and its CPU time."""
        self.trained, self.evaluated = False, None
        self.save(folder)
        before = _cpu_of_commands()
        try:
            command()
            self.trained = True
        finally:
            self.cpu_seconds += _cpu_of_commands() - before
            self.save(folder)


def read_state(folder: Path) -> RowState | None:
    """What has been done in a folder; None where nothing has."""
    if not (folder / ROW_STATE_NAME).is_file():
        return None
    content = json.loads((folder / ROW_STATE_NAME).read_text())
    return RowState(**{field.name: content[field.name] for field in fields(RowState) if field.name in content})


def forget_evaluation(folder: Path) -> None:
    """Let a row be evaluated again, where it was: one of its trainings is another from now on."""
    state = read_state(folder)
    if state is not None:
        state.evaluated = None
        state.save(folder)


def load_state(folder: Path, settings: dict[str, Any]) -> RowState | None:
    """What has been done in a folder with these settings; None when it has to be begun.

    Raises:
        InputError: When weights of other settings are there.
    """
    state = read_state(folder)
    if state is None or state.settings == settings:
        return state
    if not any(file for kind in ("*.pt", "*.safetensors") for file in folder.rglob(kind)):
        return None  # failed before there was anything to keep
    keys = [key for key in {**state.settings, **settings} if state.settings.get(key) != settings.get(key)]
    changes = ", ".join(f"{k}: {state.settings.get(k, 'not set')!r}, now {settings.get(k, 'not set')!r}" for k in keys)
    raise InputError(
        f"{folder} was made with other settings ({changes}); expected the same, to go on with it. Choose another "
        "--output_dir, repeat the former settings, or move the folder away."
    )


def _cpu_of_commands() -> float:
    """CPU seconds of the processes that this one has started and that have ended, theirs among them."""
    times = os.times()
    return times.children_user + times.children_system
