"""What an attacker has found: requests that are to be refused, and what they may leave; the tests stand on each other.

The server's current folder is its temporary one, as of one that somebody starts there.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
from PIL import Image

from plugins.monailabel.tests.conftest import FIRST, Server, url, wait_until_ended

NAMES = {"label_info": [{"name": "anterior", "idx": 1}, {"name": "posterior", "idx": 2}]}


@pytest.fixture(scope="module")
def server(make_studies: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("refused")
    studies = make_studies(folder / "studies")
    (folder / "temporary").mkdir()
    shutil.copy(studies / f"{FIRST}.nii.gz", folder / "temporary" / "secret.nii.gz")
    env = {"TMPDIR": str(folder / "temporary"), "MONAI_LABEL_SESSION_PATH": str(folder / "sessions")}
    server = Server(studies, folder / "server.log", cwd=folder / "temporary", env=env)
    yield server
    server.close()


def ask(server: Server, method: str, path: str, **arguments: Any) -> requests.Response:
    return requests.request(method, url(server, path), timeout=60, **arguments)


def left(server: Server) -> set[Path]:
    """Files and folders of uploads, sessions and answers; compiled code and locks of libraries do not count."""
    folders = (server.studies.parent / "temporary", server.studies.parent / "sessions")
    return {path for folder in folders for path in folder.glob("*") if path.suffix in (".png", ".gz", "", ".nrrd")}


def submit(server: Server, image: str, content: bytes) -> requests.Response:
    files = {"label": ("mine.nii.gz", content)}
    return ask(server, "PUT", f"/datastore/label?image={image}", data={"params": json.dumps(NAMES)}, files=files)


def is_prediction(server: Server, image: str) -> bool:
    return ask(server, "GET", f"/datastore/label/info?label={image}&tag=final").json()["prediction"]


def test_no_code_of_others_is_run(server: Server) -> None:
    """MONAI Label makes a task's "bundle_path" a PYTHONPATH; a picture may be an archive with modules, too."""
    ran = server.studies.parent / "ran"
    archive = io.BytesIO((server.studies / "picture.png").read_bytes())
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("sitecustomize.py", f"open({str(ran)!r}, 'w').close()")
    assert ask(server, "PUT", "/datastore/image", files={"file": ("evil.png", archive.getvalue())}).status_code == 200
    path = {"bundle_path": str(server.studies / "evil.png")}
    for address, body in (
        ("/scoring/epistemic_entropy", path),
        ("/scoring/", {"expected_error": path}),
        ("/scoring/", {"epistemic_entropy": path}),
        ("/scoring/", path),
        ("/batch/infer/leaf_seg", path),
        ("/train/leaf_seg", path),
        ("/train/", {"leaf_seg": path}),
        ("/train/leaf_seg", {"env": {"PYTHONPATH": path["bundle_path"]}}),
    ):
        answer = ask(server, "POST", address, json=body)
        assert answer.status_code == 400, (address, body, answer.text)
        assert "There is no option" in answer.json()["detail"]
    assert ask(server, "DELETE", "/datastore/image?id=evil").status_code == 200
    assert not ran.exists()


def test_refused_uploads_leave_nothing_and_are_called_as_the_client_calls_them(server: Server) -> None:
    before = left(server)
    other = (server.studies / "oblique.nii.gz").read_bytes()
    for method, path, field, content in (
        ("PUT", "/datastore/image?image=bad", "file", b"no volume"),
        ("PUT", f"/datastore/label?image={FIRST}", "label", b"no volume"),
        ("PUT", f"/datastore/label?image={FIRST}", "label", other),
        ("PUT", "/datastore/label?image=nobody", "label", other),
        ("POST", "/infer/leaf_seg", "file", b"no volume"),
        ("POST", "/infer/nothing", "file", other),
        ("PUT", "/session/", "files", b"no volume"),
    ):
        answer = ask(server, method, path, files={field: ("mine.nii.gz", content)})
        assert answer.status_code in (400, 404), answer.text
        detail = answer.json()["detail"]
        assert "mine.nii.gz" in detail or answer.status_code == 404, detail
        assert "/temporary/" not in detail
        assert "/sessions/" not in detail
        assert left(server) == before, (path, content[:10])
    answer = ask(
        server, "POST", "/infer/leaf_seg_confidence?image=picture", data={"params": json.dumps({"save_label": True})}
    )
    assert answer.status_code == 400, answer.text
    assert left(server) == before


def test_a_name_is_no_file_of_the_current_folder(server: Server) -> None:
    answer = ask(server, "POST", "/infer/leaf_seg?image=secret.nii.gz")
    assert answer.status_code == 404
    assert "no image 'secret.nii.gz'" in answer.json()["detail"]


def test_predictions_do_not_replace_what_people_submit(server: Server, hippocampus: Path) -> None:
    mine = (hippocampus / "labels" / f"{FIRST}.nii.gz").read_bytes()
    assert submit(server, FIRST, mine).status_code == 200
    body = {"label_tag": "final", "save_label": False, "device": "cpu"}
    answers = [ask(server, "POST", "/batch/infer/leaf_seg?images=all", json=body)]
    for tag in ("final", "Final"):
        params = {"params": json.dumps({"save_label": True, "label_tag": tag})}
        answers.append(ask(server, "POST", f"/infer/leaf_seg?image={FIRST}", data=params))
    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert "which is for the labels that people submit" in answer.json()["detail"]
    assert (server.studies / "labels" / "final" / f"{FIRST}.nii.gz").read_bytes() == mine
    body = {"save_label": False, "label_tag": "batch", "device": "cpu", "images": ["picture"]}
    assert ask(server, "POST", "/batch/infer/leaf_seg", json=body).status_code == 200  # whose end is awaited below


