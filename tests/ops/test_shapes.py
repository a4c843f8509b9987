"""Drawn shapes, with empty and single dimensions: ops agree with NumPy on all of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from bigmodel_core import ops
from bigmodel_core.testing import check_gradients, compute

# Every pattern of broadcasting is a kernel of its own, compiled once: few ranks keep the tests quick.
few = settings(max_examples=40)
sizes = st.integers(0, 4)
shapes = st.lists(sizes, min_size=1, max_size=3).map(tuple)


def numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@few
@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=4))
def test_broadcasting(drawn: Any) -> None:
    a, b = (numbers(shape, seed) for seed, shape in enumerate(drawn.input_shapes))
    np.testing.assert_allclose(compute(ops.multiply, a, b), a * b, rtol=1e-14)


@few
@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=2, min_side=1, max_side=3))
def test_gradients_of_broadcasting(drawn: Any) -> None:
    check_gradients(ops.multiply, [numbers(shape, seed) for seed, shape in enumerate(drawn.input_shapes)])


@few
@given(sizes, sizes, sizes, st.lists(st.integers(1, 3), max_size=2).map(tuple))
def test_matrix_products(m: int, k: int, n: int, batch: tuple[int, ...]) -> None:
    a, b = numbers((*batch, m, k)), numbers((k, n), 1)
    np.testing.assert_allclose(compute(ops.matmul, a, b), a @ b, rtol=1e-12, atol=1e-14)


@few
@given(st.integers(1, 130), st.integers(1, 130), st.integers(1, 130), st.booleans(), st.booleans())
def test_sizes_around_the_blocks_of_the_matrix_product(m: int, k: int, n: int, ta: bool, tb: bool) -> None:
    a = numbers((k, m) if ta else (m, k)).astype("float32")
    b = numbers((n, k) if tb else (k, n), 1).astype("float32")
    wide = (a.T if ta else a).astype("float64") @ (b.T if tb else b)
    found = compute(ops.linear.MatMul(ta, tb), a, b)
    np.testing.assert_allclose(found, wide, rtol=1e-5, atol=1e-5 * k**0.5)


@few
@given(shapes, st.data())
def test_sums_and_means(shape: tuple[int, ...], data: st.DataObject) -> None:
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    keepdims = data.draw(st.booleans())
    x = numbers(shape)
    found, mean = compute(lambda v: (ops.sum(v, axes, keepdims), ops.mean(v, axes, keepdims)), x)
    total, count = x.sum(axes, keepdims=keepdims), math.prod(x.shape[axis] for axis in axes)
    np.testing.assert_allclose(found, total, rtol=1e-12, atol=1e-14)
    with np.errstate(invalid="ignore"):  # the mean of nothing is NaN
        np.testing.assert_allclose(mean, total / np.float64(count), rtol=1e-12, atol=1e-14)


@few
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple), st.data())
def test_extremes_and_their_positions(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.round(numbers(shape))  # with ties
    largest, smallest, position = compute(
        lambda v: (ops.max(v, axis), ops.min(v, axis), ops.argmax(v, axis)), x
    )
    np.testing.assert_array_equal(largest, x.max(axis))
    np.testing.assert_array_equal(smallest, x.min(axis))
    np.testing.assert_array_equal(position, x.argmax(axis))


@few
@given(shapes, st.data())
def test_transpositions(shape: tuple[int, ...], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    x = numbers(shape)
    np.testing.assert_array_equal(compute(lambda v: ops.transpose(v, order), x), x.transpose(order))


@few
@given(shapes, st.data())
def test_slices(shape: tuple[int, ...], data: st.DataObject) -> None:
    def one(size: int) -> Any:
        start, stop = data.draw(st.integers(-size, size)), data.draw(st.integers(-size, size))
        options = [slice(start, stop, data.draw(st.integers(1, 3))), slice(None), slice(start, None)]
        if size:
            options.append(data.draw(st.integers(-size, size - 1)))
        return data.draw(st.sampled_from(options))

    key = tuple(one(size) for size in shape)
    x = numbers(shape)
    np.testing.assert_array_equal(compute(lambda v: ops.index(v, key), x), x[key])


@few
@given(shapes, st.lists(sizes, min_size=1, max_size=3), st.data())
def test_concatenations(shape: tuple[int, ...], lengths: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    arrays = [
        numbers((*shape[:axis], length, *shape[axis + 1 :]), seed) for seed, length in enumerate(lengths)
    ]
    found = compute(lambda *v: ops.concatenate(v, axis), *arrays)
    np.testing.assert_array_equal(found, np.concatenate(arrays, axis))


@few
@given(st.lists(sizes, max_size=2).map(tuple), st.integers(1, 5), st.data())
def test_softmax_along_any_axis(rest: tuple[int, ...], size: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(rest)))
    x = numbers((*rest[:axis], size, *rest[axis:]))
    e = np.exp(x)
    np.testing.assert_allclose(compute(lambda v: ops.softmax(v, axis), x), e / e.sum(axis, keepdims=True))


@few
@given(sizes, st.lists(sizes, max_size=2).map(tuple))
def test_gather_with_indices_of_any_shape(width: int, shape: tuple[int, ...]) -> None:
    table = numbers((5, width))
    indices = np.random.default_rng(1).integers(0, 5, shape)
    np.testing.assert_array_equal(compute(ops.gather, table, indices), table[indices])


def test_gather_adds_the_gradients_of_repeated_rows() -> None:
    check_gradients(ops.gather, [numbers((3, 2)), np.array([1, 1, 0, 1])])


def test_batches_of_no_samples() -> None:
    x, labels = np.zeros((0, 4), "float32"), np.zeros(0, "int64")
    weight, bias = np.ones((4, 3), "float32"), np.ones(3, "float32")
    assert compute(ops.affine, x, weight, bias).shape == (0, 3)
    assert compute(ops.cross_entropy, x, labels).shape == (0,)
    assert compute(ops.multi_class_hinge, x, labels).shape == (0,)
    assert compute(ops.layer_norm, x, bias.repeat(2)[:4], bias.repeat(2)[:4]).shape == (0, 4)
    assert compute(ops.log_softmax, x).shape == (0, 4)
    np.testing.assert_array_equal(compute(lambda v: ops.sum(v, 0), x), np.zeros(4))


def test_numbers_without_dimensions() -> None:
    assert compute(lambda a, b: a * b + 1.0, np.array(3.0), np.array(4.0)) == 13
    check_gradients(lambda a, b: ops.exp(a) / b, [np.array(0.3), np.array(1.7)])
