"""The checks of ``zoo_check.py`` that use MONAI from Python: at the root of a zoo, without leaf_seg installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, create_workflow, load, verify_net_in_out

BUNDLE = "models/leaf_seg"
CONFIGS = f"{BUNDLE}/configs"
META = f"{CONFIGS}/metadata.json"
FILES: dict[str, Any] = {"config_file": f"{CONFIGS}/inference.json", "meta_file": META, "bundle_root": BUNDLE}
TRAIN, EVALUATE = ["train.json"], ["train.json", "evaluate.json"]
COMBINATIONS = (
    *(TRAIN, [*TRAIN, "multi_gpu_train.json"], EVALUATE, [*EVALUATE, "multi_gpu_evaluate.json"]),
    *(["inference.json"], ["inference.json", "inference_gpu.json"], ["inference.json", "inference_trt.json"]),
    *(
        ["inference.json", "multi_gpu_inference.json"],
        ["inference.json", "inference_gpu.json", "multi_gpu_inference.json"],
    ),
    *(["train_autoencoder.json"], ["train_autoencoder.json", "evaluate_autoencoder.json"]),
)


def check_load() -> None:
    """The shipped network, without data."""
    network: Any = load("leaf_seg", bundle_dir="models")
    other: Any = load("leaf_seg", bundle_dir=str(Path("models").resolve()), workflow_type="inference")
    image = torch.rand(2, 3, 80, 80)
    with torch.no_grad():
        assert torch.equal(network.eval()(image), other.eval()(image))
    assert Path(sys.modules["leaf_seg"].__file__ or "").is_relative_to(Path(BUNDLE).resolve())


def check_properties() -> None:
    """Those that MONAI asks for, of training, evaluation and inference."""
    from ci.unit_tests.test_leaf_seg import SMALL, make_volumes

    make_volumes("generated")
    for files in (TRAIN, EVALUATE):
        settings: dict[str, Any] = SMALL | {
            "dataset_dir": "generated",
            "model_dir": f"{BUNDLE}/models",
            "num_classes": 3,
        }
        names = [f"{CONFIGS}/{file}" for file in files]
        workflow = create_workflow(config_file=names, workflow_type="train", **settings)
        assert workflow.check_properties() == []
    workflow = create_workflow(workflow_type="infer", dataset_dir="generated/images", **FILES)
    assert workflow.check_properties() == []
    supported = ConfigParser.load_config_file(META)["supported_apps"]
    assert list(supported) == ["monai-label"], "whose properties are those of inference"


def check_references() -> None:
    """All of the config files that belong together resolve."""
    for files in COMBINATIONS:
        parser = ConfigParser()
        parser.read_config([f"{CONFIGS}/{file}" for file in files])
        for key in parser.get():
            parser.get_parsed_content(key, instantiate=False, eval_expr=False)


def check_tracking() -> None:
    """MLflow's handlers can be put in."""
    for files, kind in ((TRAIN, "train"), (["inference.json"], "infer")):
        names = [f"{CONFIGS}/{file}" for file in files]
        parser = ConfigWorkflow(names, workflow_type=kind, tracking="mlflow").parser
        handlers = parser["train#handlers" if kind == "train" else "handlers"]
        assert any(isinstance(item, dict) and item["_target_"] == "MLFlowHandler" for item in handlers)


def check_shape_from_python() -> None:
    """As the zoo calls it."""
    verify_net_in_out(net_id="network_def", **FILES)


def check_torchscript_from_python() -> None:
    """As the zoo calls it: compiled, not traced by an argument, and without a key in the checkpoint."""
    file = f"{BUNDLE}/models/verify_model.ts"
    ckpt_export(net_id="network_def", filepath=file, ckpt_file=f"{BUNDLE}/models/model.pt", **FILES)
    image = torch.rand(3, 3, 80, 80)
    network: Any = load("leaf_seg", bundle_dir="models", device="cpu")
    with torch.no_grad():
        torch.testing.assert_close(
            torch.jit.load(file, map_location="cpu")(image), network.eval()(image), rtol=0, atol=1e-4
        )


CHECKS = {
    "load": check_load,
    "properties": check_properties,
    "references": check_references,
    "tracking": check_tracking,
    "shape_from_python": check_shape_from_python,
    "torchscript_from_python": check_torchscript_from_python,
}

if __name__ == "__main__":
    sys.path.append(".")
    CHECKS[sys.argv[1]]()
