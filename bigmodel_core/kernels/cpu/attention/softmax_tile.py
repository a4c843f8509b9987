"""The softmax between the products of attention, emitted as vector instructions.

Scores are in units of ln 2: powers of 2 are cheaper than those of e, and the factor is in what scores are
scaled by. Powers are of numbers up to about 0, since the largest score, or the logarithm of the sum, is taken
off before. Those below the normal numbers are 0, and so is that of -inf, a key that is not seen.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES, SIZES
from bigmodel_core.kernels.cpu.engine.instructions import (
    at,
    broadcast,
    dispatched,
    load_vector,
    multiply_add,
    on_vectors,
    outlined,
    phi,
    store_vector,
    vector_type,
)
from bigmodel_core.kernels.cpu.engine.memory import ir_type
from bigmodel_core.kernels.cpu.engine.native import Intrinsic
from bigmodel_core.kernels.cpu.engine.target import vector_unit

COEFFICIENTS = {
    4: (
        *(1.0, 0.6931472067028329, 0.24022650922289554, 0.05550327226669895),
        *(0.00961805667843204, 0.0013400428177711937, 0.00015461444724808513),
    ),
    8: tuple(math.log(2) ** k / math.factorial(k) for k in range(14)),
}
"""Of polynomials for 2**r, |r| <= 1/2, by bytes of a number: Chebyshev's of the sixth power, Taylor's of the
13th."""
EXPONENT = {4: (127, 23), 8: (1023, 52)}
"""The bias of an exponent and the bits behind it, by bytes of a number."""
VECTORS = 2
"""Vectors of columns that a call takes, at most."""


@functools.cache
def number(dtype: str, value: float) -> Intrinsic:
    """A float of a type inside a kernel: Numba would make a Python float a float64."""

    def codegen(builder: Any) -> Any:
        from llvmlite import ir

        return ir.Constant(ir_type(dtype), value)

    codegen.__name__ = f"number_{dtype}"
    return Intrinsic(f"{dtype}()", codegen)


def power_of_two(builder: Any, x: Any, dtype: str) -> Any:
    """2**x for a vector of numbers up to about 0; NaN stays NaN."""
    from llvmlite import ir

    vector, (bias, bits) = x.type, EXPONENT[SIZES[dtype]]
    integers = ir.VectorType(ir_type(DTYPES[dtype].bits), vector.count)

    def constant(value: float) -> Any:
        return ir.Constant(vector, [value] * vector.count)

    lowest = constant(float(-bias))  # whose exponent field is 0, and so is the power
    x = builder.select(builder.fcmp_ordered(">", lowest, x), lowest, x)
    n = builder.call(on_vectors(builder, "llvm.rint", vector, [vector]), [x])
    r = builder.fsub(x, n)
    *rest, power = (constant(value) for value in COEFFICIENTS[SIZES[dtype]])
    for coefficient in reversed(rest):
        power = multiply_add(builder, power, r, coefficient)
    field = multiply_add(builder, n, constant(2.0**bits), constant(bias * 2.0**bits))
    return builder.fmul(power, builder.bitcast(builder.fptosi(field, integers), vector))


@functools.cache
def softmax_columns(dtype: str) -> Intrinsic:
    """`softmax_columns(dtype)(s, s_row, keys, top, total, shrink, 1, columns)`: a block of scores (keys,
    columns) becomes the powers of 2 of what each is above the largest of its column so far.

    `top` and `total` are the largest and the sum so far, -inf and 0 at first; the new ones are written there,
    and to `shrink` what earlier powers are to be multiplied by. All addresses are of whole vectors.
    """
    shapes = [(1, vectors) for vectors in range(1, VECTORS + 1)]

    def body(function: Any, rows: int, vectors: int) -> None:
        softmax_function(function, dtype, vectors)

    return dispatched(f"softmax_columns_{dtype}", 8, vector_unit().lanes(dtype), shapes, body)


def softmax_function(function: Any, dtype: str, vectors: int) -> None:
    """The instructions for so many vectors of columns: down the keys for the largest, and again."""
    from llvmlite import ir

    vector, size = vector_type(dtype), SIZES[dtype]
    integer, step = ir.IntType(64), vector.count * size
    s, s_row, keys, top, total, shrink = function.args[:6]
    zeros = ir.Constant(vector, [0.0] * vector.count)
    nothing = ir.Constant(vector, [-math.inf] * vector.count)
    entry, first, middle, second, done = (
        function.append_basic_block(label) for label in ("entry", "first", "middle", "second", "done")
    )

    def places(builder: Any, base: Any) -> list[Any]:
        return [at(builder, base, None, 0, j * step) for j in range(vectors)]

    def down(before: Any, block: Any, after: Any, start: list[Any], turn: Any) -> list[Any]:
        """A loop over the keys: `turn(builder, places, values)` gives the next values."""
        builder = ir.IRBuilder(block)
        left, row = phi(builder, integer, keys, before), phi(builder, integer, s, before)
        values = [phi(builder, vector, value, before) for value in start]
        following = turn(builder, places(builder, row), values)
        for value, further in zip(values, following, strict=True):
            value.add_incoming(further, block)
        row.add_incoming(builder.add(row, s_row), block)
        fewer = builder.sub(left, integer(1))
        left.add_incoming(fewer, block)
        builder.cbranch(builder.icmp_signed(">", fewer, integer(0)), block, after)
        return following

    def larger(builder: Any, here: list[Any], values: list[Any]) -> list[Any]:
        found = [load_vector(builder, place, vector, size) for place in here]
        return [
            builder.select(builder.fcmp_ordered(">", x, value), x, value)
            for x, value in zip(found, values, strict=True)
        ]

    builder = ir.IRBuilder(entry)
    before = [load_vector(builder, place, vector, size) for place in places(builder, top)]
    builder.branch(first)
    tops = down(entry, first, middle, before, larger)

    builder = ir.IRBuilder(middle)
    # A column that has seen no key: -inf is not to be taken off -inf.
    taken = [builder.select(builder.fcmp_ordered("==", x, nothing), zeros, x) for x in tops]
    factors = [
        power_of_two(builder, builder.fsub(old, new), dtype) for old, new in zip(before, taken, strict=True)
    ]
    for found, base in ((tops, top), (factors, shrink)):
        for value, place in zip(found, places(builder, base), strict=True):
            store_vector(builder, value, place, size)
    builder.branch(second)

    def powers(builder: Any, here: list[Any], values: list[Any]) -> list[Any]:
        sums = []
        for place, away, value in zip(here, taken, values, strict=True):
            x = builder.fsub(load_vector(builder, place, vector, size), away)
            power = power_of_two(builder, x, dtype)
            store_vector(builder, power, place, size)
            sums.append(builder.fadd(value, power))
        return sums

    sums = down(middle, second, done, [zeros] * vectors, powers)

    builder = ir.IRBuilder(done)
    for more, factor, place in zip(sums, factors, places(builder, total), strict=True):
        before_it = load_vector(builder, place, vector, size)
        store_vector(builder, multiply_add(builder, before_it, factor, more), place, size)
    builder.ret_void()


@functools.cache
def score_gradients(dtype: str, is_dropped: bool) -> Intrinsic:
    """`score_gradients(dtype, is_dropped)(s, ds, row, kept, log_sums, inner, factor, rows, vectors)`: a block
    of scores becomes the weights, and that of the weights' gradients, `ds`, becomes the scores' own.

    All blocks have the same bytes from `row` to row; `kept`, read where weights are dropped, has what each is
    multiplied by. `log_sums` has the logarithm to base 2 of the sum of each row, `inner` the product of its
    output and the output's gradient, `factor` what the gradient is scaled by.
    """

    def body(function: Any) -> None:
        gradients_function(function, dtype, is_dropped)

    return outlined(f"score_gradients_{dtype}_{int(is_dropped)}", 9, body)


def gradients_function(function: Any, dtype: str, is_dropped: bool) -> None:
    """The instructions: along the vectors of each row."""
    from llvmlite import ir

    vector, size = vector_type(dtype), SIZES[dtype]
    integer, step = ir.IntType(64), vector.count * size
    s, ds, row, kept, log_sums, inner, factor, rows, vectors = function.args
    entry, down, along, after, done = (
        function.append_basic_block(label) for label in ("entry", "down", "along", "after", "done")
    )
    builder = ir.IRBuilder(entry)
    scale = broadcast(builder, factor, vector, dtype, size)
    builder.branch(down)

    builder = ir.IRBuilder(down)
    i = phi(builder, integer, integer(0), entry)
    offset = phi(builder, integer, integer(0), entry)
    place = builder.mul(i, integer(size))
    log_sum = broadcast(builder, builder.add(log_sums, place), vector, dtype, size)
    taken = broadcast(builder, builder.add(inner, place), vector, dtype, size)
    builder.branch(along)

    builder = ir.IRBuilder(along)
    j, here = phi(builder, integer, integer(0), down), phi(builder, integer, offset, down)
    s_place, ds_place = builder.add(s, here), builder.add(ds, here)
    x = builder.fsub(load_vector(builder, s_place, vector, size), log_sum)
    weight = power_of_two(builder, x, dtype)
    slope, used = load_vector(builder, ds_place, vector, size), weight
    if is_dropped:
        keep = load_vector(builder, builder.add(kept, here), vector, size)
        slope, used = builder.fmul(slope, keep), builder.fmul(weight, keep)
    store_vector(builder, used, s_place, size)
    found = builder.fmul(builder.fmul(weight, scale), builder.fsub(slope, taken))
    store_vector(builder, found, ds_place, size)
    further = builder.add(j, integer(1))
    j.add_incoming(further, along)
    here.add_incoming(builder.add(here, integer(step)), along)
    builder.cbranch(builder.icmp_signed("<", further, vectors), along, after)

    builder = ir.IRBuilder(after)
    following = builder.add(i, integer(1))
    i.add_incoming(following, after)
    offset.add_incoming(builder.add(offset, row), after)
    builder.cbranch(builder.icmp_signed("<", following, rows), down, done)
    ir.IRBuilder(done).ret_void()
