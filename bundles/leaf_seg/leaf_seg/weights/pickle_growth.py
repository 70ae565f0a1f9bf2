"""How much a pickle holds when what it takes from its memo counts every time.

A list that holds another one twice, which holds a third one twice, and so on, has a few bytes and billions of values.
To load it takes nothing, but to hash it, or to print it in the message of an error, takes all time or memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pickletools import OpcodeInfo, markobject
from typing import Any

_MOST_PER_BYTE, _ALLOWANCE = 20, 100_000  # values and letters; in checkpoints there are 1.3 per byte
_MAX_TUPLE = 1000  # items: as a shape it costs memory with every tensor; Python's random state has 625
_PUTS = ("BINPUT", "LONG_BINPUT")
_GETS = ("BINGET", "LONG_BINGET")
_CHANGES = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD")  # what lies below the values on the stack


@dataclass
class _Value:
    """Something on the stack.

    Attributes:
        size: values and letters in it.
        is_taken: it has been taken from the memo.
    """

    size: int
    is_taken: bool = False


class Growth:
    """Follows the operations of a pickle."""

    def __init__(self) -> None:
        self._stack: list[_Value | None] = []  # None is a mark
        self._memo: dict[int, _Value] = {}
        self._total = 0

    def follow(self, operation: OpcodeInfo, argument: Any, position: int) -> None:
        """Go on by one operation.

        Args:
            operation: of the pickle.
            argument: that stands in the pickle with it.
            position: of the operation in the file, in bytes.

        Raises:
            ValueError: When there is too much for so many bytes, a tuple is too long, values are changed that have
                been taken from the memo, or the stack has not what the operation needs.
        """
        name = operation.name
        if name in _PUTS:
            self._memo[argument] = self._pop(1, put_back=True)[0]
        elif name in _GETS:
            value = self._memo[argument]
            value.is_taken = True
            self._total += value.size
            self._stack.append(value)
            if self._total > _ALLOWANCE + _MOST_PER_BYTE * position:
                raise ValueError("values that are repeated without end")
        elif name == "MARK":
            self._stack.append(None)
        else:
            self._make(operation, argument)

    def _make(self, operation: OpcodeInfo, argument: Any) -> None:
        """Take values from the stack and put what becomes of them there."""
        parts: list[_Value] = []
        before = operation.stack_before
        if markobject in before:
            while self._stack and self._stack[-1] is not None:
                parts += self._pop(1)
            if not self._stack:
                raise ValueError("a mark is missing")
            self._stack.pop()
            before = before[: before.index(markobject)]
            if operation.name == "TUPLE" and len(parts) > _MAX_TUPLE:
                raise ValueError(f"a tuple of {len(parts)} items")
        parts += self._pop(len(before))
        own = 1 + (len(argument) if isinstance(argument, (str, bytes)) else 0)
        self._total += own
        size = own + sum(part.size for part in parts)
        if operation.name in _CHANGES:
            changed = parts[-1]
            if changed.is_taken:
                raise ValueError("values that are changed after they were used")
            changed.size = size
            self._stack.append(changed)
        elif operation.stack_after:
            self._stack.append(_Value(size))

    def _pop(self, number: int, put_back: bool = False) -> list[_Value]:
        """The last values, the last one first."""
        values = self._stack[len(self._stack) - number :] if number else []
        if len(self._stack) < number or None in values:
            raise ValueError("a value is missing")
        if not put_back and number:
            del self._stack[-number:]
        return [value for value in reversed(values) if value is not None]
