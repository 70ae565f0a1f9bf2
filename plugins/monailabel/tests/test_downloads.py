from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from fastapi.responses import FileResponse

from lib.downloads import hold_open


def sent(answer: FileResponse, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is received")

    pairs = [(key.encode(), value.encode()) for key, value in headers.items()]
    scope = {"type": "http", "method": "GET", "headers": pairs, "asgi": {"spec_version": "2.4"}}
    asyncio.run(answer(scope, receive, send))
    told = {key.decode(): value.decode() for key, value in messages[0]["headers"]}
    return messages[0]["status"], told, b"".join(message.get("body", b"") for message in messages)


@pytest.mark.parametrize("new", [None, b"short", b"longer than the former one"])
def test_files_that_are_deleted_or_replaced_before_they_are_sent(tmp_path: Path, new: bytes | None) -> None:
    file, before = tmp_path / "label.nii.gz", len(os.listdir("/dev/fd"))
    for headers, status, body in (({}, 200, b"the former one"), ({"range": "bytes=4-9"}, 206, b"former")):
        file.write_bytes(b"the former one")
        answer = FileResponse(file, filename=file.name)
        hold_open(answer)
        if new is None:
            file.unlink()
        else:
            (tmp_path / "new").write_bytes(new)
            os.replace(tmp_path / "new", file)
        got, told, content = sent(answer, **headers)
        assert (got, content, told["content-length"]) == (status, body, str(len(body)))
        assert told["content-disposition"] == 'attachment; filename="label.nii.gz"'
    assert len(os.listdir("/dev/fd")) == before  # it is closed again


def test_other_answers_stay_as_they_are() -> None:
    answer = {"session_id": "x"}
    hold_open(answer)
    assert answer == {"session_id": "x"}
