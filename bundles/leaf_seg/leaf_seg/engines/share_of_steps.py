"""A number of steps that fits the length of the training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ShareOfSteps:
    """So many steps, but not more than a share of the steps that there are.

    Attributes:
        at_most: steps of a long training.
        share: of all optimiser steps, in (0, 1].
    """

    at_most: int
    share: float

    def of(self, num_steps: float) -> float:
        """Steps of a training of ``num_steps`` optimiser steps."""
        return min(self.at_most, self.share * num_steps)
