"""Any image without a label."""

from __future__ import annotations

import random
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.tasks.activelearning.random import Random


class RandomImage(Random):
    """MONAI Label's, which fails where all the images have been offered within this second."""

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose; more often one that was not offered for long."""
        try:
            return super().__call__(request, datastore)
        except ValueError:  # the weights are the seconds since then, and all 0
            return {"id": random.choice(datastore.get_unlabeled_images()), "weight": 0}
