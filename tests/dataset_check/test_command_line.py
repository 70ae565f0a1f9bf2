from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from leaf_seg.__main__ import main
from leaf_seg.image_io.tiff_stack import TiffStack
from tests.dataset_check.conftest import Write, disc, picture


class Page(HTMLParser):
    """Collects tags, addresses and text; every tag that is opened has to be closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_text_json_and_page(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]
    assert main(["check", str(sound), "--num_classes", "2", "--image_size", "32", "32", *files]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{sound}: 2 training, 2 validation, 2 testing cases")
    assert '--image_size     "[32,32]"' in text
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["image_size"] == [32, 32]
    page = Page((tmp_path / "r.html").read_text())
    assert page.open == []
    assert page.tags.count("img") == 5
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)


@pytest.mark.slow
def test_volumes_that_are_read_by_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Channels and labels with a channel for each class, in stacks of TIFF."""
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    label = np.zeros((16, 16, 8, 2), np.uint8)
    label[4:8, 4:8, 2:6, 0], label[8:12, 8:12, 2:6, 1] = 1, 1
    rng = np.random.default_rng(0)
    for number in range(6):
        image = rng.integers(0, 50, (16, 16, 8, 4)) + 100 * label[..., [0, 1, 0, 1]]
        for kind, values in (("images", image), ("labels", label)):
            TiffStack().create(values.astype(np.uint8), tmp_path / kind / f"{number}.tif", np.diag([-1, -1, 2.0, 1]))
    given = ["--num_classes", "3", "--label_encoding", "one_hot", "--tiff_stack", "true"]
    assert main(["check", str(tmp_path), *given]) == 1
    assert "a volume with 4 channels (or time points)" in " ".join(capsys.readouterr().out.split())
    page = tmp_path / "page.html"
    assert main(["check", str(tmp_path), *given, "--channels", "0", "3", "1", "--html", str(page)]) == 0
    assert re.search(r"--num_slices +1\b.*three channels", capsys.readouterr().out)
    assert Page(page.read_text()).tags.count("img") == 5


def test_errors_come_first_and_end_with_1(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "<script>alert(1)</script> & $x$".replace("/", "")
    cases = {f"{name}{number}": (picture(0), disc()) for number in range(3)}
    split = {key: [f"{name}{n}"] for n, key in enumerate(("training", "validation", "testing"))}
    page = tmp_path / "page.html"
    assert main(["check", str(write(cases, split)), "--html", str(page)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert next(line.split()[0] for line in lines if re.match("[A-Z]{4}", line)) == "ERROR"
    assert "script" not in Page(page.read_text()).tags
    assert name in "".join(Page(page.read_text()).words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num_classes", "1"], "--num_classes is 1; expected a whole number, 2 to 256"),
        (["--image_size", "32"], "--image_size is [32]; expected 2 whole numbers"),
        (["--image_size", "a", "b"], "--image_size is a b; expected height and width"),
        (["--image_size", "[0,32]"], "--image_size is [0, 32]; expected 2 whole numbers"),
        (["--html", "nowhere/page.html"], "--html is nowhere/page.html, and there is no folder nowhere"),
        (["--split_file", "nowhere.json"], None),
        (["--group_regex", "("], "group_regex is '(', which is no regular expression"),
    ],
)
def test_what_cannot_be_meant(
    sound: Path, words: list[str], message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(sound), *words]) == (1 if message is None else 2)
    said = capsys.readouterr()
    if message is None:  # a finding about the data set's layout
        assert "nowhere.json" in said.out
    else:
        assert said.err.startswith(f"leaf_seg: {message}")
        assert said.err.count("\n") == 1
