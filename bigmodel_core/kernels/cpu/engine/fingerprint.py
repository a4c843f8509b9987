"""What compiled code depends on, as one hash: the byte code of a function and everything that it refers to.

Two processes that run the same sources get the same hash; a change in a helper function, a constant, a
default or an object in a closure gives another one, so that a cached kernel is never older than its source.
"""

from __future__ import annotations

import functools
import hashlib
import math
import sys
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

_FOREIGN = (sys.stdlib_module_names | {"llvmlite", "numba", "numpy"}) - {math.__name__}
"""Modules whose content is known by their version, which is part of a kernel's key."""

_PLAIN = (int, float, complex, str, bytes, type(None), type(...))
"""Types of single values."""

_CONSTANTS: dict[int, tuple[Any, bytes]] = {}
"""What is written of frozen dataclasses of such values, by id; they are kept, so that ids stay theirs."""


def fingerprint(subject: Any, replace: tuple[tuple[Any, Any], ...] = ()) -> str:
    """A hash of a function's byte code and of everything it refers to, recursively.

    Args:
        subject: a plain function.
        replace: objects that will be swapped for others before compiling.
    """
    return hashlib.sha256(_Reader({id(old): new for old, new in replace}).of(subject)).hexdigest()


def references(function: types.FunctionType) -> dict[str, Any]:
    """The globals and closure variables that a function refers to, by name, in a stable order."""
    found = {
        name: function.__globals__[name]
        for name in sorted(_names(function.__code__))
        if name in function.__globals__
    }
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        found[name] = cell.cell_contents
    return found


def code_length(function: Callable[..., Any]) -> int:
    """Bytes of the byte code of a function, of those it calls and of what emits their instructions.

    Compilation takes about as long.
    """
    found: dict[int, types.FunctionType] = {}
    waiting: list[Any] = [function]
    while waiting:
        value = waiting.pop()
        value = getattr(value, "codegen", value)
        if isinstance(value, types.FunctionType) and id(value) not in found:
            found[id(value)] = value
            waiting += references(value).values()
    return sum(len(each.__code__.co_code) for each in found.values())


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


class _Reader:
    """Writes objects down as bytes; functions as their hashes."""

    def __init__(self, swaps: dict[int, Any]) -> None:
        self.swaps = swaps
        self.seen: dict[int, int] = {}
        self.tables: dict[int, tuple[Any, bytes]] = {}

    def of(self, subject: Any) -> bytes:
        subject = self.swaps.get(id(subject), subject)
        if isinstance(subject, _PLAIN):
            return _joined(type(subject).__name__, repr(subject))
        wrapped = getattr(subject, "__wrapped__", None)
        if not isinstance(subject, types.FunctionType) and isinstance(wrapped, types.FunctionType):
            subject = wrapped  # behind functools.cache
        kind = type(subject).__name__
        if isinstance(subject, types.FunctionType):
            return self._function(subject)
        if isinstance(subject, types.CodeType):
            return _code(subject)
        if isinstance(subject, types.ModuleType):
            return _joined("module", subject.__name__)
        if isinstance(subject, (np.ndarray, np.generic)):
            return _joined(kind, subject.dtype.str, repr(subject.shape), subject.tobytes())
        if isinstance(subject, (tuple, list)):
            return _joined(kind, *map(self.of, subject))
        if isinstance(subject, (set, frozenset)):
            return _joined(kind, *sorted(map(self.of, subject)))
        if isinstance(subject, dict):
            if id(subject) not in self.tables:  # many functions refer to one; kept, so that ids stay
                items = sorted(self.of(key) + self.of(value) for key, value in subject.items())
                self.tables[id(subject)] = subject, _joined(kind, *items)
            return self.tables[id(subject)][1]
        if is_dataclass(subject) and not isinstance(subject, type):
            # Fields that are not shown hold what is worked out, such as the address of compiled code.
            if id(subject) in _CONSTANTS:
                return _CONSTANTS[id(subject)][1]
            shown = [(item.name, getattr(subject, item.name)) for item in fields(subject) if item.repr]
            written = _joined(
                _place(type(subject)), *(part for pair in shown for part in (pair[0], self.of(pair[1])))
            )
            if type(subject).__dataclass_params__.frozen and all(isinstance(v, _PLAIN) for _, v in shown):  # type: ignore[attr-defined]  # dataclasses have it
                _CONSTANTS[id(subject)] = subject, written
            return written
        return _joined(kind, _place(subject if hasattr(subject, "__qualname__") else type(subject)))

    def _function(self, function: types.FunctionType) -> bytes:
        if id(function) in self.seen:
            return _joined("again", str(self.seen[id(function)]))
        self.seen[id(function)] = len(self.seen)
        parts: list[str | bytes] = [_code(function.__code__), self.of(function.__defaults__)]
        parts += [self.of(function.__kwdefaults__), self.of(function.__dict__.get("is_inlined"))]
        names = sorted(_names(function.__code__))
        for name, value in references(function).items():
            parts += [name, self.of(value)]
            if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] not in _FOREIGN:
                for attribute in names:
                    if attribute in vars(value):
                        parts += [attribute, self.of(vars(value)[attribute])]
        return hashlib.sha256(_joined(*parts)).digest()


@functools.cache
def _code(code: types.CodeType) -> bytes:
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, code.co_kwonlyargcount)
    constants = map(_Reader({}).of, code.co_consts)
    return hashlib.sha256(_joined(code.co_code, repr(names), *constants)).digest()


def _place(subject: Any) -> str:
    return f"{getattr(subject, '__module__', '')}.{subject.__qualname__}"


def _joined(*parts: str | bytes) -> bytes:
    """Several parts as one; their lengths keep neighbours apart."""
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(b"%d:%b" % (len(part), part) for part in encoded)
