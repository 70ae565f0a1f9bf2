"""The cases of a split as a data set of MLflow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from leaf_seg.data.datalists import Datalist
from leaf_seg.data.splits import SPLITS, digest
from leaf_seg.tracking.mlflow_run import MlflowRun

_DIGEST_LENGTH = 12  # people read it; MLflow advises 8 to 10, and takes 36


class SplitDataset(MetaDataset):
    """The cases of one split: its folder, which files, how many, and the classes; the images are not stored.

    Args:
        datalist: whose split.
        split: "training", "validation" or "testing".
        class_names: K names, background first.
    """

    def __init__(self, datalist: Datalist, split: str, class_names: Sequence[str]) -> None:
        folder = Path(datalist.folder)
        cases = getattr(datalist, split)
        self._profile = {"num_cases": len(cases), "num_classes": len(class_names), "class_names": list(class_names)}
        super().__init__(
            get_dataset_source_from_json(json.dumps({"uri": folder.as_uri()}), "local"),
            name=folder.name or "cases",
            digest=digest({**{name: [] for name in SPLITS}, split: cases}, folder)[:_DIGEST_LENGTH],
        )

    @property
    def profile(self) -> dict[str, object]:
        """Numbers of cases and of classes, and the names of these."""
        return self._profile

    def to_dict(self) -> dict[str, str]:
        """As MLflow keeps it: texts."""
        return {**super().to_dict(), "profile": json.dumps(self._profile)}


class TrackedData:
    """The data of a run, ready to be logged.

    Args:
        datalist: cases by their splits.
        class_names: K names, background first.
    """

    def __init__(self, datalist: Datalist, class_names: Sequence[str]) -> None:
        self.datalist = datalist
        self.class_names = class_names

    def log(self, run: MlflowRun, *splits: str) -> None:
        """Log splits as inputs of a run, with the split's name as MLflow's context, unless the run has them."""
        run.log_inputs(
            [
                DatasetInput(
                    Dataset(**SplitDataset(self.datalist, split, self.class_names).to_dict()),
                    [InputTag(MLFLOW_DATASET_CONTEXT, split)],
                )
                for split in splits
            ]
        )
