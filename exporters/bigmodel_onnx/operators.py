"""How operators that compute are read: a small function each, from ONNX's meaning to ops of the core."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.ops.linear import MatMul
from bigmodel_onnx.erf import Erf
from bigmodel_onnx.nodes import DTYPES, READERS, Call, reads
from bigmodel_onnx.shapes import Dims

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


@reads("Max", "Min", "Sum", "Mean")
def _several(call: Call) -> Value:
    function = {"Max": ops.maximum, "Min": ops.minimum}.get(call.operator, ops.add)
    total: Value = reduce(function, call.values())
    return total * (1.0 / len(call.items)) if call.operator == "Mean" else total


@reads("Div")
def _div(call: Call) -> Value:
    a, b = call.value(0), call.value(1)
    if not a.spec.is_float:
        raise ExportError("the division of integers cannot be read.")
    return ops.divide(a, b)


@reads("Pow")
def _pow(call: Call) -> Value:
    exponent = call.items[1]
    if isinstance(exponent, np.ndarray) and exponent.size == 1:
        return ops.power(call.value(0), float(exponent.reshape(())))
    return ops.power(call.value(0), ops.cast(call.value(1), call.value(0).dtype))


@reads("Reciprocal")
def _reciprocal(call: Call) -> Value:
    return 1.0 / call.value(0)


@reads("LeakyRelu")
def _leaky_relu(call: Call) -> Value:
    return ops.leaky_relu(call.value(0), call.get("alpha", 0.01))


@reads("Elu")
def _elu(call: Call) -> Value:
    return ops.elu(call.value(0), call.get("alpha", 1.0))


@reads("HardSigmoid")
def _hard_sigmoid(call: Call) -> Value:
    return ops.clip(call.value(0) * call.get("alpha", 0.2) + call.get("beta", 0.5), 0.0, 1.0)


@reads("Gelu")
def _gelu(call: Call) -> Value:
    function = ops.gelu_tanh if call.get("approximate", "none") == "tanh" else ops.gelu
    return function(call.value(0))


@reads("Clip")
def _clip(call: Call) -> Value:
    bounds = [call.get("min", -np.inf), call.get("max", np.inf)]
    bounds = [call.constant(place) if call.has(place) else bound for place, bound in enumerate(bounds, 1)]
    return ops.clip(call.value(0), *bounds)


@reads("Where")
def _where(call: Call) -> Value:
    return ops.where(*call.values())


@reads("Cast")
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


@reads("Dropout")
def _dropout(call: Call) -> Any:
    rate = call.constant(1) if call.has(1) else call.get("ratio", 0.5)
    x = call.value(0)
    return (ops.dropout(x, rate) if call.training else x), None


# Products, softmax ---------------------------------------------------------------------------------------


@reads("MatMul")
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


@reads("Gemm")
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


@reads("Softmax", "LogSoftmax")
def _softmax(call: Call) -> Value:
    x = call.value(0)
    axis = call.get("axis", -1 if call.opset >= 13 else 1)
    if call.opset < 13 and axis not in (-1, x.ndim - 1):
        raise ExportError(f"{call.operator} over several axes cannot be read.")
    return (ops.softmax if call.operator == "Softmax" else ops.log_softmax)(x, axis)


# Reductions -----------------------------------------------------------------------------------------------


@reads("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
def _reduce(call: Call) -> Value:
    function = {"Sum": ops.sum, "Mean": ops.mean, "Max": ops.max, "Min": ops.min}[call.operator[6:]]
    axes = call.axes()
    if not axes and call.get("noop_with_empty_axes", 0):
        return call.value(0)
    return function(call.value(0), tuple(axes) if axes else None, bool(call.get("keepdims", 1)))


@reads("ArgMax")
def _argmax(call: Call) -> Value:
    if call.get("select_last_index", 0):
        raise ExportError("ArgMax with select_last_index cannot be read.")
    return ops.argmax(call.value(0), call.get("axis", 0), bool(call.get("keepdims", 1)))
