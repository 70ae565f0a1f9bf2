"""What stands in a Markdown page: commands, code spans, links, headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

_FENCE = re.compile(r"\s*(```|~~~)(\w*)")
_INDENTED = re.compile(r"(?: {4}|\t)\s*\S")
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


@dataclass
class _Block:
    """Code set apart: its language, empty unless a fence names one, and its lines with their numbers."""

    language: str = ""
    lines: list[tuple[int, str]] = field(default_factory=list)

    def logical_lines(self) -> Iterator[tuple[int, str]]:
        """Lines with those joined that end in a backslash, each with the number of its first."""
        start, joined = 0, ""
        for number, line in self.lines:
            start = start if joined else number
            joined += line.strip()
            if joined.endswith("\\"):
                joined = joined[:-1]
            elif joined:
                yield start, joined
                joined = ""
        if joined:
            yield start, joined


class Page:
    """A Markdown page.

    Args:
        path: its file.
        text: its text; read from the file unless given.
    """

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self._blocks, self._prose = _split(path.read_text() if text is None else text)

    @cached_property
    def blocks(self) -> list[list[tuple[int, str]]]:
        """Code blocks of no language or the shell's; logical lines with their numbers."""
        return [list(block.logical_lines()) for block in self._blocks if block.language in ("", "bash", "sh", "shell")]

    @cached_property
    def python(self) -> list[str]:
        """Code blocks in Python."""
        return ["\n".join(line for _, line in block.lines) for block in self._blocks if block.language == "python"]

    @cached_property
    def spans(self) -> list[tuple[int, str]]:
        """Code within the text, which may go on on the next line, with the number of its first line."""
        found = _SPAN.finditer(self._prose)
        return [(self._prose.count("\n", 0, span.start()) + 1, " ".join(span[1].split())) for span in found]

    @cached_property
    def links(self) -> list[str]:
        """Targets of links and pictures."""
        return _LINK.findall(_SPAN.sub("", self._prose))

    @cached_property
    def anchors(self) -> set[str]:
        """What a link can name after "#", as code hosting services make it of the headings."""
        anchors: set[str] = set()
        for heading in _HEADING.findall(self._prose):
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            count = 0
            while (numbered := f"{name}-{count}" if count else name) in anchors:
                count += 1
            anchors.add(numbered)
        return anchors


def _split(text: str) -> tuple[list[_Block], str]:
    """Code blocks, and the text with an empty line for each of theirs."""
    blocks: list[_Block] = []
    prose = []
    fence: str | None = None
    block: _Block | None = None  # that the line before is in
    after_blank = True
    for number, line in enumerate(text.split("\n"), start=1):
        edge = _FENCE.match(line)
        is_code = True
        if fence is not None:
            if edge and edge[1] == fence:
                fence = block = None
            elif block is not None:
                block.lines.append((number, line))
        elif edge:
            fence, block = edge[1], _Block(edge[2])
            blocks.append(block)
        elif block is not None and (_INDENTED.match(line) or not line.strip()):
            block.lines.append((number, line))
        elif after_blank and _INDENTED.match(line):
            block = _Block(lines=[(number, line)])
            blocks.append(block)
        else:
            block, is_code = None, False
        prose.append("" if is_code else line)
        after_blank = not line.strip()
    return blocks, "\n".join(prose)
