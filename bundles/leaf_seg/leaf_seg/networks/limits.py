"""How large networks may be: looked at before anything is built, which would take hours or all memory.

The bounds are far above what anybody trains. They hold for a training's settings and for what a saved model says.
"""

from __future__ import annotations

from collections.abc import Sequence

from leaf_seg.runtime.bounds import Bound, Bounds, Flag
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.setting_bounds import CLASSES, IMAGE_SIZE

MAX_PARAMETERS = 10**10
MAX_NOISE = 2**26  # numbers in the initial noise of one image, 256 MB
_LEVELS = (1, 10)
_CHANNELS = Bound(1, 8192)
_WIDTHS = Bound(1, 8192, lengths=_LEVELS)
_BLOCKS = Bound(0, 64, lengths=_LEVELS)
_GROUPS = Bound(1, 8192)
_EPSILON = Bound(0, 1, whole=False, above=True)
_PROBABILITY = Bound(0, 1, whole=False)

PART_BOUNDS: Bounds = {
    "num_classes": CLASSES,
    "image_size": IMAGE_SIZE,
    "noise_seed": Bound(-(2**62), 2**62),
    "dropout": _PROBABILITY,
    "scaled": Flag(),
    "trainable": Flag(),
    "channels": Bound(1, 256),
}

UNET_BOUNDS: Bounds = {
    "sample_size": Bound(1, 8192, lengths=(2, 2), alone=True, optional=True),
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "center_input_sample": Flag(),
    "time_embedding_dim": Bound(1, 65536, optional=True),
    "freq_shift": Bound(0, 1, whole=False),
    "flip_sin_to_cos": Flag(),
    "block_out_channels": _WIDTHS,
    "layers_per_block": Bound(1, 16),
    "mid_block_scale_factor": Bound(0, 1e6, whole=False, above=True),
    "downsample_padding": Bound(0, 8),
    "dropout": _PROBABILITY,
    "attention_head_dim": Bound(1, 8192, optional=True),
    "num_attention_heads": Bound(1, 8192, optional=True),
    "norm_num_groups": _GROUPS,
    "attn_norm_num_groups": Bound(1, 8192, optional=True),
    "norm_eps": _EPSILON,
    "add_attention": Flag(),
    "num_class_embeds": Bound(1, 65536, optional=True),
    "num_train_timesteps": Bound(1, 100_000, optional=True),
}

AUTOENCODER_BOUNDS: Bounds = {
    "in_channels": Bound(1, 64),
    "out_channels": Bound(1, 64),
    "block_out_channels": _WIDTHS,
    "layers_per_block": Bound(1, 16),
    "latent_channels": Bound(1, 256),
    "norm_num_groups": _GROUPS,
    "sample_size": Bound(1, 8192, lengths=(2, 2), alone=True),
    "scaling_factor": Bound(0, 1e6, whole=False, above=True),
    "shift_factor": Bound(-1e6, 1e6, whole=False, optional=True),
    "latents_mean": Bound(-1e6, 1e6, whole=False, lengths=(1, 256), optional=True),
    "latents_std": Bound(0, 1e6, whole=False, above=True, lengths=(1, 256), optional=True),
    "force_upcast": Flag(),
    "use_quant_conv": Flag(),
    "use_post_quant_conv": Flag(),
    "mid_block_add_attention": Flag(),
    # of VQModel
    "num_vq_embeddings": Bound(1, 65536),
    "vq_embed_dim": Bound(1, 256, optional=True),
    "lookup_from_codebook": Flag(),
    # of AutoencoderTiny
    "encoder_block_out_channels": _WIDTHS,
    "decoder_block_out_channels": _WIDTHS,
    "num_encoder_blocks": _BLOCKS,
    "num_decoder_blocks": _BLOCKS,
    "upsampling_scaling_factor": Bound(1, 8),
    "latent_magnitude": Bound(0, 1e6, whole=False, above=True),
    "latent_shift": Bound(-1e6, 1e6, whole=False),
}

BASELINE_BOUNDS: Bounds = {
    "num_classes": CLASSES,
    "image_size": IMAGE_SIZE,
    "dropout": _PROBABILITY,
    "features": _WIDTHS,
    "filters": _WIDTHS,
    "init_filters": Bound(1, 8192),
    "blocks_down": Bound(1, 64, lengths=_LEVELS),
    "hidden_size": _CHANNELS,
    "num_layers": Bound(0, 64),
    "num_heads": Bound(1, 8192),
    "feature_size": _CHANNELS,
    "depths": Bound(1, 64, lengths=_LEVELS),
    "latent_dim": _CHANNELS,
    "noise_seed": PART_BOUNDS["noise_seed"],
}


def check_parameters(what: str, widths: Sequence[int], layers: int) -> None:
    """Estimate how many parameters the 3 x 3 convolutions of a U-shaped network have.

    Args:
        what: network, for the message.
        widths: channels of its levels.
        layers: residual blocks of a level, of two convolutions each; one more on the way up.

    Raises:
        InputError: When they are more than :data:`MAX_PARAMETERS`.
    """
    parameters = sum(9 * width**2 * 2 * (2 * layers + 1) for width in widths)
    if parameters > MAX_PARAMETERS:
        raise InputError(
            f"{what} with the channels {list(widths)} and {layers} layers a level has about {parameters:.1g} "
            f"parameters; expected at most {MAX_PARAMETERS:.0g}. Take fewer channels, levels or layers."
        )
