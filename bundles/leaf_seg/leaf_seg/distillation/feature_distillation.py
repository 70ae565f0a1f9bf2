"""Feature distillation: aligns a U-Net feature map with a frozen teacher's patch tokens during training."""

from __future__ import annotations

import difflib
import logging
import math
import os
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers import UNet2DModel
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from leaf_seg.distillation.recipes import RECIPES
from leaf_seg.distillation.teacher import Teacher, load_teacher
from leaf_seg.networks import FeatureCache
from leaf_seg.runtime.distributed import num_processes
from leaf_seg.runtime.errors import InputError

logger = logging.getLogger(__name__)


def alignment_loss(teacher_tokens: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
    """Negative mean cosine similarity of two sets of tokens, L_distill = -mean_i cos(h_i, phi(m_i)) (Eq. 5).

    Differs from the published code: the mean is over all tokens of the batch, as in the paper, where the code divides
    by the batch size a second time; its lambda is B times ours.

    Args:
        teacher_tokens: h, [B, L, D].
        projected: phi(m), [B, L, D].

    Returns:
        Scalar in [-1, 1], computed in fp32.

    Raises:
        ValueError: When the shapes differ.
    """
    if teacher_tokens.shape != projected.shape:
        raise ValueError(f"Token shapes differ: teacher {tuple(teacher_tokens.shape)}, U-Net {tuple(projected.shape)}.")
    with torch.autocast(projected.device.type, enabled=False):
        return -functional.cosine_similarity(teacher_tokens.float(), projected.float(), dim=-1).mean()


def match_tokens(tokens: torch.Tensor, grid: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """Tokens on another grid, by bilinear interpolation (anti-aliased where the grid shrinks).

    Args:
        tokens: [B, L, D], row by row.
        grid: (h, w) of the tokens, L = h * w.
        size: (H, W) wanted.

    Returns:
        [B, H * W, D]; the tokens themselves when the grids are equal.
    """
    if grid == size:
        return tokens
    tokens_map = tokens.transpose(1, 2).unflatten(2, grid)  # [B, D, h, w]
    tokens_map = functional.interpolate(tokens_map, size, mode="bilinear", antialias=True)  # [B, D, H, W]
    return tokens_map.flatten(2).transpose(1, 2)


@dataclass(frozen=True)
class Alignment:
    """What is aligned with what.

    Attributes:
        unet: diffusers ``UNet2DModel`` of the network that trains, on its device; bare, not wrapped in DDP.
        teacher: folder, file or hub name for :func:`load_teacher`, or a teacher.
        weight: lambda, above 0.
        layer: name in the U-Net of the layer to align; it returns one feature map [B, C, H, W]. At 256 pixels the
            paper's is ``down_blocks.0.downsamplers.0`` (192 x 16 x 16, so that H * W = L).
        recipe: of :data:`~leaf_seg.distillation.recipes.RECIPES`: "repa", as in the paper, or "irepa".
    """

    unet: UNet2DModel
    teacher: str | os.PathLike[str] | Teacher
    weight: float
    layer: str = "down_blocks.0.resnets.0"
    recipe: str = "repa"


class FeatureDistillation:
    """Ignite handler that adds the alignment loss to a trainer's loss, L = L_pred + lambda L_distill (Eq. 6).

    For the length of each training step's forward pass a hook watches one layer of the U-Net. At ``LOSS_COMPLETED`` the
    watched feature map, projected, is compared with the teacher's tokens of the clean image. Between steps the
    network carries no hook, so that it can be copied, saved and traced, unless ``torch.compile`` has compiled the
    U-Net; teacher and projector are never part of it.

    The projector's parameters join the optimizer here, as a parameter group with the settings of the first one. Hence
    the order: optimizer, this handler, learning-rate scheduler, which counts the groups when it is built. Its state is
    the projector's.

    Under ``torch.distributed`` the projector is wrapped in DDP, so build this handler after the process group. Its
    gradients are thus averaged in the backward pass, before any gradient clipping.

    Args:
        alignment: U-Net layer, teacher and weight.
        optimizer: the network's optimizer.
        hidden_dim: width of REPA's projector.
        seed: of the projector's initial weights.
        device: where teacher and projector compute; the U-Net's device when None.
        cache: of the teacher's tokens; None computes them in every step.

    Raises:
        InputError: When the weight is not above 0, the recipe or the layer is unknown, the layer gives no feature map,
            the teacher cannot be loaded, or the cache cannot be used.
        RuntimeError: When the optimizer already has a scheduler.
    """

    def __init__(
        self,
        alignment: Alignment,
        optimizer: Optimizer,
        hidden_dim: int = 2048,
        seed: int = 0,
        device: str | torch.device | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        unet, teacher, weight, layer = alignment.unet, alignment.teacher, alignment.weight, alignment.layer
        if not (weight > 0 and math.isfinite(weight)):
            raise InputError(
                f"The weight of the feature distillation is {weight}; expected a number above 0. To train without a "
                "teacher: --alignment_weight 0, with which the configs leave this handler out."
            )
        if alignment.recipe not in RECIPES:
            raise InputError(f"alignment_recipe is {alignment.recipe!r}; expected one of {', '.join(RECIPES)}.")
        self.weight = weight
        self.recipe = RECIPES[alignment.recipe]
        self._unet = unet
        self.layer = _find_layer(unet, layer)
        channels = _layer_channels(unet, layer)
        device = unet.device if device is None else torch.device(device)
        self.teacher = (teacher if isinstance(teacher, Teacher) else load_teacher(teacher)).to(device)
        self._cached_teacher = None if cache is None else cache.of(self.teacher)
        with torch.random.fork_rng(devices=[]):  # weights by the seed alone; the global generators stay as they were
            torch.default_generator.manual_seed(seed)
            self.projector = self.recipe.projector(channels, self.teacher.embed_dim, hidden_dim).to(device)
        self._project = self.projector if num_processes() == 1 else DistributedDataParallel(self.projector)
        self._feature: torch.Tensor | None = None
        self._hook: torch.utils.hooks.RemovableHandle | None = None
        _add_parameters(optimizer, self.projector)
        logger.info(
            "Aligning U-Net layer %s (%d channels) with weight %g (%s).", layer, channels, weight, alignment.recipe
        )

    def attach(self, engine: Engine) -> None:
        """Attach to a MONAI trainer whose output holds the clean image, [B, 3 or 1, H, W] in [0, 1].

        Args:
            engine: a ``SupervisedTrainer``, or an engine that fires ``IterationEvents`` likewise.
        """
        engine.add_event_handler(Events.ITERATION_STARTED, self._watch)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._add_alignment)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """State of the projector."""
        return self.projector.state_dict()

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the projector."""
        self.projector.load_state_dict(state)

    def _watch(self, engine: Engine) -> None:
        """Hook the layer for one forward pass."""
        self._take_feature()  # what a step that failed may have left
        if self._hook is None:
            self._hook = self.layer.register_forward_hook(self._store_feature)

    def _store_feature(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if module.training and torch.is_grad_enabled():
            self._feature = output

    def _take_feature(self) -> torch.Tensor | None:
        """The stored feature map, forgotten here so that its graph is freed; unhooks the layer unless compiled."""
        if self._hook is not None and not self._is_compiled:
            self._hook.remove()
            self._hook = None
        feature, self._feature = self._feature, None
        return feature

    @property
    def _is_compiled(self) -> bool:
        """Whether ``torch.compile`` has the hook in its graph, which would not see another one."""
        return self._unet._compiled_call_impl is not None

    def _add_alignment(self, engine: Engine) -> None:
        """Add the weighted alignment loss to ``engine.state.output["loss"]`` and note both parts beside it."""
        feature = self._take_feature()
        if feature is None:
            raise RuntimeError(
                "The aligned U-Net layer did not run in training mode since the step began: the trainer must call the "
                "network that FeatureDistillation was built with, in train() and with gradients."
            )
        output = cast(dict[str, torch.Tensor], engine.state.output)
        loss_prediction = output[CommonKeys.LOSS]
        loss_alignment = self._alignment(output[CommonKeys.IMAGE], feature, engine.state.batch)
        output[CommonKeys.LOSS] = loss_prediction + self.weight * loss_alignment
        output["loss_prediction"] = loss_prediction.detach()
        output["loss_alignment"] = loss_alignment.detach()

    def _alignment(self, image: torch.Tensor, feature: torch.Tensor, batch: Any) -> torch.Tensor:
        """L_distill of an image [B, 3 or 1, H, W] and a feature map [B, C, h, w], in fp32; ``batch`` as loaded."""
        image, feature = image.as_subclass(torch.Tensor), feature.as_subclass(torch.Tensor)  # may be MetaTensors
        if image.shape[1] not in (1, 3):
            raise InputError(
                f"The teacher takes images of 1 or 3 channels, found {image.shape[1]}: change the number of channels, "
                "or train without a teacher: --alignment_weight 0."
            )
        height, width = feature.shape[2:]
        image, cached = image.expand(-1, 3, -1, -1), self._cached_teacher
        teacher_tokens = cached(image, batch[CommonKeys.IMAGE]) if cached else self.teacher(image)  # [B, L, D]
        teacher_tokens = self.recipe.tokens(teacher_tokens)
        teacher_tokens = match_tokens(teacher_tokens, self.teacher.grid, (height, width))  # [B, h * w, D]
        with torch.autocast(feature.device.type, enabled=False):
            projected = self._project(feature.float())  # [B, h * w, D]
        return alignment_loss(teacher_tokens, projected)


def _find_layer(unet: UNet2DModel, layer: str) -> nn.Module:
    """The layer of that name; InputError with what is there and the nearest names when there is none."""
    layers = dict(unet.named_modules())
    if layer and layer in layers:
        return layers[layer]
    known = layer
    while known not in layers:  # "" is the U-Net itself
        known = known.rpartition(".")[0]
    there = ", ".join(f"{known}.{name}".lstrip(".") for name, _ in layers[known].named_children())
    nearest = ", ".join(difflib.get_close_matches(layer, layers, n=3, cutoff=0))
    raise InputError(
        f"No layer {layer!r} in the U-Net to align, a {type(unet).__name__}. There: {there or 'none'}; the nearest "
        f"names are {nearest}. Set --alignment_layer to one that gives a feature map."
    )


@torch.no_grad()
def _layer_channels(unet: UNet2DModel, layer: str) -> int:
    """Channels of a layer's feature map, seen in a pass over the smallest input that the U-Net takes."""
    outputs: list[object] = []
    hook = unet.get_submodule(layer).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    side = 2 ** len(unet.config["block_out_channels"])
    sample = torch.zeros(1, unet.config["in_channels"], side, side, device=unet.device, dtype=unet.dtype)
    of_classes = unet.config.get("num_class_embeds") is not None  # which has to be told one
    labels = {"class_labels": torch.zeros(1, dtype=torch.long, device=unet.device)} if of_classes else {}
    training = unet.training
    try:
        unet.eval()(sample, 0, **labels)  # no dropout: takes nothing from the random generators
    finally:
        hook.remove()
        unet.train(training)
    feature = outputs[0] if outputs else None
    if not isinstance(feature, torch.Tensor) or feature.ndim != 4:
        raise InputError(
            f"The U-Net layer {layer!r} gives no feature map [B, C, H, W]; choose a layer that does, such as "
            "conv_in or one of resnets."
        )
    return feature.shape[1]


def _add_parameters(optimizer: Optimizer, projector: nn.Module) -> None:
    """Add the projector to the optimizer with the settings of its first parameter group."""
    settings = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    if "initial_lr" in settings:  # a scheduler's mark; it would not know the new group
        raise RuntimeError("Build FeatureDistillation before the learning-rate scheduler: it adds a parameter group.")
    optimizer.add_param_group({**settings, "params": list(projector.parameters())})
