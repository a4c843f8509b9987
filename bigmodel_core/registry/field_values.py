"""Values of dataclass fields from text, JSON and TOML, by the annotation of the field."""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union

from bigmodel_core.errors import ConfigError, UnknownNameError, short

Resolve = Callable[[str, type[Any], object], object]
"""Makes a registered object of a kind from a name or a mapping; `config` passes it."""

_TRUE, _FALSE, _NONE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}, {"none", "null"}
_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text", types.NoneType: "none"}
_EXAMPLES = {bool: "true", int: "64", float: "0.01", str: "name", types.NoneType: "none"}


def field_types(cls: type[Any]) -> dict[str, Any]:
    """The annotation of every field a dataclass is built from, resolved.

    Raises:
        ConfigError: the class is not a dataclass, or an annotation names something that cannot be found.
    """
    if not dataclasses.is_dataclass(cls):
        raise ConfigError(
            f"{cls.__qualname__} is not a dataclass.", fix="decorate it with @dataclass(frozen=True)."
        )
    fields = {field.name for field in dataclasses.fields(cls) if field.init}
    hints: dict[str, Any] = {}
    try:
        for owner in reversed(cls.__mro__):  # field by field: other annotations need not be there at run time
            annotations = inspect.get_annotations(owner)
            module = getattr(sys.modules.get(owner.__module__), "__dict__", {})
            for name in fields & set(annotations):
                annotated = types.SimpleNamespace(__annotations__={name: annotations[name]})
                hints |= typing.get_type_hints(annotated, module, dict(vars(owner)), include_extras=True)
    except (NameError, AttributeError) as error:
        fix = "import the name at run time, not under TYPE_CHECKING."
        raise ConfigError(
            f"an annotation of {cls.__qualname__} cannot be resolved: {error}.", fix=fix
        ) from error
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def current_name(cls: type[Any], name: str) -> str:
    """The name that a field has now, given one that it may have had before.

    A class whose fields were renamed says so, and what was saved under the old names is read:
    `renamed_fields: ClassVar[Mapping[str, str]] = {"beta": "slope"}`.
    """
    renamed: Mapping[str, str] = getattr(cls, "renamed_fields", {})
    return renamed.get(name, name)


def convert(value: object, annotation: Any, *, text: bool, where: str, resolve: Resolve) -> Any:
    """A value as its annotation wants it.

    Args:
        value: what was given.
        annotation: int, float, bool, str, None, tuples, Literal, unions, or a class that plugins may offer.
        text: whether the value is text somebody typed, to be read as a number if one is wanted; otherwise
            its own type counts, an integer passing for a number and a list for a tuple.
        where: the class and field, for the error.
        resolve: makes the objects that plugins offer.

    Raises:
        ConfigError: the value does not fit.
    """
    try:
        return _convert(value, _plain(annotation), text, resolve)
    except _Misfit as misfit:
        near = f" {misfit}" if str(misfit) else ""
        several = text and isinstance(value, str) and _SECOND_SETTING.search(value)
        raise ConfigError(
            f"expected {describe(annotation)}, got {short(value)}.{near}",
            where=where,
            fix=f"pass {describe(annotation)}, such as {_example(_plain(annotation))}.",
            shell=f"give each option its own --set, as in --set {several[1]}=..." if several else None,
        ) from None


_SECOND_SETTING = re.compile(r",\s*([a-z_][a-z0-9_]*)=")
"""Where a typed value goes on with another option."""


class _Misfit(Exception):
    """The value does not fit the annotation; the text, if any, says more."""


def _plain(annotation: Any) -> Any:
    """The annotation without aliases and metadata."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif hasattr(annotation, "__value__"):  # an alias of a `type` statement
            annotation = annotation.__value__
        else:
            return types.NoneType if annotation is None else annotation


def _members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union, narrowest first, so that "3" is an integer before it is a text."""
    order = [types.NoneType, bool, int, float]
    plain = [_plain(member) for member in typing.get_args(annotation)]
    return tuple(sorted(plain, key=lambda m: order.index(m) if m in order else 9 if m is str else 5))


def _convert(value: Any, annotation: Any, text: bool, resolve: Resolve) -> Any:
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _union(value, annotation, text, resolve)
    if origin is Literal:
        for member in typing.get_args(annotation):
            if (text and value == str(member)) or (type(value) is type(member) and value == member):
                return member
        raise _Misfit
    if annotation is tuple or origin is tuple:
        return _tuple(value, typing.get_args(annotation), text, resolve)
    if annotation in (Any, object):
        return _frozen(value)
    if annotation in _WORDS:
        return _read(value, annotation) if text and isinstance(value, str) else _typed(value, annotation)
    if isinstance(origin, type) and not text and isinstance(value, origin):  # such as Callable[..., float]
        return _frozen(value)
    if not isinstance(annotation, type):
        raise _Misfit
    if isinstance(value, annotation):
        return value
    kind = kind_of_base(annotation)
    if kind is None or not isinstance(value, (str, Mapping, type)):
        raise _Misfit
    try:
        made = resolve(kind, annotation, value)
    except UnknownNameError as error:
        raise _Misfit(error.message) from None
    if not isinstance(made, annotation):
        raise _Misfit
    return made


