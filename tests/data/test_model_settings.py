from __future__ import annotations

import json
from typing import Any

import pytest

from leaf_seg.data.model_settings import ModelSettings
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


def test_frozen() -> None:
    with pytest.raises(AttributeError):
        ModelSettings(["background", "a"], [64, 64]).axis = "coronal"  # type: ignore[misc]


def test_several_directions_and_mirror_axes_through_json() -> None:
    settings = ModelSettings(["background", "a"], [64, 64], axis=["axial", "coronal"], mirror_axes=[0])
    assert settings.axis == ("axial", "coronal")
    assert settings.mirror_axes == (0,)
    assert ModelSettings(**json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(("key", "value"), [("axis", 2), ("axis", ["axial", "z"]), ("mirror_axes", 0)])
def test_unfit_values(key: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{key} is"):
        ModelSettings(["background", "a"], [64, 64], **{key: value})
