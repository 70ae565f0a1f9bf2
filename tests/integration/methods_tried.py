"""How each method of the bundle is made small enough for a test; an overlay without an entry fails there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

CONFIGS = "bundles/leaf_seg/configs"
ON_DISK = {
    f"{kind}/{file.stem}"
    for kind in ("methods", "baselines")
    for file in (Path(__file__).resolve().parents[2] / CONFIGS / kind).glob("*.json")
}

_UNET = {"unet_config#block_out_channels": "[32,32,32]", "unet_config#layers_per_block": "1"}
_WIDER = {"unet_config#block_out_channels": "[32,64,64]", "unet_config#layers_per_block": "1"}


@dataclass(frozen=True)
class Method:
    """A method and how it is tried.

    Attributes:
        overlays: after ``train.json``, as the documents combine them.
        smallest: settings of a network that need not learn anything.
        learning: settings of a network that learns four phantoms by heart, and for how long.
        least_dice: what it has to reach then; None where that is an aim.
        draws_noise: whether its answers depend on noise.
        one_step: whether one pass makes an answer, so that it is traced.
        needs: fixtures whose settings it takes.
        typical: whether what takes minutes is tried of it in CI; of others it is nightly.
    """

    overlays: tuple[str, ...] = ()
    smallest: dict[str, str] = field(default_factory=dict)
    learning: dict[str, str] = field(default_factory=dict)
    least_dice: float | None = 0.85
    draws_noise: bool = True
    one_step: bool = True
    needs: tuple[str, ...] = ()
    typical: bool = False


def _baseline(name: str, smallest: dict[str, str], learning: dict[str, str], typical: bool = False) -> Method:
    return Method((f"baselines/{name}",), smallest, learning, draws_noise=False, typical=typical)


METHODS = {
    "leaf": Method((), _UNET, _WIDER, typical=True),
    "leaf_paper": Method(("methods/leaf_paper",), _UNET, _WIDER, least_dice=None, needs=("teacher",)),
    "ddim": Method(
        ("methods/ddim",),
        {**_UNET, "num_steps": "2", "terminal_probability": "0"},
        {**_WIDER, "num_steps": "5", "terminal_probability": "0"},
        least_dice=None,
        one_step=False,
    ),
    "no_noise": Method(("methods/no_noise",), _UNET, _WIDER, draws_noise=False),
    "gms": Method(
        ("methods/gms",),
        {"unet_config#block_out_channels": "[32]", "unet_config#layers_per_block": "1"},
        {"autoencoder_dir": "bundles/leaf_seg/models/autoencoder"},
        draws_noise=False,
    ),
    "sdseg": Method(("methods/sdseg",), _UNET, _WIDER, least_dice=None),
    "sdseg_classes": Method(("methods/sdseg", "methods/sdseg_classes"), _UNET, _WIDER, least_dice=None),
    "medseglatdiff": Method(
        ("methods/medseglatdiff",),
        {**_UNET, "num_steps": "2"},
        {**_WIDER, "num_steps": "10"},
        least_dice=None,
        one_step=False,
        needs=("autoencoders",),
    ),
    "unet": _baseline("unet", {"features": "[4,4,8,8,8,4]"}, {"features": "[16,16,32,64,64,16]"}, typical=True),
    "dynunet": _baseline("dynunet", {"filters": "[4,8,8]"}, {"filters": "[16,32,64,64]"}),
    "medsegdiff": Method(
        ("baselines/medsegdiff",),
        {"unet_config#block_out_channels": "[8,8,8,8]", "num_steps": "2"},
        {"image_size": "32", "num_steps": "10", "max_epochs": "1600"},
        least_dice=None,
        one_step=False,
    ),
    "probabilistic_unet": Method(
        ("baselines/probabilistic_unet",),
        {"features": "[4,4,8,8,8,4]"},
        {"features": "[16,16,32,64,64,16]", "max_epochs": "400"},
        least_dice=None,
    ),
    "segresnet": _baseline(
        "segresnet",
        {"init_filters": "8", "blocks_down": "[1,1,1]"},
        {"init_filters": "16", "blocks_down": "[1,1,1]"},
    ),
    "swin_unet": _baseline(
        "swin_unet",
        {"image_size": "64", "feature_size": "12", "depths": "[1,1,1,1]"},
        {"feature_size": "12"},
    ),
    "transunet": _baseline(
        "transunet",
        {"filters": "[8,16]", "hidden_size": "16", "num_layers": "1", "num_heads": "2"},
        {"filters": "[16,32,64]", "hidden_size": "64", "num_layers": "2", "num_heads": "4"},
    ),
}


def config_files(*names: str) -> list[str]:
    """The option that names these config files, given below ``configs`` and without suffix."""
    return ["--config_file", "[{}]".format(",".join(f"'{CONFIGS}/{name}.json'" for name in names))]


def words(settings: dict[str, str]) -> list[str]:
    """Settings as the command line has them."""
    return [word for key, value in settings.items() for word in (f"--{key}", value)]
