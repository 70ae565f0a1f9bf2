"""The report of a check as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from leaf_seg.dataset_check.case_facts import CaseFacts
from leaf_seg.dataset_check.figures import (
    cases_figure,
    classes_figure,
    intensities_figure,
    pairs_figure,
    sizes_figure,
    widths_figure,
)
from leaf_seg.dataset_check.finding import Finding
from leaf_seg.dataset_check.report import CheckReport, argument
from leaf_seg.image_io.listing import case_name
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.text import printable
from leaf_seg.visual.html import drawn, page, table

_MOST_FILES = 200  # of a finding
_MOST_SHOWN = 5  # cases, and pairs


def html_page(report: CheckReport) -> str:
    """The page: findings, suggested settings, figures. A figure that fails is left out, and logged."""
    title = f"Check of {printable(report.data_set)}"
    parts = [
        f'<p class="muted">{escape(_summary(report))}</p>',
        "<h2>Findings</h2>",
        *(_finding(finding) for finding in report.findings),
        *([] if report.findings else ["<p>None.</p>"]),
        *_suggestions(report),
        *_figures(report),
    ]
    return page(title, parts)


def _summary(report: CheckReport) -> str:
    counts = ", ".join(f"{count} {split}" for split, count in report.num_cases.items() if count)
    return f"{counts or 'No'} cases (split: {report.split_from}). {report.verdict()}. {report.seconds:.0f} seconds."


def _finding(finding: Finding) -> str:
    files = [escape(printable(file)) for file in finding.files[:_MOST_FILES]]
    more = "" if len(finding.files) <= _MOST_FILES else f"<br>and {len(finding.files) - _MOST_FILES} more"
    listed = (
        f"<details><summary>{len(finding.files)} files</summary>{'<br>'.join(files)}{more}</details>" if files else ""
    )
    remedy = f'<p class="muted">{escape(finding.remedy)}</p>' if finding.remedy else ""
    return (
        f'<div class="card {finding.severity}"><p><span class="tag">{finding.severity}</span>'
        f"<strong>{escape(finding.kind)}</strong></p><p>{escape(finding.what)}</p>{remedy}{listed}</div>"
    )


def _suggestions(report: CheckReport) -> Iterator[str]:
    if not report.suggestions:
        return
    yield "<h2>Suggested settings</h2>"
    yield '<p class="muted">Training with <code>--auto true</code> uses those that are not given.</p><table>'
    yield "<tr><th>key</th><th>value</th><th>reason</th></tr>"
    for suggestion in report.suggestions:
        key, value = escape(suggestion.key), escape(argument(suggestion.value))
        yield f"<tr><td><code>--{key}</code></td><td><code>{value}</code></td><td>{escape(suggestion.reason)}</td></tr>"
    yield "</table>"


def _classes(report: CheckReport) -> Iterator[str]:
    """The classes as a table."""
    shares, widths = report.statistics["share_of_class"], report.statistics["median_width"]
    components = report.statistics["components"]
    size = list(report.image_size or ())
    yield "<h2>Classes</h2>"
    rows = []
    for number, (name, share) in enumerate(zip(report.class_names, shares, strict=True)):
        width = f"{widths[name]:.1f}" if name in widths else ""
        parts = components.get(name, {})
        rows.append(
            (f"{number} {name}", f"{share:.3%}", width, parts.get("n", ""), parts.get("lost_at_image_size", ""))
        )
    sampled = f"median width at {size}", "connected parts, sampled", f"lost at {size}"
    yield table(("class", "share of all pixels", *sampled), rows)


def _figures(report: CheckReport) -> Iterator[str]:
    if not report.facts or report.image_size is None or report.load is None:
        return
    facts, names, size = report.facts, report.class_names, report.image_size
    axis = next((str(s.value) for s in report.suggestions if s.key == "axis"), "axial")
    yield "<h2>Cases</h2>"
    shown = _evenly(facts)
    titles = [f"{case_name(fact.case['image'])} ({fact.split})" for fact in shown]
    with decoration("The figure of cases"):
        figure = cases_figure([fact.case for fact in shown], titles, axis, len(names), report.load)
        yield drawn(figure, "Some cases with their structures; of volumes the slice with most of them.")
    if report.pairs:
        with decoration("The figure of look-alikes"):
            caption = "Images that look nearly alike, one above the other; below, the correlation of small copies."
            yield drawn(pairs_figure(report.pairs[:_MOST_SHOWN], axis, report.load), caption)
    yield from _classes(report)
    yield '<h2>Figures</h2><div class="figures">'
    with decoration("The figures of the data set"):
        yield drawn(classes_figure(facts, names), "Cases with each class.")
        yield drawn(sizes_figure(facts, axis, size), "Sizes of slices; a larger disc stands for more cases.")
        yield drawn(intensities_figure(facts), "Intensities, case by case.")
        yield drawn(widths_figure(facts, names, size), "Widths of structures as the network would see them.")
    yield "</div>"


def _evenly(facts: Sequence[CaseFacts]) -> list[CaseFacts]:
    """A few sound cases with structures, evenly spaced."""
    filled = [fact for fact in facts if not fact.is_empty] or list(facts)
    count = min(len(filled), _MOST_SHOWN)
    return [filled[index * len(filled) // count] for index in range(count)]


def write_page(report: CheckReport, file: Path) -> None:
    """Write the page to a path that is written to as a whole."""
    file.write_text(html_page(report), encoding="utf-8")
