"""What a command is to run and what is set for it, looked at before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.utils import merge_kv

from leaf_seg.runtime import config_files
from leaf_seg.runtime.config_items import check_item
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import (
    command_line_arguments,
    config_file_paths,
    overridden_keys,
    root_key,
    tracking_keys,
)
from leaf_seg.runtime.plain import show_errors_plainly
from leaf_seg.runtime.references import references
from leaf_seg.runtime.setting_bounds import check_settings
from leaf_seg.runtime.text import nearest, shortened


def check_files(argv: Sequence[str] | None = None) -> None:
    """Refuse config files of the command line that are no base with its overlays, in this order.

    Does nothing in a process that was not started as ``python -m monai.bundle run`` or ``run_workflow``. From then on
    an :class:`InputError` ends such a process with its message alone.

    Args:
        argv: the process's arguments, the program first. ``None``: ``sys.argv``.

    Raises:
        InputError: As of :func:`leaf_seg.runtime.config_files.check_files`.
    """
    arguments = command_line_arguments(argv)
    if arguments and arguments.get("config_file"):
        show_errors_plainly()
        config_files.check_files(config_file_paths(arguments), overridden_keys(argv), _known_to_command(arguments))


def check_config(argv: Sequence[str] | None = None) -> None:
    """Refuse what the overlays and the command line set and cannot be meant, and a run ID that there is not.

    One key after the other is looked at, against what stands before it, as MONAI merges them. Does nothing in a process
    that was not started as ``python -m monai.bundle run`` or ``run_workflow``.

    Args:
        argv: the process's arguments, the program first. ``None``: ``sys.argv``.

    Raises:
        InputError: Names the key, and the overlay in which it stands.
    """
    arguments = command_line_arguments(argv)
    if not arguments or not arguments.get("config_file"):
        return
    files, overrides = config_file_paths(arguments), overridden_keys(argv)
    names = [Path(file).name for file in files]
    merged = ConfigParser.load_config_files(files)
    _check_run_ids(arguments, merged, ", ".join(names))
    for key, value in overrides.items():
        for missing in {path[0] for path in references({key: value})} - {*merged, *_known_to_command(arguments)}:
            raise InputError(f"{key} is {value!r}, which refers to @{missing}; no such key{nearest(missing, merged)}")

    contents = [ConfigParser.load_config_file(file) for file in files]
    referred = {path for content in [*contents, overrides] for path in references(content)}
    parser = ConfigParser(config={})
    for index, (file, content) in enumerate(zip(files, contents, strict=True)):
        with _of_file(file):
            check_settings(content)
            for key, value in content.items():
                for item, part in _items_of(key, value) if index else ():
                    check_item(parser.get(), item, part, ", ".join(names[:index]), referred)
                merge_kv(parser, key, deepcopy(value))
    for key, value in overrides.items():
        if root_key(key) in parser:
            check_item(parser.get(), key, value, ", ".join(names), referred)
            parser[key] = value
    check_settings({**parser.get(), **overrides})


def _known_to_command(arguments: Mapping[str, Any]) -> set[str]:
    """Keys that need not be in a file, or that nothing need refer to."""
    run_ids = {str(arguments.get(name)) for name in ("run_id", "init_id", "final_id")}
    return run_ids | tracking_keys(arguments.get("tracking")) | {ConfigParser.meta_key}


def _check_run_ids(arguments: Mapping[str, Any], config: Mapping[str, Any], where: str) -> None:
    parser = ConfigParser(dict(config))
    programs = [key for key, value in config.items() if config_files.is_program(value)]
    programs = [key for key in programs if key not in ("imports", "initialize", "finalize")]
    for name, default in (("run_id", "run"), ("final_id", None)):
        found = arguments.get(name, default)
        if found is not None and found not in parser:
            raise InputError(
                f"{name} {found!r} is not in {where}{nearest(str(found), programs)} There can be run: "
                f"{shortened(programs)}. Correct it, or the config files."
            )


def _items_of(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Items that a key of an overlay replaces: of what is merged into a dictionary, each."""
    if not key.startswith("+"):
        yield key, value
    elif isinstance(value, Mapping):
        yield from ((f"{key[1:]}#{name}", part) for name, part in value.items())


@contextmanager
def _of_file(file: str) -> Iterator[None]:
    """Let errors name the file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
