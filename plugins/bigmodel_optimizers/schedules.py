"""Learning rates as functions of the number of steps done."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import ConfigError
from bigmodel_core.field_limits import check_number
from bigmodel_core.optimizer import Schedule


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate at every step.

    Args:
        rate: the rate.

    >>> Constant(0.1)(1000)
    0.1
    """

    rate: float

    def __post_init__(self) -> None:
        check_number(self, "rate", at_least=0)

    def __call__(self, step: int) -> float:
        return float(self.rate)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """The rate times `factor` after each `every` steps.

    Args:
        rate: the rate of the first steps.
        every: how many steps each rate lasts.
        factor: what it is multiplied by, above 0 and at most 1.

    >>> [StepDecay(1.0, every=2, factor=0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_number(self, "rate", at_least=0)
        check_number(self, "every", whole=True, at_least=1)
        check_number(self, "factor", above=0, at_most=1)

    def __call__(self, step: int) -> float:
        return float(self.rate * self.factor ** (step // self.every))


@dataclass(frozen=True)
class Cosine(Schedule):
    """From `rate` to `final` along half a cosine wave, then `final` (Loshchilov and Hutter, 2016).

    Args:
        rate: the rate at the start.
        steps: how many steps the way takes.
        final: the rate at its end.

    >>> [round(Cosine(1.0, steps=4)(step), 3) for step in (0, 2, 4, 9)]
    [1.0, 0.5, 0.0, 0.0]
    """

    rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "rate", at_least=0)
        check_number(self, "steps", whole=True, at_least=1)
        check_number(self, "final", at_least=0)

    def __call__(self, step: int) -> float:
        share = min(step / self.steps, 1.0)
        return float(self.final + (self.rate - self.final) * 0.5 * (1 + math.cos(math.pi * share)))


@dataclass(frozen=True)
class WarmUp(Schedule):
    """From 0 to the first rate of another schedule in even steps, then that schedule from its beginning.

    Args:
        steps: how many steps the warm-up takes.
        then: the schedule that follows, or a number.

    >>> [WarmUp(4, then=1.0)(step) for step in (0, 1, 4, 5)]
    [0.0, 0.25, 1.0, 1.0]
    """

    steps: int
    then: float | Schedule

    def __post_init__(self) -> None:
        check_number(self, "steps", whole=True, at_least=1)
        then: Any = self.then
        if not isinstance(then, Schedule):
            if not isinstance(then, (int, float)):
                raise ConfigError(
                    f"then is {self.then!r}, expected a number or a schedule.",
                    where="WarmUp",
                    fix="pass then=0.1 or then=Cosine(0.1, steps=1000), for instance.",
                )
            check_number(self, "then", at_least=0)

    def __call__(self, step: int) -> float:
        first = self.then(max(step - self.steps, 0)) if isinstance(self.then, Schedule) else self.then
        return float(first * min(step / self.steps, 1.0))


@dataclass(frozen=True)
class InverseTime(Schedule):
    """rate / (step + 1): the rate falls as the reciprocal of the step's number (Robbins and Monro, 1951).

    Args:
        rate: the rate of the first step.

    >>> [InverseTime(1.0)(step) for step in (0, 1, 3)]
    [1.0, 0.5, 0.25]
    """

    rate: float

    def __post_init__(self) -> None:
        check_number(self, "rate", at_least=0)

    def __call__(self, step: int) -> float:
        return float(self.rate / (step + 1))
