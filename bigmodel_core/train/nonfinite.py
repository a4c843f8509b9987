"""Errors about NaN and infinity in a training step: which number, and where such numbers began."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import NumericsError
from bigmodel_core.graph import Graph, Value, needed, place
from bigmodel_core.plan import Program, Variables

UNCHANGED = "nothing was changed."

LARGE = 1e12
"""Numbers beside an infinite one that are larger say that it overflowed."""


def located(
    step: int,
    error: NumericsError,
    variables: Variables,
    watched: Mapping[str, Value],
    given: Mapping[str, Any],
) -> NumericsError:
    """The error of a step that changed nothing, naming what is not finite and the first layer where it began.

    Args:
        step: the number of the training step.
        error: what the plan reported.
        variables: parameters and the optimizer's state from before.
        watched: the numbers of the step that must be finite, by what they are called.
        given: the graph inputs of the run.
    """
    at = f"at step {step}"
    for name, array in given.items():
        if name.startswith("~rate") or _is_finite(np.asarray(array)):
            continue
        if name.startswith("~gradient/"):
            path = name.removeprefix("~gradient/")
            return NumericsError(
                f"the gradient of '{path}' is NaN or infinite {at}, as it was passed.",
                fix=f"leave this update out; {UNCHANGED}",
            )
        which = name.removeprefix("~")
        return NumericsError(
            f"the loss or a gradient is NaN or infinite {at}, because the batch's '{which}' is.",
            fix=f"clean the data; {UNCHANGED}",
        )
    for path in variables:
        if not _is_finite(variables.read(path)):
            return NumericsError(
                f"the loss or a gradient is NaN or infinite {at}, because '{path}' already is.",
                fix=f"load a state that is finite; {UNCHANGED}",
            )
    return _first_of(variables, watched, given, at) or error


def written(step: int, variables: Variables) -> NumericsError:
    """The error of a step whose update made variables overflow while it wrote them."""
    bad = [path for path in variables if not _is_finite(variables.read(path))]
    text = f"'{bad[0]}'" + (f" and {len(bad) - 1} more" if len(bad) > 1 else "") if bad else "the parameters"
    error = NumericsError(
        f"the update of step {step} overflowed: {text} became NaN or infinite.",
        fix="load an earlier state, and lower the learning rate or the weight decay.",
    )
    error.is_written = True
    return error


def _first_of(
    variables: Variables, watched: Mapping[str, Value], given: Mapping[str, Any], at: str
) -> NumericsError | None:
    """The first of the watched numbers that is not finite, and the first number at everything that is not."""
    found = dict(_computed(variables, list(watched.values()), given))
    name = next((name for name, value in watched.items() if not _is_finite(found[id(value)])), None)
    if name is None:
        return None
    if name.startswith("the learning rate"):
        return NumericsError(
            f"{name} is {_given(watched[name], given)} {at}.",
            fix=f"choose another learning rate or schedule; {UNCHANGED}",
        )
    nodes = [node for node in needed([watched[name]]) if node.inputs]
    values = [value for node in nodes for value in node.outputs if value.spec.is_float]
    arrays = dict(_computed(variables, values, given))
    first = next((value for value in values if not _is_finite(arrays[id(value)])), watched[name])
    of_batch = float(found[id(watched["the loss"])]) if "the loss" in watched else None
    inner = name != "the loss" and of_batch is not None and _is_finite(np.asarray(of_batch))
    loss = f", though the loss is finite ({of_batch:.4g})" if inner else ""
    before = [arrays[id(value)] for value in (first, *first.node.inputs) if id(value) in arrays]
    error = NumericsError(
        f"{name} is NaN or infinite {at}{loss}; the first such numbers come from here.",
        fix=f"{_fix(name, before)}; {UNCHANGED}",
        where=place(first.node.path, first.node.layer) or None,
    )
    error.loss = of_batch
    return error


def _given(value: Value, given: Mapping[str, Any]) -> Any:
    """What was given for the graph input that a value is a conversion of."""
    node = value.node
    while node.inputs:
        node = node.inputs[0].node
    return given[node.op.name]  # type: ignore[attr-defined]  # learning rates are graph inputs


def _fix(name: str, around: Sequence[np.ndarray]) -> str:
    """What may help against what is not finite, given the numbers where it began and those before."""
    if name == "the loss":
        return "lower the learning rate, clip gradients (clip_norm=1.0), or check the data"
    if not name.startswith("the gradient"):
        return "lower the learning rate, or clip gradients (clip_norm=1.0)"
    if max((_largest_finite(array) for array in around), default=0.0) < LARGE:
        return (
            "the derivative is undefined there, like that of a root or a logarithm at 0: keep its input"
            " away from such a point (add a small number); clipping cannot help"
        )
    return (
        "it overflowed its number type, so clipping cannot help: scale the data, start from smaller weights,"
        " or shorten the sequences"
    )


def _largest_finite(array: np.ndarray) -> float:
    finite = np.abs(array[np.isfinite(array)], dtype="float64")
    return float(finite.max(initial=0.0))


def _computed(
    variables: Variables, values: list[Value], given: Mapping[str, Any]
) -> Iterator[tuple[int, np.ndarray]]:
    """Some values of the step's graph, by id."""
    graph: Graph = values[0].node.graph
    results = Program(graph, values, device=variables.device).run(variables, given)
    yield from zip((id(value) for value in values), results, strict=True)


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
