from __future__ import annotations

import json
from typing import Any

import pytest

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.image_io.reading_options import ReadingOptions
from leaf_seg.runtime.errors import InputError


def test_through_json() -> None:
    settings = ModelSettings(["background", "a"], [64, 48], "coronal", 3, window=[-100, 300], spacing=[1, 1.5, 2])
    assert settings.class_names == ("background", "a")
    assert settings.image_size == (64, 48)
    assert settings.num_classes == 2
    assert ModelSettings(**json.loads(json.dumps(settings.to_dict()))) == settings


def test_optional_values_through_json() -> None:
    settings = ModelSettings(("background", "a"), (64, 64))
    assert settings.window is None
    assert settings.spacing is None
    assert ModelSettings(**json.loads(json.dumps(settings.to_dict()))) == settings


def test_how_files_are_read_through_json_and_only_where_needed() -> None:
    settings = ModelSettings(("background", "a"), (64, 64), channels=[2, 0, 1], tiff_stack="true")
    assert settings.reading == ReadingOptions([2, 0, 1], tiff_stack=True)
    assert ModelSettings(**json.loads(json.dumps(settings.to_dict()))) == settings
    assert not {"channels", "tiff_stack"} & set(ModelSettings(("background", "a"), (64, 64)).to_dict())


def test_three_channels_leave_no_room_for_neighbours() -> None:
    with pytest.raises(InputError, match=r"num_slices is 3, and channels is \[0, 1, 2\]; expected one of them"):
        ModelSettings(("background", "a"), (64, 64), num_slices=3, channels=[0, 1, 2])
    assert ModelSettings(("background", "a"), (64, 64), num_slices=3, channels=1).reading.channels == (1,)


def test_frozen() -> None:
    with pytest.raises(AttributeError):
        ModelSettings(["background", "a"], [64, 64]).axis = "coronal"  # type: ignore[misc]


def test_several_directions_and_mirror_axes_through_json() -> None:
    settings = ModelSettings(["background", "a"], [64, 64], axis=["axial", "coronal"], mirror_axes=[0])
    assert settings.axis == ("axial", "coronal")
    assert settings.mirror_axes == (0,)
    assert ModelSettings(**json.loads(json.dumps(settings.to_dict()))) == settings


NAN, INFINITE = float("nan"), float("inf")
UNFIT: dict[str, list[Any]] = {
    "axis": [2, "z", "", [], ["axial", "z"], ["axial", "axial"]],
    "mirror_axes": [0, [3], [True], [1.0], [[0]], [0, 0], None],
    "spacing": [0, 1, [1, 1], [1, 1, 1, 1], [1, 1, 0], [1, -1, 1], [1, 1, NAN], [1, INFINITE, 1], "1, 1, 1", ["1"] * 3],
    "window": [3, [], [1], [1, 2, 3], [1, 1], [2, 1], [NAN, 1], [0, NAN], [0, INFINITE], "01", ["0", "1"], [True, 2]],
    "image_size": [64, None, [], [64], [64, 64, 64], [0, 64], [64, -1], [64.0, 64], [64, 10**9], ["64", "64"], "64"],
    "num_slices": [0, 2, -3, "3", None, True, 1.5],
    "channels": ["0", [], [0, 1], [0, 1, 2, 3], [-1], [0.5], True],
    "class_names": ["ab", None, 3, [], ["a"], ["a", ""], ["a", " "], ["a", "b\n"], ["a", "\x07"], ["a", 3], ["a", "a"]],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in UNFIT.items() for value in values])
def test_unfit_values(key: str, value: Any) -> None:
    settings: dict[str, Any] = {"class_names": ["background", "a"], "image_size": [64, 64], key: value}
    with pytest.raises(InputError, match=rf"^{key} is .*; expected [^\n]*$"):
        ModelSettings(**settings)


@pytest.mark.parametrize(
    ("key", "value"), [("spacing", [0.5, 1, 2.25]), ("window", [-1.5, 3]), ("image_size", [1, 8192])]
)
def test_fit_values(key: str, value: Any) -> None:
    settings: dict[str, Any] = {"class_names": ["background", "Größe/b 🫀"], "image_size": [64, 64], key: value}
    assert getattr(ModelSettings(**settings), key) == tuple(value)
