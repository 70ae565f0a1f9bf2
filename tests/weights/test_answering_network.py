from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import leaf_seg
from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.export import export_model
from leaf_seg.networks import BasicUNetSegmenter, LatentSegmenter
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import check_settings
from leaf_seg.weights import load_answering_network, load_settings, num_answers, save_model

NAMES = ["background", "a", "b"]
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 36, 3), dtype=np.uint8)


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Saves a small U-Net under a name in the working folder: ``saved("m_0", dropout=0.1, axis="coronal")``."""
    monkeypatch.chdir(tmp_path)

    def save(name: str, dropout: float = 0.0, **settings: Any) -> str:
        torch.manual_seed(sum(map(ord, name)))
        network = BasicUNetSegmenter(3, (32, 32), features=(4,) * 6, dropout=dropout)
        save_model(network, ModelSettings(**{"class_names": NAMES, "image_size": (32, 32)} | settings), name)
        return name

    return save


@pytest.mark.slow
def test_an_ensemble_of_other_networks_by_folders_and_patterns(
    saved: Callable[..., str], make_segmenter: Callable[..., LatentSegmenter]
) -> None:
    first, second = saved("m_0", temperature=1.5), saved("m_1")
    save_model(make_segmenter(3, (32, 32)), ModelSettings(NAMES, (32, 32)), "m_2")
    image = torch.rand(1, 3, 32, 32)
    expected = torch.stack([load_answering_network(folder)(image) for folder in (first, second, "m_2")])
    for further in (["m_1", "m_2"], "m_*", ["m_1", "m_[12]", "m_0/../m_2"]):
        assert num_answers(first, further) == 3
        network = load_answering_network(first, "false", further)
        torch.testing.assert_close(network.hypotheses(image, range(3)), expected)
    assert num_answers(first) == 1


def test_a_calibration_is_that_of_the_own_answer_alone(saved: Callable[..., str]) -> None:
    confidence = {"look_at": 0.5, "acceptable_dice": 0.7}
    first, second = saved("m_0", dropout=0.2, temperature=1.5, confidence=confidence), saved("m_1")
    assert load_settings(first, mc_dropout="false").temperature == 1.5
    assert load_settings(first).confidence is not None
    for settings in (load_settings(first, mc_dropout=True), load_settings(first, ensemble=second)):
        assert settings.temperature == 1
        assert settings.confidence is None


def test_the_segmenter_asks_every_member_unless_told(saved: Callable[..., str]) -> None:
    first, second = saved("m_0", temperature=1.5), saved("m_1")
    found = leaf_seg.load(first, "cpu", ensemble=[second])(PICTURE)
    alone = [leaf_seg.load(folder, "cpu") for folder in (first, second)]
    alone[0].settings = load_settings(second)
    maps = np.stack([segmenter(PICTURE).probabilities for segmenter in alone])
    np.testing.assert_allclose(found.probabilities, maps.mean(axis=0), atol=1e-5)
    assert found.variance is not None
    np.testing.assert_allclose(found.variance, maps.var(axis=0).sum(axis=0), atol=1e-5)
    mean = leaf_seg.load(first, "cpu", ensemble=second)(PICTURE, num_samples=1)
    assert mean.variance is None
    np.testing.assert_allclose(mean.probabilities, found.probabilities, atol=1e-5)


def test_the_segmenter_draws_by_dropout(saved: Callable[..., str]) -> None:
    segmenter = leaf_seg.load(saved("m_0", dropout=0.3), "cpu", mc_dropout=True)
    found = segmenter(PICTURE, num_samples=3)
    assert found.variance is not None
    assert found.variance.max() > 1e-4
    np.testing.assert_array_equal(segmenter(PICTURE, num_samples=3).variance, found.variance)
    with pytest.raises(InputError, match="mc_dropout is true, and num_samples is 1"):
        segmenter(PICTURE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"axis": "coronal"}, "m_1 has axis 'coronal', and m_0 has 'axial'"),
        ({"spacing": (1, 1, 2)}, r"m_1 has spacing \(1, 1, 2\), and m_0 has None"),
        ({"window": (0, 9)}, r"m_1 has window \(0, 9\), and m_0 has None"),
        ({"label_encoding": "one_hot"}, "m_1 has label_encoding 'one_hot', and m_0 has 'index'"),
        ({"class_names": ["background", "b", "a"]}, "m_1 has class_names .*'b', 'a'.* m_0 has .*'a', 'b'"),
    ],
)
def test_members_of_other_settings(settings: dict[str, Any], message: str, saved: Callable[..., str]) -> None:
    with pytest.raises(InputError, match=message):
        load_answering_network(saved("m_0"), ensemble=[saved("m_1", **settings)])


@pytest.mark.parametrize(
    ("mc_dropout", "ensemble", "message"),
    [
        (True, "m_1", "mc_dropout is true, and ensemble is given"),
        (False, "other_*", r"no folder fits 'other_\*'"),
        (False, ["m_0"], "names no model beside m_0"),
        (False, ["m_9"], r"No config\.json in .*m_9"),
        (True, None, "trained without dropout"),
    ],
)
def test_what_cannot_answer(mc_dropout: bool, ensemble: Any, message: str, saved: Callable[..., str]) -> None:
    first, _ = saved("m_0"), saved("m_1")
    with pytest.raises(InputError, match=message):
        load_answering_network(first, mc_dropout, ensemble)


def test_an_exported_file_has_one_answer(saved: Callable[..., str]) -> None:
    first = saved("m_0", dropout=0.2)
    file = export_model(first, "torchscript")
    for mc_dropout, ensemble in ((True, None), (False, first)):
        with pytest.raises(InputError, match=r"model\.ts is an exported file.* mc_dropout and ensemble"):
            leaf_seg.load(file, mc_dropout=mc_dropout, ensemble=ensemble)


@pytest.mark.parametrize("ensemble", [[""], [7], ["a", None], {"a": 1}])
def test_a_list_of_folders_is_one_of_paths(ensemble: Any) -> None:
    check_settings({"ensemble": ["runs/a", "runs/b_*"], "mc_dropout": "true"})
    with pytest.raises(InputError, match="ensemble is"):
        check_settings({"ensemble": ensemble})
