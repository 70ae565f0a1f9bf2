"""The Dice that a segmentation can expect by its own probabilities: a score that ranks cases without a truth."""

from __future__ import annotations

import torch


class ExpectedDice:
    """Soft Dice confidence of one image, from class maps that may come part by part.

    For a class that is predicted in the pixels S it is ``2 sum_S p / (|S| + sum p)``, close to the expected Dice
    between S and a truth drawn pixel by pixel from the probabilities p (Borges et al., Soft Dice Confidence,
    arXiv 2402.10665).

    Differs from the paper: for a class that is predicted nowhere it is 1 minus its greatest probability, where the
    paper's formula gives 0, so that an image that is surely without the class does not come first. It is no expected
    Dice, which for pixels drawn one by one would be near 0 too, and says little of structures missed with p near 0.5.
    """

    def __init__(self) -> None:
        self._mass: dict[int, torch.Tensor] = {}  # by class, as all of these
        self._peak: dict[int, torch.Tensor] = {}
        self._overlap: dict[int, torch.Tensor] = {}
        self._size: dict[int, torch.Tensor] = {}

    def add_class(self, index: int, probabilities: torch.Tensor) -> None:
        """Take the probabilities of the foreground class ``index`` in a part of the image, of any shape."""
        peak = probabilities.max()
        self._mass[index] = probabilities.sum() + self._mass.get(index, 0)
        self._peak[index] = torch.maximum(peak, self._peak.get(index, peak))

    def add_label(self, label: torch.Tensor, greatest: torch.Tensor) -> None:
        """Take what was made of that part, when all its classes were seen.

        Args:
            label: class indices, in the shape of the probabilities.
            greatest: probabilities of those classes.
        """
        for index in self._mass:
            inside = label == index
            # torch.where, since greatest[inside] would make a list of indices
            self._overlap[index] = torch.where(inside, greatest, 0).sum() + self._overlap.get(index, 0)
            self._size[index] = inside.sum() + self._size.get(index, 0)

    def compute(self) -> torch.Tensor:
        """Expected Dice of each foreground class, float32 [K - 1], 0 to 1, on the CPU."""
        mass, peak, overlap, size = (
            torch.stack([values[index].float() for index in sorted(values)]).cpu()
            for values in (self._mass, self._peak, self._overlap, self._size)
        )
        return torch.where(size > 0, 2 * overlap / (size + mass).clamp(min=1e-6), 1 - peak).clamp(0, 1)
