"""What holds for everything that plugins offer: registered, documented, frozen, saved by name."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable
from typing import Any

from bigmodel_core import registry
from bigmodel_core.errors import BigmodelError, ConfigError
from bigmodel_core.registry import config
from bigmodel_core.testing.checks import CheckSkipped, Found, expect


def registry_checks(subject: Any, inputs: Any = None, reference: Any = None) -> Found:
    """The checks that every kind of object has."""
    return {
        "registered and documented": lambda: check_registered(type(subject)),
        "config round-trip": lambda: check_config(subject),
        "unknown options": lambda: check_unknown_option(subject),
    }


def check_registered(cls: type[Any]) -> None:
    """A plugin offers the class, it has its own docstring, and it is a frozen dataclass."""
    expect(registry.origin(cls) is not None, _not_offered(cls))
    expect(
        dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen,  # type: ignore[attr-defined]  # the dataclass decorator sets it
        f"{cls.__name__} is not a frozen dataclass; decorate it with @dataclass(frozen=True)",
    )
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    expect(
        text and not text.startswith(f"{cls.__name__}("),
        f"{cls.__name__} has no docstring; say in one sentence what it does",
    )


def check_config(subject: Any) -> None:
    """Name and fields go through JSON and come back as an equal object."""
    kind = require_registered(subject)
    text = json.dumps(config.to_config(subject))
    again = config.from_config(kind, json.loads(text))
    expect(again == subject, f"{subject!r} was saved as {text} and came back as {again!r}")


def check_unknown_option(subject: Any) -> None:
    """An option that does not exist is an error of the configuration, not a TypeError."""
    try:
        config.build(type(subject), {"no_such_option": 1})
    except ConfigError as error:
        expect("no_such_option" in str(error), f"the message does not name the option: {error}")
    else:
        raise AssertionError("an unknown option was accepted")


def require_registered(subject: Any) -> str:
    """The kind under which plugins offer the subject.

    Raises:
        CheckSkipped: none does.
    """
    offer = registry.origin(type(subject))
    if offer is None:
        raise CheckSkipped(_not_offered(type(subject)))
    return offer.kind


def _not_offered(cls: type[Any]) -> str:
    return (
        f"no plugin offers {cls.__name__}; return it from a hook and install the package (pip install -e .)"
    )


def expect_readable(call: Callable[[], Any], what: str, *, may_work: bool = False) -> None:
    """A call fails with an error of this project that has a message, or, if allowed, works."""
    try:
        call()
    except BigmodelError as error:
        expect(len(error.message) > 10, f"{what}: the error says only {error.message!r}")
    except Exception as error:
        raise AssertionError(
            f"{what} raised {type(error).__name__} ({error}); look before, and raise an error of bm.errors"
            " that says what is expected, such as ShapeError"
        ) from error
    else:
        expect(may_work, f"{what} was accepted")
