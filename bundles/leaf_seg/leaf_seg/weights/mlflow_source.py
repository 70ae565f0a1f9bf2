"""A model folder out of MLflow: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``runs:/ID/model``."""

from __future__ import annotations

import atexit
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.mlflow_folder import follow_move, shown, sqlite_file
from leaf_seg.runtime.scratch import remove_abandoned, scratch_folder
from leaf_seg.runtime.text import one_line
from leaf_seg.weights.model_config import MODEL_CONFIG_NAME

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

TRACKING_URI = "MLFLOW_TRACKING_URI"
STORED_FOLDER = "data/model"  # of the model folder within the logged model
_SCRATCH = "leaf_seg_model_"
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


def is_mlflow_model(model: str | os.PathLike[str]) -> bool:
    """Whether a model is named by a URI of MLflow, and not by its folder or file."""
    return str(model).startswith(("models:", "runs:"))


def model_folder(model: str | os.PathLike[str], tracking_uri: str | None = None) -> Path:
    """The folder of a model; of one in MLflow a temporary one, which is removed at the end of the process.

    Args:
        model: folder or file, which is returned as it is; or ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``,
            ``models:/ID`` or ``runs:/ID/model``.
        tracking_uri: MLflow store; that of the variable MLFLOW_TRACKING_URI unless given.

    Raises:
        InputError: When MLflow cannot be reached, or has no such model of leaf_seg.
    """
    if not is_mlflow_model(model):
        return Path(model)
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(opened_model(model, tracking_uri))


@contextmanager
def opened_model(model: str | os.PathLike[str], tracking_uri: str | None = None) -> Iterator[Path]:
    """As :func:`model_folder`; the temporary folder is removed at the end of the block."""
    if not is_mlflow_model(model):
        yield Path(model)
        return
    parent = Path(tempfile.gettempdir())
    remove_abandoned(parent, _SCRATCH)
    with scratch_folder(parent, _SCRATCH) as scratch:
        yield _downloaded(str(model), _store(str(model), tracking_uri), scratch)


def _store(model: str, tracking_uri: str | None) -> str:
    """The URI of the store, if it can be one."""
    uri = tracking_uri or os.environ.get(TRACKING_URI)
    if not uri:
        raise InputError(
            f"The model is {model}, and no MLflow store is named; expected its address in the variable {TRACKING_URI}, "
            "or in --tracking-uri where the command has it: http://HOST:5000, or sqlite:///FOLDER/mlruns.db."
        )
    file = sqlite_file(uri)
    if file is not None and not file.is_file():  # MLflow would make one
        raise InputError(f"No MLflow store {file}; expected one, since the model is {model}. Correct {shown(uri)}.")
    follow_move(uri)
    return uri


def _downloaded(model: str, uri: str, folder: Path) -> Path:
    """Download the model folder, and nothing else of what is logged with it."""
    from mlflow.artifacts import download_artifacts, list_artifacts

    location = f"{_location(model, uri)}/{STORED_FOLDER}"
    try:
        names = {Path(file.path).name for file in list_artifacts(artifact_uri=location, tracking_uri=uri)}
        if MODEL_CONFIG_NAME not in names:
            raise InputError(
                f"{model} in the MLflow store {shown(uri)} is no model of leaf_seg, or its files are gone: no "
                f"{STORED_FOLDER}/{MODEL_CONFIG_NAME} in it; expected one that a training with "
                "--tracking mlflow has logged."
            )
        found = download_artifacts(artifact_uri=location, dst_path=str(folder), tracking_uri=uri)
    except InputError:
        raise
    except Exception as error:  # of MLflow, the network and the storage, each with their own
        raise _unusable(model, uri, error) from error
    logger.info("Model %s from %s", model, shown(uri))
    return Path(found)


def _location(model: str, uri: str) -> str:
    """Where the files of a model are."""
    from mlflow import MlflowClient, MlflowException

    find, parts = _finder(model)
    try:
        with _one_try():
            location: str | None = find(MlflowClient(uri), **parts)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST" and " not found" not in str(error):
            raise _unusable(model, uri, error) from error
        raise _missing(model, uri, one_line(error)) from error
    except Exception as error:  # of its data base
        raise _unusable(model, uri, error) from error
    if location is None:
        raise _missing(model, uri, f"the run has no whole model of the name {parts['name']}")
    return location


def _finder(model: str) -> tuple[Callable[..., str | None], dict[str, str]]:
    """What finds a model of such a URI, and the parts of the URI."""
    for pattern, find in _KINDS.items():
        parts = re.fullmatch(pattern, model)
        if parts is not None:
            return find, parts.groupdict()
    raise InputError(
        f"The model is {one_line(model)}; expected models:/NAME@ALIAS, models:/NAME/VERSION, models:/ID or "
        "runs:/ID/model."
    )


def _of_alias(client: MlflowClient, name: str, alias: str) -> str:
    return _of_version(client, name, str(client.get_model_version_by_alias(name, alias).version))


def _of_version(client: MlflowClient, name: str, version: str) -> str:
    return client.get_model_version_download_uri(name, version)


def _of_model(client: MlflowClient, model: str) -> str:
    return client.get_logged_model(model).artifact_location


def _of_run(client: MlflowClient, run: str, name: str) -> str | None:
    """The last model of that name in a run."""
    experiment = client.get_run(run).info.experiment_id
    found = client.search_logged_models([experiment], f"name = '{name}' AND source_run_id = '{run}'")
    ready = [model for model in found if str(model.status) == "READY"]
    newest = max(ready, key=lambda model: model.creation_timestamp, default=None)
    return None if newest is None else newest.artifact_location


_KINDS: dict[str, Callable[..., str | None]] = {
    r"models:/(?P<name>[^/@]+)@(?P<alias>[\w\-]+)": _of_alias,
    r"models:/(?P<name>[^/@]+)/(?P<version>\d+)": _of_version,
    r"models:/(?P<model>m-\w+)": _of_model,
    r"runs:/(?P<run>\w+)/(?P<name>[\w\-]+)": _of_run,
}


@contextmanager
def _one_try() -> Iterator[None]:
    """Ask a server that does not answer once, and not for minutes, unless the user has said how often."""
    is_ours = _RETRIES not in os.environ
    os.environ.setdefault(_RETRIES, "0")
    try:
        yield
    finally:
        if is_ours:
            del os.environ[_RETRIES]


def _missing(model: str, uri: str, reason: str) -> InputError:
    return InputError(
        f"{model} is not in the MLflow store {shown(uri)} ({reason}); expected a model that is. Correct the "
        "name, version or alias, or the store."
    )


def _unusable(model: str, uri: str, error: Exception) -> InputError:
    return InputError(
        f"{model} cannot be had from the MLflow store {shown(uri)} ({one_line(error, 160)}); expected a server that is "
        "running, or sqlite:///FOLDER/mlruns.db. Start it, or correct the address."
    )
