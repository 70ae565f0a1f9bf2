"""Who may talk to the server: programs and pages of this machine, and the hosts that the option names."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leaf_seg.runtime.errors import InputError, causes
from leaf_seg.runtime.files import no_space_error
from lib.names import brief

logger = logging.getLogger(__name__)

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HOST = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]"
_ALLOWED = re.compile(rf"\*|(\*\.)?({_HOST})")
_HEADER = re.compile(rf"({_HOST})(:[0-9]{{1,5}})?")
_ORIGIN = re.compile(rf"https?://({_HOST})(:[0-9]{{1,5}})?")
_WHOLE_SLIDES = re.compile(r"/infer/wsi(_v2)?/")
_MAX_BODY = 1024**2  # bytes of what is no upload


def parse_hosts(text: str) -> list[str]:
    """The hosts that requests may be for: those of this machine, and more.

    Args:
        text: names and addresses, comma-separated; ``*.example.org`` for all of a domain, ``*`` for all there are.

    Raises:
        InputError: For what is none.
    """
    hosts = [host.strip().lower() for host in text.split(",") if host.strip()]
    for host in hosts:
        if not _ALLOWED.fullmatch(host):
            raise InputError(
                f"--conf allowed_hosts has {host!r}; expected names or addresses without port, comma-separated, such "
                "as workstation.example.org,192.168.1.5,[fd00::5], or * for all."
            )
    return [*LOOPBACK, *hosts]


def protect(server: FastAPI, hosts: Sequence[str]) -> None:
    """Put checks in front of a server's routes, and answers with a message in place of bare errors.

    A page of anyone, opened in a browser on this machine, can send requests to 127.0.0.1. If it does so under a name of
    its own that leads here (DNS rebinding), the header Host tells; otherwise the header Origin does, which other
    programs do not send.

    Args:
        server: which is starting, and has answered nothing yet.
        hosts: that requests may be for and pages from, as :func:`parse_hosts` gives them.
    """
    server.user_middleware.insert(0, Middleware(RequestGuard, hosts=hosts))
    server.add_exception_handler(HTTPException, _answer_http_error)
    server.add_exception_handler(InputError, _answer_input_error)
    server.add_exception_handler(RequestValidationError, _answer_invalid)
    server.add_exception_handler(FileNotFoundError, _answer_no_file)
    server.add_exception_handler(OSError, _answer_failed_write)
    server.middleware_stack = server.build_middleware_stack()


class RequestGuard:
    """Refuses requests for other hosts and from their pages, odd paths and closed ones, and long bodies.

    Args:
        app: what comes next.
        hosts: whose pages may send requests.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # nothing here speaks another protocol; the server then closes the connection
        headers = Headers(scope=scope)
        host, origins = headers.get("host", ""), headers.getlist("origin")
        if not self._is_allowed(_HEADER, host):
            text = f"Requests for the host {brief(host)} are not answered; --conf allowed_hosts names more."
            await _message(400, text)(scope, receive, send)
        elif not all(self._is_allowed(_ORIGIN, origin) for origin in origins):
            text = f"Requests from pages of {brief(origins[0])} are not answered; --conf allowed_hosts names more."
            await _message(403, text)(scope, receive, send)
        elif "*" not in self.hosts and not origins and _is_part_of_a_page(headers):
            await _message(403, "Pages of other sites may not show what is here.")(scope, receive, send)
        elif not scope["path"].isprintable():
            await _message(400, "The path holds control characters.")(scope, receive, send)
        elif _WHOLE_SLIDES.match(scope["path"]):  # whose bodies would be parsed before the route's function is asked
            await _message(403, "Whole slides are not offered; use POST /infer/MODEL.")(scope, receive, send)
        elif _is_upload(scope["method"], scope["path"], headers):
            await self.app(scope, receive, send)  # read piece by piece, to the disk
        else:
            await self._short(scope, receive, send)

    async def _short(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, unless it is too long, and go on."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > _MAX_BODY:
                await _message(413, f"The body has more than {_MAX_BODY} bytes.")(scope, receive, send)
                return
            if not message.get("more_body"):
                break
        pending = [{"type": "http.request", "body": body}] if message["type"] == "http.request" else [message]

        async def read() -> Message:
            return pending.pop() if pending else await receive()

        await self.app(scope, read, send)

    def _is_allowed(self, pattern: re.Pattern[str], header: str) -> bool:
        if "*" in self.hosts:
            return True
        match = pattern.fullmatch(header.lower())
        host = match[1] if match else ""
        return any(host == known or (known.startswith("*") and host.endswith(known[1:])) for known in self.hosts)


def _is_part_of_a_page(headers: Headers) -> bool:
    """Whether a page of another site asks, for a picture or a frame of its own, for which browsers send no Origin."""
    return headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-dest") != "document"


def _is_upload(method: str, path: str, headers: Headers) -> bool:
    """Whether the body may be long: other routes would read it to memory, whatever it says that it is."""
    is_form = headers.get("content-type", "").lower().startswith("multipart/form-data")
    return is_form and method in ("PUT", "POST") and re.match(r"/(datastore|session|infer/)", path) is not None


def _message(status: int, detail: Any) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """FastAPI's own, but for a full disk, of which it says that the body has an error."""
    assert isinstance(error, HTTPException)
    return _answer_full_disk(request, error) or await http_exception_handler(request, error)


async def _answer_input_error(request: Request, error: Exception) -> JSONResponse:
    full = _answer_full_disk(request, error)
    if full is not None:
        return full
    return _message(400, str(error).encode(errors="replace").decode())


def _answer_full_disk(request: Request, error: Exception) -> JSONResponse | None:
    """The answer where there was no space, however far from it that was told; None for other errors."""
    if no_space_error(error) is None:
        return None
    logger.error("%s %s", request.url.path, error, exc_info=error)
    reason = next(cause.strerror for cause in causes(error) if isinstance(cause, OSError))
    return _message(507, f"The server could not write a file ({reason}). Free space on its disk, and send it again.")


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own repeats the input, which JSON may not be able to say."""
    assert isinstance(error, RequestValidationError)
    return _message(422, [{key: entry[key] for key in ("loc", "msg", "type")} for entry in error.errors()])


async def _answer_no_file(request: Request, error: Exception) -> JSONResponse:
    """Such as nvidia-smi on a machine without a GPU."""
    assert isinstance(error, FileNotFoundError)
    return _message(404, f"There is no {brief(error.filename)}.")


async def _answer_failed_write(request: Request, error: Exception) -> JSONResponse:
    """Such as a full disk: the server's own trouble, told as what it is."""
    logger.error("%s %s", request.url.path, error, exc_info=error)
    return _message(507, f"The server could not read or write a file ({getattr(error, 'strerror', None) or error}).")
