"""Ops that move numbers, pick them by index, or make one number of several."""

from __future__ import annotations

import math
from typing import Any

import bigmodel_core as bm
from bigmodel_c.arrays import Array, literal, strides
from bigmodel_c.emit import Emit, outer_inner, table


def transpose(emit: Emit, op: Any, x: Array) -> None:
    y, steps = emit.outputs[0], strides(x.shape)
    with emit.loops(y.shape) as indices:
        source = " + ".join(f"{i} * {steps[axis]}" for i, axis in zip(indices, op.permutation, strict=True))
        target = " + ".join(f"{i} * {step}" for i, step in zip(indices, strides(y.shape), strict=True))
        emit.line(f"{y}[{target}] = {x}[{source}];")


def slice_(emit: Emit, op: Any, x: Array) -> None:
    y = emit.outputs[0]
    size, (outer, _, inner) = x.shape[op.axis], outer_inner(x, [op.axis])
    start = op.start + size if op.start < 0 else op.start
    with emit.loops([outer, op.length]) as (o, i):
        source = f"{x} + ({o} * {size} + {start} + {i} * {op.step}) * {inner}"
        emit.copy(f"{y} + ({o} * {op.length} + {i}) * {inner}", source, inner, x.ctype)


def concatenate(emit: Emit, op: Any, *inputs: Array) -> None:
    y = emit.outputs[0]
    outer, whole, inner = outer_inner(y, [op.axis])
    with emit.loops([outer]) as (o,):
        at = 0
        for x in inputs:
            count = x.shape[op.axis] * inner
            emit.copy(f"{y} + {o} * {whole * inner} + {at}", f"{x} + {o} * {count}", count, x.ctype)
            at += count


def pad(emit: Emit, op: Any, x: Array) -> None:
    """Each axis has a table of where its numbers come from; -1 stands for the number of a border."""
    y = emit.outputs[0]
    padded = [axis for axis, both in enumerate(op.widths) if any(both)]
    for axis in padded:
        table(emit, f"from_{axis}", _sources(x.shape[axis], op.widths[axis], op.mode))
    with emit.loops(y.shape) as indices:
        places = [f"from_{axis}[{i}]" if axis in padded else i for axis, i in enumerate(indices)]
        target = " + ".join(f"{i} * {step}" for i, step in zip(indices, strides(y.shape), strict=True))
        source = " + ".join(f"{i} * {step}" for i, step in zip(places, strides(x.shape), strict=True))
        if op.mode == "constant" and padded:
            outside = " || ".join(f"{places[axis]} < 0" for axis in padded)
            emit.line(f"{y}[{target}] = {outside} ? {literal(op.value, x.dtype)} : {x}[{source}];")
        else:
            emit.line(f"{y}[{target}] = {x}[{source}];")


def _sources(size: int, widths: tuple[int, int], mode: str) -> list[int]:
    found = []
    for place in range(-widths[0], size + widths[1]):
        if mode == "edge":
            place = min(max(place, 0), size - 1)
        elif mode == "reflect":
            place = place % (2 * size - 2 or 1)
            place = min(place, 2 * size - 2 - place)
        found.append(place if 0 <= place < size else -1)
    return found


def gather(emit: Emit, op: Any, rows: Array, indices: Array) -> None:
    y, size = emit.outputs[0], rows.shape[op.axis]
    outer, _, inner = outer_inner(rows, [op.axis])
    with emit.loops([indices.size]) as (i,):
        emit.fail_if(f"{indices}[{i}] < 0 || {indices}[{i}] >= {size}")
        with emit.loops([outer]) as (o,):
            source = f"{rows} + ({o} * {size} + {indices}[{i}]) * {inner}"
            emit.copy(f"{y} + ({o} * {indices.size} + {i}) * {inner}", source, inner, rows.ctype)


def take_along(emit: Emit, op: Any, x: Array, indices: Array) -> None:
    y, size, count = emit.outputs[0], x.shape[op.axis], indices.shape[op.axis]
    outer, _, inner = outer_inner(indices, [op.axis])
    with emit.loops([outer, count, inner]) as (o, i, p):
        place = f"({o} * {count} + {i}) * {inner} + {p}"
        emit.fail_if(f"{indices}[{place}] < 0 || {indices}[{place}] >= {size}")
        emit.line(f"{y}[{place}] = {x}[({o} * {size} + {indices}[{place}]) * {inner} + {p}];")


def size_of(emit: Emit, op: Any, x: Array) -> None:
    y = emit.outputs[0]
    emit.line(f"(void){x};")
    emit.line(f"{y}[0] = {literal(math.prod(x.shape[axis] for axis in op.axes), y.dtype)};")


# Several numbers become one -------------------------------------------------------------------------------

_BEGINS = {"Sum": "0", "SumSquare": "0", "Prod": "1"}
_STEPS = {"Sum": "+= item", "SumSquare": "+= item * item", "Prod": "*= item"}


