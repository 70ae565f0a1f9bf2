"""The app: what the server offers, and the door at which requests are checked."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.epistemic import Epistemic
from monailabel.tasks.activelearning.first import First
from monailabel.utils.others.generic import remove_file

import leaf_seg
from leaf_seg.runtime.errors import InputError
from lib import options
from lib.background import check_before_background_tasks, is_pending
from lib.batch import BatchInference
from lib.datastore import DurableDatastore
from lib.guards import guard_endpoints
from lib.hosts import parse_hosts, protect
from lib.http_errors import bad_request, not_found
from lib.json_values import check_object
from lib.names import IMAGE_SUFFIXES, brief, check_client
from lib.predictions import content_of
from lib.random_image import RandomImage
from lib.scoring import SCORES, AgreementScoring, unscored
from lib.segmentation import DIGEST, ConfidenceTask, SegmentationTask
from lib.sessions import remove_old_sessions, whole_or_none
from lib.training import TrainingTask
from lib.versions import ModelVersions

logger = logging.getLogger(__name__)

MODEL = "leaf_seg"
CONFIDENCE_MODEL = "leaf_seg_confidence"
STORE_NAME = "leaf_seg_models"
_CONF_KEYS = {"model", "labels", "store", "max_samples", "allowed_hosts", "viewer", "server_mode"}


class LeafSegApp(MONAILabelApp):
    """Auto-segmentation, training and active learning with LEAF.

    Args:
        app_dir: folder of the app.
        studies: folder of images and labels, or the address of a DICOMweb server.
        conf: what ``--conf KEY VALUE`` gives: "model", a model folder to begin with (the shipped one unless given);
            "labels", names of the structures, comma-separated (the model's unless given); "store", where trained
            versions are kept (``leaf_seg_models`` in the studies unless given); "max_samples", how many images a
            scoring looks at (20); "allowed_hosts", the names and addresses, beside this machine's own, that requests
            may be for and browsers' pages from; "viewer", whether to offer OHIF and its proxy to a DICOMweb server.

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
        self.max_samples = options.whole_number(conf, "max_samples", 20, 1, 1_000_000)
        self.hosts = parse_hosts(conf.get("allowed_hosts", ""))
        self.viewer = options.flag(conf, "viewer", False)
        if self.viewer and not _is_remote(studies):
            raise InputError("--conf viewer is for studies on a DICOMweb server, and these are a folder; leave it out.")
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

    def on_init_complete(self) -> None:
        """The server starts: nothing gets past the checks from now on."""
        for trainer in self._trainers.values():
            trainer.remove_killed()
        # Where the server's own module is, and not imported by the processes for training and scoring.
        import monailabel.app

        protect(monailabel.app.app, self.hosts)
        guard_endpoints(self, self.viewer)
        if self.sessions() is not None:
            whole_or_none(self.sessions())
        monailabel.app.clear_cache = self.reload  # of POST /reload: a second app in this process would be half a one
        logger.info("Answers requests for %s; --conf allowed_hosts names more", ", ".join(self.hosts))
        super().on_init_complete()

    def reload(self) -> None:
        """Look again at what is in the folder."""
        datastore = self.datastore()
        if isinstance(datastore, LocalDatastore):
            datastore.refresh()

    def cleanup_sessions(self) -> None:
        """Remove sessions whose time is over."""
        if self.sessions() is not None:
            remove_old_sessions(self.sessions())

    def init_datastore(self) -> Datastore:
        """A local folder whose files survive a crash; MONAI Label's own for DICOMweb."""
        if _is_remote(self.studies):
            return super().init_datastore()
        return DurableDatastore(
            self.studies,
            self.versions.class_names,
            self.versions.reading,
            extensions=tuple(f"*{suffix}" for suffix in IMAGE_SUFFIXES),
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
        return {**uncertain, "first": First(), "random": RandomImage()}

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
        self._check_model(request.get("model"))
        store = datastore or self.datastore()
        image = request.get("image")
        known = isinstance(image, str) and image in store.list_images()
        if not known and not self._is_uploaded(image):
            raise not_found("image", image, sorted(store.list_images()))
        with bad_request():
            save = known and options.flag(request, "save_label", False)
            tag = options.prediction_tag(request)
            # As a path: a file of this name in the working directory would be taken for it.
            source = store.get_image_uri(image) if known else image
            result = super().infer({**request, "image": source, "save_label": False}, store)
        digest = result["params"].pop(DIGEST)
        if request["model"] == MODEL and isinstance(store, DurableDatastore):
            try:
                store.predictions.add(content_of(str(source)), digest)
            except OSError:
                logger.exception("This answer will not be recognised if it comes back as a label")
        if save:
            info = {"model": request["model"], "params": result["params"]}
            try:
                result["label"] = store.save_label(image, result["file"], tag, info)
            except Exception:
                remove_file(result["file"])  # which nobody is told of
                raise
        return result

    def _is_uploaded(self, image: Any) -> bool:
        """Whether it is the file of an upload or a session; the requests that name files are refused before."""
        if not isinstance(image, str) or not Path(image).is_absolute():  # a name is no file of the current folder
            return False
        folder = Path(image).resolve().parent
        sessions = self.sessions()
        of_session = sessions is not None and folder.parent == Path(sessions.store_path).resolve()
        return of_session or folder == Path(tempfile.gettempdir()).resolve()

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Choose the next image to label; {} where all have a label.

        Raises:
            HTTPException: 404 for an unknown strategy.
        """
        if request.get("strategy") not in list(self._strategies):
            raise not_found("strategy", request.get("strategy"), list(self._strategies))
        return super().next_sample(request)

    def check_background_task(self, method: str, request: Mapping[str, Any]) -> None:
        """Check a request before a process is started for it.

        Raises:
            HTTPException: 404 for an unknown name, 400 for options that do not fit, and for training without a label.
        """
        with bad_request():
            check_client(check_object(dict(request), "The request"))
            gpus = request.get("gpus", "all")
            if not isinstance(gpus, str) or not re.fullmatch(r"all|\d{1,3}(,\d{1,3})*|", gpus):
                raise InputError(f"gpus is {brief(gpus)}; expected all, or numbers such as 0,1.")
        if method == "train":
            trainer = _named(self._trainers, request.get("model"), "trainer")
            with bad_request():
                trainer.check(_own(request, self._trainers), self.datastore())
        elif method == "scoring":
            scoring = _named(self._scoring_methods, request.get("method"), "scoring method")
            own = _own(request, self._scoring_methods)
            with bad_request():
                scoring.check(own)
                for name in self._scoring_methods.keys() & request.keys():  # also of those that are not run
                    scoring.check(own | request[name])
        elif method == "batch_infer":
            task = self._check_model(request.get("model"))
            with bad_request():
                task.check(request)
                self._batch_infer.check(request, self.datastore())

    def async_scoring(self, method: str | None, params: Any = None) -> Any:
        """Score images in the background; unless asked for one method, only where images are without a score.

        MONAI Label calls this at its start, at each next image and after each training, for every method: one process
        after the other, each of which loads the model again. Here one process computes all the scores.
        """
        if method is None:
            served = self.versions.served()
            if served is None or is_pending("scoring") or not unscored(self.datastore(), served):
                return {}
            method = next(iter(self._scoring_methods))
        return super().async_scoring(method, params)

    def _check_model(self, name: Any) -> SegmentationTask:
        with bad_request():
            return _named({key: task for key, task in self._infers.items() if task.is_valid()}, name, "model")


def _named(tasks: Mapping[str, Any], name: Any, what: str) -> Any:
    """The task of that name, or the answer that there is none."""
    if name not in list(tasks):
        raise not_found(what, name, list(tasks))
    return tasks[name]


def _own(request: Mapping[str, Any], tasks: Collection[str]) -> dict[str, Any]:
    """A request without the options of each task, which MONAI Label leaves in it where all are asked for at once."""
    return {key: value for key, value in request.items() if key not in tasks}


def _is_remote(studies: str) -> bool:
    return studies.startswith(("http://", "https://"))


def _store(studies: str, folder: str | None) -> Path:
    """Folder of the trained versions."""
    if not folder and _is_remote(studies):
        raise InputError("The studies are on a server: say where trained models are to be kept, --conf store FOLDER.")
    store = Path(folder).resolve() if folder else Path(studies).resolve() / STORE_NAME
    if "#" in str(store):
        raise InputError(
            f"{store}, where trained models are kept, has a '#' in its name, of which MONAI's configs would make '::'; "
            "expected one without. Rename the folder, or choose another: --conf store FOLDER."
        )
    return store
