"""Cases that cannot be used, put together by what is wrong with them."""

from __future__ import annotations

import re
from collections import defaultdict

from leaf_seg.data.splits import Case
from leaf_seg.dataset_check.finding import Finding
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable


class Faults:
    """Collects what is wrong with cases."""

    def __init__(self) -> None:
        self._by_kind: dict[str, list[tuple[Case, str]]] = defaultdict(list)

    def add(self, case: Case, error: InputError) -> None:
        """Add a case and the error that it led to."""
        message = str(error)
        kind = message
        for file in case.values():
            kind = kind.replace(printable(file), "")
        self._by_kind[re.sub(r"[-\d.]+", "#", kind)].append((case, message))

    def findings(self) -> list[Finding]:
        """One for each kind of fault: messages that differ but in file names and numbers are of one kind."""
        found = []
        for cases in self._by_kind.values():
            first = cases[0][1]
            more = f" {len(cases) - 1} more cases are so." if len(cases) > 1 else ""
            files = tuple(case["image"] for case, _ in cases)
            found.append(Finding("error", "unfit case", f"{first}{more}", "", files))
        return found