def reduction(emit: Emit, op: Any, x: Array) -> None:
    """float32 is added up in double."""
    y, name = emit.outputs[0], type(op).__name__
    outer, count, inner = outer_inner(x, op.axes) if op.axes else (x.size, 1, 1)
    with emit.loops([outer, inner]) as (o, i):
        emit.line(f"const {x.ctype} *line = {x} + {o} * {count * inner} + {i};")
        target = f"{y}[{o} * {inner} + {i}]"
        if name in _BEGINS:
            total = "double" if bm.dtypes.DTYPES[x.dtype].is_float else y.ctype
            emit.line(f"{total} total = {_BEGINS[name]};")
            with emit.loop("p", count):
                emit.line(f"const {total} item = line[p * {inner}];")
                emit.line(f"total {_STEPS[name]};")
            emit.line(f"{target} = ({y.ctype})total;")
            return
        sign = ">" if name in ("Max", "ArgMax") else "<"
        emit.line("int best = 0;")
        with emit.loop("p", count, 1):
            emit.line(f"const {x.ctype} item = line[p * {inner}], found = line[best * {inner}];")
            is_new = f"item {sign} found"
            if bm.dtypes.DTYPES[x.dtype].is_float:  # NaN is found first
                is_new = f"found == found && ({is_new} || item != item)"
            emit.line(f"best = {is_new} ? p : best;")
        emit.line(f"{target} = {'best' if name.startswith('Arg') else f'line[best * {inner}]'};")


def softmax(emit: Emit, op: Any, x: Array) -> None:
    y, is_log = emit.outputs[0], type(op).__name__ == "LogSoftmax"
    outer, count, inner = outer_inner(x, [op.axis])
    suffix = "f" if x.dtype == "float32" else ""
    with emit.loops([outer, inner]) as (o, i):
        emit.line(f"const {x.ctype} *line = {x} + {o} * {count * inner} + {i};")
        emit.line(f"{x.ctype} *result = {y} + {o} * {count * inner} + {i};")
        emit.line(f"{x.ctype} largest = line[0];")
        with emit.loop("p", count, 1):
            emit.line(f"largest = line[p * {inner}] > largest ? line[p * {inner}] : largest;")
        emit.line("double total = 0;")
        with emit.loop("p", count):
            emit.line(f"result[p * {inner}] = exp{suffix}(line[p * {inner}] - largest);")
            emit.line(f"total += result[p * {inner}];")
        if is_log:
            emit.line("total = log(total);")
        with emit.loop("p", count):
            value = f"line[p * {inner}] - largest - total" if is_log else f"result[p * {inner}] / total"
            emit.line(f"result[p * {inner}] = ({x.ctype})({value});")


def normalisation(emit: Emit, op: Any, x: Array, scale: Array, shift: Array | None = None) -> None:
    """Rows of the last axis, layer normalisation or by the root mean square; moments in double."""
    if any(output is not None for output in emit.outputs[1:]):
        raise NotImplementedError("a gradient needs its moments")
    y, width = emit.outputs[0], x.shape[-1]
    with emit.loop("i", x.size // width):
        emit.line(f"const {x.ctype} *row = {x} + i * {width};")
        emit.line("double mean = 0, squares = 0;")
        if shift is not None:
            with emit.loop("j", width):
                emit.line("mean += row[j];")
            emit.line(f"mean /= {width};")
        with emit.loop("j", width):
            emit.line("squares += (row[j] - mean) * (row[j] - mean);")
        epsilon = literal(op.epsilon, "float64")
        emit.line(f"const double rate = 1 / sqrt(squares / {width} + {epsilon});")
        with emit.loop("j", width):
            added = "" if shift is None else f" + {shift}[j]"
            emit.line(f"{y}[i * {width} + j] = ({x.ctype})((row[j] - mean) * rate * {scale}[j]{added});")


def cumsum(emit: Emit, op: Any, x: Array) -> None:
    y = emit.outputs[0]
    outer, count, inner = outer_inner(x, [op.axis])
    total = "double" if bm.dtypes.DTYPES[x.dtype].is_float else x.ctype
    with emit.loops([outer, inner]) as (o, i):
        emit.line(f"{total} total = 0;")
        with emit.loop("step", count):
            emit.line(f"const int p = {f'{count} - 1 - step' if op.reverse else 'step'};")
            place = f"({o} * {count} + p) * {inner} + {i}"
            lines = [f"total += {x}[{place}];", f"{y}[{place}] = ({x.ctype})total;"]
            for line in reversed(lines) if op.exclusive else lines:
                emit.line(line)


EMITTERS = {
    "Transpose": transpose,
    "Slice": slice_,
    "Concatenate": concatenate,
    "Pad": pad,
    "Gather": gather,
    "TakeAlong": take_along,
    "SizeOf": size_of,
    **dict.fromkeys(("Sum", "SumSquare", "Prod", "Max", "Min", "ArgMax", "ArgMin"), reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax"), softmax),
    **dict.fromkeys(("LayerNorm", "RmsNorm"), normalisation),
    "Cumsum": cumsum,
}
