"""How operators that compute are read: a small function each, from ONNX's meaning to ops of the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.graph.dtypes import INDICES
from bigmodel_core.graph.spec import broadcast, dim_product, format_shape
from bigmodel_core.ops.linear import MatMul
from bigmodel_onnx.broadcasting import aligned
from bigmodel_onnx.nodes import READERS, Call, dtype_of, reads
from bigmodel_onnx.shapes import Dims

# Elementwise ---------------------------------------------------------------------------------------------

_UNARY: dict[str, Callable[[Value], Value]] = {
    "Abs": ops.absolute, "Ceil": ops.ceil, "Cos": ops.cos, "Erf": ops.erf, "Exp": ops.exp, "Floor": ops.floor,
    "Identity": lambda x: x, "Log": ops.log, "Neg": ops.negate, "Not": ops.logical_not, "Relu": ops.relu,
    "Round": ops.round, "Sigmoid": ops.sigmoid, "Sign": ops.sign, "Sin": ops.sin, "Softplus": ops.softplus,
    "Softsign": ops.softsign, "Sqrt": ops.sqrt, "Tanh": ops.tanh,
}  # fmt: skip
_BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "Add": ops.add, "And": ops.logical_and, "Equal": ops.equal, "Greater": ops.greater,
    "GreaterOrEqual": ops.greater_equal, "Less": ops.less, "LessOrEqual": ops.less_equal, "Mul": ops.multiply,
    "Or": ops.logical_or, "Sub": ops.subtract, "Xor": ops.logical_xor,
}  # fmt: skip

for _name, _function in _UNARY.items():
    READERS[_name] = lambda call, function=_function: function(call.value(0))  # type: ignore[misc]  # mypy infers no lambda with defaults
for _name, _combine in _BINARY.items():
    READERS[_name] = lambda call, function=_combine: function(*aligned(call))  # type: ignore[misc]  # mypy infers no lambda with defaults


@reads("Max", "Min", "Sum", "Mean")
def _several(call: Call) -> Value:
    function = {"Max": ops.maximum, "Min": ops.minimum}.get(call.operator, ops.add)
    total: Value = reduce(function, call.values())
    return total * (1.0 / len(call.items)) if call.operator == "Mean" else total


@reads("Div")
def _div(call: Call) -> Value:
    """Quotients of integers are cut towards zero."""
    a, b = aligned(call)
    if a.spec.is_float:
        return ops.divide(a, b)
    down = ops.floor_divide(a, b)
    up = ops.logical_and(ops.mod(a, b) != 0, (a < 0) ^ (b < 0))
    return ops.where(up, down + 1, down)


@reads("Mod")
def _mod(call: Call) -> Value:
    """With the sign of the divisor; with `fmod`, that of what is divided."""
    a, b = call.value(0), call.value(1)
    if not call.get("fmod", 0):
        return ops.mod(a, b)
    if a.spec.is_float:  # a rest below 0 may be too small to be seen once b was added
        rest = ops.mod(ops.absolute(a), ops.absolute(b))
        return ops.where(a < 0.0, -rest, rest)
    rest = ops.mod(a, b)
    return ops.where(ops.logical_and(rest != 0, (a < 0) ^ (b < 0)), rest - b, rest)


@reads("Pow")
def _pow(call: Call) -> Value:
    exponent = call.items[1]
    x, other = aligned(call)
    if isinstance(exponent, np.ndarray) and exponent.size == 1 and exponent.ndim <= x.ndim:
        return ops.power(x, float(exponent.reshape(())))
    return ops.power(x, ops.cast(other, x.dtype))


@reads("PRelu")
def _parametric_relu(call: Call) -> Value:
    """Slopes of an old opset belong to the channels; newer ones repeat by NumPy's rule."""
    x, slope = call.value(0), call.value(1)
    if call.opset < 7 and slope.ndim == 1 and slope.shape != (1,):
        slope = ops.reshape(slope, (*slope.shape, *(1,) * (x.ndim - 2)))
    if broadcast(x.shape, slope.shape) != x.shape:
        raise ExportError(
            f"the slopes {format_shape(slope.shape)} do not broadcast to {format_shape(x.shape)}."
        )
    return ops.where(x < 0.0, x * slope, x)


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
    x: Value = call.value(0)
    if not x.spec.is_float:
        for place, bound in ((1, ops.maximum), (2, ops.minimum)):
            x = bound(x, call.value(place)) if call.has(place) else x
        return x
    largest = float(np.finfo(x.dtype).max)  # what a bound is if the file has none
    given = [call.get("min", -largest), call.get("max", largest)]
    low, high = [call.constant(place) if call.has(place) else given[place - 1] for place in (1, 2)]
    if low > high:  # the upper bound counts
        return ops.minimum(ops.maximum(x, low), high)
    return ops.clip(x, low, high)


@reads("Where")
def _where(call: Call) -> Value:
    return ops.where(*call.values())


