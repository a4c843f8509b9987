"""Objects from typed names: a model, an optimizer or a data set.

Names may carry options: `adam:beta1=0.8`, `step-decay:every=100,factor=0.5`, `csv:target=species`. What is
wrong with them is wrong usage, and the message names what was typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bigmodel_core.errors import ConfigError, UnknownNameError, UsageError
from bigmodel_core.registry.config import split_options as split_options


@contextmanager
def wrong_usage(where: str | None = None) -> Iterator[None]:
    """Errors in names and options inside are the user's: the program exits with 2.

    Args:
        where: what to name in front of the message, unless the error says more.
    """
    try:
        yield
    except (ConfigError, UnknownNameError) as error:
        places = [part for part in (where, error.where) if part]
        raise UsageError(
            error.message, fix=error.fix, where=": ".join(places) or None, shell=error.shell
        ) from error


def settings(pairs: Sequence[str] | None, option: str = "--set") -> dict[str, str]:
    """The `key=value` strings of a repeated option.

    Raises:
        UsageError: a text has no '='.

    >>> settings(["widths=128,64", "dropout=0.5"])
    {'widths': '128,64', 'dropout': '0.5'}
    """
    found: dict[str, str] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"{pair!r} is not a setting.",
                where=option,
                fix=f"write key=value, as in {option} dropout=0.5.",
            )
        found[key.strip()] = value
    return found


def names_in(texts: list[str]) -> tuple[str, ...]:
    """Names separated by commas; a piece such as `k=3` belongs to the name before it.

    >>> names_in(["accuracy,top_k_accuracy:k=3", "f1:average=macro,beta=2"])
    ('accuracy', 'top_k_accuracy:k=3', 'f1:average=macro,beta=2')
    """
    found: list[str] = []
    for piece in (piece.strip() for text in texts for piece in text.split(",")):
        if found and "=" in piece and ":" not in piece:
            found[-1] += f",{piece}"
        elif piece:
            found.append(piece)
    return tuple(found)


def class_named(kind: str, name: str, owner: str | None = None) -> type[Any]:
    """The class of a kind with a typed name.

    Args:
        kind: "model", "optimizer" and so on.
        name: the name.
        owner: the module whose code contains the name, if it was not typed by a user.

    Raises:
        UsageError: there is none; the message lists the nearest names.
    """
    from bigmodel_core import registry

    with wrong_usage():
        return registry.get(kind, name, owner=owner)


def named(
    kind: str,
    text: str,
    more: Mapping[str, str] | None = None,
    fields: Mapping[str, Any] | None = None,
    owner: str | None = None,
) -> Any:
    """The object that a name with options describes.

    Args:
        kind: "model", "optimizer" and so on.
        text: such as "adam:beta1=0.8".
        more: further options as text; they override those after the name.
        fields: options as values, which count less than both.
        owner: the module whose code contains the name, if it was not typed by a user.

    Raises:
        UsageError: the name or an option is unknown, or a value does not fit.
    """
    from bigmodel_core.registry import config

    name, options = split_options(text)
    cls = class_named(kind, name, owner)
    with wrong_usage():
        return config.build(cls, {**(fields or {}), **config.parse_fields(cls, {**options, **(more or {})})})
