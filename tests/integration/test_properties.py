"""MONAI's own checks of the configs, as the Model Zoo runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from leaf_seg import networks, weights

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "leaf_seg" / "configs"

BASELINES = {
    "unet": networks.BasicUNetSegmenter,
    "dynunet": networks.DynUNetSegmenter,
    "segresnet": networks.SegResNetSegmenter,
}


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle's folder, the working folder of the Model Zoo's checks."""
    monkeypatch.chdir(CONFIGS.parent)
    return CONFIGS.parent


@pytest.mark.parametrize(
    ("files", "workflow_type"),
    [
        (["train.json"], "train"),
        *[(["train.json", f"baselines/{name}.json"], "train") for name in BASELINES],
        (["train.json", "evaluate.json"], "train"),
        (["inference.json"], "infer"),
    ],
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


@pytest.mark.parametrize("number", [0, 1])
def test_cases_that_monai_label_hands_over(bundle: Path, pictures: Path, number: int) -> None:
    """Its generic app sets the two lists; without cases for validation, those trained on are validated on."""
    images = sorted((pictures / "images").iterdir())[:3]
    cases = [{"image": str(image), "label": str(pictures / "labels" / image.name)} for image in images]
    overrides: dict[str, Any] = {"num_classes": 3, "train#dataset#data": cases[1:]}
    overrides["validate#dataset#data"] = cases[:number]
    files = ["configs/train.json", "configs/profiles/monailabel_train.json"]
    workflow = ConfigWorkflow(files, logging_file=False, workflow_type="train", **overrides)
    workflow.initialize()
    assert workflow.check_properties() == []
    found = workflow.parser.get_parsed_content("validate#dataloader").dataset.data
    assert found == (cases[:1] if number else cases[1:])


def test_paper_profile_is_the_paper_s_network(bundle: Path) -> None:
    files = ["configs/train.json", "configs/profiles/ldm_kl8.json"]
    workflow = ConfigWorkflow(files, logging_file=False, workflow_type="train")
    workflow.initialize()
    parser = workflow.parser
    unet = networks.build_conditional_unet(parser.get_parsed_content("unet_config"), num_mask_latents=1)
    assert sum(parameter.numel() for parameter in unet.parameters()) == 294_973_828
    assert parser.get_parsed_content("alignment_weight") == 0.75


@pytest.mark.parametrize("baseline", [None, *BASELINES])
def test_baseline_builds_no_part_of_latent_diffusion(
    bundle: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, baseline: str | None
) -> None:
    built: list[str] = []
    for package, name in ((networks, "load_autoencoder"), (networks, "MaskEncoder"), (weights, "initial_segmenter")):
        monkeypatch.setattr(package, name, _noting(built, package, name))
    overrides: dict[str, Any] = {"dataset_dir": str(pictures), "num_classes": 3, "output_dir": str(tmp_path)}
    files = ["configs/train.json"] + ([f"configs/baselines/{baseline}.json"] if baseline else [])
    workflow = ConfigWorkflow(files, logging_file=False, workflow_type="train", **overrides)
    workflow.initialize()
    trainer = workflow.parser.get_parsed_content("train#trainer")
    if baseline:
        assert not built
        assert type(trainer.network) is BASELINES[baseline]
    else:  # the trap is set
        assert set(built) == {"load_autoencoder", "MaskEncoder", "initial_segmenter"}


def _noting(built: list[str], package: ModuleType, name: str) -> Callable[..., Any]:
    """The function or class of that name, which notes that it was called."""
    original = getattr(package, name)

    def build(*args: Any, **kwargs: Any) -> Any:
        built.append(name)
        return original(*args, **kwargs)

    return build


@pytest.mark.parametrize("overlays", [[], *([f"baselines/{name}.json"] for name in BASELINES)])
def test_no_key_is_ignored(overlays: list[str]) -> None:
    """Training uses every key that a user may set, or refuses it by ``keys_without_effect``."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / file) for file in ("train.json", *overlays)])
    parser.get_parsed_content("training", instantiate=False, eval_expr=False)
    used = {identity.split("::")[0] for identity in parser.ref_resolver.resolved_content}
    of_tracking = {"tracking_uri", "experiment_name", "save_execute_config"}  # for the handlers that it adds
    assert set(parser.get()) - used == {"initialize", "run", "_meta_"} | of_tracking
