"""The command ``python -m leaf_seg segment``."""

from __future__ import annotations

import argparse
import os

from leaf_seg.image_io.formats import format_names
from leaf_seg.image_io.listing import case_name, list_images
from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB
from leaf_seg.runtime.bundle import bundle_folder
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.plain import end
from leaf_seg.runtime.setting_bounds import SETTINGS


def add_segment(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``python -m leaf_seg``."""
    segment = commands.add_parser(
        "segment",
        help="segment images with a trained model",
        description="Segment images, or every image in folders, and write label maps and overlays.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    segment.add_argument(
        "input", nargs="+", help=f"image files ({', '.join(format_names())}), folders of images or of a DICOM series"
    )
    segment.add_argument("output", help="folder to write to; made where needed")
    segment.add_argument(
        "--model",
        help="folder with config.json and weights, exported file, or model in MLflow: models:/NAME@ALIAS, "
        "models:/NAME/VERSION, runs:/ID/model (without: the shipped one, of the hippocampus)",
    )
    add_tracking_uri(segment)
    _add_hypotheses(segment)
    segment.add_argument("--probabilities", action="store_true", help="also write class probabilities")
    segment.add_argument("--statistics", action="store_true", help="also write statistics.csv: sizes, mean intensity")
    segment.add_argument("--report", action="store_true", help="also write report.json: inputs, results, model, times")
    segment.add_argument("--preview", action="store_true", help="also write preview.png, all overlays on one sheet")
    segment.add_argument(
        "--colors", action="store_true", help="also write label maps of pictures in colours; volumes have no palettes"
    )
    segment.add_argument("--no-overlays", action="store_true", help="do not draw overlays")
    segment.add_argument("--device", default="auto", help="auto, cuda, cuda:N, mps or cpu")
    segment.add_argument("--precision", default="fp32", help="fp32, bf16, fp16, or auto: the fastest that pays")
    segment.add_argument("--batch-size", type=int, default=16, help="slices at a time")
    segment.add_argument(
        "--memory-limit-gb", type=float, default=DEFAULT_MEMORY_LIMIT_GB, help="that reading one image may take"
    )
    segment.add_argument(
        "--output-type",
        "--output_type",
        choices=("image", "dicom_seg"),
        default="image",
        help="dicom_seg: of DICOM images also write DICOM segmentations",
    )
    segment.set_defaults(command=_segment)


def _add_hypotheses(segment: argparse.ArgumentParser) -> None:
    segment.add_argument(
        "--num-samples",
        type=int,
        help="hypotheses; 2 or more also write uncertainty maps (without: 1, of an ensemble one for each member). "
        "Those of a model that answers in one step hardly differ, unless by one of the next two",
    )
    segment.add_argument(
        "--mc-dropout",
        action="store_true",
        help="draw hypotheses, --num-samples of 2 or more, by the dropout that the model was trained with",
    )
    segment.add_argument(
        "--ensemble",
        nargs="+",
        metavar="MODEL",
        help="further trained models, or a pattern in quotation marks such as 'runs/seed_*': each one's answer, and "
        "that of --model, is a hypothesis",
    )


def add_tracking_uri(command: argparse.ArgumentParser) -> None:
    """Add the option of commands that take a model out of MLflow."""
    command.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store of such a model (without: that of MLFLOW_TRACKING_URI)"
    )


def _segment(options: argparse.Namespace) -> int:
    for key in ("num_samples", "batch_size", "memory_limit_gb", "ensemble"):
        if getattr(options, key) is not None:
            SETTINGS[key].check(getattr(options, key), f"--{key.replace('_', '-')}")
    if options.preview and options.no_overlays:
        raise InputError("--preview shows the overlays, and --no-overlays is given; expected one of them.")
    found = [case["image"] for path in options.input for case in list_images(path)]
    sources = list({os.path.abspath(source): source for source in found}.values())
    if options.preview and "preview" in map(case_name, sources):
        raise InputError(
            "An image is called preview, as the sheet of --preview would be; rename it, or leave that out."
        )

    from leaf_seg.inference.faults import FaultyImages
    from leaf_seg.inference.segment_files import segment_files
    from leaf_seg.inference.segmentation_report import SegmentationReport
    from leaf_seg.inference.segmentation_writer import SegmentationWriter
    from leaf_seg.inference.segmenter import load
    from leaf_seg.weights.mlflow_source import opened_model

    with opened_model(options.model or bundle_folder() / "models", options.tracking_uri) as model:
        how = (options.device, options.precision, options.batch_size, options.memory_limit_gb)
        segmenter = load(model, *how, mc_dropout=options.mc_dropout, ensemble=options.ensemble)
    writer = SegmentationWriter(
        options.output,
        segmenter.settings.class_names,
        save_probabilities=options.probabilities,
        save_overlays=not options.no_overlays,
        axis=segmenter.settings.axis,
        window=segmenter.settings.window,
        output_type=options.output_type,
        save_colors=options.colors,
        label_colors=segmenter.settings.label_colors,
        reading=segmenter.settings.reading,
        confidence=segmenter.settings.confidence,
    )
    report = SegmentationReport(
        writer.output_dir,
        segmenter.settings.class_names,
        " + ".join([options.model or "shipped", *(options.ensemble or ())]),
        options.statistics,
        options.report,
        options.preview,
        segmenter.settings.reading,
        segmenter.settings.confidence,
    )
    try:
        segment_files(segmenter, sources, writer, options.num_samples, report)
    except FaultyImages as error:
        return end(str(error), 1)
    return 0
