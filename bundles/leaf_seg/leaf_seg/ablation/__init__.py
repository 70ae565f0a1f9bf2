"""Ablations: rows of settings, trained and evaluated by command, as a table and a figure."""

from leaf_seg.ablation.figure import save_figure
from leaf_seg.ablation.grid import PAPER_TABLES, plan_tables
from leaf_seg.ablation.method_rows import plan_methods
from leaf_seg.ablation.methods import METHOD_TABLES
from leaf_seg.ablation.methods_table import methods_markdown
from leaf_seg.ablation.published import PUBLISHED
from leaf_seg.ablation.report import write_report
from leaf_seg.ablation.results import RowResult, RunResult, read_run, summarize_row
from leaf_seg.ablation.rows import Entry, Row, Stage, Table, distinct_rows
from leaf_seg.ablation.runner import Ablation, CommandFailed, check_folders, run_all
from leaf_seg.ablation.table import markdown
from leaf_seg.ablation.tracking import ParentRun, parent_run

__all__ = [
    "METHOD_TABLES",
    "PAPER_TABLES",
    "PUBLISHED",
    "Ablation",
    "CommandFailed",
    "Entry",
    "ParentRun",
    "Row",
    "RowResult",
    "RunResult",
    "Stage",
    "Table",
    "check_folders",
    "distinct_rows",
    "markdown",
    "methods_markdown",
    "parent_run",
    "plan_methods",
    "plan_tables",
    "read_run",
    "run_all",
    "save_figure",
    "summarize_row",
    "write_report",
]
