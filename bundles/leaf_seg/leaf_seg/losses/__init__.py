"""Losses: denoising (LEAF) and reconstruction (autoencoder stage)."""

from leaf_seg.losses.denoising import DenoisingLoss
from leaf_seg.losses.mask_reconstruction import MaskReconstructionLoss
from leaf_seg.losses.reconstruction import ReconstructionLoss

__all__ = ["DenoisingLoss", "MaskReconstructionLoss", "ReconstructionLoss"]
