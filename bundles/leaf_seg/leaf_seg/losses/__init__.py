"""Losses: denoising (LEAF), the Probabilistic U-Net's, and reconstruction (autoencoder stage)."""

from leaf_seg.losses.denoising import DenoisingLoss
from leaf_seg.losses.elbo import ElboLoss
from leaf_seg.losses.mask_reconstruction import MaskReconstructionLoss
from leaf_seg.losses.reconstruction import ReconstructionLoss

__all__ = ["DenoisingLoss", "ElboLoss", "MaskReconstructionLoss", "ReconstructionLoss"]
