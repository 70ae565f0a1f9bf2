"""Commands run in this process as in one of their own, which would first import PyTorch and MONAI for seconds."""

from __future__ import annotations

import io
import logging
import os
import random
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import mlflow
import numpy as np
import torch
from mlflow.tracking._tracking_service import utils as mlflow_store
from monai.utils import misc, set_determinism
from tqdm import tqdm

from leaf_seg.runtime import claim

ROOT = Path(__file__).resolve().parents[1]


def run_in_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Do what ``python ARGUMENTS`` does when it is started in the repository root.

    The command finds what it would find in a new process: its command line as ``sys.argv``, Python's hook for errors,
    SIGTERM as the system handles it, no logging set up, and random generators that nobody has seeded. Afterwards all of
    these are as they were, as are the working folder, the environment, PyTorch's switches and MLflow's store, whatever
    the command has done.

    Args:
        arguments: ``"-m"``, a module and its arguments, or a script and its arguments.

    Returns:
        As of ``subprocess.run``; what other processes and C libraries write is not in it, nor are warnings.
    """
    words = [str(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with everything_restored(), redirect_stdout(out), redirect_stderr(err):
        _start_afresh()
        code = _exit_code(words)
    return subprocess.CompletedProcess([sys.executable, *words], code, out.getvalue(), err.getvalue())


def _start_afresh() -> None:
    os.chdir(ROOT)
    sys.excepthook = sys.__excepthook__
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    root = logging.getLogger()
    root.handlers = []
    root.setLevel(logging.WARNING)
    mlflow_store._artifact_repos_cache.clear()  # where the files of each run are
    tqdm._instances.clear()  # the bars of a command that failed, below which those of this one would stand
    set_determinism(None)  # which seeds from the system


def _exit_code(words: list[str]) -> int:
    """Run the command; Ctrl-C is for the tests, not for it."""
    try:
        if words[0] == "-m":
            sys.argv, sys.path = words[1:], [str(ROOT), *sys.path]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path = words, [str(Path(words[0]).resolve().parent), *sys.path]
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


@contextmanager
def everything_restored() -> Iterator[None]:
    """Put back afterwards what a command changes in its process."""
    cudnn = torch.backends.cudnn
    with ExitStack() as stack:
        restore = stack.callback  # in the reverse order
        restore(os.chdir, os.getcwd())
        restore(_restore_environment, dict(os.environ))
        for name in ("argv", "path", "excepthook"):
            restore(setattr, sys, name, getattr(sys, name))
        restore(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        restore(random.setstate, random.getstate())
        restore(np.random.set_state, np.random.get_state())
        restore(torch.set_rng_state, torch.get_rng_state())
        restore(setattr, misc, "_seed", misc.get_seed())
        restore(torch.set_num_threads, torch.get_num_threads())
        restore(torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled())
        for name in ("deterministic", "benchmark"):
            restore(setattr, cudnn, name, getattr(cudnn, name))
        restore(_restore_logging, {logger: _logging_of(logger) for logger in _loggers()})
        restore(mlflow.set_tracking_uri, mlflow_store._tracking_uri)  # type: ignore[arg-type]  # None: not set
        restore(_end_mlflow_runs)
        restore(claim.release_all)
        yield


def _restore_environment(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


def _loggers() -> list[logging.Logger]:
    named = logging.Logger.manager.loggerDict.values()
    return [logging.getLogger(), *(logger for logger in named if isinstance(logger, logging.Logger))]


def _logging_of(logger: logging.Logger) -> tuple[int, bool, bool, list[logging.Handler]]:
    return logger.level, logger.propagate, logger.disabled, logger.handlers[:]


def _restore_logging(before: dict[logging.Logger, tuple[int, bool, bool, list[logging.Handler]]]) -> None:
    for logger, (level, propagate, disabled, handlers) in before.items():
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        if logger.level != level:
            logger.setLevel(level)  # which empties a cache of every logger
        logger.propagate, logger.disabled, logger.handlers = propagate, disabled, handlers


def _end_mlflow_runs() -> None:
    while mlflow.active_run():
        mlflow.end_run()
