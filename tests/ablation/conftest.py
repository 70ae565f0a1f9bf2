"""An ablation whose commands only leave the files that the real ones leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from leaf_seg.ablation import Ablation, CommandFailed, ParentRun

CASES = 4
DICE = 0.8  # of the first case with training seed 0; each further case and seed has 0.01 more


class FakeCommands:
    """Stands for the processes; ``calls`` holds (command, folder, overrides)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Path, dict[str, str]]] = []
        self.failing: set[tuple[str, str]] = set()  # (command, row)
        self.sha256 = "abc"
        self.hypotheses = 0  # in evaluation; 0 where no case has raters

    def __call__(self, words: Sequence[str], log: Path) -> None:
        assert list(words[:3]) == ["-m", "monai.bundle", "run"]
        command, folder = words[3], log.parent
        given = dict(zip((word.removeprefix("--") for word in words[4::2]), words[5::2], strict=True))
        is_stage = "train_autoencoder" in given["config_file"]
        assert Path(given["output_dir"]) == (folder / "model" if is_stage else folder)
        self.calls.append((command, folder, given))
        if is_stage:
            (folder / "model").mkdir(exist_ok=True)
            (folder / "model" / "diffusion_pytorch_model.safetensors").touch()
        elif command == "training":
            (folder / "model.pt").touch()
            (folder / "losses.csv").write_text("step,epoch,seconds,loss\n11,2,70,0.5\n12,2,80,0.4\n")
            (folder / "metrics.csv").write_text("step,epoch,seconds,val_foreground_dice\n12,2,90,0.4\n")
        if (command, folder.parent.name) in self.failing:
            raise CommandFailed(f"The command failed, see {log}")
        if is_stage:
            return
        if command == "training":
            config = {"network": {"sampler": {"num_steps": 4}}, "training": {"datalist_sha256": self.sha256}}
            (folder / "config.json").write_text(json.dumps(config))
        else:
            self._evaluate(folder, int(given["num_noise_seeds"]), given["split"])

    def _evaluate(self, folder: Path, num_noise_seeds: int, split: str) -> None:
        report = folder / "evaluation" / split
        report.mkdir(parents=True, exist_ok=True)
        seed = int(folder.name.removeprefix("seed_"))
        lines = ["case,class,dice,iou,hd95,surface_dice"]
        for case in range(CASES):
            dice = DICE + 0.01 * (case + seed)
            lines += [f"{case},x,{dice - 0.1},{dice - 0.3},,1", f"{case},y,{dice + 0.1},{dice - 0.1},1,1"]
        (report / "metrics_cases.csv").write_text("\n".join(lines) + "\n")
        calibration = {"classes": {"x": {"ece": {"mean": 0.02}}, "y": {"ece": {"mean": None}}}}
        cost = {"seconds_per_case": 0.25, "parameters": 1_500_000}
        summary: dict[str, Any] = {"split": split, "n": CASES, "calibration": calibration, "cost": cost}
        if self.hypotheses:
            rated = ["case,class,hypotheses,ged,hm_iou"]
            rated += [f"{case},{name},{self.hypotheses},{0.1 * case},0.5" for case in range(CASES) for name in "xy"]
            (report / "metrics_raters.csv").write_text("\n".join(rated) + "\n")
            summary["raters"] = {}
        if num_noise_seeds > 1:
            summary["noise_stability"] = {"mean_foreground": {"dice": {"std": 0.002 * (1 + seed)}}}
        (report / "metrics_summary.json").write_text(json.dumps(summary))

    @property
    def done(self) -> list[tuple[str, str, str]]:
        """(command, row, seed folder) of every call."""
        return [(command, folder.parent.name, folder.name) for command, folder, _ in self.calls]


@pytest.fixture
def commands() -> FakeCommands:
    return FakeCommands()


@pytest.fixture
def parent() -> ParentRun:
    return ParentRun("parent_id", "sqlite:////store/mlruns.db", "ablation_x")


@pytest.fixture
def ablation(tmp_path: Path) -> Ablation:
    return Ablation(
        bundle=Path("bundles/leaf_seg"),
        dataset_dir="data/cells",
        num_classes=3,
        output_dir=tmp_path / "ablation",
        seeds=[0],
        noise_seeds=10,
    )
