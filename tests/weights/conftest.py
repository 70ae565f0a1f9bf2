from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diffusers.models import embeddings
from safetensors.torch import save_file

from tests.weights.published_layouts import ldm_autoencoder_shapes, ldm_encoder_shapes, ldm_unet_shapes
from tests.weights.published_rule import recorded_timestep_embedding, rule_state

LEAF_SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "_diffusers_version": "0.31.0",
    "num_train_timesteps": 1000,
    "beta_start": 0.0015,
    "beta_end": 0.0155,
    "beta_schedule": "linear",
    "trained_betas": None,
    "clip_sample": True,
    "set_alpha_to_one": True,
    "steps_offset": 0,
    "prediction_type": "sample",
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "clip_sample_range": 1.0,
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "rescale_betas_zero_snr": False,
}


@pytest.fixture(scope="session")
def records() -> dict[str, Any]:
    """What the published modules put out."""
    return json.loads(Path(__file__).with_name("published_records.json").read_text())


@pytest.fixture
def recorded_sinusoid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks get the sinusoid of the timestep that the recorded outputs were computed with."""
    monkeypatch.setattr(embeddings, "get_timestep_embedding", recorded_timestep_embedding)


@pytest.fixture(scope="session")
def make_leaf_folder() -> Callable[..., Path]:
    """Factory of a pipeline folder as LEAF's code saves it, :func:`write_leaf_folder`."""
    return write_leaf_folder


def write_leaf_folder(folder: Path, unet_channels: int = 32, channels: int = 32, **scheduler: Any) -> Path:
    """Write a pipeline folder as LEAF's code saves it, filled by the rule."""
    parts = {
        "unet": rule_state(ldm_unet_shapes(unet_channels)),
        "vae": rule_state(ldm_autoencoder_shapes(channels)),
        "latent_encoder": rule_state(ldm_encoder_shapes(channels), prefix="latent_encoder:"),
    }
    for name, state in parts.items():
        (folder / name).mkdir(parents=True)
        save_file(state, folder / name / "diffusion_pytorch_model.safetensors")
    (folder / "unet" / "config.json").write_text(json.dumps({"_class_name": "UNetModel", "num_heads": 8}))
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(LEAF_SCHEDULER | scheduler))
    return folder
