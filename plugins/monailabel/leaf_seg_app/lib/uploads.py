"""What uploads that fail leave: no files, and messages that name what the client sent."""

from __future__ import annotations

import functools
import inspect
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from fastapi import HTTPException
from fastapi.background import BackgroundTasks
from monailabel.interfaces.app import MONAILabelApp
from monailabel.utils.others.generic import remove_file

from lib.names import brief


class _TemporaryNames:
    """Stands for ``tempfile`` in a module of MONAI Label, and remembers the names that it took for files to write.

    Attributes:
        given: the names.
    """

    def __init__(self) -> None:
        self.given: list[str] = []

    def NamedTemporaryFile(self, *args: Any, **kwargs: Any) -> Any:
        """As the module's."""
        file = tempfile.NamedTemporaryFile(*args, **kwargs)  # noqa: SIM115 (whose name is all that is taken)
        self.given.append(file.name)
        return file


_temporary = _TemporaryNames()


def tidy_uploads(app: MONAILabelApp, module: ModuleType, name: str, field: str) -> None:
    """Let a function that takes an upload remove its files where it fails, and not name them.

    MONAI Label leaves the removal to tasks after the answer, which FastAPI drops where the answer is an exception; and
    it sets them only when it has written the file, so that a full disk would keep what did not fit.

    Args:
        app: of this server.
        module: of the function.
        name: of the function, whose first argument is ``background_tasks``.
        field: name of the argument that holds the upload, or a list of one.
    """
    function = getattr(module, name)
    module.tempfile = _temporary  # type: ignore[attr-defined]
    signature = inspect.signature(function)

    @functools.wraps(function)
    def tidied(background_tasks: BackgroundTasks, *args: Any, **kwargs: Any) -> Any:
        sent = _sent_name(signature.bind(background_tasks, *args, **kwargs).arguments.get(field))
        _temporary.given.clear()  # requests are answered one after the other
        try:
            return function(background_tasks, *args, **kwargs)
        except Exception as error:
            files = [*_temporary.given]
            for file in files:
                remove_file(file)
            if isinstance(error, HTTPException) and isinstance(error.detail, str):
                error.detail = _as_sent(error.detail, files, sent, app)
            raise

    setattr(module, name, tidied)


def _sent_name(upload: Any) -> str:
    """What the client calls its file; it was sent before, to a session, where there is none now."""
    upload = upload[0] if isinstance(upload, list) and upload else upload
    name = getattr(upload, "filename", None)
    return brief(Path(name).name) if name else "the image"


def _as_sent(message: str, files: Sequence[str], sent: str, app: MONAILabelApp) -> str:
    """A message with the client's name in place of this machine's files."""
    for file in files:
        message = message.replace(file, sent)
    sessions = app.sessions()
    if sessions is None:
        return message
    return re.sub(rf"{re.escape(sessions.store_path)}/[^/\s]+/image[.a-z]+(?<!\.)", lambda _: sent, message)
