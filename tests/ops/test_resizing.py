"""Resizing is a matrix along each axis, whatever the sizes, the method and the layout; its gradient is that
matrix the other way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ShapeError
from bigmodel_core.kernels.interpolation import METHODS
from bigmodel_core.testing import compute
from bigmodel_core.testing.evaluate import Evaluation
from tests.ops.resize_reference import resized


@st.composite
def resizes(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...], str, bool]:
    method = draw(st.sampled_from(METHODS))
    axes = draw(st.integers(1, 2 if method == "bicubic" else 3))
    most = 40 if axes == 1 else 9
    shape = tuple(draw(st.integers(1, most)) for _ in range(axes))
    sizes = tuple(draw(st.integers(1, most)) for _ in range(axes))
    return (2, 2, *shape), sizes, method, method.startswith("bi") and draw(st.booleans())


def ambiguous(shape: tuple[int, ...], sizes: tuple[int, ...], method: str) -> bool:
    """Whether a place falls on a pixel's corner, where float32 numbers decide."""
    lines = zip(shape[2:], sizes, strict=True)
    return method == "nearest-exact" and any(
        (2 * j + 1) * a % (2 * b) == 0 for a, b in lines for j in range(b)
    )


@settings(max_examples=60)
@given(resizes())
def test_any_size_is_that_of_numpy(drawn: Any) -> None:
    shape, sizes, method, align_corners = drawn
    if ambiguous(shape, sizes, method):
        return
    x = np.random.default_rng(0).normal(size=shape)
    evaluation = Evaluation(lambda x: ops.resize(x, sizes, method, align_corners), [x])
    (found,), (_, gradient) = evaluation.run([x])
    expected = resized(x, sizes, method, align_corners)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, expected.shape)  # what Evaluation weights outputs by
    other = np.random.default_rng(2).normal(size=shape)  # the gradient is the transpose of a linear map
    total = (resized(other, sizes, method, align_corners) * weights).sum()
    np.testing.assert_allclose((gradient * other).sum(), total, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(9, 4), (10, 14), (3, 40)], ids=str)
def test_channels_last_are_the_same_pixels(method: str, size: tuple[int, int]) -> None:
    def last(x: Any) -> Any:
        op = ops.resize(ops.transpose(x, (0, 3, 1, 2)), size, method).node.op
        return replace(op, layout="NHWC")(x)

    x = np.random.default_rng(0).normal(size=(2, 5, 7, 3))
    arrays = [x]
    wanted = compute(lambda x: ops.resize(x, size, method), np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    evaluation = Evaluation(last, arrays)
    (found,), (_, gradient) = evaluation.run(arrays)
    np.testing.assert_allclose(found, wanted.transpose(0, 2, 3, 1), rtol=1e-12)
    other = np.random.default_rng(2).normal(size=x.shape)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, found.shape)
    np.testing.assert_allclose((gradient * other).sum(), (compute(last, other) * weights).sum(), rtol=1e-10)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float32"])
def test_nearest_pixels_of_any_type(dtype: str) -> None:
    x = np.arange(24).reshape(1, 2, 3, 4).astype(dtype)
    found = compute(lambda x: ops.resize(x, (7, 3)), x)
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found, resized(x.astype(float), (7, 3), "nearest").astype(dtype))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1, 2, 82), (1, 2, 14, 23), (2, 1, 31, 6)], ids=str)
def test_pixels_and_scales_are_those_of_pytorch(method: str, shape: Any, torch: Any) -> None:
    """At sizes, too, where a product of float32 numbers misses a whole number."""
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    interpolate = torch.nn.functional.interpolate
    for scale in (2.0, 1.7, (0.5, 3.0), 0.61):
        wanted = interpolate(torch.tensor(x), scale_factor=scale, mode=method).numpy()
        found = compute(lambda x, scale=scale: ops.resize(x, method=method, scale=scale), x)
        np.testing.assert_allclose(found, wanted, atol=1e-4)  # PyTorch's places are float32
    for size in ((94, 110), (18, 41), (7, 126)):
        wanted = interpolate(torch.tensor(x), size, mode=method).numpy()
        found = compute(lambda x, size=size: ops.resize(x, size, method), x)
        np.testing.assert_allclose(found, wanted, atol=1e-4)  # PyTorch's places are float32


class Smaller(bm.Layer):
    """Half of the rows, as many columns as rows."""

    def __call__(self, x: Any) -> Any:
        return ops.resize(x, (x.shape[2] // 2, x.shape[2]), "bilinear")


def test_sizes_may_be_free() -> None:
    model = Smaller()
    model.build(("N", 2, "H", "W"))
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 5)).astype("float32")
    np.testing.assert_allclose(model(x), resized(x, (3, 6), "bilinear"), rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match=r"resize cannot make \(0, 1\) pixels of \(2, 2, 1, 5\)"):
        model(x[:, :, :1])
