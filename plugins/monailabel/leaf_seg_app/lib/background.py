"""Checks requests for background tasks at the door."""

from __future__ import annotations

import time
from typing import Any

import psutil
from fastapi import HTTPException
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import background_executors, tasks

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


def refuse_second(method: str) -> None:
    """See that no task is running or waits.

    Raises:
        HTTPException: 429 where one does.
    """
    if is_pending(method):
        raise HTTPException(429, f"{method} is at work already; wait for its end, or stop it with DELETE.")


def _checked_run(
    method: str,
    request: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    force_sync: bool = False,
    enqueue: bool = False,
) -> Any:
    app_instance().check_background_task(method, {**(request or {}), **(params or {})})
    if force_sync:
        raise HTTPException(
            400, "run_sync is not offered: nothing else would be answered meanwhile. Ask for the status."
        )
    if not (enqueue and method == "scoring"):  # of which a request for all methods is one for each
        refuse_second(method)
    return _run(method, request=request, params=params, enqueue=enqueue)


def _checked_stop(method: str) -> Any:
    """Stop what is running, and what waits for its turn."""
    _wait_for_process(method)
    executor = background_executors.pop(method, None)  # the next task gets a new one
    if executor is not None:
        executor.shutdown(wait=False, cancel_futures=True)
    for task in tasks(method):
        if task["status"] == "SUBMITTED":
            task |= {"status": "STOPPED", "end_ts": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        return _stop(method)
    except psutil.NoSuchProcess:  # it has ended just now
        return None


def _wait_for_process(method: str) -> None:
    """A task whose turn it is gets its process within a moment, and could not be stopped before."""
    for _ in range(100):
        states = {task["status"] for task in tasks(method)}
        if "RUNNING" in states or "SUBMITTED" not in states:
            return
        time.sleep(0.02)
