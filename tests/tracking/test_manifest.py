from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from leaf_seg.runtime.errors import InputError
from leaf_seg.tracking.manifest import new_session, read_manifest, write_manifest


def session(seed: int = 0) -> dict[str, object]:
    return new_session(seed, torch.device("cpu"), "abc")


def test_what_a_session_tells() -> None:
    told = session(7)
    assert told["seed"] == 7
    assert told["datalist_sha256"] == "abc"
    assert told["versions"]["torch"].startswith(torch.__version__.partition("+")[0])  # type: ignore[index]
    assert {"leaf_seg", "python", "monai", "diffusers", "mlflow"} <= told["versions"].keys()  # type: ignore[attr-defined]
    assert told["machine"]["device"] == "cpu"  # type: ignore[index]
    assert len(str(told["git"]).removesuffix("-dirty")) == 40  # the tests run from a checkout
    json.dumps(told)


def test_sessions_are_added_to_one_run(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    first = write_manifest(tmp_path, session(1))
    second = write_manifest(tmp_path, session(2))
    assert second["run"] == first["run"]
    assert [each["seed"] for each in second["sessions"]] == [1, 2]
    assert read_manifest(tmp_path) == second
    assert write_manifest(tmp_path / ".." / tmp_path.name, session())["run"] == first["run"]


def test_runs_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert len({write_manifest(tmp_path / name, session())["run"] for name in ("a", "b")}) == 2


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"run": "a"}'])
def test_a_spoilt_manifest(content: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest.json is no manifest of a run"):
        read_manifest(tmp_path)
