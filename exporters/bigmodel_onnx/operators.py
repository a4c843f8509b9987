"""How the operators of a file are read: a small function each, from ONNX's meaning to ops of the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.ops.linear import MatMul
from bigmodel_core.ops.shape import Slice
from bigmodel_core.spec import Dim, broadcast, dim_add, dim_multiply, dim_product
from bigmodel_onnx.erf import Erf
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
    """

    operator: str
    items: list[Any]
    attributes: dict[str, Any]
    opset: int
    graph: Graph
    inputs: tuple[Value, ...]
    training: bool
    floats: dict[str, str]

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


def _reads(*names: str) -> Callable[[Reader], Reader]:
    def add(function: Reader) -> Reader:
        READERS.update(dict.fromkeys(names, function))
        return function

    return add


# Elementwise ---------------------------------------------------------------------------------------------

_UNARY: dict[str, Callable[[Value], Value]] = {
    "Abs": ops.absolute, "Ceil": ops.ceil, "Cos": ops.cos, "Erf": Erf(), "Exp": ops.exp, "Floor": ops.floor,
    "Log": ops.log, "Neg": ops.negate, "Not": ops.logical_not, "Relu": ops.relu, "Sigmoid": ops.sigmoid,
    "Sign": ops.sign, "Sin": ops.sin, "Softplus": ops.softplus, "Softsign": ops.softsign, "Sqrt": ops.sqrt,
    "Tanh": ops.tanh, "Identity": lambda x: x,
}  # fmt: skip
_BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "Add": ops.add, "And": ops.logical_and, "Equal": ops.equal, "Greater": ops.greater,
    "GreaterOrEqual": ops.greater_equal, "Less": ops.less, "LessOrEqual": ops.less_equal, "Mul": ops.multiply,
    "Or": ops.logical_or, "Sub": ops.subtract,
}  # fmt: skip

for _name, _function in _UNARY.items():
    READERS[_name] = lambda call, function=_function: function(call.value(0))  # type: ignore[misc]
for _name, _combine in _BINARY.items():
    READERS[_name] = lambda call, function=_combine: function(call.value(0), call.value(1))  # type: ignore[misc]


@_reads("Max", "Min", "Sum", "Mean")
def _several(call: Call) -> Value:
    function = {"Max": ops.maximum, "Min": ops.minimum}.get(call.operator, ops.add)
    total: Value = reduce(function, call.values())
    return total * (1.0 / len(call.items)) if call.operator == "Mean" else total


@_reads("Div")
def _div(call: Call) -> Value:
    a, b = call.value(0), call.value(1)
    if not a.spec.is_float:
        raise ExportError("the division of integers cannot be read.")
    return ops.divide(a, b)


@_reads("Pow")
def _pow(call: Call) -> Value:
    exponent = call.items[1]
    if isinstance(exponent, np.ndarray) and exponent.size == 1:
        return ops.power(call.value(0), float(exponent.reshape(())))
    return ops.power(call.value(0), ops.cast(call.value(1), call.value(0).dtype))


@_reads("Reciprocal")
def _reciprocal(call: Call) -> Value:
    return 1.0 / call.value(0)


@_reads("LeakyRelu")
def _leaky_relu(call: Call) -> Value:
    return ops.leaky_relu(call.value(0), call.get("alpha", 0.01))


@_reads("Elu")
def _elu(call: Call) -> Value:
    return ops.elu(call.value(0), call.get("alpha", 1.0))


@_reads("HardSigmoid")
def _hard_sigmoid(call: Call) -> Value:
    return ops.clip(call.value(0) * call.get("alpha", 0.2) + call.get("beta", 0.5), 0.0, 1.0)


@_reads("Gelu")
def _gelu(call: Call) -> Value:
    function = ops.gelu_tanh if call.get("approximate", "none") == "tanh" else ops.gelu
    return function(call.value(0))


@_reads("Clip")
def _clip(call: Call) -> Value:
    bounds = [call.get("min", -np.inf), call.get("max", np.inf)]
    bounds = [call.constant(place) if call.has(place) else bound for place, bound in enumerate(bounds, 1)]
    return ops.clip(call.value(0), *bounds)


@_reads("Where")
def _where(call: Call) -> Value:
    return ops.where(*call.values())


