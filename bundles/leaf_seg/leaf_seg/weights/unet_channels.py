"""Adapts a trained U-Net to another number of latents in its input and output, and of classes that it is told."""

from __future__ import annotations

import torch
from diffusers import UNet2DModel
from torch import nn

from leaf_seg.networks.unet import replace_conv_in, widen_conv_in


def make_conditional(unet: UNet2DModel, num_mask_latents: int = 1) -> UNet2DModel:
    """Change an unconditional U-Net of one latent in place to that of LEAF; its output is repeated.

    Args:
        unet: input and output of one latent (4 channels).
        num_mask_latents: mask latents side by side, n; the input gets 4 + 4n channels, the output 4n.
    """
    latent_channels, out = unet.config["in_channels"], unet.conv_out
    _replace_conv_out(unet, out.weight.repeat(num_mask_latents, 1, 1, 1), out.bias.repeat(num_mask_latents))
    widen_conv_in(unet, latent_channels * (1 + num_mask_latents))
    return unet


def start_image_channels_at_zero(unet: UNet2DModel, image_channels: int, image_first: bool) -> None:
    """Let a conditional U-Net, as :func:`make_conditional` makes it, begin without the image latent, in place (SDSeg).

    Args:
        unet: input of 4 + 4n channels.
        image_channels: of the image latent (4).
        image_first: whether the image latent comes first in the input.
    """
    weight = unet.conv_in.weight.detach()
    channels = weight.shape[1]  # by whose growth the weights were divided
    mask = weight[:, image_channels:] if image_first else weight[:, :-image_channels]
    parts = [torch.zeros_like(weight[:, :image_channels]), mask * (channels / (channels - image_channels))]
    replace_conv_in(unet, torch.cat(parts if image_first else parts[::-1], dim=1))


def change_mask_latents(unet: UNet2DModel, latent_channels: int, num_mask_latents: int, image_first: bool) -> None:
    """Change a conditional U-Net in place to another number of mask latents.

    New mask latents repeat the old ones, in order, and the input's weights are scaled so that activations keep their
    size; superfluous ones are left out.

    Args:
        unet: input of 4 + 4m channels, output 4m.
        latent_channels: channels of one mask latent (4).
        num_mask_latents: n, wanted.
        image_first: whether the image latent comes first in the input.
    """
    present = unet.config["out_channels"] // latent_channels
    if present == num_mask_latents:
        return
    chosen = torch.arange(num_mask_latents) % present
    channels = (chosen[:, None] * latent_channels + torch.arange(latent_channels)).flatten()
    weight = unet.conv_in.weight.detach()
    width = present * latent_channels
    if image_first:
        image, mask = weight[:, :-width], weight[:, -width:]
    else:
        mask, image = weight[:, :width], weight[:, width:]
    mask = mask[:, channels] * (present / num_mask_latents)
    replace_conv_in(unet, torch.cat([image, mask] if image_first else [mask, image], dim=1))
    _replace_conv_out(unet, unet.conv_out.weight[channels], unet.conv_out.bias[channels])


def change_classes(unet: UNet2DModel, num_classes: int | None) -> None:
    """Change the number of classes that a U-Net is told, in place; another number of embeddings begins anew.

    Args:
        unet: with an embedding of classes or without.
        num_classes: K, wanted; None for none.
    """
    if unet.config["num_class_embeds"] == num_classes:
        return
    width = unet.time_embedding.linear_2.out_features
    unet.class_embedding = None if num_classes is None else nn.Embedding(num_classes, width)
    unet.register_to_config(num_class_embeds=num_classes)


def _replace_conv_out(unet: UNet2DModel, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """A last convolution with this weight, [out, C, 3, 3], and bias, [out]."""
    old, out_channels = unet.conv_out, weight.shape[0]
    new = nn.Conv2d(old.in_channels, out_channels, old.kernel_size, old.stride, old.padding)
    new.weight, new.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    unet.conv_out = new
    unet.register_to_config(out_channels=out_channels)
