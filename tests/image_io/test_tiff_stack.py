"""The pages of a TIFF as the slices of a volume, by the key tiff_stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import itk
import numpy as np
import pytest
from PIL import Image

from leaf_seg.image_io import ReadingOptions, read_grid, read_image, write_label, write_map, write_probabilities
from leaf_seg.image_io.remarks import forget_remarks
from leaf_seg.runtime.errors import InputError

RNG = np.random.default_rng(0)
VOXELS = RNG.integers(0, 255, (7, 9, 6)).astype(np.uint8)  # [X, Y, Z]
STACK = ReadingOptions(tiff_stack=True)
IMAGEJ = "ImageJ=1.54f\nimages=6\n{}\nloop=false\n"
OME = '<?xml version="1.0"?><OME><Image><Pixels ID="Pixels:0" {}/></Image></OME>'


def save(path: Path, pages: list[np.ndarray], description: str = "", resolution: float = 0, **options: Any) -> Path:
    tags: dict[int, Any] = {270: description} if description else {}
    if resolution:
        tags |= {282: resolution, 283: resolution, 296: 1}
    first, *others = (Image.fromarray(np.ascontiguousarray(page)) for page in pages)
    first.save(path, save_all=True, append_images=others, tiffinfo=tags, **options)
    return path


def pages_of(voxels: np.ndarray) -> list[np.ndarray]:
    return [voxels[:, :, place].T for place in range(voxels.shape[2])]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int32"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_pages_are_slices(dtype: str, compression: str | None, tmp_path: Path) -> None:
    voxels = VOXELS.astype(dtype)
    path = save(tmp_path / "a.tif", pages_of(voxels), compression=compression)
    image = read_image(path, options=STACK)
    np.testing.assert_array_equal(image[0], voxels)
    np.testing.assert_array_equal(image.affine, np.diag([-1, -1, 1, 1]))


@pytest.mark.parametrize(
    ("description", "resolution", "expected"),
    [
        (IMAGEJ.format("slices=6\nunit=micron\nspacing=2.5"), 4.0, (0.00025, 0.00025, 0.0025)),
        (IMAGEJ.format("slices=6\nunit=\\u00B5m\nspacing=2.5"), 4.0, (0.00025, 0.00025, 0.0025)),
        (IMAGEJ.format("slices=6\nunit=mm"), 2.0, (0.5, 0.5, 1.0)),
        (IMAGEJ.format("slices=6\nunit=inch\nspacing=0.1"), 10.0, (2.54, 2.54, 2.54)),
        (IMAGEJ.format("slices=6\nunit=pixel\nspacing=3"), 1.0, None),
        (IMAGEJ.format("slices=6"), 72.0, None),
        (OME.format('PhysicalSizeX="0.5" PhysicalSizeY="0.25" PhysicalSizeZ="2" SizeZ="6"'), 0, (5e-4, 2.5e-4, 2e-3)),
        (
            OME.format(
                'PhysicalSizeX="1" PhysicalSizeXUnit="mm" PhysicalSizeY="1" PhysicalSizeYUnit="mm" '
                'PhysicalSizeZ="900" PhysicalSizeZUnit="&#181;m" SizeZ="6" SizeC="1" SizeT="1"'
            ),
            0,
            (1, 1, 0.9),
        ),
        (OME.format('PhysicalSizeX="0.5" PhysicalSizeY="0.5" SizeZ="6"'), 0, None),
        ("", 300.0, None),  # of printing
    ],
)
def test_sizes_are_what_the_file_says(
    description: str,
    resolution: float,
    expected: tuple[float, ...] | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    forget_remarks()
    path = save(tmp_path / "a.tif", pages_of(VOXELS), description, resolution)
    assert read_grid(path, STACK).spacing == pytest.approx(expected or (1, 1, 1))
    np.testing.assert_array_equal(read_image(path, options=STACK)[0], VOXELS)
    assert ("does not say how large its voxels are" in caplog.text) is (expected is None)


@pytest.mark.parametrize(
    ("description", "order"),
    [
        (IMAGEJ.format("channels=2\nslices=3"), [0, 2, 4, 1, 3, 5]),
        (OME.format('SizeC="2" SizeZ="3" DimensionOrder="XYCZT"'), [0, 2, 4, 1, 3, 5]),
        (OME.format('SizeC="2" SizeZ="3" DimensionOrder="XYZCT"'), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_pages_of_channels(description: str, order: list[int], tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", pages_of(VOXELS), description)
    by_channel = np.moveaxis(VOXELS[:, :, order].reshape(7, 9, 2, 3), 2, 0)
    with pytest.raises(InputError, match=r"a\.tif: a volume with 2 channels .* --channels '\[0\]'"):
        read_image(path, options=STACK)
    image = read_image(path, options=ReadingOptions([1, 0, 1], tiff_stack=True))
    np.testing.assert_array_equal(image, by_channel[[1, 0, 1]])
    np.testing.assert_array_equal(read_image(path, options=ReadingOptions(1, tiff_stack=True))[0], by_channel[1])
    np.testing.assert_array_equal(read_image(path, is_label=True, options=STACK), by_channel)


def test_colours_are_channels(tmp_path: Path) -> None:
    colours = RNG.integers(0, 256, (6, 9, 7, 3)).astype(np.uint8)  # [Z, Y, X, C]
    path = save(tmp_path / "a.tif", list(colours))
    image = read_image(path, options=ReadingOptions([2, 1, 0], tiff_stack=True))
    np.testing.assert_array_equal(image, colours.transpose(3, 2, 1, 0)[::-1])


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (IMAGEJ.format("frames=6"), "6 time points; expected a volume"),
        (
            IMAGEJ.replace("images=6", "images=100").format(""),
            "6 pages, and its description speaks of 1 channels and 100",
        ),
        (OME.format('SizeC="2" SizeZ="2"'), "6 pages, and its description speaks of 2 channels and 2 slices"),
        (OME.format('SizeT="3" SizeZ="2"'), "3 time points"),
        (OME.format("/><Pixels "), "a TIFF of 2 images; expected one"),
        ('{"shape": [3, 2, 9, 7]}', r"the shape \[3, 2, 9, 7\]; expected a stack of slices"),
    ],
)
def test_what_is_no_stack_is_refused(description: str, message: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", pages_of(VOXELS), description)
    for read in (read_image, read_grid):
        with pytest.raises(InputError, match=message):
            read(path, options=STACK)


@pytest.mark.parametrize(
    ("page", "unlike"),
    [(np.zeros((4, 5), np.uint8), "width and height"), (np.zeros((9, 7), np.uint16), "bits")],
)
def test_pages_that_differ(page: np.ndarray, unlike: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", [*pages_of(VOXELS), page])
    with pytest.raises(InputError, match=f"page 7 has another {unlike} than the first; expected the same of all"):
        read_image(path, options=STACK)


def test_a_page_that_ends_early(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", pages_of(np.zeros((700, 900, 3), np.uint8)))
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(len(content) - 10_000)
    with pytest.raises(InputError, match=r"a\.tif: .*expected a complete TIFF file"):
        read_image(path, options=STACK)


def test_memory_is_judged_by_the_header(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", pages_of(np.zeros((1000, 1000, 5), np.uint8)), compression="tiff_lzw")
    with pytest.raises(InputError, match=r"an image of 1000 x 1000 x 5 would take about 0\.048 GB"):
        read_image(path, options=STACK, memory_limit_gb=0.04)
    assert read_image(path, options=STACK, memory_limit_gb=0.05).shape == (1, 1000, 1000, 5)


@pytest.mark.parametrize("name", ["a.tif", "a.tiff"])
def test_results_in_kind(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / name, pages_of(VOXELS), IMAGEJ.format("slices=6\nunit=micron\nspacing=2.7"), 1 / 0.325)
    grid = read_grid(path, STACK)
    label = (VOXELS % 3).astype(np.uint8)
    written = write_label(label, path, tmp_path / "out", options=STACK)
    assert written.name == name
    again = read_image(written, is_label=True, options=STACK)
    np.testing.assert_array_equal(again[0], label)
    assert grid.affine is not None
    np.testing.assert_allclose(again.affine, grid.affine, rtol=1e-6)
    with Image.open(written) as picture:  # as any viewer sees it
        assert (picture.n_frames, picture.mode) == (6, "L")  # type: ignore[attr-defined]
        picture.seek(2)
        np.testing.assert_array_equal(np.asarray(picture), label[:, :, 2].T)
    np.testing.assert_array_equal(itk.array_from_image(itk.imread(str(written))).T, label)
    entropy = RNG.random(VOXELS.shape).astype(np.float32)
    found = read_image(write_map(entropy, path, tmp_path / "out", "entropy", options=STACK), options=STACK)
    np.testing.assert_array_equal(found[0], entropy)
    probabilities = RNG.random((3, *VOXELS.shape)).astype(np.float32)
    (file,) = write_probabilities(probabilities, path, tmp_path / "out", ["background", "a", "b"], STACK)
    np.testing.assert_array_equal(read_image(file, is_label=True, options=STACK), probabilities)
