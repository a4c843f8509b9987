"""Numbers and arrays in the place of Values: which number type they take as constants of a graph.

Like a number, an array of floats takes the float type of the Values beside it, whatever type of float it has:
a layer is written once, and computes in the type that its model is built in. What would change more than the
last digits is refused: fractions beside integers, integers that the type does not hold, floats past its end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core.errors import DtypeError
from bigmodel_core.graph.dtypes import DTYPES, FLOATS, dtype_named

CONSTANTS = (bool, int, float, np.generic, np.ndarray)
"""What ops take in the place of a Value."""


def constant_array(x: Any, dtype: str | None = None) -> np.ndarray:
    """A number, an array or a list of numbers as an array of a type that ops compute with.

    Args:
        x: the numbers.
        dtype: that of the Values beside it. None keeps the type of what has one; Python's floats become
            float32.

    Raises:
        DtypeError: they are no numbers, or the type cannot hold them.
    """
    if type(x) in (int, float) and dtype in FLOATS and -1e30 < x < 1e30:
        return np.asarray(x, dtype)  # most constants are this
    try:
        array = np.asarray(x)
    except ValueError:  # lists of different lengths
        array = np.asarray(None)
    if array.dtype.kind == "O" and isinstance(x, int):
        raise DtypeError(f"the number {x} does not fit values of type {dtype or 'int64'}.", fix="use floats.")
    if array.dtype.name not in DTYPES and array.dtype.kind not in "buif":
        raise DtypeError(f"{x!r} is no number.", fix="use numbers, arrays of them, or Values.")
    if dtype is None:
        if not isinstance(x, (np.ndarray, np.generic)):
            dtype = "float32" if array.dtype.kind == "f" else array.dtype.name
        else:
            dtype = dtype_named(array.dtype.name).name
    return array if array.dtype.name == dtype else _converted(array, dtype)


def _converted(array: np.ndarray, dtype: str) -> np.ndarray:
    to = dtype_named(dtype)
    is_float = array.dtype.kind not in "bui"  # those of ml_dtypes have a kind of their own
    with np.errstate(all="ignore"):
        found = array.astype(to.numpy)
        if is_float:
            lost = np.isinf(found) & ~np.isinf(array) if to.is_float else np.ones(array.shape, bool)
        elif array.ndim == 0 and to.is_float:
            lost = np.isinf(found)  # a number is rounded, as floats are
        else:
            lost = found.astype(array.dtype) != array
    if lost.any():
        number = array[lost].reshape(-1)[0]
        wider = "float64" if to.is_float else "float32" if is_float else "int64"
        if array.ndim == 0:
            what = f"the number {number} does not fit values of type {dtype}."
        else:
            what = f"an array of {array.dtype.name} does not fit values of type {dtype}: it has {number}."
        raise DtypeError(what, fix=f"convert: x.astype('{wider}').")
    return found
