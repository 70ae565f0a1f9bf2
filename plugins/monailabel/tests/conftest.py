"""A real server as a process, and the client that 3D Slicer uses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import requests
from monailabel.client import MONAILabelClient
from PIL import Image
from scipy.spatial.transform import Rotation

from lib.torchvision_operators import declare_missing_operators

declare_missing_operators()  # before leaf_seg imports transformers, and that torchvision

ROOT = Path(__file__).resolve().parents[3]
APP = ROOT / "plugins" / "monailabel" / "leaf_seg_app"
HIPPOCAMPUS = ROOT.parent / "shared" / "data" / "msd_hippocampus"
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", "MONAI_LABEL_AUTO_UPDATE_SCORING": "false"}
# Of the test split, so that Dice is a fair one.
FIRST, SECOND = "hippocampus_003", "hippocampus_007"
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [10, -8, 15], degrees=True).as_matrix() * [0.9, 1.1, 1.3]
OBLIQUE[:3, 3] = [12, -30, 7]


class Server:
    """A server of MONAI Label on a free port of this machine."""

    def __init__(
        self,
        studies: Path,
        log: Path,
        app: Path = APP,
        conf: dict[str, str] | None = None,
        cwd: Path = ROOT,
        env: dict[str, str] | None = None,
    ) -> None:
        self.studies = studies
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = ["--app", app, "--studies", studies, "--host", "127.0.0.1", "--port", self.port]
        for key, value in (conf or {}).items():
            words += ["--conf", key, value]
        self.log = log
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "monailabel.main", "start_server", *map(str, words)],
                cwd=cwd,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT, **(env or {})},
                start_new_session=True,
            )
        self.client = MONAILabelClient(f"http://127.0.0.1:{self.port}", tmpdir=str(studies.parent))
        self._wait()

    def _wait(self) -> None:
        for _ in range(120):
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                self.client.info()
            except OSError:
                time.sleep(1)
            else:
                return
        pytest.fail(f"The server did not answer: {self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """SIGKILL the server alone, as a machine out of memory would."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the server and all that it has started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


def wait_until_ended(status_of: Callable[[], dict[str, Any]], seconds: int = 300) -> dict[str, Any]:
    """The status of a background task when it has ended."""
    for _ in range(seconds):
        status = status_of()
        if status["status"] not in ("SUBMITTED", "RUNNING"):
            return status
        time.sleep(1)
    pytest.fail(f"It did not end: {status}")


def score(server: Server, method: str, options: dict[str, Any]) -> dict[str, Any]:
    """Score, and the summary that the process writes at its end."""
    answer = requests.post(url(server, f"/scoring/{method}"), json=options, timeout=60)
    assert answer.status_code == 200, answer.text
    status = wait_until_ended(lambda: requests.get(url(server, "/scoring/"), timeout=60).json())
    assert status["status"] == "DONE", "\n".join(status["details"])
    line = next(line for line in status["details"] if "Result: " in line)
    return json.loads(line.partition("Result: ")[2])


def url(server: Server, path: str) -> str:
    """Address of one of its requests."""
    return f"http://127.0.0.1:{server.port}{path}"


def infer(client: MONAILabelClient, image: str, model: str = "leaf_seg", **params: Any) -> tuple[Any, dict[str, Any]]:
    """The returned image, as ITK reads it, and the JSON."""
    file, result = client.infer(model, image, params)
    image_out = itk.imread(file)
    Path(file).unlink()
    return image_out, result


def geometry(image: Any) -> list[float]:
    """Size, origin, spacing and direction of an ITK image."""
    direction = itk.array_from_matrix(image.GetDirection())
    return [*itk.size(image), *image.GetOrigin(), *image.GetSpacing(), *direction.flatten()]


@pytest.fixture(scope="session")
def hippocampus() -> Path:
    if not HIPPOCAMPUS.is_dir():
        reason = "real data are missing: no folder ../shared/data/msd_hippocampus beside the checkout"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return HIPPOCAMPUS


@pytest.fixture(scope="session")
def make_studies(hippocampus: Path) -> Callable[[Path], Path]:
    """Writes three images to a folder: a volume, one that lies obliquely, and a colour picture of a coronal slice."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        shutil.copy(hippocampus / "images" / f"{FIRST}.nii.gz", folder)
        volume: Any = nib.load(hippocampus / "images" / f"{SECOND}.nii.gz")
        nib.save(nib.Nifti1Image(np.asarray(volume.dataobj), OBLIQUE), folder / "oblique.nii.gz")
        coronal = np.asarray(volume.dataobj)[:, volume.shape[1] // 2]
        grey = (255 * np.clip(coronal / np.percentile(coronal, 99.5), 0, 1)).astype(np.uint8)
        Image.fromarray(grey).convert("RGB").save(folder / "picture.png")
        return folder

    return make


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers that end with the test."""
    servers: list[Server] = []

    def start_server(studies: Path, **arguments: Any) -> Server:
        servers.append(Server(studies, tmp_path / "server.log", **arguments))
        return servers[-1]

    yield start_server
    for server in servers:
        server.close()
