"""The trained model as a version of a registered model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient, MlflowException
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion

from leaf_seg.tracking.mlflow_model import WEIGHTS_TAG
from leaf_seg.tracking.mlflow_run import MlflowRun
from leaf_seg.tracking.mlflow_store import fluent_functions_on

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registration:
    """Under which name a model is registered.

    Attributes:
        name: of the registered model, which is made where needed.
        alias: moved to the new version; None leaves all aliases where they are.
    """

    name: str
    alias: str | None = None

    def register(self, run: MlflowRun, model: LoggedModel, tags: Mapping[str, Any]) -> ModelVersion:
        """Register a logged model as a new version, unless the run has registered these weights already.

        Args:
            run: that the model belongs to.
            model: of :func:`~leaf_seg.tracking.mlflow_model.log_model`.
            tags: of the version.
        """
        version = self._registered(run, model) or self._new(run, model, tags)
        if self.alias is not None:
            run.client.set_registered_model_alias(self.name, self.alias, str(version.version))
        shown = "" if self.alias is None else f", and has the alias {self.alias}"
        logger.info("The model is version %s of the registered model %s%s", version.version, self.name, shown)
        return version

    def _registered(self, run: MlflowRun, model: LoggedModel) -> ModelVersion | None:
        for version in run.client.search_model_versions(f"run_id = '{run.id}'"):
            if version.name == self.name and version.tags.get(WEIGHTS_TAG) == model.tags[WEIGHTS_TAG]:
                return version
        return None

    def _new(self, run: MlflowRun, model: LoggedModel, tags: Mapping[str, Any]) -> ModelVersion:
        _ensure_name(run.client, self.name)
        texts = {WEIGHTS_TAG: model.tags[WEIGHTS_TAG], **{key: str(value) for key, value in tags.items()}}
        with fluent_functions_on(run.client.tracking_uri):  # where MLflow looks for the logged model
            return run.client.create_model_version(
                self.name, model.model_uri, run.id, tags=texts, model_id=model.model_id
            )


def _ensure_name(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
