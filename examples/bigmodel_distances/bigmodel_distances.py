"""Manhattan distances as a plugin: an op that never writes the differences which its composition sums up.

The distances of N points to M others along K features are N * M * K differences, of which only sums are kept.
`composed` says the same with ops that exist; `bench.py` compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import bigmodel_core as bm
from bigmodel_core import ops


def composed(x: bm.Value, points: bm.Value) -> bm.Value:
    """The distances of rows of `x` (N, K) to rows of `points` (M, K), as (N, M), of ops that exist."""
    return ops.sum(abs(ops.expand_dims(x, 1) - points), axis=-1)


def composed_pull(dy: bm.Value, x: bm.Value, points: bm.Value) -> bm.Value:
    """The gradient of the distances with respect to `x`, (N, K), of ops that exist."""
    return ops.sum(ops.expand_dims(dy, -1) * ops.sign(ops.expand_dims(x, 1) - points), axis=1)


# Inner loops run along rows that lie together, four rows at a time: the compiler makes vector code of them,
# and each sum is read and written once for four terms. The order of its terms never depends on the cut.


def distances(out, x, columns, start, stop):
    """Rows of the distances; `columns` (K, M) are the points with features first."""
    features, count = columns.shape
    for i in range(start, stop):
        for j in range(count):
            out[i, j] = 0
        for k in range(0, features - 3, 4):
            a, b, c, d = x[i, k], x[i, k + 1], x[i, k + 2], x[i, k + 3]
            for j in range(count):
                first = abs(a - columns[k, j]) + abs(b - columns[k + 1, j])
                out[i, j] += first + (abs(c - columns[k + 2, j]) + abs(d - columns[k + 3, j]))
        for k in range(features - features % 4, features):
            a = x[i, k]
            for j in range(count):
                out[i, j] += abs(a - columns[k, j])


def turned(out, x, start, stop):
    """A matrix with its rows as columns."""
    for i in range(start, stop):
        for j in range(x.shape[0]):
            out[i, j] = x[j, i]


def signed(number, difference, zero):
    """A number times the sign of a difference."""
    if difference > 0:
        return number
    if difference < 0:
        return -number
    return zero


def pulls(out, dy, x, points, start, stop):
    """Rows of the gradient: out[i, k] = sum over j of dy[i, j] * sign(x[i, k] - points[j, k])."""
    count, features = points.shape
    zero = dy.dtype.type(0)
    for i in range(start, stop):
        for k in range(features):
            out[i, k] = 0
        for j in range(0, count - 3, 4):
            a, b, c, d = dy[i, j], dy[i, j + 1], dy[i, j + 2], dy[i, j + 3]
            for k in range(features):
                at = x[i, k]
                first = signed(a, at - points[j, k], zero) + signed(b, at - points[j + 1, k], zero)
                second = signed(c, at - points[j + 2, k], zero) + signed(d, at - points[j + 3, k], zero)
                out[i, k] += first + second
        for j in range(count - count % 4, count):
            a = dy[i, j]
            for k in range(features):
                out[i, k] += signed(a, x[i, k] - points[j, k], zero)


# On CUDA a thread sums up one number of the output; neighbours read neighbours.


def cuda_distances(out, x, columns, thread, threads):
    features, count = columns.shape
    for n in range(thread, x.shape[0] * count, threads):
        i, j = n // count, n % count
        total = abs(x[i, 0] - columns[0, j])
        for k in range(1, features):
            total += abs(x[i, k] - columns[k, j])
        out[i, j] = total


def cuda_turned(out, x, thread, threads):
    rows, columns = x.shape
    for n in range(thread, rows * columns, threads):
        out[n // rows, n % rows] = x[n % rows, n // rows]


def cuda_pulls(out, dy, x, points, thread, threads):
    count, features = points.shape
    zero = dy.dtype.type(0)
    for n in range(thread, x.shape[0] * features, threads):
        i, k = n // features, n % features
        total = signed(dy[i, 0], x[i, k] - points[0, k], zero)
        for j in range(1, count):
            total += signed(dy[i, j], x[i, k] - points[j, k], zero)
        out[i, k] = total


# What is launched is the same on both. A distance is the same both ways: where points are too few to fill a
# vector, rows and points change places. The terms and their order stay, and so do the bits.


def launches_of(call, turn, measure):
    x, points, out = call.input(0), call.input(1), call.output(0)
    (rows, features), (count, _) = (spec.shape for spec in call.inputs)
    if count < 16 and count < rows:
        columns, found = call.temporary((features, rows)), call.temporary((count, rows))
        return [
            *call.launch(turn, [columns], [x]),
            *call.launch(measure, [found], [points, columns]),
            *call.launch(turn, [out], [found]),
        ]
    columns = call.temporary((features, count))
    return [*call.launch(turn, [columns], [points]), *call.launch(measure, [out], [x, columns])]


CPU = bm.kernel(turned), bm.kernel(distances, cost=100)
CUDA = bm.cuda_kernel(cuda_turned), bm.cuda_kernel(cuda_distances)


@dataclass(frozen=True)
class PullOp(bm.Op):
    """The gradient of ManhattanOp for its first input, (N, K), from dy (N, M), x (N, K) and points (M, K)."""

    cpu = bm.kernel(pulls, cost=100)
    cuda = bm.cuda_kernel(cuda_pulls)

    def infer(self, dy, x, points):
        return x

    def decomposed(self, dy, x, points):
        return (composed_pull(dy, x, points),)


@dataclass(frozen=True)
class ManhattanOp(bm.Op):
    """Sums of absolute differences of the rows of x (N, K) and of points (M, K), as (N, M)."""

    cpu = bm.cpu_launches(lambda call: launches_of(call, *CPU))
    cuda = bm.cuda_launches(lambda call: launches_of(call, *CUDA))

    def infer(self, x, points):
        if x.ndim != 2 or points.ndim != 2 or x.dtype != points.dtype or not x.is_float:
            raise bm.errors.ShapeError(
                f"Manhattan distances are of two matrices of one float type, got {x} and {points}.",
                fix="reshape each point to one row, and convert: x.astype('float32').",
            )
        if x.shape[1] != points.shape[1] or 0 in (points.shape[0], points.shape[1]):
            raise bm.errors.ShapeError(
                f"Manhattan distances need as many features on both sides, at least one, and a point: "
                f"got {x} and {points}.",
            )
        return bm.Spec((x.shape[0], points.shape[0]), x.dtype)

    def grad(self, dy, y, x, points):
        return PullOp()(dy, x, points), PullOp()(ops.transpose(dy), points, x)

    def decomposed(self, x, points):
        return (composed(x, points),)


@dataclass(frozen=True)
class Prototypes(bm.Layer):
    """Minus the mean absolute difference to learned points, (N, K) to (N, units).

    With `cross_entropy` it is a classifier by the nearest prototype: `units` classes have one each (Kohonen's
    learning vector quantisation, 1986, with the loss of Snell et al., 2017). The mean over the K features is
    multiplied by a learned number, so that classes can be told apart as sharply as the data allow.

    Parameters: `points` (units, K) and `sharpness` (1,).

    Args:
        units: how many points are learned.
    """

    units: int

    def __post_init__(self) -> None:
        bm.check_number(self, "units", whole=True, at_least=1)

    def __call__(self, x: bm.Value) -> bm.Value:
        if x.ndim != 2 or not x.spec.is_float or not isinstance(x.shape[1], int) or x.shape[1] < 1:
            raise bm.errors.ShapeError(
                f"Prototypes got {x.spec}, expected floats (N, K) with a fixed number K of features.",
                fix="flatten each sample (bm.layers.Flatten()), and convert integers: x.astype('float32').",
            )
        points = self.parameter("points", (self.units, x.shape[1]), "glorot_uniform")
        sharpness = self.parameter("sharpness", (1,), 10.0)
        return self.distances(x, points) * (sharpness * (-1 / x.shape[1]))

    def distances(self, x: bm.Value, points: bm.Value) -> bm.Value:
        """The distances (N, units) of the samples to the points."""
        return ManhattanOp()(x, points)


@bm.hookimpl
def bigmodel_layers() -> list[type[bm.Layer]]:
    """The layers of this plugin."""
    return [Prototypes]
