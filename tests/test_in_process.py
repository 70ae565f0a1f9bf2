"""A command that is run in this process looks as in one of its own, and leaves nothing behind."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from monai.utils import get_seed

from tests.in_process import ROOT, run_in_process

CHANGES = """
import logging, os, random, signal, sys
import mlflow, numpy, torch
from monai.utils import set_determinism

os.chdir("/")
os.environ["LEAF_SEG_TEST"] = "left behind"
del os.environ["PATH"]
sys.argv.append("more")
sys.path.append("/nowhere")
sys.excepthook = lambda *_: None
signal.signal(signal.SIGTERM, lambda *_: None)
set_determinism(5, use_deterministic_algorithms=True)
torch.backends.cudnn.benchmark = True
torch.backends.cudnn.deterministic = False
torch.set_num_threads(torch.get_num_threads() + 1)
logging.basicConfig(filename=sys.argv[1], level=logging.DEBUG)
known = logging.getLogger("leaf_seg")
known.addHandler(logging.StreamHandler())
known.setLevel(logging.ERROR)
known.propagate, known.disabled = False, True
mlflow.set_tracking_uri(f"sqlite:///{sys.argv[2]}")
mlflow.start_run()
"""


def state() -> dict[str, Any]:
    """Everything that a command might leave behind."""
    loggers = [logging.getLogger(), logging.getLogger("leaf_seg")]
    return {
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "sys": (sys.argv[:], sys.path[:], sys.excepthook, sys.stdout, sys.stderr, sys.modules["__main__"]),
        "signal": signal.getsignal(signal.SIGTERM),
        "random": (random.getstate(), torch.get_rng_state().tolist(), get_seed()),
        "numpy": [np.asarray(part).tolist() for part in np.random.get_state()],
        "torch": (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "logging": [(log.level, log.propagate, log.disabled, log.handlers[:]) for log in loggers],
        "mlflow": (mlflow.get_tracking_uri(), mlflow.active_run()),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("end", "code"), [("", 0), ("sys.exit(3)", 3), ("raise ValueError", 1)])
def test_everything_is_restored(tmp_path: Path, caplog: pytest.LogCaptureFixture, end: str, code: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(CHANGES + end)
    before = state()
    result = run_in_process(script, tmp_path / "log", tmp_path / "mlruns.db")
    assert result.returncode == code
    assert state() == before
    logging.getLogger("leaf_seg").warning("after it")
    assert "after it" in caplog.text
    assert "after it" not in (tmp_path / "log").read_text()


ENDS = {
    "well": "print('done', *sys.argv[1:])",
    "code": "sys.exit(3)",
    "message": "sys.exit('a message')",
    "error": "raise ValueError('an error')",
    "hook": "sys.excepthook = lambda *found: print('seen:', found[1], file=sys.stderr)\nraise ValueError('an error')",
    "input error": "from leaf_seg.runtime.errors import *\nfrom leaf_seg.runtime.plain import *\n"
    "show_errors_plainly()\nraise InputError('bad input')",
    "usage": "import argparse\nargparse.ArgumentParser(prog='script').parse_args()",
    "logged": "import logging\nlogging.basicConfig(stream=sys.stdout)\nlogging.warning('logged')",
    "unset logging": "import logging\nlogging.info('not shown')\nlogging.warning('shown')",
    "place": "import os\nprint(os.getcwd(), sys.path[0], sys.argv, __name__)",
    "main module": "print(sys.modules['__main__'].__dict__ is globals())",
}


@pytest.mark.parametrize("way", ["script", "module"])
@pytest.mark.parametrize("end", ENDS)
def test_looks_as_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, way: str) -> None:
    (tmp_path / "some_package").mkdir()
    main = tmp_path / "some_package" / "__main__.py"
    main.write_text(f"import sys\n{ENDS[end]}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    words = [*([str(main)] if way == "script" else ["-m", "some_package"]), "word", "--key", "1"]
    expected = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    found = run_in_process(*words)
    assert (found.args, found.returncode, found.stdout) == (expected.args, expected.returncode, expected.stdout)
    assert found.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]
    assert ("Traceback" in found.stderr) == ("Traceback" in expected.stderr)


def test_a_command_that_sets_no_seed_differs_each_time(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import random, numpy, torch\nprint(random.random(), numpy.random.rand(), float(torch.rand(1)))")
    one, two = (run_in_process(script).stdout.split() for _ in range(2))
    assert all(a != b for a, b in zip(one, two, strict=True))


def test_the_tests_surroundings_do_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import logging, os, signal, sys\n"
        "print(os.getcwd(), sys.excepthook is sys.__excepthook__, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
        "print(logging.getLogger().level, logging.getLogger().handlers)"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", print)
    caplog.set_level(logging.DEBUG)
    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        result = run_in_process(script)
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert result.stdout == f"{ROOT} True True\n30 []\n"
