"""The error shown to a user whose input cannot be used."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input, found at the door.

    The message says which file or key, what was found, what was expected and what to do.
    """
