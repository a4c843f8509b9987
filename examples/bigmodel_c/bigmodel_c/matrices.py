"""Products of matrices, and what is made of them: dense and recurrent layers."""

from __future__ import annotations

import math
from typing import Any

from bigmodel_c.arrays import Array, strides
from bigmodel_c.emit import Emit

PRODUCT = """/* y (m, n) += a (m, k) b (k, n); numbers of a are rows and columns apart */
static void product_{dtype}(int m, int k, int n, const {T} *restrict a, int rows, int columns,
                            const {T} *restrict b, {T} *restrict y)
{{
    for (int i = 0; i < m; i++, y += n) {{
        const {T} *row = b;
        int p = 0;
        for (; p + 4 <= k; p += 4, row += 4 * n) {{
            const {T} *at = a + i * rows + p * columns;
            const {T} a0 = at[0], a1 = at[columns], a2 = at[2 * columns], a3 = at[3 * columns];
            for (int j = 0; j < n; j++)
                y[j] += (a0 * row[j] + a1 * row[n + j]) + (a2 * row[2 * n + j] + a3 * row[3 * n + j]);
        }}
        for (; p < k; p++, row += n) {{
            const {T} a0 = a[i * rows + p * columns];
            for (int j = 0; j < n; j++)
                y[j] += a0 * row[j];
        }}
    }}
}}"""
TRANSPOSED = """/* y (m, n) = a (m, k) b' (n, k); numbers of a are rows and columns apart */
static void transposed_product_{dtype}(int m, int k, int n, const {T} *restrict a, int rows, int columns,
                                       const {T} *restrict b, {T} *restrict y)
{{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {{
            {T} total = 0;
            for (int p = 0; p < k; p++)
                total += a[i * rows + p * columns] * b[j * k + p];
            y[i * n + j] = total;
        }}
}}"""
SIGMOID = """static {T} sigmoid_{dtype}({T} x)
{{
    return 1 / (1 + {exp}(-x));
}}"""


def product(
    emit: Emit, sizes: tuple[Any, Any, Any], a: str, steps: tuple[int, int], b: str, y: str, x: Array
) -> None:
    """The call that adds a product of matrices to y; x has the number type."""
    emit.helper(f"product_{x.dtype}", PRODUCT.format(T=x.ctype, dtype=x.dtype))
    m, k, n = sizes
    emit.line(f"product_{x.dtype}({m}, {k}, {n}, {a}, {steps[0]}, {steps[1]}, {b}, {y});")


def affine(emit: Emit, op: Any, x: Array, weight: Array, bias: Array) -> None:
    y, (inner, outer) = emit.outputs[0], weight.shape
    rows = x.size // inner if inner else math.prod(x.shape[:-1])
    with emit.loop("i", rows):
        emit.copy(f"{y} + i * {outer}", str(bias), outer, x.ctype)
    product(emit, (rows, inner, outer), str(x), (inner, 1), str(weight), str(y), x)


def matmul(emit: Emit, op: Any, a: Array, b: Array) -> None:
    y = emit.outputs[0]
    m, n = y.shape[-2:]
    k = a.shape[-2 if op.transpose_a else -1]
    steps = (1, m) if op.transpose_a else (k, 1)
    batch = y.shape[:-2]
    sides = []
    with emit.loops(batch) as indices:
        for array, count in ((a, m * k), (b, k * n)):
            lead = (1,) * (len(batch) - array.shape[:-2].__len__()) + array.shape[:-2]
            terms = [
                f"{name} * {step * count}"
                for name, step, size in zip(indices, strides(lead), lead, strict=True)
                if size > 1
            ]
            sides.append(" + ".join([str(array), *terms]))
        terms = [f"{name} * {step * m * n}" for name, step in zip(indices, strides(batch), strict=True)]
        target = " + ".join([str(y), *terms])
        if op.transpose_b:
            name = f"transposed_product_{a.dtype}"
            emit.helper(name, TRANSPOSED.format(T=a.ctype, dtype=a.dtype))
            emit.line(f"{name}({m}, {k}, {n}, {sides[0]}, {steps[0]}, {steps[1]}, {sides[1]}, {target});")
        else:
            emit.line(f"memset({target}, 0, {m * n} * sizeof({a.ctype}));")
            product(emit, (m, k, n), sides[0], steps, sides[1], target, a)


