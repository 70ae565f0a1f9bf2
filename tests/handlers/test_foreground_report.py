"""What training chooses the best model by: the metric and the handlers of train.json, on label maps made here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.handlers import ValidationHandler
from monai.transforms import AsDiscreted

from leaf_seg.engines import BundleEvaluator
from leaf_seg.handlers import EarlyStopping, FinalValidation
from leaf_seg.tracking.rows import validation_row

EMPTY, POOR = True, False


class Threshold(torch.nn.Module):
    """Class scores [B, 2, H, W]: class 1 where the image is bright, or nowhere."""

    is_empty = False

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        bright = (image > 0.5) & (not self.is_empty)
        return torch.cat([~bright, bright], dim=1).float()


def case(has_truth: bool, is_bright: bool) -> dict[str, torch.Tensor]:
    """A 4 x 4 square, and its image 3 rows below: a Dice of 0.25."""
    image, label = torch.zeros(2, 1, 1, 12, 12)
    label[..., 1:5, 1:5] = float(has_truth)
    image[..., 4:8, 1:5] = float(is_bright)
    return {"image": image, "label": label}


# With a Dice of 1 for predicting nothing where nothing is, POOR has 0.59 on these cases, and EMPTY 0.625.
CASES = [*[case(True, True)] * 3, *[case(False, False)] * 4, case(False, True)]


def make_evaluator(cases: list[dict[str, torch.Tensor]] | None = None) -> BundleEvaluator:
    config = ConfigParser(ConfigParser.load_config_file("bundles/leaf_seg/configs/train.json"))
    config["settings"] = {"_target_": "types.SimpleNamespace", "num_classes": 2, "class_names": ("background", "x")}
    reports = ("ClassDice", "ForegroundReport", "StatsHandler")
    handlers = [
        config.get_parsed_content(f"validate#handlers#{index}")
        for index, handler in enumerate(config["validate#handlers"])
        if handler["_target_"].endswith(reports)
    ]
    return BundleEvaluator(
        device="cpu",
        network=Threshold(),
        val_data_loader=cases or CASES,
        postprocessing=AsDiscreted("pred", argmax=True),
        key_val_metric=config.get_parsed_content("validate#key_metric"),
        val_handlers=handlers,
    )


def train(evaluator: BundleEvaluator, kinds: list[bool], patience: int = 99) -> Any:
    """A trainer that has run, whose network at the end of epoch i is of kind i."""
    network: Any = evaluator.network
    trainer: Any = Engine(lambda engine, batch: setattr(network, "is_empty", kinds[engine.state.epoch - 1]))
    ValidationHandler(1, validator=evaluator, epoch_level=True).attach(trainer)
    EarlyStopping(evaluator, patience).attach(trainer)
    FinalValidation(evaluator).attach(trainer)
    trainer.run([0], max_epochs=len(kinds))
    return trainer


@pytest.mark.parametrize("kinds", [[POOR, EMPTY], [EMPTY, POOR], [EMPTY, EMPTY, POOR, EMPTY]])
def test_an_empty_model_is_not_the_best(kinds: list[bool]) -> None:
    evaluator = make_evaluator()
    train(evaluator, kinds)
    state: Any = evaluator.state
    assert state.best_metric_epoch == kinds.index(POOR) + 1
    assert state.best_metric == pytest.approx((3 * 0.25 + 0) / 4)  # the false positive counts, the 4 empty cases do not
    assert state.key_metric_name == "val_foreground_dice"


def test_an_empty_model_does_not_keep_a_training_going() -> None:
    assert train(make_evaluator(), [POOR, EMPTY, EMPTY, EMPTY, EMPTY], patience=2).state.epoch == 3


def test_what_a_validation_reports() -> None:
    evaluator = make_evaluator()
    train(evaluator, [POOR])
    poor = validation_row(evaluator)
    train(evaluator, [EMPTY])
    empty = validation_row(evaluator)
    assert next(iter(poor)) == "val_foreground_dice"
    assert poor == pytest.approx(
        {
            "val_foreground_dice": 0.1875,
            "val_dice_x": (3 * 0.25 + 4) / 8,
            "val_positive_dice": 0.25,
            "val_num_false_positives": 1,
            "val_num_negatives": 5,
            "val_num_predicted_empty": 0,
            "val_num_with_foreground": 3,
        }
    )
    assert (empty["val_foreground_dice"], empty["val_positive_dice"]) == (0, 0)
    assert (empty["val_num_false_positives"], empty["val_num_predicted_empty"]) == (0, 3)


def test_an_empty_prediction_is_warned_of_once_a_validation_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    train(make_evaluator(), [EMPTY, EMPTY])
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    what = "no foreground predicted in 3 of 3 cases with foreground."
    assert told == [*(f"Validation in epoch {epoch}: {what}" for epoch in (1, 2)), f"The best model (epoch 1): {what}"]


def test_the_end_warns_of_the_best_model_only(caplog: pytest.LogCaptureFixture) -> None:
    train(make_evaluator(), [POOR, EMPTY])
    assert [r.getMessage()[:21] for r in caplog.records if r.levelname == "WARNING"] == ["Validation in epoch 2"]


def test_nothing_to_find_scores_nothing() -> None:
    evaluator = make_evaluator([case(False, False)] * 2)
    train(evaluator, [POOR])
    row = validation_row(evaluator)
    assert (row["val_foreground_dice"], row["val_num_with_foreground"]) == (0, 0)
    assert row["val_positive_dice"] != row["val_positive_dice"]
