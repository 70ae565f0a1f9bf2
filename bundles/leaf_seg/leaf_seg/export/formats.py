"""The formats that a model can be exported to, by the names of the command line."""

from __future__ import annotations

from leaf_seg.export.file_format import ExportFormat
from leaf_seg.export.onnx_format import OnnxFormat
from leaf_seg.export.torchscript_format import TorchScriptFormat

# One format more is one object more here.
FORMATS: dict[str, ExportFormat] = {"onnx": OnnxFormat(), "torchscript": TorchScriptFormat()}
