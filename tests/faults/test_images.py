"""Image files that are damaged or hostile end in a right result or in one line, within limits of time and memory."""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from leaf_seg.__main__ import main
from leaf_seg.image_io import format_of, read_grid, read_image
from leaf_seg.image_io.listing import case_name
from leaf_seg.image_io.nifti import Nifti
from leaf_seg.runtime.errors import InputError
from leaf_seg.transforms.preprocessing import preprocessing
from leaf_seg.weights import load_settings
from tests.faults.damage import EITHER, REFUSED, SOUND, Damage, chunk, damages, png_header
from tests.faults.limited import MB, Outcome, assert_one_line, run_command_limited, run_limited
from tests.in_process import ROOT

pytestmark = pytest.mark.odd_input

MODEL = ROOT / "bundles" / "leaf_seg" / "models"
Variant = tuple[Damage, Path, Path]  # where to make it, and the whole file
END = "\x1e"  # after what the command has said of a file, and after its exit code
SUFFIXES = (".png", ".jpg", ".tif", ".nii.gz", ".nii")


def whole_file(folder: Path, suffix: str) -> Path:
    """A small sound image."""
    path = folder / f"whole{suffix}"
    rng = np.random.default_rng(0)
    if suffix.startswith(".nii"):
        image = nib.Nifti1Image(rng.integers(0, 900, (7, 5, 6)).astype(np.int16), np.diag([1.0, 1, 2, 1]))
        nib.save(image, path)
    else:
        Image.fromarray(rng.integers(0, 256, (20, 24)).astype(np.uint8)).save(path)
    return path


def segment(source: Path, output: Path, *options: str, memory: int = 400 * MB, seconds: float = 20) -> Outcome:
    """The command, in a fork of this process, which has imported what it needs."""
    words = ["segment", str(source), str(output), "--model", str(MODEL), "--no-overlays", *options]
    return run_limited(lambda: main(words), memory, seconds)


@pytest.fixture(scope="module")
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let this process import what forks of it then need not."""
    folder = tmp_path_factory.mktemp("warm")
    for suffix in SUFFIXES:
        words = ("segment", whole_file(folder, suffix), folder / suffix, "--model", MODEL, "--no-overlays")
        assert main([str(word) for word in words]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_variant_is_read_or_refused(tmp_path: Path, suffix: str) -> None:
    whole = whole_file(tmp_path, suffix)
    prepare = preprocessing(load_settings(MODEL))
    expected = prepare({"image": str(whole)})["image"]

    def wrong(damage: Damage, path: Path) -> str | None:
        try:
            image = prepare({"image": str(path)})["image"]
        except RuntimeError as error:  # MONAI wraps what a transform raises
            refusal = error.__cause__
            if not isinstance(refusal, InputError) or "\n" in str(refusal):
                return "".join(traceback.format_exception(error))[-1500:]
            return "refused" if damage.expected == SOUND else None
        if damage.expected == REFUSED:
            return "read"
        if damage.expected == SOUND:
            return None if image.shape == expected.shape and bool((image == expected).all()) else "read as another"
        return None if image.isfinite().all() and image.min() >= 0 and image.max() <= 1 else "out of range"

    def read_all() -> int:
        failures = 0
        for number, damage in enumerate(damages(whole)):
            path = tmp_path / f"{number}{suffix}"
            damage.make(path)
            found = wrong(damage, path)
            if found:
                failures += 1
                sys.stderr.write(f"{damage.name}: {found}\n")
        return min(failures, 60)

    outcome = run_limited(read_all, memory=300 * MB, seconds=60)
    assert outcome.code == 0, outcome.err[-4000:]
    assert outcome.peak < 300 * MB


def _all_damages(folder: Path) -> Iterator[Variant]:
    """All but those that cost much and tell little beside others."""
    for suffix in SUFFIXES:
        whole = whole_file(folder, suffix)
        for number, damage in enumerate(damages(whole)):
            is_one_field = damage.name.startswith(("NIfTI with", "TIFF with 2**31"))
            if not is_one_field and (suffix != ".nii" or damage.name.startswith("NIfTI")):
                yield damage, folder / f"{number}{suffix}", whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A small sound image by its suffix."""
    folder = tmp_path_factory.mktemp("whole")
    return lambda suffix: whole_file(folder, suffix)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "called"),
    [("EPS", f"a{suffix}") for suffix in SUFFIXES] + [(form, "a.png") for form in ("PDF", "GIF", "ICO", "TGA")],
)
def test_no_other_format_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, called: str) -> None:
    """Pillow would start Ghostscript for an EPS."""
    mark = tmp_path / "started"
    for program in ("gs", "gswin64c"):
        (tmp_path / program).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    stream = io.BytesIO()
    Image.new("RGB", (30, 20)).save(stream, form)
    (tmp_path / called).write_bytes(stream.getvalue())
    outcome = segment(tmp_path / called, tmp_path / "out")
    assert_one_line(outcome, called, "its content is none of PNG, JPEG, TIFF, ")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", png_header(60000, 60000) + chunk(b"IDAT", zlib.compress(bytes(1000))), "60000 x 60000 would take"),
        ("b.png", png_header(200000, 100000, bits=1) + chunk(b"IDAT", zlib.compress(bytes(1000))), "100000 x 200000"),
    ],
)
def test_a_small_file_that_claims_much_takes_nothing(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    outcome = segment(tmp_path / name, tmp_path / "out", memory=600 * MB)
    assert_one_line(outcome, name, words, "memory_limit_gb is 8")
    assert outcome.peak < 200 * MB


def test_a_volume_that_becomes_huge_at_the_spacing_of_the_model(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.diag([500.0, 500, 500, 1])), tmp_path / "a.nii.gz")
    prepare = preprocessing(replace(load_settings(MODEL), spacing=(1.0, 1.0, 1.0)))

    def run() -> int:
        with pytest.raises(RuntimeError) as caught:
            prepare({"image": str(tmp_path / "a.nii.gz")})
        sys.stderr.write(str(caught.value.__cause__))
        return 0

    outcome = run_limited(run, memory=300 * MB)
    assert outcome.code == 0, outcome.err
    assert "a.nii.gz: a volume of 500 x 500 x 500 mm voxels, resampled to the model's spacing of 1 x 1 x 1 mm" in (
        outcome.err
    )


