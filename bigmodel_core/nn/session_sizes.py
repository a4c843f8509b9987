"""Sizes of what sessions take and carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph.spec import Dim, Spec, format_shape


def steps_of(state: Mapping[str, np.ndarray], growing: Mapping[str, int]) -> int:
    """How many steps there are of what grows.

    Raises:
        ShapeError: more of one than of another.
    """
    sizes = {path: (*np.shape(state[path]), *(0,) * 8)[axis] for path, axis in growing.items()}
    if len(set(sizes.values())) > 1:
        (one, some), (other, more) = sorted(sizes.items(), key=lambda item: item[1])[:: len(sizes) - 1][:2]
        raise ShapeError(
            f"the state has {some} steps of {one}, and {more} of {other}.",
            fix="pass the result of state() of the same session.",
        )
    return next(iter(sizes.values()), 0)


def samples_of(
    arrays: Mapping[str, np.ndarray], specs: Mapping[str, Spec], batch: Dim, indices: np.ndarray
) -> dict[str, np.ndarray]:
    """Some samples of arrays, by path; those without a batch are as they were."""
    return {
        path: array.take(indices, specs[path].shape.index(batch)) if batch in specs[path].shape else array
        for path, array in arrays.items()
    }


def fixed_sizes(spec: Spec, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """The sizes that a spec fixes, but for the batch's, each with that of an array."""
    return [(d, size) for d, size in zip(spec.shape[1:], shape[1:], strict=True) if isinstance(d, int)]


def resized(spec: Spec, shape: tuple[int, ...]) -> Spec:
    """A spec with the sizes of an array, but for the batch's and those that are free."""
    sizes = [size if isinstance(d, int) else d for d, size in zip(spec.shape[1:], shape[1:], strict=True)]
    return spec.with_shape((*spec.shape[:1], *sizes))


def shapes_of(specs: Sequence[Spec]) -> str:
    """The shapes of specs, to tell."""
    return ", ".join(format_shape(spec.shape) for spec in specs)
