"""The models that the server has: the one it began with, and each one trained since."""

from __future__ import annotations

import json
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leaf_seg import Segmenter, load
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import ensure_writable_folder, replacing
from leaf_seg.runtime.text import first_line
from leaf_seg.weights import load_settings

logger = logging.getLogger(__name__)

INITIAL = "initial"  # the model that the server began with
SERVED = "served"  # what clients ask for when they want the one that is served
RECORD_NAME = "version.json"
_SERVED_NAME = "served.json"
_LOADED = 2  # models kept in memory


class ModelVersions:
    """Model folders by name: "initial", "v001", "v002", ...

    A version is a folder that appears complete or not at all, and is never changed; which one is served stands in a
    file that is replaced as a whole. So a training that fails or is killed leaves the served model as it was.

    Args:
        store: folder of the versions; made by the first training.
        initial: model folder to begin with.
        labels: names of the structures, without background; None takes those of the initial model.

    Attributes:
        reading: how images are read, by all versions.

    Raises:
        InputError: When ``initial`` is no model folder, or is of stacks of TIFF, or a name is empty or given twice.
    """

    def __init__(self, store: Path, initial: Path, labels: Sequence[str] | None = None) -> None:
        self.store = store
        self.initial = initial
        settings = load_settings(initial)
        if settings.tiff_stack:
            raise InputError(
                f"{initial} reads the pages of TIFF files as volumes (tiff_stack), which MONAI Label cannot show; "
                "expected a model without. Train one on the same volumes as NIfTI."
            )
        self.reading = settings.reading
        self.class_names = settings.class_names if labels is None else ("background", *labels)
        if not all(self.class_names) or len(set(self.class_names)) < len(self.class_names):
            raise InputError(f"The labels are {list(labels or [])}; expected different names, comma-separated.")
        self._loaded: OrderedDict[tuple[Path, str], Segmenter] = OrderedDict()

    def names(self) -> list[str]:
        """Versions that segment the app's structures, the newest first."""
        trained = sorted((path.parent.name for path in self.store.glob(f"v[0-9]*/{RECORD_NAME}")), reverse=True)
        return [name for name in [*trained, INITIAL] if self.settings(name).class_names == self.class_names]

    def served(self) -> str | None:
        """The version that segments unless another is asked for; None before the first training of other structures.

        Raises:
            InputError: When the version that the store names is not there, and when that cannot be read.
        """
        names = self.names()
        file = self.store / _SERVED_NAME
        name = _read_served(file) if file.exists() else INITIAL
        if name != INITIAL and not (self.folder(name) / RECORD_NAME).is_file():
            raise InputError(
                f"{file} names the version {name!r}, which is not there; there are {', '.join(names) or 'none'}. "
                "Restore it, or write the name of another one."
            )
        if name in names:
            return str(name)
        return INITIAL if INITIAL in names else None  # it was trained for other structures

    def folder(self, name: str) -> Path:
        """The model folder of a version."""
        return self.initial if name == INITIAL else self.store / name

    def record(self, name: str) -> dict[str, Any]:
        """What is kept with a version; {} of the initial one."""
        file = self.folder(name) / RECORD_NAME
        return json.loads(file.read_text()) if file.exists() else {}

    def settings(self, name: str) -> ModelSettings:
        """How images are prepared for a version."""
        return load_settings(self.folder(name))

    def segmenter(self, name: str, device: str) -> Segmenter:
        """The version's model, loaded when first asked for."""
        key = (self.folder(name), device)
        if key not in self._loaded:
            self._loaded[key] = load(key[0], device)
            logger.info("Loaded %s from %s", name, key[0])
        self._loaded.move_to_end(key)
        while len(self._loaded) > _LOADED:
            self._loaded.popitem(last=False)
        return self._loaded[key]

    def publish(self, folder: Path, record: dict[str, Any]) -> str:
        """Make a finished training a version.

        Args:
            folder: of the training, in the store; renamed.
            record: plain values that are kept with it.

        Returns:
            The new version's name.
        """
        with replacing(folder / RECORD_NAME) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n")
        numbers = (re.fullmatch(r"v(\d+)", path.name) for path in self.store.iterdir())
        number = 1 + max((int(match[1]) for match in numbers if match), default=0)
        name = f"v{number:03d}"
        os.rename(folder, self.store / name)
        return name

    def serve(self, name: str) -> None:
        """Let a version segment from now on, in this process and in others."""
        with replacing(ensure_writable_folder(self.store) / _SERVED_NAME) as temporary:
            temporary.write_text(json.dumps({"version": name}) + "\n")


def _read_served(file: Path) -> str:
    """The name of the version that a store serves.

    Raises:
        InputError: When it cannot be read.
    """
    try:
        return str(json.loads(file.read_text())["version"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{file} cannot be read ({first_line(error)}); expected the version that is served, as in "
            '{"version": "v001"}. Write it, or remove the file: then the initial model is served.'
        ) from error