def test_200_megapixels_pass(tmp_path: Path) -> None:
    """Neither the limit nor Pillow, which warns of 90 and refuses 180, has anything against their header."""
    (tmp_path / "a.png").write_bytes(png_header(20000, 10000, colour=2) + chunk(b"IDAT", zlib.compress(bytes(1000))))
    outcome = segment(tmp_path / "a.png", tmp_path / "out", memory=2000 * MB)
    assert_one_line(outcome, "a.png: cannot be read (it ends", "expected a complete PNG")
    assert "bomb" not in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_reading_takes_what_the_header_says(tmp_path: Path, suffix: str) -> None:
    """Also beyond Pillow's own limit, which is set low for this."""
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.zeros((4000, 5000, 3), np.uint8)).save(path)  # 20 megapixels
    expected = format_of(path).memory(path)
    prepare = preprocessing(load_settings(MODEL))

    def run() -> int:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = 1000
        return 0 if prepare({"image": str(path)})["image"].shape == (3, 4000, 5000) else 1

    outcome = run_limited(run, memory=800 * MB)
    assert outcome.code == 0, outcome.err
    assert outcome.peak < expected + 50 * MB


def test_scaled_volumes_are_not_read_as_float64(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((256, 256, 300), np.int16), np.eye(4))
    image.header.set_slope_inter(2, -1024)
    nib.save(image, tmp_path / "a.nii.gz")
    outcome = run_limited(lambda: 0 if read_image(tmp_path / "a.nii.gz").numel() == 256 * 256 * 300 else 1)
    assert outcome.code == 0, outcome.err
    assert outcome.peak < 4 * 256 * 256 * 300 + 100 * MB


@pytest.mark.parametrize(
    ("limit", "words"),
    [("0.000001", "memory_limit_gb is 1e-06"), ("0", "--memory-limit-gb is 0"), ("nan", "--memory-limit-gb is nan")],
)
def test_the_limit_is_an_option(tmp_path: Path, whole: Callable[[str], Path], limit: str, words: str) -> None:
    outcome = segment(whole(".png"), tmp_path, "--memory-limit-gb", limit)
    assert_one_line(outcome, words)


