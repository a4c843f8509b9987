"""What users pass for arrays, as NumPy arrays: converted if nothing is lost, else refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core.errors import DataError, DtypeError
from bigmodel_core.graph.dtypes import DTYPES, FLOATS

NUMBERS = "fiubc"
"""The kinds of NumPy types that hold numbers: floats, integers of both kinds, booleans, complex ones."""


def as_array(item: Any, what: str) -> np.ndarray:
    """An array of numbers from whatever holds some: an array, nested lists, a tensor on the CPU, a table of
    pandas.

    Args:
        item: what a user passed.
        what: what it is for, in messages.

    Raises:
        DataError: it is no array: nothing at all, lists that differ in length, values that are missing.
        DtypeError: it holds something else than numbers.

    >>> as_array([[1, 2], [3, 4]], "input 'x'").shape
    (2, 2)
    """
    if type(item) is np.ndarray and item.dtype.kind in NUMBERS:
        return item
    if item is None:
        raise DataError(f"there is no {what}: it is None.", fix="pass an array of numbers.")
    if isinstance(item, np.ma.MaskedArray) and np.ma.is_masked(item):
        raise DataError(f"the {what} has masked values.", fix="fill them: x.filled(...).")
    try:
        found = np.asarray(item)
        if found.dtype.kind == "O" and found.ndim:  # columns of several types, or numbers of Python
            found = np.asarray(found.tolist())
    except Exception as error:  # every library has its own
        reason = str(error).partition("\n")[0].rstrip(".")
        if "inhomogeneous" in reason:
            raise DataError(
                f"the {what} is not an array: its rows differ in length.",
                fix="give all rows one length, for instance by padding the short ones.",
            ) from None
        raise DataError(
            f"the {what}, a {type(item).__name__}, cannot be read as an array: {reason}.",
            fix="pass a NumPy array.",
        ) from None
    if found.dtype.kind in NUMBERS:
        return found
    if found.dtype.name in FLOATS:  # NumPy counts those of ml_dtypes as no numbers
        return found.astype(DTYPES[found.dtype.name].accumulator)
    if found.dtype.kind == "O":
        raise DtypeError(f"the {what} holds {_odd_one(found)}.", fix="pass an array of numbers.")
    is_text = found.dtype.kind in "US"
    raise DtypeError(
        f"the {what} holds {'strings' if is_text else found.dtype}, expected numbers.",
        fix="number the classes: names, y = numpy.unique(y, return_inverse=True)."
        if is_text and "target" in what
        else "convert it to real numbers.",
    )


def _odd_one(found: np.ndarray) -> str:
    if found.ndim == 0:
        return f"a {type(found[()]).__name__}, expected numbers"
    for place in np.ndindex(found.shape):
        if not isinstance(found[place], (int, float, np.number, np.bool_)):
            at = ", ".join(map(str, place))
            return f"a {type(found[place]).__name__} at position ({at}), expected numbers"
    return "integers that do not fit into 64 bits"


def cast(array: np.ndarray, dtype: Any, what: str) -> np.ndarray:
    """The array in a number type and C-contiguous; the same array if it is both already.

    Args:
        array: numbers; of floats only those that a float type can hold, of integers only those in its range.
        dtype: the type wanted.
        what: what it is for, in messages.

    Raises:
        DataError: a number does not fit the type; the message names the first.

    >>> cast(np.array([1.5, 2.5]), "float32", "input 'x'").dtype.name
    'float32'
    """
    wanted = np.dtype(dtype)
    if array.dtype == wanted:
        return np.asarray(array, order="C")
    if wanted.kind in "iu" and array.dtype.kind in "iu" and not np.can_cast(array.dtype, wanted):
        limits = np.iinfo(wanted)
        if array.size and (int(array.max()) > limits.max or int(array.min()) < limits.min):
            _refuse(array, wanted, what, (array > limits.max) | (array < limits.min))
    try:
        with np.errstate(over="raise"):
            return array.astype(wanted, order="C")
    except FloatingPointError:
        pass
    with np.errstate(over="ignore"):
        found = array.astype(wanted, order="C")
    if (lost := np.isinf(found) & np.isfinite(array)).any():
        _refuse(array, wanted, what, lost)
    return found


def _refuse(array: np.ndarray, wanted: np.dtype[Any], what: str, wrong: np.ndarray) -> None:
    place = tuple(int(index) for index in np.argwhere(wrong)[0]) if array.ndim else ()
    at = f" at position ({', '.join(map(str, place))})" if place else ""
    fix = "scale the numbers down" if wanted.kind == "f" else "use smaller numbers"
    if wanted == np.float32:
        fix += ", or build the model with dtype='float64'"
    raise DataError(f"the {what} has {array[place]}{at}, which {wanted} cannot hold.", fix=f"{fix}.")