def recurrent(
    emit: Emit, op: Any, x: Array, weight: Array, again: Array, bias: Array, bias_again: Array, *rest: Array
) -> None:
    """A row after the other: the sequences of a batch have nothing to do with each other."""
    (steps, batch, features), (units, width) = x.shape, again.shape
    lengths = rest[0] if op.has_lengths else None
    initial = list(rest[int(op.has_lengths) :])
    y, last = emit.outputs[0], emit.outputs[1 : 1 + op.states]
    if any(output is not None for output in emit.outputs[1 + op.states :]):
        raise NotImplementedError("a gradient needs what it keeps")
    ctype = x.ctype
    gates, state = emit.scratch(width, x.dtype), emit.scratch(units, x.dtype)
    more = emit.scratch(width, x.dtype) if op.cell == "gru" else None
    states = [state, *([emit.scratch(units, x.dtype)] if op.cell == "lstm" else [])]
    with emit.loop("b", batch):
        for number, name in enumerate(states):
            if initial:
                emit.copy(name, f"{initial[number]} + b * {units}", units, ctype)
            else:
                emit.line(f"memset({name}, 0, {units} * sizeof({ctype}));")
        count = str(steps)
        if lengths is not None:
            emit.fail_if(f"{lengths}[b] < 0 || {lengths}[b] > {steps}")
            count = f"(int){lengths}[b]"
            if y is not None:
                with emit.loop("t", steps, count):
                    emit.line(f"memset({y} + (t * {batch} + b) * {units}, 0, {units} * sizeof({ctype}));")
        head = (
            f"for (int t = {count} - 1; t >= 0; t--)" if op.reverse else f"for (int t = 0; t < {count}; t++)"
        )
        with emit.block(head):
            source = f"{x} + (t * {batch} + b) * {features}"
            emit.copy(gates, str(bias), width, ctype)
            product(emit, (1, features, width), source, (features, 1), str(weight), gates, x)
            if more is None:
                with emit.loop("j", width):
                    emit.line(f"{gates}[j] += {bias_again}[j];")
                product(emit, (1, units, width), state, (units, 1), str(again), gates, x)
            else:
                emit.copy(more, str(bias_again), width, ctype)
                product(emit, (1, units, width), state, (units, 1), str(again), more, x)
            with emit.loop("j", units):
                _cell(emit, op.cell, x, units, gates, more, states)
            if y is not None:
                emit.copy(f"{y} + (t * {batch} + b) * {units}", state, units, ctype)
        for name, output in zip(states, last, strict=True):
            if output is not None:
                emit.copy(f"{output} + b * {units}", name, units, ctype)


def _cell(
    emit: Emit, cell: str, x: Array, units: int, gates: str, more: str | None, states: list[str]
) -> None:
    """The new state of unit j."""
    suffix, state = ("f" if x.dtype == "float32" else ""), states[0]
    sigmoid = f"sigmoid_{x.dtype}"
    gate = [f"{gates}[{f'{number * units} + ' if number else ''}j]" for number in range(4)]
    if cell in ("lstm", "gru"):
        emit.helper(sigmoid, SIGMOID.format(T=x.ctype, dtype=x.dtype, exp="exp" + suffix))
    if cell == "lstm":
        emit.line(f"const {x.ctype} enter = {sigmoid}({gate[0]}), forget = {sigmoid}({gate[1]});")
        emit.line(f"{states[1]}[j] = forget * {states[1]}[j] + enter * tanh{suffix}({gate[2]});")
        emit.line(f"{state}[j] = {sigmoid}({gate[3]}) * tanh{suffix}({states[1]}[j]);")
    elif cell == "gru":
        emit.line(f"const {x.ctype} reset = {sigmoid}({gate[0]} + {more}[j]);")
        emit.line(f"const {x.ctype} update = {sigmoid}({gate[1]} + {more}[{units} + j]);")
        emit.line(f"const {x.ctype} new = tanh{suffix}({gate[2]} + reset * {more}[{2 * units} + j]);")
        emit.line(f"{state}[j] = new + update * ({state}[j] - new);")
    elif cell == "relu":
        emit.line(f"{state}[j] = {gate[0]} < 0 ? 0 : {gate[0]};")
    else:
        emit.line(f"{state}[j] = tanh{suffix}({gate[0]});")


EMITTERS = {"Affine": affine, "MatMul": matmul, "Recurrent": recurrent}
