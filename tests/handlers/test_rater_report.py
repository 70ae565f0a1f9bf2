"""The report on hypotheses and raters of an engine."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from leaf_seg.handlers import SUMMARY_NAME, RaterReport
from leaf_seg.metrics import ambiguity

NAMES = ["background", "cell", "core"]


def evaluate(cases: list[dict[str, Any]], folder: Path, times: int = 1) -> dict[str, Any]:
    """What the summary holds of cases, of which each has the keys of batch and output together."""

    def step(engine: Engine, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: case[key] for key in ("pred", "label", "hypotheses") if key in case} for case in batch]

    (folder / SUMMARY_NAME).write_text('{"n": 2}')
    engine = Engine(step)
    RaterReport(folder, NAMES).attach(engine)
    for _ in range(times):
        engine.run([[case] for case in cases])
    return json.loads((folder / SUMMARY_NAME).read_text())


def case_of(name: str, num_hypotheses: int, num_raters: int, shape: tuple[int, ...] = (6, 7)) -> dict[str, Any]:
    hypotheses = torch.randint(0, 3, (num_hypotheses, *shape), dtype=torch.uint8)
    case: dict[str, Any] = {
        "image": MetaTensor(torch.rand(1, *shape), meta={"filename_or_obj": f"/data/{name}.png"}),
        "label": MetaTensor(torch.zeros(1, *shape), affine=torch.diag(torch.tensor([2.0, 5.0, 10.0, 1.0]))),
        "pred": hypotheses[:1].float(),
        "raters": torch.randint(0, 3, (num_raters, *shape), dtype=torch.uint8),
    }
    return case | ({"hypotheses": hypotheses} if num_hypotheses > 1 else {})


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics_raters.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_case_and_the_summary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = [case_of("a", 4, 6), case_of("b", 4, 3)]
    without = {key: value for key, value in case_of("c", 4, 2).items() if key != "raters"}
    with caplog.at_level(logging.INFO, logger="leaf_seg"):
        summary = evaluate([*cases, without], tmp_path, times=2)  # the second run starts anew
    assert summary["n"] == 2  # what stood there stays
    found = summary["raters"]
    assert (found["n"], found["hypotheses"], found["raters"], found["matched"]) == (2, [4], [3, 6], [12])
    rows = read_rows(tmp_path)
    assert [(row["case"], row["class"], row["matched"]) for row in rows] == [
        ("a", "cell", "12"),
        ("a", "core", "12"),
        ("b", "cell", "12"),
        ("b", "core", "12"),
    ]
    expected = [[ambiguity(case["hypotheses"] == k, case["raters"] == k) for k in (1, 2)] for case in cases]
    assert float(rows[1]["ged"]) == pytest.approx(expected[0][1].ged, rel=1e-5)
    assert float(rows[2]["hm_iou"]) == pytest.approx(expected[1][0].hm_iou, rel=1e-5)
    core = found["classes"]["core"]["ci"]
    assert core["mean"] == pytest.approx((expected[0][1].ci + expected[1][1].ci) / 2)
    assert core["low"] <= core["mean"] <= core["high"]
    assert found["mean_foreground"]["ged"]["mean"] == pytest.approx(
        sum(one.ged for of_case in expected for one in of_case) / 4
    )
    assert "4 hypotheses, 3 or 6 raters, 12 of each matched" in caplog.messages[-1]


@pytest.mark.parametrize(("shape", "unit"), [((6, 7), 1.0), ((3, 4, 5), 2 * 5 * 10 / 1000)])
def test_sizes_are_in_pixels_or_ml(shape: tuple[int, ...], unit: float, tmp_path: Path) -> None:
    case = case_of("a", 3, 2, shape)
    evaluate([case], tmp_path)
    samples, truths = ([(maps == 1).sum().item() * unit for maps in case[key]] for key in ("hypotheses", "raters"))
    spread = np.abs(np.subtract.outer(samples, samples)).mean() / 2
    expected = np.mean([np.abs(np.array(samples) - truth).mean() - spread for truth in truths])
    assert float(read_rows(tmp_path)[0]["volume_crps"]) == pytest.approx(expected, rel=1e-5)


def test_a_single_answer_is_one_hypothesis(tmp_path: Path) -> None:
    case = case_of("a", 1, 5)
    summary = evaluate([case], tmp_path)
    expected = ambiguity(case["pred"] == 1, case["raters"] == 1)
    assert summary["raters"]["hypotheses"] == [1]
    assert summary["raters"]["classes"]["cell"]["ged"]["mean"] == pytest.approx(expected.ged)


def test_without_raters_there_is_no_report(tmp_path: Path) -> None:
    case = case_of("a", 3, 2)
    del case["raters"]
    assert "raters" not in evaluate([case], tmp_path)
    assert not (tmp_path / "metrics_raters.csv").exists()
