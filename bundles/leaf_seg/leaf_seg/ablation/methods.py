"""The methods of the papers' tables, as overlays of the configs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from leaf_seg.ablation.rows import Settings, Stage


@dataclass(frozen=True)
class Method:
    """A line of a table of methods.

    Attributes:
        title: what it is called.
        overlays: config files after ``train.json``, below ``configs``, without suffix.
        settings: what distinguishes it from other methods with the same overlays.
        stages: trainings that come before.
        draws_noise: whether its answers depend on noise.
        evaluation: overrides of its evaluation.
        num_members: trainings whose answers are its hypotheses; 1 is no ensemble.
    """

    title: str
    overlays: tuple[str, ...] = ()
    settings: Settings = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    draws_noise: bool = True
    evaluation: Settings = field(default_factory=dict)
    num_members: int = 1


@dataclass(frozen=True)
class MethodTable:
    """What a table compares.

    Attributes:
        title: of the table.
        methods: its rows, by name.
        score: what its figure shows, a key of :data:`~leaf_seg.ablation.figure.SCORES`.
        settings: overrides of the training command of every row, where nothing else is asked for.
    """

    title: str
    methods: dict[str, Method]
    score: str = "dice"
    settings: Settings = field(default_factory=dict)


_SDSEG = ("methods/sdseg",)
_FROZEN = {"image_encoder#trainable": False, "image_encoder#new_projection": False}
_AUTOENCODERS = (
    Stage("vq_autoencoder", "autoencoder_dir", {"num_slices": 1}),
    Stage("mask_autoencoder", "mask_autoencoder_dir", {"num_slices": 1}),
)

_METHODS = {
    "leaf": Method("LEAF"),
    "sdseg": Method("SDSeg", _SDSEG),
    "sdseg_classes": Method("SDSeg, a pass for each class", (*_SDSEG, "methods/sdseg_classes")),
    "medseglatdiff": Method("MedSegLatDiff", ("methods/medseglatdiff",), stages=_AUTOENCODERS),
    "gms": Method("GMS", ("methods/gms",), draws_noise=False),
    "no_noise": Method("LEAF without noise", ("methods/no_noise",), draws_noise=False),
    "ddim": Method("LEAF by DDIM", ("methods/ddim",), {"terminal_probability": 0}),
    "unet": Method("U-Net", ("baselines/unet",), draws_noise=False),
    "dynunet": Method("DynUNet", ("baselines/dynunet",), draws_noise=False),
    "segresnet": Method("SegResNet", ("baselines/segresnet",), draws_noise=False),
    "transunet": Method("TransUNet", ("baselines/transunet",), draws_noise=False),
    "swin_unet": Method("Swin-UNet", ("baselines/swin_unet",), draws_noise=False),
    "medsegdiff": Method("MedSegDiff", ("baselines/medsegdiff",)),
    "probabilistic_unet": Method("Probabilistic U-Net", ("baselines/probabilistic_unet",)),
}
_ONLY_BY_NAME = ("sdseg_classes", "ddim")
_SIXTEEN: Settings = {"num_samples": 16}
_U_NET = _METHODS["unet"]

# By the name of a table.
METHOD_TABLES = {
    "leaf": MethodTable("Methods", {name: method for name, method in _METHODS.items() if name not in _ONLY_BY_NAME}),
    "sdseg_ablation": MethodTable(
        "SDSeg's own ablation",
        {
            "sdseg": _METHODS["sdseg"],
            "sdseg_noise_loss": Method("SDSeg without latent estimation", _SDSEG, {"latent_loss_weight": 0}),
            "sdseg_frozen": Method("SDSeg with a frozen image encoder", _SDSEG, _FROZEN),
            "sdseg_noise_loss_frozen": Method("SDSeg without either", _SDSEG, {"latent_loss_weight": 0, **_FROZEN}),
        },
    ),
    "raters": MethodTable(
        "Hypotheses against several raters",
        {
            **{
                name: replace(_METHODS[name], evaluation=_SIXTEEN)
                for name in ("leaf", "ddim", "medseglatdiff", "probabilistic_unet")
            },
            "unet_dropout": replace(
                _U_NET,
                title="U-Net, MC dropout",
                settings={"dropout": 0.2},
                evaluation={**_SIXTEEN, "mc_dropout": True},
            ),
            "unet_ensemble": replace(_U_NET, title="U-Net, ensemble of 3", num_members=3),
            "unet": replace(_U_NET, title="U-Net, one answer"),
        },
        score="ged",
        settings={"rater_target": "drawn"},
    ),
}


def known_methods(table: str, overlays: Collection[str]) -> Mapping[str, Method]:
    """What can be a row of a table, by name: its own methods, and all others.

    Args:
        table: a key of :data:`METHOD_TABLES`.
        overlays: those that there are, such as ``methods/sdseg``. A method whose overlays are missing is left out, and
            one that has only its overlay is known by that file's name.
    """
    named = _METHODS | METHOD_TABLES[table].methods
    used = {overlay for method in _METHODS.values() for overlay in method.overlays}
    # An overlay that nobody has described here is a baseline like the others, or a part of LEAF.
    others = {
        overlay.partition("/")[2]: Method(overlay, (overlay,), draws_noise=overlay.startswith("methods/"))
        for overlay in sorted(set(overlays) - used)
    }
    return {**{name: each for name, each in named.items() if set(each.overlays) <= set(overlays)}, **others}
