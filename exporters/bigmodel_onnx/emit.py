"""Nodes and weights of a file under construction, and the `Emit` protocol that ops write them through."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Body
from bigmodel_core.graph.dimensions import dim_least, dim_parts, dim_quotient, dim_sides
from bigmodel_core.graph.spec import (
    Dim,
    Shape,
    Spec,
    broadcast,
    dim_names,
    dim_product,
)
from bigmodel_onnx.double_precision import SPELLED_OUT
from bigmodel_onnx.intermediate import Sizes, check_node, known_size, sizes_and_type, told, unknown
from bigmodel_onnx.narrow_types import in_int64, is_lacking
from bigmodel_onnx.operations import Inner, Operation, Port
from bigmodel_onnx.slice_bounds import bounds


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
        self.made: dict[str, Operation] = {}
        self.shaped: dict[str, Sizes] = {}
        self.found: dict[str, tuple[Sizes | None, str]] = {}
        self._taken: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._dimensions: dict[Dim, str] = {}
        self._computed: dict[tuple[str, tuple[str, ...], int, str], Any] = {}
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
            raise unknown(self, operator)

        def add(*inputs: str | None, outputs: int = 1, **attributes: Any) -> Any:
            if operator in SPELLED_OUT and any(spec.dtype == "float64" for spec in self.inputs):
                return SPELLED_OUT[operator](self, *inputs, **attributes)
            if inputs and is_lacking(operator, self.type_of(inputs[0]), self.opset):
                return in_int64(self, operator, inputs, attributes)
            return self.add(operator, inputs, outputs, attributes)

        return add

    def holds(self, name: str) -> bool:
        """Whether something in the file is called so by now."""
        known = name in self.specs or name in self.made or name in self.weights
        return known or any(port.name == name for port in self.ports)

    def spec(self, x: str) -> Spec:
        """The shape and the number type of a value."""
        sizes, dtype = sizes_and_type(self, x)
        return Spec(tuple(known_size(self, x, axis) for axis in range(len(sizes))), dtype)

    def type_of(self, name: str | None) -> str:
        """The number type of a value; nothing for what is left out, or where ONNX cannot tell it."""
        return told(self, name)[1] if isinstance(name, str) and self.holds(name) else ""

    def _as(self, name: str, shape: Sizes) -> str:
        """A value that is known to have a shape."""
        self.shaped[name] = shape
        return name

    def add(
        self, operator: str, inputs: Sequence[str | None], outputs: int, attributes: dict[str, Any]
    ) -> Any:
        """A node; returns the name of its output, or a tuple of names. What was computed before is not
        computed again."""
        check_node(self, operator, inputs, attributes)
        given = ["" if item is None else item for item in inputs]
        while given and not given[-1]:
            given.pop()
        kept = {key: value for key, value in attributes.items() if value is not None}
        key = operator, tuple(given), outputs, repr(sorted(kept.items()))
        if key in self._computed:
            return self._computed[key]
        name = self._unique(f"{self.path}/{operator}".lstrip("/"))
        names = [name] if outputs == 1 else [self._unique(f"{name}.{number}") for number in range(outputs)]
        operation = Operation(operator, name, given, names, kept)
        self.operations.append(operation)
        self.made.update(dict.fromkeys(names, operation))
        self._computed[key] = found = names[0] if outputs == 1 else tuple(names)
        return found

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
        """Reshape to a shape that may have free dimensions; what was reshaped before is so from the start."""
        while x in self.made and self.made[x].operator == "Reshape":
            x = self.made[x].inputs[0]
        if sizes_and_type(self, x)[0] == shape:
            return x
        return self._as(self._reshaped(x, shape), shape)

    def _reshaped(self, x: str, shape: Shape) -> str:
        before, _ = sizes_and_type(self, x)
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
        held, _ = sizes_and_type(self, x)
        before = (1,) * (len(shape) - len(held)) + held
        wanted = self.shape(tuple(1 if a == b else b for a, b in zip(before, shape, strict=True)))
        return self._as(str(self.Expand(x, wanted)), shape)

    def cast(self, x: str, dtype: str) -> str:
        """Convert to a number type."""
        return str(self.Cast(x, to=tensor_type(dtype)))

    def size(self, x: str, axes: Sequence[int], dtype: str) -> str:
        """The number of elements along axes, as a scalar."""
        return self.dimension_size(dim_product(known_size(self, x, axis) for axis in axes), dtype)

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
        sizes = [known_size(self, x, part[0]) for part in parts]
        ends = [bounds(size, *part[1:]) for size, part in zip(sizes, parts, strict=True)]
        steps = self.ints([part[3] for part in parts]) if any(part[3] != 1 for part in parts) else None
        first, last = (self.shape(tuple(pair[end] for pair in ends)) for end in (0, 1))
        sliced = list(sizes_and_type(self, x)[0])
        for axis, _, length, _ in parts:
            sliced[axis] = length
        name = str(self.Slice(x, first, last, self.ints([part[0] for part in parts]), steps))
        return self._as(name, tuple(sliced))

    def reduce(self, operator: str, x: str, axes: Sequence[int], keepdims: bool) -> str:
        """A reduction, with its axes if the opset wants them."""
        if self.opset >= 18 or operator == "ReduceSum":
            return str(getattr(self, operator)(x, self.ints(axes), keepdims=int(keepdims)))
        return str(getattr(self, operator)(x, axes=list(axes), keepdims=int(keepdims)))

    def swap_last(self, x: str) -> str:
        """The last two axes exchanged."""
        order = list(range(len(sizes_and_type(self, x)[0])))
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
                return self.extent(port.name, port.shape.index(name))
        raise ExportError(
            f"the size of the dimension '{name}' cannot be read from any input.",
            fix=f"give an input that dimension: bm.Spec(('{name}', ...)).",
        )

    def extent(self, x: str, axis: int) -> str:
        """The size of a value along an axis as an int64 vector of one element."""
        if self.opset >= 15:
            return str(self.Shape(x, start=axis, end=axis + 1))
        return str(self.Slice(self.Shape(x), self.ints((axis,)), self.ints((axis + 1,))))

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
        self.drop_unneeded({port.name for port in self.results})

    def drop_unneeded(self, wanted: set[str]) -> None:
        """Leave what some values depend on."""
        kept = []
        for operation in reversed(self.operations):
            if wanted & set(operation.outputs):
                wanted |= set(operation.reads())
                kept.append(operation)
        self.operations = kept[::-1]
        self.weights = {name: array for name, array in self.weights.items() if name in wanted}


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