@_reads("Cast")
def _cast(call: Call) -> Any:
    dtype = DTYPES.get(call.get("to"))
    if dtype is None:
        raise ExportError(f"the number type {call.get('to')} of Cast cannot be read.")
    dtype = call.floats.get(dtype, dtype)
    found = Dims.of(call.items[0])
    if found is not None and dtype in ("int64", "int32"):
        return found
    return (
        found.value(call.graph, call.inputs, dtype) if found is not None else ops.cast(call.value(0), dtype)
    )


@_reads("Dropout")
def _dropout(call: Call) -> Any:
    rate = call.constant(1) if call.has(1) else call.get("ratio", 0.5)
    x = call.value(0)
    return (ops.dropout(x, rate) if call.training else x), None


# Products, normalisation, softmax -------------------------------------------------------------------------


@_reads("MatMul")
def _matmul(call: Call) -> Value:
    a, b = call.value(0), call.value(1)
    if a.ndim == 1 or b.ndim == 1:
        left = ops.reshape(a, (1, -1)) if a.ndim == 1 else a
        right = ops.reshape(b, (-1, 1)) if b.ndim == 1 else b
        y = ops.matmul(left, right)
        shape = [
            *y.shape[:-2],
            *(y.shape[-2:-1] if a.ndim > 1 else ()),
            *(y.shape[-1:] if b.ndim > 1 else ()),
        ]
        return ops.reshape(y, shape)
    return ops.matmul(a, b)


@_reads("Gemm")
def _gemm(call: Call) -> Value:
    a, b = call.value(0), call.value(1)
    flags = bool(call.get("transA", 0)), bool(call.get("transB", 0))
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    bias = call.value(2) if call.has(2) else None
    if bias is not None and flags == (False, False) and alpha == beta == 1 and bias.shape == b.shape[1:]:
        return ops.affine(a, b, bias)
    y: Value = MatMul(*flags)(a, b)
    y = y if alpha == 1 else y * alpha
    if bias is None or beta == 0:
        return y
    return y + (bias if beta == 1 else bias * beta)


@_reads("LayerNormalization")
def _layer_norm(call: Call) -> Any:
    x, scale = call.value(0), call.value(1)
    if call.get("axis", -1) not in (-1, x.ndim - 1):
        raise ExportError("LayerNormalization over several axes cannot be read.")
    shift = call.value(2) if call.has(2) else ops.zeros_like(scale)
    return ops.layer_norm(x, scale, shift, call.get("epsilon", 1e-5)), None, None


@_reads("BatchNormalization")
def _batch_norm(call: Call) -> Any:
    """With the statistics of the file, which training does not change."""
    x = call.value(0)
    shape = (-1,) + (1,) * (x.ndim - 2)
    scale, shift, mean, variance = (ops.reshape(call.value(place), shape) for place in range(1, 5))
    rate = scale / ops.sqrt(variance + call.get("epsilon", 1e-5))
    return x * rate + (shift - mean * rate), None, None


@_reads("Softmax", "LogSoftmax")
def _softmax(call: Call) -> Value:
    x = call.value(0)
    axis = call.get("axis", -1 if call.opset >= 13 else 1)
    if call.opset < 13 and axis not in (-1, x.ndim - 1):
        raise ExportError(f"{call.operator} over several axes cannot be read.")
    return (ops.softmax if call.operator == "Softmax" else ops.log_softmax)(x, axis)


# Reductions -----------------------------------------------------------------------------------------------


