"""Removes sessions whose time is over, and what is left of broken ones."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

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
