"""Checks what clients send, before MONAI Label's functions take it.

Each route of MONAI Label hands its request to a function of its module. Those that take a name, a file or JSON are
wrapped here: what does not fit is answered with a message. What they do not check themselves would make paths of names,
read any file, or end in status 500. These routes are not wrapped: those of whole slides, which :mod:`lib.hosts` closes,
and ``/``, ``/docs``, ``/openapi.json``, ``/static``, ``/info``, ``GET /datastore``, and the status of tasks, which take
nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType
from typing import Any

from fastapi import HTTPException
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.endpoints import (
    activelearning,
    datastore,
    infer,
    logs,
    model,
    ohif,
    proxy,
    scoring,
    session,
    train,
)
from monailabel.interfaces.app import MONAILabelApp
from monailabel.utils.others.generic import remove_file
from starlette.background import BackgroundTask

from leaf_seg.image_io import read_grid
from leaf_seg.runtime.errors import InputError
from lib.background import refuse_second
from lib.downloads import hold_open
from lib.http_errors import bad_request
from lib.json_values import check_object, read_object
from lib.names import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    brief,
    check_client,
    check_image_id,
    check_session_id,
    check_tag,
    check_upload_name,
)
from lib.scoring import SCORED_BY, SCORED_FOR, SCORES
from lib.uploads import tidy_uploads

Arguments = dict[str, Any]

# Of an image. What is known of it is laid over the answer that names the next image to label, so that no key of that
# answer, or that 3D Slicer looks for in it, may be there.
_SERVER_KEPT = (
    *("ts", "name", "path", "strategy", SCORED_BY, SCORED_FOR),
    *("id", "weight", "checksum", "session", "session_id", "PatientID"),
)
_MAX_LINES = 100_000
_CHECKSUMS = ("SHA256", "SHA512", "MD5")


def guard_endpoints(app: MONAILabelApp, viewer: bool) -> None:
    """Wrap the functions of MONAI Label's endpoints.

    Args:
        app: of this server.
        viewer: whether the OHIF viewer and its proxy to the DICOMweb server may be asked.
    """
    before: list[tuple[ModuleType, str, Callable[[Arguments], None]]] = [
        (datastore, "add_image", _add_image),
        (datastore, "remove_image", _ids),
        (datastore, "save_label", _save_label),
        (datastore, "remove_label", _ids),
        (datastore, "download_image", _download_image),
        (datastore, "download_label", _ids),
        (datastore, "get_image_info", _ids),
        (datastore, "update_image_info", _update_image_info),
        (datastore, "get_label_info", _ids),
        (datastore, "update_label_info", _update_label_info),
        (infer, "run_inference", functools.partial(_infer, app)),
        (session, "get_session", _session_id),
        (session, "remove_session", _session_id),
        (session, "create_session", _create_session),
        (activelearning, "sample", _sample),
        (train, "run", functools.partial(_options_of_each, app._trainers)),
        (scoring, "run", functools.partial(_all_scoring, app._scoring_methods)),
        (logs, "get_logs", _logs),
    ]
    closed = _closed("Models are not handed out or replaced over HTTP; the server keeps them in its store.")
    before += [(model, name, closed) for name in ("model_info", "download_model", "update_model", "delete_model")]
    if viewer:
        before.append((proxy, "proxy_dicom", _proxy))
    else:
        closed = _closed("The viewer and its proxy are closed; --conf viewer true opens them for a DICOMweb server.")
        before += [(proxy, "proxy_dicom", closed), (ohif, "get_ohif", closed)]
    for module, name, check in before:
        setattr(module, name, _checked(getattr(module, name), check))
    _after(session, "create_session", functools.partial(_check_session_image, app))
    _after(datastore, "download_dataset", _remove_archive)
    for module, name in ((datastore, "download_image"), (datastore, "download_label"), (session, "get_session")):
        _after(module, name, hold_open)
    for module, name, field in (
        (datastore, "add_image", "file"),
        (datastore, "save_label", "label"),
        (infer, "run_inference", "file"),
        (session, "create_session", "files"),
    ):
        tidy_uploads(app, module, name, field)


def _checked(function: Callable[..., Any], check: Callable[[Arguments], None]) -> Callable[..., Any]:
    """The function with its arguments checked, and perhaps altered, before."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        with bad_request():
            check(bound.arguments)
        return function(*bound.args, **bound.kwargs)

    return checked


def _after(module: ModuleType, name: str, act: Callable[[Any], None]) -> None:
    """Let something be done with what a function returns, before it is sent."""
    function = getattr(module, name)

    @functools.wraps(function)
    def followed(*args: Any, **kwargs: Any) -> Any:
        answer = function(*args, **kwargs)
        with bad_request():
            act(answer)
        return answer

    setattr(module, name, followed)


def _closed(reason: str) -> Callable[[Arguments], None]:
    def refuse(arguments: Arguments) -> None:
        raise HTTPException(403, reason)

    return refuse


