"""Named checks: what each is, how they are found for an object, and what running them gave."""

from __future__ import annotations

import functools
import unittest
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bigmodel_core.errors import PluginError, UnknownNameError, UsageError
from bigmodel_core.graph import Op
from bigmodel_core.graph.spec import Spec
from bigmodel_core.registry.discovery import display_name

Inputs = Sequence[tuple[Any, ...] | Spec | np.ndarray]
"""What a subject is called on: shapes whose first dimension is the batch, specs, or arrays."""


class CheckSkipped(unittest.SkipTest):
    """A check that cannot run here; the text says why. Test runners show it as skipped."""


@dataclass(frozen=True)
class Check:
    """One property of one subject; calling it raises AssertionError where the property does not hold.

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


def checks_for(
    subject: Any, inputs: Inputs | None = None, reference: Callable[..., Any] | None = None
) -> list[Check]:
    """The checks of an object that plugins offer, or of its class.

    Args:
        subject: a layer, op, model, loss, metric, optimizer, schedule, data set, augmentation, callback or
            exporter, or a class of these; for a class the kit makes an example, with small values for fields
            that have no default.
        inputs: what it is called on, one item for each input: shapes whose first dimension is the batch,
            specs (taken as they are), or arrays; found by trial where None.
        reference: computes in NumPy what the subject should; takes float64 arrays. For a layer also `state`,
            the parameters by path, if it has an argument of that name; for an optimizer see
            `optimizer_checks`.

    Raises:
        UsageError: it is nothing that plugins offer, or no inputs suit it.
    """
    from bigmodel_core.registry.field_values import kind_of_base
    from bigmodel_core.testing import (
        augmentation_checks,
        data_checks,
        layer_checks,
        loss_checks,
        metric_checks,
        optimizer_checks,
        registry_checks,
        schedule_checks,
    )
    from bigmodel_core.testing.examples import example_of

    cls = subject if isinstance(subject, type) else type(subject)
    kind = "op" if issubclass(cls, Op) else kind_of_base(cls)
    makers: dict[str | None, Callable[..., dict[str, Callable[[], None]]]] = {
        "op": layer_checks.op_checks,
        "layer": layer_checks.layer_checks,
        "model": layer_checks.model_checks,
        "loss": loss_checks.loss_checks,
        "metric": metric_checks.metric_checks,
        "optimizer": optimizer_checks.optimizer_checks,
        "schedule": schedule_checks.schedule_checks,
        "dataset": data_checks.dataset_checks,
        "augmentation": augmentation_checks.augmentation_checks,
        "callback": registry_checks.registry_checks,
        "exporter": registry_checks.registry_checks,
    }
    if kind not in makers:
        raise UsageError(
            f"there are no checks for {cls.__name__}.",
            fix="pass an instance or a class of what plugins offer: a layer, op, model, loss and so on.",
        )
    name = cls.__name__ if kind == "op" else display_name(cls)
    try:
        example = example_of(cls) if isinstance(subject, type) else subject
        found = makers[kind](example, inputs, reference)
    except UsageError as error:
        if not isinstance(subject, type):
            raise
        found = {
            "example": functools.partial(_skip, str(error)),
            "registered and documented": functools.partial(registry_checks.check_registered, cls),
        }
    return [Check(check, name, function) for check, function in found.items()]


def checks_for_plugin(name: str) -> list[Check]:
    """The checks of all that one plugin offers, on examples that the kit makes.

    Args:
        name: the plugin's name, as its entry point gives it, or that of its distribution.

    Raises:
        UnknownNameError: no plugin has this name.
        PluginError: it could not be loaded.

    >>> sorted({check.subject for check in checks_for_plugin("optimizers")})[:2]
    ['adagrad', 'adam']
    """
    from bigmodel_core import registry

    plugins = [plugin for plugin in registry.plugins() if name in (plugin.name, plugin.distribution)]
    if not plugins:
        known = ", ".join(plugin.name for plugin in registry.plugins())
        raise UnknownNameError(f"there is no plugin '{name}'.", fix=f"use one of {known or '(none)'}.")
    for plugin in plugins:
        if plugin.status != "ok":
            raise PluginError(f"the plugin is {plugin.status}: {plugin.reason}.", where=plugin.name)
    meant = {(plugin.name, plugin.distribution) for plugin in plugins}
    checks: list[Check] = []
    for kind in registry.KINDS:
        for cls in registry.classes(kind):
            offer = registry.origin(cls)
            if offer is not None and (offer.plugin.name, offer.plugin.distribution) in meant:
                checks += checks_for(cls)
    return checks


def _skip(reason: str) -> None:
    raise CheckSkipped(reason)


def expect(condition: object, message: str) -> None:
    """Raise AssertionError with a message unless a condition holds."""
    if not condition:
        raise AssertionError(message)


def expect_numbers(found: Any, expected: Any, what: str) -> None:
    """Raise AssertionError where one of two results that are to be compared has NaN: two that are NaN agree
    by accident, unless something outside both expects it."""
    for side in (found, expected):
        array = np.asarray(side)
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise AssertionError(
                f"{what}: it has NaN, which compares with nothing; pass inputs it is made for"
            )
