"""The page of HTML on an evaluated split."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from leaf_seg.handlers.case_report import RELIABILITY_NAME, RISK_COVERAGE_NAME, interval_text
from leaf_seg.metrics import LESION_METRICS, METRICS, RATER_METRICS
from leaf_seg.runtime.text import printable
from leaf_seg.visual.html import page, picture, table

_MOST_SHOWN = 3  # cases of a kind
_MOST_LISTED = 50  # cases to look at


@dataclass(frozen=True)
class ShownCase:
    """A case that the page may show.

    Attributes:
        name: its image file, or how it is called.
        dice: mean over the structures.
        expected_dice: the same of what the model expects.
        is_marked: whether somebody should look at it, by the model's calibration.
        picture: PNG, which may be missing.
    """

    name: str
    dice: float
    expected_dice: float
    is_marked: bool
    picture: Path

    def renamed(self, name: str) -> ShownCase:
        """The same case under another name."""
        return replace(self, name=name)


def evaluation_page(summary: Mapping[str, Any], cases: Sequence[ShownCase], folder: Path, model: str) -> str:
    """The page.

    Args:
        summary: ``metrics_summary.json``.
        cases: all that were evaluated.
        folder: of the evaluation, where its figures lie.
        model: its name.
    """
    what = f"{summary['split'].capitalize()} split, n = {summary['n']} cases. Mean over cases; {summary['interval']}."
    parts = [
        f'<p class="muted">{escape(what)}</p>',
        "<h2>Metrics</h2>",
        _metrics(summary, METRICS, summary["n"]),
        *_counts(summary),
        *_sizes(summary),
        *_confidence(summary, cases, folder),
        *_calibration(summary, folder),
        *_further(summary),
        *_cases(cases),
    ]
    return page(f"Evaluation of {printable(model)}", parts)


def _metrics(part: Mapping[str, Any], metrics: Sequence[str], num_cases: int) -> str:
    """Means with intervals, of each class and the foreground; n where cases are left out."""
    groups = {**part["classes"], "mean foreground": part["mean_foreground"]}
    rows = [(name, *(interval_text(found[metric], num_cases) for metric in metrics)) for name, found in groups.items()]
    return table(("class", *metrics), rows)


def _counts(summary: Mapping[str, Any]) -> Iterator[str]:
    made_up, empty = summary["false_positives"], summary["predicted_empty"]
    text = (
        f"False positives in {made_up['n']} of {made_up['of']} pairs of case and class without the class; nothing "
        f"predicted in {empty['n']} of {empty['of']} cases with foreground."
    )
    yield f"<p>{escape(text)}</p>"
    for kind, found in summary.get("leakage", {}).items():
        if isinstance(found, Mapping) and found["n"]:
            text = (
                f"{found['n']} of {found['of']} cases are known from the training ({kind}): the metrics are too good."
            )
            yield f'<div class="card warning"><p>{escape(text)}</p></div>'


def _sizes(summary: Mapping[str, Any]) -> Iterator[str]:
    if "sizes" not in summary:
        return
    unit = summary["sizes"]["unit"]
    yield "<h2>Sizes</h2>"
    yield '<p class="muted">How often the true size is within its 90 % interval, with Wilson\'s 95 % interval.</p>'
    rows = [
        (name, _share(found["within"]), f"{found['mean_width']:.4g}", f"{found['mean_true_size']:.4g}")
        for name, found in summary["sizes"]["classes"].items()
    ]
    yield table(("structure", "within", f"mean width, {unit}", f"mean true size, {unit}"), rows)


def _share(found: Mapping[str, Any]) -> str:
    if found["share"] is None:
        return "none"
    return f"{found['number']} of {found['n']}: {found['share']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def _confidence(summary: Mapping[str, Any], cases: Sequence[ShownCase], folder: Path) -> Iterator[str]:
    yield "<h2>Which cases to look at</h2>"
    spearman, curve = summary["ranking"]["spearman"], summary["risk_coverage"]
    if spearman["rho"] is not None:
        found = interval_text({**spearman, "mean": spearman["rho"]}, spearman["n"])
        yield f"<p>Expected Dice against Dice, Spearman's rho: {escape(found)}, n = {spearman['n']}.</p>"
    area = interval_text(curve["aurc"], curve["aurc"]["n"])
    text = f"Area under risk (1 - Dice) and coverage: {area}; random order {curve['random']:.3f}, at best "
    yield f"<p>{escape(text)}{curve['best']:.3f}.</p>"
    look_at = summary.get("look_at")
    if look_at is not None:
        text = (
            f"To look at, with an expected Dice of {look_at['threshold']:.4f} or less: "
            f"{_share(look_at['flagged_of_all'])}. Cases with a Dice below {look_at['acceptable_dice']:g} among them: "
            f"{_share(look_at['caught_of_bad'])}."
        )
        marked = [case.name for case in _by_expected(cases) if case.is_marked]
        listed = ", ".join(map(printable, marked[:_MOST_LISTED])) + (" ..." if len(marked) > _MOST_LISTED else "")
        yield f'<div class="card note"><p>{escape(text)}</p><p class="muted">{escape(listed)}</p></div>'
    yield from _file(folder / RISK_COVERAGE_NAME, "Mean of 1 - Dice over the cases that are kept, most sure first.")


def _calibration(summary: Mapping[str, Any], folder: Path) -> Iterator[str]:
    calibration, n = summary["calibration"], summary["n"]
    yield "<h2>Calibration</h2>"
    metrics = ("ece", "ace", "brier")
    rows = [
        (name, *(interval_text(found[metric], n) for metric in metrics))
        for name, found in calibration["classes"].items()
    ]
    yield table(("class", *metrics), rows)
    text = f"NLL {interval_text(calibration['nll'], n)}, temperature {calibration['temperature']:g}."
    yield f"<p>{escape(text)}</p>"
    yield from _file(folder / RELIABILITY_NAME, "How often a confidence is right, and below where the voxels are.")


def _further(summary: Mapping[str, Any]) -> Iterator[str]:
    """Separate structures, and raters where there are several."""
    if "lesions" in summary:
        yield "<h2>Separate structures</h2>"
        yield _metrics(summary["lesions"], LESION_METRICS, summary["n"])
    if "raters" in summary:
        yield f"<h2>Against all raters</h2><p>n = {summary['raters']['n']}.</p>"
        yield _metrics(summary["raters"], RATER_METRICS, summary["raters"]["n"])


def _cases(cases: Sequence[ShownCase]) -> Iterator[str]:
    by_dice = sorted(cases, key=lambda case: (case.dice, case.name))
    marked = [case for case in _by_expected(cases) if case.is_marked]
    kinds = {
        "Worst cases": by_dice[:_MOST_SHOWN],
        "Cases to look at" if marked else "Cases that the model is least sure of": (marked or _by_expected(cases)),
        "Median case": by_dice[(len(by_dice) - 1) // 2 :][:1],
    }
    yield "<h2>Cases</h2>"
    yield '<p class="muted">In the map of the confidence: outlines of the prediction, dotted those of the truth.</p>'
    shown: set[str] = set()
    for title, of_kind in kinds.items():
        yield f"<h3>{title}</h3>"
        for case in of_kind[:_MOST_SHOWN]:
            mark = ", to be looked at" if case.is_marked else ""
            text = f"{printable(case.name)}: Dice {case.dice:.3f}, expected {case.expected_dice:.3f}{mark}"
            yield from [f"<p>{escape(text)} (above)</p>"] if case.name in shown else _file(case.picture, text)
            shown.add(case.name)


def _by_expected(cases: Sequence[ShownCase]) -> list[ShownCase]:
    """Least expected first; undefined is to be looked at, too."""
    return sorted(cases, key=lambda case: (not math.isnan(case.expected_dice), case.expected_dice, case.name))


def _file(file: Path, caption: str) -> Iterator[str]:
    """A figure from its file, or the caption alone where it could not be drawn."""
    yield picture(file.read_bytes(), caption) if file.is_file() else f"<p>{escape(caption)} (no picture)</p>"
