"""Images with channels last: ops from anywhere take part by their traits. The oracle is NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import KernelError
from bigmodel_core.graph import Graph, Op, Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.ops.images import SwapPlanes
from bigmodel_core.plan import Program, Variables, device_named

CPU = device_named("cpu")


def reversed_rows(out, x, start, stop):
    """out, x (outer, axis, inner), flattened but for the outer axis."""
    for i in range(start, stop):
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                out[i, x.shape[1] - 1 - j, k] = x[i, j, k]


def around_axis(op: Any, inputs: Any, outputs: Any) -> Any:
    sizes = inputs[0].sizes
    outer, inner = int(np.prod(sizes[: op.axis])), int(np.prod(sizes[op.axis + 1 :]))
    view = (outer, sizes[op.axis], inner)
    return [view], [view]


@dataclass(frozen=True)
class Reversed(Op):
    """The numbers along one axis, last first; it says nothing of layouts."""

    axis: int
    cpu = bm.kernel(reversed_rows, views=around_axis)

    def infer(self, x: Spec) -> Spec:
        return x


@dataclass(frozen=True)
class ReversedAnywhere(Reversed):
    """The same for axes in any order."""

    def permuted(self, order: tuple[int, ...], x: Spec) -> ReversedAnywhere:
        return replace(self, axis=order.index(self.axis))


@dataclass(frozen=True)
class Doubled(Op):
    """An elementwise op that says nothing of layouts."""

    cpu, cuda = bm.elementwise(lambda x: x + x)

    def infer(self, x: Spec) -> Spec:
        return x


@dataclass(frozen=True)
class Numbered(Op):
    """Adds to each number its position, which a layout must not change."""

    cpu, cuda = bm.elementwise(lambda x, index: x + index)

    def infer(self, x: Spec) -> Spec:
        return x


def by_channel(out, x, weight, start, stop):
    """out, x (pixels, channels), weight (channels,)."""
    for i in range(start, stop):
        for c in range(x.shape[1]):
            out[i, c] = x[i, c] * weight[c]


def pixels_and_channels(op: Any, inputs: Any, outputs: Any) -> Any:
    view = (int(np.prod(inputs[0].sizes[:-1])), inputs[0].sizes[-1])
    return [view], [view, inputs[1].sizes]


@dataclass(frozen=True)
class Weighted(Op):
    """Images times a number for each channel, computed with channels last alone."""

    layout: str = "NCHW"
    image_inputs = (0,)
    image_outputs = (0,)
    cpu = bm.kernel(by_channel, views=pixels_and_channels)

    def infer(self, x: Spec, weight: Spec) -> Spec:
        return x

    def channels_last(self) -> Weighted | None:
        return Weighted("NHWC") if self.layout == "NCHW" else None


@dataclass(frozen=True)
class Squared(Op):
    """An op without a kernel, which says what it is made of."""

    def infer(self, x: Spec) -> Spec:
        return x

    def decomposed(self, *inputs: Value) -> list[Value]:
        (x,) = inputs
        return [x * x]


@dataclass(frozen=True)
class WherePositive(Op):
    """The first number where the second is positive, else 0."""

    selects = True
    cpu, cuda = bm.elementwise(lambda dy, y: dy if y > 0 else 0)

    def infer(self, dy: Spec, y: Spec) -> Spec:
        return dy


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


def between_convolutions(middle: Callable[[Value], Value]) -> tuple[Program, np.ndarray]:
    """A program of two 1 x 1 convolutions with something between them, and what it computes for x."""
    graph = Graph()
    x = graph.input("x", Spec(("N", 3, 5, 4)))
    with graph.active():
        first, second = (graph.constant(images(*shape)) for shape in ((7, 3, 1, 1), (2, 7, 1, 1)))
        y = ops.conv2d(middle(ops.conv2d(x, first)), second)
    program = Program(graph, [y])
    (found,) = program.run(Variables(CPU), {"x": images(6, 3, 5, 4)})
    return program, found


def expected(middle: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    x, first, second = images(6, 3, 5, 4), images(7, 3, 1, 1), images(2, 7, 1, 1)
    y = np.einsum("nchw,kc->nkhw", x.astype("float64"), first[:, :, 0, 0])
    return np.einsum("nchw,kc->nkhw", middle(y), second[:, :, 0, 0])


def swaps(program: Program) -> int:
    return sum(isinstance(node.op, SwapPlanes) for node in program.nodes)


@pytest.mark.parametrize(
    ("op", "reference", "between"),
    [
        (Doubled(), lambda x: 2 * x, 0),
        (ReversedAnywhere(1), lambda x: x[:, ::-1], 0),
        (ReversedAnywhere(3), lambda x: x[..., ::-1], 0),
        (Reversed(3), lambda x: x[..., ::-1], 2),
        (Numbered(), lambda x: x + np.arange(x.size).reshape(x.shape), 2),
        (Squared(), np.square, 0),
    ],
    ids=["doubled", "reversed anywhere 1", "reversed anywhere 3", "reversed 3", "numbered", "squared"],
)
def test_an_op_between_two_convolutions_is_transposed_only_if_it_has_to_be(
    op: Op, reference: Callable[[np.ndarray], np.ndarray], between: int
) -> None:
    program, found = between_convolutions(op)
    assert swaps(program) == 2 + between  # the input and the output are converted in any case
    np.testing.assert_allclose(found, expected(reference), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("middle", "reference", "between"),
    [
        (Doubled(), lambda x: 2 * x, 0),
        (ReversedAnywhere(1), lambda x: x[:, ::-1], 0),
        (ReversedAnywhere(2), lambda x: x[:, :, ::-1], 0),
        (Reversed(2), lambda x: x[:, :, ::-1], 2),
        (Numbered(), lambda x: x + np.arange(x.size).reshape(x.shape), 2),
        (lambda x: x * by_channels(x), lambda x: x * np.arange(7)[:, None], 0),
        (lambda x: x + ops.mean(x, 2, keepdims=True), lambda x: x + x.mean(2, keepdims=True), 0),
    ],
    ids=["doubled", "reversed anywhere 1", "reversed anywhere 2", "reversed 2", "numbered", "scaled", "mean"],
)
def test_pixels_in_another_shape_stay_where_they_are(
    middle: Callable[[Value], Value], reference: Callable[[np.ndarray], np.ndarray], between: int
) -> None:
    """(N, C, H, W) as (N, C, H * W) and back, which sequences between convolutions are."""

    def of_sequences(x: Value) -> Value:
        y = middle(ops.reshape(x, (*x.shape[:2], 20)))
        return ops.reshape(y, (*y.shape[:2], 5, 4))

    program, found = between_convolutions(of_sequences)
    assert swaps(program) == 2 + between
    wanted = expected(lambda x: reference(x.reshape(6, 7, 20)).reshape(6, 7, 5, 4))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-2)


def by_channels(x: Value) -> Value:
    return x.node.graph.constant(np.arange(7, dtype="float32")[:, None])


def test_a_reshape_of_both_layouts_is_converted_once() -> None:
    """Its source is needed in logical order, and so is itself."""
    graph = Graph()
    x = graph.input("x", Spec(("N", 3, 5, 4)))
    with graph.active():
        y = ops.conv2d(x, graph.constant(images(7, 3, 1, 1)))
        rows = Doubled()(ops.reshape(y, (*y.shape[:2], 20)))
        outputs = [y, ops.reshape(y, (*y.shape[:2], 20)), ops.reshape(y, (*y.shape[:2], 4, 5)), rows]
    program = Program(graph, outputs)
    found = program.run(Variables(CPU), {"x": images(6, 3, 5, 4)})
    assert swaps(program) == 3  # of the input, of y and of the last
    wanted = np.einsum("nchw,kc->nkhw", images(6, 3, 5, 4).astype("float64"), images(7, 3, 1, 1)[:, :, 0, 0])
    for array, factor in zip(found, (1, 1, 1, 2), strict=True):
        np.testing.assert_allclose(array, factor * wanted.reshape(array.shape), rtol=1e-4, atol=1e-5)


def test_an_op_on_images_from_outside_gets_them_with_channels_last() -> None:
    weight = images(7)

    def middle(x: Value) -> Value:
        found: Value = Weighted()(x, x.node.graph.constant(weight))
        return found

    program, found = between_convolutions(middle)
    assert swaps(program) == 2
    np.testing.assert_allclose(found, expected(lambda x: x * weight[:, None, None]), rtol=1e-4, atol=1e-4)


def test_a_broadcast_number_is_made_in_the_layout_that_is_needed() -> None:
    program, found = between_convolutions(lambda x: ops.where(x > 0.5, x, ops.zeros_like(x)))
    assert swaps(program) == 2
    np.testing.assert_allclose(found, expected(lambda x: np.where(x > 0.5, x, 0)), rtol=1e-4, atol=1e-4)


def test_a_selection_goes_before_the_gradient_of_a_max_pool() -> None:
    """Where each number goes, the pooled array has what decides: there are fewer windows than pixels."""
    graph = Graph()
    x = graph.input("x", Spec((2, 3, 6, 6)))
    dy = graph.input("dy", Spec((2, 3, 3, 3)))
    pool = ops.pooling.MaxPool((2, 2), (2, 2))
    y, places = pool(x)
    (spread,) = pool.grad((dy, None), (y, places), x)
    program = Program(graph, [WherePositive()(spread, x)])
    (selection,) = [node for node in program.nodes if isinstance(node.op, WherePositive)]
    assert selection.outputs[0].spec.size == dy.spec.size
    array, given = images(2, 3, 6, 6), images(2, 3, 3, 3)
    (found,) = program.run(Variables(CPU), {"x": array, "dy": given})
    windows = array.reshape(2, 3, 3, 2, 3, 2)
    largest = windows.max((3, 5), keepdims=True)
    spreads = np.where(windows == largest, given[:, :, :, None, :, None], 0).reshape(array.shape)
    np.testing.assert_array_equal(found, np.where(array > 0, spreads, 0))


def test_an_op_with_neither_kernel_nor_parts_is_refused_by_name() -> None:
    class Nothing(Squared):
        def decomposed(self, *inputs: Value) -> None:  # type: ignore[override]  # as `Op` has it
            return None

    with pytest.raises(KernelError, match="the op Nothing has no kernel for 'cpu'"):
        between_convolutions(Nothing())
