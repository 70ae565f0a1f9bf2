"""Checks a data set: one pass over its cases, one in memory at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from leaf_seg.data.groups import groups_by_regex
from leaf_seg.data.label_coding import INDEX, check_label_colors, names_in
from leaf_seg.data.layouts import Choices
from leaf_seg.data.slicing import slice_axis
from leaf_seg.data.splits import SPLITS, Case
from leaf_seg.dataset_check.case_facts import CaseFacts, Loader, case_loader, measure_case
from leaf_seg.dataset_check.cases import UNSPLIT, CheckedCases, cases_to_check
from leaf_seg.dataset_check.faults import Faults
from leaf_seg.dataset_check.finding import Finding
from leaf_seg.dataset_check.image_findings import image_findings, slice_shape
from leaf_seg.dataset_check.label_findings import class_shares, classes_per_split, label_findings, present_classes
from leaf_seg.dataset_check.leakage import in_splits, look_alikes, same_files, shared_groups
from leaf_seg.dataset_check.plan import Plan, plan_for, sample_of
from leaf_seg.dataset_check.report import CheckReport
from leaf_seg.dataset_check.structure_findings import component_counts, median_widths, structure_findings
from leaf_seg.dataset_check.suggestions import Suggestion, suggest
from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB
from leaf_seg.image_io.reading_options import DEFAULT_READING, ReadingOptions
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.paths import FILE, FOLDER, absolute, kind_of
from leaf_seg.runtime.text import printable


@dataclass(frozen=True)
class CheckOptions:
    """What to check, by the keys of ``train.json``.

    Attributes:
        dataset_dir: the data set.
        datalist_file: where a training has kept its split.
        choices: split, fold and modality to check, where the data set leaves a choice.
        group_regex: what names the patient or sequence in a file's name.
        group_file: CSV that says the same.
        num_classes: background included; None takes it from the data set or its labels.
        class_names: background first.
        label_encoding: what label files hold, as of :class:`~leaf_seg.data.ModelSettings`.
        label_colors: the colours of the classes there.
        reading: how files are read that can be read in several ways.
        image_size: (H, W) to train at; None takes what is suggested.
        axis: slicing direction of volumes; None takes what is suggested.
        window: intensities that are mapped to 0 and 1.
        spacing: that volumes are resampled to.
        memory_limit_gb: gigabytes that reading one file may take.
    """

    dataset_dir: str
    datalist_file: str | None = None
    choices: Choices = Choices()  # noqa: RUF009  # it cannot be changed
    group_regex: str | None = None
    group_file: str | None = None
    num_classes: int | None = None
    class_names: Sequence[str] | None = None
    label_encoding: str = INDEX
    label_colors: Any = None
    reading: ReadingOptions = DEFAULT_READING
    image_size: Sequence[int] | None = None
    axis: str | Sequence[str] | None = None
    window: Sequence[float] | None = None
    spacing: Sequence[float] | None = None
    memory_limit_gb: float = DEFAULT_MEMORY_LIMIT_GB


def check_data_set(options: CheckOptions) -> CheckReport:
    """Check a data set; what is wrong with it is in the report.

    Raises:
        InputError: When there is nothing at its path, or an option cannot be meant.
    """
    start = time.monotonic()
    if options.group_regex is not None:
        groups_by_regex([], options.group_regex)  # one that is none is no fault of the data set
    kind = kind_of(absolute(options.dataset_dir))
    if kind not in (FILE, FOLDER):
        raise InputError(f"{printable(options.dataset_dir)} {kind}; expected a data set's folder or datalist.")
    try:
        cases = cases_to_check(
            options.dataset_dir, options.datalist_file, options.choices, options.group_regex, options.group_file
        )
    except InputError as error:
        finding = Finding("error", "layout", str(error))
        return CheckReport(options.dataset_dir, "not read", {}, [], [finding], seconds=time.monotonic() - start)
    names = _given_names(options, cases)
    listed = list(in_splits(cases.splits))
    given = {key: getattr(options, key) for key in ("image_size", "axis") if getattr(options, key) is not None}
    plan = plan_for(cases.for_training, given, options.reading)
    load = _loader(names, options)
    facts, faults = _measured(listed, load, plan)
    split_names = [split for split, _ in listed]
    findings = faults.findings() + shared_groups([case for _, case in listed], split_names, cases.groups)
    findings += _about_split(cases)
    counts = {split: len(of_split) for split, of_split in cases.splits.items()}
    report = CheckReport(options.dataset_dir, cases.split_from, counts, names or [], findings, load=load)
    return _completed(report, facts, names, plan, options, start) if facts else report


def _given_names(options: CheckOptions, cases: CheckedCases) -> list[str] | None:
    """Class names, where somebody says how many classes there are."""
    if options.class_names is not None:
        return list(options.class_names)
    colours = check_label_colors(options.label_colors)
    if colours is not None and options.num_classes is None and cases.class_names is None:
        return names_in(options.label_colors) or _numbered(len(colours))
    if options.num_classes is not None and cases.class_names is None:
        return _numbered(options.num_classes)
    if options.num_classes not in (None, len(cases.class_names or ())):
        raise InputError(
            f"num_classes is {options.num_classes}, but the data set names {len(cases.class_names or ())} classes "
            f"({', '.join(cases.class_names or ())}): leave num_classes out, or correct the data set's labels."
        )
    return cases.class_names


def _numbered(count: int) -> list[str]:
    return ["background", *(f"class_{number}" for number in range(1, count))]


def _loader(names: list[str] | None, options: CheckOptions) -> Loader:
    return case_loader(
        None if names is None else len(names),
        names,
        options.memory_limit_gb,
        options.label_encoding,
        options.label_colors,
        options.reading,
    )


def _measured(listed: Sequence[tuple[str, Case]], load: Loader, plan: Plan) -> tuple[list[CaseFacts], Faults]:
    facts, faults = [], Faults()
    for split, case in tqdm(listed, desc="Checking cases", unit="case", leave=False):
        try:
            facts.append(measure_case(case, split, load, plan.image_size, plan.axis.value))
        except InputError as error:
            faults.add(case, error)
    return facts, faults


def _about_split(cases: CheckedCases) -> list[Finding]:
    found = []
    if UNSPLIT in cases.splits:
        what = "The data set has no split: training makes one at random, by case or by group."
        remedy = "Where a patient or sequence has several cases, say so with --group_regex, and none is in two splits."
        found.append(Finding("note", "no split", what, remedy))
    if not cases.groups:
        what = "Which cases are of one patient or sequence is not known."
        remedy = "Say it with --group_regex, such as '(patient[0-9]+)_', and splits are checked by it."
        found.append(Finding("note", "groups not known", what, remedy))
    missing = [split for split in SPLITS if UNSPLIT not in cases.splits and not cases.splits.get(split)]
    if missing:
        severity = "error" if {"training", "validation"} & set(missing) else "note"
        remedy = "Training needs training and validation cases, evaluation the split that it is asked for."
        found.append(Finding(severity, "empty split", f"There are no {' and no '.join(missing)} cases.", remedy))
    return found


def _completed(
    report: CheckReport,
    facts: list[CaseFacts],
    given: list[str] | None,
    plan: Plan,
    options: CheckOptions,
    start: float,
) -> CheckReport:
    """The report with what the cases' facts say."""
    names = given or _numbered(max(max(present_classes(facts)) + 1, 2))
    axis = slice_axis(plan.axis.value)
    alike, pairs = look_alikes(facts)
    digests, cases = [fact.digests[0] for fact in facts], [fact.case for fact in facts]
    training = [fact.case for fact in facts if fact.split in ("training", UNSPLIT)]
    sampled = set(map(id, sample_of(training)))
    findings = [
        *report.findings,
        *same_files(digests, cases, [fact.split for fact in facts]),
        *alike,
        *label_findings(facts, names, given is not None),
        *image_findings(facts, axis, options.window, options.spacing),
        *structure_findings(facts, names, plan.image_size),
    ]
    return CheckReport(
        report.data_set,
        report.split_from,
        report.num_cases,
        names,
        findings,
        suggestions_for([fact for fact in facts if id(fact.case) in sampled], plan, len(training)),
        plan.image_size,
        _statistics(facts, names, axis),
        facts,
        pairs,
        time.monotonic() - start,
        report.load,
    )


