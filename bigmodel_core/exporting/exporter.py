"""The base class of exporters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bigmodel_core.graph.emit import Emit as Emit
from bigmodel_core.registry.contracts import undefined

if TYPE_CHECKING:
    from bigmodel_core.nn.layer import Layer
    from bigmodel_core.nn.network import Network


@dataclass(frozen=True)
class Exporter:
    """Writes a trained model to a file; a frozen dataclass whose fields are its options."""

    suffix: ClassVar[str] = ""
    """The file ending that chooses this exporter, such as ".onnx"."""

    def export(self, model: Layer | Network, path: Path, **details: Any) -> Any:
        """Write the file and prove that it computes the same; on failure nothing is left behind.

        `bigmodel_core.export` has the file written to a temporary folder, with any files beside it, and
        moves it to its place once the report is valid.

        Args:
            model: a built model.
            path: where to write.
            details: what is known of the run: data set, labels, metrics, preprocessing.

        Returns:
            A report for people and for programs: `str()` of it is printed, and its `to_dict()` gives what
            JSON can hold.
        """
        raise undefined(self, "exporter", "export")

    def tidy(self, path: Path, report: Any) -> None:
        """Remove what earlier exports left beside the new file; nothing by default."""
