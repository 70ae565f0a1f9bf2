"""MONAI's own checks of the configs, as the Model Zoo runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from leaf_seg import networks, weights
from leaf_seg.runtime.config_keys import unused_keys

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "leaf_seg" / "configs"

BASELINES = {
    "unet": networks.BasicUNetSegmenter,
    "dynunet": networks.DynUNetSegmenter,
    "medsegdiff": networks.LatentSegmenter,
    "probabilistic_unet": networks.ProbabilisticUNetSegmenter,
    "segresnet": networks.SegResNetSegmenter,
    "swin_unet": networks.SwinUNetSegmenter,
    "transunet": networks.TransUNetSegmenter,
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
        (["train.json", "baselines/unet.json"], "train"),
        (["train.json", "methods/sdseg.json"], "train"),
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
def test_cases_that_monai_label_hands_over(bundle: Path, pictures: Path, number: int, tmp_path: Path) -> None:
    """Its generic app sets the two lists; without cases for validation, those trained on are validated on."""
    images = sorted((pictures / "images").iterdir())[:3]
    cases = [{"image": str(image), "label": str(pictures / "labels" / image.name)} for image in images]
    overrides: dict[str, Any] = {"num_classes": 3, "train#dataset#data": cases[1:]}
    overrides |= {"validate#dataset#data": cases[:number], "cache_dir": str(tmp_path)}
    files = ["configs/train.json", "configs/profiles/monailabel_train.json"]
    workflow = ConfigWorkflow(files, logging_file=False, workflow_type="train", **overrides)
    workflow.initialize()
    assert workflow.check_properties() == []
    found = workflow.parser.get_parsed_content("validate#dataloader").dataset.data
    assert found == (cases[:1] if number else cases[1:])
    assert workflow.parser.get_parsed_content("network_def").image_size == (64, 64), "not the shipped one as it is"


@pytest.mark.slow
def test_paper_profile_is_the_paper_s_network(bundle: Path) -> None:
    files = ["configs/train.json", "configs/methods/leaf_paper.json", "configs/profiles/ldm_kl8.json"]
    workflow = ConfigWorkflow(files, logging_file=False, workflow_type="train")
    workflow.initialize()
    parser = workflow.parser
    unet = networks.build_conditional_unet(parser.get_parsed_content("unet_config"), num_mask_latents=1)
    assert sum(parameter.numel() for parameter in unet.parameters()) == 294_973_828
    assert parser.get_parsed_content("alignment_weight") == 0.75
    ours = ("terminal_probability", "image_loss_weight", "train_decoder")
    assert [parser.get_parsed_content(key) for key in ours] == [0, 0, False]


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


# Settings of parts that most baselines do without; a value for one is an error there.
OF_LEAF = {
    *("alignment_layer", "alignment_recipe", "alignment_weight", "autoencoder", "autoencoder_dir", "codec"),
    *("diffusion", "feature_cache_gb", "image_encoder"),
    *("image_loss_weight", "init_dir", "mask_decoder", "mask_encoder", "noise_seed", "parameterization", "sampler"),
    *("scheduler", "teacher", "terminal_probability", "train_decoder", "unet_config", "unet_dir"),
}

# Of these, what a baseline has.
OF_BASELINE = {
    "medsegdiff": {
        *("codec", "diffusion", "image_encoder", "mask_decoder", "mask_encoder", "noise_seed", "parameterization"),
        *("sampler", "scheduler", "terminal_probability", "unet_config"),
    },
    "probabilistic_unet": {"noise_seed"},
}


@pytest.mark.parametrize("baseline", [None, *BASELINES])
def test_no_key_is_ignored(baseline: str | None) -> None:
    """Training uses every key that a user may set, or refuses it."""
    files = ["train.json", *([f"baselines/{baseline}.json"] if baseline else [])]
    config = ConfigParser.load_config_files([str(CONFIGS / file) for file in files])
    assert unused_keys(config) == (OF_LEAF - OF_BASELINE.get(baseline, set()) if baseline else set())


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_baseline_replaces_the_slots_of_the_method(baseline: str) -> None:
    """And nothing else: what an overlay has to name is what distinguishes a method."""
    overlay = json.loads((CONFIGS / "baselines" / f"{baseline}.json").read_text())
    slots = {"network_def", "loss", "alignment", "training_record", "feature_cache"}
    assert slots <= set(overlay)
    kept = OF_BASELINE.get(baseline, set())
    assert "prepare_batch" in overlay or "mask_encoder" in kept
    own = set(overlay) - slots - kept - {"prepare_batch", "warmup_steps", "+imports", "+initialize"}
    parts = json.dumps({key: overlay[key] for key in slots | (kept & set(overlay))})
    assert own == {key for key in own if f"@{key}" in parts}
