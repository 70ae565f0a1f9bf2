"""The published models, LEAF's and SDSeg's, as LatentSegmenter."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DModel

from leaf_seg.diffusion import DiffusionSettings
from leaf_seg.diffusion.scheduler import MAX_TIMESTEPS, check_scheduler
from leaf_seg.networks import LatentSegmenter, MaskCodec
from leaf_seg.networks.autoencoder import DIFFUSERS_WEIGHTS_NAME, autoencoder_config, autoencoder_from_config
from leaf_seg.networks.latents import LatentDecoder, LatentEncoder
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.json_file import read_json_object
from leaf_seg.weights.assembly import State, shape_of
from leaf_seg.weights.ldm_autoencoder import ldm_autoencoder, ldm_encoder_state
from leaf_seg.weights.ldm_checkpoint import EMA_PREFIX, UNET_PREFIX, check_nothing_left, part, unet_weights
from leaf_seg.weights.ldm_unet import ldm_unet
from leaf_seg.weights.tensor_file import read_tensors

_SCHEDULER_FILE = "scheduler/scheduler_config.json"
_PARAMETERIZATIONS = {"sample": "x0", "v_prediction": "v", "epsilon": "eps"}
_SDSEG = "a checkpoint of SDSeg"
_FIRST_STAGE, _COND_STAGE = "first_stage_model.", "cond_stage_model."


class PublishedModel(NamedTuple):
    """A segmentation model and the frozen autoencoder that it was trained with.

    Attributes:
        segmenter: all that inference needs; two classes.
        autoencoder: whole, to train on with.
    """

    segmenter: LatentSegmenter
    autoencoder: AutoencoderKL


def is_leaf_folder(folder: Path) -> bool:
    """Whether a folder is one that LEAF's published code saves; only that has an image encoder of its own."""
    return (folder / "latent_encoder").is_dir()


def is_sdseg(keys: Mapping[str, Any]) -> bool:
    """Whether the names are those of a SDSeg checkpoint: a U-Net with an image encoder."""
    return f"{UNET_PREFIX}input_blocks.0.0.weight" in keys and any(key.startswith(_COND_STAGE) for key in keys)


def leaf_model(folder: str | os.PathLike[str], image_size: Sequence[int], ema: bool = False) -> PublishedModel:
    """Read the pipeline folder that LEAF's published code writes; the model segments as theirs does.

    Their pipeline clips the predicted latent to [-1, 1] by diffusers' default. The model does, too, if the folder's
    scheduler says so.

    Args:
        folder: with ``unet``, ``vae``, ``latent_encoder`` and ``scheduler``.
        image_size: (H, W) to work at; theirs is 256 x 256.
        ema: take the averaged U-Net, which a folder of their training has in ``unet_ema``.

    Raises:
        InputError: When a part is missing or does not fit.
    """
    path, unet_part = Path(folder), "unet_ema" if ema else "unet"
    parts = (unet_part, "vae", "latent_encoder")
    needed = [*(f"{name}/{DIFFUSERS_WEIGHTS_NAME}" for name in parts), f"{unet_part}/config.json", _SCHEDULER_FILE]
    missing = [name for name in needed if not (path / name).is_file()]
    if missing:
        raise InputError(
            f"{path} was recognised as a folder of LEAF, but it lacks {', '.join(missing)}. A folder of their training "
            "has no vae and no scheduler: put those of the pipeline it started from beside."
        )
    scheduler, parameterization = _leaf_scheduler(path / _SCHEDULER_FILE)
    autoencoder = ldm_autoencoder(_tensors(path, "vae"), what="the vae of a folder of LEAF")
    heads = read_json_object(path / unet_part / "config.json").get("num_heads")
    if isinstance(heads, bool) or not isinstance(heads, int) or not 1 <= heads <= 8192:
        raise InputError(f"{path / unet_part / 'config.json'} has num_heads {heads!r}; expected 8, as LEAF's networks.")
    unet = ldm_unet(_tensors(path, unet_part), heads, f"the {unet_part} of a folder of LEAF")
    if unet.config["in_channels"] != 2 * unet.config["out_channels"]:
        raise InputError(
            f"The U-Net in {path} has {unet.config['in_channels']} input channels; expected 8. It is the one that "
            "LEAF's training starts from: convert the folder that the training has written."
        )
    return _join(
        autoencoder,
        ldm_encoder_state(_tensors(path, "latent_encoder"), autoencoder, "the image encoder of a folder of LEAF"),
        unet,
        DiffusionSettings(scheduler, parameterization),
        image_size,
    )


