"""What stands for saved networks in inference, and is none itself."""

from __future__ import annotations

from typing import Any, Self

from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.runtime.errors import InputError


class UnsavedNetwork(SavedNetwork):
    """Base class of what asks saved networks in another way; it is made for a run and never saved as a model."""

    @property
    def config(self) -> dict[str, Any]:
        """There is none.

        Raises:
            InputError: Always.
        """
        raise _no_model(type(self).__name__)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """There is none.

        Raises:
            InputError: Always.
        """
        raise _no_model(cls.__name__)


def _no_model(name: str) -> InputError:
    return InputError(f"{name} asks saved models in another way, and is no model to be saved; save those themselves.")
