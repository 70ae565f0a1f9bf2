"""Whether config files stand in an order in which they can be merged to a command."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from leaf_seg.runtime.bundle import bundle_folder
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import root_key
from leaf_seg.runtime.references import references
from leaf_seg.runtime.text import nearest, shortened
from leaf_seg.runtime.values import is_built_later

_OF_MONAI = {"imports", "initialize", "finalize", "run", "save_execute_config"}


def check_files(files: Sequence[str], overrides: Mapping[str, Any], also: Collection[str] = ()) -> None:
    """Refuse config files that are no base with its overlays, in this order.

    A base is a whole command: it has ``initialize`` and ``run``, and refers to nothing but what it has. Anything else
    is an overlay: what it refers to is there when it has been merged into its base, and so is each of its own keys at
    the top, unless something refers to that.

    Args:
        files: paths, as the command line has them.
        overrides: of the command line, by their keys.
        also: keys that the command itself knows, such as its run ID.

    Raises:
        InputError: Says which file, and the whole ``--config_file`` that is expected, where that is known.
    """
    bases = [file for file in files if _is_base(file)]
    overlays = [file for file in files if file not in bases]
    if len(bases) > 1:
        found = f"{bases[0]} twice" if bases[0] == bases[1] else f"{bases[0]} and {bases[1]}, each a whole command"
        raise InputError(f"--config_file has {found}; expected one, first: {_as_option([bases[0], *overlays])}")
    if bases and files[0] != bases[0]:
        raise InputError(
            f"--config_file has {overlays[0]} before {bases[0]}, which replaces what that sets; expected the overlays "
            f"last: {_as_option([*bases, *overlays])}"
        )
    fault = _fault(files, overrides, also)
    if fault is None:
        return
    base = _base_for(overlays, also)
    if base is None:
        raise InputError(fault)
    have = f"after {bases[0]}, to which it does not belong" if bases else "alone, which only changes another file"
    raise InputError(f"--config_file has {', '.join(overlays)} {have}; expected {_as_option([base, *overlays])}")


def _is_base(file: str) -> bool:
    content = ConfigParser.load_config_file(file)
    return {"initialize", "run"} <= set(content) and not _missing(content, content)


def _fault(files: Sequence[str], overrides: Mapping[str, Any], also: Collection[str]) -> str | None:
    """What is wrong with these files in this order; None where nothing is."""
    merged, contents = _merged(files), [ConfigParser.load_config_file(file) for file in files]
    if merged is None or not any("initialize" in content for content in contents):
        return (
            f"--config_file has {', '.join(files)}, not a whole command; expected first the file that is changed, such "
            f"as {_as_option(['train.json', *files])}"
        )
    for file, content in zip(files, contents, strict=True):
        missing = sorted(_missing(content, {**merged, **overrides}) - set(also))
        if missing:
            return f"{file}: refers to @{missing[0]}, a key that no file has{nearest(missing[0], merged)} Correct it."
    used = {path[0] for content in [*contents, overrides] for path in references(content)} | set(also) | _OF_MONAI
    for index, content in enumerate(contents[1:], 1):
        before = set(_merged(files[:index]) or ())
        for key in _roots(content) - before - used:
            if not key.startswith("_") and not is_program(content.get(key)):
                there = shortened([Path(file).name for file in files[:index]])
                return f"{files[index]}: no key {key!r} in {there}{nearest(key, before)} Correct it."
    return None


def _base_for(overlays: Sequence[str], also: Collection[str]) -> str | None:
    """The base that overlays fit: one named as the shipped ones are, beside or above an overlay, or one of those.

    Of several, that with the likest name: evaluate_autoencoder.json fits train.json, too.
    """
    shipped = bundle_folder() / "configs"
    folders = [Path(overlay).parent for overlay in overlays]
    names = [file.name for file in shipped.glob("*.json") if overlays]
    names.sort(key=lambda name: -difflib.SequenceMatcher(None, name, Path(overlays[0]).name).ratio())
    for folder in dict.fromkeys([*folders, *(folder.parent for folder in folders), shipped]):
        for file in (str(folder / name) for name in names if (folder / name).is_file()):
            if file not in overlays and _is_base(file) and _fault([file, *overlays], {}, also) is None:
                return file
    return None


def _merged(files: Sequence[str]) -> dict[str, Any] | None:
    """None where MONAI cannot merge them, as when there is nothing that a nested key could be nested in."""
    try:
        with warnings.catch_warnings(action="ignore"):  # that what is to be added to is missing
            return ConfigParser.load_config_files(list(files))
    except (KeyError, IndexError, ValueError):
        return None


def _missing(content: Mapping[str, Any], within: Mapping[str, Any]) -> set[str]:
    """Top-level keys that a config refers to, and another has not."""
    return {path[0] for path in references(content)} - _roots(within)


def _roots(content: Mapping[str, Any]) -> set[str]:
    return {root_key(key) for key in content}


def is_program(value: Any) -> bool:
    """Whether a value is what ``run`` runs: a list of expressions."""
    return isinstance(value, list) and bool(value) and all(map(is_built_later, value))


def _as_option(files: Sequence[str]) -> str:
    listed = ",".join(f"'{file}'" for file in files)
    return f"--config_file {files[0]}" if len(files) == 1 else f'--config_file "[{listed}]"'
