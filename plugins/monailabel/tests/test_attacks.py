"""What must not get in or out over HTTP, on one server; the last test sends all there is of it."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pytest
import requests

from plugins.monailabel.tests.conftest import APP, FIRST, Server, url
from plugins.monailabel.tests.hostile import fingerprint, requests_of


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory, hippocampus: Path) -> Path:
    """A folder beside the studies with a volume that is nobody's business."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.copy(hippocampus / "images" / f"{FIRST}.nii.gz", folder / "secret.nii.gz")
    session = folder / "session"
    session.mkdir()
    image = str(folder / "secret.nii.gz")
    (session / "meta.info").write_text(json.dumps({"name": "x", "path": str(session), "image": image}))
    return folder


@pytest.fixture(scope="module")
def server(
    make_studies: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory, outside: Path
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("attacked")
    studies = make_studies(folder / "studies")
    (studies / "link.nii.gz").symlink_to(outside / "secret.nii.gz")
    server = Server(studies, folder / "server.log")
    yield server
    server.close()


def put_image(server: Server, image: str | None, name: str, content: bytes) -> requests.Response:
    params = {} if image is None else {"image": image}
    return requests.put(url(server, "/datastore/image"), params=params, files={"file": (name, content)}, timeout=60)


@pytest.mark.parametrize(
    "image", ["../app/main", "/absolute", "labels/final/x", "a\\b", ".hidden", "..", "a\nb", "a\0b", "x" * 201, " x"]
)
def test_names_of_images_are_plain(server: Server, outside: Path, image: str) -> None:
    image = image.replace("/absolute", str(outside / "absolute"))
    before = fingerprint(APP, server.studies.parent)
    picture = (server.studies / "picture.png").read_bytes()
    answer = put_image(server, image, "x.png", picture)
    assert answer.status_code == 400, answer.text
    assert "expected a file name without its suffix" in answer.json()["detail"]
    assert fingerprint(APP, server.studies.parent) == before


def test_the_app_cannot_be_overwritten(server: Server, hippocampus: Path) -> None:
    before = fingerprint(APP)
    main = f"../../{APP.name}/main"
    for name, content in (("main.py", b"raise SystemExit"), ("x.nii.gz", b"raise SystemExit")):
        assert put_image(server, main, name, content).status_code == 400
    label = (hippocampus / "labels" / f"{FIRST}.nii.gz").read_bytes()
    for query in ({"image": main}, {"image": FIRST, "tag": "../../.."}, {"image": FIRST, "tag": "x" * 65}):
        answer = requests.put(
            url(server, "/datastore/label"), params=query, files={"label": ("x.nii.gz", label)}, timeout=60
        )
        assert answer.status_code == 400, answer.text
    assert fingerprint(APP) == before


@pytest.mark.parametrize("image", ["Fall 7 (links)", "\u00fcbung_1.2-b", "\u60a3\u8005 \u4e00"])
def test_names_of_real_studies(server: Server, image: str) -> None:
    picture = (server.studies / "picture.png").read_bytes()
    assert put_image(server, image, "x.PNG", picture).json() == {"image": image}
    assert (server.studies / f"{image}.png").is_file()
    assert put_image(server, None, f"{image} 2.png", picture).json() == {"image": f"{image} 2"}
    found = requests.get(url(server, "/datastore/image"), params={"image": image}, timeout=60)
    assert found.content == picture
    for name in (image, f"{image} 2"):
        assert requests.delete(url(server, "/datastore/image"), params={"id": name}, timeout=60).status_code == 200
    assert not (server.studies / f"{image}.png").exists()


def test_formats_by_name_and_content(server: Server) -> None:
    picture = (server.studies / "picture.png").read_bytes()
    volume = (server.studies / "oblique.nii.gz").read_bytes()
    for name, content, message in (
        ("x.py", b"import os", "expected a name that ends in"),
        ("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n", "its content is none of"),
        ("x.png", volume, "is called .png and its content is NIfTI"),
        ("x.nii.gz", picture, "is called .nii.gz and its content is PNG"),
        ("x.nii.gz", volume[: len(volume) // 2], "cannot be read"),
        ("x.png", picture[: len(picture) // 2], "cannot be read"),
    ):
        answer = put_image(server, "x", name, content)
        assert answer.status_code == 400, answer.text
        assert message in answer.json()["detail"]
    assert not list(server.studies.glob("x.*"))


def test_an_upload_beside_an_image_of_the_same_name(server: Server) -> None:
    """The next start would be refused."""
    volume = (server.studies / "oblique.nii.gz").read_bytes()
    for image, name in (("picture", "x.nii.gz"), ("oblique", "x.nii")):
        answer = put_image(server, image, name, volume)
        assert answer.status_code == 400
        assert "There is an image" in answer.json()["detail"]
    assert {path.suffix for path in server.studies.glob("picture.*")} == {".png"}


def test_links_that_lead_out(server: Server, outside: Path) -> None:
    assert "link" not in requests.get(url(server, "/datastore/?output=all"), timeout=60).json()["objects"]
    assert requests.get(url(server, "/datastore/image?image=link"), timeout=60).status_code == 404
    secret = (outside / "secret.nii.gz").read_bytes()
    assert put_image(server, "link", "x.nii.gz", (server.studies / "oblique.nii.gz").read_bytes()).status_code == 200
    assert (outside / "secret.nii.gz").read_bytes() == secret
    assert not (server.studies / "link.nii.gz").is_symlink()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Host": "evil.example:8000"}, 400),
        ({"Host": "127.0.0.1.evil.example"}, 400),
        ({"Host": "127.0.0.1@evil.example"}, 400),
        ({"Host": ""}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 200),
        ({"Host": "localhost:1234"}, 200),
        ({"Host": "[::1]"}, 200),
        ({"Origin": "http://localhost:3000"}, 200),
    ],
)
def test_only_this_machine_is_answered(server: Server, headers: dict[str, str], status: int) -> None:
    answer = requests.get(url(server, "/info/"), headers=headers, timeout=60)
    assert answer.status_code == status, answer.text
    if "Origin" in headers:
        assert answer.headers.get("Access-Control-Allow-Origin") == (headers["Origin"] if status == 200 else None)
    preflight = {**headers, "Access-Control-Request-Method": "PUT"}
    assert (requests.options(url(server, "/datastore/image"), headers=preflight, timeout=60).status_code < 400) == (
        status == 200 and "Origin" in headers
    )


def test_no_file_of_this_machine_is_read(server: Server, outside: Path) -> None:
    secret = str(outside / "secret.nii.gz")
    with tempfile.NamedTemporaryFile(suffix=".nii.gz") as temporary:  # where uploads are, too
        shutil.copy(secret, temporary.name)
        attempts: list[dict[str, Any]] = [
            {"params": {"image": FIRST}, "data": {"params": json.dumps({"image": secret})}},
            {"params": {"image": FIRST}, "data": {"params": json.dumps({"image": temporary.name})}},
            {"params": {"image": FIRST}, "data": {"params": json.dumps({"session": {"image": secret}})}},
            {"params": {"image": secret}},
            {"params": {"image": temporary.name}},
            {"params": {"session_id": str(outside / "session")}},
            {"params": {"session_id": "../../../../../../" + str(outside / "session")}},
        ]
        for attempt in attempts:
            answer = requests.post(url(server, "/infer/leaf_seg"), timeout=60, **attempt)
            assert answer.status_code in (400, 404), answer.text
    body = {"images": [secret]}
    assert requests.post(url(server, "/batch/infer/leaf_seg"), json=body, timeout=60).status_code == 400
    header = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 4 5\nencoding: raw\ndata file: {secret}\n\n".encode()
    answer = requests.put(
        url(server, f"/datastore/label?image={FIRST}"), files={"label": ("x.nrrd", header)}, timeout=60
    )
    assert "its data are in another file" in answer.json()["detail"]


def test_sessions(server: Server, outside: Path) -> None:
    volume = (server.studies / "oblique.nii.gz").read_bytes()
    for params, name, content in (
        ({"uncompress": "true"}, "x.tar", b""),
        ({}, "x.tar", b""),
        ({}, "x.nii.gz", b"no volume"),
        ({}, "../../x.py", b""),
    ):
        answer = requests.put(url(server, "/session/"), params=params, files={"files": (name, content)}, timeout=60)
        assert answer.status_code == 400, answer.text
    session = requests.put(url(server, "/session/"), files={"files": ("../x.nii.gz", volume)}, timeout=60).json()
    identity = session["session_id"]
    answer = requests.post(url(server, f"/infer/leaf_seg?image=&session_id={identity}&output=json"), timeout=60)
    assert answer.json()["label_names"] == {"anterior": 1, "posterior": 2}
    for name in ("..", "%2e%2e", f"{outside}/session".replace("/", "%2f")):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("DELETE", f"/session/{name}")
        assert 400 <= connection.getresponse().status < 500
    assert (outside / "session" / "meta.info").is_file()
    assert requests.delete(url(server, f"/session/{identity}"), timeout=60).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/proxy/dicom/wado/x"),
        ("POST", "/proxy/dicom/http://127.0.0.1/"),
        ("GET", "/ohif/index.html"),
        ("GET", "/model/leaf_seg"),
        ("DELETE", "/model/leaf_seg"),
        ("GET", "/model/info/leaf_seg"),
        ("POST", "/infer/wsi/leaf_seg?image=picture"),
    ],
)
def test_closed_routes(server: Server, method: str, path: str) -> None:
    answer = requests.request(method, url(server, path), timeout=60)
    assert answer.status_code == 403
    assert answer.json()["detail"]


def test_headers_that_claim_gigabytes(server: Server) -> None:
    """A label is refused by its header, before there is memory for it."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((1500, 2000, 2000))
    header["magic"], header["vox_offset"] = b"n+1", 352
    zeros = gzip.compress(bytes(64 * 1024**2), 9)
    label = gzip.compress(header.binaryblock + bytes(4)) + zeros * 8  # of 94
    nrrd = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2000 2000 1500\nencoding: raw\n\n"
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    for name, content in (("x.nii.gz", label), ("x.nrrd", nrrd)):
        started = time.monotonic()
        answer = requests.put(
            url(server, f"/datastore/label?image={FIRST}"), files={"label": (name, content)}, timeout=60
        )
        assert answer.status_code == 400
        assert "2000" in answer.json()["detail"]
        assert "expected the same" in answer.json()["detail"]
        assert time.monotonic() - started < 5
    peak = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmHWM" in line)
    assert int(peak.split()[1]) * 1024 < before + 0.5e9


@pytest.mark.parametrize(
    ("method", "path", "arguments", "message"),
    [
        ("POST", "/infer/leaf_seg?image=picture", {"data": {"params": "{broken"}}, "params is no JSON"),
        ("POST", "/infer/leaf_seg?image=picture", {"data": {"params": "[1]"}}, "expected a JSON object"),
        ("POST", "/infer/leaf_seg?image=picture", {"data": {"params": '{"device": "cuda:99"}'}}, "cuda:99"),
        ("POST", "/infer/leaf_seg?image=picture", {"data": {"params": '{"hypothesis": 3}'}}, "Did you mean hypotheses"),
        ("POST", "/infer/leaf_seg?output=json", {}, "The name of the image is ''"),
        ("POST", "/scoring/epistemic_entropy", {"json": {"max_sample": 3}}, "Did you mean max_samples"),
        ("POST", "/scoring/epistemic_entropy", {"json": {"gpus": 5}}, "gpus is 5"),
        ("POST", "/train/leaf_seg", {"json": {"max_epoch": 3}}, "Did you mean max_epochs"),
        ("POST", "/train/leaf_seg", {"json": {"client_id": {}}}, "client_id is {}"),
        ("POST", "/batch/infer/leaf_seg", {"json": {"label_tag": "../x"}}, "The tag of the label is"),
        ("POST", "/batch/infer/leaf_seg", {"json": {"images": {}}}, "images is {}"),
        ("POST", "/batch/infer/leaf_seg", {"json": {"max_batch_size": "x"}}, "max_batch_size is 'x'"),
        ("POST", "/activelearning/first", {"json": {"client_id": "x" * 101}}, "client_id is"),
        ("PUT", "/datastore/image/info?image=picture", {"data": {"info": '{"epistemic_entropy": "x"}'}}, "a number"),
        ("PUT", "/datastore/image/info?image=picture", {"data": {"info": '{"a": NaN}'}}, "expected finite numbers"),
        ("PUT", "/datastore/image/info?image=picture", {"data": {"info": '{"a": "\\ud800"}'}}, "no Unicode"),
        ("PUT", "/datastore/image/info?image=picture", {"data": {"info": '{"strategy": 1}'}}, "the server keeps"),
        ("DELETE", "/datastore/image?id=nobody", {}, "no image 'nobody'"),
        ("DELETE", "/datastore/label?id=picture&tag=final", {}, "no label of picture with the tag 'final'"),
        ("GET", "/datastore/dataset", {}, "no image with a final label"),
        ("GET", "/logs/?lines=99999999999999999999", {}, "lines is 99999999999999999999"),
    ],
)
def test_what_does_not_fit_is_told(server: Server, method: str, path: str, arguments: Any, message: str) -> None:
    answer = requests.request(method, url(server, path), timeout=60, **arguments)
    assert 400 <= answer.status_code < 500, answer.text
    assert message in answer.json()["detail"]


def test_reload(server: Server) -> None:
    shutil.copy(server.studies / "picture.png", server.studies / "copied.png")
    assert requests.post(url(server, "/reload"), timeout=60).status_code == 200
    assert "copied" in requests.get(url(server, "/datastore/?output=all"), timeout=60).json()["objects"]
    assert requests.post(url(server, "/activelearning/first"), json={}, timeout=60).json()["id"] == "copied"
    assert requests.delete(url(server, "/datastore/image?id=copied"), timeout=60).status_code == 200
    assert server.log.read_text().count("Initializing App from") == 1


def test_everything_at_once(server: Server, outside: Path) -> None:
    """Each answer is a result or a message, and nothing else has changed."""
    rng = random.Random(0)
    before = fingerprint(APP, outside)
    count = 0
    for request in requests_of(rng):
        path = request.pop("url")
        answer = requests.request(url=url(server, path), timeout=30, **request)
        told = f"{request['method']} {path} {request}: {answer.status_code} {answer.text[:500]}"
        assert 200 <= answer.status_code < 500, told[:3000]
        if answer.status_code >= 400 and request["method"] != "HEAD":
            assert "json" in answer.headers["content-type"] or "text" in answer.headers["content-type"], told[:3000]
            assert answer.text, told[:3000]
        count += 1
    assert count >= 80
    assert fingerprint(APP, outside) == before
    info = requests.get(url(server, "/info/"), timeout=60).json()
    assert info["train_stats"] == {"leaf_seg": {}}
    assert {path.name for path in (server.studies / "labels").iterdir()} == {"final", "original"}
    answer = requests.post(url(server, "/infer/leaf_seg?image=picture&output=json"), timeout=60)
    assert answer.json()["version"] == "initial"
