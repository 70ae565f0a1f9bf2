"""The MLflow store of several processes, which one of them makes."""

from __future__ import annotations

import os
from functools import partial

from mlflow import MlflowClient

from leaf_seg.runtime.distributed import num_processes, once
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.overrides import is_tracked
from leaf_seg.runtime.text import first_line


def prepare_store(uri: str) -> None:
    """Let one process make the tables of a store before all of them open it, which MONAI's MLFlowHandler does.

    For several processes with ``--tracking``; otherwise that handler is alone, and this does nothing.

    Args:
        uri: of the store, unless MLFLOW_TRACKING_URI names one.

    Raises:
        InputError: When MLflow cannot use it.
    """
    if num_processes() > 1 and is_tracked():
        once(partial(_open, os.environ.get("MLFLOW_TRACKING_URI") or uri))


def _open(uri: str) -> None:
    try:
        MlflowClient(uri).search_experiments()
    except Exception as error:  # of MLflow, its data base and the network
        raise unusable_store(error) from error


def unusable_store(error: Exception) -> InputError:
    """The message for an error of MLflow at the start of a run."""
    return InputError(
        f"MLflow cannot be used ({first_line(error)}); expected a store that can be written to. Correct "
        "--tracking_uri, or leave out --tracking mlflow."
    )
