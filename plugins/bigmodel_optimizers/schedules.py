"""Learning rates as functions of the number of steps done."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError


@dataclass(frozen=True)
class Constant(bm.Schedule):
    """The same rate at every step.

    Args:
        rate: the rate.

    >>> Constant(0.1)(1000)
    0.1
    """

    rate: float

    def __post_init__(self) -> None:
        bm.check_number(self, "rate", at_least=0)

    def __call__(self, step: int) -> float:
        return float(self.rate)


@dataclass(frozen=True)
class StepDecay(bm.Schedule):
    """The rate times `factor` after each `every` steps, or after each `epochs` epochs.

    Args:
        rate: the rate of the first steps.
        every: how many steps each rate lasts.
        factor: what it is multiplied by, above 0 and at most 1.
        epochs: how many epochs each rate lasts, in place of `every`; `Trainer.fit` knows how many steps an
            epoch has.

    >>> [StepDecay(1.0, every=2, factor=0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    >>> StepDecay(1.0, epochs=3).for_run(steps=1000, steps_an_epoch=100)
    StepDecay(rate=1.0, every=300, factor=0.1, epochs=None)
    """

    rate: float
    every: int | None = None
    factor: float = 0.1
    epochs: int | None = None

    def __post_init__(self) -> None:
        bm.check_number(self, "rate", at_least=0)
        bm.check_number(self, "factor", above=0, at_most=1)
        if (self.every is None) == (self.epochs is None):
            raise ConfigError(
                "expected one of every (steps) and epochs.",
                where="StepDecay",
                fix="set how long each rate lasts: every=100 for steps, or epochs=3.",
            )
        bm.check_number(self, "every" if self.epochs is None else "epochs", whole=True, at_least=1)

    def __call__(self, step: int) -> float:
        if self.every is None:
            raise _needs_a_run("StepDecay", "how many steps an epoch has", "every=100")
        return float(self.rate * self.factor ** (step // self.every))

    def for_run(self, steps: int, steps_an_epoch: int) -> bm.Schedule:
        """The schedule with epochs as steps."""
        if self.epochs is None:
            return self
        return replace(self, every=self.epochs * steps_an_epoch, epochs=None)


@dataclass(frozen=True)
class Cosine(bm.Schedule):
    """From `rate` to `final` along half a cosine wave, then `final` (Loshchilov and Hutter, 2016).

    Args:
        rate: the rate at the start.
        steps: how many steps the way takes; None for all steps of the run, which `Trainer.fit` knows.
        final: the rate at its end.

    >>> [round(Cosine(1.0, steps=4)(step), 3) for step in (0, 2, 4, 9)]
    [1.0, 0.5, 0.0, 0.0]
    """

    rate: float
    steps: int | None = None
    final: float = 0.0

    def __post_init__(self) -> None:
        bm.check_number(self, "rate", at_least=0)
        bm.check_number(self, "final", at_least=0)
        if self.steps is not None:
            bm.check_number(self, "steps", whole=True, at_least=1)

    def for_run(self, steps: int, steps_an_epoch: int) -> bm.Schedule:
        """The schedule over all steps of the run, unless its own are said."""
        return self if self.steps is not None else replace(self, steps=steps)

    def __call__(self, step: int) -> float:
        if self.steps is None:
            raise _needs_a_run("Cosine", "how long the run is", "steps=1000")
        share = min(step / self.steps, 1.0)
        return float(self.final + (self.rate - self.final) * 0.5 * (1 + math.cos(math.pi * share)))


@dataclass(frozen=True)
class WarmUp(bm.Schedule):
    """From 0 to the first rate of another schedule in even steps, then that schedule from its beginning.

    Args:
        steps: how many steps the warm-up takes.
        then: the schedule that follows, or a number.

    >>> [WarmUp(4, then=1.0)(step) for step in (0, 1, 4, 5)]
    [0.0, 0.25, 1.0, 1.0]
    """

    steps: int
    then: float | bm.Schedule

    def __post_init__(self) -> None:
        bm.check_number(self, "steps", whole=True, at_least=1)
        then: Any = self.then
        if not isinstance(then, bm.Schedule):
            if not isinstance(then, (int, float)):
                raise ConfigError(
                    f"then is {self.then!r}, expected a number or a schedule.",
                    where="WarmUp",
                    fix="pass then=0.1 or then=Cosine(0.1, steps=1000), for instance.",
                    shell="say then=0.1 or then=cosine, for instance.",
                )
            bm.check_number(self, "then", at_least=0)

    def for_run(self, steps: int, steps_an_epoch: int) -> bm.Schedule:
        """The schedule that follows gets the steps that are left."""
        if not isinstance(self.then, bm.Schedule):
            return self
        then = self.then.for_run(max(steps - self.steps, 1), steps_an_epoch)
        return self if then is self.then else replace(self, then=then)

    def __call__(self, step: int) -> float:
        first = self.then(max(step - self.steps, 0)) if isinstance(self.then, bm.Schedule) else self.then
        return float(first * min(step / self.steps, 1.0))


@dataclass(frozen=True)
class InverseTime(bm.Schedule):
    """rate / (step + 1): the rate falls as the reciprocal of the step's number (Robbins and Monro, 1951).

    Args:
        rate: the rate of the first step.

    >>> [InverseTime(1.0)(step) for step in (0, 1, 3)]
    [1.0, 0.5, 0.25]
    """

    rate: float

    def __post_init__(self) -> None:
        bm.check_number(self, "rate", at_least=0)

    def __call__(self, step: int) -> float:
        return float(self.rate / (step + 1))


def _needs_a_run(where: str, what: str, example: str) -> ConfigError:
    return ConfigError(
        f"it does not know {what}.",
        where=where,
        fix=f"pass {example}, or train with Trainer.fit, which knows the run.",
    )
