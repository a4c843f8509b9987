"""A model's graph while its definition is called: which layer runs, and which parameters it asks for."""

from __future__ import annotations

import contextvars
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.outputs import Form

if TYPE_CHECKING:
    from bigmodel_core.nn.layer import Layer

Initializer = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""Draws the first values of a parameter from a generator and a shape."""


@dataclass(frozen=True)
class Parameter:
    """An array that belongs to a built model.

    Args:
        path: the path of the layer that requested it, and its name there.
        spec: shape (integers only) and number type.
        initial: how its first values are drawn: the name of an initializer, a number, or a function.
        trainable: whether optimizers change it; what is not trainable changes by `Layer.assign` alone.
    """

    path: str
    spec: Spec
    initial: str | float | Initializer
    trainable: bool = True


@dataclass
class Trace:
    """The graph that a model's definition gave, in one mode.

    Args:
        graph: the graph.
        training: whether layers were asked to behave as in training.
        dtype: the number type of parameters that do not say theirs.
        parameters: what layers asked for, by path.
        values: the parameters as values of the graph, by path.
        updates: the new values of parameters that layers assign, by path.
        inputs: the model's inputs.
        outputs: the model's outputs.
        form: how the model returns them.
    """

    graph: Graph
    training: bool
    dtype: str = "float32"
    parameters: dict[str, Parameter] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    updates: dict[str, Value] = field(default_factory=dict)
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    form: Form = field(default_factory=Form)
    _paths: dict[int, str] = field(default_factory=dict)
    _alive: list[Layer] = field(default_factory=list)
    _stack: list[Layer] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    @property
    def result(self) -> Any:
        """The outputs as the model returned them."""
        return self.form.pack(self.outputs)

    @contextmanager
    def active(self) -> Iterator[Trace]:
        """Layers called inside build this trace."""
        token = _current.set(self)
        try:
            with self.graph.active():
                yield self
        finally:
            _current.reset(token)

    @contextmanager
    def entered(self, layer: Layer) -> Iterator[None]:
        """Ops and parameters made inside belong to this layer."""
        path = self._path(layer)
        self._stack.append(layer)
        try:
            with self.graph.scope(path, type(layer).__name__):
                yield
        finally:
            self._stack.pop()

    def _path(self, layer: Layer) -> str:
        if id(layer) in self._paths:
            return self._paths[id(layer)]
        if not self._stack:
            path = ""
        else:
            parent = self._stack[-1]
            name = _field_name(parent, layer) or self._counted(
                self._paths[id(parent)], _snake(type(layer).__name__)
            )
            path = f"{self._paths[id(parent)]}/{name}".lstrip("/")
        self._paths[id(layer)] = path
        self._alive.append(layer)  # an id may be used again once its object is gone
        return path

    def _counted(self, parent: str, name: str) -> str:
        key = f"{parent}/{name}"
        holder = self._stack[-1]
        taken: set[str] = {item.name for item in fields(holder)} if is_dataclass(holder) else set()
        while True:
            self._counts[key] = self._counts.get(key, 0) + 1
            if f"{name}_{self._counts[key]}" not in taken:
                return f"{name}_{self._counts[key]}"


_current: contextvars.ContextVar[Trace | None] = contextvars.ContextVar("trace", default=None)


def current_trace() -> Trace:
    """The trace that is being built.

    Raises:
        GraphError: no model is being built.
    """
    trace = _current.get()
    if trace is None:
        raise GraphError(
            "a layer was called on Values while no model is built.",
            fix="call the outermost layer on NumPy arrays or a Spec.",
        )
    return trace


def is_tracing() -> bool:
    """Whether a model is being built."""
    return _current.get() is not None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().strip("_")


def _field_name(parent: Layer, layer: Layer) -> str | None:
    names: list[str] = [item.name for item in fields(parent)] if is_dataclass(parent) else []
    return next((name for name in names if getattr(parent, name, None) is layer), None)
