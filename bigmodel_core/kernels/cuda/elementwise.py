"""Fused elementwise chains on a CUDA device: one generated kernel, each thread doing its share."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels.cuda.engine import math as cuda_math
from bigmodel_core.kernels.cuda.engine import runtime
from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer, CudaLaunch, View, flat, over_items
from bigmodel_core.kernels.fused import Chain, Space, attribute_type, part_source
from bigmodel_core.kernels.scalar import CONVERTERS
from bigmodel_core.kernels.status import CODE, OK, WIDTH, WRITTEN_NOT_FINITE

NARROW = 2**31
"""Below this many elements, positions are 32-bit integers, which devices divide much faster."""


def launch(
    chain: Chain,
    space: Space,
    sizes: Sequence[int],
    operands: Sequence[CudaBuffer],
    results: Sequence[CudaBuffer],
    status: View | None = None,
    written: View | None = None,
) -> CudaLaunch | None:
    """The launch of a chain over concrete sizes; None if there is nothing to compute.

    Args:
        chain: the program.
        space: its iteration space.
        sizes: the space's axes as integers.
        operands: memory of the operands.
        results: memory of the results; where a result overwrites an operand, that operand's.
        status: where kernels before this one report failures: after one, nothing is written.
        written: where a chain that watches results reports a failure.
    """
    count = math.prod(sizes)
    if count == 0:
        return None
    wide = count >= NARROW
    number = np.int64 if wide else np.uint32
    arguments: list[Any] = [number(count), *(number(size) for size in sizes[1:])]
    for position, (buffer, (dtype, _)) in enumerate(zip(operands, chain.operands, strict=True)):
        varies = space.varies[position]
        held = math.prod(size for size, vary in zip(sizes, varies, strict=True) if vary)
        arguments.append(flat(buffer, held, dtype))
        if _is_mixed(varies):
            arguments += [number(stride) for stride in space.strides(position, sizes)]
    for buffer, (number_of, _) in zip(results, chain.results, strict=True):
        arguments.append(flat(buffer, count, chain.parts[number_of].dtype))
    for part in chain.parts:
        for _, value in part.attributes:
            kind = DTYPES[attribute_type(value, part.compute)]
            arguments.append(CONVERTERS[kind.converter](value))
    if chain.watched:
        arguments.append(written)
    if status is not None:
        arguments.append(status)
    typed = replace(chain.typed(), results=tuple((part, -1) for part, _ in chain.results))
    return over_items(kernel(typed, space.varies, wide, status is not None), arguments, count)


def _is_mixed(varies: tuple[bool, ...]) -> bool:
    return any(varies) and not all(varies)


@functools.cache
def kernel(chain: Chain, varies: tuple[tuple[bool, ...], ...], wide: bool, guarded: bool) -> Any:
    """The kernel function of a typed chain, made once, whatever memory results overwrite."""
    text, objects = source(chain, varies, wide, guarded)
    scope: dict[str, Any] = dict(objects)
    exec(compile(text, "<fused CUDA kernel>", "exec"), scope)
    scope["fused"].authors = tuple(part.function for part in chain.parts)
    return scope["fused"]


def source(
    chain: Chain, varies: tuple[tuple[bool, ...], ...], wide: bool, guarded: bool
) -> tuple[str, dict[str, Any]]:
    """The generated source of a chain's kernel and the objects it refers to."""
    objects: dict[str, Any] = {
        **CONVERTERS,
        "cuda": runtime.numba_cuda(),
        "P": np.int64 if wide else np.uint32,
    }
    helpers: dict[str, str] = {}
    for inlined in chain.inlined():
        helpers.update(inlined.helpers)
        objects.update(inlined.objects)
        for name, kind in inlined.math_names:
            objects[f"m_{name}_{kind}"] = cuda_math.functions(kind)[name]
    axes = max((len(pattern) for pattern in varies), default=0)
    names = [f"x{number}_value" for number in range(len(chain.operands))]
    parameters = ["count", *(f"size{axis}" for axis in range(1, axes))]
    before: list[str] = []
    body: list[str] = []
    for number, pattern in enumerate(varies):
        parameters.append(f"x{number}")
        if not any(pattern):
            before.append(f"    x{number}_value = x{number}[0]")
        elif all(pattern):
            body.append(f"        x{number}_value = x{number}[at]")
        else:
            parameters += [f"x{number}_{axis}" for axis in range(axes)]
            terms = " + ".join(f"at{axis} * x{number}_{axis}" for axis in range(axes) if pattern[axis])
            body.append(f"        x{number}_value = x{number}[{terms}]")
    if any(_is_mixed(pattern) for pattern in varies):
        body = [*_coordinates(axes), *body]
    parameters += [f"y{number}" for number in range(len(chain.results))]
    if any("index" in inlined.parameters for inlined in chain.inlined()):
        body.append("        index = I64(at)")
    for number, part in enumerate(chain.parts):
        attributes = [f"p{number}_{name}" for name, _ in part.attributes]
        parameters += attributes
        body.append(f"        v{number} = {part_source(chain, number, names, attributes)}")
        names.append(f"v{number}")
    body += [f"        y{number}[at] = v{part}" for number, (part, _) in enumerate(chain.results)]
    if chain.watched:
        parameters.append("written")
        for number in chain.watched:
            value = f"v{chain.results[number][0]}"
            body += [
                f"        if not {value} - {value} == 0:",
                f"            written[{CODE}] = {WRITTEN_NOT_FINITE}",
            ]
    if guarded:
        parameters.append("status")
        before += [
            f"    for code in range(0, status.shape[0], {WIDTH}):",
            f"        if status[code] != {OK}:",
            "            return",
        ]
    lines = [
        f"def fused({', '.join(parameters)}):",
        *before,
        "    at = P(cuda.grid(1))",
        "    step = P(cuda.gridsize(1))",
        "    while at < count:",
        *body,
        "        at = P(at + step)",
    ]
    return "\n\n".join([*helpers.values(), "\n".join(lines)]) + "\n", objects


def _coordinates(axes: int) -> list[str]:
    """The position along each axis, from the position in the flattened result."""
    lines = []
    rest = "at"
    for axis in reversed(range(1, axes)):
        lines += [
            f"        at{axis} = P({rest} % size{axis})",
            f"        rest{axis} = P({rest} // size{axis})",
        ]
        rest = f"rest{axis}"
    return [*lines, f"        at0 = {rest}"]
