"""Removes sessions whose time is over, and what is left of those that were not written to their end."""

from __future__ import annotations

import functools
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from monailabel.utils.sessions import Sessions


def remove_old_sessions(sessions: Sessions) -> None:
    """As MONAI Label's own, which stops the server where a session was not written to its end."""
    now = time.time()
    for folder in Path(sessions.store_path).glob("*/"):
        try:
            info = sessions.get_session(folder.name, update_ts=False, fetch_cache=False)
        except ValueError:
            info = None
        if info is None and folder.exists() and now - folder.stat().st_mtime > sessions.expiry:
            shutil.rmtree(folder, ignore_errors=True)
        elif info is not None and 0 < info.expiry < now - info.last_access_ts:
            sessions.remove_session(folder.name)


def whole_or_none(sessions: Sessions) -> None:
    """Let a session that cannot be written to its end, as on a full disk, leave nothing."""
    add = sessions.add_session

    @functools.wraps(add)
    def added(*args: Any, **kwargs: Any) -> Any:
        name = str(uuid.uuid1())
        try:
            return add(*args, **{**kwargs, "session_id": name})
        except Exception:
            sessions.remove_session(name)
            raise

    sessions.add_session = added