def suggestions_for(facts: Sequence[CaseFacts], plan: Plan, num_cases: int) -> list[Suggestion]:
    """Suggested settings.

    Args:
        facts: of training cases that :func:`sample_of` chooses.
        plan: by which they were measured.
        num_cases: for training.
    """
    return suggest(facts, num_cases, plan.axis, plan.image_size, plan.given) if facts else []


def _statistics(facts: Sequence[CaseFacts], names: Sequence[str], axis: int) -> dict[str, Any]:
    """Figures of the data set, plain values for JSON."""
    shapes = np.array([slice_shape(fact, axis) for fact in facts])
    components = component_counts(facts)
    return {
        "slice_shape": {
            "least": shapes.min(axis=0).tolist(),
            "median": np.median(shapes, axis=0).tolist(),
            "greatest": shapes.max(axis=0).tolist(),
        },
        "spacing_median": (
            np.median([f.spacing for f in facts if f.is_volume], axis=0).round(4).tolist()
            if any(fact.is_volume for fact in facts)
            else None
        ),
        "intensity": {
            "least": min(fact.limits[0] for fact in facts),
            "percentiles_median": np.median([fact.limits[1:3] for fact in facts], axis=0).tolist(),
            "greatest": max(fact.limits[3] for fact in facts),
        },
        "cases_with_class": classes_per_split(facts, len(names)),
        "share_of_class": class_shares(facts, len(names)),
        "empty_label_maps": sum(fact.is_empty for fact in facts),
        "median_width": {names[value]: width for value, width in median_widths(facts).items()},
        "components": {names[v]: {"n": n, "lost_at_image_size": lost} for v, (n, lost) in components.items()},
    }
