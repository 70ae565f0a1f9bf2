"""Tiny teachers with random weights, saved as the published ones are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    PreTrainedModel,
)

SMALL = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 56}
TEXT = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def _clip_vision() -> CLIPVisionConfig:
    return CLIPVisionConfig(**SMALL, patch_size=16, intermediate_size=48)


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "dinov2": lambda: Dinov2Model(Dinov2Config(**SMALL, patch_size=14)),
    "dinov2_with_registers": lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SMALL, patch_size=14)),
    "clip_vision_model": lambda: CLIPVisionModel(_clip_vision()),
    "clip": lambda: CLIPModel(CLIPConfig(vision_config=_clip_vision().to_dict(), text_config={**TEXT, **TOKENS})),
}


@pytest.fixture(scope="session")
def teacher_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of each kind of teacher; do not change them."""
    folders = {}
    for name, build in MODELS.items():
        torch.manual_seed(0)
        model = build()
        for parameter in model.parameters():  # the usual 0.02 would make all the tokens nearly the same
            torch.nn.init.normal_(parameter, std=0.2)
        folders[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(folders[name])
    return folders
