"""Arrays brought to what a model takes: whether they fit, converted if nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel_core.data.arrays import as_array, cast
from bigmodel_core.data.ragged import free_axis
from bigmodel_core.data.source import Source
from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph.dtypes import INDICES
from bigmodel_core.graph.spec import Spec, format_shape, match

SAMPLES = "samples"
"""The first dimension of all samples together, for models that take a fixed number at a time."""


def of_samples(spec: Spec) -> Spec:
    """The spec of all samples together: as many as there are, even if a model takes a fixed number."""
    if spec.ndim and isinstance(spec.shape[0], int):
        return spec.with_shape((SAMPLES, *spec.shape[1:]))
    return spec


def input_spec(item: Any, dtype: str = "float32") -> Spec:
    """What an input looks like: a Spec, a shape, or an array whose first dimension becomes "N".

    Args:
        item: one of those. Samples of unequal length leave that axis free, too.
        dtype: the number type of arrays of floats, and of what does not say its own.
    """
    if isinstance(item, Spec):
        return item if item.is_typed else item.with_dtype(dtype)
    if isinstance(item, tuple):
        return Spec(item, dtype)
    array = item if isinstance(item, Source) else as_array(item, "input")
    kind = dtype if array.dtype.kind == "f" else "int64" if array.dtype.kind in "iu" else array.dtype.name
    if array.ndim == 0:
        raise ShapeError(
            "a model's input is a single number.",
            fix="pass a batch: an array whose first dimension counts samples.",
        )
    axis = free_axis(array)
    return Spec(("N", *array.shape[1:]) if axis is None else ("N", axis, *array.shape[2:]), kind)


def freed(specs: Sequence[Spec], inputs: Sequence[Any], own: Sequence[Spec]) -> tuple[Spec, ...]:
    """Specs of arrays, with the sizes left free that a model leaves free.

    Args:
        specs: what `input_spec` made of the inputs.
        inputs: what was passed; a Spec or a shape says what it means.
        own: what the model takes.
    """
    return tuple(
        spec
        if isinstance(item, (Spec, tuple)) or place >= len(own) or own[place].ndim != spec.ndim
        else spec.with_shape(
            size if isinstance(dim, int) else dim
            for size, dim in zip(spec.shape, own[place].shape, strict=True)
        )
        for place, (item, spec) in enumerate(zip(inputs, specs, strict=True))
    )


def explain_types(error: DtypeError, inputs: Sequence[Any], specs: Sequence[Spec], dtype: str) -> None:
    """Let an error of a model that is being built say where number types came from that do not fit.

    Args:
        error: what an op or a layer raised.
        inputs: what was passed for the inputs.
        specs: what `input_spec` made of them.
        dtype: the number type of the parameters.
    """
    changed = [
        (item.dtype, spec.dtype)
        for item, spec in zip(inputs, specs, strict=True)
        if not isinstance(item, Spec) and getattr(item, "dtype", spec.dtype) != spec.dtype
    ]
    error.message += "".join(
        f" (The array is {found}; a model takes it as {taken}.)" for found, taken in changed
    )
    for item in inputs:
        if isinstance(item, Spec) and item.is_float and item.is_typed and item.dtype != dtype:
            error.message += f" (The input is {item.dtype}, the parameters are {dtype}.)"
            error.fix = f"leave out the number type of the Spec, or build with dtype='{item.dtype}'."
            return


def checked(name: str, array: Any, spec: Spec, known: dict[str, int]) -> np.ndarray:
    """An array as a graph input of a spec; binds the sizes of named dimensions in `known`.

    Raises:
        ShapeError: the sizes differ.
        DtypeError: the numbers would have to change kind (integers to floats or back).
        DataError: it is no array, or a number is too large for the type.
    """
    what = name if name == "target" else f"input '{name}'"
    found = as_array(array, what)
    check_fits(name, found, spec, known)
    return cast(found, spec.dtype, what)


def check_spec(name: str, given: Spec, spec: Spec, known: dict[str, int]) -> None:
    """Raise unless arrays that a spec describes can become a graph input; see `checked`.

    Raises:
        ShapeError, DtypeError: as `checked`; also where a fixed size of the input is left free.
    """
    expected = f"input '{name}': expected {format_shape(spec.shape)}, got {format_shape(given.shape)}"
    if given.ndim != spec.ndim:
        raise ShapeError(f"{expected}.", fix=f"pass a Spec of shape {format_shape(spec.shape)}.")
    for axis, (own, dim) in enumerate(zip(spec.shape, given.shape, strict=True)):
        if isinstance(own, int) and own != dim:
            raise ShapeError(
                f"{expected}: axis {axis} is fixed at {own}.",
                fix=f"pass a Spec of shape {format_shape(spec.shape)}.",
            )
    pairs = [(own, dim) for own, dim in zip(spec.shape, given.shape, strict=True) if isinstance(dim, int)]
    if problem := match(tuple(own for own, _ in pairs), [size for _, size in pairs], known):
        raise ShapeError(f"input '{name}': {problem}.")
    _check_kind(name, np.dtype(given.dtype), spec)


def check_fits(name: str, found: np.ndarray | Source, spec: Spec, known: dict[str, int]) -> None:
    """Raise unless an array, or samples that are not read yet, can become a graph input; see `checked`.

    Raises:
        ShapeError, DtypeError: as `checked`.
    """
    problem = match(spec.shape, found.shape, known)
    if problem:
        fix = f"pass an array of shape {format_shape(spec.shape)}"
        if spec.ndim == found.ndim > 2 and not match(spec.shape[:2], found.shape[:2], dict(known)):
            pairs = zip(spec.shape, found.shape, strict=True)
            wanted = tuple(own if isinstance(own, str) else size for own, size in pairs)
            fix += f", or build the model for other sizes, if it takes any: model.build(bm.Spec({wanted}))"
        raise ShapeError(f"input '{name}': {problem}.", fix=f"{fix}.")
    _check_kind(name, found.dtype, spec)


def _check_kind(name: str, dtype: np.dtype[Any], spec: Spec) -> None:
    """Raise DtypeError unless numbers of a type may become those of an input."""
    if dtype != spec.dtype:
        floats = dtype.kind == "f" and spec.is_float
        integers = dtype.kind in "iub" and spec.dtype in INDICES
        if not (floats or integers):
            raise DtypeError(
                f"input '{name}': expected {spec.dtype}, got {dtype}.",
                fix=f"convert it: x.astype('{spec.dtype}').",
            )
