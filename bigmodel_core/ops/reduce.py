"""Reductions: sum, mean, maximum, minimum, product, position of the largest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Shape, Spec, dim_product, format_shape
from bigmodel_core.kernels.array import ArrayKernel, Call, NativeKernel, kernel
from bigmodel_core.kernels.cpu.math import larger, smaller
from bigmodel_core.kernels.cuda.kernels import CudaLaunches

Axes = int | tuple[int, ...] | None


def normal_axes(axes: Axes, rank: int) -> tuple[int, ...]:
    """Axes as sorted numbers from 0; None means all.

    Raises:
        ShapeError: an axis is out of range or named twice.
    """
    wanted = tuple(range(rank)) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    for axis in wanted:
        if not -rank <= axis < rank:
            raise ShapeError(
                f"axis {axis} is out of range for {rank} dimensions.", fix=f"use {-rank} to {rank - 1}."
            )
    found = tuple(sorted(axis % rank for axis in wanted))
    if len(set(found)) != len(found):
        raise ShapeError(f"the axes {wanted} name one axis twice.")
    return found


@dataclass(frozen=True)
class Reduction(Op):
    """An op that makes one number out of those along some axes."""

    axes: tuple[int, ...]
    keepdims: bool = False

    def infer(self, x: Spec) -> Spec:
        axes = normal_axes(self.axes, x.ndim)
        if self.keepdims:
            return x.with_shape(1 if axis in axes else dim for axis, dim in enumerate(x.shape))
        return x.with_shape(dim for axis, dim in enumerate(x.shape) if axis not in axes)

    def kept(self, x: Spec) -> Shape:
        """The output's shape with the reduced axes kept as 1."""
        return tuple(1 if axis in self.axes else dim for axis, dim in enumerate(x.shape))


def middle_views(op: Any, inputs: tuple[Spec, ...], outputs: tuple[Spec, ...]) -> tuple[list[Any], list[Any]]:
    """Views (outer, inner) of the output and (outer, middle, inner) of the input, for neighbouring reduced
    axes."""
    outer, middle, inner = split_axes(inputs[0].shape, op.axes)
    return [(outer, inner)], [(outer, middle, inner)]


def split_axes(shape: Any, axes: tuple[int, ...]) -> tuple[int, int, int]:
    """Sizes before, along and after neighbouring axes."""
    first, last = (axes[0], axes[-1] + 1) if axes else (len(shape), len(shape))
    return math.prod(shape[:first]), math.prod(shape[first:last]), math.prod(shape[last:])


BLOCK = 256
"""Rows added up in the input's own precision; the sums of blocks are added up in turn, so that errors grow
slowly."""
PIECE = 16384
"""Numbers of a long row added up at a time."""
SMALL_BLOCK = 64
"""Fewer rows in a block than these are not worth a row of sums."""
FULL_ROW = 64
"""Numbers of a row that keep vectors full: several shorter rows are added up as one."""


@dataclass(frozen=True)
class Cut:
    """How the rows of a matrix are cut into blocks that are added up.

    Args:
        block: rows in a block.
        blocks_of_chunk: blocks in a chunk, where this follows the chunks of another kernel; else None.
    """

    block: int = BLOCK
    blocks_of_chunk: int | None = None


