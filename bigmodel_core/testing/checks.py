"""Named checks: what each is, and what running them gave."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bigmodel_core.graph.spec import Spec

Inputs = Sequence[tuple[Any, ...] | Spec | np.ndarray]
"""What a subject is called on: shapes whose first dimension is the batch, specs, or arrays."""


class CheckSkipped(unittest.SkipTest):
    """A check that cannot run here; the text says why. Test runners show it as skipped."""


@dataclass(frozen=True)
class Check:
    """One property of one subject; calling it raises AssertionError if the property does not hold.

    Args:
        name: what is checked, such as "gradient".
        subject: what it is checked of.
        function: the check itself.
    """

    name: str
    subject: str
    function: Callable[[], None]

    def __call__(self) -> None:
        """Run the check.

        Raises:
            AssertionError: the property does not hold.
            CheckSkipped: it cannot be checked here.
        """
        self.function()

    def __repr__(self) -> str:
        return f"<check {self.name} of {self.subject}>"


@dataclass(frozen=True)
class Outcome:
    """What running one check gave.

    Args:
        check: which.
        status: "passed", "skipped" or "failed".
        reason: why it was skipped or failed.
    """

    check: Check
    status: Literal["passed", "skipped", "failed"]
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """What running checks gave.

    Args:
        outcomes: one for each check, in order.
    """

    outcomes: tuple[Outcome, ...]

    def count(self, status: str) -> int:
        """How many checks ended in a status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def ok(self) -> bool:
        """Whether some check passed and none failed: what skips everything does not pass."""
        return self.count("failed") == 0 and self.count("passed") > 0

    def __str__(self) -> str:
        return (
            f"{self.count('passed')} passed, {self.count('skipped')} skipped, {self.count('failed')} failed"
        )


def run_checks(checks: Iterable[Check], done: Callable[[Outcome], None] | None = None) -> Report:
    """Run checks one after the other; a failure does not stop the others.

    Args:
        checks: what `checks_for` gave.
        done: called with each outcome as it is there, to show progress.

    >>> print(run_checks([Check("holds", "arithmetic", lambda: None)]))
    1 passed, 0 skipped, 0 failed
    """
    outcomes = []
    for check in checks:
        try:
            check()
            outcome = Outcome(check, "passed")
        except unittest.SkipTest as reason:
            outcome = Outcome(check, "skipped", str(reason))
        except Exception as error:  # whatever a stranger's code raises is a failure of its check
            text = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            outcome = Outcome(check, "failed", text)
        outcomes.append(outcome)
        if done is not None:
            done(outcome)
    return Report(tuple(outcomes))


def expect(condition: object, message: str) -> None:
    """Raise AssertionError with a message unless a condition holds."""
    if not condition:
        raise AssertionError(message)


def expect_numbers(found: Any, expected: Any, what: str) -> None:
    """Raise AssertionError if one of two results to compare has NaN: two that are NaN agree
    by accident, unless something outside both expects it."""
    for side in (found, expected):
        array = np.asarray(side)
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise AssertionError(f"{what}: it has NaN, which cannot be compared; pass inputs it is meant for")