def _ids(arguments: Arguments) -> None:
    """Names of images (a label has its image's) and tags."""
    for key in ("image", "label", "id"):
        if key in arguments:
            check_image_id(arguments[key])
    if "tag" in arguments:
        check_tag(arguments["tag"])


def _add_image(arguments: Arguments) -> None:
    stem, suffix = check_upload_name(arguments["file"].filename, IMAGE_SUFFIXES)
    arguments["image"] = check_image_id(arguments["image"] or stem)
    arguments["file"].filename = f"image{suffix}"  # which names a temporary file
    _check_image_info(read_object(arguments["params"], "params"))


def _save_label(arguments: Arguments) -> None:
    check_image_id(arguments["image"])
    if arguments["tag"]:
        check_tag(arguments["tag"])
    _, suffix = check_upload_name(arguments["label"].filename, LABEL_SUFFIXES)
    arguments["label"].filename = f"label{suffix}"
    read_object(arguments["params"], "params")


def _download_image(arguments: Arguments) -> None:
    _ids(arguments)
    algorithm, colon, _ = (arguments.get("check_sum") or "").partition(":")
    if colon and algorithm not in _CHECKSUMS:
        raise InputError(f"check_sum is of {brief(algorithm)}; expected one of {', '.join(_CHECKSUMS)}.")


def _update_image_info(arguments: Arguments) -> None:
    _ids(arguments)
    _check_image_info(read_object(arguments["info"], "info"))


def _check_image_info(info: dict[str, Any]) -> None:
    for key in _SERVER_KEPT:
        if key in info:
            raise InputError(f"{key!r} is what the server keeps of an image; send other keys.")
    for key in SCORES:
        if key in info and (isinstance(info[key], bool) or not isinstance(info[key], (int, float))):
            raise InputError(f"{key} is {brief(info[key])}; expected a number.")


def _update_label_info(arguments: Arguments) -> None:
    _ids(arguments)
    read_object(arguments["info"], "info")


def _infer(app: MONAILabelApp, arguments: Arguments) -> None:
    """Where the image comes from: a session, an upload or the datastore, and nothing that the JSON says."""
    params = read_object(arguments["params"], "params")
    for key in ("model", "image", "session", "label"):
        if key in params:
            raise InputError(f"params holds {key!r}, which is no option; it belongs into the request's address.")
    if arguments["label"]:
        raise InputError("The models take no label to begin with; send the image alone.")
    if arguments["output"] == "dicom_seg" and not isinstance(app.datastore(), DICOMWebDatastore):
        raise InputError("output is dicom_seg, which needs a DICOMweb server; expected image, json or all.")
    if arguments["session_id"]:
        name = check_session_id(arguments["session_id"])
        sessions = app.sessions()
        if sessions is None or not sessions.get_session(name):
            raise HTTPException(404, f"There is no session {name}; it may have expired.")
    elif arguments["file"]:
        _, suffix = check_upload_name(arguments["file"].filename, IMAGE_SUFFIXES)
        arguments["file"].filename = f"image{suffix}"
    else:
        check_image_id(arguments["image"])


def _session_id(arguments: Arguments) -> None:
    check_session_id(arguments["session_id"])


def _create_session(arguments: Arguments) -> None:
    if arguments["uncompress"]:
        raise InputError("Archives are not unpacked; send the image itself.")
    if len(arguments["files"]) != 1:
        raise InputError(f"{len(arguments['files'])} files; expected one image.")
    (file,) = arguments["files"]
    _, suffix = check_upload_name(file.filename, IMAGE_SUFFIXES)
    file.filename = f"image{suffix}"


def _check_session_image(app: MONAILabelApp, answer: dict[str, Any]) -> None:
    try:
        read_grid(answer["session_info"]["image"])
    except InputError:
        app.sessions().remove_session(answer["session_id"])
        raise


def _remove_archive(answer: Any) -> None:
    answer.background = BackgroundTask(remove_file, answer.path)


def _sample(arguments: Arguments) -> None:
    params = check_object(arguments["params"] or {}, "The body")
    if "strategy" in params:
        raise InputError("The body holds 'strategy', which belongs into the request's address.")
    check_client(params)


def _options_of_each(tasks: Collection[str], arguments: Arguments) -> None:
    """Options of single tasks, where all are asked for at once."""
    for name, options in (arguments["params"] or {}).items():
        if name in tasks:
            check_object(options, name)


def _all_scoring(methods: Collection[str], arguments: Arguments) -> None:
    _options_of_each(methods, arguments)
    refuse_second("scoring")


def _logs(arguments: Arguments) -> None:
    for key, most in (("lines", _MAX_LINES), ("refresh", 86_400)):
        if arguments[key] is None or not 0 <= arguments[key] <= most:
            raise InputError(f"{key} is {arguments[key]}; expected 0 to {most}.")


def _proxy(arguments: Arguments) -> None:
    if ".." in Path(arguments["path"]).parts:
        raise InputError("The path holds '..'; expected one below the DICOMweb server's address.")
