"""The paper's training step of plain diffusers and transformers modules, in its published mode."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from diffusers.models.resnet import ResnetBlock2D
from diffusers.training_utils import EMAModel
from torch import nn
from torch.nn import functional
from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from leaf_seg.networks import build_conditional_unet
from leaf_seg.runtime.precision import autocast
from measuring import SCHEDULE, autoencoder_config, unet_config

DROPOUT, ALIGNMENT_WEIGHT, LAYER = 0.2, 0.75, "down_blocks.0.downsamplers.0"
HIDDEN = 2048  # of the projector
PATCH, FACTOR = 14, 16  # pixels a token; pixels of the image a cell of the aligned layer
SMALL_TEACHER = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}  # of a rehearsal


def random_teacher(image_size: int, small: bool) -> Dinov2WithRegistersModel:
    """DINOv2 ViT-B/14 with four registers, whose defaults the class has; it has a token for each cell of the layer."""
    side = image_size // FACTOR * PATCH  # 224 for 256
    sizes = SMALL_TEACHER if small else {}
    return Dinov2WithRegistersModel(Dinov2WithRegistersConfig(image_size=side, patch_size=PATCH, **sizes))


class PublishedTraining:
    """Trains on one batch of noise; its data cost nothing.

    Args:
        device: that computes.
        precision: of autocast, which all runs under; "fp32" for none.
        batch_size: images in a step.
        image_size: pixels along each side.
        small: of a rehearsal.
    """

    def __init__(self, device: torch.device, precision: str, batch_size: int, image_size: int, small: bool) -> None:
        torch.manual_seed(0)
        self.device, self.precision = device, precision
        autoencoder = AutoencoderKL(**autoencoder_config(small)).requires_grad_(False).eval()
        self.mask_encoder = _encoding_half(autoencoder).to(device)
        self.image_encoder = _with_dropout(_encoding_half(autoencoder)).to(device).requires_grad_(True).train()
        self.unet: Any = build_conditional_unet(unet_config(small, DROPOUT)).to(device).train()
        self.teacher = random_teacher(image_size, small).to(device).requires_grad_(False).eval()
        channels, width = self.unet.config["block_out_channels"][0], self.teacher.config.hidden_size
        layers = nn.Linear(channels, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, width)
        self.projector = nn.Sequential(*layers).to(device)
        self.feature = torch.zeros(0)
        self.unet.get_submodule(LAYER).register_forward_hook(self._keep)
        trained = (self.unet, self.image_encoder, self.projector)
        self.parameters = [parameter for module in trained for parameter in module.parameters()]
        self.num_trained = sum(parameter.numel() for parameter in self.parameters)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=4e-5, weight_decay=0.01)
        self.average = EMAModel(self.unet.parameters(), decay=0.9999)
        self.scheduler = DDIMScheduler(**SCHEDULE)
        shape = (batch_size, 3, image_size, image_size)
        self.image = torch.rand(shape).to(device)  # in [0, 1]
        self.mask = (torch.rand(shape) > 0.5).float().to(device) * 2 - 1
        self.mean, self.std = (
            torch.tensor(values).view(1, 3, 1, 1).to(device) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        )

    def train(self, steps: int) -> None:
        """Train for so many steps more."""
        for _ in range(steps):
            with nullcontext() if self.precision == "fp32" else autocast(self.device, self.precision):
                loss = self._loss()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.average.step(self.unet.parameters())

    def close(self) -> None:
        """Nothing is left to be done."""

    def _loss(self) -> torch.Tensor:
        with torch.no_grad():
            latent = _latent(self.mask_encoder, self.mask)  # [B, 4, h, w]
            tokens = self._tokens()  # [B, L, D]
        noise = torch.randn_like(latent)
        timesteps = torch.randint(0, 1000, (len(latent),), device=self.device)
        noisy: torch.Tensor = self.scheduler.add_noise(latent, noise, timesteps)
        image_latent = _latent(self.image_encoder, self.image * 2 - 1)
        clean = self.unet(torch.cat([image_latent, noisy], dim=1), timesteps).sample
        projected = self.projector(self.feature.flatten(2).transpose(1, 2))  # [B, L, D]
        similarity = functional.cosine_similarity(tokens.float(), projected.float(), dim=-1)
        return functional.l1_loss(clean.float(), latent.float()) - ALIGNMENT_WEIGHT * similarity.mean()

    def _tokens(self) -> torch.Tensor:
        side = self.teacher.config.image_size
        pixels = (functional.interpolate(self.image, (side, side), mode="bicubic") - self.mean) / self.std
        return self.teacher(pixel_values=pixels).last_hidden_state[:, -((side // PATCH) ** 2) :]

    def _keep(self, module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        self.feature = output


def _encoding_half(autoencoder: Any) -> Any:
    """A copy that can encode only."""
    half = copy.deepcopy(autoencoder)
    half.decoder, half.post_quant_conv = nn.Identity(), nn.Identity()
    return half


def _with_dropout(autoencoder: Any) -> Any:
    for block in autoencoder.modules():
        if isinstance(block, ResnetBlock2D):
            block.dropout.p = DROPOUT
    return autoencoder


def _latent(autoencoder: Any, images: torch.Tensor) -> torch.Tensor:
    return autoencoder.encode(images).latent_dist.mode() * autoencoder.config["scaling_factor"]
