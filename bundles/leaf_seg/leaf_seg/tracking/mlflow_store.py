"""The MLflow store that a process uses, and which of several processes makes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import mlflow
from mlflow import MlflowClient

from leaf_seg.runtime.distributed import once
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import is_tracked
from leaf_seg.runtime.text import first_line
from leaf_seg.weights.mlflow_source import TRACKING_URI


def prepare_store(uri: str) -> None:
    """Open the store once, with ``--tracking``: one that cannot be used is found before the data are prepared.

    Of several processes one makes its tables before all of them open it, which MONAI's MLFlowHandler does.

    Args:
        uri: of the store, unless MLFLOW_TRACKING_URI names one.

    Raises:
        InputError: When MLflow cannot use it.
    """
    if is_tracked():
        once(partial(_open, os.environ.get(TRACKING_URI) or uri))


def _open(uri: str) -> None:
    try:
        MlflowClient(uri).search_experiments()
    except Exception as error:  # of MLflow, its data base and the network
        raise unusable_store(error) from error


def unusable_store(error: Exception) -> InputError:
    """The message for an error of MLflow at the start of a run."""
    if any(words in str(error) for words in ("filesystem tracking", "file store")):
        return InputError(
            "MLflow cannot be used (it keeps no store in a folder of files any more, file:// or a path); expected a "
            "data base or a server. Correct --tracking_uri, for example to sqlite:///runs/mlflow.db, or leave it out."
        )
    return InputError(
        f"MLflow cannot be used ({first_line(error)}); expected a store that can be written to. Correct "
        "--tracking_uri, or leave out --tracking mlflow."
    )


@contextmanager
def fluent_functions_on(tracking_uri: str) -> Iterator[None]:
    """Let MLflow's module functions, of which logging a model is one, use a store; they know theirs by a global.

    MLflow writes the global to the environment, too, where MLFlowHandler would find it.
    """
    variable = os.environ.get(TRACKING_URI)
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # its own reset
        if variable is not None:
            os.environ[TRACKING_URI] = variable
