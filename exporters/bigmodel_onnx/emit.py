"""Nodes and weights of a file under construction, and the `Emit` protocol that ops write them through."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Body
from bigmodel_core.graph.dimensions import dim_least, dim_min, dim_parts, dim_quotient, dim_sides
from bigmodel_core.graph.spec import (
    Dim,
    Shape,
    Spec,
    broadcast,
    dim_add,
    dim_floor_divide,
    dim_multiply,
    dim_names,
    dim_product,
)
from bigmodel_core.ops.slicing import bounded
from bigmodel_onnx.double_precision import SPELLED_OUT
from bigmodel_onnx.narrow_types import in_int64, is_lacking
from bigmodel_onnx.operations import Inner, Operation, Port

END = 2**63 - 1
"""What a Slice that goes to the end of an axis stops at."""


class Emitter:
    """The file under construction, as ops see it (`bigmodel_core.exporting.exporter.Emit`): values are names.

    Args:
        opset: the operator set that is written.
        folds_norms: whether a BatchNormalization goes into the weights of what comes before it.
    """

    def __init__(self, opset: int, folds_norms: bool = True) -> None:
        self.opset = opset
        self.folds_norms = folds_norms
        self.inputs: tuple[Spec, ...] = ()
        self.outputs: tuple[Spec, ...] = ()
        self.path = ""
        self.operations: list[Operation] = []
        self.weights: dict[str, np.ndarray] = {}
        self.ports: list[Port] = []
        self.results: list[Port] = []
        self.specs: dict[str, Spec] = {}
        self._taken: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._dimensions: dict[Dim, str] = {}
        self.renamed: dict[str, str] = {}
        self.write_body: Callable[[Emitter, Body, Sequence[str], Sequence[Spec]], Inner] | None = None
        """Writes the body of an op."""

    # The file's parts -------------------------------------------------------------------------------------

    def reserve(self, names: Sequence[str]) -> None:
        """Keep names for later: nothing else is called so."""
        for name in names:
            self._taken.setdefault(name, 1)

    def port(self, name: str, dtype: str, shape: Shape) -> str:
        """An input of the file; its name was reserved."""
        self.ports.append(Port(name, dtype, shape))
        return name

    def weight(self, path: str, array: np.ndarray) -> str:
        """An array that is part of the file, named by its path."""
        name = self._unique(path)
        self.weights[name] = array
        return name

    def array(self, array: np.ndarray) -> str:
        """A constant; equal ones are one."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.weight(f"constant_{len(self._constants) + 1}", array)
        return self._constants[key]

    def _unique(self, name: str) -> str:
        """The name, or with a number if it is taken."""
        count = self._taken.get(name, 0) + 1
        self._taken[name] = count
        if count == 1:
            return name
        return self._unique(f"{name}_{count}")

    # What ops call ----------------------------------------------------------------------------------------

    def __getattr__(self, operator: str) -> Any:
        if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", operator):
            raise AttributeError(operator)

        def add(*inputs: str | None, outputs: int = 1, **attributes: Any) -> Any:
            if operator in SPELLED_OUT and any(spec.dtype == "float64" for spec in self.inputs):
                return SPELLED_OUT[operator](self, *inputs, **attributes)
            if inputs and is_lacking(operator, self.type_of(inputs[0]), self.opset):
                return in_int64(self, operator, inputs, attributes)
            return self.add(operator, inputs, outputs, attributes)

        return add

    def type_of(self, name: str | None) -> str:
        """The number type of what the graph has under a name; nothing for what is made in between."""
        spec = self.specs.get(name) if name else None
        return spec.dtype if spec else ""

    def add(
        self, operator: str, inputs: Sequence[str | None], outputs: int, attributes: dict[str, Any]
    ) -> Any:
        """A node; returns the name of its output, or a tuple of names."""
        name = self._unique(f"{self.path}/{operator}".lstrip("/"))
        names = [name] if outputs == 1 else [self._unique(f"{name}.{number}") for number in range(outputs)]
        given = ["" if item is None else item for item in inputs]
        while given and not given[-1]:
            given.pop()
        kept = {key: value for key, value in attributes.items() if value is not None}
        self.operations.append(Operation(operator, name, given, names, kept))
        return names[0] if outputs == 1 else tuple(names)

    def plain(self, operator: str, *inputs: str) -> str:
        """A node of an operator, whatever its number type."""
        return str(self.add(operator, inputs, 1, {}))

    def const(self, value: Any, dtype: str | None = None) -> str:
        """A constant; its type is that of the op's first float input unless said."""
        if dtype is None:
            dtype = (
                next((spec.dtype for spec in self.inputs if spec.is_float), None)
                or np.asarray(value).dtype.name
            )
        return self.array(np.asarray(value, dtype))

    def ints(self, values: Sequence[int]) -> str:
        """A constant vector of int64."""
        return self.array(np.asarray(list(values), np.int64))

    def shape(self, shape: Shape) -> str:
        """A shape as an int64 vector, computed at run time if dimensions are free."""
        if all(isinstance(dim, int) for dim in shape):
            return self.ints(shape)  # type: ignore[arg-type]  # all are integers
        pieces: list[str] = []
        fixed: list[int] = []
        for dim in (*shape, None):
            if isinstance(dim, int):
                fixed.append(dim)
                continue
            if fixed:
                pieces.append(self.ints(fixed))
                fixed = []
            if dim is not None:
                pieces.append(self.dimension(dim))
        return pieces[0] if len(pieces) == 1 else str(self.Concat(*pieces, axis=0))

    def reshape(self, x: str, shape: Shape) -> str:
        """Reshape to a shape that may have free dimensions."""
        before = self.specs[x].shape
        if len(shape) == 2 and len(before) > 2 and shape[0] == before[0] != 0:
            return str(self.Flatten(x, axis=1))
        if any(dim == 0 for dim in shape):  # 0 would mean "as it was"
            return str(self.Reshape(x, self.shape(shape), allowzero=1 if self.opset >= 14 else None))
        free = [axis for axis, dim in enumerate(shape) if isinstance(dim, str)]
        same = [axis for axis in free if axis < len(before) and before[axis] == shape[axis]]
        rest = [axis for axis in free if axis not in same]
        if len(rest) > 1:
            return str(self.Reshape(x, self.shape(shape)))
        return str(
            self.Reshape(
                x, self.ints([0 if a in same else -1 if a in rest else int(d) for a, d in enumerate(shape)])
            )
        )

    def expand(self, x: str, shape: Shape) -> str:
        """The numbers repeated to fill a shape; dimensions that stay as they are need no size."""
        before = (1,) * (len(shape) - self.specs[x].ndim) + self.specs[x].shape
        return str(
            self.Expand(x, self.shape(tuple(1 if a == b else b for a, b in zip(before, shape, strict=True))))
        )

    def cast(self, x: str, dtype: str) -> str:
        """Convert to a number type."""
        return str(self.Cast(x, to=tensor_type(dtype)))

    def size(self, x: str, axes: Sequence[int], dtype: str) -> str:
        """The number of elements along axes, as a scalar."""
        return self.dimension_size(dim_product(self.specs[x].shape[axis] for axis in axes), dtype)

    def dimension_size(self, dim: Dim, dtype: str) -> str:
        """The size of a dimension as a scalar."""
        if isinstance(dim, int):
            return self.const(dim, dtype)
        size = str(self.Squeeze(self.dimension(dim), self.ints((0,))))
        return size if dtype == "int64" else self.cast(size, dtype)

    def slice(self, x: str, axis: int, start: Dim, length: Dim, step: int = 1) -> str:
        """`length` elements along an axis."""
        return self.slices(x, [(axis, start, length, step)])

    def slices(self, x: str, parts: Sequence[tuple[int, Dim, Dim, int]]) -> str:
        """Slices along several axes at once: (axis, start, length, step) each."""
        bounds = [
            self._bounds(self.specs[x].shape[axis], start, length, step)
            for axis, start, length, step in parts
        ]
        steps = self.ints([part[3] for part in parts]) if any(part[3] != 1 for part in parts) else None
        first, last = (self.shape(tuple(bound[end] for bound in bounds)) for end in (0, 1))
        return str(self.Slice(x, first, last, self.ints([part[0] for part in parts]), steps))

    @staticmethod
    def _bounds(size: Dim, start: Dim, length: Dim, step: int) -> tuple[Dim, Dim]:
        """Start and end of a slice, as numbers where the operator makes the same of them in any size."""
        if step < 0:
            return _backward_bounds(size, start, length, step)
        if isinstance(start, int) and start < 0:
            start = dim_add(size, start)
        stop = dim_add(start, dim_add(dim_multiply(dim_add(length, -1), step), 1))
        first, end = _as_number(start, size), _as_number(stop, size)
        spare = _cut(dim_add(size, dim_multiply(length, -1)))
        if step == 1 and isinstance(first, int):
            for last in (end, first - spare if spare is not None else END):
                if isinstance(last, int) and bounded(size, first, last) == (start, length):
                    return first, last
        return _to_end(start, size), _to_end(stop, size)

    def reduce(self, operator: str, x: str, axes: Sequence[int], keepdims: bool) -> str:
        """A reduction, with its axes if the opset wants them."""
        if self.opset >= 18 or operator == "ReduceSum":
            return str(getattr(self, operator)(x, self.ints(axes), keepdims=int(keepdims)))
        return str(getattr(self, operator)(x, axes=list(axes), keepdims=int(keepdims)))

    def swap_last(self, x: str) -> str:
        """The last two axes exchanged."""
        order = list(range(self.specs[x].ndim))
        order[-2:] = order[:-3:-1]
        return str(self.Transpose(x, perm=order))

    def fold(self, function: Callable[..., np.ndarray], *names: str) -> str | None:
        """A weight made of weights by a function of arrays; None if one of them is no weight."""
        if not all(name in self.weights for name in names):
            return None
        array = function(*(self.weights[name] for name in names))
        return self.weight(f"{names[0].removesuffix('_folded')}_folded", np.ascontiguousarray(array))

    def body(self, body: Body, shared: Sequence[str], further: Sequence[Spec] = ()) -> Inner:
        """The graph of a body as an attribute; see `Emit`."""
        assert self.write_body is not None
        return self.write_body(self, body, shared, further)

    def dimension(self, dim: Dim) -> str:
        """The size of a dimension as an int64 vector of one element, computed once."""
        if isinstance(dim, int):
            return self.ints((dim,))
        if dim not in self._dimensions:
            sides, quotient = dim_sides(dim), dim_quotient(dim)
            if sides is not None:
                self._dimensions[dim] = str(self.Min(*map(self.dimension, sides)))
            elif quotient is not None:
                self._dimensions[dim] = self._floored(*quotient)
            else:
                self._dimensions[dim] = self._single(dim) if dim.isidentifier() else self._polynomial(dim)
        return self._dimensions[dim]

    def _single(self, name: str) -> str:
        for port in self.ports:
            if name in port.shape:
                axis = port.shape.index(name)
                if self.opset >= 15:
                    return str(self.Shape(port.name, start=axis, end=axis + 1))
                return str(self.Slice(self.Shape(port.name), self.ints((axis,)), self.ints((axis + 1,))))
        raise ExportError(
            f"the size of the dimension '{name}' cannot be read from any input.",
            fix=f"give an input that dimension: bm.Spec(('{name}', ...)).",
        )

    def _floored(self, a: Dim, b: Dim) -> str:
        """A quotient rounded down; Div cuts towards 0."""
        divisor = self.dimension(b)
        if a == 1:  # ONNX Runtime makes c / b of 1 / b * c, of integers too: 1 of 1, and 0 of more
            return str(self.Max(self.Sub(self.ints((2,)), divisor), self.ints((0,))))
        dividend = self.dimension(a)
        if dim_least(a) < 0:
            dividend = str(self.Sub(dividend, self.Mod(dividend, divisor)))
        return str(self.Div(dividend, divisor))

    def _polynomial(self, dim: str) -> str:
        total: str | None = None
        for number, names in dim_parts(dim):
            factors: list[Dim] = [abs(number), *names] if abs(number) != 1 or not names else [*names]
            product = self.dimension(factors[0])
            for factor in factors[1:]:
                product = str(self.Mul(product, self.dimension(factor)))
            if total is None:
                total = str(self.Neg(product)) if number < 0 else product
            else:
                total = str((self.Sub if number < 0 else self.Add)(total, product))
        assert total is not None and dim_names(dim)
        return total

    # The end ----------------------------------------------------------------------------------------------

    def finish(self, results: Sequence[tuple[str, Port]]) -> None:
        """Name the outputs, and drop what nothing needs.

        Args:
            results: for each output, the name of its value so far and what it shall be.
        """
        made = {name for operation in self.operations for name in operation.outputs}
        names: dict[str, str] = {}
        self.path = ""
        for value, port in results:
            if value in made and value not in names:
                names[value] = port.name
            else:  # an input or a weight handed through, or one value under two names
                source = names.get(value, value)
                name = self._unique("Identity")
                self.operations.append(Operation("Identity", name, [source], [port.name]))
            self.results.append(port)
        for operation in self.operations:
            operation.rename(names)
        self.specs = {names.get(name, name): spec for name, spec in self.specs.items()}
        self.renamed = names
        self._drop_unneeded({port.name for port in self.results})

    def _drop_unneeded(self, wanted: set[str]) -> None:
        kept = []
        for operation in reversed(self.operations):
            if wanted & set(operation.outputs):
                wanted |= set(operation.reads())
                kept.append(operation)
        self.operations = kept[::-1]
        self.weights = {name: array for name, array in self.weights.items() if name in wanted}


