"""Convolutions and pools of images and volumes, channels first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from bigmodel_c.arrays import Array, strides
from bigmodel_c.emit import Emit, table
from bigmodel_c.matrices import product


def _ranges(size: int, windows: int, taps: int, stride: int, dilation: int, before: int) -> list[list[int]]:
    """For each tap along an axis the windows in which it is on the image: from, and to before."""
    found: list[list[int]] = [[], []]
    for tap in range(taps):
        on = [w for w in range(windows) if 0 <= w * stride + tap * dilation - before < size]
        found[0].append(on[0] if on else 0)
        found[1].append(on[-1] + 1 if on else 0)
    return found


def _places(axes: Sequence[str], shape: Sequence[int]) -> str:
    """The place of a number in a channel, given its position along each axis."""
    steps = strides(tuple(shape))
    return " + ".join(
        name if step == 1 else f"({name}) * {step}" for name, step in zip(axes, steps, strict=True)
    )


def convolution(emit: Emit, op: Any, x: Array, weight: Array, bias: Array | None = None) -> None:
    """Tap after tap is added to all windows that it is on the image in, rows at a time."""
    y = emit.outputs[0]
    _taps(emit, op, x, y, x, y, weight, bias)


def transposed(emit: Emit, op: Any, x: Array, weight: Array, bias: Array | None = None) -> None:
    """The same, from windows to the image."""
    y = emit.outputs[0]
    _taps(emit, op, y, x, x, y, weight, bias)


def _taps(
    emit: Emit, op: Any, image: Array, windows: Array, x: Array, y: Array, weight: Array, bias: Array | None
) -> None:
    if op.layout != "NCHW":
        raise NotImplementedError("its images have their channels last")
    samples, channels, *sizes = image.shape
    _, filters, *counts = windows.shape
    _, of_group, *taps = weight.shape
    area, area_out = math.prod(sizes), math.prod(counts)
    total = math.prod(y.shape[2:])
    with emit.loops([y.shape[0], y.shape[1]]) as (n, k):
        begin = f"{bias}[{k}]" if bias is not None else "0"
        with emit.loop("p", total):
            emit.line(f"{y}[({n} * {y.shape[1]} + {k}) * {total} + p] = {begin};")
    is_plain = set(taps) == {1} and set(op.stride) == {1} and not any(op.border)
    if is_plain and image is x:  # a product of matrices: (filters, channels) by (channels, pixels)
        each = filters // op.groups
        with emit.loops([samples, op.groups]) as (n, g):
            product(
                emit,
                (each, of_group, area),
                f"{weight} + {g} * {each * of_group}",
                (of_group, 1),
                f"{x} + ({n} * {channels} + {g} * {of_group}) * {area}",
                f"{y} + ({n} * {filters} + {g} * {each}) * {area}",
                x,
            )
        return
    names = "qrs"[-len(taps) :]
    geometry = list(zip(sizes, counts, taps, op.stride, op.dilation, op.border[: len(sizes)], strict=True))
    for name, axis in zip(names, geometry, strict=True):
        for word, values in zip(("from", "to"), _ranges(*axis), strict=True):
            table(emit, f"{word}_{name}", values)
    with emit.loops([samples, filters, of_group]) as (n, k, c):
        channel = f"{k} / {filters // op.groups} * {of_group} + {c}" if op.groups > 1 else c
        pixels = f"{image} + ({n} * {channels} + {channel}) * {area}"
        results = f"{windows} + ({n} * {filters} + {k}) * {area_out}"
        for name, target, is_read in (("image", pixels, image is x), ("window", results, windows is x)):
            emit.line(f"{'const ' if is_read else ''}{x.ctype} *{name} = {target};")
        with ExitStack() as stack:
            for name, count in zip(names, taps, strict=True):
                stack.enter_context(emit.loop(name, count))
            place = _places(names, taps)
            emit.line(
                f"const {x.ctype} tap = {weight}[({k} * {of_group} + {c}) * {math.prod(taps)} + {place}];"
            )
            positions = []
            for name, (_, _, _, stride, dilation, before) in zip(names, geometry, strict=True):
                stack.enter_context(emit.loop(f"o{name}", f"to_{name}[{name}]", f"from_{name}[{name}]"))
                position = f"o{name}{f' * {stride}' if stride > 1 else ''} + {name}"
                position += f" * {dilation}" if dilation > 1 else ""
                positions.append(position + (f" - {before}" if before else ""))
            here, there = _places([f"o{name}" for name in names], counts), _places(positions, sizes)
            if image is x:
                emit.line(f"window[{here}] += tap * image[{there}];")
            else:
                emit.line(f"image[{there}] += tap * window[{here}];")


def pool(emit: Emit, op: Any, x: Array) -> None:
    """The largest number, or the mean, of the pixels of each window that are on the image."""
    y = emit.outputs[0]
    if any(output is not None for output in emit.outputs[1:]):
        raise NotImplementedError("a gradient needs the places of the largest numbers")
    is_max, is_last = type(op).__name__ == "MaxPool", op.layout == "NHWC"
    axes = slice(1, -1) if is_last else slice(2, None)
    sizes, counts, channels = x.shape[axes], y.shape[axes], x.shape[-1 if is_last else 1]
    names = "qrs"[-len(sizes) :]
    edges = op.border[: len(sizes)]
    apart = f" * {channels}" if is_last else ""
    with emit.loops([x.shape[0], channels]) as (n, c):
        for word, name, pixels in ((f"const {x.ctype}", "image", sizes), (x.ctype, "result", counts)):
            array, area = (x if name == "image" else y), math.prod(pixels)
            first = f"{n} * {area * channels} + {c}" if is_last else f"({n} * {channels} + {c}) * {area}"
            emit.line(f"{word} *{name} = {array} + {first};")
        with ExitStack() as stack:
            for name, count in zip(names, counts, strict=True):
                stack.enter_context(emit.loop(f"o{name}", count))
            for name, size, taps, stride, before in zip(
                names, sizes, op.window, op.stride, edges, strict=True
            ):
                first = f"o{name} * {stride}" + (f" - {before}" if before else "")
                emit.line(f"const int begin_{name} = {first}, end_{name} = begin_{name} + {taps};")
                emit.line(f"const int from_{name} = begin_{name} < 0 ? 0 : begin_{name};")
                emit.line(f"const int to_{name} = end_{name} > {size} ? {size} : end_{name};")
            emit.line(f"{x.ctype} found = {'-INFINITY' if is_max else '0'};")
            with ExitStack() as inner:
                for name in names:
                    inner.enter_context(emit.loop(name, f"to_{name}", f"from_{name}"))
                emit.line(f"const {x.ctype} pixel = image[({_places(names, sizes)}){apart}];")
                if is_max:
                    emit.line("found = pixel > found || pixel != pixel ? pixel : found;")
                else:
                    emit.line("found += pixel;")
            target = f"result[({_places([f'o{name}' for name in names], counts)}){apart}]"
            if is_max:
                emit.line(f"{target} = found;")
            elif op.count_border or not any(op.border):
                emit.line(f"{target} = found / {math.prod(op.window)};")
            else:
                area = " * ".join(f"(to_{name} - from_{name})" for name in names)
                emit.line(f"{target} = found / ({x.ctype})({area});")


EMITTERS = {
    "Conv2d": convolution,
    "Conv3d": convolution,
    "ConvTranspose2d": transposed,
    "ConvTranspose3d": transposed,
    "MaxPool": pool,
    "AveragePool": pool,
}
