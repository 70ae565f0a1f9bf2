"""A conversion that is interrupted or killed leaves no half of a folder, nor its gigabytes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from diffusers import AutoencoderTiny

from leaf_seg.weights import convert as conversion
from tests.faults.limited import Outcome, run_limited
from tests.in_process import run_in_process

AUTOENCODER = AutoencoderTiny(
    encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
    num_decoder_blocks=(1, 1),
)  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Path:
    AUTOENCODER.save_pretrained(tmp_path / "source")
    return tmp_path / "source"


def convert(source: Path, target: Path, by: signal.Signals | None = None) -> Outcome:
    """Convert in a child process, which gets a signal once the weights lie in the folder that is being made."""

    def run() -> int:
        save = conversion._save

        def save_and_be_told(*arguments: object) -> None:
            save(*arguments)  # type: ignore[arg-type]
            if by is not None:
                os.kill(os.getpid(), by)

        conversion._save = save_and_be_told  # type: ignore[assignment]
        result = run_in_process("-m", "leaf_seg", "convert", source, "--to", target)
        os.write(2, result.stderr.encode())
        return result.returncode

    return run_limited(run)


@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_interrupted(by: signal.Signals, code: int, source: Path, tmp_path: Path) -> None:
    outcome = convert(source, tmp_path / "new" / "target", by)
    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    assert not list((tmp_path / "new").iterdir())


def test_killed(source: Path, tmp_path: Path) -> None:
    assert convert(source, tmp_path / "new" / "target", signal.SIGKILL).code == -signal.SIGKILL
    assert not (tmp_path / "new" / "target").exists()
    assert len(list((tmp_path / "new").iterdir())) == 1
    outcome = convert(source, tmp_path / "new" / "target")
    assert outcome.code == 0, outcome.err
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["target"]
    assert {path.name for path in (tmp_path / "new" / "target").iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
