"""What an attacker, a broken client or a typo sends."""

from __future__ import annotations

import gzip
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nibabel as nib
import numpy as np

NAMES = (
    *("../app/main", "/etc/passwd", "..", ".", "", " ", "a/b", "a\\b", "labels/final/x", ".hidden", "a\0b", "a\nb"),
    *("x" * 300, "\u00e9" * 150, "\u202egpj", "%2e%2e%2f%2e%2e", "~", "*", "{}", "'; --", "C:\\x"),
)
TEXTS = (
    *("{", "[]", "null", "NaN", '"x"', "5", '{"a": NaN}', '{"a": 1e400}', '{"a": "\\ud800"}', "[" * 100_000),
    *('{"a":' * 5000, '{"a": ' + "9" * 5000 + "}", '{"a": "' + "x" * 200_000 + '"}', '{"image": "/etc/passwd"}'),
    *('{"session": {"image": "/etc/passwd"}}', '{"model": ["leaf_seg"]}', '{"device": "cuda:99"}', '{"device": {}}'),
    *('{"client_id": {}}', '{"strategy": []}', '{"gpus": 5}', '{"hypothesis": 3}', '{"hypotheses": "many"}'),
    *('{"label_tag": "../x"}', '{"images": ["../x"]}', '{"epistemic_entropy": "high"}', '{"label_info": 5}'),
    *('{"label_info": [{"name": {}, "idx": "x"}]}', '{"path": "/etc/passwd"}', '{"max_epochs": -1}', "\ud7ff\x00"),
)
_NIFTI = nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.eye(4)).to_bytes()
FILES = (
    *(("evil.py", b"import os"), ("x.nii.gz", b"\x1f\x8b\x08broken"), ("x.nii.gz", gzip.compress(_NIFTI)[:-20])),
    *(
        ("../../x.nii", _NIFTI),
        ("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        ("x.png", b"GIF89a" + bytes(50)),
        ("x.jpg", b""),
    ),
    *(("x.png", _NIFTI), ("x" * 400 + ".nii.gz", b""), ("x.tif", b"II*\0" + bytes(8)), ("x.dcm", bytes(132))),
    ("x.nrrd", b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 4 5\nencoding: raw\ndata file: /etc/passwd\n\n"),
    ("x.nrrd", b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 60000 60000 60000\nencoding: raw\n\n"),
    ("x.nrrd", b"NRRD0004\ntype: block\nblock size: 1000000000\ndimension: 3\nsizes: a b c\n\n"),
    *(("x.jpg", b""), ("x.zip", b"PK\x03\x04")),
)


def requests_of(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Requests to each route of MONAI Label, as the requests library takes them; none would be carried out."""
    yield from _of_datastore(rng)
    yield from _of_models(rng)
    yield from _of_tasks(rng)
    yield from _of_sessions_and_pages(rng)


def _ask(method: str, path: str, params: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {"method": method, "url": path, "params": params, **more}


def _body(rng: random.Random) -> dict[str, Any]:
    content = rng.choice(["application/json", "application/json", "text/plain", ""])
    return {"data": rng.choice(TEXTS).encode(), "headers": {"Content-Type": content}}


def _upload(rng: random.Random, field: str, text: str = "{}") -> dict[str, Any]:
    return {"files": {field: rng.choice(FILES)}, "data": {"params": text}}


def _of_datastore(rng: random.Random) -> Iterator[dict[str, Any]]:
    kinds = ("image", "label", "image/info", "label/info", "")
    keys = ("image", "label", "id", "tag", "output")
    for method in ("GET", "HEAD", "DELETE"):
        for kind in kinds:
            yield _ask(method, f"/datastore/{kind}", {key: rng.choice(NAMES) for key in keys})
            yield _ask(method, f"/datastore/{kind}", {"image": "picture", "check_sum": "SHA0:x"})
    for kind, field in (("image", "file"), ("", "file"), ("label", "label")):
        path = f"/datastore/{kind}"
        yield _ask("PUT", path, {"image": rng.choice(NAMES)}, **_upload(rng, field, rng.choice(TEXTS)))
        yield _ask("PUT", path, {"image": "picture", "tag": rng.choice(NAMES)}, **_upload(rng, field))
        yield _ask("PUT", path, {"image": "picture"}, **_upload(rng, field, rng.choice(TEXTS)))
        yield _ask("PUT", path, {"image": "new"}, **_body(rng))
    for kind in ("image/info", "label/info", "updatelabelinfo"):
        form = {"info": rng.choice(TEXTS), "params": rng.choice(TEXTS)}
        for image in ("picture", rng.choice(NAMES)):
            query = {"image": image, "label": image, "tag": rng.choice(NAMES)}
            yield _ask("PUT", f"/datastore/{kind}", query, data=form)
    yield _ask("GET", "/datastore/dataset", {"limit_cases": rng.choice(["-1", "x", "9" * 30])})


def _of_models(rng: random.Random) -> Iterator[dict[str, Any]]:
    for model in ("leaf_seg", "leaf_seg_confidence", quote(rng.choice(NAMES), safe="")):
        path = f"/infer/{model}"
        for text in rng.sample(TEXTS, 6):
            yield _ask("POST", path, {"image": "picture"}, data={"params": text})
        yield _ask("POST", path, {"image": rng.choice(NAMES)})
        yield _ask("POST", path, {"session_id": rng.choice(NAMES)})
        yield _ask("POST", path, {"image": "picture", "output": "dicom_seg"})
        yield _ask("POST", path, **_upload(rng, "file", rng.choice(TEXTS)))
        yield _ask("POST", path, {"image": "picture"}, **_upload(rng, "label"))
        for route in ("wsi", "wsi_v2"):
            yield _ask("POST", f"/infer/{route}/{model}", {"image": rng.choice(NAMES)}, **_body(rng))
        for method in ("GET", "PUT", "DELETE"):
            yield _ask(method, f"/model/{model}", **_upload(rng, "file"))
        yield _ask("GET", f"/model/info/{model}")


def _of_tasks(rng: random.Random) -> Iterator[dict[str, Any]]:
    names = ("train/", "train/leaf_seg", "scoring/nobody", "activelearning/first", "activelearning/..%2f")
    for path in (
        *names,
        f"train/{quote(rng.choice(NAMES), safe='')}",
        f"batch/infer/{quote(rng.choice(NAMES), safe='')}",
    ):
        yield _ask("POST", f"/{path}", **_body(rng))
        yield _ask("POST", f"/{path}", {"run_sync": rng.choice(["true", "x"])}, **_body(rng))
    for body in (
        '{"images": ["../x"]}',
        '{"images": {}}',
        '{"label_tag": 5}',
        '{"max_workers": -1}',
        "[]",
        '{"gpus": {}}',
    ):
        json_body = {"data": body, "headers": {"Content-Type": "application/json"}}
        yield _ask("POST", "/batch/infer/leaf_seg", {"images": rng.choice(["all", "x"])}, **json_body)
    yield _ask("POST", "/train/", json={"leaf_seg": 5})
    yield _ask("POST", "/scoring/", json={"epistemic_entropy": [[1]]})
    for _ in range(20):  # more than there are images, within a second
        yield _ask("POST", "/activelearning/random", json={})
    for path in ("/train/", "/scoring/", "/batch/infer"):
        yield _ask("GET", path, {"all": rng.choice(NAMES), "check_if_running": rng.choice(["true", "x"])})
        yield _ask("DELETE", path)


def _of_sessions_and_pages(rng: random.Random) -> Iterator[dict[str, Any]]:
    for query in ({"uncompress": "true"}, {"expiry": "9" * 30}, {"expiry": "-1"}, {}):
        yield _ask("PUT", "/session/", query, **_upload(rng, "files"))
    for session in ("..", "%2e%2e", "..%2f..%2fetc", "x" * 300, "%00"):
        for method in ("GET", "DELETE"):
            yield _ask(method, f"/session/{session}", {"image": "true"})
    for lines in ("-1", "9" * 12, "9" * 30, "x", ""):
        yield _ask("GET", "/logs/", {"lines": lines, "refresh": rng.choice(["-5", "9" * 20])})
    yield _ask("GET", "/logs/gpu")
    for path in ("", "..", "..%2f..%2fetc%2fpasswd", "%00", "index.html"):
        for route in ("/ohif/", "/static/", "/proxy/dicom/", "/proxy/dicom/wado/", "/proxy/dicom/stow/"):
            yield _ask(rng.choice(["GET", "POST"]), route + path)
    for path in ("/", "/docs", "/openapi.json", "/favicon.ico", "/auth/", "/nowhere", "//", "/%00", "/info/"):
        yield _ask(rng.choice(["GET", "PUT", "OPTIONS", "PATCH"]), path, headers={"Origin": "null"})
        yield _ask("GET", path)
    yield _ask("POST", "/info/", data=bytes(2_000_000), headers={"Content-Type": "application/json"})


def fingerprint(*folders: Path) -> dict[Path, str]:
    """A hash of each file; logs and compiled code do not count."""
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {
        file: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if not {"logs", "__pycache__"} & set(file.parts) and file.name != "server.log"
    }
