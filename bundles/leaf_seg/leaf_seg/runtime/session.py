"""How a command begins; what the configs call."""

from __future__ import annotations

from monai.utils import set_determinism

from leaf_seg.runtime import config_checks, devices
from leaf_seg.runtime.config_keys import check_effect
from leaf_seg.runtime.overrides import check_command_line, command_line_run_id
from leaf_seg.runtime.processes import check_joined
from leaf_seg.runtime.termination import interrupt_on_signals
from leaf_seg.runtime.values import parse_bool
from leaf_seg.runtime.written_settings import complete_settings


def begin(seed: int) -> None:
    """Seed every random generator, and let SIGTERM end the process as Ctrl-C does.

    The command line is checked and its settings are completed first: a command evaluates this before anything else.

    Raises:
        InputError: Names an option that the config files do not have, or a value that cannot be meant.
    """
    config_checks.check_files()
    check_command_line()
    config_checks.check_config()
    complete_settings()
    set_determinism(seed=seed)
    interrupt_on_signals()


def check_files() -> None:
    """Refuse config files that are no base with its overlays, in this order; for overlays, which may stand alone.

    Raises:
        InputError: Says which order is expected.
    """
    config_checks.check_files()


def check_command() -> None:
    """Refuse settings on the command line that have no effect on what is run, and processes that do not work together.

    Raises:
        InputError: Names the settings, or the overlays for several processes.
    """
    check_joined()
    check_effect(command_line_run_id() or "run")


def set_deterministic(deterministic: bool | str) -> None:
    """As :func:`leaf_seg.runtime.devices.set_deterministic`, from a config's value.

    Raises:
        InputError: When the value is neither true nor false.
    """
    devices.set_deterministic(parse_bool(deterministic, "deterministic"))
