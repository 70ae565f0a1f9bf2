"""Pages of HTML that need nothing else: no other file, no script, figures within them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

from matplotlib.figure import Figure

_DPI = 110
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #202428; background: #f5f6f7; margin: 0; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
p { margin: .2rem 0; }
.card { background: #fff; border: 1px solid #dfe2e5; border-left: 5px solid #9aa1a8; border-radius: 4px;
  padding: .6rem .9rem; margin: .6rem 0; overflow-wrap: anywhere; }
.error { border-left-color: #c0392b; } .warning { border-left-color: #e0a100; } .note { border-left-color: #4a90c2; }
.tag { font-size: .75rem; font-weight: 700; text-transform: uppercase; letter-spacing: .04em; margin-right: .5rem; }
.error .tag { color: #a5281b; } .warning .tag { color: #8a6200; } .note .tag { color: #2b6a99; }
.muted, summary { color: #5b636b; } summary { cursor: pointer; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; background: #fff; border: 1px solid #dfe2e5; }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid #e8eaec; vertical-align: top; }
code { font: .9em ui-monospace, monospace; white-space: pre-wrap; }
figure { margin: .6rem 0; background: #fff; border: 1px solid #dfe2e5; border-radius: 4px; padding: .6rem; }
img { max-width: 100%; height: auto; display: block; }
figcaption { color: #5b636b; font-size: .9rem; }
.figures { display: flex; flex-wrap: wrap; gap: .8rem; align-items: flex-start; } .figures figure { margin: 0; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page.

    Args:
        title: text.
        parts: HTML that comes below it.
    """
    lines = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><main>",
        f"<h1>{escape(title)}</h1>",
        *parts,
        "</main></body></html>",
    ]
    return "\n".join(lines).encode("utf-8", "replace").decode() + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of texts; a wide one can be scrolled."""
    lines = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows]
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def picture(png: bytes, caption: str) -> str:
    """A PNG with its caption, a text, within the page."""
    text, address = escape(caption), "data:image/png;base64," + base64.b64encode(png).decode()
    return f'<figure><img src="{address}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def drawn(figure: Figure, caption: str) -> str:
    """A figure with its caption, a text, within the page."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI, facecolor="white")
    return picture(content.getvalue(), caption)