def _union(value: Any, annotation: Any, text: bool, resolve: Resolve) -> Any:
    hint = ""
    members = _members(annotation)
    exact = () if text else tuple(member for member in members if type(value) is member)
    for member in (*exact, *members):
        try:
            return _convert(value, member, text, resolve)
        except _Misfit as misfit:
            hint = str(misfit) or hint
    raise _Misfit(hint)


def _tuple(value: Any, members: tuple[Any, ...], text: bool, resolve: Resolve) -> tuple[Any, ...]:
    if text and isinstance(value, str):
        inner = value.strip()
        if inner[:1] + inner[-1:] in ("()", "[]"):
            inner = inner[1:-1]
        value = [part.strip() for part in inner.split(",")]
        if value[-1] == "":  # nothing at all, or the comma of (64,)
            value.pop()
    if not isinstance(value, (list, tuple)):
        raise _Misfit
    if not members:
        return tuple(_frozen(item) for item in value)
    if members == ((),):
        members = ()
    elif len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(members) != len(value):
        raise _Misfit(f"It has {len(value)} items, not {len(members)}.")
    return tuple(_convert(item, _plain(m), text, resolve) for item, m in zip(value, members, strict=True))


def _read(value: str, wanted: type[Any]) -> Any:
    """Text as typed by a user."""
    word = value.strip().lower()
    if wanted is str:
        return value
    if wanted is types.NoneType and word in _NONE:
        return None
    if wanted is bool and word in _TRUE | _FALSE:
        return word in _TRUE
    if wanted in (int, float):
        try:
            number = wanted(word)
        except ValueError:
            raise _Misfit from None
        if not math.isnan(number):
            return number
    raise _Misfit


def _typed(value: Any, wanted: type[Any]) -> Any:
    """A value of JSON, TOML or Python, as the plain Python type."""
    if wanted is types.NoneType and value is None:
        return None
    if wanted is bool and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    if wanted in (int, float) and isinstance(value, bool):  # a bool is an int to Python, not to a user
        raise _Misfit
    if wanted is int and isinstance(value, numbers.Integral):
        return int(value)
    if wanted is float and isinstance(value, numbers.Real) and not math.isnan(value):
        return float(value)
    if wanted is str and isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    raise _Misfit


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def kind_of_base(cls: type[Any]) -> str | None:
    """The kind whose base class a class is or derives from, without importing any."""
    from bigmodel_core.registry.loading import BASES

    kinds = {base: kind for kind, base in BASES.items()}
    return next((kinds[key] for c in cls.__mro__ if (key := (c.__module__, c.__qualname__)) in kinds), None)


def describe(annotation: Any) -> str:
    """A description of an annotation.

    >>> describe(int | None), describe(tuple[int, ...])
    ('an integer or none', 'integers separated by commas')
    """
    annotation = _plain(annotation)
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin in (Union, types.UnionType):
        parts = sorted((_plain(member) for member in members), key=lambda member: member is types.NoneType)
        return " or ".join(dict.fromkeys(describe(part) for part in parts))
    if origin is Literal:
        return " or ".join(repr(member) for member in members)
    if origin is tuple and len(members) == 2 and members[1] is Ellipsis:
        word = describe(members[0])
        plural = {"an integer": "integers", "a number": "numbers", "a text": "texts"}.get(
            word, f"values ({word})"
        )
        return f"{plural} separated by commas"
    if origin is tuple:
        return (
            f"{len(members)} values separated by commas ({', '.join(describe(member) for member in members)})"
        )
    kind = kind_of_base(annotation) if isinstance(annotation, type) else None
    return (
        f"a{'n' if kind[0] in 'aeiou' else ''} {kind}"
        if kind
        else getattr(annotation, "__name__", str(annotation))
    )


def _example(annotation: Any) -> str:
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return _example(_plain(members[0]))
    if origin is Literal:
        return repr(members[0])
    if origin is tuple:
        items = [_example(_plain(member)) for member in members if member is not Ellipsis]
        return ",".join(items * 2 if Ellipsis in members else items)
    return _EXAMPLES.get(annotation, "one of the names `bigmodel plugins list` shows")
