"""Checks requests for background tasks at the door."""

from __future__ import annotations

from typing import Any

import psutil
from fastapi import HTTPException
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import tasks

_run, _stop = AsyncTask.run, AsyncTask.stop


def check_before_background_tasks() -> None:
    """Let the app see each request before MONAI Label starts a process for it.

    MONAI Label looks at nothing: the process fails later, and the client learns of it when it asks for the status.
    """
    AsyncTask.run = staticmethod(_checked_run)
    AsyncTask.stop = staticmethod(_checked_stop)


def is_pending(method: str) -> bool:
    """Whether this server has a task that is running or waits for its turn."""
    return any(task["status"] in ("SUBMITTED", "RUNNING") for task in tasks(method))


def _checked_run(
    method: str,
    request: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    force_sync: bool = False,
    enqueue: bool = False,
) -> Any:
    app_instance().check_background_task(method, {**(request or {}), **(params or {})})
    if force_sync and method == "train":
        raise HTTPException(400, "run_sync is not offered for training: nothing else would be answered meanwhile.")
    return _run(method, request=request, params=params, force_sync=force_sync, enqueue=enqueue)


def _checked_stop(method: str) -> Any:
    try:
        return _stop(method)
    except psutil.NoSuchProcess:  # it has ended just now
        return None
