"""One thing that was found in a data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from leaf_seg.runtime.text import printable

SEVERITIES = ("error", "warning", "note")  # worst first


@dataclass(frozen=True)
class Finding:
    """What was found, in which files, and what to do.

    Attributes:
        severity: one of :data:`SEVERITIES`; with an error a training fails, or its metrics cannot be trusted.
        kind: in two or three words.
        what: was found, a sentence.
        remedy: what to do, a sentence; may be empty for a note.
        files: that it is about, all of them; empty where it is about the data set as a whole.
    """

    severity: str
    kind: str
    what: str
    remedy: str = ""
    files: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; names that are no text are written as such."""
        return asdict(self) | {"files": [printable(file) for file in self.files]}


def worst_first(findings: list[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes; within these in their order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
