"""The command ``python -m leaf_seg``.

Each sub-command imports what it needs once it runs: neither help nor an error at the door waits for PyTorch and MONAI.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

from leaf_seg.dataset_check.command_line import add_check
from leaf_seg.image_io.formats import format_names
from leaf_seg.image_io.listing import case_name, list_images
from leaf_seg.image_io.memory import DEFAULT_MEMORY_LIMIT_GB
from leaf_seg.runtime.bundle import bundle_folder
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.plain import plain_message
from leaf_seg.runtime.setting_bounds import SETTINGS
from leaf_seg.runtime.termination import BY_SIGTERM, RESTING_THREADS, interrupt_on_signals
from leaf_seg.runtime.written_path import check_written, with_home

_PATHS = ("input", "output", "model", "tracking_uri", "source", "to", "first", "second", "folder")  # of all commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    The exit code is 0, 2 for bad input found at the door, 1 where some images could not be segmented, and that of a
    shell's command for Ctrl-C (130) and for SIGTERM (143), where :func:`interrupt_on_signals` was called.
    """
    for name, value in RESTING_THREADS.items():  # before PyTorch is imported
        os.environ.setdefault(name, value)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(arguments)
    try:
        _complete_paths(options)
        return options.command(options) or 0
    except (InputError, OSError) as error:
        message = plain_message(error)
        if message is None:
            raise
        return _end(message, 2)
    except KeyboardInterrupt as interruption:
        return 128 + (signal.SIGTERM if interruption.args == BY_SIGTERM else signal.SIGINT)


def _complete_paths(options: argparse.Namespace) -> None:
    """Replace ``~`` in paths, of which no shell has made the home folder, and refuse those that cannot be meant."""
    for name in _PATHS:
        given = getattr(options, name, None)
        if given is None:
            continue
        paths = given if isinstance(given, list) else [given]
        for path in paths:
            check_written(path, name)
        completed = [with_home(path) for path in paths]
        setattr(options, name, completed if isinstance(given, list) else completed[0])


def _end(message: str, code: int) -> int:
    print(f"leaf_seg: {message}", file=sys.stderr)  # noqa: T201
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m leaf_seg", description="Latent-diffusion segmentation.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_check(commands)
    _add_segment(commands)
    _add_info(commands)
    _add_export(commands)
    _add_mlflow(commands)
    _add_prepare(commands)
    bundle = commands.add_parser(
        "bundle",
        help="print where the bundle's folder is",
        description="Print the folder with configs/ and models/, as for --config_file and --bundle_root.",
    )
    bundle.set_defaults(command=_bundle)

    convert = commands.add_parser(
        "convert",
        help="convert published weights",
        description="Recognise published weights by their names, convert them and save them as a folder.",
    )
    convert.add_argument("source", help="file, folder, or (autoencoders, LEAF) name on the Hugging Face hub")
    convert.add_argument("--to", required=True, metavar="FOLDER", help="folder to write; must not exist, or be empty")
    convert.add_argument(
        "--weights",
        choices=("plain", "ema"),
        help="which of the two to take where there are both (without: plain of LDM and LEAF, ema of SDSeg)",
    )
    convert.add_argument(
        "--image-size",
        nargs=2,
        type=int,
        metavar=("HEIGHT", "WIDTH"),
        help="that a segmentation model is to work at, in pixels (without: 256 256)",
    )
    convert.add_argument("--class-name", help="of the one foreground class of LEAF and SDSeg (without: foreground)")
    convert.set_defaults(command=_convert)

    compare = commands.add_parser(
        "compare",
        help="compare two evaluations case by case",
        description="Differences of two evaluations on their common cases: mean with a paired bootstrap interval, "
        "median, cases won, Wilcoxon's signed-rank test.",
    )
    compare.add_argument("first", help="folder of an evaluation, with metrics_cases.csv")
    compare.add_argument("second", help="folder of the other evaluation")
    compare.set_defaults(command=_compare)
    return parser


