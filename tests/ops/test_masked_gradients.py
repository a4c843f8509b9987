"""Where a mask lets no gradient pass, it is 0 whatever came: also infinity, which 0 times is NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bigmodel_core import ops
from bigmodel_core.testing import compute_gradients

Function = Callable[..., Any]
BOTH = pytest.mark.parametrize("dtype", ["float32", "float64"])


def pulled_back(function: Function, dy: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """The gradients of arrays where that of the function's result is `dy`."""

    def weighted(*values: Any) -> Any:
        y = function(*values)
        return ops.sum(y * y.node.graph.constant(dy.astype(y.dtype)))

    return compute_gradients(weighted, *arrays)


MASKS: dict[str, tuple[Function, list[float], list[float]]] = {
    "relu": (ops.relu, [-1, 0, 4], [0, 0, 1]),
    "leaky relu": (lambda x: ops.leaky_relu(x, 0.0), [-1, 0, 4], [0, 0, 1]),
    "clip": (lambda x: ops.clip(x, 0, 9), [-1, 10, 4], [0, 0, 1]),
    "maximum": (lambda x: ops.maximum(x, 0.0), [-1, 4], [0, 1]),
    "maximum of a number and x": (lambda x: ops.maximum(0.0, x), [-1, 0, 4], [0, 0, 1]),
    "minimum": (lambda x: ops.minimum(x, 0.0), [1, -4], [0, 1]),
    "minimum of a number and x": (lambda x: ops.minimum(0.0, x), [1, 0, -4], [0, 0, 1]),
    "absolute": (ops.absolute, [0, -2, 2], [0, -1, 1]),
    "where": (lambda x: ops.where(x > 0, x, ops.zeros_like(x)), [-1, 4], [0, 1]),
    "max": (lambda x: ops.max(x, 0), [1, 3, 3], [0, 1, 1]),
    "min": (lambda x: ops.min(x, 0), [3, 2, 3], [0, 1, 0]),
    "power 0": (lambda x: x**0, [0, -1, 2], [0, 0, 0]),
}


@BOTH
@pytest.mark.parametrize("name", MASKS)
def test_an_infinite_gradient_stops_at_a_mask(name: str, dtype: str) -> None:
    function, x, passes = MASKS[name]
    dy = np.array(np.inf) if name in ("max", "min") else np.full(len(x), np.inf)
    (found,) = pulled_back(function, dy, np.array(x, dtype))
    np.testing.assert_array_equal(found, [np.inf * p if p else 0 for p in passes])


@BOTH
@pytest.mark.parametrize("name", ["relu", "leaky relu", "clip", "maximum", "maximum of a number and x"])
def test_the_root_of_a_mask_has_slope_0_where_the_mask_is(name: str, dtype: str) -> None:
    """The root's own slope at 0 is infinite; PyTorch 2.13 gives 0 as well."""
    function = MASKS[name][0]
    (found,) = compute_gradients(lambda x: ops.sum(ops.sqrt(function(x))), np.array([-1, 4], dtype))
    np.testing.assert_array_equal(found, [0, 0.25])


@BOTH
def test_both_sides_of_a_choice_are_selected(dtype: str) -> None:
    a, b, dy = np.array([1, 2, 2], dtype), np.array([2, 1, 2], dtype), np.full(3, np.inf)
    for function, to_a in ((ops.maximum, [0, np.inf, np.inf]), (ops.minimum, [np.inf, 0, np.inf])):
        found = pulled_back(function, dy, a, b)
        np.testing.assert_array_equal(found, [to_a, [np.inf if g == 0 else 0 for g in to_a]])


@BOTH
def test_what_a_dropout_drops_has_no_gradient(dtype: str) -> None:
    from bigmodel_core.ops.dropout import _Drop

    x, dy = np.array([np.inf, 2], dtype), np.array([np.inf, 1])
    drop = _Drop(2.0)
    (found,) = pulled_back(lambda v: drop(v, v < 3), dy, x)
    np.testing.assert_array_equal(found, [0, 2])


def test_the_gradient_of_nan_goes_where_the_nan_came_from() -> None:
    nan, dy = np.nan, np.array([1.0, 1.0])
    left, right = pulled_back(ops.maximum, dy, np.array([nan, 1.0]), np.array([1.0, nan]))
    np.testing.assert_array_equal([left, right], [[1, 0], [0, 1]])
    (found,) = pulled_back(lambda x: ops.max(x, 0), np.array(1.0), np.array([1.0, nan, 3.0, nan]))
    np.testing.assert_array_equal(found, [0, 0.5, 0, 0.5])


@BOTH
def test_a_clip_passes_the_gradient_at_its_bounds(dtype: str) -> None:
    """As PyTorch does up to 2.13; from 2.14 on it passes none there."""
    (found,) = pulled_back(lambda x: ops.clip(x, -1, 3), np.arange(1, 6), np.array([-2, -1, 0, 3, 4], dtype))
    np.testing.assert_array_equal(found, [0, 2, 3, 4, 0])


@BOTH
def test_masks_equal_pytorch(dtype: str, torch: Any) -> None:
    functional = torch.nn.functional
    x, dy = np.array([-2, -0.0, 0.0, 3, np.nan, -np.inf, np.inf], dtype), np.arange(1, 8).astype(dtype)
    pairs = {
        "relu": (ops.relu, torch.relu),
        "leaky relu": (lambda v: ops.leaky_relu(v, 0.1), lambda v: functional.leaky_relu(v, 0.1)),
        "clip": (lambda v: ops.clip(v, -1, 2), lambda v: v.clamp(-1, 2)),
        "absolute": (ops.absolute, torch.abs),
    }
    for name, (ours, theirs) in pairs.items():
        leaf = torch.tensor(x, requires_grad=True)
        theirs(leaf).backward(torch.tensor(dy))
        np.testing.assert_allclose(pulled_back(ours, dy, x)[0], leaf.grad.numpy(), err_msg=name)
