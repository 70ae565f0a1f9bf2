"""The number format that is fastest on the device at hand and gives the labels of fp32."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from leaf_seg.inference.fast_network import FastNetwork, ReadyNetwork
from leaf_seg.networks.saved_network import SavedNetwork

logger = logging.getLogger(__name__)

MAX_DIFFERING = 0.001  # share of the foreground pixels of fp32 that may have another label
LEAST_FOREGROUND = 10_000  # pixels to compare before one decides
LEAST_GAIN = 0.05  # of the time of fp32, below which it is not worth a difference
_MOST_BATCHES = 32  # to compare; then fp32 it is
_TIMED_PASSES = 2
_LONG_SECONDS = 1.0  # a pass on a CPU that took so long tells its time by itself
_FORMATS = {"cuda": ("fp16", "bf16"), "cpu": ("bf16",)}


@dataclass
class Candidate:
    """A number format that is tried.

    Attributes:
        network: that computes in it.
        seconds: of the batches so far.
        differing: pixels whose label is another one than in fp32.
    """

    network: FastNetwork
    seconds: float = 0.0
    differing: int = 0

    def agrees(self, foreground: int) -> bool:
        """Whether it surely differs in few pixels only (at two standard deviations of a count)."""
        return self.differing + 2 * math.sqrt(self.differing + 1) <= MAX_DIFFERING * foreground

    def disagrees(self, foreground: int) -> bool:
        """Whether it surely differs in more."""
        return self.differing - 2 * math.sqrt(self.differing) > MAX_DIFFERING * foreground


class AutoNetwork(ReadyNetwork):
    """Compares half-precision weights with fp32 on the first batches of images, and goes on with what is best.

    Until it has decided, the answers are those of fp32. A format is taken when it saves at least 5 % of the time and
    surely gives another label to at most 0.1 % of the foreground pixels of fp32; of several the fastest. What was
    chosen, and why, is logged. Meanwhile a copy of the network is held for every format that is tried.

    Args:
        network: is changed: it can no longer be trained or saved.
        device: that it is moved to; which formats are tried depends on it: fp16 and bf16 on CUDA, bf16 on a CPU.
        channels_last: as of :class:`FastNetwork`.
        compile: as of :class:`FastNetwork`.

    Raises:
        InputError: When an option is unknown.
    """

    def __init__(
        self, network: SavedNetwork, device: torch.device, channels_last: bool = False, compile: str = "off"
    ) -> None:
        super().__init__(network)
        self.device = device
        self._is_timed_apart = device.type != "cpu" or compile == "default"  # from the first pass, which compiles
        formats = ("fp32", *_FORMATS.get(device.type, ()))
        copies = [network, *(copy.deepcopy(network) for _ in formats[1:])]
        self._candidates = {  # not the module's own, whose state they are no part of
            name: Candidate(FastNetwork(own, device, name, channels_last, compile))
            for name, own in zip(formats, copies, strict=True)
        }
        self._foreground, self._batches = 0, 0
        self.chosen: str | None = "fp32" if len(formats) == 1 else None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Class probabilities [B, K, H, W] fp32 of images [B, 3 or 1, H, W] in [0, 1]."""
        return super().forward(image) if self.chosen else self._compare(image)

    def hypotheses(self, image: torch.Tensor, seeds: Sequence[int], batch_size: int = 16) -> torch.Tensor:
        """As of :class:`~leaf_seg.networks.SavedNetwork`: class probabilities [S, B, K, H, W] fp32."""
        if not self.chosen:
            self._compare(image)
        return super().hypotheses(image, seeds, batch_size)

    def _compare(self, image: torch.Tensor) -> torch.Tensor:
        """The answer of fp32, after every format's has been compared with it."""
        reference, label = torch.zeros(0), torch.zeros(0)
        for name, candidate in self._candidates.items():
            answer, seconds = self._timed(candidate.network, image)
            candidate.seconds += seconds
            if name == "fp32":
                reference, label = answer, answer.argmax(dim=1)
                self._foreground += int((label > 0).sum())
            else:
                candidate.differing += int((answer.argmax(dim=1) != label).sum())
        self._batches += 1
        self._decide()
        return reference

    def _timed(self, network: FastNetwork, image: torch.Tensor) -> tuple[torch.Tensor, float]:
        """The answer, and the seconds that it takes once everything is warm."""
        first = self._now()
        answer = network(image)
        seconds = self._now() - first
        if seconds > _LONG_SECONDS and not self._is_timed_apart:
            return answer, seconds
        passes = []
        for _ in range(_TIMED_PASSES):
            start = self._now()
            network(image)
            passes.append(self._now() - start)
        return answer, min(passes)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()

    def _decide(self) -> None:
        """Choose, when enough was seen."""
        is_last = self._batches == _MOST_BATCHES
        if self._foreground < LEAST_FOREGROUND and not is_last:
            if self._batches == 1:
                logger.info("precision auto: fp32, until %d foreground pixels are compared", LEAST_FOREGROUND)
            return
        most = (1 - LEAST_GAIN) * self._candidates["fp32"].seconds
        open_ones = {
            name: candidate
            for name, candidate in self._candidates.items()
            if name != "fp32" and candidate.seconds <= most and not candidate.disagrees(self._foreground)
        }
        agreeing = {name: item.seconds for name, item in open_ones.items() if item.agrees(self._foreground)}
        if len(agreeing) < len(open_ones) and not is_last:
            return  # one more batch tells more of the others
        self._choose(min(agreeing, key=agreeing.__getitem__) if agreeing else "fp32")

    def _choose(self, name: str) -> None:
        reference = self._candidates["fp32"].seconds
        found = [
            f"{other} takes {candidate.seconds / reference:.2f} of the time of fp32 and differs in "
            f"{candidate.differing} of {self._foreground} foreground pixels"
            for other, candidate in self._candidates.items()
            if other != "fp32"
        ]
        milliseconds = 1000 * reference / self._batches
        logger.info(
            "precision auto: %s on %s (%s; at most 0.1 %% may differ; fp32: %.1f ms a batch)",
            *(name, self.device, "; ".join(found), milliseconds),
        )
        self.network, self.chosen = self._candidates[name].network.network, name
        self._candidates.clear()
