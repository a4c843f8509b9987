"""How kernels of all devices see arrays: as vectors, matrices and rows, whatever the number of their axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph.spec import Spec


def vector(spec: Spec) -> tuple[int]:
    """All numbers in one row."""
    return (math.prod(spec.sizes),)


def matrix(spec: Spec) -> tuple[int, int]:
    """Rows of the last axis: how many, and how long; a single number is a row."""
    sizes = spec.sizes
    return math.prod(sizes[:-1]), sizes[-1] if sizes else 1


def table(spec: Spec) -> tuple[int, int]:
    """What the first axis counts: how many, and how many numbers each has."""
    return spec.sizes[0], math.prod(spec.sizes[1:])


def ignored(op: Any) -> dict[str, int]:
    """Whether an op of labels ignores one, and which."""
    return {"skips": int(op.ignore is not None), "skipped": op.ignore or 0}


def split_axes(sizes: Sequence[int], axes: Sequence[int]) -> tuple[int, int, int]:
    """Sizes before, along and after neighbouring axes.

    >>> split_axes((2, 3, 4, 5), (1, 2))
    (2, 12, 5)
    """
    first, last = (axes[0], axes[-1] + 1) if axes else (len(sizes), len(sizes))
    return math.prod(sizes[:first]), math.prod(sizes[first:last]), math.prod(sizes[last:])


def along(spec: Spec, axis: int) -> tuple[int, int, int]:
    """Sizes before, along and after one axis."""
    return split_axes(spec.sizes, (axis,))


def strides(sizes: Sequence[int]) -> list[int]:
    """The strides, in elements, of a contiguous array.

    >>> strides((2, 3, 4))
    [12, 4, 1]
    """
    return [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]


def sliced(op: Any, whole: Spec) -> tuple[int, list[int]]:
    """Where a slice of an array begins, and its strides in elements.

    Raises:
        ShapeError: a free dimension turned out too small for the slice.
    """
    op.infer(whole)
    apart = strides(whole.sizes)
    first = op.bound_start(whole) * apart[op.axis]
    apart[op.axis] *= op.step
    return first, apart


def gathered_parts(x: Spec, indices: Spec) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The parts of an array at coordinates, (how many, their size); the array, as all such parts that it has;
    and the coordinates of each."""
    count, depth = matrix(indices)
    width = math.prod(x.sizes[depth:])
    return [(count, width)], [(math.prod(x.sizes[:depth]), width), (count, depth)]


def coordinates(x: Spec, indices: Spec) -> dict[str, tuple[int, ...]]:
    """The sizes of the axes that coordinates are of, and how far apart their neighbours are, in parts."""
    sizes = x.sizes[: indices.sizes[-1]]
    return {"sizes": sizes, "steps": tuple(strides(sizes))}


def block(whole: Spec, part: Spec, axes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Where the numbers of a block of an array are, which begins anywhere along some axes: the last places
    where it may begin, the distance of places, the block's sizes, the array's strides in elements."""
    apart = strides(whole.sizes)
    return {
        "limits": tuple(whole.sizes[axis] - part.sizes[axis] for axis in axes),
        "steps": tuple(apart[axis] for axis in axes),
        "sizes": part.sizes,
        "strides": tuple(apart),
    }


def planes(op: Any, images: Spec) -> tuple[int, int, int, int]:
    """Planes, rows, columns, and the numbers that each pixel has in one plane: (N * C, H, W, 1) with channels
    first, (N, H, W, C) with channels last."""
    a, b, c, d = images.sizes
    return (a, b, c, d) if op.layout == "NHWC" else (a * b, c, d, 1)


def volumes(op: Any, images: Spec) -> tuple[int, int, int, int, int]:
    """Images or volumes as such planes, between which and rows there are slices; an image has one."""
    last = op.layout == "NHWC"
    n, *sizes = images.sizes
    channels = sizes.pop(-1 if last else 0)
    slices, rows, columns = (1, *sizes)[-3:]
    return (n, slices, rows, columns, channels) if last else (n * channels, slices, rows, columns, 1)


def in_volumes(numbers: Sequence[int], of_slices: int) -> tuple[int, int, int]:
    """Numbers for the three axes of volumes, of which an image lacks the first."""
    deep, down, across = (of_slices, *numbers)[-3:]
    return deep, down, across


def channels(op: Any, images: Spec) -> tuple[int, int, int]:
    """Images as (N, C, pixels) with channels first, as (N * pixels, C, 1) with channels last."""
    n, *sizes = images.sizes
    channels = sizes.pop(-1 if op.layout == "NHWC" else 0)
    pixels = math.prod(sizes)
    return (n * pixels, channels, 1) if op.layout == "NHWC" else (n, channels, pixels)


def require_variance(pixels: int, channels: int) -> None:
    """Refuse a batch that has one number for each channel.

    Raises:
        ShapeError: it has.
    """
    if pixels == 1:
        raise ShapeError(
            f"the batch has one number for each of {channels} channels, which has no variance.",
            fix="train with batches of two samples or more, the last of an epoch too; or on larger images.",
        )


def require_channels_last(op: Any) -> None:
    """Refuse an op on images (N, C, H, W) whose kernel takes them as (N, H, W, C).

    Raises:
        ShapeError: its layout is that of channels first.
    """
    if op.layout != "NHWC":
        raise ShapeError(f"{type(op).__name__} computes with channels last.", fix="run it in a Program.")


def turned_pairs(
    op: Any, inputs: Sequence[Spec]
) -> tuple[tuple[list[tuple[int, int]], list[tuple[int, int]]], dict[str, int]]:
    """Of a rotary embedding: its rows, and those of the cosines and sines; how many steps a sequence has, how
    many rows share a table of angles, and how many neighbours the same step."""
    x, cosine, _ = inputs
    rows, _ = matrix(x)
    samples = cosine.sizes[0] if cosine.ndim > 2 else 1
    each = max(rows // max(samples, 1), 1)
    steps, inner = (x.sizes[1], x.sizes[2]) if op.steps_first else (x.sizes[-2], 1)
    return ([matrix(x)], [matrix(spec) for spec in inputs]), {"steps": steps, "each": each, "inner": inner}
