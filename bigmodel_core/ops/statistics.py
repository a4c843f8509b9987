"""Variance, standard deviation, norms, logarithms of sums, and truth along axes: compositions of reductions.

`any` and `all` here take Values.
"""

from __future__ import annotations

import math

from bigmodel_core.errors import ConfigError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import dim_product
from bigmodel_core.ops.arithmetic import power
from bigmodel_core.ops.axes import Axes, normal_axes
from bigmodel_core.ops.comparison import cast, equal, logical_not, not_equal, where
from bigmodel_core.ops.differentiation import stop_gradient
from bigmodel_core.ops.elementwise import check_floats, constant_like
from bigmodel_core.ops.functions import absolute, exp, log, sqrt, square
from bigmodel_core.ops.reduce import SumSquare, reduced
from bigmodel_core.ops.reduce import max as max_
from bigmodel_core.ops.reduce import mean as mean_
from bigmodel_core.ops.reduce import min as min_
from bigmodel_core.ops.reduce import sum as sum_
from bigmodel_core.ops.sizes import size_of


def var(x: Value, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Value:
    """The variance along axes (all by default): the mean square of the distance to the mean.

    Args:
        x: floats.
        axis: along which.
        keepdims: whether these axes are kept, with size 1.
        ddof: what is taken from the count that the sum is divided by; 1 estimates the variance of what x is
            a sample of.
    """
    check_floats("var", x.spec)
    axes = normal_axes(axis, x.ndim)
    total = sum_(square(x - mean_(x, axes, keepdims=True)), axes, keepdims)
    count = dim_product(x.shape[place] for place in axes)
    if isinstance(count, int):
        return total / float(count - ddof if count > ddof else 0)
    return total / (size_of(x, axes, x.dtype) - float(ddof))


def std(x: Value, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Value:
    """The standard deviation along axes (all by default), the root of `var`; the gradient at 0 is 0."""
    return _root(var(x, axis, keepdims, ddof))


def _root(x: Value) -> Value:
    """The square root of what is not below 0; the gradient at 0 is 0 rather than infinite."""
    nothing = equal(x, constant_like(0.0, x))
    return where(nothing, 0.0, sqrt(where(nothing, 1.0, x)))


def norm(x: Value, ord: float = 2, axis: Axes = None, keepdims: bool = False) -> Value:
    """The norm of the vectors along axes (all by default, of all numbers as one vector).

    Args:
        x: floats.
        ord: 2 for the root of the sum of squares, 1 for the sum of sizes, `inf` and `-inf` for the largest
            and the smallest size, any other p above 0 for the p-th root of the sum of p-th powers.
        axis: along which.
        keepdims: whether these axes are kept, with size 1.

    The gradient at 0 is 0.

    Raises:
        ConfigError: there is no such norm.
    """
    check_floats("norm", x.spec)
    if ord == 2:
        axes = normal_axes(axis, x.ndim)
        return _root(reduced(SumSquare, x, axes, keepdims) if axes else square(x))
    size = absolute(x)
    if ord == 1:
        return sum_(size, axis, keepdims)
    if math.isinf(ord):
        return (max_ if ord > 0 else min_)(size, axis, keepdims)
    if not ord > 0:
        raise ConfigError(f"there is no norm of order {ord}.", fix="use 1, 2, inf, -inf or a number above 0.")
    total = sum_(power(size, float(ord)), axis, keepdims)
    nothing = equal(total, constant_like(0.0, total))
    return where(nothing, 0.0, power(where(nothing, 1.0, total), 1.0 / ord))


def logsumexp(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """The logarithm of the sum of exponentials along axes (all by default), which does not overflow.

    It is -inf, and the gradient 0, where all numbers are -inf.
    """
    check_floats("logsumexp", x.spec)
    largest = stop_gradient(max_(x, axis, keepdims=True))
    shift = where(absolute(largest) < math.inf, largest, 0.0)
    total = sum_(exp(x - shift), axis, keepdims)
    nothing = equal(total, constant_like(0.0, total))
    found = where(nothing, -math.inf, log(where(nothing, 1.0, total)))
    return found + (shift if keepdims else shift.reshape(*found.shape))


def any(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """Whether one number along axes (all by default) is not 0."""
    return _holds(x if x.dtype == "bool" else not_equal(x, constant_like(0, x)), axis, keepdims)


def all(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """Whether no number along axes (all by default) is 0."""
    wrong = logical_not(x) if x.dtype == "bool" else equal(x, constant_like(0, x))
    return logical_not(_holds(wrong, axis, keepdims))


def _holds(truth: Value, axis: Axes, keepdims: bool) -> Value:
    """Whether one is true."""
    axes = normal_axes(axis, truth.ndim)
    if not axes:
        return truth
    if 0 in (truth.shape[place] for place in axes):  # a maximum needs numbers
        found = sum_(cast(truth, "int64"), axes, keepdims)
    else:
        found = max_(cast(truth, "uint8"), axes, keepdims)
    return cast(found, "bool")


__all__ = ["all", "any", "logsumexp", "norm", "std", "var"]