@pytest.mark.parametrize(
    ("limit", "words"), [("0.000001", "whole.png: an image of 20 x 24 would take"), ("-1", "is -1; expected a number")]
)
def test_the_limit_is_a_key(tmp_path: Path, whole: Callable[[str], Path], limit: str, words: str) -> None:
    bundle = ROOT / "bundles" / "leaf_seg"
    arguments = ("--config_file", bundle / "configs" / "inference.json", "--bundle_root", bundle)
    own = ("--dataset_dir", whole(".png"), "--output_dir", tmp_path, "--memory_limit_gb", limit)
    outcome = run_command_limited("-m", "monai.bundle", "run", *arguments, *own)
    assert_one_line(outcome, "memory_limit_gb", words)


@pytest.mark.parametrize("name", ["two\nlines.png", "bell\a.png"])
def test_names_with_control_characters_stay_on_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no image")
    assert_one_line(segment(tmp_path / name, tmp_path / "out"), ".png: cannot be read")


@pytest.mark.parametrize("key", ["dataset_dir", "datalist"])
def test_data_sets_that_go_in_a_circle(tmp_path: Path, key: str) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "list.json").write_text(json.dumps({"training": [{"image": "circle", "label": "circle"}]}))
    given = {"dataset_dir": "circle", "datalist": "list.json"}[key]
    bundle = ROOT / "bundles" / "leaf_seg"
    arguments = ("--config_file", bundle / "configs" / "train.json", "--bundle_root", bundle, "--num_classes", 2)
    own = ("--dataset_dir", tmp_path / given, "--output_dir", tmp_path / "out")
    assert_one_line(run_command_limited("-m", "monai.bundle", "run", *arguments, *own), "circle")


@pytest.mark.slow
@pytest.mark.usefixtures("_warm")
def test_the_command_segments_or_refuses_every_variant(tmp_path: Path) -> None:
    wholes = [whole_file(tmp_path, suffix) for suffix in SUFFIXES]
    results = {}
    for whole in wholes:
        assert segment(whole, tmp_path / "whole").code == 0
        results[whole.name] = label_of(whole, tmp_path / "whole")
    wrong, count = [], 0
    for group in grouped(islice(_all_damages(tmp_path), 0, None, 3), 10):
        for damage, path, _ in group:
            damage.make(path)
        outcomes = segment_each([path for _, path, _ in group], tmp_path / "out")
        for (damage, path, whole), outcome in zip(group, outcomes, strict=True):
            count += 1
            try:
                check(outcome, damage, path, tmp_path / "out", results[whole.name])
            except AssertionError as error:
                wrong.append(f"{path.name}, {damage.name}: {error}")
    assert not wrong, "\n\n".join(wrong)
    assert count >= 75


def grouped(items: Iterator[Variant], size: int) -> Iterator[list[Variant]]:
    while group := list(islice(items, size)):
        yield group


def segment_each(sources: list[Path], output: Path) -> list[Outcome]:
    """The command for one file after the other, in one fork: the peak and the seconds are of all."""

    def run() -> int:
        for source in sources:
            code = 70
            try:
                code = main(["segment", str(source), str(output), "--model", str(MODEL), "--no-overlays"])
            except Exception:
                traceback.print_exc()
            sys.stderr.write(f"{END}{code}{END}")
        return 0

    outcome = run_limited(run, memory=400 * MB, seconds=60)
    assert outcome.code == 0, outcome.err
    told = outcome.err.split(END)
    return [
        Outcome(int(code), "", err, outcome.peak, outcome.seconds)
        for err, code in zip(told[0:-1:2], told[1::2], strict=True)
    ]


def check(outcome: Outcome, damage: Damage, path: Path, output: Path, expected: np.ndarray) -> None:
    """Whether the command has done right by a variant."""
    assert outcome.peak < 400 * MB
    if outcome.code != 0:
        assert damage.expected != SOUND
        assert_one_line(outcome, path.name)
        return
    assert damage.expected != REFUSED, "segmented"
    label = label_of(path, output)
    assert label.shape == read_grid(path).shape
    assert label.max() < 3
    assert damage.expected == EITHER or np.array_equal(label, expected)


def label_of(source: Path, output: Path) -> np.ndarray:
    """The label map that the command has written: a picture's as PNG, also of one that is called a volume."""
    is_volume = isinstance(format_of(source), Nifti)
    return read_image(output / (source.name if is_volume else f"{case_name(source)}.png"), is_label=True)[0].numpy()
