"""The table of faults: what is wrong, in which kind of plugin, and the check that says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core.testing import Check, checks_for

EVERYTHING = "Whatever a plugin offers"
SECTIONS: dict[str, tuple[type[Any], ...]] = {
    EVERYTHING: (),
    "Ops, layers and models": (bm.Op, bm.Layer),
    "Losses": (bm.Loss,),
    "Metrics": (bm.Metric,),
    "Optimizers": (bm.Optimizer,),
    "Schedules": (bm.Schedule,),
    "Strategies": (bm.Strategy,),
    "Explainers": (bm.Explainer,),
    "Augmentations": (bm.Augmentation,),
    "Data sets": (bm.Dataset,),
    "Callbacks": (bm.Callback,),
    "Exporters": (bm.Exporter,),
}
"""The headings of docs/conformance.md, and what is below each."""


@dataclass(frozen=True)
class Fault:
    """A plugin with one fault.

    Args:
        section: the heading it is listed under.
        text: what is wrong.
        check: the name of the check that finds it.
        says: a pattern that is found in what the check says.
        cls: the class.
        arguments: inputs and reference, as for `checks_for`.
    """

    section: str
    text: str
    check: str
    says: str
    cls: type[Any]
    arguments: tuple[Any, ...] = ()

    def checks(self) -> list[Check]:
        """The checks of the class."""
        return checks_for(self.cls(), *self.arguments)


FAULTS: list[Fault] = []
SOUND: dict[type[Any], tuple[Any, ...]] = {}
"""Classes that pass all their checks, with inputs and reference."""


def fault(
    text: str, check: str, says: str, *arguments: Any, section: str = ""
) -> Callable[[type[Any]], type[Any]]:
    """Put a class into the table."""

    def note(cls: type[Any]) -> type[Any]:
        made = dataclass(frozen=True)(cls)
        place = section or next(name for name, bases in SECTIONS.items() if issubclass(cls, bases or ()))
        FAULTS.append(Fault(place, text, check, says, made, arguments))
        return made

    return note


def sound(*arguments: Any) -> Callable[[type[Any]], type[Any]]:
    """Put a class among those that pass."""

    def note(cls: type[Any]) -> type[Any]:
        made = dataclass(frozen=True)(cls)
        SOUND[made] = arguments
        return made

    return note


def offered(base: type[Any]) -> list[type[Any]]:
    """All classes of a kind: what a hook returns."""
    return [cls for cls in dict.fromkeys([*SOUND, *(item.cls for item in FAULTS)]) if issubclass(cls, base)]
