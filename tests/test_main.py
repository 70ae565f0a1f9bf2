"""How ``python -m leaf_seg`` ends when the system does not let it do its work."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from leaf_seg import __main__ as command

TABLE = "case,class,dice,iou,hd95,surface_dice\na,cell,0.5,0.4,1,0.6\nb,cell,0.6,0.5,2,0.7\n"


def test_what_may_not_be_read_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(_: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "config.json"))

    monkeypatch.setattr("leaf_seg.segment_command.list_images", denied)
    assert command.main(["segment", "images", "out", "--model", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"leaf_seg: {tmp_path / 'config.json'}: cannot be read or written (Permission denied); ")
    assert said.count("\n") == 1


def test_other_errors_of_the_system_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("leaf_seg.segment_command.list_images", fail)
    with pytest.raises(OSError, match="Input/output error"):
        command.main(["segment", "images", "out", "--model", "model"])


def test_a_comparison_that_cannot_be_printed(tmp_path: Path) -> None:
    (tmp_path / "metrics_cases.csv").write_text(TABLE)
    words = [sys.executable, "-m", "leaf_seg", "compare", str(tmp_path), str(tmp_path)]
    with open("/dev/full", "w") as full:
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == (
        "leaf_seg: The comparison cannot be written to standard output (No space left on device); send it elsewhere.\n"
    )
