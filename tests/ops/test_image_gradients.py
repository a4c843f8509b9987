"""Gradients of convolutions and pools, in both number types, over drawn shapes: NumPy, finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.testing import check_gradients, compute
from bigmodel_core.testing.evaluate import compute_gradients
from tests.ops.image_reference import (
    convolutions,
    convolved,
    gradients,
    numbers,
    padded,
    pairs,
    pools,
    spread,
    windows,
)

few = settings(max_examples=30)
dtypes = st.sampled_from(("float32", "float64"))


def assert_near(found: Any, expected: np.ndarray, dtype: str) -> None:
    """Sums of a few thousand numbers: near by the size of the largest."""
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    assert found.dtype == dtype
    scale = max(float(np.abs(expected).max(initial=0)), 1.0)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


def weighted(function: Any, up: np.ndarray) -> Any:
    """A scalar whose gradient for the function's output is `up`."""
    return lambda *values: ops.sum(function(*values) * values[0].node.graph.constant(up))


# Convolutions ---------------------------------------------------------------------------------------------


@few
@given(convolutions(), dtypes)
def test_gradients_of_convolutions_equal_numpy(drawn: dict[str, Any], dtype: str) -> None:
    x, w = numbers(drawn.pop("x")), numbers(drawn.pop("w"), 1)
    b = numbers(w.shape[:1], 2)
    down, across = drawn["padding"]
    shape = (drawn["stride"], (down, across, down, across), drawn["dilation"], drawn["groups"])
    up = numbers(convolved(x, w, b, *shape).shape, 3)
    found = compute_gradients(
        weighted(lambda x, w, b: ops.conv2d(x, w, b, **drawn), up.astype(dtype)),
        *(array.astype(dtype) for array in (x, w, b)),
    )
    expected = (*gradients(x, w, up, *shape), up.sum((0, 2, 3)))
    for mine, right in zip(found, expected, strict=True):
        assert_near(mine, right, dtype)


@few
@given(convolutions())
def test_gradients_of_convolutions_equal_finite_differences(drawn: dict[str, Any]) -> None:
    arrays = [numbers(drawn.pop("x")), numbers(drawn.pop("w"), 1)]
    check_gradients(lambda x, w: ops.conv2d(x, w, **drawn), arrays, limit=5)


