"""Configurations: registered objects as names and fields, and back.

    {"kind": "optimizer", "name": "optimizers:Adam", "fields": {"learning_rate": 0.001}}

A configuration holds names and plain values only. Reading one looks the name up in the registry; nothing is
ever imported by a text out of a file. Where another package than bigmodel offers the class, `distribution`
names it, so that errors can say which package to install.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bigmodel_core.errors import BigmodelError, ConfigError, UsageError, close_matches, short
from bigmodel_core.registry import lookup
from bigmodel_core.registry.askers import CORE
from bigmodel_core.registry.contracts import fault
from bigmodel_core.registry.discovery import KINDS, OURS
from bigmodel_core.registry.field_values import convert, current_name, field_types
from bigmodel_core.registry.loading import base_class

Config = dict[str, Any]


def to_config(obj: object) -> Config:
    """A registered object as plain values that JSON can hold: names, numbers, strings, lists and mappings.

    Raises:
        UnknownNameError: no plugin offers the object's class.
        ConfigError: a field holds something that cannot be written down, such as an array or a function.
    """
    cls = type(obj)
    name = lookup.qualified_name(cls)
    offer = lookup.origin(cls)
    assert offer is not None
    fields = {key: _plain(getattr(obj, key), f"{cls.__qualname__}.{key}") for key in field_types(cls)}
    config: Config = {"kind": offer.kind, "name": name, "fields": fields}
    if offer.plugin.distribution not in (None, OURS):
        config["distribution"] = offer.plugin.distribution
    return config


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, str):
        return value
    if type(value).__name__ in ("bool", "bool_"):  # NumPy's too
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        if math.isfinite(value):
            return float(value)
        raise ConfigError(
            f"{value} cannot be saved.", where=where, fix="use a finite number, or None for no limit."
        )
    if isinstance(value, (tuple, list)):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_config(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise ConfigError(
        f"a value of type {type(value).__name__} cannot be saved.",
        where=where,
        fix="use numbers, strings, booleans, None, tuples or objects that plugins offer.",
    )


def from_config(kind: str, config: Mapping[str, Any]) -> Any:
    """The object that `to_config` wrote down.

    Args:
        kind: what is wanted, such as "optimizer".
        config: `name`, `fields` and, optionally, `kind` and `distribution`.

    Raises:
        UnknownNameError: nothing has this name; where its plugin is missing, the message says which package
            brings it.
        ConfigError: the configuration is malformed, or a field is unknown or does not fit.
    """
    expected = "a mapping with the keys 'name' and 'fields'"
    fix = "use the result of to_config(), unchanged."
    if not isinstance(config, Mapping) or not isinstance(config.get("name"), str):
        raise ConfigError(f"a configuration must be {expected}, got {short(config)}.", fix=fix)
    fields, own, package = config.get("fields", {}), config.get("kind", kind), config.get("distribution")
    if unknown := sorted(map(str, set(config) - {"kind", "name", "fields", "distribution"})):
        raise ConfigError(f"a configuration must be {expected}; it also has {', '.join(unknown)}.", fix=fix)
    if not isinstance(fields, Mapping) or not isinstance(package, (str, type(None))):
        raise ConfigError(
            f"'fields' must be a mapping and 'distribution' a string, got {short(config)}.", fix=fix
        )
    if own not in KINDS:
        raise ConfigError(f"{own!r} is not a kind.", fix=f"use one of {', '.join(KINDS)}.")
    name = config["name"]
    ours = CORE if package is None and ":" in name else None  # as `to_config` writes what comes with bigmodel
    try:
        made = build(lookup.get(own, name, distribution=package, owner=ours), fields)
    except RecursionError:
        raise ConfigError("the configuration is nested too deeply.", fix=fix) from None
    if not isinstance(made, base_class(kind)):
        raise ConfigError(f"expected a configuration of kind '{kind}', got '{own}' ({name}).", fix=fix)
    return made


def make(kind: str, value: object, *, owner: str | None = None) -> Any:
    """An object of a kind from whatever a user may pass for one.

    Args:
        kind: what is wanted, such as "optimizer".
        value: an instance, a class, a name ("adam"), with options behind it or not ("sgd:momentum=0.9"), or a
            mapping with the name and the options (`{"name": "adam", "learning_rate": 0.01}`, or what
            `to_config` wrote).
        owner: the module whose code contains the name, as `owner_of` says; None for the calling module.

    Raises:
        UnknownNameError: nothing has this name, or several packages offer it.
        ConfigError: an option is unknown or has a wrong value, or a class defines a method that nobody would
            ever call.
        UsageError: the value is none of these.
    """
    base = base_class(kind)
    if isinstance(value, base):
        _check_contract(type(value), kind, base)
        return value
    if isinstance(value, type) and issubclass(value, base):
        _check_contract(value, kind, base)
        return build(value, {})
    if isinstance(value, str):
        return build_named(kind, value, {}, owner=owner)
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        if "fields" in value:
            return from_config(kind, value)
        options = {key: option for key, option in value.items() if key != "name"}
        return build_named(kind, value["name"], options, owner=owner)
    raise UsageError(
        f"{short(value)} is not a{'n' if kind[0] in 'aeiou' else ''} {kind}.",
        fix=f"pass an instance of {base.__name__}, or a name that `bigmodel plugins list` shows.",
    )


def _check_contract(cls: type[Any], kind: str, base: type[Any]) -> None:
    if wrong := fault(cls, kind, base):
        raise ConfigError(wrong[0], fix=wrong[1])


def owner_of(cls: type[Any], attribute: str) -> str:
    """The module in whose code a class says something, such as the name of its loss.

    >>> from bigmodel_core.nn.model import Model
    >>> owner_of(type("Mine", (Model,), {"loss": "hinge"}), "optimizer")
    'bigmodel_core.nn.model'
    """
    return next((base.__module__ for base in cls.__mro__ if attribute in vars(base)), cls.__module__)


def make_list(kind: str, values: object, *, owner: str | None = None) -> list[Any]:
    """Objects of a kind from one thing that `make` takes, or a list of them.

    Raises:
        BigmodelError: as `make` says.
    """
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return [make(kind, value, owner=owner) for value in values]
    return [make(kind, values, owner=owner)]


def split_options(text: str) -> tuple[str, dict[str, str]]:
    """A name and the options behind it.

    A piece without '=' belongs to the value before it, so that values may hold commas.

    >>> split_options("adam")
    ('adam', {})
    >>> split_options("layers:Dense:units=8")
    ('layers:Dense', {'units': '8'})
    >>> split_options("mlp:widths=64,64,dropout=0.5")
    ('mlp', {'widths': '64,64', 'dropout': '0.5'})
    """
    found = re.fullmatch(r"([^=]*?):([A-Za-z_][\w-]*=.*)", text, re.DOTALL)
    if found is None:
        return text, {}
    options: dict[str, str] = {}
    last = ""
    for piece in found[2].split(","):
        key, equals, value = piece.partition("=")
        if equals and re.fullmatch(r"\s*[A-Za-z_][\w-]*\s*", key):
            last = key.strip()
            options[last] = value
        else:
            options[last] += f",{piece}"
    return found[1], options


def build_named(kind: str, text: str, fields: Mapping[str, Any], *, owner: str | None = None) -> Any:
    """An object from a name, with options behind it or not, and further options as values.

    Args:
        kind: "model", "dataset" and so on.
        text: a name, as in "csv:target=species".
        fields: options by field name; they override those after the name.
        owner: as for `make`.

    Raises:
        UnknownNameError: nothing has this name, or several packages offer it.
        ConfigError: an option is unknown or has a wrong value.
    """
    name, options = split_options(text)
    cls = lookup.get(kind, name, owner=owner)
    return build(cls, {**parse_fields(cls, options), **fields} if options else fields)


def build(cls: type[Any], fields: Mapping[str, Any]) -> Any:
    """An instance of a dataclass from named options, each checked against its field's annotation.

    Raises:
        ConfigError: an option is unknown, missing or does not fit.
    """
    values = converted(cls, fields)
    required = [
        field.name
        for field in dataclasses.fields(cls)
        if field.init
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in required if name not in values]:
        raise ConfigError(
            f"the option '{missing[0]}' is missing.", where=cls.__name__, fix=f"set {missing[0]}."
        )
    try:
        return cls(**values)
    except (BigmodelError, RecursionError):
        raise
    except Exception as error:
        given = ", ".join(f"{name}={value!r}" for name, value in values.items()) or "no options"
        message = f"cannot be built with {given}: {error or type(error).__name__}."
        raise ConfigError(message, where=cls.__name__, fix="change the options.") from error


def parse_fields(cls: type[Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Options as typed by a user, converted by the annotations of a dataclass's fields.

    Args:
        cls: the dataclass the options are for.
        texts: option names and what was typed, for instance {"widths": "64,64"}. Names may be written with
            '-'; "none" stands for None if a field allows it.

    Raises:
        ConfigError: an option is unknown (the message names the nearest) or its text cannot be read.
    """
    return converted(cls, texts, text=True)


def converted(cls: type[Any], given: Mapping[str, Any], *, text: bool = False) -> dict[str, Any]:
    """Options as the fields of a dataclass want them.

    Args:
        cls: the dataclass.
        given: by name of the option.
        text: whether they are texts somebody typed.

    Raises:
        ConfigError: an option is unknown, or does not fit.
    """
    annotations = field_types(cls)
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = current_name(cls, str(key).replace("-", "_"))
        if name not in annotations:
            near = close_matches(name, annotations, 1)
            known = f"the options are {', '.join(annotations)}." if annotations else "it has no options."
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ConfigError(f"there is no option '{key}'.", where=cls.__name__, fix=f"{hint}{known}")
        if name in values:
            raise ConfigError(f"the option '{name}' is given twice.", where=cls.__name__, fix="give it once.")
        where = f"{cls.__name__}.{name}"
        values[name] = convert(value, annotations[name], text=text, where=where, resolve=_resolve)
    return values


def _resolve(kind: str, annotation: type[Any], value: object) -> object:
    if isinstance(value, Mapping) and value.get("kind", kind) != kind:
        return from_config(value["kind"], value)
    return make(kind, value)
