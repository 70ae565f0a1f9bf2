"""Pages of HTML that need nothing else."""

from __future__ import annotations

from matplotlib.figure import Figure

from leaf_seg.visual.html import drawn, page, picture, table


def test_text_is_no_markup() -> None:
    text = page("a <b>", [table(("x & y",), [("<script>",), (3,)]), picture(b"PNG", '"><img src="http://x">')])
    assert "<script>" not in text
    assert "http://x&quot;&gt;" in text
    assert text.count("<img ") == 1
    assert "<td>3</td>" in text


def test_figures_are_within_the_page() -> None:
    assert drawn(Figure(), "A figure.").startswith('<figure><img src="data:image/png;base64,iVBORw0KGgo')


def test_names_that_are_no_unicode() -> None:
    page("case_\udcff", []).encode()
