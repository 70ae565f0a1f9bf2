"""Overrides of items deeper in a config; the real one, and what is sound in it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from leaf_seg.runtime.config_items import check_item
from leaf_seg.runtime.errors import InputError

CONFIGS = Path(inspect.getfile(check_item)).parents[2] / "configs"


def check(key: str, value: Any, file: str = "train.json") -> None:
    check_item(ConfigParser.load_config_files([str(CONFIGS / file)]), key, value, file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train#trainer#max_epochs", 3),
        ("train::trainer::max_epochs", "$2 + 1"),
        ("train#trainer#amp", True),  # of MONAI's SupervisedTrainer
        ("train#trainer#key_train_metric", {"loss": {"_target_": "dict"}}),
        ("train#dataloader#prefetch_factor", 4),
        ("train#dataloader#drop_last", True),
        ("train#dataloader#batch_size", "@accumulation_steps"),
        ("train#augmentation#transforms#1#rotation", 0.1),
        ("train#augmentation#transforms#-1#_disabled_", True),
        ("train#augmentation#transforms", []),
        ("train#dataset#data", [{"image": "a.png", "label": "b.png"}]),
        ("train#dataset#cache_dir", "/tmp"),
        ("validate#handlers", []),
        ("validate#handlers#5#provenance#who", "me"),
        ("validate#key_metric#another", {"_target_": "dict"}),
        ("validate#inferer#num_samples", 3),
        ("validate#inferer#_requires_", "@device"),
        ("unet_config#block_out_channels", [32, 32, 32]),
        ("unet_config#num_attention_heads", 4),
        ("unet_config#freq_shift", 0.5),
        ("unet_config#sample_size", [8, 8]),
        ("unet_config#dropout", 0.2),
        ("unet_config", {"sample_size": 16, "num_attention_heads": 4}),
        ("scheduler#beta_start", 1e-4),
        ("scheduler#clip_sample", False),
        ("optimizer#betas", [0.9, 0.99]),
        ("optimizer#lr", 0.1),
        ("optimizer#_target_", "torch.optim.SGD"),
        ("warmup_steps#at_most", 5),
        ("sampler", {"_target_": "leaf_seg.diffusion.Ddim", "num_steps": 3}),
        ("training_record#anything", 1),
        ("teacher", {"_target_": "leaf_seg.distillation.Teacher"}),
        ("alignment", "$None"),
        ("validate#evaluator#ema", None),
        ("training", ["$print(1)"]),
    ],
)
def test_what_is_sound_passes(key: str, value: Any) -> None:
    check(key, value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "train#trainer#max_epoch",
            3,
            "no key 'train#trainer#max_epoch' in train.json; did you mean 'train#tr",
        ),
        (
            "train::trianer::max_epochs",
            3,
            "no key 'train#trianer#max_epochs' in train.json; did you mean",
        ),
        ("train#dataloader#prefetch_facter", 3, "no key .*; did you mean 'train#dataloader#prefetch_factor'"),
        ("train#trainor", {}, "no key 'train#trainor' in train.json; did you mean 'train#trainer'"),
        ("unet_config#block_out_chanels", [1], "no key .*; did you mean 'unet_config#block_out_channels'"),
        (
            "unet_config",
            {"layer_per_block": 1},
            "no key 'unet_config#layer_per_block'; did you mean 'unet",
        ),
        (
            "sampler",
            {"_target_": "leaf_seg.diffusion.Ddim", "num_step": 3},
            "no key .*; did you mean 'sampler#num_st",
        ),
        (
            "validate#inferer#overlapp",
            1,
            "no key 'validate#inferer#overlapp' in train.json; validate#inferer has",
        ),
        ("train#augmentation#transforms#99#x", 1, r"no key .*: train#augmentation#transforms is a list with 0 to 4\. "),
        ("train#augmentation#transforms#x", 1, "no key .* is a list with"),
        ("mirror_axes#0", 1, r"no key .* is a list with nothing\. "),
        ("weight_decay#x", 1, "no key 'weight_decay#x' in train.json: weight_decay is 0.01, without parts"),
        ("run#0", 1, "no key 'run#0' in train.json: run is '%training', without parts"),
        ("train#trainer#max_epochs", "abc", "train#trainer#max_epochs is 'abc'; expected a whole number, 1 to"),
        ("train#trainer#max_epochs", 0, "train#trainer#max_epochs is 0; expected a whole number, 1 to"),
        (
            "optimizer#lr",
            "abc",
            r"optimizer#lr is 'abc'; expected a number or a list or null\.",
        ),
        ("train#dataloader#batch_size", 1.5, "train#dataloader#batch_size is 1.5; expected a whole number or null"),
        ("train#dataloader#drop_last", "false", "train#dataloader#drop_last is 'false'; expected True or False"),
        ("validate#inferer#num_samples", "abc", "validate#inferer#num_samples is 'abc'; expected a whole number"),
        ("unet_config#block_out_channels", 32, "unet_config#block_out_channels is 32; expected a list"),
        ("unet_config#layers_per_block", "two", "unet_config#layers_per_block is 'two'; expected a number"),
        ("unet_config", 3, "unet_config is 3; expected a dictionary"),
        ("optimizer", "adam", "optimizer is 'adam'; expected a list or a dictionary or null"),
        ("train#augmentation#transforms", 3, "train#augmentation#transforms is 3; expected a list"),
        (
            "sampler#_target_",
            "leaf_seg.diffusion.Dimm",
            "sampler#_target_ is 'leaf_seg.diffusion.Dimm'; expected",
        ),
    ],
)
def test_what_is_not_is_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}") as caught:
        check(key, value)
    assert "\n" not in str(caught.value)


def test_the_autoencoder_s_dictionary() -> None:
    check("autoencoder_def#config#norm_num_groups", 8, "train_autoencoder.json")
    with pytest.raises(InputError, match="did you mean 'autoencoder_def#config#norm_num_groups'"):
        check("autoencoder_def#config#norm_num_group", 8, "train_autoencoder.json")


def test_a_new_item_that_something_refers_to() -> None:
    config: dict[str, Any] = {"train": {"a": 1}}
    check_item(config, "train#b", 1, "x.json", referred={("train", "b")})
    with pytest.raises(InputError, match=r"no key 'train#b' in x\.json; train has a"):
        check_item(config, "train#b", 1, "x.json")