@reads("Cast")
def _cast(call: Call) -> Any:
    dtype = dtype_of(call.get("to"))
    if dtype is None:
        raise ExportError(f"the number type {call.get('to')} of Cast cannot be read.")
    dtype = call.floats.get(dtype, dtype)
    found = Dims.of(call.items[0])
    if found is not None and dtype in INDICES:
        return replace(found, dtype=dtype)
    return found.value(call.graph, dtype) if found is not None else ops.cast(call.value(0), dtype)


@reads("Dropout")
def _dropout(call: Call) -> Any:
    """Drawn while the model is trained; files that draw in inference too are refused."""
    rate = call.constant(1) if call.has(1) else call.get("ratio", 0.5)
    x = call.value(0)
    drawn = call.opset < 7 and not call.get("is_test", 0)
    if call.has(2):
        flag = call.items[2]
        drawn = not isinstance(flag, np.ndarray) or bool(flag.any())
    if drawn and rate > 0:
        raise ExportError(
            "Dropout that is active in inference cannot be read.",
            fix="export the model for inference, or leave training_mode out.",
        )
    return (ops.dropout(x, rate) if call.training else x), None


# Products, softmax ---------------------------------------------------------------------------------------


@reads("MatMul")
def _matmul(call: Call) -> Value:
    return ops.matmul(call.value(0), call.value(1))


@reads("Einsum")
def _einsum(call: Call) -> Value:
    return ops.einsum(call.get("equation"), *call.values())


@reads("Gemm")
def _gemm(call: Call) -> Value:
    a, b = call.value(0), call.value(1)
    flags = bool(call.get("transA", 0)), bool(call.get("transB", 0))
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    bias = call.value(2) if call.has(2) else None
    if (
        bias is not None
        and call.opset >= 7
        and flags == (False, False)
        and alpha == beta == 1
        and bias.shape == b.shape[1:]
    ):
        return ops.affine(a, b, bias)
    y: Value = MatMul(*flags)(a, b)
    y = y if alpha == 1 else y * alpha
    if bias is None or beta == 0:
        return y
    repeats = call.opset >= 7 or bool(call.get("broadcast", 0))
    if (broadcast(bias.shape, y.shape) if repeats else bias.shape) != y.shape:
        raise ExportError(
            f"the bias {format_shape(bias.shape)} of Gemm does not broadcast to {format_shape(y.shape)}.",
            fix="export the model again.",
        )
    return y + (bias if beta == 1 else bias * beta)


@reads("Softmax", "LogSoftmax")
def _softmax(call: Call) -> Value:
    """Over one axis; up to opset 12, over all axes from one on."""
    x, function = call.value(0), ops.softmax if call.operator == "Softmax" else ops.log_softmax
    axis = call.axis(x.ndim, -1 if call.opset >= 13 else 1)
    if call.opset >= 13 or axis == x.ndim - 1:
        return function(x, axis)
    flat = ops.reshape(x, (dim_product(x.shape[:axis]), dim_product(x.shape[axis:])))
    return ops.reshape(function(flat, -1), x.shape)


# Reductions -----------------------------------------------------------------------------------------------


def _sum_of_squares(x: Value, axes: tuple[int, ...] | None, keepdims: bool) -> Value:
    return ops.sum(ops.square(x), axes, keepdims)


def _log_sum(x: Value, axes: tuple[int, ...] | None, keepdims: bool) -> Value:
    return ops.log(ops.sum(x, axes, keepdims))


def _sum_of_sizes(x: Value, axes: tuple[int, ...] | None, keepdims: bool) -> Value:
    return ops.sum(ops.absolute(x), axes, keepdims)


def _norm(x: Value, axes: tuple[int, ...] | None, keepdims: bool) -> Value:
    return ops.norm(x, 2, axes, keepdims)


_REDUCTIONS: dict[str, Any] = {
    "ReduceSum": ops.sum,
    "ReduceSumSquare": _sum_of_squares,
    "ReduceProd": ops.prod,
    "ReduceL1": _sum_of_sizes,
    "ReduceL2": _norm,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": ops.logsumexp,
    "ReduceMean": ops.mean,
    "ReduceMax": ops.max,
    "ReduceMin": ops.min,
}


@reads(*_REDUCTIONS)
def _reduce(call: Call) -> Value:
    function = _REDUCTIONS[call.operator]
    x = call.value(0)
    none = () if call.get("noop_with_empty_axes", 0) else None  # then each number is summed alone
    return function(x, tuple(call.axes(x.ndim) or ()) or none, bool(call.get("keepdims", 1)))


@reads("CumSum")
def _cumsum(call: Call) -> Value:
    x = call.value(0)
    (axis,) = call.counted(call.dims(1).numbers(), x.ndim)
    return ops.cumsum(x, axis, bool(call.get("reverse", 0)), bool(call.get("exclusive", 0)))


@reads("ArgMax", "ArgMin")
def _argmax(call: Call) -> Value:
    if call.get("select_last_index", 0):
        raise ExportError(f"{call.operator} with select_last_index cannot be read.")
    x, function = call.value(0), ops.argmax if call.operator == "ArgMax" else ops.argmin
    return function(x, call.axis(x.ndim, 0), bool(call.get("keepdims", 1)))
