from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from leaf_seg.runtime import scratch
from leaf_seg.runtime.scratch import scratch_folder


def test_an_interruption_while_the_folder_is_removed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = shutil.rmtree, []

    def interrupted(folder: Path, **options: Any) -> None:
        calls.append(folder)
        if len(calls) == 1:
            raise KeyboardInterrupt
        original(folder, **options)

    def use() -> None:
        with scratch_folder(tmp_path, ".unfinished_") as folder:
            (folder / "part").write_text("half")
            monkeypatch.setattr(scratch.shutil, "rmtree", interrupted)

    with pytest.raises(KeyboardInterrupt):
        use()
    monkeypatch.undo()
    assert len(calls) == 2
    assert not list(tmp_path.iterdir())
