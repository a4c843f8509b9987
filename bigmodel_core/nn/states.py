"""States: arrays by the paths of parameters, and whether they fit those of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bigmodel_core.data.arrays import as_array, cast
from bigmodel_core.errors import BigmodelError, DataError, DtypeError, ShapeError, UsageError, short
from bigmodel_core.graph.spec import Spec, format_shape


@dataclass(frozen=True)
class LoadReport:
    """What `load_state` did.

    Args:
        loaded: the paths whose numbers were set.
        missing: parameters of the model that the state lacks; they stay as they were.
        unknown: paths of the state that the model lacks.
        misfits: paths whose arrays do not fit, with what is wrong; they stay as they were.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    misfits: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"loaded: {len(self.loaded)}"]
        lines += [f"missing: {path}" for path in self.missing]
        lines += [f"unknown: {path}" for path in self.unknown]
        lines += [f"does not fit: {path}: {reason}" for path, reason in self.misfits.items()]
        return "\n".join(lines)


def fitting(
    state: Mapping[str, np.ndarray], specs: Mapping[str, Spec], partial: bool, holder: str = "model"
) -> tuple[dict[str, np.ndarray], LoadReport]:
    """The arrays of a state as the parameters of a model hold them, and what is to be said of the others.

    Args:
        state: arrays by path.
        specs: what the model has, by path.
        partial: whether those that fit are enough.
        holder: what the state is of, in messages.

    Raises:
        UsageError: it is no mapping.
        ShapeError: a path is missing or unknown, or a shape differs; with `partial`, nothing fits.
        DtypeError: numbers would have to change kind.
        DataError: a number is too large for the type of its parameter.
    """
    if partial:
        _check_mapping(state)
        return _partly_fitting(state, specs)
    check_paths(state, specs, holder)
    found = {path: fitting_state(path, state[path], spec) for path, spec in specs.items()}
    return found, LoadReport(tuple(found))


def check_paths(state: Mapping[str, np.ndarray], paths: Iterable[str], holder: str) -> None:
    """Raise unless a state has an array for each of some paths, and no others.

    Raises:
        UsageError: it is no mapping.
        ShapeError: a path is missing or unknown.
    """
    _check_mapping(state)
    missing, unknown = _odd(paths, state), _odd(state, paths)
    if missing or unknown:
        texts = [f"missing: {', '.join(missing[:5])}"] if missing else []
        texts += [f"unknown: {', '.join(unknown[:5])}"] if unknown else []
        raise ShapeError(
            f"the state does not fit the {holder} ({'; '.join(texts)}).",
            fix=f"pass the result of state() of the same {holder}.",
        )


def _check_mapping(state: Any) -> None:
    if not isinstance(state, Mapping):
        raise UsageError(
            f"the state is {short(state)}, expected arrays by path.",
            fix="pass what state() gave; bm.load(path) reads the model in a file.",
        )


def _partly_fitting(
    state: Mapping[str, np.ndarray], specs: Mapping[str, Spec]
) -> tuple[dict[str, np.ndarray], LoadReport]:
    found: dict[str, np.ndarray] = {}
    misfits: dict[str, str] = {}
    for path in (path for path in specs if path in state):
        try:
            found[path] = fitting_state(path, state[path], specs[path])
        except BigmodelError as error:
            misfits[path] = error.message
    if not found:
        raise ShapeError(
            f"nothing in the state fits the model: it has {_some(state)}, the model {_some(specs)}.",
            fix="pass the state of a model with layers at the same paths, or rename its paths.",
        )
    return found, LoadReport(tuple(found), _odd(specs, state), _odd(state, specs), misfits)


def fitting_state(path: str, array: Any, spec: Spec) -> np.ndarray:
    """An array as the numbers of a parameter, or of an optimizer's state.

    Raises:
        ShapeError, DtypeError, DataError: it does not fit; the message names the path.
    """
    found = as_array(array, "state")
    if found.shape != spec.shape:
        raise ShapeError(
            f"expected shape {format_shape(spec.shape)}, got {format_shape(found.shape)}.", where=path
        )
    if not np.can_cast(found.dtype, spec.dtype, "same_kind"):
        raise DtypeError(f"expected {spec.dtype}, got {found.dtype}.", where=path)
    try:
        return cast(found, spec.dtype, "state")
    except DataError as error:
        error.where = path
        raise


def _odd(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(one) - set(other)))


def _some(paths: Iterable[str]) -> str:
    known = sorted(paths)
    return ", ".join(known[:3]) + (", ..." if len(known) > 3 else "") if known else "no arrays"
