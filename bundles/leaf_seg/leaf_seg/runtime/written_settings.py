"""Settings of a config as people write them, made what its parts take."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

from leaf_seg.runtime.bounds import Place
from leaf_seg.runtime.setting_bounds import SETTINGS
from leaf_seg.runtime.values import is_built_later
from leaf_seg.runtime.written_path import with_home


def complete_settings() -> None:
    """Complete the settings of the config that is being run: ``~`` in paths, and one number for both image sizes.

    Called by the config itself before anything else uses them; does nothing elsewhere.

    Raises:
        InputError: When a path has the home folder of a user that there is not.
    """
    own = (frame.f_locals.get("self") for frame, _ in traceback.walk_stack(sys._getframe()))
    workflow = next((one for one in own if isinstance(one, ConfigWorkflow)), None)
    if workflow is not None:
        _complete(workflow.parser)


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that are to be others, with what they are to be."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key == "image_size" and isinstance(value, int):
            found[key] = [value, value]
        elif isinstance(SETTINGS.get(key), Place) and isinstance(value, str) and not is_built_later(value):
            found[key] = with_home(value)
    return {key: value for key, value in found.items() if value != settings[key]}


def _complete(parser: ConfigParser) -> None:
    """Change settings within a parser that is at work: those that are resolved already, too."""
    config: dict[str, Any] = parser.get()
    for key, value in completed(config).items():
        config[key] = value
        item = parser.ref_resolver.items.get(key)
        if item is not None:
            item.update_config(value)
        parser.ref_resolver.resolved_content.pop(key, None)