def _add_segment(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    _add_tracking_uri(segment)
    segment.add_argument("--num-samples", type=int, default=1, help="hypotheses; 2 or more also write uncertainty maps")
    segment.add_argument("--probabilities", action="store_true", help="also write class probabilities")
    segment.add_argument("--statistics", action="store_true", help="also write statistics.csv: size and mean intensity")
    segment.add_argument("--report", action="store_true", help="also write report.json: inputs, results, model, times")
    segment.add_argument("--preview", action="store_true", help="also write preview.png, all overlays on one sheet")
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


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    export = commands.add_parser(
        "export",
        help="write a trained model as an ONNX or TorchScript file",
        description="Write a trained model as one file, and compare it with the model.",
    )
    export.add_argument("model", help="folder with config.json and weights, or model in MLflow, as models:/NAME@ALIAS")
    _add_tracking_uri(export)
    export.add_argument("--to", required=True, choices=("onnx", "torchscript"), help="format of the file")
    export.add_argument(
        "--whole",
        action="store_true",
        help="with scaling, resizing and labels, for images of any size (without: the network alone)",
    )
    export.add_argument(
        "--output",
        metavar="FILE",
        help="file to write (without: model.onnx or model.ts, with --whole model_whole, in the model's folder)",
    )
    export.set_defaults(command=_export)


def _add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    prepare = commands.add_parser(
        "prepare",
        help="make a folder to train on out of a public data set's download",
        description="Check the official download of a public data set, and write images, labels and the published "
        "split; where that leaks, an honest one beside it.",
    )
    prepare.add_argument("name", help="refuge2, cvc_clinicdb, qata_cov19, isic2018 or decathlon")
    prepare.add_argument("download", help="folder, .zip or .tar file as downloaded, or a folder of such files")
    prepare.add_argument("folder", help="to write; must not exist, or be empty")
    prepare.add_argument("--partial", action="store_true", help="take a download that lacks cases")
    prepare.add_argument("--modality", metavar="NAME", help="channel to take, of the Decathlon's tasks with several")
    prepare.set_defaults(command=_prepare)


def _prepare(options: argparse.Namespace) -> None:
    from leaf_seg.data.prepare import prepare

    prepare(options.name, options.download, options.folder, options.partial, options.modality)


def _add_info(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    info = commands.add_parser(
        "info",
        help="show what a model is",
        description="Show what a model folder holds: classes, method, how images are prepared, training data, metrics.",
    )
    info.add_argument("model", help="folder with config.json and weights, or model in MLflow, as models:/NAME@ALIAS")
    _add_tracking_uri(info)
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(command=_info)


def _add_tracking_uri(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow store of such a model (without: that of MLFLOW_TRACKING_URI)"
    )


def _add_mlflow(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    show = commands.add_parser(
        "mlflow",
        help="show a tracked training in the browser",
        description="Start MLflow's server for the store of a training, also in a folder that was moved or copied.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    show.add_argument("folder", help="of a training with --tracking mlflow")
    show.add_argument("--port", type=int, default=5000, help="of 127.0.0.1, where the pages are")
    show.set_defaults(command=_mlflow)


def _info(options: argparse.Namespace) -> None:
    import json

    from leaf_seg.tracking.model_info import as_text, model_info
    from leaf_seg.weights.mlflow_source import opened_model

    with opened_model(options.model, options.tracking_uri) as folder:
        info = model_info(folder)
    print(json.dumps(info, indent=2) if options.json else as_text(info))  # noqa: T201


def _mlflow(options: argparse.Namespace) -> None:
    from leaf_seg.runtime.mlflow_folder import server_command

    command = server_command(options.folder, options.port)
    os.execv(command[0], command)


def _compare(options: argparse.Namespace) -> None:
    from leaf_seg.metrics.comparison import compare

    text = compare(options.first, options.second)
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:  # as of "| head", which has read enough; Python would flush again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise InputError(
            f"The comparison cannot be written to standard output ({error.strerror}); send it elsewhere."
        ) from error


def _bundle(_: argparse.Namespace) -> None:
    print(bundle_folder())  # noqa: T201


def _convert(options: argparse.Namespace) -> None:
    from leaf_seg.weights.convert import Options, convert

    ema = None if options.weights is None else options.weights == "ema"
    converted = convert(options.source, options.to, Options(ema, options.image_size, options.class_name))
    logging.getLogger(__name__).info("Saved to %s. %s", options.to, converted.usage.format(folder=options.to))


def _export(options: argparse.Namespace) -> None:
    from leaf_seg.export import export_model
    from leaf_seg.weights.mlflow_source import is_mlflow_model, opened_model

    if is_mlflow_model(options.model) and options.output is None:
        raise InputError(f"The model is {options.model}; expected the file to write, too: --output FILE.")
    with opened_model(options.model, options.tracking_uri) as folder:
        export_model(folder, options.to, options.whole, options.output)


def _segment(options: argparse.Namespace) -> int:
    for key in ("num_samples", "batch_size", "memory_limit_gb"):
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
        segmenter = load(model, options.device, options.precision, options.batch_size, options.memory_limit_gb)
    writer = SegmentationWriter(
        options.output,
        segmenter.settings.class_names,
        save_probabilities=options.probabilities,
        save_overlays=not options.no_overlays,
        axis=segmenter.settings.axis,
        window=segmenter.settings.window,
        output_type=options.output_type,
    )
    report = SegmentationReport(
        writer.output_dir,
        segmenter.settings.class_names,
        str(options.model or "shipped"),
        options.statistics,
        options.report,
        options.preview,
    )
    try:
        segment_files(segmenter, sources, writer, options.num_samples, report)
    except FaultyImages as error:
        return _end(str(error), 1)
    return 0


if __name__ == "__main__":
    interrupt_on_signals()
    sys.exit(main())
