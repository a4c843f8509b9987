"""A node of a file as its reader sees it, and the table of readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.dtypes import COMPUTED, DTYPES
from bigmodel_core.graph.spec import Shape, format_shape
from bigmodel_onnx.shapes import Dims


def dtype_of(kind: int | str) -> str | None:
    """The number type that a file gives as a number, or as a name (Cast up to opset 5); None where kernels
    compute with none like it."""
    return next((name for name in COMPUTED if kind in (DTYPES[name].onnx, DTYPES[name].onnx_name)), None)


LARGEST = 2**34
"""The most bytes a value may have if its size is fixed, or if every free dimension is 1."""


@dataclass
class Call:
    """One node as its reader sees it.

    Args:
        operator: its name.
        items: its inputs: values, constant arrays, shapes, None if one is left out.
        attributes: by name; a graph is a function from its inputs to its outputs, lists of items both.
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
        return self.as_value(self.items[place], f"input {place + 1}")

    def as_value(self, item: Any, name: str) -> Value:
        """What a node of the file gives as a value of the graph."""
        if isinstance(item, Value):
            return item
        if isinstance(item, Dims):
            return item.value(self.graph)
        if not isinstance(item, np.ndarray):
            raise ExportError(f"{name} of {self.operator} has as many rows as data decides.")
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
            raise ExportError(f"input {place + 1} of {self.operator} must be a constant or a shape.")
        return found

    def constant(self, place: int) -> float:
        """An input that must be a constant number."""
        item = self.items[place]
        if not isinstance(item, np.ndarray) or item.size != 1:
            raise ExportError(f"input {place + 1} of {self.operator} must be a constant number.")
        return float(item.reshape(()))

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def axis(self, rank: int, default: int) -> int:
        """The attribute `axis`, counted from the first one."""
        return self.counted([self.get("axis", default)], rank)[0]

    def axes(self, rank: int, place: int = 1) -> list[int] | None:
        """Axes from the attribute of old opsets or the input of new ones, counted from the first one.

        Args:
            rank: how many axes there are.
            place: the input.

        Raises:
            ExportError: one is not there, or twice.
        """
        if "axes" in self.attributes:
            return self.counted(self.attributes["axes"], rank)
        return self.counted(self.dims(place).numbers(), rank) if self.has(place) else None

    def counted(self, axes: Sequence[int], rank: int) -> list[int]:
        """Axes counted from the first one; see `axes`."""
        found = [int(axis) + rank if axis < 0 else int(axis) for axis in axes]
        if any(not 0 <= axis < rank for axis in found) or len(set(found)) < len(found):
            raise ExportError(
                f"the axes of {self.operator} are {', '.join(map(str, axes))}, expected different ones of"
                f" {rank}.",
                fix="export the model again.",
            )
        return found


def check_size(call: Call, shape: Shape, dtype: str) -> None:
    """Refuse a result that is too large to compute, before memory is allocated for it.

    Raises:
        ExportError: it has more than `LARGEST` bytes.
    """
    count = math.prod(dim for dim in shape if isinstance(dim, int))
    size = count * np.dtype(dtype).itemsize
    if size > LARGEST:
        raise ExportError(
            f"{call.operator} makes an array of {format_shape(shape)}, {size / 2**30:.1f} GiB.",
            fix=f"give the file smaller sizes; up to {LARGEST / 2**30:.0f} GiB are read.",
        )


Reader = Callable[[Call], Any]
READERS: dict[str, Reader] = {}
"""What can be read, by operator."""


def reads(*names: str) -> Callable[[Reader], Reader]:
    """Make a function the reader of operators."""

    def add(function: Reader) -> Reader:
        READERS.update(dict.fromkeys(names, function))
        return function

    return add
