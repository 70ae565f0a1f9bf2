from __future__ import annotations

import json
import os
import time
from pathlib import Path

from monailabel.utils.sessions import Sessions

from lib.sessions import remove_old_sessions


def test_old_and_broken_sessions(tmp_path: Path) -> None:
    """MONAI Label's own stops the server at its start where a session has no information."""
    now = int(time.time())
    image = tmp_path / "image.nii.gz"
    image.write_text("")
    store = tmp_path / "store"
    for name, accessed in (("new", now), ("old", now - 10_000)):
        (store / name).mkdir(parents=True)
        meta = {"name": name, "image": str(image), "last_access_ts": accessed, "expiry": 3600}
        (store / name / "meta.info").write_text(json.dumps(meta))
    for name, content in (("half", '{"name": '), ("half_old", '{"name": '), ("begun", None), ("begun_old", None)):
        (store / name).mkdir()
        if content:
            (store / name / "meta.info").write_text(content)
        if name.endswith("old"):
            os.utime(store / name, (now - 10_000, now - 10_000))
    remove_old_sessions(Sessions(str(store)))
    assert {path.name for path in store.iterdir()} == {"new", "half", "begun"}
