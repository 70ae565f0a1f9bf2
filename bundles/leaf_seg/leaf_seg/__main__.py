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

from leaf_seg.calibrate_command import add_calibrate
from leaf_seg.dataset_check.command_line import add_check
from leaf_seg.runtime.bundle import bundle_folder
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.plain import end, plain_message
from leaf_seg.runtime.termination import BY_SIGTERM, RESTING_THREADS, interrupt_on_signals
from leaf_seg.runtime.written_path import check_written, with_home
from leaf_seg.segment_command import add_segment, add_tracking_uri

_PATHS = (  # of all commands
    *("input", "output", "model", "tracking_uri", "source", "to", "first", "second", "folder", "dataset", "download"),
    *("split_file", "datalist_file", "group_file"),
)


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
        return end(message, 2)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m leaf_seg", description="Latent-diffusion segmentation.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_check(commands)
    add_segment(commands)
    add_calibrate(commands)
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


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    export = commands.add_parser(
        "export",
        help="write a trained model as an ONNX or TorchScript file",
        description="Write a trained model as one file, and compare it with the model.",
    )
    export.add_argument("model", help="folder with config.json and weights, or model in MLflow, as models:/NAME@ALIAS")
    add_tracking_uri(export)
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
    add_tracking_uri(info)
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(command=_info)


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


if __name__ == "__main__":
    interrupt_on_signals()
    sys.exit(main())
