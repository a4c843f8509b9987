"""Array kernels on the CPU: the generated wrapper from a context to arrays, and the cutting into chunks."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bigmodel_core.graph.dtypes import DTYPES, FLOATS
from bigmodel_core.kernels.call import Call, attributes_of
from bigmodel_core.kernels.cpu.engine import math as cpu_math
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch
from bigmodel_core.kernels.cpu.engine.memory import array_view, load_float, load_int
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.scalar import CONVERTERS, parameters

if TYPE_CHECKING:
    from bigmodel_core.kernels.cpu.engine.kernels import ArrayKernel

CHUNK_ELEMENTS = 16384
"""How many additions' worth of work a chunk holds."""
_cuts: list[tuple[int, list[str]]] = []
"""The cuts of `cut_by`, the innermost last."""


@contextlib.contextmanager
def cut_by(rows: int) -> Iterator[list[str]]:
    """Plans that are made inside cut the work of plugins' array kernels so: no result may depend on it.

    The kernels of the core stay: what runs on their pieces is chosen by how these are cut.

    Args:
        rows: of a piece; of the last one there may be fewer.

    Yields:
        The names of the kernels that were cut.
    """
    names: list[str] = []
    _cuts.append((rows, names))
    try:
        yield names
    finally:
        _cuts.pop()


def launches(kernel: ArrayKernel, call: Call) -> list[CpuLaunch]:
    """The launches of an array kernel: one, split into chunks of rows or items where the kernel takes `start`
    and `stop`; how many rows depends on the work, unless the kernel says it."""
    specs = (*call.outputs, *call.inputs)
    if kernel.views is None:
        shapes = [tuple(int(size) for size in spec.shape) for spec in specs]
    else:
        outputs, inputs = kernel.views(call.op, call.inputs, call.outputs)
        shapes = [*outputs, *inputs]
    names = parameters(kernel.function)[len(specs) :]
    attributes = attributes_of(kernel, call, kernel.special)
    kinds = tuple(
        (name, _kind(attributes[name], call.dtype)) if name in attributes else (name, "special")
        for name in names
    )
    chunked = "start" in names
    rows = shapes[0][0] if shapes[0] else 1
    if kernel.items is not None:
        rows = kernel.items(call.op, call.inputs, call.outputs)
    if chunked and rows == 0:
        return []
    largest = max((math.prod(shape) for shape in shapes), default=1)
    step = max(1, int(CHUNK_ELEMENTS * rows / max(largest * kernel.cost, 1))) if chunked else rows
    if chunked and _cuts and kernel.function.__module__.partition(".")[0] != "bigmodel_core":
        step = _cuts[-1][0]
        _cuts[-1][1].append(kernel.function.__name__)
    step = kernel.rows or step
    context: list[int | float | CpuBuffer] = [rows, step, call.status]
    for buffer, shape in zip((*call.output_buffers, *call.input_buffers), shapes, strict=True):
        context += [buffer, *shape]
    tail: list[int | float | CpuBuffer] = []
    for name, kind in kinds:
        if kind == "special":
            continue
        value = attributes[name]
        if kind.startswith("tuple"):
            tail += [int(item) for item in value]
        else:
            tail.append(float(value) if kind in FLOATS else int(value))
    key = tuple((spec.dtype, len(shape)) for spec, shape in zip(specs, shapes, strict=True))
    compiled = wrapper(kernel.function, key, kinds, call.dtype)
    by_rows = chunked and kernel.items is None
    tile = (step, int(shapes[0][1])) if by_rows and len(shapes[0]) == 2 else None
    return [CpuLaunch(compiled, [*context, *tail], -(-rows // step) if chunked else 1, tile)]


def _kind(value: Any, dtype: str) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    if isinstance(value, tuple):
        return f"tuple{len(value)}"
    return dtype if dtype in FLOATS else "float64"


@functools.cache
def wrapper(
    function: Any, arrays: tuple[tuple[str, int], ...], kinds: tuple[tuple[str, str], ...], dtype: str
) -> NativeFunction:
    """The native form of an array kernel for number types, ranks and kinds of attributes."""
    scope: dict[str, Any] = {
        "load_int": load_int,
        "load_float": load_float,
        "function": function,
        **CONVERTERS,
        "view_int64_1": array_view("int64", 1),
    }
    lines = ["def kernel(ctx, chunk):", "    rows = load_int(ctx, 0)", "    step = load_int(ctx, 1)"]
    slot, arguments = 3, []
    for number, (kind, rank) in enumerate(arrays):
        scope[f"view_{kind}_{max(rank, 1)}"] = array_view(kind, max(rank, 1))
        shape = ", ".join(f"load_int(ctx, {slot + 1 + axis})" for axis in range(rank)) or "1"
        lines.append(f"    a{number} = view_{kind}_{max(rank, 1)}(load_int(ctx, {slot}), {shape})")
        arguments.append(f"a{number}")
        slot += 1 + rank
    for name, kind in kinds:
        if kind == "special":
            text = {
                "start": "chunk * step",
                "stop": "min(rows, chunk * step + step)",
                "status": "view_int64_1(load_int(ctx, 2), 4)",
            }[name]
        elif kind.startswith("tuple"):
            count = int(kind[5:])
            text, slot = f"view_int64_1(ctx + {slot * 8}, {count})", slot + count
        else:
            convert = DTYPES[kind].converter
            text = f"{convert}(load_float(ctx, {slot}))" if kind in FLOATS else f"load_int(ctx, {slot})"
            text, slot = f"{text} != 0" if kind == "bool" else text, slot + 1
        lines.append(f"    k_{name} = {text}")
        arguments.append(f"k_{name}")
    lines.append(f"    function({', '.join(arguments)})")
    exec(compile("\n".join(lines), f"<kernel {function.__name__}>", "exec"), scope)
    made = scope["kernel"]
    made.__name__, made.authors = function.__name__, (function,)
    return NativeFunction(made, replace=cpu_math.replacements(dtype))
