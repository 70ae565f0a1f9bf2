from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lib.abandoned import remove_abandoned


def test_only_what_processes_that_are_gone_have_left(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = [f".x_{gone.pid}_5", f".x_{os.getpid()}", f".x_{os.getppid()}", ".x_mine", "other"]
    for name in names:
        (tmp_path / name).write_text("")
    (tmp_path / f".x_{gone.pid}").mkdir()
    (tmp_path / f".x_{gone.pid}" / "file").write_text("")
    remove_abandoned(tmp_path, ".x_")  # nothing of this process's is in use yet: a former one had its number
    assert {path.name for path in tmp_path.iterdir()} == set(names[2:])
