"""The checks of learning-rate schedules."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from bigmodel_core.nn.optimizer import Schedule
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, expect
from bigmodel_core.testing.child import isolated
from bigmodel_core.testing.registry_checks import registry_checks

STEPS = (0, 1, 2, 3, 7, 10, 99, 100, 1000, 10**6)
"""The numbers of steps done at which schedules are looked at."""


def schedule_checks(schedule: Schedule, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of a schedule; the reference is a function of the number of steps done."""
    return {
        "reference": partial(isolated, check_reference, schedule, reference),
        "rates are usable": partial(isolated, check_rates, schedule),
        "depends on the step alone": partial(isolated, check_pure, schedule),
        **registry_checks(schedule),
    }


def check_reference(schedule: Schedule, reference: Any) -> None:
    """Rates equal the reference's."""
    if reference is None:
        raise CheckSkipped("no reference was passed")
    for step in STEPS:
        got, wanted = schedule(step), reference(step)
        expect(
            math.isclose(got, wanted, rel_tol=1e-12, abs_tol=1e-300), f"step {step}: {got}, expected {wanted}"
        )


def check_rates(schedule: Schedule) -> None:
    """Rates are finite floats, never negative, and not all zero."""
    rates = [schedule(step) for step in STEPS]
    for step, rate in zip(STEPS, rates, strict=True):
        expect(
            type(rate) is float,
            f"step {step}: the rate {rate!r} is a {type(rate).__name__}, expected a float",
        )
        expect(math.isfinite(rate) and rate >= 0, f"step {step}: the rate is {rate}")
    expect(any(rates), "all rates are zero")


def check_pure(schedule: Schedule) -> None:
    """Asked in another order, and again, it says the same: a resumed run sees the same rates."""
    forward = {step: schedule(step) for step in STEPS}
    backward = {step: schedule(step) for step in reversed(STEPS)}
    expect(forward == backward, "the rate of a step depends on which steps were asked for before")
