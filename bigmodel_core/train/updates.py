"""The update of a training step as a graph: new parameters, and what an optimizer keeps, from gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, ShapeError, UsageError, close_matches
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.optimizer import Optimizer, Schedule, first_state
from bigmodel_core.nn.states import fitting_state
from bigmodel_core.ops.random import STEP
from bigmodel_core.plan.capacity import check_capacity

RATE = "~rate"
"""The graph input that holds the learning rate of the step; groups of parameters have `~rate/1` and so on."""
DECAY = "~decay"
"""The graph input that says how much of the averaged parameters is kept."""
STATE = "optimizer"
"""What the paths of an optimizer's arrays start with."""
AVERAGE = f"{STATE}/~average"
"""What the paths of averaged parameters start with."""


class Groups:
    """The parameters of a step by the groups of its optimizer.

    Args:
        optimizer: the optimizer.
        trained: the specs of the parameters that the step changes, by path.

    Attributes:
        patterns: of each group, those that its parameters match.
    """

    def __init__(self, optimizer: Optimizer, trained: Mapping[str, Spec]) -> None:
        self.trained = dict(trained)
        self._of_path = {path: optimizer.patterns_of(path) for path in trained}
        self.patterns = list(dict.fromkeys(self._of_path.values()))

    def members(self, optimizer: Optimizer) -> dict[str, Optimizer]:
        """The optimizer of each group, by the graph input that holds its learning rate."""
        return {self._input(patterns): optimizer.member(patterns) for patterns in self.patterns}

    def input_of(self, path: str) -> str:
        """The graph input that holds the learning rate of a parameter."""
        return self._input(self._of_path[path])

    def _input(self, patterns: tuple[str, ...]) -> str:
        number = self.patterns.index(patterns)
        return f"{RATE}/{number}" if number else RATE

    def first_states(self, optimizer: Optimizer) -> Iterator[tuple[str, str, np.ndarray]]:
        """What the optimizer keeps before the first step: the path of a parameter, a name, and the array.

        Raises:
            OutOfMemoryError: it needs more than there is.
        """
        check_capacity(
            len(optimizer.init()) * sum(spec.nbytes for spec in self.trained.values()),
            "the state of the optimizer needs",
            "use smaller layers, or SGD without momentum.",
        )
        members = self.members(optimizer)
        for path, spec in self.trained.items():
            for name, array in first_state(members[self.input_of(path)], path, spec).items():
                yield path, name, array


@dataclass
class Updates:
    """The update of a step, as values of its graph.

    Args:
        new: the new values of parameters and of what the optimizer keeps, by path.
        rates: the learning rate of each group, by the name of the graph input.
    """

    new: dict[str, Value] = field(default_factory=dict)
    rates: dict[str, Value] = field(default_factory=dict)


def updates_of(
    graph: Graph,
    optimizer: Optimizer,
    groups: Groups,
    states: Mapping[str, Mapping[str, Spec]],
    parameters: Mapping[str, Value],
    gradients: Mapping[str, Value],
    dtype: str,
    *,
    averages: bool = False,
) -> Updates:
    """Add the update of a step to its graph.

    Args:
        graph: the graph, active.
        optimizer: the optimizer.
        groups: the parameters by group.
        states: what the optimizer keeps for each parameter, by path and name.
        parameters: those that the step changes, by path.
        gradients: theirs.
        dtype: the number type of the model.
        averages: whether averages of the parameters are kept, too.
    """
    found, members = Updates(), groups.members(optimizer)
    for name in members:
        found.rates[name] = graph.input(name, Spec((), "float64")).astype(dtype)
    number = graph.input(STEP, Spec((), "int64")).astype("float64")
    for path, gradient in optimizer.regularised(parameters, gradients).items():
        parameter, name = parameters[path], groups.input_of(path)
        state = {key: graph.variable(f"{STATE}/{key}/{path}", spec) for key, spec in states[path].items()}
        rate = found.rates[name].astype(parameter.dtype)
        new, kept = members[name].update_parameter(path, parameter, gradient, state, rate, number)
        _check_kept(members[name], path, new, parameter, kept, state)
        found.new[path] = new
        found.new.update({f"{STATE}/{key}/{path}": value for key, value in kept.items()})
        if averages:
            share = graph.input(DECAY, Spec((), "float64")).astype(parameter.dtype)
            before = graph.variable(f"{AVERAGE}/{path}", parameter.spec)
            found.new[f"{AVERAGE}/{path}"] = before * share + new * (1.0 - share)
    return found