@_reads("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
def _reduce(call: Call) -> Value:
    function = {"Sum": ops.sum, "Mean": ops.mean, "Max": ops.max, "Min": ops.min}[call.operator[6:]]
    axes = call.axes()
    if not axes and call.get("noop_with_empty_axes", 0):
        return call.value(0)
    return function(call.value(0), tuple(axes) if axes else None, bool(call.get("keepdims", 1)))


@_reads("ArgMax")
def _argmax(call: Call) -> Value:
    if call.get("select_last_index", 0):
        raise ExportError("ArgMax with select_last_index cannot be read.")
    return ops.argmax(call.value(0), call.get("axis", 0), bool(call.get("keepdims", 1)))


# Shapes ---------------------------------------------------------------------------------------------------


@_reads("Shape")
def _shape(call: Call) -> Dims:
    return Dims(call.value(0).shape[call.get("start", 0) : call.get("end", None)])


@_reads("Size")
def _size(call: Call) -> Dims:
    return Dims((call.value(0).spec.size,), True)


@_reads("ReduceProd")
def _reduce_prod(call: Call) -> Value:
    raise ExportError("ReduceProd of numbers that are no shape cannot be read.")


@_reads("Reshape")
def _reshape(call: Call) -> Value:
    x, wanted = call.value(0), call.dims(1).dims
    if not call.get("allowzero", 0):
        wanted = tuple(x.shape[place] if dim == 0 else dim for place, dim in enumerate(wanted))
    return ops.reshape(x, wanted)


@_reads("Flatten")
def _flatten(call: Call) -> Value:
    x = call.value(0)
    axis = call.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return ops.reshape(x, (dim_product(x.shape[:axis]), dim_product(x.shape[axis:])))


@_reads("Transpose")
def _transpose(call: Call) -> Value:
    return ops.transpose(call.value(0), call.get("perm"))


@_reads("Squeeze")
def _squeeze(call: Call) -> Value:
    x, axes = call.value(0), call.axes()
    gone = (
        [axis for axis in range(x.ndim) if x.shape[axis] == 1]
        if axes is None
        else [axis % x.ndim for axis in axes]
    )
    return ops.reshape(x, tuple(dim for axis, dim in enumerate(x.shape) if axis not in gone))


@_reads("Unsqueeze")
def _unsqueeze(call: Call) -> Value:
    x, axes = call.value(0), call.axes() or []
    rank = x.ndim + len(axes)
    new = {axis % rank for axis in axes}
    rest = iter(x.shape)
    return ops.reshape(x, tuple(1 if axis in new else next(rest) for axis in range(rank)))


@_reads("Expand")
def _expand(call: Call) -> Value:
    x = call.value(0)
    return ops.broadcast_to(x, broadcast(x.shape, call.dims(1).dims))


@_reads("ConstantOfShape")
def _constant_of_shape(call: Call) -> Value:
    fill = call.get("value", np.zeros(1, np.float32)).reshape(())
    dtype = call.floats.get(fill.dtype.name, fill.dtype.name)
    return ops.broadcast_to(call.graph.constant(fill, dtype), call.dims(0).dims)


@_reads("Concat")
def _concat(call: Call) -> Value:
    return ops.concatenate(call.values(), call.get("axis"))


@_reads("Gather")
def _gather(call: Call) -> Value:
    x, axis = call.value(0), call.get("axis", 0) % call.value(0).ndim
    place = call.items[1]
    if isinstance(place, np.ndarray) and place.ndim == 0:
        return ops.index(x, (*[slice(None)] * axis, int(place)))
    if isinstance(place, np.ndarray):  # indices from the end
        size = x.shape[axis]
        if (place < 0).any() and not isinstance(size, int):
            raise ExportError("negative indices into a free dimension cannot be read.")
        indices = call.graph.constant(
            np.where(place < 0, place + (size if isinstance(size, int) else 0), place)
        )
    else:
        indices = call.value(1)
    if axis == 0:
        return ops.gather(x, indices)
    order = (axis, *(i for i in range(x.ndim) if i != axis))
    found = ops.gather(ops.transpose(x, order), indices)
    rank = indices.ndim
    back = (*range(rank, rank + axis), *range(rank), *range(rank + axis, found.ndim))
    return ops.transpose(found, back)


@_reads("Slice")
def _slice(call: Call) -> Value:
    x = call.value(0)
    if "starts" in call.attributes:
        starts, ends = list(call.get("starts")), list(call.get("ends"))
        axes, steps = call.get("axes") or list(range(len(starts))), [1] * len(starts)
    else:
        starts, ends = list(call.dims(1).dims), list(call.dims(2).dims)
        axes = call.dims(3).numbers() if call.has(3) else list(range(len(starts)))
        steps = call.dims(4).numbers() if call.has(4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = _sliced(x, axis % x.ndim, start, end, step)
    return x


def _sliced(x: Value, axis: int, start: Dim, end: Dim, step: int) -> Value:
    size = x.shape[axis]
    if isinstance(start, int) and isinstance(end, int) and isinstance(size, int):
        return ops.index(x, (*[slice(None)] * axis, slice(start, end, step)))
    if step != 1:
        raise ExportError("a Slice with steps along a free dimension cannot be read.")
    first = dim_add(size, start) if isinstance(start, int) and start < 0 else start
    if isinstance(end, int):
        end = size if end >= 2**31 - 1 else dim_add(size, end) if end < 0 else end
    length = dim_add(end, dim_multiply(first, -1))
    return x if first == 0 and length == size else Slice(axis, first, length)(x)
