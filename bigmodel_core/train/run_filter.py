"""Runs chosen by what they are: conditions such as `model=mlp` and `val_accuracy>0.97`, and an order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import UnknownNameError, UsageError, close_matches
from bigmodel_core.train.history import is_better_high
from bigmodel_core.train.run import Run

_CONDITION = re.compile(r"\s*([^\s=!<>~]+)\s*(!=|<=|>=|=|<|>|~)\s*(.*?)\s*")
FACTS: dict[str, Callable[[Run], Any]] = {
    "name": lambda run: run.name,
    "status": lambda run: run.status,
    "model": lambda run: run.model,
    "data": lambda run: run.data,
    "epochs": lambda run: len(run.history),
    "started": lambda run: run.started.isoformat(),
    "seconds": lambda run: run.seconds,
    "tag": lambda run: run.tags,
}
"""What every run has; measures and options go by their own names."""


@dataclass(frozen=True)
class Condition:
    """A condition on runs: a name, a comparison, a value.

    Args:
        name: a fact, a measure of the best epoch, or an option by its dotted name.
        operator: =, !=, <, <=, >, >=, or ~ for "holds the text".
        value: what it is compared with, as typed.

    >>> Condition.parse("val_accuracy >= 0.97")
    Condition(name='val_accuracy', operator='>=', value='0.97')
    """

    name: str
    operator: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The condition that a text states.

        Raises:
            UsageError: it states none.
        """
        found = _CONDITION.fullmatch(text)
        if not found:
            raise UsageError(
                f"{text!r} is no condition.",
                fix="write a name, a comparison and a value, as in model=mlp, val_accuracy>0.97 or tag=best;"
                " ~ means: holds the text.",
            )
        return cls(*found.groups())

    def holds(self, run: Run) -> bool:
        """Whether it holds for a run; never for one that lacks what is compared."""
        found = value_of(run, self.name)
        if isinstance(found, tuple):  # one of several
            equal = any(_is_equal(item, self.value) for item in found)
            return equal if self.operator == "=" else not equal if self.operator == "!=" else (
                self.operator == "~" and any(self.value in item for item in found)
            )  # fmt: skip
        if found is None:
            return self.operator == "!="
        if self.operator in ("=", "!="):
            return _is_equal(found, self.value) == (self.operator == "=")
        if self.operator == "~":
            return self.value.casefold() in _text(found).casefold()
        left, right = _number(found), _number(self.value)
        pair = (left, right) if left is not None and right is not None else (_text(found), self.value)
        return bool(_ORDERS[self.operator](*pair))


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def value_of(run: Run, name: str) -> Any:
    """A fact, measure or option of a run by its name; None if it has none."""
    if name in FACTS:
        return FACTS[name](run)
    return run.measures.get(name, run.options.get(name))


def chosen(runs: Sequence[Run], conditions: Iterable[Condition]) -> list[Run]:
    """The runs for which all conditions hold.

    Raises:
        UnknownNameError: no run has what a condition names.
    """
    conditions = list(conditions)
    for condition in conditions:
        _check_known(runs, condition.name)
    return [run for run in runs if all(condition.holds(run) for condition in conditions)]


def ordered(runs: Sequence[Run], name: str, *, reverse: bool = False) -> list[Run]:
    """Runs by a fact, measure or option: of measures the best first, of the rest the least first. Runs that
    lack it come last.

    Raises:
        UnknownNameError: no run has it.
    """
    _check_known(runs, name)
    is_measure = any(name in run.measures for run in runs)
    downwards = (is_measure and is_better_high(name)) != reverse
    values = {run.folder: value for run in runs if (value := value_of(run, name)) is not None}
    numbers = {folder: _number(value) for folder, value in values.items()}
    keys: dict[Any, Any] = (
        {folder: _text(value) for folder, value in values.items()} if None in numbers.values() else numbers
    )
    having = sorted(
        (run for run in runs if run.folder in keys), key=lambda run: keys[run.folder], reverse=downwards
    )
    return having + [run for run in runs if run.folder not in keys]


def _check_known(runs: Sequence[Run], name: str) -> None:
    known = {*FACTS, *(key for run in runs for key in (*run.measures, *run.options))}
    if runs and name not in known:
        near = close_matches(name, known, 3)
        hint = f"did you mean {', '.join(near)}?" if near else f"use one of {', '.join(sorted(known)[:12])}."
        raise UnknownNameError(f"no run has '{name}'.", fix=hint)


def _is_equal(found: Any, typed: str) -> bool:
    left, right = _number(found), _number(typed)
    if left is not None and right is not None:
        return left == right
    return _text(found).casefold() == typed.casefold()


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    """A value as it is typed: true, none, 128,64."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