def sdseg_model(source: Mapping[str, torch.Tensor], image_size: Sequence[int], ema: bool = True) -> PublishedModel:
    """Read a SDSeg checkpoint: another order of the input, an image latent that is not scaled, its own scale and betas.

    SDSeg's image encoder ends in a 1x1 convolution to 4 channels. It becomes the first half of ``quant_conv``, which
    gives the mode; the second half, the variance that nothing uses, is 0.

    Args:
        source: whole state dictionary.
        image_size: (H, W) to work at; theirs is 256 x 256.
        ema: the averaged U-Net, which SDSeg segments with; otherwise the last one.

    Raises:
        InputError: When a part is missing, left over or does not fit.
    """
    parts = (UNET_PREFIX, EMA_PREFIX, _FIRST_STAGE, f"{_COND_STAGE}encoder.", f"{_COND_STAGE}out.")
    check_nothing_left(source, parts, _SDSEG)
    shape_of(source, "scale_factor", _SDSEG, 0)
    scale = float(source["scale_factor"])
    if not 0 < scale < float("inf"):
        raise InputError(f"scale_factor of the checkpoint is {scale}; expected a number above 0.")
    what = f"the autoencoder of SDSeg ({_FIRST_STAGE}...)"
    autoencoder = ldm_autoencoder(part(source, _FIRST_STAGE), scale, what=what)
    what = f"the image encoder of SDSeg ({_COND_STAGE}...; quant_conv is its out)"
    image_encoder = part(source, _COND_STAGE)
    for kind, rank in (("weight", 4), ("bias", 1)):
        shape_of(source, f"{_COND_STAGE}out.{kind}", _SDSEG, rank)
        mean = image_encoder.pop(f"out.{kind}")
        image_encoder[f"quant_conv.{kind}"] = torch.cat([mean, torch.zeros_like(mean)])
    return _join(
        autoencoder,
        ldm_encoder_state(image_encoder, autoencoder, what),
        ldm_unet(unet_weights(source, ema), what="the U-Net of SDSeg"),
        DiffusionSettings(_scheduler(source), "eps", image_latent_first=False, ldm_schedule=True),
        image_size,
        scaled=False,
    )


def _join(
    autoencoder: AutoencoderKL,
    image_encoder: State,
    unet: UNet2DModel,
    diffusion: DiffusionSettings,
    image_size: Sequence[int],
    scaled: bool = True,
) -> PublishedModel:
    """The segmenter of these parts, which shares their memory."""
    with torch.device("meta"):
        empty = autoencoder_from_config(autoencoder_config(autoencoder))
    encoder, decoder = LatentEncoder(empty, scaled), LatentDecoder(empty)
    segmenter = LatentSegmenter(encoder, unet, decoder, MaskCodec(2), diffusion, image_size)
    segmenter.image_encoder.load_state_dict(image_encoder, assign=True)
    decoding = {key: tensor for key, tensor in autoencoder.state_dict().items() if key in decoder.state_dict()}
    segmenter.mask_decoder.load_state_dict(decoding, assign=True)
    return PublishedModel(segmenter.eval(), autoencoder)


def _scheduler(source: Mapping[str, torch.Tensor]) -> DDIMScheduler:
    """LDM's linear betas, linear in the square root, from the two ends of those in the checkpoint."""
    shape_of(source, "betas", _SDSEG, 1)
    betas = source["betas"].double()
    if not 1 <= len(betas) <= MAX_TIMESTEPS or not bool(((betas > 0) & (betas < 1)).all()):
        raise InputError(f"The checkpoint has {len(betas)} betas; expected 1 to {MAX_TIMESTEPS} between 0 and 1.")
    start, end = (float(f"{beta:.6g}") for beta in (betas[0], betas[-1]))
    expected = torch.linspace(start**0.5, end**0.5, len(betas), dtype=torch.float64) ** 2
    if not torch.allclose(betas, expected, rtol=1e-6, atol=0):
        raise InputError(
            f"The betas of the checkpoint, from {start} to {end}, are not linear in their square root, as SDSeg's are."
        )
    return DDIMScheduler(
        num_train_timesteps=len(betas),
        beta_schedule="scaled_linear",
        beta_start=start,
        beta_end=end,
        prediction_type="epsilon",
        clip_sample=False,
    )


def _leaf_scheduler(file: Path) -> tuple[DDIMScheduler, str]:
    """LEAF's noise schedule, and what the U-Net predicts."""
    config = read_json_object(file)
    kind = config.get("prediction_type")
    if kind not in _PARAMETERIZATIONS or config.get("thresholding"):
        raise InputError(
            f"{file} has prediction_type {kind!r} and thresholding {config.get('thresholding')!r}; expected one of "
            f"{', '.join(_PARAMETERIZATIONS)} without thresholding, as LEAF's."
        )
    check_scheduler(config)
    return DDIMScheduler.from_config(config), _PARAMETERIZATIONS[kind]


def _tensors(folder: Path, name: str) -> State:
    return read_tensors(folder / name / DIFFUSERS_WEIGHTS_NAME)
