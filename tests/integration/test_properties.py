"""MONAI's own checks of the configs, as the Model Zoo runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "leaf_seg" / "configs"


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle's folder, the working folder of the Model Zoo's checks."""
    monkeypatch.chdir(CONFIGS.parent)
    return CONFIGS.parent


@pytest.mark.parametrize(
    ("files", "workflow_type"),
    [(["train.json"], "train"), (["train.json", "evaluate.json"], "train"), (["inference.json"], "infer")],
)
def test_check_properties(
    bundle: Path, pictures: Path, picture_model: Path, files: list[str], workflow_type: str
) -> None:
    overrides: dict[str, Any] = {"dataset_dir": str(pictures), "num_classes": 3, "model_dir": str(picture_model)}
    if workflow_type == "infer":
        overrides |= {"dataset_dir": str(pictures / "images")}
        del overrides["num_classes"]
    workflow = ConfigWorkflow(
        [f"configs/{file}" for file in files], logging_file=False, workflow_type=workflow_type, **overrides
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.finalize()


def test_paper_profile_is_the_paper_s_network(bundle: Path) -> None:
    files = ["configs/train.json", "configs/profiles/ldm_kl8.json"]
    workflow = ConfigWorkflow(files, logging_file=False, workflow_type="train")
    workflow.initialize()
    parser = workflow.parser
    parser["network_def#unet#num_mask_latents"] = 1  # two classes
    parser.parse(reset=True)
    unet = parser.get_parsed_content("network_def#unet")
    assert sum(parameter.numel() for parameter in unet.parameters()) == 294_973_828
    assert parser.get_parsed_content("alignment_weight") == 0.75
