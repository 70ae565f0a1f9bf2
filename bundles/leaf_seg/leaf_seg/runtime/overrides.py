"""Strict reading of what a user sets on the command line of ``python -m monai.bundle run``."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import fire
from fire.parser import SeparateFlagArgs
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.scripts import run, run_workflow
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.plain import show_errors_plainly
from leaf_seg.runtime.text import nearest

_COMMANDS: dict[str, Callable[..., None]] = {"run": run, "run_workflow": run_workflow}


def check_command_line(argv: Sequence[str] | None = None) -> None:
    """Refuse command line overrides whose key is in none of the config files.

    MONAI adds an unknown key to the config without a word, so a mistyped one would train with the default value. Does
    nothing in a process that was not started as ``python -m monai.bundle run`` or ``run_workflow``.

    From then on an :class:`InputError` ends such a process with its message alone.

    Args:
        argv: the process's arguments, the program first. ``None``: ``sys.argv``.

    Raises:
        InputError: For overrides of unknown top-level keys, naming the nearest of each, and for those that MONAI passes
            over or alters.
    """
    arguments = command_line_arguments(argv)
    if arguments is None:
        return
    show_errors_plainly()

    files = config_file_paths(arguments)
    own = _argument_names()
    known = set(ConfigParser.load_config_files(files)) | own | tracking_keys(arguments.get("tracking"))
    check_keys(arguments, known | {ConfigParser.meta_key}, ", ".join(Path(file).name for file in files) or "the config")
    added = [f"--{key}" for key in arguments if key.startswith("+")]
    if added:
        raise InputError(
            f"{', '.join(added)}: MONAI adds to what there is in files only, and would replace it here. Put the key "
            "into an overlay of your own, after the other files, or leave the + out."
        )
    empty = [f"--{key}" for key, value in arguments.items() if value is None and key not in own]
    if empty:
        raise InputError(f"{', '.join(empty)} None would be passed over by MONAI; to empty a setting, write '$None'.")
    altered = [f"--{key} is {value}" for key, value in arguments.items() if _is_name(value) and "#" in value]
    if altered:
        raise InputError(
            f"{'; '.join(altered)}: MONAI would make '::' of '#', which separates keys in its configs; expected a name "
            "without it. Rename the file or folder."
        )


def check_keys(keys: Collection[str], known: Collection[str], where: str) -> None:
    """Refuse overrides of keys that a config does not have.

    Args:
        keys: to be overridden; of nested ones, such as ``train#handlers``, the first level counts.
        known: top-level keys that can be overridden.
        where: what has these keys, for the message.

    Raises:
        InputError: For unknown keys; names the nearest key of each.
    """
    unknown = {key: root_key(key) for key in keys if root_key(key) not in known}
    if unknown:
        found = " ".join(f"no key {key!r} in {where}{nearest(root, known)}" for key, root in unknown.items())
        raise InputError(f"{found} Correct the command line: the keys that can be set stand at the top of the file.")


def command_line_config(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """The config that the command line of ``python -m monai.bundle run`` asks for: its files with its overrides.

    Saved as JSON anywhere and given as ``--config_file`` it repeats the run: ``bundle_root`` is where its files lie.

    Args:
        argv: the process's arguments, the program first. ``None``: ``sys.argv``.

    Returns:
        The config, its expressions unevaluated; None in a process that was not started so.
    """
    config = config_of_files(argv)
    if config is None:
        return None
    parser = ConfigParser(config)
    parser.update(overridden_keys(argv))
    config = dict(parser.get())
    config.pop(ConfigParser.meta_key, None)
    if config.get("bundle_root") == ".":
        config["bundle_root"] = _bundle_of(command_line_arguments(argv) or {})
    return config


def config_of_files(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """As :func:`command_line_config`, without the overrides."""
    arguments = command_line_arguments(argv)
    if not arguments or not arguments.get("config_file"):
        return None
    parser = ConfigParser()
    parser.read_config(arguments["config_file"])
    return dict(parser.get())


def command_line_settings(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """What a user sets: the plain values at the top of the config, and what the command line overrides further down.

    Args:
        argv: the process's arguments, the program first. ``None``: ``sys.argv``.

    Returns:
        Values by key, "/" between the levels; empty in a process not started as ``python -m monai.bundle run``.
    """
    config = command_line_config(argv)
    if config is None:
        return {}
    nested = {re.sub("#|::", "/", k): value for k, value in overridden_keys(argv).items() if root_key(k) != k}
    return {key: value for key, value in config.items() if _is_plain(value)} | nested


def overridden_keys(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Keys that the command line overrides, with their values; empty in a process not started by MONAI's command.

    Args:
        argv: the process's arguments, the program first. ``None``: ``sys.argv``.
    """
    own = _argument_names()
    return {key: value for key, value in (command_line_arguments(argv) or {}).items() if key not in own}


