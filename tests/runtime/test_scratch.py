from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leaf_seg.runtime import scratch
from leaf_seg.runtime.scratch import scratch_folder


@pytest.mark.parametrize(("owner", "name"), [(scratch.FileLock, "release"), (shutil, "rmtree")])
def test_an_interruption_while_the_folder_is_removed_leaves_nothing(
    owner: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., Any] = getattr(owner, name)
    calls = []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path, ".unfinished_") as folder:
        (folder / "part").write_text("half")
        monkeypatch.setattr(owner, name, interrupted)
    assert calls
    assert not list(tmp_path.iterdir())
