"""The base classes of optimizers and learning-rate schedules."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from bigmodel_core.errors import ConfigError, short
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.patterns import matching, matching_each
from bigmodel_core.registry.config import converted
from bigmodel_core.registry.contracts import undefined
from bigmodel_core.registry.field_limits import check_number


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a function of the number of completed steps; a frozen dataclass."""

    def __call__(self, step: int) -> float:
        """The rate of the step after `step` steps are done; the first step asks for `step=0`."""
        raise undefined(self, "schedule", "__call__")

    def for_run(self, steps: int, steps_an_epoch: int) -> Schedule:
        """The schedule with what it takes from a run, such as its length; itself if it takes nothing.

        `Trainer.fit` asks before the first step.

        Args:
            steps: of the whole run.
            steps_an_epoch: of each of its epochs.
        """
        return self


SMALLEST_UNIT = 1e-100
"""Gradients of this size and below count as zero when their norm is compared with a limit."""


@dataclass(frozen=True, kw_only=True)
class Regularisation:
    """What every optimizer takes besides its own fields.

    Args:
        weight_decay: how strongly parameters are pulled towards zero (L2: the decay times the parameter is
            added to its gradient; optimizers that decouple it say so).
        clip_norm: gradients are scaled so that the norm of all of them together is at most this.
        clip_value: each number of a gradient is cut to [-clip_value, clip_value].
        groups: other options for some parameters, by patterns of their paths:
            `{"*/bias": {"weight_decay": 0}, "encoder/*": {"learning_rate": 1e-5}}`. Every option of the
            optimizer may be given but those of clipping, which looks at all gradients together. Of several
            patterns that match, all count, the last one first.
    """

    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    groups: Mapping[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        check_number(self, "weight_decay", at_least=0)
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                check_number(self, name, above=0)


@dataclass(frozen=True)
class Optimizer(Regularisation):
    """How parameters follow their gradients: a stateless pair of `init` and `update` that emits ops.

    Subclasses are frozen dataclasses with a `learning_rate` field (a number or a `Schedule`); those with a
    `__post_init__` of their own call this one first.
    """

    decoupled_decay: ClassVar[bool] = False
    """Whether `update` applies weight decay itself, apart from the gradient."""

    def __post_init__(self) -> None:
        super().__post_init__()
        rate = getattr(self, "learning_rate", None)
        is_function = callable(rate) and not isinstance(rate, (Layer, type))
        if not is_function and hasattr(self, "learning_rate"):
            check_number(self, "learning_rate", at_least=0)
        if self.groups is not None:
            object.__setattr__(self, "groups", self._checked_groups(self.groups))

    def init(self) -> Mapping[str, float]:
        """The names of the arrays kept for each parameter (of its shape), and the number each starts with."""
        return {}

    def update(
        self, parameter: Value, gradient: Value, state: Mapping[str, Value], rate: Value, step: Value
    ) -> tuple[Value, Mapping[str, Value]]:
        """One step: the new parameter and the new state.

        Args:
            parameter: its value.
            gradient: of the same shape.
            state: what `init` named, by name.
            rate: the learning rate of this step, a scalar of the parameter's type.
            step: the number of this step, from 1, a float64 scalar.
        """
        raise undefined(self, "optimizer", "update")

    def init_parameter(self, path: str, spec: Spec) -> Mapping[str, float | np.ndarray]:
        """What is kept for one parameter, by name: `init()`, for an optimizer that does not define this one.

        Args:
            path: of the parameter.
            spec: its shape and number type.

        Returns:
            A number stands for an array of the parameter's shape, filled with it; an array may have any
            shape. Floats are kept in the parameter's number type.
        """
        return self.init()

    def update_parameter(
        self,
        path: str,
        parameter: Value,
        gradient: Value,
        state: Mapping[str, Value],
        rate: Value,
        step: Value,
    ) -> tuple[Value, Mapping[str, Value]]:
        """One step of one parameter: `update(...)`, for an optimizer that does not define this one.

        Args:
            path: of the parameter.
            parameter, gradient, state, rate, step: as for `update`; `state` is what `init_parameter` named.
        """
        return self.update(parameter, gradient, state, rate, step)

    def rate(self, step: int) -> float:
        """The learning rate of the step after `step` steps are done."""
        rate: Any = getattr(self, "learning_rate", None)
        if callable(rate):
            return float(rate(step))
        if rate is None:
            raise ConfigError(
                f"{type(self).__name__} has no learning_rate.",
                fix="declare the field, or override rate(step).",
            )
        return float(rate)

    def for_run(self, steps: int, steps_an_epoch: int) -> Optimizer:
        """The optimizer with a schedule that knows the run; itself if the schedule takes nothing from it.

        Args:
            steps: of the whole run.
            steps_an_epoch: of each of its epochs.
        """
        changes: dict[str, Any] = {}
        rate = getattr(self, "learning_rate", None)
        if isinstance(rate, Schedule) and (found := rate.for_run(steps, steps_an_epoch)) is not rate:
            changes["learning_rate"] = found
        groups = {
            pattern: {
                name: option.for_run(steps, steps_an_epoch) if isinstance(option, Schedule) else option
                for name, option in options.items()
            }
            for pattern, options in (self.groups or {}).items()
        }
        if groups and groups != self.groups:
            changes["groups"] = groups
        return replace(self, **changes) if changes else self

    # Groups of parameters --------------------------------------------------------------------------------

    def _checked_groups(self, groups: Any) -> dict[str, dict[str, Any]]:
        """The groups as they are kept: options as their fields want them.

        Raises:
            ConfigError: an option is unknown, has a wrong value, or holds for all gradients together.
        """
        if not isinstance(groups, Mapping) or not all(isinstance(item, Mapping) for item in groups.values()):
            raise ConfigError(
                f"groups is {short(groups)}, expected options by pattern.",
                where=type(self).__name__,
                fix='pass groups={"*/bias": {"weight_decay": 0}}, for instance.',
            )
        found: dict[str, dict[str, Any]] = {}
        for pattern, options in groups.items():
            where = f"{type(self).__name__}.groups[{pattern!r}]"
            if whole := sorted({"groups", "clip_norm", "clip_value"} & set(options)):
                raise ConfigError(
                    f"{whole[0]} holds for all parameters together.",
                    where=where,
                    fix=f"pass {whole[0]} to the optimizer.",
                )
            try:
                found[pattern] = converted(type(self), options)
                replace(self, groups=None, **found[pattern])
            except ConfigError as error:
                error.where = where
                raise
        return found

    def patterns_of(self, path: str) -> tuple[str, ...]:
        """The patterns of the groups that a parameter belongs to, in their order."""
        return matching_each(self.groups or (), path)

    def member(self, patterns: Collection[str]) -> Optimizer:
        """The optimizer of the parameters that belong to these groups and no others: itself without any."""
        if not patterns or not self.groups:
            return self
        options = {name: value for pattern in patterns for name, value in self.groups[pattern].items()}
        return replace(self, groups=None, **options)

    def check_groups(self, paths: Collection[str]) -> None:
        """Raise unless every pattern of the groups matches a parameter.

        Raises:
            UnknownNameError: one does not; the message names the nearest.
        """
        matching(tuple(self.groups or ()), paths, "groups")

    # Gradients -------------------------------------------------------------------------------------------

    def regularised(
        self, parameters: Mapping[str, Value], gradients: Mapping[str, Value]
    ) -> dict[str, Value]:
        """The gradients after clipping and weight decay, by path."""
        from bigmodel_core import ops

        found = dict(gradients)
        if self.clip_value is not None:
            found = {
                path: ops.clip(value, -self.clip_value, self.clip_value) for path, value in found.items()
            }
        if self.clip_norm is not None and found:
            factor = self._clipping(found)
            found = {
                path: (value.astype("float64") * factor).astype(value.dtype) for path, value in found.items()
            }
        for path, value in found.items():
            member = self.member(self.patterns_of(path))
            if member.weight_decay and not member.decoupled_decay:
                found[path] = value + parameters[path] * member.weight_decay
        return found

    def guards(self, gradients: Mapping[str, Value]) -> list[Value]:
        """What must be finite for all gradients to be: they themselves, or the sum of their squares where
        that is computed anyway."""
        if self.clip_norm is None or self.clip_value is not None or not gradients:
            return list(gradients.values())
        return [self._squares(gradients)[1]]

    def _clipping(self, gradients: Mapping[str, Value]) -> Value:
        """What clipping by the norm multiplies with; float64, since it may be too small for float32."""
        from bigmodel_core import ops

        assert self.clip_norm is not None
        unit, total = self._squares(gradients)
        return ops.minimum((self.clip_norm / unit) / (ops.sqrt(total) + 1e-6 / unit), 1.0)

    def _squares(self, gradients: Mapping[str, Value]) -> tuple[Value, Value]:
        """A unit, and the sum of the squares of all gradients measured in it: float64, finite where the
        gradients are, and only there.

        Squares of float32 numbers fit into float64. Those of float64 numbers are taken of shares of the
        largest one."""
        from bigmodel_core import ops
        from bigmodel_core.ops.squares import SumOfSquares

        values = list(gradients.values())
        unit = values[0].node.graph.constant(1.0, "float64")
        if any(value.dtype == "float64" for value in values):
            unit = unit * SMALLEST_UNIT
            for value in values:
                unit = ops.maximum(unit, ops.max(ops.absolute(value)).astype("float64"))
            values = [value / unit.astype(value.dtype) for value in values]
        squares = [SumOfSquares()(value) for value in values]
        total = squares[0]
        for square in squares[1:]:
            total = total + square
        return unit, total


def first_state(optimizer: Optimizer, path: str, spec: Spec) -> dict[str, np.ndarray]:
    """What an optimizer keeps for a parameter before the first step, by name.

    Args:
        optimizer: that of the parameter's group.
        path: of the parameter.
        spec: its shape and number type.
    """
    found: dict[str, np.ndarray] = {}
    for name, start in optimizer.init_parameter(path, spec).items():
        array = np.asarray(start) if isinstance(start, np.ndarray) else np.full(spec.sizes, start, spec.dtype)
        found[name] = array.astype(spec.dtype) if array.dtype.kind == "f" else array
    return found