def command_line_run_id(argv: Sequence[str] | None = None) -> str | None:
    """What ``python -m monai.bundle run`` is to run; None where the command line does not say, or is another's.

    Args:
        argv: the process's arguments, the program first. ``None``: ``sys.argv``.
    """
    return (command_line_arguments(argv) or {}).get("run_id")


def is_tracked(argv: Sequence[str] | None = None) -> bool:
    """Whether the command line asks for a tracker.

    Args:
        argv: the process's arguments, the program first. ``None``: ``sys.argv``.
    """
    return (command_line_arguments(argv) or {}).get("tracking") is not None


def _bundle_of(arguments: dict[str, Any]) -> str:
    """The folder of the bundle whose config files these are; "." where they lie in none."""
    folder = Path(config_file_paths(arguments)[0]).resolve().parent.parent
    return str(folder) if (folder / "configs" / "metadata.json").is_file() else "."


def _is_name(value: Any) -> bool:
    """Whether a value is a string and no expression or reference."""
    return isinstance(value, str) and _is_plain(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return not value.startswith(("$", "@", "%"))
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float))


def check_not_overridden(
    keys: Collection[str], reason: str, but: Collection[str] = (), argv: Sequence[str] | None = None
) -> None:
    """Refuse overrides on the command line that would have no effect.

    Args:
        keys: top-level keys without effect.
        reason: why.
        but: overrides within them that have one.
        argv: the process's arguments, the program first. ``None``: ``sys.argv``.

    Raises:
        InputError: Names the overrides.
    """
    found = [f"--{key}" for key in command_line_arguments(argv) or {} if root_key(key) in keys and key not in but]
    if found:
        raise InputError(f"{', '.join(found)} would have no effect: {reason}. Leave it out, or the other setting.")


def config_file_paths(arguments: Mapping[str, Any]) -> list[str]:
    """Paths of the config files among a command's arguments."""
    files = arguments.get("config_file")
    if isinstance(files, str):
        return files.split(",") if "," in files and not Path(files).is_file() else [files]
    return [str(file) for file in files or ()]


def command_line_arguments(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Arguments of ``python -m monai.bundle run`` or ``run_workflow``; None in any other process."""
    argv = sys.argv if argv is None else argv
    if Path(argv[0]).parts[-3:] != ("monai", "bundle", "__main__.py") or len(argv) < 2:
        return None
    command = _COMMANDS.get(argv[1].replace("-", "_"))
    return None if command is None else _read_arguments(command, argv[2:])


def _read_arguments(command: Callable[..., None], command_line: Sequence[str]) -> dict[str, Any]:
    """Arguments that ``command`` gets from the command line, those of ``--args_file`` among them.

    Fire itself reads the command line, so that lists, ``--key=value``, flags without a value and ``-`` for ``_`` mean
    here what they mean to MONAI. It calls a stand-in that has the command's signature.
    """
    arguments: dict[str, Any] = {}

    @functools.wraps(command)
    def collect(*args: Any, **kwargs: Any) -> None:
        bound = inspect.signature(command).bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(value)
            elif value is not None:  # not given
                arguments[name] = value

    # What follows an isolated "--" is for fire: --trace would end the process here.
    fire.Fire(collect, command=SeparateFlagArgs(list(command_line))[0])
    args_file = arguments.get("args_file")
    return {**ConfigParser.load_config_file(args_file), **arguments} if args_file else arguments


def _argument_names() -> set[str]:
    """Arguments of MONAI's own commands, which are not config keys."""
    functions: tuple[Callable[..., Any], ...] = (run, run_workflow, ConfigWorkflow.__init__)
    parameters = [parameter for function in functions for parameter in inspect.signature(function).parameters.values()]
    return {item.name for item in parameters if item.kind is not inspect.Parameter.VAR_KEYWORD} - {"self"}


def tracking_keys(tracking: str | dict[str, Any] | None) -> set[str]:
    """Config keys that ``--tracking`` brings with it, such as ``run_name``."""
    if tracking is None:
        return set()
    built_in: dict[str, dict[str, Any]] = DEFAULT_EXP_MGMT_SETTINGS
    if isinstance(tracking, str) and tracking in built_in:
        return set(built_in[tracking]["configs"])
    return set(ConfigParser.load_config_files(tracking)["configs"])


def root_key(key: str) -> str:
    """Top-level key of an override or a config item: ``+train#handlers`` -> ``train``."""
    return re.split("#|::", key.removeprefix("+"), maxsplit=1)[0]
