"""What each setting at the top of the bundle's configs may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from leaf_seg.runtime.bounds import (
    Bound,
    Bounds,
    Choice,
    Colours,
    FlagOrFile,
    Place,
    Places,
    Switch,
    Text,
    check_bounds,
)
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.values import is_built_later
from leaf_seg.runtime.written_path import check_written, is_of_shell

_FOLDER = Place("a folder's path (./ before a name that is a number)")
_FOLDER_OR_NULL = Place(_FOLDER.what, optional=True)
_NAME_OR_NULL = Text("a name (one that is a number in two pairs of quotation marks: '\"7\"')", optional=True)
_PROBABILITY = Bound(0, 1, whole=False)
_PART = Bound(0, 1 - 1e-9, whole=False)  # all of it would leave nothing to learn from
_WEIGHT = Bound(0, 1e6, whole=False)
_EPOCHS = Bound(1, 1_000_000)
_BATCH = Bound(1, 65536)
_SAMPLES = Bound(1, 10_000)
CLASSES = Bound(2, 256)  # number of them, background included: label maps are of bytes
IMAGE_SIZE = Bound(1, 8192, lengths=(2, 2))
LABEL_COLORS = Colours()
WINDOW = Bound(-1e9, 1e9, whole=False, lengths=(2, 2), optional=True)
SPACING = Bound(0, 1e4, whole=False, above=True, lengths=(3, 3), optional=True)
MIRROR_AXES = Choice((0, 1, 2), several=True, alone=False)
NUM_SLICES = Choice((1, 3))
CHANNELS = Bound(0, 65535, lengths=(1, 3), alone=True, optional=True)
TILE_OVERLAP = Bound(0, 0.9, whole=False, optional=True)
TEMPERATURE = Bound(0.05, 20, whole=False)  # of a model's probabilities
ACCEPTABLE_DICE = Bound(0, 1, whole=False)  # what a calibration keeps with a model, as the next two
LOOK_AT = Bound(0, 1, whole=False)
SIZE_MARGINS = Bound(0, 1e3, whole=False, lengths=(1, 255), optional=True)
RATER_TARGET = Choice(("drawn", "mean"), optional=True)

SETTINGS: Bounds = {
    # folders and files
    **dict.fromkeys(("bundle_root", "output_dir", "report_dir", "model_dir"), _FOLDER),
    **dict.fromkeys(("autoencoder_dir", "mask_autoencoder_dir"), _FOLDER),
    **dict.fromkeys(("dataset_dir", "init_dir", "unet_dir", "cache_dir"), _FOLDER_OR_NULL),
    **dict.fromkeys(("datalist_file", "split_file", "group_file"), Place("a file's path", optional=True)),
    "auto": Switch(),
    "overwrite": Switch(),
    "resume": Switch(),
    # the data
    "split": Choice(("training", "validation", "testing")),
    "fold": Bound(0, 1000, optional=True),
    "modality": _NAME_OR_NULL,
    "group_regex": Text("a regular expression", optional=True),
    "num_classes": replace(CLASSES, optional=True),
    "class_names": Text(
        "a list of 2 to 256 names, background first: \"['background','lesion']\"",
        lengths=(2, 256),
        optional=True,
    ),
    "label_encoding": Choice(("index", "one_hot", "probability"), optional=True),
    "label_colors": LABEL_COLORS,
    "channels": CHANNELS,
    "tiff_stack": Switch(),
    "image_size": replace(IMAGE_SIZE, alone=True),
    "axis": Choice(("sagittal", "coronal", "axial"), several=True, optional=True),
    "num_slices": NUM_SLICES,
    "window": WINDOW,
    "spacing": SPACING,
    "tile_overlap": TILE_OVERLAP,
    "mirror_axes": replace(MIRROR_AXES, optional=True),
    "rater_target": RATER_TARGET,
    "empty_slice_rate": _PROBABILITY,
    "flip_probability": Bound(0, 1, whole=False, lengths=(2, 3)),
    "num_phantoms": Bound(1, 10_000_000),
    "num_workers": Bound(0, 256),
    "memory_limit_gb": Bound(0, 1e6, whole=False, above=True),
    "cache_gb": Bound(0, 1e6, whole=False, above=True),
    "feature_cache_gb": Bound(0, 1e6, whole=False, above=True, optional=True),
    # the machine
    "device": Text("a device, such as cpu or cuda:0"),
    "device_name": Text("auto, cuda, cuda:N, mps or cpu"),
    "precision": Choice(("fp32", "bf16", "fp16", "auto")),  # auto in inference only
    "channels_last": Switch(),
    "compile": Choice(("off", "default", "cudagraphs")),
    "gradient_checkpointing": Switch(),
    "keep_memory": Switch(),
    "storage": Choice(("fp32", "fp16")),
    "deterministic": Switch(),
    "seed": Bound(0, 2**32 - 1),
    # the length of the training
    "max_epochs": _EPOCHS,
    "schedule_epochs": Bound(_EPOCHS.low, _EPOCHS.high, optional=True),
    "val_interval": _EPOCHS,
    **dict.fromkeys(("max_minutes", "max_cpu_minutes"), Bound(0, 1e7, whole=False, above=True, optional=True)),
    "checkpoint_minutes": Bound(0, 1e7, whole=False),
    "early_stopping": Bound(1, 1_000_000, optional=True),
    "num_overlays": Bound(0, 1000),
    # its steps; a learning rate of 0 leaves a model as it is, which some want to see
    "batch_size": _BATCH,
    "accumulation_steps": Bound(1, 65536),
    "learning_rate": Bound(0, 1, whole=False),
    "class_rate_factor": Bound(0, 1e6, whole=False),
    "weight_decay": Bound(0, 1, whole=False),
    "lr_schedule": Choice(
        ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup")
    ),
    "warmup_steps": Bound(0, 10_000_000),
    "max_grad_norm": Bound(0, 1e9, whole=False, above=True, optional=True),
    "ema_decay": _PART,
    "dropout": _PART,
    # the method
    "parameterization": Choice(("x0", "v", "eps")),
    "noise_seed": Bound(0, 2**62),
    "num_steps": Bound(1, 100_000),
    "alignment_weight": _WEIGHT,
    "alignment_layer": Text("a layer of the U-Net"),
    "alignment_recipe": Choice(("repa", "irepa")),
    "teacher": Place("a folder, a file or a name on the Hugging Face hub"),
    "terminal_probability": _PROBABILITY,
    "image_loss_weight": _WEIGHT,
    "latent_loss_weight": _WEIGHT,
    "train_decoder": Switch(),
    "squared_error_weight": _WEIGHT,
    "kl_weight": _WEIGHT,
    "mask_loss": Choice(("cross_entropy", "squared_error")),
    "class_weights": Bound(0, 1e6, whole=False, above=True, lengths=(2, 256)),
    # segmenting and evaluating
    "num_samples": _SAMPLES,
    "mc_dropout": Switch(),
    "ensemble": Places("folders of further trained models, or a pattern of their paths", optional=True),
    "num_noise_seeds": Bound(1, 10_000),
    "num_cases": Bound(1, 10_000_000, optional=True),
    "uncertainty": Switch(),
    "save_overlays": Switch(),
    "save_probabilities": Switch(),
    "save_colors": Switch(),
    "report": Switch(),
    "acceptable_dice": ACCEPTABLE_DICE,
    "surface_tolerance": Bound(0, 1e6, whole=False, above=True),
    "surface_tolerance_share": Bound(0, 1, whole=False, above=True, optional=True),
    # tracking
    "tracking_uri": Place("an address, such as sqlite:///runs/mlflow.db"),
    "experiment_name": Text(_NAME_OR_NULL.what),
    "run_name": _NAME_OR_NULL,
    "parent_run": _NAME_OR_NULL,
    "system_metrics": Switch(),
    "registered_model": Text("a name without / : @ and %", optional=True, pattern=r"(?!\.+$)[^/:@%\0-\x1f]+"),
    "registered_alias": Text(
        "letters, digits, - and _, but not latest and not v with a number",
        optional=True,
        pattern=r"(?!(?i:latest|v\d+)$)[\w\-]{1,255}",
    ),
    "save_execute_config": FlagOrFile(),
}


def check_settings(config: Mapping[str, Any]) -> None:
    """Refuse settings of a config that cannot be meant.

    Expressions, references and parts that are to be built are left alone, and so are keys that are not in the table.

    Args:
        config: the values at its top, unevaluated.

    Raises:
        InputError: Names the first key with an unfit value, what was found, and what is allowed; and when
            ``class_names`` and ``num_classes`` do not agree, both limits of time are given, or an alias without a
            registered model.
    """
    for key, value in config.items():
        if isinstance(SETTINGS.get(key), Place) and isinstance(value, str) and is_of_shell(value):
            check_written(value, key)  # which would be evaluated as an expression
    known = {key: value for key, value in config.items() if not is_built_later(value)}
    check_bounds(known, SETTINGS)
    names, number = known.get("class_names"), known.get("num_classes")
    if names is not None and number is not None and len(names) != number:
        raise InputError(f"num_classes is {number}, but class_names has {len(names)} names; leave num_classes out.")
    alias = known.get("registered_alias")
    if alias is not None and config.get("registered_model") is None:
        raise InputError(f"registered_alias is {alias!r}, and registered_model is null; expected both: name the model.")
    wall, cpu = known.get("max_minutes"), known.get("max_cpu_minutes")
    if wall is not None and cpu is not None:
        raise InputError(
            f"max_minutes is {wall:g} and max_cpu_minutes is {cpu:g}; expected one of them: leave one out."
        )
