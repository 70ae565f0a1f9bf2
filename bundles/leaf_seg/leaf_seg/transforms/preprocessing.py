"""What is done with a case before the network sees it, and undone afterwards; written once for every use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from monai.transforms import AsDiscreted, Compose, CopyItemsd, Invertd, Orientationd, Spacingd, Transform

from leaf_seg.data.model_settings import ModelSettings
from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB
from leaf_seg.image_io.remarks import heard_remarks, remark
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import printable
from leaf_seg.runtime.values import parse_bool
from leaf_seg.transforms.check_pair import CheckPair
from leaf_seg.transforms.check_spacing import CheckSpacing
from leaf_seg.transforms.label_values import LabelValues
from leaf_seg.transforms.load_case import LoadCase
from leaf_seg.transforms.load_raters import RATERS, LoadRaters
from leaf_seg.transforms.mask_value import MaskValue
from leaf_seg.transforms.native_hypotheses import HYPOTHESES, NativeHypotheses
from leaf_seg.transforms.native_label import NativeLabel
from leaf_seg.transforms.scale_image import ScaleImage
from leaf_seg.transforms.temperature import Temper

MAPS = ("pred", "variance", "entropy")  # what an evaluator gives for an image, in the grid of the prepared image

# Settings of a model that change nothing of what is prepared, or that those who cut slices add themselves.
_OF_OTHERS = (
    *("class_names", "image_size", "axis", "num_slices", "mirror_axes", "tile_overlap", "temperature", "confidence"),
)


class Preprocessing(Compose):
    """The transform of :func:`preprocessing`, which can say what decides its results.

    Args:
        steps: its transforms.
        decided_by: plain values that decide what the steps make of a case, all of them.
        mask_value: of the steps.
    """

    def __init__(self, steps: Sequence[Transform], decided_by: Mapping[str, Any], mask_value: MaskValue) -> None:
        super().__init__(steps)
        self.mask_value = mask_value
        self._steps = tuple(steps)
        self._decided_by = json.dumps(dict(decided_by), sort_keys=True)

    @property
    def identity(self) -> str | None:
        """What decides the results, beside the files and the code; None where somebody has changed the steps."""
        is_ours = type(self) is Preprocessing and tuple(self.transforms) == self._steps
        return self._decided_by if is_ours else None

    def noted(self, case: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """A case prepared, and plain values from which :meth:`recall` says what was said of it."""
        with heard_remarks() as remarks, self.mask_value.heard() as values:
            prepared = self(case)
        labels = {printable(file) for file in [*_label_files(case), *case.get(RATERS, ())]}
        said = [[kind, "label" if printable(file) in labels else "image", what] for kind, file, what in remarks]
        return prepared, {"mask_values": values, "remarks": said}

    def recall(self, case: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Say of a case that was prepared before what preparing it says, and hold it to the mask value of the others.

        Raises:
            InputError: When a mask before had another value.
        """
        label = _label_files(case)[0]
        for kind, key, what in notes["remarks"]:
            remark(kind, label if key == "label" else case["image"], what)
        for value in notes["mask_values"]:
            self.mask_value.hold(value, printable(label))


def preprocessing(
    settings: ModelSettings,
    labels: str | None = None,
    from_files: bool = True,
    memory_limit_gb: float | None = DEFAULT_MEMORY_LIMIT_GB,
    mask_value: MaskValue | None = None,
    raters: bool = False,
) -> Preprocessing:
    """The transform from a case to an image [C, *spatial] in [0, 1], volumes in RAS and at the model's spacing.

    Args:
        settings: channels, window and spacing of the model; its classes and how labels are coded where there are
            labels.
        labels: None leaves them out; "native" loads and checks them and leaves them in the grid of their file, to
            evaluate against; "prepared" turns and resamples them with the image, to train on.
        from_files: load images by their paths; False where they are MetaTensors already.
        memory_limit_gb: gigabytes that reading, scaling and resampling one file may take; None is no limit.
        mask_value: shared with the other preprocessing of the same data set.
        raters: load the labels of several raters, where a case has them: with "native" labels beside the label, with
            "prepared" ones in its place, [R, *spatial].

    Raises:
        InputError: When ``labels`` or the limit is something else, or raters are asked for without labels.
    """
    if labels not in (None, "native", "prepared"):
        raise InputError(f"labels is {labels!r}; expected native, prepared or null.")
    if raters and not labels:
        raise InputError("raters is true and labels is null; expected native or prepared labels with them.")
    mask_value = mask_value or MaskValue()
    keys = ["image", "label"] if labels else ["image"]
    turned = keys if labels == "prepared" else ["image"]
    load = LoadCase(keys, memory_limit_gb=memory_limit_gb, reading=settings.reading)
    steps: list[Transform] = [load] if from_files else []
    if labels:
        steps.append(LabelValues("label", settings, mask_value))
        steps.append(CheckPair(keys, num_classes=settings.num_classes, class_names=settings.class_names))
    if raters:
        place = "label" if labels == "prepared" else RATERS
        steps.append(LoadRaters(settings, mask_value, memory_limit_gb, place))
    steps += [ScaleImage("image", window=settings.window), Orientationd(turned, axcodes="RAS", labels=None)]
    if settings.spacing is not None:
        steps.append(CheckSpacing(turned, settings.spacing, memory_limit_gb))
        steps.append(Spacingd(turned, pixdim=settings.spacing, mode=["bilinear", "nearest"][: len(turned)]))
    decided_by = {key: value for key, value in settings.to_dict().items() if key not in _OF_OTHERS}
    decided_by |= {"num_classes": settings.num_classes, "labels": labels, "raters": raters, "from_files": from_files}
    return Preprocessing(steps, decided_by | {"memory_limit_gb": memory_limit_gb}, mask_value)


def undone(preprocessing: Compose, keys: Sequence[str] = MAPS) -> Invertd:
    """The transform that brings maps of the prepared image, those that are there, into the grid of the image's file."""
    return Invertd(keys, preprocessing, orig_keys="image", nearest_interp=False, allow_missing_keys=True)


def postprocessing(preprocessing: Compose, probabilities: bool | str = True, temperature: float = 1.0) -> Compose:
    """From what an evaluator gives to maps in the grid of the file: "pred" becomes class indices, "probabilities" new.

    So do "hypotheses", where they were kept.

    Args:
        preprocessing: that the image went through.
        probabilities: whether "probabilities" are wanted; without them there is less to hold, and "pred" may be labels
            already, as of a :class:`~leaf_seg.inference.SegmentationInferer` without probabilities.
        temperature: of the probabilities, as of :func:`~leaf_seg.transforms.temperature.tempered_maps`; no label
            changes with it.
    """
    hypotheses = NativeHypotheses(undone(preprocessing, [HYPOTHESES]))
    if not parse_bool(probabilities, "probabilities"):
        others = [name for name in MAPS if name != "pred"]
        return Compose([undone(preprocessing, others), NativeLabel(undone(preprocessing, ["pred"])), hypotheses])
    labelled = [CopyItemsd("pred", names="probabilities"), AsDiscreted("pred", argmax=True)]
    return Compose([undone(preprocessing), *labelled, Temper("probabilities", temperature), hypotheses])


def _label_files(case: Mapping[str, Any]) -> list[Any]:
    """The files of a case's label: one, or one for each class."""
    files = case["label"]
    return list(files) if isinstance(files, (list, tuple)) else [files]
