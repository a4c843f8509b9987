"""Operators on constants, computed while a file is read, by the rules of ONNX rather than those of NumPy.

Integers wrap in their own type, a quotient of integers is cut towards zero, a power of integers is computed
in float64 and cut, and a number that is cast to an integer loses its fraction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import ExportError
from bigmodel_onnx.broadcasting import aligned_arrays
from bigmodel_onnx.nodes import Call, dtype_of
from bigmodel_onnx.shapes import part

LARGEST = 2**20
"""Elements of results that are computed here; larger ones of numbers are computed when the model runs."""


def folded(call: Call) -> np.ndarray | None:
    """The result of an operator whose inputs are all constants; None if it is left to the graph."""
    compute = FOLDS.get(call.operator)
    arrays = call.items
    if compute is None or not all(isinstance(item, np.ndarray) for item in arrays if item is not None):
        return None
    given = [item for item in arrays if item is not None]
    if not given or sum(item.size for item in given) > LARGEST:
        return None
    if any(item.dtype.kind == "f" for item in given) and sum(item.size for item in given) > 64:
        return None
    with np.errstate(all="ignore"):
        found = compute(call)
    return None if found is None else np.asarray(found)


def _elementwise(function: Callable[..., Any]) -> Callable[[Call], np.ndarray]:
    def compute(call: Call) -> np.ndarray:
        arrays = aligned_arrays(call)
        _check_size(np.broadcast_shapes(*(array.shape for array in arrays)))
        return np.asarray(function(*arrays))

    return compute


def _check_size(shape: Sequence[int]) -> None:
    count = 1
    for size in shape:
        count *= size
    if count > LARGEST:
        raise ExportError(f"a constant of the shape {tuple(shape)} is computed.", fix="store it in the file.")


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, cut towards zero if they are integers."""
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    if (b == 0).any():
        raise ExportError("a constant integer is divided by zero.", fix="export the model again.")
    quotient = a // b
    return np.asarray(quotient + ((quotient * b != a) & ((a < 0) != (b < 0))).astype(a.dtype))


def _power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f" and a.dtype == b.dtype:
        return np.asarray(np.power(a, b))
    return cast(np.power(a.astype(np.float64), b.astype(np.float64)), a.dtype)


def cast(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Numbers as another type: fractions are cut off, integers wrap, what is not 0 is true.

    Raises:
        ExportError: a number is outside of the range of an integer type, which runtimes treat differently.
    """
    kind = np.dtype(dtype)
    if array.dtype.kind == "f" and kind.kind in "iu":
        limits = np.iinfo(kind)
        whole = np.trunc(array.astype(np.float64))
        if not ((whole >= limits.min) & (whole <= float(limits.max))).all():
            raise ExportError(
                f"a constant that {kind.name} cannot hold is cast to it.", fix="export the model again."
            )
    return array.astype(kind)


def _cast(call: Call) -> np.ndarray | None:
    dtype = dtype_of(call.get("to"))
    if dtype is None:
        return None
    return cast(call.items[0], call.floats.get(dtype, dtype))


def _squeeze(call: Call) -> np.ndarray:
    axes = call.axes(call.items[0].ndim)
    return np.asarray(np.squeeze(call.items[0], None if axes is None else tuple(axes)))


def _unsqueeze(call: Call) -> np.ndarray:
    count = len(call.attributes["axes"] if "axes" in call.attributes else call.dims(1).dims)
    return np.asarray(np.expand_dims(call.items[0], tuple(call.axes(call.items[0].ndim + count) or ())))


def _reshape(call: Call) -> np.ndarray:
    x, wanted = call.items[0], [int(size) for size in call.items[1].reshape(-1)] if call.has(1) else None
    wanted = list(call.get("shape")) if wanted is None else wanted
    if not call.get("allowzero", 0):
        wanted = [x.shape[place] if size == 0 else size for place, size in enumerate(wanted)]
    return np.asarray(x.reshape(wanted))


def _slice(call: Call) -> np.ndarray:
    x = call.items[0]
    if "starts" in call.attributes:
        starts, ends = call.get("starts"), call.get("ends")
        axes, steps = call.get("axes") or range(len(starts)), [1] * len(starts)
    else:
        starts, ends = call.dims(1).numbers(), call.dims(2).numbers()
        axes = call.dims(3).numbers() if call.has(3) else range(len(starts))
        steps = call.dims(4).numbers() if call.has(4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = x[(*[slice(None)] * (axis % x.ndim), part(x.shape[axis], start, end, step))]
    return np.asarray(x)


def _gather(call: Call) -> np.ndarray:
    x, places = call.items
    axis = call.axis(x.ndim, 0)
    _check_size((*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))
    return np.asarray(np.take(x, places, axis))


def _concat(call: Call) -> np.ndarray:
    return np.concatenate(call.items, call.axis(call.items[0].ndim, 1 if call.opset < 4 else 0))


def _expand(call: Call) -> np.ndarray:
    x = call.items[0]
    shape = np.broadcast_shapes(x.shape, tuple(int(size) for size in call.items[1]))
    _check_size(shape)
    return np.broadcast_to(x, shape)


def _reduced(function: Callable[..., Any]) -> Callable[[Call], np.ndarray]:
    def compute(call: Call) -> np.ndarray:
        x, axes = call.items[0], call.axes(call.items[0].ndim)
        if not axes and call.get("noop_with_empty_axes", 0):
            return np.asarray(x)
        found = function(x, axis=tuple(axes) if axes else None, keepdims=bool(call.get("keepdims", 1)))
        return np.asarray(found).astype(x.dtype)

    return compute


def _least(call: Call) -> np.ndarray:
    return np.asarray(np.minimum.reduce(np.broadcast_arrays(*call.items)))


def _most(call: Call) -> np.ndarray:
    return np.asarray(np.maximum.reduce(np.broadcast_arrays(*call.items)))


FOLDS: dict[str, Callable[[Call], Any]] = {
    "Add": _elementwise(np.add), "Sub": _elementwise(np.subtract), "Mul": _elementwise(np.multiply),
    "Div": _elementwise(_divide), "Pow": _elementwise(_power), "Neg": _elementwise(np.negative),
    "Abs": _elementwise(np.abs), "And": _elementwise(np.logical_and), "Or": _elementwise(np.logical_or),
    "Not": _elementwise(np.logical_not), "Equal": _elementwise(np.equal),
    "Greater": _elementwise(np.greater), "GreaterOrEqual": _elementwise(np.greater_equal),
    "Less": _elementwise(np.less), "LessOrEqual": _elementwise(np.less_equal),
    "Where": _elementwise(np.where), "Min": _least, "Max": _most, "Identity": lambda call: call.items[0],
    "Cast": _cast, "Concat": _concat, "Gather": _gather, "Slice": _slice, "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze, "Reshape": _reshape, "Expand": _expand,
    "Transpose": lambda call: np.transpose(call.items[0], call.get("perm")),
    "ReduceSum": _reduced(np.sum), "ReduceProd": _reduced(np.prod), "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
}  # fmt: skip
"""What is computed, by operator."""
