"""What an exported file says of itself, so that it alone segments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import leaf_seg
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.export.variants import VARIANTS
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import json_object
from leaf_seg.runtime.text import one_line

KEY = "leaf_seg"  # of the description in an ONNX file's metadata_props; with .json among TorchScript's extra files
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class Description:
    """Of an exported file.

    Attributes:
        variant: "network" or "whole" (:data:`~leaf_seg.export.variants.VARIANTS`).
        settings: how images are prepared, and what the classes mean.
        model: checksum of the weights of the model folder that it was made of; None where that had none.
    """

    variant: str
    settings: ModelSettings
    model: str | None = None

    def to_json(self, **others: Any) -> str:
        """As text, with further values."""
        content = {
            "format": _FORMAT_VERSION,
            "leaf_seg": leaf_seg.__version__,
            "variant": self.variant,
            "settings": self.settings.to_dict(),
            "model": self.model,
        }
        return json.dumps(content | others)

    @classmethod
    def from_json(cls, text: bytes, file: object) -> Description:
        """Read it.

        Args:
            text: as of :meth:`to_json`.
            file: that it is from, for the message.

        Raises:
            InputError: When it is none that this version of leaf_seg knows.
        """
        content = json_object(text, file)
        try:
            if content["format"] != _FORMAT_VERSION or content["variant"] not in VARIANTS:
                raise ValueError(f"format {content['format']!r}, variant {content['variant']!r}")
            return cls(content["variant"], ModelSettings(**content["settings"]), content["model"])
        except (KeyError, TypeError, ValueError) as error:  # InputError is a ValueError
            raise InputError(
                f"{file}: its description is none that this version of leaf_seg knows ({one_line(error)}); export the "
                "model again."
            ) from error
