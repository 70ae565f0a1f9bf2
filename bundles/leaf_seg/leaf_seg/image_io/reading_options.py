"""How files are read that can be read in several ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import CHANNELS
from leaf_seg.runtime.values import parse_bool


@dataclass(frozen=True)
class ReadingOptions:
    """What a file's reader is told that the file does not say.

    Attributes:
        channels: numbers, from 0, of the channels that are read, in this order, one or three; None reads all of a
            picture, and of a volume the only one.
        tiff_stack: whether the pages of a TIFF are the slices of a volume.
        all_channels: whether all channels of a volume are read where none are chosen, as of a label that has one for
            each class; otherwise a volume must have a single one.

    Raises:
        InputError: When the channels are no such numbers, or the switch is neither true nor false.
    """

    channels: tuple[int, ...] | None = None
    tiff_stack: bool = False
    all_channels: bool = False

    def __init__(self, channels: Any = None, tiff_stack: bool | str = False, all_channels: bool = False) -> None:
        object.__setattr__(self, "channels", _check_channels(channels))
        object.__setattr__(self, "tiff_stack", parse_bool(tiff_stack, "tiff_stack"))
        object.__setattr__(self, "all_channels", all_channels)

    def whole(self) -> ReadingOptions:
        """The same for labels, and for what does not depend on channels, such as the grid."""
        return ReadingOptions(tiff_stack=self.tiff_stack, all_channels=True)

    def chosen(self, count: int, is_volume: bool) -> tuple[int, ...]:
        """Numbers of the channels to read of a file.

        Args:
            count: channels that it has.
            is_volume: whether it is a volume, not a picture.

        Raises:
            InputError: When a volume has several and none are chosen, or the file has no such channels.
        """
        if self.channels is None and is_volume and count > 1 and not self.all_channels:
            three = ", or three as those of a colour picture: --channels '[0,1,2]'" if count > 2 else ""
            raise InputError(
                f"a volume with {count} channels (or time points); expected one, or the key channels, which says what "
                f"the network sees. Choose one by its number from 0: --channels '[0]'{three}."
            )
        if self.channels is None:
            return tuple(range(count))
        if max(self.channels) >= count:
            raise InputError(
                f"channels is {list(self.channels)}, and the file has {count} of them; expected numbers "
                f"from 0 to {count - 1}. Correct --channels, or remove the case."
            )
        return self.channels


def _check_channels(channels: int | Sequence[int] | None) -> tuple[int, ...] | None:
    """Numbers of the channels that are read; None where none are chosen.

    Raises:
        InputError: When they are not one or three numbers from 0.
    """
    CHANNELS.check(channels, "channels")
    if channels is None:
        return None
    numbers = (channels,) if isinstance(channels, int) else tuple(channels)
    if len(numbers) == 2:
        raise InputError(
            f"channels is {list(numbers)}; expected one or three, as a network's input has three. Take one of the two "
            f"twice: {[*numbers, numbers[-1]]}."
        )
    return numbers


DEFAULT_READING = ReadingOptions()
