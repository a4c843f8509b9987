"""Named checks: what each is, and what running them gave."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
import unittest
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np

from bigmodel_core.errors import UsageError, close_matches
from bigmodel_core.graph.spec import Spec

Inputs = Sequence[tuple[Any, ...] | Spec | np.ndarray]
"""What a subject is called on: shapes whose first dimension is the batch, specs, or arrays."""


Found = dict[str, Callable[[], None]]
"""Checks by name, in the order they are run."""


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


def selected(checks: Iterable[Check], only: Sequence[str] = (), skip: Sequence[str] = ()) -> list[Check]:
    """The checks that some names mean: those of exactly that name, else those whose name contains it.

    Args:
        checks: what `checks_for` gave.
        only: names of the checks to run, or patterns such as "cuda*"; all if empty.
        skip: names or patterns of checks to leave out.

    Raises:
        UsageError: a name means no check.

    >>> holds = Check("holds", "arithmetic", lambda: None)
    >>> selected([holds], skip=["holds"])
    []
    """
    given = list(checks)
    names = list(dict.fromkeys(check.name for check in given))

    def meant(texts: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for text in texts:
            pattern = text.lower() if set(text) & set("*?[") else f"*{text.lower()}*"
            those = {text} & set(names) or {name for name in names if fnmatchcase(name.lower(), pattern)}
            if not those:
                near = close_matches(text, names, 1, 0.5)
                hint = f"did you mean '{near[0]}'? " if near else ""
                raise UsageError(
                    f"there is no check '{text}'.", fix=f"{hint}The checks are {', '.join(names)}."
                )
            found |= those
        return found

    kept, dropped = meant(only), meant(skip)
    return [check for check in given if (not only or check.name in kept) and check.name not in dropped]


def run_checks(
    checks: Iterable[Check],
    done: Callable[[Outcome], None] | None = None,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    timeout: float | None = None,
) -> Report:
    """Run checks one after the other; a failure does not stop the others.

    Args:
        checks: what `checks_for` gave.
        done: called with each outcome as it is there, to show progress.
        only: names of the checks to run, or parts of names; all if empty.
        skip: names of checks to leave out, or parts of names.
        timeout: seconds after which a check fails; None for no limit.

    Raises:
        UsageError: a name in `only` or `skip` means no check.

    >>> print(run_checks([Check("holds", "arithmetic", lambda: None)]))
    1 passed, 0 skipped, 0 failed
    """
    outcomes = []
    for check in selected(checks, only, skip):
        try:
            with time_limit(timeout):
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


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Stop what runs inside after some seconds, with AssertionError.

    It needs the main thread and a system with alarms; elsewhere there is no limit.
    """
    is_possible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if seconds is None or not is_possible:
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise AssertionError(f"it was stopped after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def behind(first: str, found: Found) -> Found:
    """Checks of which one says whether the others can be run at all.

    Where it fails, the others would only say the same again: they are skipped.

    Args:
        first: the name of that check.
        found: it, and the others.
    """
    failed: list[Exception | None] = []

    def run_once() -> None:
        if not failed:
            try:
                found[first]()
                failed.append(None)
            except Exception as error:
                failed.append(error)
        if failed[0] is not None:
            raise failed[0]

    def run_after(check: Callable[[], None]) -> None:
        try:
            run_once()
        except unittest.SkipTest:
            pass
        except Exception as error:
            raise CheckSkipped(f"the check '{first}' fails") from error
        check()

    return {
        name: run_once if name == first else functools.partial(run_after, check)
        for name, check in found.items()
    }


def expect(condition: object, message: str) -> None:
    """Raise AssertionError with a message unless a condition holds."""
    if not condition:
        raise AssertionError(message)


def expect_numbers(found: Any, expected: Any, what: str) -> None:
    """Raise AssertionError if one of two results to compare has NaN: two that are NaN agree
    by accident, unless something outside both expects it."""
    arrays = [np.asarray(side) for side in (found, expected)]
    spoilt = [array.dtype.kind == "f" and bool(np.isnan(array).any()) for array in arrays]
    if all(spoilt):
        raise AssertionError(f"{what}: it has NaN, which cannot be compared; pass inputs it is meant for")
    if any(spoilt):
        raise AssertionError(
            f"{what}: one of the two has NaN where the other has numbers; a kernel may leave numbers out, or"
            " read them before they are written"
        )
