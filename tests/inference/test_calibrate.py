"""The temperature of a model's probabilities, fitted on its validation split."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

import leaf_seg
from leaf_seg.__main__ import main
from leaf_seg.data import Datalist, ModelSettings, load_datalist, make_phantoms
from leaf_seg.export import export_model
from leaf_seg.inference import SegmentationInferer
from leaf_seg.inference.answers import Answers
from leaf_seg.inference.calibrate import CalibrateOptions, calibrate
from leaf_seg.inference.pyfunc_model import PyfuncModel
from leaf_seg.metrics import class_dice, negative_log_likelihood
from leaf_seg.networks import LatentSegmenter, SegResNetSegmenter
from leaf_seg.runtime.errors import InputError
from leaf_seg.tracking.model_info import model_info
from leaf_seg.transforms import postprocessing, preprocessing
from leaf_seg.transforms.temperature import tempered
from leaf_seg.weights import load_network, load_settings, save_model
from leaf_seg.weights.model_folder import model_is_whole

SETTINGS = ModelSettings(["background", "a", "b"], (16, 16))
OPTIONS = CalibrateOptions(device="cpu")
Make = Callable[..., LatentSegmenter]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(tmp_path_factory.mktemp("data"), num_cases=8, num_classes=3, size=(20, 24), channels=1)


@pytest.fixture(scope="module")
def datalist(dataset: Path) -> Datalist:
    found = load_datalist(str(dataset))
    return replace(found, validation=[*found.validation, *found.training])  # some more


@pytest.fixture(params=["latent diffusion", "baseline"])
def model(request: pytest.FixtureRequest, make_segmenter: Make, tmp_path: Path) -> Path:
    """A model that was not trained."""
    torch.manual_seed(3)
    baseline = SegResNetSegmenter(num_classes=3, image_size=(16, 16), init_filters=8, blocks_down=(1, 1))
    network = make_segmenter() if request.param == "latent diffusion" else baseline
    return save_model(network, SETTINGS, tmp_path / "model", {"epoch": 7})


@pytest.mark.slow
def test_the_temperature_is_the_best_there_is_and_no_label_changes(model: Path, datalist: Datalist) -> None:
    before = leaf_seg.load(model, device="cpu")
    weights = (model / "model.pt").read_bytes()
    found = calibrate(model, datalist, OPTIONS)
    after = leaf_seg.load(model, device="cpu")
    assert (model / "model.pt").read_bytes() == weights
    assert model_is_whole(model)
    expected_settings = replace(SETTINGS, temperature=found.temperature, confidence=found.confidence)
    assert load_settings(model) == expected_settings
    assert found.temperature != 1

    def likelihood(temperature: float) -> float:
        total = 0.0
        for case in datalist.validation:
            label = np.array(Image.open(case["label"]))
            probabilities = torch.from_numpy(before(case["image"]).probabilities)
            total += negative_log_likelihood(tempered(probabilities, temperature), label)
        return total / len(datalist.validation)

    assert found.before.nll == pytest.approx(likelihood(1))
    assert found.after.nll == pytest.approx(likelihood(found.temperature))
    others = [found.temperature * factor for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2)]
    grid = [likelihood(other) for other in others if other <= 20]  # that of an untrained model is the greatest there is
    assert found.after.nll < min(*grid, found.before.nll)
    for case in datalist.validation:
        one, two = before(case["image"]), after(case["image"])
        assert np.array_equal(one.label, two.label)
        np.testing.assert_allclose(two.probabilities.sum(axis=0), 1, atol=1e-5)
        expected = tempered(torch.from_numpy(one.probabilities), found.temperature)
        np.testing.assert_allclose(two.probabilities, expected.numpy(), atol=1e-6)
        quick = after(case["image"], probabilities=False)
        assert np.array_equal(quick.label, one.label)
        assert quick.expected_dice == pytest.approx(two.expected_dice, rel=1e-4)
        assert two.expected_dice != one.expected_dice


def test_a_second_time_is_the_same_and_a_new_training_has_none(model: Path, datalist: Datalist) -> None:
    found = calibrate(model, datalist, OPTIONS)
    config = (model / "config.json").read_text()
    assert calibrate(model, datalist, OPTIONS) == found
    assert (model / "config.json").read_text() == config
    content = json.loads(config)
    assert content["training"] == {"epoch": 7}
    record = content["calibration"]
    assert (record["split"], record["num_cases"]) == ("validation", len(datalist.validation))
    assert record["after"]["nll"] == found.after.nll
    assert set(record["after"]["ece"]) == {"a", "b"}
    assert model_info(model)["settings"]["temperature"] == found.temperature
    save_model(load_network(model), SETTINGS, model)
    assert load_settings(model).temperature == 1
    assert "calibration" not in json.loads((model / "config.json").read_text())


def test_sizes_and_threshold_are_those_of_the_answers(model: Path, datalist: Datalist) -> None:
    """Of the answers that the calibrated model gives to the validation cases, some of them twice."""
    eight, nine = (replace(datalist, validation=(2 * datalist.validation)[:number]) for number in (8, 9))
    assert calibrate(model, eight, OPTIONS).confidence.size_margins is None
    found = calibrate(model, nine, replace(OPTIONS, acceptable_dice=0.4)).confidence
    segmenter = leaf_seg.load(model, device="cpu")
    answers = [segmenter(case["image"]) for case in nine.validation]
    labels = [np.array(Image.open(case["label"])) for case in nine.validation]
    assert found.size_margins is not None
    matched = list(zip(answers, labels, strict=True))
    for index, (name, margin) in enumerate(zip("ab", found.size_margins, strict=True), start=1):
        sizes = [[(values == index).sum() for values in (answer.label, label)] for answer, label in matched]
        assert margin == pytest.approx(max(abs(math.log((true + 1) / (size + 1))) for size, true in sizes))
        for answer, (_, true) in zip(answers, sizes, strict=True):
            assert answer.size_intervals is not None
            low, high = answer.size_intervals[name]
            assert low - 1e-6 <= true <= high + 1e-6
    expected = [float(np.mean(list(answer.expected_dice.values()))) for answer in answers]
    dice = [
        np.mean(class_dice(torch.from_numpy(answer.label), torch.from_numpy(label), 3)) for answer, label in matched
    ]
    bad = sorted(sure for sure, value in zip(expected, dice, strict=True) if value < 0.4)
    rank = math.ceil(0.9 * len(bad)) if bad else 1
    assert found.look_at == pytest.approx((bad or sorted(expected))[rank - 1], abs=1.01e-4)
    assert [answer.look_at for answer in answers] == [sure <= found.look_at for sure in expected]


def test_a_model_with_a_spacing_expects_what_its_segmenter_says(make_segmenter: Make, tmp_path: Path) -> None:
    volumes = make_phantoms(tmp_path / "data", dimension=3, num_cases=3, num_classes=3, size=(20, 18, 16))
    settings = replace(SETTINGS, spacing=(2.0, 2.0, 2.0))
    model = save_model(make_segmenter(), settings, tmp_path / "model")
    found = calibrate(model, load_datalist(str(volumes)), replace(OPTIONS, acceptable_dice=1.0))
    segmenter = leaf_seg.load(model, device="cpu")
    answers = [segmenter(case["image"]) for case in load_datalist(str(volumes)).validation]
    greatest = max(float(np.mean(list(answer.expected_dice.values()))) for answer in answers)
    assert greatest <= found.confidence.look_at <= greatest + 1.01e-4


def test_old_models_have_no_confidence(model: Path, datalist: Datalist) -> None:
    assert load_settings(model).confidence is None
    answer = leaf_seg.load(model, device="cpu")(datalist.validation[0]["image"])
    assert (answer.look_at, answer.size_intervals) == (None, None)


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 1.0)])
def test_entropy_and_maps_of_an_evaluation(make_segmenter: Make, spacing: tuple[float, ...] | None) -> None:
    torch.manual_seed(0)
    settings = ModelSettings(["background", "a", "b"], (16, 16), spacing=spacing)
    prepare = preprocessing(settings, from_files=False)
    volume = MetaTensor(torch.randint(0, 99, (1, 18, 16, 4)).float(), affine=torch.diag(torch.tensor([1.5, -2, 1, 1])))
    data = prepare({"image": volume})
    network = make_segmenter()
    results = []
    for temperature in (1.0, 2.5):
        inferer = SegmentationInferer((16, 16), num_samples=2, uncertainty=True, temperature=temperature)
        with torch.no_grad():
            answers = inferer(data["image"][None], network)
        assert isinstance(answers, Answers)
        assert answers.entropy is not None
        entropy = torch.special.entr(tempered(torch.as_tensor(answers.pred[0]), temperature)).sum(dim=0)
        torch.testing.assert_close(torch.as_tensor(answers.entropy[0, 0]), entropy)
        item = {**data, "pred": answers.pred[0]}
        results.append((answers, postprocessing(prepare, temperature=temperature)(item)))
    (raw, plain), (_, soft) = results
    assert torch.equal(raw.pred, results[1][0].pred)
    assert torch.equal(torch.as_tensor(plain["pred"]), torch.as_tensor(soft["pred"]))
    torch.testing.assert_close(
        torch.as_tensor(soft["probabilities"]), tempered(torch.as_tensor(plain["probabilities"]), 2.5)
    )
    assert not torch.equal(plain["probabilities"], soft["probabilities"])


def test_exported_files_and_mlflow_have_it(
    datalist: Datalist, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "leaf_seg")
    network = SegResNetSegmenter(num_classes=3, image_size=(32, 32), init_filters=8, blocks_down=(1, 1)).eval()
    settings = replace(SETTINGS, image_size=(32, 32))
    save_model(network, replace(settings, temperature=2.5), tmp_path / "soft")
    raw = leaf_seg.load(save_model(network, settings, tmp_path / "raw"), device="cpu")
    image = datalist.validation[0]["image"]
    expected = tempered(torch.from_numpy(raw(image).probabilities), 2.5).numpy()
    for whole in (False, True):
        exported = leaf_seg.load(export_model(tmp_path / "soft", "torchscript", whole))
        np.testing.assert_allclose(exported(image).probabilities, expected, atol=1e-4)
    assert "The model's temperature, 2.5, is in the file's settings and not in its probabilities p" in caplog.text
    slices = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    (plain, soft) = (
        PyfuncModel(leaf_seg.load(tmp_path / name, device="cpu")).predict(slices) for name in ("raw", "soft")
    )
    for one, other in zip(plain, soft, strict=True):
        np.testing.assert_allclose(other, tempered(torch.from_numpy(one), 2.5).numpy(), atol=1e-5)


def test_the_command(
    model: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["calibrate", str(model), str(dataset), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    temperature = load_settings(model).temperature
    assert lines[0] == f"Temperature {temperature:g}, fitted on 1 validation cases; kept in {model}."
    assert [line.split()[0].strip(",") for line in lines[2:5]] == ["NLL", "ECE", "ECE"]
    assert float(lines[2].split()[2]) <= float(lines[2].split()[1])
    assert main(["calibrate", "models:/a@b", str(dataset)]) == 2
    assert main(["calibrate", str(tmp_path / "nothing"), str(dataset)]) == 2
    assert main(["calibrate", str(model), str(dataset), "--num_samples", "0"]) == 2
    assert main(["calibrate", str(model), str(dataset), "--acceptable_dice", "1.5"]) == 2
    assert lines[-2] == "Sizes get no 90 % intervals: these need 9 validation cases, and there are 1."
    assert lines[-1].startswith("Look at cases with an expected Dice of 0.")
    assert lines[-1].endswith("1 of 1 validation cases, and 1 of the 1 with a Dice below 0.7.")
    said = caplog.text + capsys.readouterr().err
    assert "num_samples is 0" in said
    assert "acceptable_dice is 1.5; expected a number, 0 to 1" in said


def test_a_data_set_without_validation_cases(model: Path, datalist: Datalist) -> None:
    with pytest.raises(InputError, match="no validation cases"):
        calibrate(model, replace(datalist, validation=[]), OPTIONS)


@pytest.mark.parametrize("temperature", [0, 0.01, 21, math.nan, "2"])
def test_a_temperature_that_cannot_be(temperature: float) -> None:
    with pytest.raises(InputError, match=r"temperature is .*; expected a number, 0.05 to 20"):
        replace(SETTINGS, temperature=temperature)
