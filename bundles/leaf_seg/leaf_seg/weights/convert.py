"""Recognises published weights and writes them as folders that leaf_seg works with."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diffusers import UNet2DModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from torch import nn
from transformers import ImageProcessingMixin, PreTrainedModel
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.networks.autoencoder import DIFFUSERS_WEIGHTS_NAME, Autoencoder, initial_autoencoder
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.files import check_home, remove_unfinished, scratch_beside
from leaf_seg.weights.assembly import State
from leaf_seg.weights.dinov2 import dinov2_from_original, is_original_dinov2
from leaf_seg.weights.ldm_autoencoder import WHAT as LDM_AUTOENCODER
from leaf_seg.weights.ldm_autoencoder import is_ldm_autoencoder, ldm_autoencoder
from leaf_seg.weights.ldm_checkpoint import EMA_PREFIX, UNET_PREFIX, check_nothing_left, part, unet_weights
from leaf_seg.weights.ldm_unet import WHAT as LDM_UNET
from leaf_seg.weights.ldm_unet import is_ldm_unet, ldm_unet
from leaf_seg.weights.model_folder import (
    AUTOENCODER_NAME,
    MODEL_CONFIG_NAME,
    MODEL_SAFETENSORS_NAME,
    MODEL_WEIGHTS_NAME,
    save_model,
)
from leaf_seg.weights.published_segmenter import PublishedModel, is_leaf_folder, is_sdseg, leaf_model, sdseg_model
from leaf_seg.weights.taesd import taesd, taesd_files
from leaf_seg.weights.tensor_file import PICKLE_SUFFIXES, SAFE_SUFFIX, read_tensors

logger = logging.getLogger(__name__)

KNOWN = (
    "LDM's kl-f8 autoencoder, LDM's lsun_churches256 U-Net, LEAF's pipeline folder, a SDSeg checkpoint, DINOv2 in its "
    "original layout, TAESD's two files, and autoencoders in diffusers' format (AutoencoderKL, AutoencoderTiny)"
)
_IMAGE_SIZE = (256, 256)  # of LEAF and SDSeg
_CONFIG_FILES = ["config.json", "*/config.json", "*/scheduler_config.json"]
_DIFFUSERS_FILES = ("config.json", DIFFUSERS_WEIGHTS_NAME)


@dataclass(frozen=True)
class Options:
    """What the weights do not say.

    Attributes:
        ema: take averaged weights where the file has them beside the plain ones; None takes what the authors' code
            takes: plain ones of LDM, to train on, averaged ones of SDSeg.
        image_size: (H, W) that a segmentation model works at; None is 256 x 256.
        class_name: of its foreground; None is "foreground".
    """

    ema: bool | None = None
    image_size: Sequence[int] | None = None
    class_name: str | None = None

    def refuse(self, what: str, *names: str) -> None:
        """Refuse options that have no effect on what was recognised.

        Raises:
            InputError: Names those that are set.
        """
        flags = {"ema": "--weights", "image_size": "--image-size", "class_name": "--class-name"}
        found = [flags[name] for name in names if getattr(self, name) is not None]
        if found:
            raise InputError(f"This is {what}, on which {' and '.join(found)} would have no effect: leave that out.")


@dataclass(frozen=True)
class Converted:
    """What was found, and what it became.

    Attributes:
        what: the source, as it was recognised.
        content: what to save.
        usage: how the folder is used.
    """

    what: str
    content: Autoencoder | UNet2DModel | PreTrainedModel | PublishedModel
    usage: str

    @property
    def num_parameters(self) -> int:
        """Parameters of what is saved; of a segmentation model those that inference needs."""
        module: nn.Module = self.content.segmenter if isinstance(self.content, PublishedModel) else self.content
        return sum(parameter.numel() for parameter in module.parameters())


def convert(
    source: str | os.PathLike[str], folder: str | os.PathLike[str], options: Options | None = None
) -> Converted:
    """Convert published weights; the folder is there only when all of it is.

    Args:
        source: file, folder, or name on the Hugging Face hub.
        folder: to write; must not exist, or be empty.
        options: what the weights do not say.

    Raises:
        InputError: When the folder is taken, or the source is not one of those known, complete and unchanged.
    """
    check_home(Path(folder))
    target = Path(folder).resolve()
    options = options or Options()
    if options.class_name == "background":
        raise InputError("--class-name is background, the name of the other class; expected one of the foreground.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there already; choose another folder with --to, or remove it.")
    try:
        converted = recognise(source, options)
    except InputError as error:
        raise error if os.fspath(source) in str(error) else InputError(f"{source}: {error}") from error
    logger.info("%s: %s, %s parameters.", source, converted.what, f"{converted.num_parameters:,}".replace(",", " "))
    with _new_folder(target) as temporary:
        _save(converted, temporary, options)
        for weights in temporary.rglob(f"*{SAFE_SUFFIX}"):  # safetensors lets nobody but their owner read them
            shutil.copymode(weights.with_name("config.json"), weights)
    return converted


def recognise(source: str | os.PathLike[str], options: Options) -> Converted:
    """Read the source in memory as what it is.

    Raises:
        InputError: When it is none of the kinds known, or not complete.
    """
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, options)
    if path.is_file():
        return _from_file(path, options)
    name = os.fspath(source)
    if path.suffix in (SAFE_SUFFIX, *PICKLE_SUFFIXES) or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InputError(f"No file or folder {path.resolve()}; expected weights: {KNOWN}.")
    return _from_folder(_download(name), options)


def _from_folder(path: Path, options: Options) -> Converted:
    files = taesd_files(path)
    if files is not None:
        return _autoencoder("TAESD in its author's layout", taesd(*files), options)
    if is_leaf_folder(path):
        ema = bool(options.ema)
        what = f"a folder of LEAF ({_which(ema)} U-Net)"
        return _segmenter(what, leaf_model(path, options.image_size or _IMAGE_SIZE, ema))
    for candidate in (path, path / "vae"):
        if all((candidate / name).is_file() for name in _DIFFUSERS_FILES):
            found = initial_autoencoder({}, candidate)
            return _autoencoder("an autoencoder in diffusers' format", found, options)
    names = sorted(item.name for item in path.iterdir())
    if MODEL_CONFIG_NAME in names and {MODEL_WEIGHTS_NAME, MODEL_SAFETENSORS_NAME} & set(names):
        raise InputError(f"{path.resolve()} is a model of leaf_seg already: use it by --model_dir or --init_dir.")
    files_there = [name for name in names if name.endswith((SAFE_SUFFIX, *PICKLE_SUFFIXES))]
    hint = f" If {files_there[0]} is what you mean, give the file itself." if files_there else ""
    raise InputError(
        f"Nothing known in the folder {path.resolve()} (it holds {', '.join(names[:6]) or 'nothing'}); expected one of "
        f"these, as a folder or as the file itself: {KNOWN}.{hint}"
    )


def _from_file(path: Path, options: Options) -> Converted:
    source = read_tensors(path)
    if is_sdseg(source):
        ema = options.ema is not False
        what = f"a checkpoint of SDSeg ({_which(ema)} U-Net)"
        return _segmenter(what, sdseg_model(source, options.image_size or _IMAGE_SIZE, ema))
    if is_ldm_unet(part(source, UNET_PREFIX)):
        ema = bool(options.ema)
        check_nothing_left(source, (UNET_PREFIX, EMA_PREFIX, "first_stage_model."), LDM_UNET)
        return _unet(f"{LDM_UNET}, {_which(ema)} weights", unet_weights(source, ema), options)
    if is_ldm_unet(source):
        options.refuse(f"{LDM_UNET} alone", "ema")
        return _unet(LDM_UNET, source, options)
    if is_ldm_autoencoder(source):
        return _autoencoder(LDM_AUTOENCODER, ldm_autoencoder(source, ignored=("loss.", EMA_PREFIX)), options)
    if is_original_dinov2(source):
        options.refuse("DINOv2", "ema", "image_size", "class_name")
        model = dinov2_from_original(source)
        return Converted("DINOv2 in its authors' layout", model, "align with it: --teacher {folder}")
    if path.stem in ("taesd_encoder", "taesd_decoder"):
        raise InputError(f"{path} is one half of TAESD; give the folder with both: {path.parent}.")
    raise InputError(
        f"{path} holds {len(source)} tensors ({', '.join(sorted(source)[:4])}, ...) whose names belong to nothing "
        f"known; expected one of: {KNOWN}."
    )


def _which(ema: bool) -> str:
    return "averaged" if ema else "plain"


def _autoencoder(what: str, autoencoder: Autoencoder, options: Options) -> Converted:
    options.refuse(what, "ema", "image_size", "class_name")
    return Converted(what, autoencoder, "train with it: --autoencoder_dir {folder}")


def _unet(what: str, source: State, options: Options) -> Converted:
    options.refuse(what, "image_size", "class_name")
    unet = ldm_unet(source)
    if unet.config["in_channels"] != unet.config["out_channels"]:
        raise InputError(
            f"The U-Net takes {unet.config['in_channels']} channels and gives {unet.config['out_channels']}: it is one "
            "that was trained to segment, and needs its image encoder. Convert the whole folder of LEAF or checkpoint "
            "of SDSeg."
        )
    return Converted(
        what,
        unet,
        "start training from it: --unet_dir {folder}, with methods/leaf_paper.json and profiles/ldm_kl8.json",
    )


def _segmenter(what: str, model: PublishedModel) -> Converted:
    usage = (
        "segment with it: --model_dir {folder}, or python -m leaf_seg segment --model {folder}; train on: --init_dir"
    )
    return Converted(what, model, f"{usage} {{folder}}")


def _save(converted: Converted, folder: Path, options: Options) -> None:
    content = converted.content
    if not isinstance(content, PublishedModel):
        content.save_pretrained(folder)
        if isinstance(content, PreTrainedModel):
            normalization = {"image_mean": IMAGENET_DEFAULT_MEAN, "image_std": IMAGENET_DEFAULT_STD}
            ImageProcessingMixin(**normalization).save_pretrained(folder)
        return
    settings = ModelSettings(("background", options.class_name or "foreground"), content.segmenter.image_size)
    save_model(content.segmenter, settings, folder, {"converted_from": converted.what}, MODEL_SAFETENSORS_NAME)
    content.autoencoder.save_pretrained(folder / AUTOENCODER_NAME)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder that the one wanted becomes when the block has ended well.

    What a process that was killed in the block has left, the next one that writes there removes.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder.parent)
        with scratch_beside(folder.parent) as scratch:
            temporary = scratch / folder.name
            temporary.mkdir()
            yield temporary
            temporary.replace(folder)  # takes the place of an empty folder, too
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"Cannot write {folder} ({reason}); choose another folder with --to, free space, or "
            "correct the permissions."
        ) from error


def _download(name: str) -> Path:
    """The files of an autoencoder or of LEAF from the Hugging Face cache or hub."""
    try:
        configs = Path(snapshot_download(name, allow_patterns=_CONFIG_FILES))
        folders = ("unet", "vae", "latent_encoder") if is_leaf_folder(configs) else ("vae",)
        weights = [f"{folder}/{DIFFUSERS_WEIGHTS_NAME}" for folder in folders if (configs / folder).is_dir()]
        return Path(snapshot_download(name, allow_patterns=weights or [DIFFUSERS_WEIGHTS_NAME]))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"No weights {name!r}: it is no local file or folder, not in the Hugging Face cache, and the hub did not "
            f"give it ({reason}). Expected one of: {KNOWN}."
        ) from error
