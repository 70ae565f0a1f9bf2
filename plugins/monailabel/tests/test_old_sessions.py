from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from monailabel.utils.sessions import Sessions

from lib.sessions import remove_old_sessions, whole_or_none


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


def test_a_session_that_is_not_written_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(str(tmp_path / "sessions"))
    whole_or_none(sessions)
    image = tmp_path / "image.png"
    image.write_text("x")
    with monkeypatch.context() as patch:
        patch.setattr(sessions, "_write_meta_info", lambda *_: (tmp_path / "nowhere" / "x").touch())
        with pytest.raises(FileNotFoundError):
            sessions.add_session(str(image), 5, False)
    assert not list((tmp_path / "sessions").iterdir())
    image.write_text("x")
    name, _ = sessions.add_session(str(image), 5, False)
    assert [path.name for path in (tmp_path / "sessions").iterdir()] == [name]
