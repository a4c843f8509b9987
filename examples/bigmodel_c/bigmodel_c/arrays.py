"""Arrays as C sees them: their types, numbers as literals, and memory that is planned ahead."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import bigmodel_core as bm

CTYPES = {
    "float32": "float",
    "float64": "double",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "bool": "uint8_t",
    "int8": "int8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
}
"""The C type of a number type."""
ALIGNED = 16
"""Buffers begin at multiples of so many numbers."""


@dataclass(frozen=True)
class Array:
    """An array in a function of the file: the name of a pointer to its first number, shape and type."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    @property
    def ctype(self) -> str:
        """The C type of a number."""
        return CTYPES[self.dtype]

    def __str__(self) -> str:
        return self.name


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How far apart neighbours along each axis are."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def literal(value: Any, dtype: str) -> str:
    """A number as C source that gives all its bits again."""
    kind = bm.dtypes.DTYPES[dtype]
    if not kind.is_float:
        if dtype == "int64":
            return "INT64_MIN" if int(value) == -(2**63) else f"INT64_C({int(value)})"
        return "INT32_MIN" if int(value) == -(2**31) else str(int(value))
    number = float(kind.numpy.type(value))
    if not math.isfinite(number):
        return "NAN" if math.isnan(number) else f"{'-' if number < 0 else ''}INFINITY"
    return _shortened(number.hex()) + ("f" if dtype == "float32" else "")


def _shortened(text: str) -> str:
    """A hexadecimal float without zeros at its end.

    >>> _shortened((0.75).hex()), _shortened((0.0).hex())
    ('0x1.8p-1', '0x0p+0')
    """
    digits, _, exponent = text.partition("p")
    return f"{digits.rstrip('0').rstrip('.')}p{exponent}"


def definition(name: str, array: np.ndarray) -> Iterator[str]:
    """The lines that define an array with its numbers."""
    dtype = array.dtype.name
    flat = array.reshape(-1)
    yield f"static const {CTYPES[dtype]} {name}[{max(flat.size, 1)}] = {{"
    suffix = "f" if dtype == "float32" else ""
    is_plain = flat.dtype.kind == "f" and bool(np.isfinite(flat).all())
    for start in range(0, flat.size, 8):
        line = flat[start : start + 8].tolist()
        if is_plain:  # millions of them
            texts = [_shortened(value.hex()) + suffix for value in line]
        else:
            texts = [literal(value, dtype) for value in line]
        yield f"    {', '.join(texts)},"
    if not flat.size:
        yield "    0,"
    yield "};"


@dataclass(eq=False)
class Buffer:
    """Memory for an array between two steps.

    Args:
        dtype: the number type.
        size: how many numbers.
        first, last: the steps in which it is written first and used last.
        offset: its place, once it is known.
    """

    dtype: str
    size: int
    first: int
    last: int
    offset: int = 0

    def __str__(self) -> str:
        return f"w->{self.dtype} + {self.offset}"


@dataclass
class Memory:
    """The workspace: buffers that are not in use at the same time share their place."""

    buffers: list[Buffer] = field(default_factory=list)

    def buffer(self, dtype: str, size: int, step: int) -> Buffer:
        """Memory for a new array."""
        dtype = "uint8" if dtype == "bool" else dtype
        made = Buffer(dtype, -(-max(size, 1) // ALIGNED) * ALIGNED, step, step)
        self.buffers.append(made)
        return made

    def planned(self) -> dict[str, int]:
        """Give each buffer its place, the largest first; how many numbers of each type that takes."""
        sizes: dict[str, int] = {}
        placed: list[Buffer] = []
        for new in sorted(self.buffers, key=lambda item: -item.size):
            near = [
                other
                for other in placed
                if other.dtype == new.dtype and other.first <= new.last and new.first <= other.last
            ]
            new.offset = 0
            for other in sorted(near, key=lambda item: item.offset):
                if new.offset + new.size <= other.offset:
                    break
                new.offset = max(new.offset, other.offset + other.size)
            placed.append(new)
            sizes[new.dtype] = max(sizes.get(new.dtype, 0), new.offset + new.size)
        return dict(sorted(sizes.items()))
