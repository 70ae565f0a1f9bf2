"""The time that a training may use, and what it has done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leaf_seg.runtime.clocks import CpuClock, WallClock
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import command_line_run_id
from leaf_seg.runtime.values import check_number

_END_SHARE = 0.3  # the end of a process takes so much of what its start took, as Python tidies up what it imported
_MOST_RESERVED = 0.5  # of all: something has to be trained, however long the validation takes
_NEWEST = 0.05  # weight of the newest step in the running mean
_KEPT = ("steps", "step_seconds", "validation_seconds", "trained", "_validated")

Clock = Callable[[], float]


class Budget:
    """Minutes that a command may use for all of a training: imports, data, steps, validations, the end.

    :attr:`progress` is the share of the training that is done, by its time: that of the steps so far, of this and what
    is left for steps. Left is what remains when the validations to come and the end are taken off, by what they have
    taken so far. So the progress is 0 at the first step and 1 when the last validation has to begin, whatever the
    preparation took. The clock is read once a step.

    A resumed training goes on with what the checkpoint says was used. The clock runs from the start of the process
    where that is a command of the bundle, else from when the budget is made: early, therefore.

    Args:
        max_minutes: wall time, above 0.
        max_cpu_minutes: CPU time of process and workers, above 0; one of the two.
        num_validations: validations at equal shares of the progress, the last one at the end; at least 1.
        validation_share: part of the budget that validations may take; with long ones there are fewer, at least one.
        clock: seconds used so far; the one that belongs to the minutes unless given.

    Raises:
        InputError: When not one of the two is given, or not above 0.
    """

    def __init__(
        self,
        max_minutes: float | None = None,
        max_cpu_minutes: float | None = None,
        num_validations: int = 5,
        validation_share: float = 0.15,
        clock: Clock | None = None,
    ) -> None:
        if (max_minutes is None) == (max_cpu_minutes is None):
            raise InputError("Expected one of max_minutes (wall time) and max_cpu_minutes (CPU time): leave one out.")
        self.key = "max_minutes" if max_cpu_minutes is None else "max_cpu_minutes"
        minutes = max_minutes if max_cpu_minutes is None else max_cpu_minutes
        self.minutes = check_number(minutes, self.key, "minutes, more than 0", lambda value: value > 0)
        self.num_validations = num_validations
        self.validation_share = validation_share
        self.max_steps: int | None = None  # where the training ends by its epochs, too
        self.steps = 0  # optimiser steps of all sessions
        self.step_seconds = 0.0  # running mean of an optimiser step's time; 0: not known yet
        self.validation_seconds: float | None = None  # of the last one, or expected of the first; None: not known
        self.saving_seconds = 0.0  # of the last checkpoint
        self._clock = clock or (WallClock() if max_cpu_minutes is None else CpuClock())
        self._before = 0.0 if clock or command_line_run_id() else -self._clock()  # seconds of former sessions
        self._used = self.read()
        self.start_seconds = self._used  # of this session, until now
        self.end_share = _END_SHARE  # of these, for what comes behind the last checkpoint
        self._began = self._used  # when the step or validation under way did
        self._has_stepped = False  # in this session
        self.trained = 0.0  # seconds of steps
        self._validated = 0  # validations so far

    @property
    def seconds(self) -> float:
        """All that may be used."""
        return 60 * self.minutes

    @property
    def used(self) -> float:
        """Seconds that all sessions had used when the clock was read last."""
        return self._used

    @property
    def planned_validations(self) -> int:
        """How many validations there are to be, the one at the end among them."""
        if not self.validation_seconds:
            return self.num_validations
        fit = int(self.validation_share * self.seconds / self.validation_seconds)
        return max(1, min(self.num_validations, fit))

    @property
    def left(self) -> float:
        """Seconds that are left for steps."""
        one = self.validation_seconds or 0.0
        to_come = max(0, self.planned_validations - 1 - self._validated)
        end = one + self.saving_seconds + self.end_share * self.start_seconds
        return max(0.0, self.seconds - self.used - min(end, _MOST_RESERVED * self.seconds) - to_come * one)

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1]; by steps where these end before the time does."""
        total = self.trained + self.left
        by_time = self.trained / total if total else 1.0
        return min(1.0, max(by_time, self.steps / self.max_steps if self.max_steps else 0.0))

    @property
    def planned_steps(self) -> float:
        """Optimiser steps of the whole training, as far as can be told."""
        steps = self.steps + (self.left / self.step_seconds if self.step_seconds else 0.0)
        return steps if self.max_steps is None else min(steps, self.max_steps)

    @property
    def is_over(self) -> bool:
        """Whether it is time for the end: the next step would come nearer to it than this one is."""
        return self.left <= self.step_seconds / 2

    @property
    def is_validation_due(self) -> bool:
        """Whether to validate now, before the end."""
        number = self.planned_validations
        return self._validated + 1 < number and self.progress >= (self._validated + 1) / number

    def read(self) -> float:
        """Read the clock: seconds that all sessions have used."""
        self._used = self._before + self._clock()
        return self._used

    def begin(self) -> None:
        """A step, or a validation, begins."""
        self._began = self.read()

    def end_step(self) -> None:
        """An optimiser step is done, and the next one begins."""
        seconds = self.lap()
        self.trained += seconds
        self.steps += 1
        if self._has_stepped:  # the first one of a session is slow
            self.step_seconds += (_NEWEST if self.step_seconds else 1.0) * (seconds - self.step_seconds)
        self._has_stepped = True

    def end_validation(self) -> None:
        """A validation is done, and the saving that belongs to it; a step begins."""
        self.validation_seconds = self.lap()
        self._validated += 1

    def lap(self) -> float:
        """Seconds since what is under way began; something else begins."""
        began = self._began
        self._began = self.read()
        return self._began - began

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training goes on with."""
        return {"key": self.key, "used": self.read()} | {name: getattr(self, name) for name in _KEPT}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: When the training was begun with a budget of the other kind of time.
        """
        if state["key"] != self.key:
            raise InputError(
                f"The training was begun with {state['key']}, and {self.key} is given; expected the same one. Resume "
                f"with {state['key']}, or without a limit of time."
            )
        self._before += state["used"]
        for name in _KEPT:
            setattr(self, name, state[name])
        self.read()
