"""Data sets to read: files that are there, whose content plays no part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def touch(root: Path, *names: str) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def names(layout: Any) -> dict[str, list[tuple[str, str]]]:
    """Image and label of each case, below the data set's folder, by the splits that have some."""

    def below(path: str) -> str:
        return Path(path).relative_to(layout.root).as_posix()

    return {
        split: [(below(case["image"]), below(case["label"])) for case in cases]
        for split, cases in layout.splits.items()
        if cases
    }
