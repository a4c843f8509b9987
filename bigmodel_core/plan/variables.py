"""Arrays that live across runs: parameters, running statistics, the state of optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bigmodel_core.errors import GraphError, ShapeError
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.plan.changes import Writer
from bigmodel_core.plan.device import Device


class StoredArray:
    """An array on a device that lives across runs; its memory stays where it is.

    Args:
        device: where it lives.
        array: its first numbers.
    """

    def __init__(self, device: Device, array: np.ndarray) -> None:
        array = np.asarray(array)
        self.device, self.spec = device, Spec(array.shape, array.dtype.name)
        self.memory: Any = device.allocate(array)
        self._writers = [Writer()]

    def read(self) -> np.ndarray:
        """A copy of its numbers."""
        return self.device.read(self.memory)

    def write(self, array: np.ndarray) -> None:
        """Overwrite it in place; its shape and type stay.

        Raises:
            ShapeError: the new array has another shape.
        """
        if np.shape(array) != self.spec.shape:
            raise ShapeError(
                f"expected shape {format_shape(self.spec.shape)}, got {format_shape(np.shape(array))}."
            )
        try:
            self.device.write(self.memory, array)
        finally:
            self._writers[0].has_written()

    def written_by(self, writer: Writer) -> None:
        """Say that a program will write it, too."""
        if writer not in self._writers:
            staying = [other for other in self._writers if not other.is_gone]
            if len(staying) < len(self._writers):
                self._writers[0].has_written()  # what those that are gone wrote is not forgotten
            self._writers = [*staying, writer]

    def changes(self) -> list[int]:
        """Numbers that differ from all earlier ones if the array was written in between."""
        return [writer.number for writer in self._writers]


class Variables:
    """Arrays that live across runs, by path: parameters, running statistics, optimizer state.

    Their memory stays where it is, so that plans can refer to it; `write` overwrites it in place.

    Args:
        device: where they live.
        shared: arrays of another owner, which are read and written here too; new ones are not added there.
    """

    def __init__(self, device: Device, shared: Variables | None = None) -> None:
        self.device, self._shared = device, shared
        self._arrays: dict[str, StoredArray] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._arrays or (self._shared is not None and path in self._shared)

    def __iter__(self) -> Iterator[str]:
        return iter([*(self._shared or ()), *self._arrays])

    def create(self, path: str, array: np.ndarray) -> None:
        """Add an array; an existing one of this path is overwritten."""
        if path in self:
            self.write(path, array)
        else:
            self.add(path, StoredArray(self.device, array))

    def add(self, path: str, array: StoredArray) -> None:
        """Add an array that has an owner elsewhere."""
        self._arrays[path] = array

    def stored(self, path: str) -> StoredArray:
        """The array of a path, its own or shared.

        Raises:
            GraphError: there is no such array.
        """
        if path in self._arrays:
            return self._arrays[path]
        if self._shared is not None:
            return self._shared.stored(path)
        raise GraphError("there is no such variable.", fix="create it first.", where=path)

    def memory(self, path: str) -> Any:
        """The device's memory of a path.

        Raises:
            GraphError: there is no such array.
        """
        return self.stored(path).memory

    def spec(self, path: str) -> Spec:
        """The shape and number type of an array."""
        return self.stored(path).spec

    def read(self, path: str) -> np.ndarray:
        """A copy of an array."""
        return self.stored(path).read()

    def write(self, path: str, array: np.ndarray) -> None:
        """Overwrite an array in place; its shape and type stay.

        Raises:
            ShapeError: the new array has another shape.
        """
        try:
            self.stored(path).write(array)
        except ShapeError as error:
            error.where = path
            raise