@st.composite
def transposes(draw: Any) -> dict[str, Any]:
    """Shapes x and w of a transposed convolution whose output has a pixel at least, and its options."""

    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    taps, stride, gap, padding = draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(1, 2)), draw(pairs(0, 2))
    more = tuple(draw(st.integers(0, step - 1)) for step in stride)
    least = [  # inputs that leave something after the padding
        max(1, -(-(2 * p + 1 - (t - 1) * g - 1 - m) // s) + 1)
        for t, g, p, m, s in zip(taps, gap, padding, more, stride, strict=True)
    ]
    size = [draw(st.integers(low, low + 5)) for low in least]
    x = (draw(st.integers(1, 3)), groups * draw(st.integers(1, 5)), *size)
    w = (x[1], draw(st.sampled_from((1, 2, 7, 20))), *taps)
    options = {"stride": stride, "padding": padding, "output_padding": more, "dilation": gap}
    return {"x": x, "w": w, "groups": groups, **options}


@few
@given(transposes(), dtypes)
def test_transposed_convolutions_and_their_gradients_equal_numpy(drawn: dict[str, Any], dtype: str) -> None:
    x, w, groups = numbers(drawn.pop("x")), numbers(drawn.pop("w"), 1), drawn["groups"]
    b = numbers((w.shape[1] * groups,), 2)
    single = [array.astype(dtype) for array in (x, w, b)]

    def function(x: Any, w: Any, b: Any) -> Any:
        return ops.conv_transpose2d(x, w, b, **drawn)

    found = compute(function, *single)
    down, across = drawn["padding"]
    size = [
        (n - 1) * s - 2 * p + g * (t - 1) + m + 1
        for n, s, p, g, t, m in zip(
            x.shape[2:], drawn["stride"], drawn["padding"], drawn["dilation"], w.shape[2:],
            drawn["output_padding"], strict=True,
        )
    ]  # fmt: skip
    shape = (drawn["stride"], (down, across, down, across), drawn["dilation"], groups)
    # By definition the gradient of the convolution with the same filters for its input.
    empty = np.zeros((len(x), len(b), *size))
    assert_near(found, gradients(empty, w, x, *shape)[0] + b[:, None, None], dtype)
    up = numbers(found.shape, 3)
    dx, dw, db = compute_gradients(weighted(function, up.astype(dtype)), *single)
    assert_near(dx, convolved(up, w, np.zeros(len(w)), *shape), dtype)
    assert_near(dw, gradients(up, w, x, *shape)[1], dtype)
    assert_near(db, up.sum((0, 2, 3)), dtype)


@few
@given(transposes())
def test_gradients_of_transposed_convolutions_equal_finite_differences(drawn: dict[str, Any]) -> None:
    arrays = [numbers(drawn.pop("x")), numbers(drawn.pop("w"), 1)]
    check_gradients(lambda x, w: ops.conv_transpose2d(x, w, **drawn), arrays, limit=5)


@few
@given(
    n=st.integers(1, 3),
    of_group=st.integers(1, 5),
    groups=st.sampled_from((1, 1, 2, 3)),
    filters=st.sampled_from((1, 2, 7, 20)),
    taps=st.integers(1, 4),
    stride=st.integers(1, 3),
    gap=st.integers(1, 2),
    padding=st.integers(0, 3),
    spare=st.integers(0, 8),
)
def test_one_dimensional_convolutions_equal_numpy(
    n: int,
    of_group: int,
    groups: int,
    filters: int,
    taps: int,
    stride: int,
    gap: int,
    padding: int,
    spare: int,
) -> None:
    length = max((taps - 1) * gap + 1 - 2 * padding, 1) + spare
    layer = bm.layers.Conv1d(
        filters * groups, taps, stride=stride, padding=padding, dilation=gap, groups=groups
    )
    network = layer.build(bm.Spec(("N", of_group * groups, length)))
    state = network.state()
    state["bias"] = numbers(state["bias"].shape, 2, "float32")
    network.load_state(state)
    x = numbers((n, of_group * groups, length), dtype="float32")
    image, w = x.astype("float64")[:, :, None], state["weight"].astype("float64")
    w = w.reshape(*w.shape[:2], 1, taps)
    shape = ((1, stride), (0, padding, 0, padding), (1, gap), groups)
    expected = convolved(image, w, state["bias"].astype("float64"), *shape)
    found = network(x)
    assert_near(found, expected[:, :, 0], "float32")
    goal = numbers(found.shape, 3, "float32")
    _, grads = bm.value_and_grad(network, "mean_squared_error")(x, goal)
    up = 2 * (expected - goal[:, :, None]) / found.size
    assert_near(grads["weight"], gradients(image, w, up, *shape)[1].reshape(state["weight"].shape), "float32")
    assert_near(grads["bias"], up.sum((0, 2, 3)), "float32")


# Pools ----------------------------------------------------------------------------------------------------


@few
@given(pools(), dtypes, st.booleans())
def test_gradients_of_average_pools_equal_numpy(drawn: Any, dtype: str, whole: bool) -> None:
    shape, window, stride, padding = drawn
    x, border = numbers(shape), padding * 2
    inside = windows(padded(np.ones(shape), border), window, stride).sum((-2, -1))
    up = numbers(inside.shape, 3)
    flow = up / (window[0] * window[1] if whole else inside)
    expected = spread(np.broadcast_to(flow[..., None, None], (*flow.shape, *window)), shape, stride, border)

    def function(x: Any) -> Any:
        return ops.average_pool(x, window, stride, padding, whole)

    (found,) = compute_gradients(weighted(function, up.astype(dtype)), x.astype(dtype))
    assert_near(found, expected, dtype)


@few
@given(pools(), dtypes)
def test_gradients_of_max_pools_equal_numpy(drawn: Any, dtype: str) -> None:
    shape, window, stride, padding = drawn
    x = np.random.default_rng(0).permutation(np.arange(np.prod(shape)) * 0.5).reshape(shape)
    border = padding * 2
    seen = windows(padded(x, border, -np.inf), window, stride)
    up = numbers(seen.shape[:4], 3)
    flows = np.where(seen == seen.max((-2, -1), keepdims=True), up[..., None, None], 0.0)
    function = weighted(lambda x: ops.max_pool(x, window, stride, padding), up.astype(dtype))
    (found,) = compute_gradients(function, x.astype(dtype))
    assert_near(found, spread(flows, shape, stride, border), dtype)


@few
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 7), st.sampled_from((1, 3, 18)), st.data())
def test_one_dimensional_pools_equal_numpy(
    window: int, stride: int, spare: int, channels: int, data: st.DataObject
) -> None:
    padding = data.draw(st.integers(0, window // 2))
    x = numbers((2, channels, window + spare), dtype="float32")
    border = (0, padding, 0, padding)
    for layer, value, reduce in (
        (bm.layers.MaxPool1d, -np.inf, np.max),
        (bm.layers.AveragePool1d, 0.0, np.mean),
    ):
        network = layer(window, stride=stride, padding=padding).build(bm.Spec(("N", *x.shape[1:])))
        seen = windows(padded(x[:, :, None].astype("float64"), border, value), (1, window), (1, stride))
        np.testing.assert_allclose(network(x), reduce(seen, (-2, -1))[:, :, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_batch_norm_equal_numpy(dtype: str) -> None:
    x, scale, shift = numbers((5, 19, 4, 3)) * 2 + 3, numbers((19,), 1), numbers((19,), 2)
    up = numbers(x.shape, 3)
    found = compute_gradients(
        weighted(lambda x, scale, shift: ops.batch_norm(x, scale, shift)[0], up.astype(dtype)),
        *(array.astype(dtype) for array in (x, scale, shift)),
    )
    axes, wide = (0, 2, 3), (slice(None), None, None)
    deviation = np.sqrt(x.var(axes)[wide] + 1e-5)
    normal = (x - x.mean(axes)[wide]) / deviation
    dscale, dshift = (up * normal).sum(axes), up.sum(axes)
    count = x.size / 19
    dx = scale[wide] / deviation * (up - dshift[wide] / count - normal * dscale[wide] / count)
    for mine, right in zip(found, (dx, dscale, dshift), strict=True):
        assert_near(mine, right, dtype)
