"""Number types: everything the project knows about each, in one table.

A type that is in the table exists: specs, arrays and checkpoints may have it. Kernels compute with those that
are marked so; each device names those that it takes (`Device.dtypes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bigmodel_core.errors import DtypeError


@dataclass(frozen=True)
class DType:
    """A number type.

    Args:
        name: NumPy's name of it, which `Spec.dtype` holds.
        kind: "float", "integer" or "bool".
        nbytes: bytes of one number.
        llvm: the LLVM type that holds one in memory.
        onnx: its number in ONNX files.
        onnx_name: its name there.
        safetensors: its name in safetensors files.
        converter: the function that converts a number to it in generated source.
        accumulator: the type that sums of it are added up in, unless a kernel takes a more exact one.
        is_computed: whether there are kernels for it.
        exponent_bits: the width of a float's exponent.
        modest: floats below are far from where the type ends: their squares are finite, and so is what an
            optimizer makes of them.
        tolerance: how far a layer, loss or optimizer may be from its reference, relative to the largest
            number.
        export_tolerance: how far what a whole model computes in another runtime may be from what it computes
            here.
    """

    name: str
    kind: str
    nbytes: int
    llvm: str
    onnx: int
    onnx_name: str
    safetensors: str
    converter: str
    accumulator: str
    is_computed: bool
    exponent_bits: int = 0
    modest: float = 0.0
    tolerance: float = 0.0
    export_tolerance: float = 0.0

    @property
    def is_float(self) -> bool:
        """Whether the numbers are floating point."""
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        """Whether the numbers are integers, with a sign or without."""
        return self.kind == "integer"

    @cached_property
    def numpy(self) -> np.dtype:
        """NumPy's type: its own, or one that ml_dtypes adds.

        >>> dtype_named("bfloat16").numpy.itemsize
        2
        """
        if hasattr(np, self.name):
            return np.dtype(self.name)
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, self.name))

    @property
    def scalar(self) -> Any:
        """NumPy's type of a single number, which converts others to it, in kernels too."""
        return self.numpy.type

    @property
    def numba(self) -> str:
        """Numba's name of it."""
        return "boolean" if self.kind == "bool" else self.name

    @property
    def bits(self) -> str:
        """The integers that floats are, bit by bit."""
        return f"int{8 * self.nbytes}"

    @property
    def magnitude(self) -> int:
        """All bits of a float but the sign."""
        return (1 << 8 * self.nbytes - 1) - 1

    @property
    def infinite(self) -> int:
        """The bits of infinity: larger magnitudes are NaN.

        >>> hex(dtype_named("float32").infinite)
        '0x7f800000'
        """
        fraction = 8 * self.nbytes - 1 - self.exponent_bits
        return self.magnitude >> fraction << fraction


# fmt: off
_TABLE: tuple[tuple[Any, ...], ...] = (
    # name      kind       bytes LLVM      ONNX            safetensors converter accumulator computed
    ("float32",  "float",   4,   "float",  1,  "FLOAT",    "F32",      "T32",    "float32",  True),
    ("float64",  "float",   8,   "double", 11, "DOUBLE",   "F64",      "T64",    "float64",  True),
    ("float16",  "float",   2,   "half",   10, "FLOAT16",  "F16",      "T16",    "float32",  False),
    ("bfloat16", "float",   2,   "i16",    16, "BFLOAT16", "BF16",     "B16",    "float32",  False),
    ("int32",    "integer", 4,   "i32",    6,  "INT32",    "I32",      "I32",    "int64",    True),
    ("int64",    "integer", 8,   "i64",    7,  "INT64",    "I64",      "I64",    "int64",    True),
    ("int8",     "integer", 1,   "i8",     3,  "INT8",     "I8",       "I8",     "int32",    False),
    ("uint8",    "integer", 1,   "i8",     2,  "UINT8",    "U8",       "U8",     "int64",    True),
    ("bool",     "bool",    1,   "i8",     9,  "BOOL",     "BOOL",     "B1",     "int64",    True),
)  # llvmlite has no bfloat: the bits of a bfloat16 are in an integer

_FLOATS = {
    #           exponent bits, modest, tolerance, export tolerance
    "float32":  (8,            2.0**60,   2e-5,      1e-4),
    "float64":  (11,           2.0**500,  1e-12,     1e-9),
    "float16":  (5,            2.0**6,    1e-2,      2e-2),
    "bfloat16": (8,            2.0**60,   1e-1,      2e-1),
}
# fmt: on

DTYPES = {name: DType(name, *row, *_FLOATS.get(name, ())) for name, *row in _TABLE}
"""The number types, by name."""

FLOATS = tuple(name for name, dtype in DTYPES.items() if dtype.is_float)
INTEGERS = tuple(name for name, dtype in DTYPES.items() if dtype.is_integer)
INDICES = tuple(name for name in INTEGERS if DTYPES[name].nbytes >= 4)
"""The number types of positions, such as the tokens that name the rows of a table."""
COMPUTED = tuple(name for name, dtype in DTYPES.items() if dtype.is_computed)
"""The number types that kernels compute with."""
COMPUTED_FLOATS = tuple(name for name in FLOATS if name in COMPUTED)
"""The number types that a model may be built in."""
SIZES = {name: dtype.nbytes for name, dtype in DTYPES.items()}
"""Bytes of one number, by name."""


def dtype_named(name: str) -> DType:
    """The number type of a name.

    Raises:
        DtypeError: there is no such type.

    >>> dtype_named("float16").accumulator
    'float32'
    """
    found = DTYPES.get(name)
    if found is None:
        raise DtypeError(f"unknown number type {name!r}.", fix=f"use one of {', '.join(COMPUTED)}.")
    _ = found.numpy  # who has the name may pass it to NumPy, which learns some from ml_dtypes
    return found
