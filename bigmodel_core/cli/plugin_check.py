"""The conformance checks of everything that a plugin offers, run and shown."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.names import names_in, split_options, wrong_usage
from bigmodel_core.cli.plugin_contents import Found, contents, offered, plugin_named, shown_name
from bigmodel_core.cli.terminal import Output, count
from bigmodel_core.errors import ConfigError, PluginError, UsageError, close_matches

if TYPE_CHECKING:
    from bigmodel_core.testing.checks import Check, Inputs, Outcome

WITH_INPUTS = ("layer", "model", "loss")
"""The kinds that `--input` is for."""
LITTLE = {"registered and documented", "config round-trip", "unknown options"}
"""Checks that run whatever a class does: where no other ran, nothing is known of it."""


@dataclass(frozen=True)
class Request:
    """What is to be checked.

    Args:
        name: of a plugin, or of what one offers, with options behind it or not.
        options: of what is offered, as text.
        inputs: what layers, models and losses are called on; found by trial if empty.
        data_dir: where the files of a data set are.
        only, skip: names or patterns of checks.
        timeout: seconds for each check.
    """

    name: str
    options: Mapping[str, str]
    inputs: Inputs = ()
    data_dir: Path | None = None
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    timeout: float | None = None


@dataclass
class _Subject:
    """One class of a plugin, the checks of it, and what they gave."""

    kind: str
    cls: type[Any]
    checks: list[Check]
    outcomes: list[tuple[Outcome, float]]

    @property
    def title(self) -> str:
        return f"{self.kind} {shown_name(self.cls)}"

    def having(self, status: str) -> list[Outcome]:
        return [outcome for outcome, _ in self.outcomes if outcome.status == status]

    def reasons(self, status: str) -> dict[str, list[str]]:
        """The checks that ended in a status, by the reason."""
        found: dict[str, list[str]] = {}
        for outcome in self.having(status):
            found.setdefault(outcome.reason, []).append(outcome.check.name)
        return found

    @property
    def is_unknown(self) -> bool:
        """Whether nothing that the class itself does was checked."""
        return not any(o.status != "skipped" and o.check.name not in LITTLE for o, _ in self.outcomes)


def check_all(request: Request, output: Output) -> bool:
    """Run and show the checks of a plugin, or of anything that one offers.

    Returns:
        Whether something of each class ran, some checks passed and none failed.

    Raises:
        UsageError: there is nothing of this name, or an option or a check does not exist.
        PluginError: the plugin did not load, or no example of something it offers can be made.
    """
    subjects = _subjects(request)
    for subject in subjects:
        _run(subject, request.timeout, output)
        if not output.as_json:
            _show(subject, output)
    is_whole = not request.only and not request.skip
    unknown = [subject.title for subject in subjects if is_whole and subject.is_unknown]
    total = {
        status: sum(len(subject.having(status)) for subject in subjects)
        for status in ("passed", "skipped", "failed")
    }
    is_good = total["passed"] > 0 and total["failed"] == 0 and not unknown
    if not output.as_json:
        output.line()
        output.line(
            ", ".join(f"{count(number)} {status}" for status, number in total.items()),
            "bold green" if is_good else "bold red",
        )
        if not total["passed"] and not total["failed"]:
            output.line("Nothing was checked, so nothing is proven.")
        elif unknown:
            output.line(f"Nothing that {', '.join(unknown)} does was checked, so nothing is proven of it.")
    output.result({"ok": is_good, **total, "unproven": unknown, **_listed(subjects)})
    return is_good


def _listed(subjects: list[_Subject]) -> dict[str, Any]:
    """All outcomes for programs, and each error with the checks it hit."""
    return {
        "errors": [
            {"kind": subject.kind, "subject": shown_name(subject.cls), "reason": reason, "checks": names}
            for subject in subjects
            for reason, names in subject.reasons("failed").items()
        ],
        "checks": [
            {
                "kind": subject.kind,
                "subject": shown_name(subject.cls),
                "check": outcome.check.name,
                "status": outcome.status,
                "reason": outcome.reason,
                "seconds": round(seconds, 3),
            }
            for subject in subjects
            for outcome, seconds in subject.outcomes
        ],
    }


# What is checked --------------------------------------------------------------------------------------------


def _subjects(request: Request) -> list[_Subject]:
    from bigmodel_core.testing.catalogue import checks_for
    from bigmodel_core.testing.checks import selected

    name, options = split_options(request.name)
    options = {**options, **request.options}
    item = plugin_named(name)
    if item is not None and item.status != "ok":
        raise PluginError(
            f"it is {item.status}: {item.reason}.".replace("..", "."),
            where=f"plugin {item.name}",
            fix=f"bigmodel plugins info {item.name} shows the traceback.",
        )
    classes = offered(name) if item is None else contents(item)
    _check_options(name, classes, options, request)
    subjects = []
    for kind, cls in classes:
        made = _made(kind, cls, options)
        try:
            checks = checks_for(
                made,
                list(request.inputs) if request.inputs and kind in WITH_INPUTS else None,
                data_dir=request.data_dir,
            )
        except ConfigError as error:  # no example of it can be made
            raise PluginError(error.message, where=f"{kind} {shown_name(cls)}", fix=error.fix) from error
        subjects.append(_Subject(kind, cls, checks, []))
    everything = [check for subject in subjects for check in subject.checks]
    chosen = {
        id(check)
        for check in selected(everything, names_in(list(request.only)), names_in(list(request.skip)))
    }
    for subject in subjects:
        subject.checks = [check for check in subject.checks if id(check) in chosen]
    return [subject for subject in subjects if subject.checks]


def _made(kind: str, cls: type[Any], options: Mapping[str, str]) -> Any:
    """The class, or an object with those of the options that it has."""
    from bigmodel_core.registry import config

    own = {key: value for key, value in options.items() if key in _fields(cls)}
    if not own:
        return cls
    with wrong_usage(f"{kind} {shown_name(cls)}"):
        return config.build(cls, config.parse_fields(cls, own))


def _fields(cls: type[Any]) -> dict[str, Any]:
    from bigmodel_core.registry.field_values import field_types

    return field_types(cls)


def _check_options(name: str, classes: list[Found], options: Mapping[str, str], request: Request) -> None:
    """Refuse options that reach nothing.

    Raises:
        UsageError: there is one.
    """
    if not classes:
        return
    kinds = {kind for kind, _ in classes}
    if request.data_dir is not None and "dataset" not in kinds:
        raise UsageError(f"{name} offers no data set.", where="--data-dir", fix="leave it out.")
    if request.inputs and not kinds & set(WITH_INPUTS):
        raise UsageError(f"{name} offers no {', '.join(WITH_INPUTS)}.", where="--input", fix="leave it out.")
    known = list(dict.fromkeys(field for _, cls in classes for field in _fields(cls)))
    for option in options:
        if option not in known:
            near = close_matches(option, known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            there = f"The options are {', '.join(known)}." if known else "It has no options."
            raise UsageError(f"{name} has no option '{option}'.", where="--set", fix=f"{hint}{there}")


def input_shapes(texts: Sequence[str]) -> Inputs:
    """Inputs as typed, such as 2x4x6 or 2x5:int64; the first size is the batch, which checks vary.

    Raises:
        UsageError: one is no shape or has an unknown number type.
    """
    from bigmodel_core.graph.dtypes import DTYPES
    from bigmodel_core.graph.spec import Spec

    found: list[tuple[int, ...] | Spec] = []
    for text in texts:
        shape, _, dtype = text.partition(":")
        try:
            sizes = [int(size) for size in shape.replace(",", "x").split("x")]
        except ValueError:
            sizes = [0]
        if min(sizes) < 1:
            raise UsageError(
                f"{text!r} is not a shape.",
                where="--input",
                fix="write sizes such as 2x4x6, the batch first; 2x5:int64 for integers.",
            )
        if dtype and dtype not in DTYPES:
            raise UsageError(
                f"there is no number type '{dtype}'.", where="--input", fix=f"use one of {', '.join(DTYPES)}."
            )
        found.append(Spec(("N", *sizes[1:]), dtype) if dtype else tuple(sizes))
    return found


# Running ----------------------------------------------------------------------------------------------------


def _run(subject: _Subject, timeout: float | None, output: Output) -> None:
    """Run the checks of a class one by one, with a line on a terminal that says which."""
    from bigmodel_core.testing.checks import run_checks

    is_shown = not output.quiet and output.console.is_terminal
    with output.console.status("") if is_shown else contextlib.nullcontext() as status:
        for number, check in enumerate(subject.checks, 1):
            if status is not None:
                status.update(f"{subject.title}: {check.name} ({number} of {len(subject.checks)})")
            began = time.perf_counter()
            (outcome,) = run_checks([check], timeout=timeout).outcomes
            subject.outcomes.append((outcome, time.perf_counter() - began))


def _show(subject: _Subject, output: Output) -> None:
    passed, failed = len(subject.having("passed")), len(subject.having("failed"))
    seconds = sum(seconds for _, seconds in subject.outcomes)
    if failed or not passed:
        output.line(f"{subject.title}: {passed} passed, {failed} failed in {seconds:.1f} s", "red")
    else:
        output.say(f"{subject.title}: {passed} passed in {seconds:.1f} s")
    for reason, names in subject.reasons("failed").items():
        output.line(f"  failed  {', '.join(names)}: {reason}", "red")
    for reason, names in subject.reasons("skipped").items():
        output.say(f"  skipped {', '.join(names)}: {reason}", "dim")
