"""What subclasses have to define, and methods that look like it and nobody would ever call."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from bigmodel_core.errors import ConfigError, close_matches

REQUIRED: dict[str, tuple[str, ...]] = {
    "layer": ("__call__",),
    "model": ("__call__", "input_spec"),
    "loss": ("each",),
    "optimizer": ("update",),
    "schedule": ("__call__",),
    "metric": ("empty", "update", "merge", "result"),
    "dataset": ("load",),
    "augmentation": ("__call__",),
    "exporter": ("export",),
    "strategy": ("choose",),
    "explainer": ("explain",),
}
"""The methods of each kind that a subclass has to define."""

ELSEWHERE: dict[str, dict[str, str]] = {
    "layer": {"forward": "__call__", "call": "__call__", "apply": "__call__"},
    "loss": {"forward": "each", "call": "each", "loss": "each"},
    "optimizer": {"step": "update", "apply_gradients": "update", "update_step": "update", "apply": "update"},
    "schedule": {"forward": "__call__", "call": "__call__", "get_lr": "__call__", "step": "__call__"},
    "metric": {"compute": "result", "update_state": "update", "reset": "empty", "reset_state": "empty"},
    "dataset": {"get": "load", "__getitem__": "load", "read": "load", "download": "load"},
    "augmentation": {"forward": "__call__", "call": "__call__", "transform": "__call__", "apply": "__call__"},
    "exporter": {"write": "export", "save": "export", "convert": "export", "dump": "export"},
    "strategy": {"__call__": "choose", "sample": "choose", "pick": "choose", "select": "choose"},
    "explainer": {"__call__": "explain", "attribute": "explain", "shap_values": "explain"},
}
"""What other frameworks call them; for a model, the names of layers hold."""


def fault(cls: type[Any], kind: str, base: type[Any]) -> tuple[str, str] | None:
    """What is wrong with how a class is derived from the base of its kind, and the fix; None if nothing.

    Args:
        cls: the class.
        kind: one of the registry's kinds.
        base: that kind's base class.
    """
    if kind == "callback":
        return _events(cls, base)
    for wanted in REQUIRED[kind]:
        if getattr(cls, wanted, None) is not getattr(base, wanted, None):
            continue
        if found := _instead(cls, kind, wanted, base):
            return f"{cls.__name__} defines {found}, which is never called, and no {wanted}.", _rename(
                found, wanted
            )
    return None


def undefined(subject: object, kind: str, wanted: str) -> ConfigError:
    """The error for a method of a base class that was called because no subclass defines it."""
    cls = type(subject)
    found = _instead(cls, kind, wanted, None)
    more = f"; it has {found}, which is never called" if found else ""
    fix = _rename(found, wanted) if found else f"define {wanted}."
    return ConfigError(f"{cls.__name__} does not define {wanted}{more}.", fix=fix)


def _rename(found: str, wanted: str) -> str:
    return f"call it {wanted} instead of {found}."


def _instead(cls: type[Any], kind: str, wanted: str, base: type[Any] | None) -> str | None:
    """The method that seems to be meant by one that is missing."""
    known = ELSEWHERE["layer" if kind == "model" else kind]
    own = [name for owner in cls.__mro__ for name, value in vars(owner).items() if inspect.isfunction(value)]
    for name in own:
        if known.get(name) == wanted and not hasattr(base or object, name):
            return name
    public = [name for name in own if not name.startswith("_") and not hasattr(base or object, name)]
    near = close_matches(wanted, public, 1, 0.8) if not wanted.startswith("_") else []
    return near[0] if near and near[0] != wanted else None


# Callbacks ------------------------------------------------------------------------------------------------


def _events(cls: type[Any], base: type[Any]) -> tuple[str, str] | None:
    events = [name for name in vars(base) if name.startswith("on_")]
    options = {item.name for item in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    for name in dir(cls):
        if not name.startswith("on_") or name in options or not callable(getattr(cls, name)):
            continue
        if name not in events:
            near = close_matches("_".join(map(_word, name.split("_"))), events, 1, 0.4)
            hint = f"did you mean {near[0]}? " if near else ""
            return (
                f"{cls.__name__} defines {name}, which is not an event and would never be called.",
                f"{hint}The events are {', '.join(events)}; other methods may not begin with on_.",
            )
        is_bound = isinstance(inspect.getattr_static(cls, name), (staticmethod, classmethod))
        if not is_bound and not _takes(getattr(cls, name), getattr(base, name)):
            given = ", ".join(list(inspect.signature(getattr(base, name)).parameters)[1:])
            return (
                f"{cls.__name__}.{name} cannot be called with ({given}).",
                f"write def {name}(self, {given}).",
            )
    return None


def _word(word: str) -> str:
    """A word of an event's name as this framework has it."""
    same = {
        "end": ("finish", "finished", "done", "stop", "complete", "completed"),
        "begin": ("start", "started"),
    }
    same |= {"train": ("fit", "training"), "batch": ("step",)}
    return next((ours for ours, theirs in same.items() if word in theirs), word)


def _takes(method: Any, event: Any) -> bool:
    """Whether a method can be called as the event is."""
    count = len(inspect.signature(event).parameters)
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a built-in function that has no signature
        return True
    return True