def cut_of(tile: tuple[int, int] | None, columns: int) -> Cut | None:
    """The blocks in which rows are added up behind tiles (rows, columns); None where no good ones fit.

    >>> cut_of((784, 6), 6)
    Cut(block=196, blocks_of_chunk=4)
    >>> cut_of(None, 6)
    Cut(block=256, blocks_of_chunk=None)
    """
    if tile is None:
        return Cut()
    rows, wide = tile
    if wide < columns:
        return None
    block = next((size for size in range(min(BLOCK, rows), SMALL_BLOCK - 1, -1) if rows % size == 0), None)
    return Cut(block, rows // block) if block else None


def sum_last(out, x, start, stop):
    """out (outer, 1), x (outer, middle, 1): the sum of each row, accumulated in float64."""
    for i in range(start, stop):
        total = 0.0
        for j in range(x.shape[1]):
            total += x[i, j, 0]
        out[i, 0] = total


def sum_last_whole(out, x, start, stop):
    for i in range(start, stop):
        total = 0
        for j in range(x.shape[1]):
            total += x[i, j, 0]
        out[i, 0] = total


def sum_blocks(out, x, block, start, stop):
    """out (outer * blocks, inner), x (outer, middle, inner): the sum of each block of rows, eight at a
    time."""
    blocks = (x.shape[1] + block - 1) // block
    for row in range(start, stop):
        i = row // blocks
        first = row % blocks * block
        for k in range(out.shape[1]):
            out[row, k] = 0
        last = min(x.shape[1], first + block)
        whole = last - (last - first) % 8
        for j in range(first, whole, 8):
            rows = x[i, j : j + 8]
            total = out[row]
            for k in range(total.shape[0]):
                low = (rows[0, k] + rows[1, k]) + (rows[2, k] + rows[3, k])
                high = (rows[4, k] + rows[5, k]) + (rows[6, k] + rows[7, k])
                total[k] += low + high
        for j in range(whole, last):
            for k in range(out.shape[1]):
                out[row, k] += x[i, j, k]


def sum_launches(call: Call) -> list[Any]:
    """Rows are summed directly; columns block by block, then the blocks."""
    (x,) = call.inputs
    outer, middle, inner = split_axes(x.shape, call.op.axes)
    if outer * inner == 0:
        return []
    if inner > 1:
        return _column_sums(call, outer, middle, inner, Cut())
    if middle <= 65536 or not x.is_float:
        function = sum_last if x.is_float else sum_last_whole
        return kernel(function, views=lambda *_: ([(outer, 1)], [(outer, middle, 1)])).launches(call)
    pieces = -(-middle // PIECE)  # one long row: pieces of it, then their sums
    piece_kernel = kernel(
        _sum_pieces,
        views=lambda *_: ([(outer * pieces, 1)], [(outer, middle, 1)]),
        extras=lambda *_: {"block": PIECE},
    )
    return sum_in_two_steps(call, piece_kernel, None, outer, pieces, 1)


def sum_behind(call: Call, tile: tuple[int, int]) -> list[Any] | None:
    """The launches of a sum of columns behind tiles of its rows; None where a tile holds parts of a sum."""
    (x,) = call.inputs
    outer, middle, inner = split_axes(x.shape, call.op.axes)
    if outer * middle == 0 or inner < 2 or tile[1] < inner:
        return None
    if outer > 1:
        return (
            _column_sums(call, outer, middle, inner, Cut(), tile[0] // middle)
            if tile[0] % middle == 0
            else None
        )
    cut = cut_of(tile, inner)
    return _column_sums(call, 1, middle, inner, cut) if cut else None


def _column_sums(
    call: Call, outer: int, middle: int, inner: int, cut: Cut, outer_of_chunk: int = 0
) -> list[Any]:
    """Sums of columns of (outer, middle, inner): of each block of rows, then of blocks."""
    rows, width, block = middle, inner, cut.block
    while middle > cut.block and width * 2 <= FULL_ROW and rows % 2 == block % 2 == 0:
        rows, width, block = rows // 2, width * 2, block // 2
    blocks = max(-(-rows // block), 1)
    block_kernel = kernel(
        sum_blocks,
        views=lambda *_: ([(outer * blocks, width)], [(outer, rows, width)]),
        extras=lambda *_: {"block": block},
    )
    of_chunk = outer_of_chunk * blocks or cut.blocks_of_chunk
    if blocks * width == inner:
        return block_kernel.launches(call, of_chunk)
    return sum_in_two_steps(call, block_kernel, of_chunk, outer, blocks * (width // inner), inner)


def sum_in_two_steps(
    call: Call, first: ArrayKernel, rows: int | None, outer: int, blocks: int, inner: int
) -> list[Any]:
    """A kernel that leaves (outer, blocks, inner) sums, `rows` in a chunk, then what adds them up."""
    from dataclasses import replace

    dtype = call.outputs[0].dtype
    memory = call.scratch(outer * blocks * inner * 8)
    begin = replace(call, outputs=(Spec((outer * blocks, inner), dtype),), output_buffers=(memory,))
    end = replace(
        call,
        op=Sum((1,)),
        inputs=(Spec((outer, blocks, inner), dtype),),
        input_buffers=(memory,),
        outputs=(Spec((outer, inner), dtype),),
    )
    return [*first.launches(begin, rows), *sum_launches(end)]


def _sum_pieces(out, x, block, start, stop):
    pieces = (x.shape[1] + block - 1) // block
    for row in range(start, stop):
        i = row // pieces
        first = row % pieces * block
        count = min(x.shape[1] - first, block)
        total = 0.0
        piece = x[i, first : first + count, 0]
        for j in range(count):
            total += piece[j]
        out[row, 0] = total


@dataclass(frozen=True)
class Sum(Reduction):
    """The sum along axes; float32 is accumulated in float64 along rows, pairwise over blocks along
    columns."""

    cpu = NativeKernel(sum_launches, behind=sum_behind, follows=0)
    cuda = CudaLaunches("reduce:sum_")

    def infer(self, x: Spec) -> Spec:
        if x.dtype == "bool":
            raise DtypeError("Sum needs numbers, got bool.", fix="convert: x.astype('int64').")
        return super().infer(x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        from bigmodel_core.ops.shape import broadcast_to, reshape

        return (broadcast_to(reshape(dy, self.kept(x.spec)), x.shape),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.ReduceSum(x, emit.ints(self.axes), keepdims=int(self.keepdims))


def max_middle(out, x, start, stop):
    for i in range(start, stop):
        for k in range(x.shape[2]):
            best = x[i, 0, k]
            for j in range(1, x.shape[1]):
                best = larger(best, x[i, j, k])
            out[i, k] = best


def min_middle(out, x, start, stop):
    for i in range(start, stop):
        for k in range(x.shape[2]):
            best = x[i, 0, k]
            for j in range(1, x.shape[1]):
                best = smaller(best, x[i, j, k])
            out[i, k] = best


def argmax_middle(out, x, start, stop):
    for i in range(start, stop):
        for k in range(x.shape[2]):
            best = 0
            for j in range(1, x.shape[1]):
                if x[i, j, k] > x[i, best, k]:
                    best = j
            out[i, k] = best


@dataclass(frozen=True)
class _Extreme(Reduction):
    def infer(self, x: Spec) -> Spec:
        for axis in normal_axes(self.axes, x.ndim):
            if x.shape[axis] == 0:
                raise ShapeError(f"{type(self).__name__} along an empty axis of {format_shape(x.shape)}.")
        return super().infer(x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        """Shared equally where several numbers are the extreme one, as NaN is where there is one."""
        from bigmodel_core.ops.comparison import cast, equal, logical_or, not_equal, where
        from bigmodel_core.ops.shape import reshape

        chosen = logical_or(equal(x, reshape(y, self.kept(x.spec))), not_equal(x, x))
        count = Sum(self.axes, keepdims=True)(cast(chosen, x.dtype))
        return (where(chosen, reshape(dy, self.kept(x.spec)) / count, 0.0),)


@dataclass(frozen=True)
class Max(_Extreme):
    """The largest number along axes."""

    cpu = kernel(max_middle, views=middle_views)
    cuda = CudaLaunches("reduce:max_")

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.reduce("ReduceMax", x, self.axes, self.keepdims)


@dataclass(frozen=True)
class Min(_Extreme):
    """The smallest number along axes."""

    cpu = kernel(min_middle, views=middle_views)
    cuda = CudaLaunches("reduce:min_")

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.reduce("ReduceMin", x, self.axes, self.keepdims)


@dataclass(frozen=True)
class ArgMax(_Extreme):
    """The position of the largest number along one axis, the first where there are several; int64."""

    cpu = kernel(argmax_middle, views=middle_views)
    cuda = CudaLaunches("reduce:argmax")

    def infer(self, x: Spec) -> Spec:
        return super().infer(x).with_dtype("int64")

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:  # type: ignore[override]  # integers have no gradient
        return (None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.ArgMax(x, axis=self.axes[0], keepdims=int(self.keepdims))


def _reduced(op: type[Reduction], x: Value, axis: Axes, keepdims: bool) -> Value:
    """Apply a reduction whose kernel takes neighbouring axes, transposing first where they are not."""
    axes = normal_axes(axis, x.ndim)
    if not axes:
        return x
    if axes[-1] - axes[0] + 1 == len(axes):
        return op(axes, keepdims)(x)
    from bigmodel_core.ops.shape import reshape, transpose

    rest = tuple(i for i in range(x.ndim) if i not in axes)
    moved = transpose(x, rest + axes)
    result = op(tuple(range(len(rest), x.ndim)))(moved)
    return reshape(result, op(axes, True).kept(x.spec)) if keepdims else result


def sum_(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """The sum along axes (all by default)."""
    return _reduced(Sum, x, axis, keepdims)


def mean(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """The mean along axes (all by default), for floats."""
    if not x.spec.is_float:
        raise DtypeError(
            f"mean needs float32 or float64, got {x.dtype}.", fix="convert it: x.astype('float32')."
        )
    count = dim_product(x.shape[axis] for axis in normal_axes(axis, x.ndim))
    total = sum_(x, axis, keepdims)
    if isinstance(count, int):
        return total * (1.0 / count) if count else total
    from bigmodel_core.ops.shape import size_of

    return total / size_of(x, normal_axes(axis, x.ndim), x.dtype)


def max_(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """The largest number along axes (all by default)."""
    return _reduced(Max, x, axis, keepdims)


def min_(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """The smallest number along axes (all by default)."""
    return _reduced(Min, x, axis, keepdims)


def argmax(x: Value, axis: int = -1, keepdims: bool = False) -> Value:
    """The position of the largest number along an axis; int64."""
    return ArgMax(normal_axes(axis, x.ndim), keepdims)(x)


def reduce_to(x: Value, shape: Shape) -> Value:
    """Sum over the axes along which `shape` was broadcast: the gradient of broadcasting."""
    if x.shape == shape:
        return x
    from bigmodel_core.ops.shape import reshape

    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + axis for axis, dim in enumerate(shape) if dim == 1 and x.shape[lead + axis] != 1
    )
    return reshape(sum_(x, axes), shape) if axes else reshape(x, shape)
