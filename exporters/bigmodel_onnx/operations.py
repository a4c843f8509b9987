"""What a file is made of while it is written: operations, ports, and graphs inside operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bigmodel_core.graph.spec import Shape


@dataclass
class Operation:
    """One node of the file: an operator, its name and attributes, the names of what it reads and gives."""

    operator: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)

    def inner(self) -> Iterator[Inner]:
        """The graphs among its attributes."""
        return (value for value in self.attributes.values() if isinstance(value, Inner))

    def reads(self) -> Iterator[str]:
        """The names of what it reads, its graphs included."""
        yield from self.inputs
        for graph in self.inner():
            for operation in graph.operations:
                yield from operation.reads()

    def rename(self, names: Mapping[str, str]) -> None:
        """Call values by other names."""
        self.inputs = [names.get(name, name) for name in self.inputs]
        self.outputs = [names.get(name, name) for name in self.outputs]
        for graph in self.inner():
            for operation in graph.operations:
                operation.rename(names)


@dataclass(frozen=True)
class Port:
    """An input or output of the file, or of a graph in it."""

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True)
class Inner:
    """The graph of an operation. It reads values of the graph around it by their names.

    Args:
        name: of the graph.
        inputs, outputs: what it takes and gives.
        operations: its nodes.
    """

    name: str
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    operations: Sequence[Operation]
