"""Models as files that need no leaf_seg: TorchScript and ONNX; and running them."""

from leaf_seg.export.export_model import export_model
from leaf_seg.export.exported_network import ExportedNetwork, is_exported, load_exported

__all__ = ["ExportedNetwork", "export_model", "is_exported", "load_exported"]
