"""leaf_seg: latent-diffusion segmentation of medical images."""

__version__ = "0.1.0"
