"""What a check of a data set has found, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import leaf_seg
from leaf_seg.dataset_check.case_facts import CaseFacts, Loader
from leaf_seg.dataset_check.finding import SEVERITIES, Finding, worst_first
from leaf_seg.dataset_check.leakage import Pair
from leaf_seg.dataset_check.suggestions import Suggestion
from leaf_seg.runtime.text import aligned, printable, shortened

_MOST_FILES = 3  # of a finding, in the terminal
_MOST_PAIRS = 200  # of look-alikes, in JSON


@dataclass(frozen=True)
class CheckReport:
    """What a check has found.

    Attributes:
        data_set: its path.
        split_from: where the split is from, in words.
        num_cases: by split.
        class_names: background first.
        findings: worst first.
        suggestions: settings of training, with their reasons.
        image_size: (H, W) at which structures were measured.
        statistics: plain values for JSON.
        facts: of the sound cases.
        pairs: of images that look alike, across splits, most alike first.
        seconds: that the check took.
        load: loads a case once more, for figures.
    """

    data_set: str
    split_from: str
    num_cases: Mapping[str, int]
    class_names: Sequence[str]
    findings: Sequence[Finding]
    suggestions: Sequence[Suggestion] = ()
    image_size: tuple[int, int] | None = None
    statistics: Mapping[str, Any] = field(default_factory=dict)
    facts: Sequence[CaseFacts] = ()
    pairs: Sequence[Pair] = ()
    seconds: float = 0.0
    load: Loader | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "findings", worst_first(list(self.findings)))

    def count(self, severity: str) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def has_errors(self) -> bool:
        """Whether there is an error among the findings."""
        return self.count("error") > 0

    def verdict(self) -> str:
        """Numbers of errors, warnings and notes, in words."""
        counts = ((self.count(severity), severity) for severity in SEVERITIES)
        return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "data_set": printable(self.data_set),
            "split_from": self.split_from,
            "num_cases": dict(self.num_cases),
            "class_names": list(self.class_names),
            "findings": [finding.to_dict() for finding in self.findings],
            "suggestions": [suggestion.to_dict() for suggestion in self.suggestions],
            "image_size": None if self.image_size is None else list(self.image_size),
            "statistics": dict(self.statistics),
            "near_duplicates": [
                {
                    "images": [printable(pair.first), printable(pair.second)],
                    "splits": list(pair.splits),
                    "similarity": round(pair.similarity, 4),
                }
                for pair in self.pairs[:_MOST_PAIRS]
            ],
            "seconds": round(self.seconds, 1),
            "version": leaf_seg.__version__,
        }

    def as_text(self) -> str:
        """A short text for the terminal, errors first."""
        counts = ", ".join(f"{count} {split}" for split, count in self.num_cases.items() if count)
        lines = [f"{printable(self.data_set)}: {counts or 'no'} cases (split: {self.split_from})"]
        for finding in self.findings:
            lines.append(f"{finding.severity.upper()}  {finding.kind}: {finding.what} {finding.remedy}".rstrip())
            if finding.files:
                names = [file.rpartition("/")[2] for file in finding.files]
                lines.append(f"    {shortened(names, _MOST_FILES)}")
        if self.suggestions:
            rows = [(f"  --{s.key}", argument(s.value), s.reason) for s in self.suggestions]
            lines += ["Suggested settings, which --auto true of training uses:", aligned(rows)]
        return "\n".join([*lines, f"{self.verdict()}; {self.seconds:.0f} seconds"])


def argument(value: Any) -> str:
    """A value as the command line of training takes it."""
    if value is None:
        return "'$None'"
    if isinstance(value, list):
        return f'"{value}"'.replace(" ", "")
    return f"{value:g}" if isinstance(value, float) else str(value)