@pytest.mark.parametrize("key", ["id", "path", "name", "weight", "checksum", "session", "session_id", "PatientID"])
def test_what_names_the_next_image_is_the_servers(server: Server, key: str) -> None:
    answer = ask(server, "PUT", "/datastore/image/info?image=oblique", data={"info": json.dumps({key: "picture"})})
    assert answer.status_code == 400, answer.text
    sample = ask(server, "POST", "/activelearning/first", json={}).json()
    assert (sample["id"], Path(sample["path"]).name) == ("oblique", "oblique.nii.gz")
    form = {"params": json.dumps({key: "x"})}
    picture = ("x.png", (server.studies / "picture.png").read_bytes())
    assert ask(server, "PUT", "/datastore/image?image=x", data=form, files={"file": picture}).status_code == 400


@pytest.mark.parametrize("route", ["wsi", "wsi_v2"])
@pytest.mark.parametrize("arguments", [{"data": {"wsi": "{"}}, {"json": {"level": "x"}}, {"data": {"wsi": "5"}}])
def test_whole_slides_are_closed(server: Server, route: str, arguments: Any) -> None:
    answer = ask(server, "POST", f"/infer/{route}/leaf_seg?image=picture", **arguments)
    assert answer.status_code == 403, answer.text
    assert "Whole slides are not offered" in answer.json()["detail"]


def test_answers_are_known_by_the_images_content(server: Server) -> None:
    """Whichever way the image came, and whatever its file was called."""
    again = io.BytesIO()
    with Image.open(server.studies / "picture.png") as picture:
        picture.save(again, "png", compress_level=1)
    assert again.getvalue() != (server.studies / "picture.png").read_bytes()
    upload = ("again.png", again.getvalue())
    session = ask(server, "PUT", "/session/", files={"files": upload}).json()["session_id"]
    label = server.studies.parent / "label.nii.gz"
    for hypotheses, query, files in (
        (1, f"session_id={session}", None),
        (3, "", {"file": upload}),
    ):
        form = {"params": json.dumps({"hypotheses": hypotheses})}
        answer = ask(server, "POST", f"/infer/leaf_seg?output=image&{query}", data=form, files=files)
        assert answer.status_code == 200, answer.text
        assert submit(server, "picture", answer.content).status_code == 200
        assert is_prediction(server, "picture")
        label.write_bytes(answer.content)
    image: Any = nib.load(label)
    values = np.asarray(image.dataobj).copy()
    values[0, 0, 0] = 1
    nib.save(nib.Nifti1Image(values, image.affine), label)
    assert submit(server, "picture", label.read_bytes()).status_code == 200
    assert not is_prediction(server, "picture")


def test_a_damaged_list_of_answers_is_set_aside(server: Server) -> None:
    file = server.studies / "predictions.db"
    picture = (server.studies / "picture.png").read_bytes()
    label = ask(server, "POST", "/infer/leaf_seg?image=picture&output=image").content
    whole = file.read_bytes()
    for number, content in enumerate((b"no database" * 1000, whole[:5000], whole[:100] + bytes(len(whole) - 100))):
        file.write_bytes(content)
        assert submit(server, "picture", label).status_code == 200
        assert len(list(server.studies.glob("predictions_damaged_*.db"))) == number + 1
        assert not is_prediction(server, "picture")
    file.write_bytes(b"no database" * 1000)
    assert ask(server, "PUT", "/datastore/image?image=x", files={"file": ("x.png", picture)}).status_code == 200
    assert ask(server, "DELETE", "/datastore/image?id=x").status_code == 200
    assert ask(server, "POST", "/infer/leaf_seg?image=picture").status_code == 200
    assert submit(server, "picture", label).status_code == 200
    assert is_prediction(server, "picture")


def test_a_batch_that_is_not_to_be_saved(server: Server) -> None:
    status = wait_until_ended(lambda: ask(server, "GET", "/batch/infer").json())
    assert status["status"] == "DONE", "\n".join(status["details"])
    assert any("1 / 1" in line for line in status["details"])
    assert not (server.studies / "labels" / "batch").exists()


@pytest.mark.parametrize("path", ["scoring/epistemic_entropy", "scoring/", "batch/infer/leaf_seg", "train/leaf_seg"])
def test_nothing_blocks_the_server(server: Server, path: str) -> None:
    answer = ask(server, "POST", f"/{path}?run_sync=true", json={"device": "cpu"})
    assert answer.status_code == 400, answer.text
    assert "run_sync is not offered" in answer.json()["detail"]


def test_one_task_at_a_time_and_none_after_it_is_stopped(server: Server) -> None:
    """One label is submitted by now."""
    for first, more, status in (
        ("train/leaf_seg", ("train/leaf_seg", "train/leaf_seg?enqueue=true", "train/"), "train/"),
        ("scoring/", ("scoring/", "scoring/epistemic_entropy"), "scoring/"),
        ("batch/infer/leaf_seg", ("batch/infer/leaf_seg",), "batch/infer"),
    ):
        assert ask(server, "POST", f"/{first}", json={"device": "cpu"}).status_code == 200
        for path in more:
            answer = ask(server, "POST", f"/{path}", json={"device": "cpu"})
            assert answer.status_code == 429, (path, answer.text)
        assert ask(server, "DELETE", f"/{status}").status_code == 200
        tasks = ask(server, "GET", f"/{status}?all=true").json()
        assert not {task["status"] for task in tasks} & {"SUBMITTED", "RUNNING"}, tasks
