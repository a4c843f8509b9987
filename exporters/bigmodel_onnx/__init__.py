"""ONNX files: export with proof, safe reading, and import as trainable models.

The exporter is found through the registry by the ending ".onnx"; `bm.export(model, "model.onnx")` uses it.
Importing this package imports neither onnx nor ONNX Runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bigmodel_core as bm
from bigmodel_onnx.exporter import Onnx
from bigmodel_onnx.import_ import OnnxModel, from_onnx
from bigmodel_onnx.report import ExportReport

if TYPE_CHECKING:
    from bigmodel_onnx.lowering import missing_lowerings

__all__ = ["ExportReport", "Onnx", "OnnxModel", "from_onnx", "missing_lowerings"]


def __getattr__(name: str) -> Any:
    if name == "missing_lowerings":  # what writes files is imported where one is written
        from bigmodel_onnx.lowering import missing_lowerings

        return missing_lowerings
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


@bm.hookimpl
def bigmodel_exporters() -> list[type[Any]]:
    """The ONNX exporter."""
    return [Onnx]


@bm.hookimpl
def bigmodel_layers() -> list[type[Any]]:
    """What an imported file becomes."""
    return [OnnxModel]
