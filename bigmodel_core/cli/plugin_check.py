"""The conformance checks of everything that a plugin offers, run and shown."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.plugin_contents import Found, contents, offered, plugin_named, shown_name
from bigmodel_core.cli.terminal import Output, count
from bigmodel_core.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from bigmodel_core.testing.checks import Outcome


def check_all(name: str, output: Output) -> bool:
    """Run and show the checks of a plugin, or of anything that one offers.

    Returns:
        Whether some passed and none failed.

    Raises:
        UsageError: there is nothing of this name.
        PluginError: the plugin did not load, or no example of something it offers can be made.
    """
    from bigmodel_core.testing.catalogue import checks_for
    from bigmodel_core.testing.checks import run_checks

    item = plugin_named(name)
    if item is not None and item.status != "ok":
        raise PluginError(
            f"it is {item.status}: {item.reason}.".replace("..", "."),
            where=f"plugin {item.name}",
            fix=f"bigmodel plugins info {item.name} shows the traceback.",
        )
    subjects = offered(name) if item is None else contents(item)
    outcomes: list[tuple[Found, Outcome]] = []
    for kind, cls in subjects:
        found: list[Outcome] = []
        with _status(output, f"{kind} {shown_name(cls)}") as status:
            try:
                report = run_checks(
                    checks_for(cls),
                    lambda outcome, f=found, s=status: _done(outcome, f, s),  # type: ignore[misc]  # mypy infers no lambda with defaults
                )
            except ConfigError as error:  # no example of it can be made
                raise PluginError(error.message, where=f"{kind} {shown_name(cls)}", fix=error.fix) from error
        outcomes += [((kind, cls), outcome) for outcome in report.outcomes]
        if not output.as_json:
            _show_report(kind, shown_name(cls), found, output)
    total = {
        status: sum(o.status == status for _, o in outcomes) for status in ("passed", "skipped", "failed")
    }
    is_good = total["passed"] > 0 and total["failed"] == 0
    if not output.as_json:
        output.line()
        output.line(
            ", ".join(f"{count(number)} {status}" for status, number in total.items()),
            "bold green" if is_good else "bold red",
        )
        if not total["passed"] and not total["failed"]:
            output.line("Nothing was checked, so nothing is proven.")
    output.result(
        {
            "ok": is_good,
            **total,
            "checks": [
                {
                    "kind": kind,
                    "subject": shown_name(cls),
                    "check": o.check.name,
                    "status": o.status,
                    "reason": o.reason,
                }
                for (kind, cls), o in outcomes
            ],
        }
    )
    return is_good


def _status(output: Output, title: str) -> Any:
    """A line that says what is being checked, on a terminal."""
    if output.quiet or not output.console.is_terminal:
        return contextlib.nullcontext(None)
    return output.console.status(f"checking {title}")


def _done(outcome: Outcome, found: list[Outcome], status: Any) -> None:
    found.append(outcome)
    if status is not None:
        status.update(f"checking {outcome.check.subject}: {outcome.check.name}")


def _show_report(kind: str, name: str, outcomes: list[Outcome], output: Output) -> None:
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    passed = sum(outcome.status == "passed" for outcome in outcomes)
    reasons: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.status == "skipped":
            reasons.setdefault(outcome.reason, []).append(outcome.check.name)
    if failed or not passed:
        output.line(f"{kind} {name}: {passed} passed, {len(failed)} failed", "red")
    else:
        output.say(f"{kind} {name}: {passed} passed")
    for outcome in failed:
        output.line(f"  failed  {outcome.check.name}: {outcome.reason}", "red")
    for reason, names in reasons.items():
        output.say(f"  skipped {', '.join(names)}: {reason}", "dim")
