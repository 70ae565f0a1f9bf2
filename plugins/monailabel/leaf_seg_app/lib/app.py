"""The app: what the server offers, and the door at which requests are checked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.epistemic import Epistemic
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random

import leaf_seg
from leaf_seg.runtime.errors import InputError
from lib.background import check_before_background_tasks
from lib.batch import BatchInference
from lib.datastore import DurableDatastore
from lib.http_errors import bad_request, not_found
from lib.scoring import SCORES, AgreementScoring, unscored
from lib.segmentation import ConfidenceTask, SegmentationTask
from lib.training import TrainingTask
from lib.versions import ModelVersions

MODEL = "leaf_seg"
CONFIDENCE_MODEL = "leaf_seg_confidence"
STORE_NAME = "leaf_seg_models"
_EXTENSIONS = ("*.nii.gz", "*.nii", "*.png", "*.jpg", "*.jpeg", "*.tif", "*.tiff")
_CONF_KEYS = {"model", "labels", "store", "max_samples", "server_mode"}


class LeafSegApp(MONAILabelApp):
    """Auto-segmentation, training and active learning with LEAF.

    Args:
        app_dir: folder of the app.
        studies: folder of images and labels, or the address of a DICOMweb server.
        conf: what ``--conf KEY VALUE`` gives: "model", a model folder to begin with (the shipped one unless given);
            "labels", names of the structures, comma-separated (the model's unless given); "store", where trained
            versions are kept (``leaf_seg_models`` in the studies unless given); "max_samples", how many images a
            scoring looks at (20).

    Raises:
        InputError: For an unknown key, a folder without a model, or no store.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, Any]) -> None:
        unknown = sorted(set(conf) - _CONF_KEYS)
        if unknown:
            raise InputError(f"--conf has {', '.join(unknown)}; expected {', '.join(sorted(_CONF_KEYS))}.")
        bundle = Path(leaf_seg.__file__).resolve().parents[1]
        self.bundle = bundle
        self.versions = ModelVersions(
            _store(studies, conf.get("store")),
            initial=Path(conf.get("model") or bundle / "models"),
            labels=[name.strip() for name in conf["labels"].split(",")] if conf.get("labels") else None,
        )
        self.versions.served()  # a store that is damaged is an error now
        self.max_samples = int(conf.get("max_samples", 20))
        super().__init__(
            app_dir,
            studies,
            conf,
            name=f"leaf_seg {leaf_seg.__version__}",
            description="Latent-diffusion segmentation (LEAF): auto-segmentation, training and active learning",
            version=leaf_seg.__version__,
            labels=list(self.versions.class_names[1:]),
        )
        check_before_background_tasks()

    def init_datastore(self) -> Datastore:
        """A local folder whose files survive a crash; MONAI Label's own for DICOMweb."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        return DurableDatastore(
            self.studies,
            self.versions.class_names,
            extensions=_EXTENSIONS,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def init_infers(self) -> dict[str, InferTask]:
        """Segmentation, and the confidence as an image of its own."""
        return {MODEL: SegmentationTask(self.versions), CONFIDENCE_MODEL: ConfidenceTask(self.versions)}

    def init_trainers(self) -> dict[str, TrainTask]:
        """Training."""
        return {MODEL: TrainingTask(self.versions, self.bundle)}

    def init_strategies(self) -> dict[str, Strategy]:
        """Which image comes next: the least sure by each score, the first, or any."""
        uncertain = {key: Epistemic(key=key, desc=f"Highest first: {text}") for key, text in SCORES.items()}
        return {**uncertain, "first": First(), "random": Random()}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """How sure the model is of images without a label."""
        return {key: AgreementScoring(self.versions, text, self.max_samples) for key, text in SCORES.items()}

    def init_batch_infer(self) -> BatchInference:
        """Segmentation of many images."""
        return BatchInference()

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Segment one image.

        Raises:
            HTTPException: 404 for an unknown model or image, 400 for what cannot be segmented.
        """
        with bad_request():
            self._check_model(request.get("model"))
        store = datastore or self.datastore()
        image = request.get("image")
        uploaded = "session" in request or Path(str(image)).parent == Path(tempfile.gettempdir())
        if not isinstance(image, str) or not (store.get_image_uri(image) or uploaded):
            raise not_found("image", image, sorted(store.list_images()))
        with bad_request():
            return super().infer(request, datastore)

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Choose the next image to label; {} where all have a label.

        Raises:
            HTTPException: 404 for an unknown strategy.
        """
        if request.get("strategy") not in self._strategies:
            raise not_found("strategy", request.get("strategy"), list(self._strategies))
        return super().next_sample(request)

    def check_background_task(self, method: str, request: Mapping[str, Any]) -> None:
        """Check a request before a process is started for it.

        Raises:
            HTTPException: 404 for an unknown name, 400 for options that do not fit, and for training without a label.
        """
        if method == "train":
            trainer = self._trainers.get(request.get("model", ""))
            if not isinstance(trainer, TrainingTask):
                raise not_found("trainer", request.get("model"), list(self._trainers))
            with bad_request():
                trainer.check(request, self.datastore())
            trainer.forget_stats()
        elif method == "scoring":
            scoring = self._scoring_methods.get(request.get("method", ""))
            if not isinstance(scoring, AgreementScoring):
                raise not_found("scoring method", request.get("method"), list(self._scoring_methods))
            with bad_request():
                scoring.check(request)
        elif method == "batch_infer":
            task = self._check_model(request.get("model"))
            with bad_request():
                task.check(request)

    def async_scoring(self, method: str | None, params: Any = None) -> Any:
        """Score images in the background; unless asked for one method, only where images are without a score.

        MONAI Label calls this at its start, at each next image and after each training, for every method: one process
        after the other, each of which loads the model again. Here one process computes all the scores.
        """
        if method is None:
            served = self.versions.served()
            if served is None or not unscored(self.datastore(), served):
                return {}
            method = next(iter(self._scoring_methods))
        return super().async_scoring(method, params)

    def _check_model(self, name: Any) -> SegmentationTask:
        tasks = {key: task for key, task in self._infers.items() if task.is_valid()}
        task = tasks.get(name)
        if not isinstance(task, SegmentationTask):
            raise not_found("model", name, list(tasks))
        return task


def _store(studies: str, folder: str | None) -> Path:
    """Folder of the trained versions."""
    if folder:
        return Path(folder).resolve()
    if studies.startswith(("http://", "https://")):
        raise InputError("The studies are on a server: say where trained models are to be kept, --conf store FOLDER.")
    return Path(studies).resolve() / STORE_NAME
