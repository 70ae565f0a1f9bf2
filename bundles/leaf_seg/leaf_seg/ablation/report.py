"""Table, figure and numbers of an ablation as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from leaf_seg.ablation.figure import save_figure
from leaf_seg.ablation.results import RowResult, RunResult, read_run, summarize_row
from leaf_seg.ablation.rows import Row, Table, common_settings, distinct_rows
from leaf_seg.ablation.runner import Ablation
from leaf_seg.ablation.table import markdown
from leaf_seg.runtime.decoration import decoration
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import replacing

Failed = Mapping[str, Sequence[int]]  # training seeds that failed, by name of the row
# From tables, results by row, what failed, facts, and the figure's file.
ToMarkdown = Callable[[Sequence[Table], Mapping[str, RowResult], Failed, Mapping[str, str], str], str]


def write_report(
    ablation: Ablation,
    tables: Sequence[Table],
    failed: Failed,
    name: str = "ablation",
    to_markdown: ToMarkdown = markdown,
) -> list[Path]:
    """Write ``<name>.md``, ``<name>.png`` and ``<name>_results.json`` into the ablation's folder.

    Raises:
        InputError: When rows were trained on different splits of the data set.
    """
    rows = distinct_rows(tables)
    runs = {row.name: _read(ablation, row, failed.get(row.name, ())) for row in rows}
    results = {name: summarize_row(found) for name, found in runs.items() if found}
    facts = _facts(ablation, rows, [run for found in runs.values() for run in found.values()])
    text, picture, numbers = (ablation.output_dir / f"{name}{end}" for end in (".md", ".png", "_results.json"))
    with replacing(text) as temporary:
        temporary.write_text(to_markdown(tables, results, failed, facts, picture.name))
    with decoration(f"The figure {picture.name}"):
        save_figure(tables, results, picture)
    with replacing(numbers) as temporary:
        temporary.write_text(_as_json(tables, rows, results, failed, facts))
    return [text, picture, numbers]


def _read(ablation: Ablation, row: Row, failed: Sequence[int]) -> dict[int, RunResult]:
    """What was found with each training seed that did not fail."""
    return {
        seed: read_run(
            ablation.folder(row, seed),
            ablation.split,
            [
                *(ablation.stage_folder(row, stage, seed) for stage in row.stages),
                *(ablation.folder(row, seed, member) for member in range(1, row.num_members)),
            ],
        )
        for seed in ablation.seeds
        if seed not in failed
    }


def _facts(ablation: Ablation, rows: Sequence[Row], runs: Sequence[RunResult]) -> dict[str, str]:
    """What holds for the whole ablation."""
    hashes = sorted({str(run.dataset_sha256) for run in runs})
    if len(hashes) > 1:
        raise InputError(
            f"The rows in {ablation.output_dir} were trained on different splits of {ablation.dataset_dir} "
            f"(SHA-256 {', '.join(hashes)}), so that they cannot be compared: choose another --output_dir."
        )
    return {
        "data set": ablation.dataset_dir,
        "SHA-256 of its split": ", ".join(hashes) or "unknown",
        "evaluated on": ", ".join(sorted({f"{run.split} split, n = {len(run.dice)} cases" for run in runs})) or "-",
        "set for all rows": ", ".join(f"{key} {value}" for key, value in common_settings(rows).items()) or "nothing",
        "training steps": _range(sorted({run.steps for run in runs})),
        "training seeds": ", ".join(map(str, ablation.seeds)),
        "noise seeds": str(ablation.noise_seeds),
    }


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "unknown"
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}, see the tables"


def _as_json(
    tables: Sequence[Table],
    rows: Sequence[Row],
    results: Mapping[str, RowResult],
    failed: Failed,
    facts: Mapping[str, str],
) -> str:
    """All numbers, with null for what is undefined."""
    content = {
        "facts": facts,
        "tables": [
            {"title": t.title, "entries": [{"values": entry.values, "row": entry.row.name} for entry in t.entries]}
            for t in tables
        ],
        "rows": {
            row.name: {
                "settings": row.settings,
                "overlays": row.overlays,
                "evaluation": row.evaluation,
                "stages": {stage.name: stage.settings for stage in row.stages},
                "failed_seeds": failed.get(row.name, []),
                "result": asdict(results[row.name]) if row.name in results else None,
            }
            for row in rows
        },
    }
    return json.dumps(json.loads(json.dumps(content), parse_constant=lambda _: None), indent=2) + "\n"