def _check_kept(
    optimizer: Optimizer,
    path: str,
    new: Value,
    parameter: Value,
    kept: Mapping[str, Value],
    state: Mapping[str, Value],
) -> None:
    """Raise unless an optimizer returned what it keeps for a parameter, each in its shape and type.

    Raises:
        ConfigError: names are missing or unknown.
        ShapeError: a shape or type is another one.
    """
    cls = type(optimizer).__name__
    if set(kept) != set(state):
        raise ConfigError(
            f"{cls} returned the state {sorted(kept)}, but init names {sorted(state)}.",
            where=path,
            fix="return a new value for each array that is kept.",
        )
    for what, after, before in (
        ("the parameter", new, parameter),
        *((f"'{name}'", kept[name], state[name]) for name in state),
    ):
        if after.spec != before.spec:
            raise ShapeError(
                f"{cls} returned {after.spec} for {what}, which is {before.spec}.",
                where=path,
                fix="return an array of the same shape and type.",
            )


def fitting_gradients(grads: Any, trained: Mapping[str, Spec]) -> dict[str, np.ndarray]:
    """Gradients as the trained parameters take them.

    Raises:
        UsageError: they are not arrays by path.
        ShapeError, DtypeError, DataError: their paths, shapes or types are not those of the parameters.
    """
    if not isinstance(grads, Mapping):
        raise UsageError(
            f"the gradients are a {type(grads).__name__}, expected arrays by path.",
            fix="loss, grads = step.gradients(x, y); step.apply(grads).",
        )
    if unknown := [path for path in grads if path not in trained]:
        near = close_matches(str(unknown[0]), trained, 1, 0.0)
        raise ShapeError(
            f"'{unknown[0]}' is not a parameter that this step trains.",
            fix=f"the nearest is '{near[0]}'.",
        )
    if missing := [path for path in trained if path not in grads]:
        raise ShapeError(
            f"the gradient of '{missing[0]}' is missing.",
            fix="pass one for each parameter that the step trains; zeros where there is none.",
        )
    return {path: fitting_state(path, grads[path], spec) for path, spec in trained.items()}


def check_optimizer(built: Optimizer, now: Optimizer) -> None:
    """Raise unless a built step may go on with an optimizer: only learning rates may be others.

    Raises:
        UsageError: it does something else.
    """
    if type(now) is type(built) and _apart_from_rates(now) == _apart_from_rates(built):
        return
    raise UsageError(
        f"the step was built with {built}, and its optimizer is now {now}: of a built step, only learning"
        " rates can change.",
        fix="make another step, or trainer, of the model: bm.compile(model, loss, optimizer).",
    )


def _apart_from_rates(optimizer: Optimizer) -> list[tuple[str, dict[str, Any]]]:
    options = {item.name: getattr(optimizer, item.name) for item in fields(optimizer)}
    groups = (options.pop("groups") or {}).items()  # of several that match, the last one wins
    return [(pattern, _without_rates(given)) for pattern, given in (("", options), *groups)]


def _without_rates(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in options.items()
        if name != "learning_rate" and not isinstance(value, Schedule)
    }


def check_ema(ema: Any) -> float | None:
    """How much of the averages a step keeps; None for no averages.

    Raises:
        ConfigError: it is no number of at least 0 and below 1.
    """
    if ema is None:
        return None
    if isinstance(ema, bool) or not isinstance(ema, (int, float)) or not 0 <= ema < 1:
        raise ConfigError(
            f"ema is {ema!r}, expected a number of at least 0 and below 1.", fix="pass ema=0.999."
        )
    return float(ema)
