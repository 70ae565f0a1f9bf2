"""Files as answers."""

from __future__ import annotations

import os
from typing import Any

from fastapi.responses import FileResponse
from starlette.background import BackgroundTask


def hold_open(answer: Any) -> None:
    """Let a file that is an answer be sent as it is now, though others replace or delete it before it is sent.

    Starlette opens it by its path later than it looks at its size: of a file that is deleted meanwhile it makes a
    status 500, and of one that is replaced as many bytes as the former one had.

    Args:
        answer: of one of MONAI Label's functions; what is no file is left as it is.
    """
    if not isinstance(answer, FileResponse):
        return
    stream = open(answer.path, "rb")  # noqa: SIM115 (closed when it is sent)
    answer.path = f"/dev/fd/{stream.fileno()}"
    answer.set_stat_headers(os.fstat(stream.fileno()))
    answer.stat_result = os.fstat(stream.fileno())
    answer.background = BackgroundTask(stream.close)
