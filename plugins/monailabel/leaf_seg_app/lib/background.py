"""Checks requests for background tasks at the door."""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.task import AsyncTask

_run = AsyncTask.run


def check_before_background_tasks() -> None:
    """Let the app see each request before MONAI Label starts a process for it.

    MONAI Label looks at nothing: the process fails later, and the client learns of it when it asks for the status.
    """
    AsyncTask.run = staticmethod(_checked_run)


def _checked_run(
    method: str,
    request: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    force_sync: bool = False,
    enqueue: bool = False,
) -> Any:
    app_instance().check_background_task(method, {**(request or {}), **(params or {})})
    return _run(method, request=request, params=params, force_sync=force_sync, enqueue=enqueue)
