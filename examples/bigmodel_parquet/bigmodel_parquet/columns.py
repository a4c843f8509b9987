"""Columns of Arrow arrays as numbers: what can be read, of which shape, and which rows cannot."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import bigmodel_core as bm

LARGEST = float(np.finfo(np.float32).max)
"""Beyond float32 a number would silently become infinite."""


def plain_type(kind: pa.DataType) -> pa.DataType:
    """A type without what only says how values are stored: that of a dictionary's values, one of texts."""
    if isinstance(kind, pa.DictionaryType):
        return plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return kind


def element_type(kind: pa.DataType) -> pa.DataType:
    """What lists of lists hold in the end; of anything else the type itself."""
    kind = plain_type(kind)
    if isinstance(kind, pa.FixedShapeTensorType):
        return element_type(kind.value_type)
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return element_type(kind.value_type) if is_list else kind


def holds_numbers(kind: pa.DataType) -> bool:
    """Whether a column of a type, or its lists, holds numbers or booleans."""
    found = element_type(kind)
    of = pa.types
    return of.is_integer(found) or of.is_floating(found) or of.is_boolean(found) or of.is_decimal(found)


def is_whole(kind: pa.DataType) -> bool:
    """Whether a column of a type, or its lists, holds whole numbers or booleans."""
    found = element_type(kind)
    return pa.types.is_integer(found) or pa.types.is_boolean(found)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of a type holds texts."""
    return bool(pa.types.is_string(plain_type(kind)))


def numbers(array: pa.Array) -> np.ndarray:
    """The numbers of an array of Arrow, (rows, ...), of the type that they have there.

    Raises:
        ValueError: a value is null, or lists differ in length.
    """
    if isinstance(array.type, pa.DictionaryType):
        array = array.dictionary_decode()
    if array.null_count:
        raise ValueError("nulls")
    if isinstance(array.type, pa.FixedShapeTensorType):
        return np.asarray(array.to_numpy_ndarray())
    if pa.types.is_nested(array.type):
        lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
        length = int(lengths[0]) if len(lengths) else 0
        if (lengths != length).any():
            raise ValueError("lists of several lengths")
        inner = numbers(array.flatten())
        return inner.reshape(len(array), length, *inner.shape[1:])
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    return np.asarray(array.to_numpy(zero_copy_only=False))


def are_finite(values: np.ndarray) -> bool:
    """Whether all numbers are such that float32 can hold; whole numbers always are."""
    if values.dtype.kind != "f" or not values.size:
        return True
    return float(values.max()) <= LARGEST and float(values.min()) >= -LARGEST  # of NaN neither is true


def unusable(array: pa.Array, shape: Sequence[int]) -> np.ndarray:
    """Which rows of an array of Arrow hold no numbers of a shape, (rows,) bool: null, too long, infinite."""
    if isinstance(array.type, pa.DictionaryType):
        array = array.dictionary_decode()
    wrong = np.array(array.is_null().to_numpy(zero_copy_only=False))
    if isinstance(array.type, pa.FixedShapeTensorType):
        array, shape = array.storage, (math.prod(shape),)
    if shape:
        lengths = pc.list_value_length(array).fill_null(-1).to_numpy(zero_copy_only=False)
        wrong |= lengths != shape[0]
        if shape[0]:
            inner = unusable(array.filter(pa.array(~wrong)).flatten(), shape[1:])
            wrong[~wrong] = inner.reshape(-1, shape[0]).any(1)
    elif holds_numbers(array.type) and not is_whole(array.type):
        values = array.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        wrong |= ~(np.abs(values) <= LARGEST)
    return wrong


@dataclass(frozen=True)
class Layout:
    """How columns make a sample: those of single numbers and of vectors side by side, or one of arrays.

    Args:
        columns: their names.
        shapes: of what a row holds in each: () for a number, (k,) for a list of k.
    """

    columns: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        if any(len(shape) > 1 for shape in self.shapes):
            return self.shapes[0]
        return (sum(math.prod(shape) for shape in self.shapes),)

    @property
    def features(self) -> tuple[str, ...] | None:
        """A name for each number of a vector, such as "fare", or "embedding[2]"; None of arrays."""
        if any(len(shape) > 1 for shape in self.shapes):
            return None
        pairs = zip(self.columns, self.shapes, strict=True)
        return tuple(
            name
            for column, shape in pairs
            for name in ([f"{column}[{place}]" for place in range(shape[0])] if shape else [column])
        )

    def values(self, batch: pa.RecordBatch, dtype: type, where: Path) -> np.ndarray:
        """The samples of some rows, (rows, *shape).

        Raises:
            Misfit: a column has a value that is no number of its shape.
        """
        out = np.empty((batch.num_rows, *self.shape), dtype)
        start = 0
        for column, shape in zip(self.columns, self.shapes, strict=True):
            try:
                found = numbers(batch.column(column))
            except ValueError:
                raise Misfit(column, shape) from None
            if found.shape != (batch.num_rows, *shape) or not are_finite(found):
                raise Misfit(column, shape)
            if found.dtype == np.uint64 and dtype is np.int64 and found.size and found.max() > 2**63 - 1:
                raise bm.errors.DataError(
                    f"column {column!r} has {found.max()}, which int64 cannot hold.",
                    where=str(where),
                    fix="write smaller numbers, or floats.",
                )
            if len(self.shape) > 1:
                out[...] = found
            else:
                flat = found.reshape(len(found), -1)
                out[:, start : start + flat.shape[1]] = flat
                start += flat.shape[1]
        return out


class Misfit(Exception):
    """A column of a file has rows that cannot be used.

    Args:
        column: its name.
        shape: what each row was expected to hold.
    """

    def __init__(self, column: str, shape: tuple[int, ...]) -> None:
        super().__init__(column)
        self.column, self.shape = column, shape
