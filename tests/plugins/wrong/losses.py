"""Losses with one fault each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from tests.plugins.wrong.layers import SumByThreads
from tests.plugins.wrong.table import fault, sound

FLOATS = [(6, 5), (6, 5)]


def squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x - y) ** 2


class Squares(bm.Loss):
    def each(self, prediction: Any, target: Any) -> Any:
        ops.elementwise.check_same_shape("it", prediction.spec, target.spec, "both")
        return ops.square(prediction - target)


# Of kernels -------------------------------------------------------------------------------------------------


def square(x, y):
    return (x - y) * (x - y)


def square_grad(dy, x, y):
    return dy * (x - y + x - y)


def half_square(x, y):
    return (x - y) * (x - y) / 2


def squared(out, x, y, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - y[i, j]) * (x[i, j] - y[i, j])


def squared_past_the_end(out, x, y, start, stop):
    squared(out, x, y, start, stop)
    if stop == x.shape[0]:
        for j in range(x.shape[1]):
            out[stop, j] = 0


def squared_over_prediction(out, x, y, start, stop):
    squared(out, x, y, start, stop)
    for i in range(start, stop):
        for j in range(x.shape[1]):
            x[i, j] = 0


def grad_with_row_before(out, dy, x, y, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            before = out[i - 1, j] if i > 0 else 0
            out[i, j] = 2 * dy[i, j] * (x[i, j] - y[i, j]) + before


class SquareGrad(bm.Op):
    exported: ClassVar[bool] = False
    cpu, cuda = bm.elementwise(square_grad)

    def infer(self, dy: bm.Spec, x: bm.Spec, y: bm.Spec) -> bm.Spec:
        return x


@dataclass(frozen=True)
class SquareGradOp(SquareGrad):
    pass


class Square(bm.Op):
    exported: ClassVar[bool] = False
    cpu, cuda = bm.elementwise(square)
    backward: ClassVar[Any] = SquareGradOp

    def infer(self, x: bm.Spec, y: bm.Spec) -> bm.Spec:
        ops.elementwise.check_same_shape("it", x, y, "both")
        return x

    def grad(self, dy: Any, out: Any, x: Any, y: Any) -> tuple[Any, None]:
        return self.backward()(dy, x, y), None


@dataclass(frozen=True)
class SquareOp(Square):
    pass


@dataclass(frozen=True)
class PastTheEnd(Square):
    cpu = bm.kernel(squared_past_the_end)


@dataclass(frozen=True)
class OverPrediction(Square):
    cpu = bm.kernel(squared_over_prediction)


@dataclass(frozen=True)
class RowBefore(SquareGrad):
    cpu = bm.kernel(grad_with_row_before)


@dataclass(frozen=True)
class GradOfRowBefore(Square):
    backward = RowBefore


@dataclass(frozen=True)
class HalfOnCuda(Square):
    cpu = bm.kernel(squared)
    cuda = bm.elementwise(half_square)[1]


class OfOp(bm.Loss):
    op: ClassVar[type[bm.Op]] = SquareOp

    def each(self, prediction: Any, target: Any) -> Any:
        return self.op()(prediction, target)


@sound(FLOATS, lambda x, y: (y > 0) * (x - y) ** 2)
class OfKernels(OfOp):
    """(prediction - target) ** 2 where targets are positive; others count for nothing."""

    def each(self, prediction: Any, target: Any) -> Any:
        return super().each(prediction, target) * self.counts(prediction, target)

    def counts(self, prediction: Any, target: Any) -> Any:
        return ops.where(target > 0.0, 1.0, 0.0 * target)


@fault("a loss whose kernel writes past its end", "stays in its memory", "kernel squared_past_", FLOATS)
class WritingPast(OfOp):
    op = PastTheEnd


@fault(
    "a loss whose kernel overwrites predictions", "inputs unmodified", "kernel squared_over_.*0 was", FLOATS
)
class Overwriting(OfOp):
    op = OverPrediction


@fault(
    "a loss whose gradient reads what the piece before wrote",
    "same bits however it is cut",
    "kernel grad_with_row_before",
    FLOATS,
)
class AddingUp(OfOp):
    op = GradOfRowBefore


@fault("a loss that is half as large on CUDA", "cuda equals cpu", "Mismatched", FLOATS)
class OtherOnCuda(OfOp):
    op = HalfOnCuda


@fault(
    "a loss summed in as many parts as there are threads",
    "same bits at any thread count",
    "1 and 2 threads differ",
    FLOATS,
)
class ByThreads(Squares):
    def each(self, prediction: Any, target: Any) -> Any:
        return SumByThreads()(super().each(prediction, target))


# Of ops -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UnlikeGrad(Square):
    def grad(self, dy: Any, out: Any, x: Any, y: Any) -> tuple[Any, None]:
        return dy * (x - y), None


@fault("a loss whose gradient lacks a factor", "gradient", r"gradient of input 0 at \(0, 0\)", FLOATS)
class HalfGradient(OfOp):
    op = UnlikeGrad


@fault("a loss for one size of batch", "runs", "(?i)reshape|shape", FLOATS)
class OneSize(Squares):
    def each(self, prediction: Any, target: Any) -> Any:
        return ops.reshape(super().each(prediction, target), (64, 5))


@fault(
    "a loss that broadcasts",
    "nothing is broadcast",
    r"\(6, 1\) against \(6,\) was accepted",
    [(6, 1), (6, 1)],
)
class Broadcasting(bm.Loss):
    def each(self, prediction: Any, target: Any) -> Any:
        return ops.square(prediction - target)


@fault("a loss that overflows", "stable", "the loss of large predictions is", FLOATS)
class Overflowing(Squares):
    def each(self, prediction: Any, target: Any) -> Any:
        return ops.log(1.0 + ops.exp(-prediction * target))


@fault("a loss that is the sum over samples", "mean of each", "Mismatched|Not equal", FLOATS)
class Summed(Squares):
    def __call__(self, prediction: Any, target: Any) -> Any:
        return ops.sum(self.each(prediction, target))


@fault("a loss without one number for each sample", "shapes and dtypes", "losses of 6 samples", FLOATS)
class Reduced(Squares):
    def each(self, prediction: Any, target: Any) -> Any:
        return ops.mean(ops.square(prediction - target))


@fault("a loss of half the size", "reference", "Mismatched", FLOATS, squares)
class Halved(Squares):
    def each(self, prediction: Any, target: Any) -> Any:
        return 0.5 * ops.square(prediction - target)


@fault("a loss that takes any label", "labels out of range", "the label -1 was accepted")
class AnyLabel(bm.Loss):
    target_dtype: ClassVar[str | None] = "int64"

    def each(self, prediction: Any, target: Any) -> Any:
        return ops.mean(ops.square(prediction), axis=-1) + 0.0 * target.astype(prediction.dtype)
