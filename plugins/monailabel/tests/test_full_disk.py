"""A server that finds no space on its disk, for which a limit on the size of its files stands."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pytest
import requests

from plugins.monailabel.tests.conftest import FIRST, Server, url

pytestmark = pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="only Linux limits another process")
LIMIT = 300_000  # bytes of a file, more than the server's log has


@pytest.fixture(scope="module")
def server(make_studies: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("full")
    studies = make_studies(folder / "studies")
    (folder / "temporary").mkdir()
    env = {"TMPDIR": str(folder / "temporary"), "MONAI_LABEL_SESSION_PATH": str(folder / "sessions")}
    server = Server(studies, folder / "server.log", env=env)
    yield server
    server.close()


@pytest.fixture
def full(server: Server) -> Iterator[None]:
    process = psutil.Process(server.process.pid)
    process.rlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
    yield
    process.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def left(server: Server) -> set[Path]:
    """All files of studies, uploads and sessions."""
    return {
        path
        for name in ("studies", "temporary", "sessions")
        for path in (server.studies.parent / name).rglob("*")
        if path.name not in (".lock", "labels", "final")
    }


def volume(shape: tuple[int, int, int]) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    return nib.Nifti1Image(noise, np.eye(4)).to_bytes()


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("shape", [(80, 80, 70), (130, 130, 130)])  # FastAPI keeps uploads below 1 MB in memory
@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("PUT", "/datastore/image?image=new", "file"),
        ("PUT", f"/datastore/image?image={FIRST}", "file"),
        ("PUT", f"/datastore/label?image={FIRST}", "label"),
        ("POST", "/infer/leaf_seg", "file"),
        ("PUT", "/session/", "files"),
    ],
)
def test_uploads_that_do_not_fit(
    server: Server, method: str, path: str, field: str, shape: tuple[int, int, int]
) -> None:
    before = left(server)
    upload: Any = {field: ("mine.nii", volume(shape))}
    answer = requests.request(method, url(server, path), files=upload, timeout=60)
    assert answer.status_code == 507, answer.text
    assert "File too large" in answer.json()["detail"]
    assert left(server) == before


def test_what_is_known_does_not_fit(server: Server) -> None:
    """It is the server's trouble, and no wrong request."""
    process = psutil.Process(server.process.pid)
    form = {"info": json.dumps({"note": "x" * 50_000})}
    process.rlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    answer = requests.put(url(server, "/datastore/image/info?image=picture"), data=form, timeout=60)
    process.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert answer.status_code == 507, answer.text
    assert "note" not in requests.get(url(server, "/datastore/image/info?image=picture"), timeout=60).json()
    assert requests.put(url(server, "/datastore/image/info?image=picture"), data=form, timeout=60).status_code == 200
