"""ONNX files, that onnxruntime runs."""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from leaf_seg.export.description import KEY, Description
from leaf_seg.export.file_format import ExportFormat, Run, damaged, foreign
from leaf_seg.export.variants import Tensors, Variant
from leaf_seg.runtime.errors import InputError
from leaf_seg.runtime.text import one_line

OPSET = 18  # the first whose Resize has an anti-aliasing filter
_MOST_BYTES = 2 * 10**9  # of a protobuf message; weights beside the file are not whole or not there together
_UNSEALED = "0" * 64  # where the checksum will stand, when the checksum is taken


class OnnxFormat(ExportFormat):
    """One file with graph and weights; the description stands in ``metadata_props`` and holds the file's checksum.

    A graph is data: it calls operators of onnxruntime and nothing else. Weights in other files are refused, so that no
    other file is read.
    """

    suffix = ".onnx"

    def check(self, module: Variant) -> None:
        """As in :class:`ExportFormat`."""
        for name in ("onnx", "onnxscript", "onnxruntime"):
            _library(name)
        size = sum(value.numel() * value.element_size() for value in module.state_dict().values())
        if size > _MOST_BYTES:
            raise InputError(
                f"The network has {size / 1e9:.1f} GB of weights; an ONNX file holds at most {_MOST_BYTES / 1e9:.0f}. "
                "Export it to torchscript."
            )

    def write(self, module: Variant, description: Description, file: Path) -> None:
        """Export by PyTorch's exporter (``torch.export``), which the older one lacks the anti-aliasing filter of."""
        dimensions = {dimension: torch.export.Dim.DYNAMIC for dimension in module.free_dimensions}
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                module,
                module.traced_with(),
                input_names=module.inputs,
                output_names=module.outputs,
                dynamic_shapes=(dimensions, *[None] * (len(module.inputs) - 1)),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        assert program is not None
        model = program.model_proto
        _remove_traces(model, module)
        del model.metadata_props[:]
        model.metadata_props.add(key=KEY, value=description.to_json(sha256=_UNSEALED))
        content = model.SerializeToString()
        file.write_bytes(content.replace(_UNSEALED.encode(), hashlib.sha256(content).hexdigest().encode()))

    def read(self, file: Path) -> tuple[Run, Description]:
        """As in :class:`ExportFormat`."""
        onnx, onnxruntime = _library("onnx"), _library("onnxruntime")
        if file.stat().st_size > _MOST_BYTES:
            raise damaged(file, f"more than {_MOST_BYTES / 1e9:.0f} GB")
        content = file.read_bytes()
        try:
            model = onnx.load_model_from_string(content)
        except Exception as error:  # of protobuf, whose kinds depend on how it is built
            raise damaged(file, one_line(error, 120)) from error
        text = next((entry.value.encode() for entry in model.metadata_props if entry.key == KEY), None)
        if text is None or any(getattr(part, "external_data", ()) for part in _parts(model)):
            raise foreign(file)
        _check_seal(content, text, file)
        description = Description.from_json(text, file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # each of onnxruntime's stages has its own kinds
            raise damaged(file, one_line(error, 120)) from error
        names = [entry.name for entry in session.get_inputs()]

        def run(*inputs: torch.Tensor) -> Tensors:
            arrays = [tensor.detach().float().contiguous().numpy() for tensor in inputs]
            return tuple(map(torch.from_numpy, session.run(None, dict(zip(names, arrays, strict=True)))))

        return run, description


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"ONNX files need the package {name}, which is not installed; expected those of leaf_seg's extra export: "
            'give pip install -e ".[export]".'
        ) from error


def _parts(message: Any) -> Iterator[Any]:
    """A protobuf message and all that are within; their depth is limited by protobuf."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _parts(part)


def _check_seal(content: bytes, text: bytes, file: Path) -> None:
    """Compare the checksum in the description with that of the file without it."""
    _, found, rest = text.partition(b'"sha256": "')
    seal = rest[: len(_UNSEALED)]
    is_seal = bool(found) and re.fullmatch(rb"[0-9a-f]{64}", seal) is not None  # an empty one would be everywhere
    if not is_seal or hashlib.sha256(content.replace(seal, _UNSEALED.encode())).hexdigest().encode() != seal:
        raise damaged(file, "its checksum is another")


def _remove_traces(model: Any, module: Variant) -> None:
    """Remove what the exporter notes of the code, with paths of this computer; name the dimensions that are free."""
    graph = model.graph
    for entry in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del entry.metadata_props[:]
        entry.doc_string = ""
    del graph.metadata_props[:]
    for entry in (*graph.input, *graph.output):
        dimensions = entry.type.tensor_type.shape.dim
        # Of labels, which have no dimension of channels, height and width come one before.
        for place, name in module.free_dimensions.items():
            place = place - 1 if place and len(dimensions) == 3 else place
            if len(dimensions) > place:
                dimensions[place].dim_param = name


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on libraries that are not there, and on what is going to change in PyTorch."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
