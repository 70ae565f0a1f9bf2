"""The same few validation cases at every validation, to see a training get better."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from ignite.engine import Engine, Events

from leaf_seg.image_io.listing import case_name
from leaf_seg.runtime.decoration import decoration
from leaf_seg.visual.case_overlay import CaseOverlay


class ValidationOverlays:
    """Ignite handler that draws ``<folder>/<case>_epoch_0010.png`` for the first cases of every validation.

    One that cannot be drawn is left out.

    For an evaluator that decollates, with batches of one case.

    Args:
        folder: for the figures.
        draw: draws a case.
        num_cases: cases drawn.
    """

    def __init__(self, folder: str | os.PathLike[str], draw: CaseOverlay, num_cases: int = 4) -> None:
        self.folder = Path(folder)
        self.draw = draw
        self.num_cases = num_cases

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw the case just evaluated, if it is one of the first; of several processes each draws its own."""
        before = getattr(getattr(engine.state.dataloader, "sampler", None), "start", 0)  # of CaseShard
        if before + engine.state.iteration > self.num_cases:
            return
        batch, output = cast(list[Any], engine.state.batch), cast(list[Any], engine.state.output)
        for case, item in zip(batch, output, strict=True):
            source = str(case["image"].meta["filename_or_obj"])
            with decoration(f"The overlay of {source}"):
                self.draw(source, item, self.folder / f"{case_name(source)}_epoch_{engine.state.epoch:04d}.png")
