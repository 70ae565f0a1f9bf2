"""Several trained networks that answer together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from leaf_seg.networks.saved_network import SavedNetwork
from leaf_seg.networks.unsaved_network import UnsavedNetwork
from leaf_seg.runtime.errors import InputError


class Ensemble(UnsavedNetwork):
    """Trained networks, perhaps of different kinds; each member's own answer is a hypothesis.

    ``forward(image)`` is the mean of their class probabilities. The "seed" of a hypothesis is the number of its member.

    Args:
        members: E networks of the same classes and image size.

    Raises:
        InputError: For fewer than two members, or when they differ in classes or image size.
    """

    def __init__(self, members: Sequence[SavedNetwork]) -> None:
        super().__init__()
        if len(members) < 2:
            raise InputError(f"The ensemble has {len(members)} member; expected at least two trainings.")
        kinds = sorted({(member.num_classes, member.image_size) for member in members})
        if len(kinds) > 1:
            raise InputError(f"The members' numbers of classes and image sizes are {kinds}; expected the same of all.")
        self.members = nn.ModuleList(members)
        self.num_classes, self.image_size = kinds[0]
        self.stages = tuple(f"members.{i}.{name}" for i, member in enumerate(members) for name in member.stages)

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """As in :class:`SavedNetwork`: those of all members."""
        return tuple(part for member in self._networks() for part in member.parts)

    def check_samples(self, number: int) -> None:
        """As in :class:`SavedNetwork`: one answer is the mean of all members."""
        self.noise_seeds(number)

    def noise_seeds(self, number: int) -> Sequence[int]:
        """Numbers of the members: all E, or the first.

        Raises:
            InputError: For another number of hypotheses than 1 and E.
        """
        if number not in (1, len(self.members)):
            raise InputError(
                f"{number} hypotheses or noise seeds are asked of an ensemble of {len(self.members)} members, each "
                f"with one answer; expected {len(self.members)}, or 1 (num_samples: their mean alone). Leave "
                "num_samples out: it is then the number of members."
            )
        return range(number)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Mean of the members' class probabilities, [B, K, H, W] fp32."""
        return self.hypotheses(image, range(len(self.members))).mean(dim=0)

    def hypotheses(self, image: torch.Tensor, seeds: Sequence[int], batch_size: int = 16) -> torch.Tensor:
        """As in :class:`SavedNetwork`: class probabilities [S, B, K, H, W] fp32 of the members of S numbers.

        Raises:
            InputError: For a number that no member has.
        """
        if not set(seeds) <= set(range(len(self.members))):
            raise InputError(
                f"Noise seeds {list(seeds)} are asked of an ensemble, which draws no noise but its members' own; "
                f"expected numbers of members, 0 to {len(self.members) - 1}. Leave noise_seed out."
            )
        return torch.stack([self.members[seed](image).float() for seed in seeds])

    def _networks(self) -> list[SavedNetwork]:
        return list(self.members)  # type: ignore[arg-type]  # a list of them went in