def _backward_bounds(size: Dim, start: Dim, length: Dim, step: int) -> tuple[int, int]:
    """Start and end of a slice that runs backwards: over all of a free axis."""
    if not (isinstance(size, int) and isinstance(start, int) and isinstance(length, int)):
        assert start == -1 and length == dim_floor_divide(dim_add(size, -step - 1), -step)
        return -1, -END
    first = start + size if start < 0 else start
    stop = first + length * step - (step + 1)
    return (0, 0) if length == 0 else (first, stop if stop >= 0 else -END)


def _to_end(bound: Dim, size: Dim) -> Dim:
    """A bound that is a fixed distance from the end of an axis as that number."""
    rest = dim_add(bound, dim_multiply(size, -1))
    return (rest or END) if isinstance(rest, int) and not isinstance(bound, int) else bound


def _as_number(bound: Dim, size: Dim) -> Dim:
    """A bound of a slice as the number that is cut to it at the ends of an axis, if there is one."""
    for part, sign in ((bound, 1), (dim_add(size, dim_multiply(bound, -1)), -1)):
        number = _cut(part)
        if number is not None and number > 0 and dim_min(size, number) == part:
            return sign * number
    return _to_end(bound, size)


def _cut(dim: Dim) -> int | None:
    """The number that a dimension is at most, which it says by a minimum."""
    parts = dim_parts(dim)
    shift = sum(number for number, factors in parts if not factors)
    found = [dim_sides(factors[0]) for number, factors in parts if number == len(factors) == 1]
    ends = [sides[1] for sides in found if sides is not None and isinstance(sides[1], int)]
    return ends[0] + shift if len(ends) == 1 else None


def broadcasts_to(shapes: Sequence[Shape], shape: Shape) -> bool:
    """Whether shapes broadcast to exactly a shape."""
    try:
        return broadcast(*shapes) == shape
    except Exception:
        return False


def tensor_type(dtype: str) -> int:
    """The file format's number of a number type."""
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
