"""Sizes that would take hours or all memory are refused before anything is built."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from leaf_seg.diffusion import noise_scheduler
from leaf_seg.networks import (
    BasicUNetSegmenter,
    DynUNetSegmenter,
    LatentSegmenter,
    MaskCodec,
    Pixels,
    ProbabilisticUNetSegmenter,
    SegResNetSegmenter,
    SwinUNetSegmenter,
    TransUNetSegmenter,
    build_conditional_unet,
    initial_autoencoder,
    load_autoencoder,
)
from leaf_seg.networks.autoencoder import DIFFUSERS_WEIGHTS_NAME, Autoencoder
from leaf_seg.networks.limits import check_parameters
from leaf_seg.runtime.errors import InputError
from leaf_seg.weights.unet_folder import load_unet
from tests.conftest import TINY_UNET
from tests.faults.limited import MB, assert_one_line, run_limited

SIZE = (32, 32)
HUGE: dict[str, tuple[Callable[[], Any], str]] = {
    "layers": (lambda: build_conditional_unet({**TINY_UNET, "layers_per_block": 10**6}), "layers_per_block is 1000000"),
    "channels": (
        lambda: build_conditional_unet({**TINY_UNET, "block_out_channels": [8, 10**9]}),
        "block_out_channels is [8, 1000000000]",
    ),
    "levels": (
        lambda: build_conditional_unet({**TINY_UNET, "block_out_channels": [8] * 10**5}),
        "1 to 10 whole numbers, each 1 to 8192",
    ),
    "parameters": (
        lambda: build_conditional_unet({**TINY_UNET, "block_out_channels": [8192] * 9, "layers_per_block": 9}),
        "parameters; expected at most 1e+10",
    ),
    "steps": (lambda: noise_scheduler(num_train_timesteps=10**8), "num_train_timesteps is 100000000; expected"),
    "classes": (lambda: MaskCodec(10**9), "num_classes is 1000000000; expected a whole number, 2 to 256"),
    "blocks": (lambda: initial_autoencoder({"layers_per_block": 10**6}), "autoencoder: layers_per_block is 1000000"),
    "latents": (lambda: initial_autoencoder({"latent_channels": 10**9}), "latent_channels is 1000000000"),
    "basic": (lambda: BasicUNetSegmenter(3, SIZE, features=(10**6,) * 6), "features is"),
    "basic_classes": (lambda: BasicUNetSegmenter(10**9, SIZE), "BasicUNetSegmenter: num_classes is 1000000000"),
    "basic_size": (lambda: BasicUNetSegmenter(3, (10**9, 10**9)), "image_size is"),
    "dyn": (lambda: DynUNetSegmenter(3, SIZE, filters=(8192, 8192, 8192, 10**6)), "filters is"),
    "seg": (lambda: SegResNetSegmenter(3, SIZE, blocks_down=(1, 10**6)), "blocks_down is"),
    "seg_filters": (lambda: SegResNetSegmenter(3, SIZE, init_filters=8192, blocks_down=(1,) * 6), "parameters"),
    "probabilistic": (lambda: ProbabilisticUNetSegmenter(3, SIZE, features=(8192,) * 6), "parameters"),
    "probabilistic_latent": (lambda: ProbabilisticUNetSegmenter(3, SIZE, latent_dim=10**6), "latent_dim is 1000000"),
    "pixels": (lambda: Pixels(10**9), "Pixels: channels is 1000000000; expected a whole number, 1 to 256"),
    "swin": (lambda: SwinUNetSegmenter(3, (64, 64), depths=(1, 1, 1, 10**6)), "depths is"),
    "swin_features": (lambda: SwinUNetSegmenter(3, (64, 64), feature_size=8184, depths=(64,) * 4), "parameters"),
    "trans": (lambda: TransUNetSegmenter(3, (64, 64), num_layers=10**6), "num_layers is"),
    "trans_tokens": (lambda: TransUNetSegmenter(3, (64, 64), hidden_size=8192, num_layers=64), "parameters"),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_sizes(name: str) -> None:
    build, words = HUGE[name]

    def built() -> int:
        try:
            build()
        except InputError as error:
            sys.stderr.write(f"leaf_seg: {error}\n")
            return 1
        return 0

    outcome = run_limited(built, memory=200 * MB, seconds=5)
    assert_one_line(outcome, words)


def test_huge_noise(make_segmenter: Callable[..., LatentSegmenter]) -> None:
    with pytest.raises(InputError, match=r"image_size \(8192, 8192\) and 256 classes need .* numbers of noise"):
        make_segmenter(256, (8192, 8192))


@pytest.mark.parametrize("widths", [(320, 640, 1280, 1280), (192, 384, 384, 768, 768), (2048,) * 5])
def test_real_networks_are_small_enough(widths: tuple[int, ...]) -> None:
    check_parameters("A U-Net", widths, layers=3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"beta_start": 0}, "beta_start is 0; expected a number, above 0 to 1"),
        ({"beta_end": float("nan")}, "beta_end is nan"),
        ({"beta_start": 0.3, "beta_end": 0.2}, "beta_start is 0.3, beta_end 0.2"),
        ({"num_train_timesteps": True}, "num_train_timesteps is True"),
        ({"trained_betas": [0.1, 2.0]}, "trained_betas is"),
        ({"clip_sample": "no"}, "clip_sample is 'no'; expected true or false"),
        ({"clip_sample_range": float("inf")}, "clip_sample_range is inf"),
    ],
)
def test_schedules_that_make_no_sense(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as refusal:
        noise_scheduler(**values)
    assert words in str(refusal.value)


def test_eps_of_pure_noise(make_segmenter: Callable[..., LatentSegmenter]) -> None:
    scheduler = noise_scheduler(rescale_betas_zero_snr=True, clip_sample=False)
    assert torch.isfinite(make_segmenter(scheduler=scheduler)(torch.rand(1, 3, 16, 16))).all()
    with pytest.raises(InputError, match="ends in noise alone"):
        make_segmenter(scheduler=scheduler, parameterization="eps")


@pytest.fixture
def folder(make_autoencoder: Callable[..., Autoencoder], tmp_path: Path) -> Path:
    make_autoencoder().save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("scaling_factor", value) for value in (0, -1, 1e9, "0.7", None, True)),
        ("layers_per_block", 10**6),
        ("block_out_channels", [10**9] * 3),
        ("block_out_channels", "8,8,16"),
        ("latent_channels", 10**9),
    ],
)
def test_autoencoders_that_make_no_sense(key: str, value: Any, folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(InputError) as refusal:
        load_autoencoder(folder)
    assert f"{file}: autoencoder: {key} is " in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value * float("nan"), "have values that are NaN or infinite (decoder.conv_in.bias)"),
        (lambda value: value + float("inf"), "have values that are NaN or infinite"),
        (lambda value: value.int(), "numbers of the type I32, expected F16"),
    ],
    ids=["nan", "inf", "int"],
)
def test_weights_of_autoencoders_are_finite_numbers(
    change: Callable[[torch.Tensor], torch.Tensor], words: str, folder: Path
) -> None:
    state = load_file(folder / DIFFUSERS_WEIGHTS_NAME)
    state["decoder.conv_in.bias"] = change(state["decoder.conv_in.bias"])
    save_file(state, folder / DIFFUSERS_WEIGHTS_NAME, metadata={"format": "pt"})
    with pytest.raises(InputError) as refusal:
        load_autoencoder(folder)
    assert words in str(refusal.value)
    assert str(folder) in str(refusal.value)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), None], ids=str)
def test_weights_of_unets_are_finite_numbers(value: float | None, tmp_path: Path) -> None:
    config = {**TINY_UNET, "in_channels": 4, "out_channels": 4}
    unet = build_conditional_unet(TINY_UNET)
    unet = type(unet)(**config)
    unet.save_pretrained(tmp_path)
    load_unet(config, tmp_path)
    state = load_file(tmp_path / DIFFUSERS_WEIGHTS_NAME)
    bias = state["conv_in.bias"]
    state["conv_in.bias"] = bias.int() if value is None else bias.fill_(value)
    save_file(state, tmp_path / DIFFUSERS_WEIGHTS_NAME)
    with pytest.raises(InputError, match="whole numbers" if value is None else r"NaN or infinite \(conv_in\.bias\)"):
        load_unet(config, tmp_path)
