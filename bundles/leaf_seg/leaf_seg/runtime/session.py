"""How a command begins; what the configs call."""

from __future__ import annotations

from monai.utils import set_determinism

from leaf_seg.runtime import devices
from leaf_seg.runtime.config_keys import check_effect
from leaf_seg.runtime.overrides import check_command_line
from leaf_seg.runtime.termination import interrupt_on_sigterm
from leaf_seg.runtime.values import parse_bool


def begin(seed: int) -> None:
    """Seed every random generator, and let SIGTERM end the process as Ctrl-C does."""
    set_determinism(seed=seed)
    interrupt_on_sigterm()


def check_command() -> None:
    """Refuse overrides on the command line that the config files do not have.

    Raises:
        InputError: Names them.
    """
    check_command_line()


def check_training_command() -> None:
    """Refuse overrides on the command line that the config files do not have, or make nothing of.

    Raises:
        InputError: Names them.
    """
    check_command_line()
    check_effect()


def set_deterministic(deterministic: bool | str) -> None:
    """As :func:`leaf_seg.runtime.devices.set_deterministic`, from a config's value.

    Raises:
        InputError: When the value is neither true nor false.
    """
    devices.set_deterministic(parse_bool(deterministic, "deterministic"))
