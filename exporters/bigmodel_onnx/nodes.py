"""A node of a file as its reader sees it, and the table of readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Graph, Value
from bigmodel_onnx.shapes import Dims

DTYPES = {1: "float32", 2: "uint8", 6: "int32", 7: "int64", 9: "bool", 11: "float64"}
"""The number types of the core, by their numbers in files."""


@dataclass
class Call:
    """One node as its reader sees it.

    Args:
        operator: its name.
        items: its inputs: values, constant arrays, shapes, None where one is left out.
        attributes: by name.
        opset: the operator set of the file.
        graph: the graph under construction.
        inputs: the model's inputs, where sizes can be read.
        training: whether the graph is that of training.
        floats: float types of the file that become others in the model.
        outputs: how many outputs of the node the file names.
    """

    operator: str
    items: list[Any]
    attributes: dict[str, Any]
    opset: int
    graph: Graph
    inputs: tuple[Value, ...]
    training: bool
    floats: dict[str, str]
    outputs: int = 1

    def has(self, place: int) -> bool:
        """Whether an optional input is given."""
        return place < len(self.items) and self.items[place] is not None

    def value(self, place: int) -> Value:
        """An input as a value of the graph."""
        if not self.has(place):
            raise ExportError(f"input {place + 1} of {self.operator} is missing.")
        item = self.items[place]
        if isinstance(item, Value):
            return item
        if isinstance(item, Dims):
            return item.value(self.graph, self.inputs)
        return self.graph.constant(item)

    def values(self) -> list[Value]:
        """All inputs as values."""
        return [self.value(place) for place in range(len(self.items))]

    def dims(self, place: int) -> Dims:
        """An input as a shape.

        Raises:
            ExportError: it is computed from data.
        """
        found = Dims.of(self.items[place]) if self.has(place) else None
        if found is None:
            raise ExportError(f"input {place + 1} of {self.operator} has to be a constant or a shape.")
        return found

    def constant(self, place: int) -> float:
        """An input that has to be a constant number."""
        item = self.items[place]
        if not isinstance(item, np.ndarray) or item.size != 1:
            raise ExportError(f"input {place + 1} of {self.operator} has to be a constant number.")
        return float(item.reshape(()))

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def axes(self, place: int = 1) -> list[int] | None:
        """Axes from the attribute of old opsets or the input of new ones."""
        if "axes" in self.attributes:
            return list(self.attributes["axes"])
        return self.dims(place).numbers() if self.has(place) else None


Reader = Callable[[Call], Any]
READERS: dict[str, Reader] = {}
"""What can be read, by operator."""


def reads(*names: str) -> Callable[[Reader], Reader]:
    """Make a function the reader of operators."""

    def add(function: Reader) -> Reader:
        READERS.update(dict.fromkeys(names, function))
        return function

    return add
