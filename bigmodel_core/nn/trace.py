"""A model's graph while its definition is called: which layer runs, and which parameters it asks for."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import GraphError, ShapeError, close_matches
from bigmodel_core.graph import Graph, Op, Value, graph_of, place
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.nn.adapting import Adapting
from bigmodel_core.nn.outputs import Form
from bigmodel_core.nn.parameters import Holder, Parameter, holder_of
from bigmodel_core.nn.patterns import Patterns, patterns_of
from bigmodel_core.nn.places import Call, own_defaults
from bigmodel_core.ops.carried import Carried, carried
from bigmodel_core.ops.low_rank import LowRankSum

if TYPE_CHECKING:
    from bigmodel_core.nn.layer import Layer


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
        carried: the states that layers carry from call to call, by path, as they are when a call begins.
        carried_updates: their values for the next call, by path, of those that layers assign.
        inputs: the model's inputs.
        outputs: the model's outputs.
        form: how the model returns them.
        owners: by path of a parameter, what the layer that asked for it owns, and the parameter's name there.
        layers: by path, the layer that was first called there, and with what specs; None for other arguments.
        results: by path, what the layer there returned, call by call.
        frozen: the paths of layers that compute as in inference; layers inside them do, too.
    """

    graph: Graph
    training: bool
    dtype: str = "float32"
    parameters: dict[str, Parameter] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    updates: dict[str, Value] = field(default_factory=dict)
    carried: dict[str, Value] = field(default_factory=dict)
    carried_updates: dict[str, Value] = field(default_factory=dict)
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    form: Form = field(default_factory=Form)
    owners: dict[str, tuple[Holder, str]] = field(default_factory=dict)
    layers: dict[str, tuple[Layer, tuple[Spec, ...] | None]] = field(default_factory=dict)
    results: dict[str, list[Any]] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()
    _freezing: int = 0
    _adapting: list[Adapting] = field(default_factory=list)
    _places: dict[int, tuple[str, Holder]] = field(default_factory=dict)
    _alive: list[Layer] = field(default_factory=list)
    _stack: list[Call] = field(default_factory=list)

    @property
    def result(self) -> Any:
        """The outputs as the model returned them."""
        return self.form.pack(self.outputs)

    @property
    def is_frozen(self) -> bool:
        """Whether the layer whose call runs is frozen."""
        path = self.graph.path
        return self._freezing > 0 or any(
            not above or path == above or path.startswith(f"{above}/") for above in self.frozen
        )

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
    def continued(self, layer: Layer) -> Iterator[None]:
        """Ops made inside belong to a layer that was called before, as if its call went on.

        Raises:
            GraphError: it was not called.
        """
        if id(layer) not in self._places:
            raise GraphError(
                f"the loss is a method of a {type(layer).__name__} that is no part of the model.",
                fix="pass a method of the model, or of a layer inside it.",
            )
        with self.entered(layer):
            yield

    @contextmanager
    def entered(self, layer: Layer, inputs: Sequence[Any] = (), *, is_plain: bool = False) -> Iterator[None]:
        """Ops and parameters made inside belong to this layer.

        Args:
            layer: it is called.
            inputs: on what.
            is_plain: whether on nothing else.
        """
        # A method of a base class, or a layer inside itself, continues the call: names go on counting.
        for call in reversed(self._stack):
            if call.layer is layer:
                break
        else:
            own_defaults(layer)
            call = Call(layer, *self._placed(layer))
            if call.path not in self.layers:
                plain = is_plain and all(isinstance(item, Value) for item in inputs)
                self.layers[call.path] = layer, tuple(item.spec for item in inputs) if plain else None
        self._stack.append(call)
        try:
            with self.graph.scope(call.path, type(layer).__name__):
                yield
        finally:
            self._stack.pop()

    def returned(self, result: Any) -> None:
        """Note what a call returns to the layer that called, once all that continues the call is done."""
        call = self._stack[-1]
        if self._stack.count(call) == 1:
            self.results.setdefault(call.path, []).append(result)

    def _placed(self, layer: Layer) -> tuple[str, Holder]:
        """The path of a layer, and what it owns.

        A layer that is in no field of its parent and was given no name is named by its kind and number.
        Numbers start anew with each call of the parent: called twice, it meets the same names, and shares
        what it makes, too.
        """
        known = self._places.get(id(layer))
        if not self._stack:
            return known or self._put(layer, "", holder_of(layer))
        parent = self._stack[-1]
        name = parent.field_of(layer)
        if name is None and (known is None or known[0].rpartition("/")[0] == parent.path):
            name = parent.given_name(layer)
            if name is None and id(layer) not in parent.met:
                name = parent.counted(layer)
        if known is not None:
            return known
        assert name is not None
        own: Holder | None = layer.__dict__.get("_holder")
        if own is None:
            own = parent.holder.at(name)
            object.__setattr__(layer, "_holder", own)
        parent.holder.parts[name] = own
        return self._put(layer, f"{parent.path}/{name}".lstrip("/"), own)

    def _put(self, layer: Layer, path: str, holder: Holder) -> tuple[str, Holder]:
        self._alive.append(layer)  # an id may be used again once its object is gone
        self._places[id(layer)] = path, holder
        return path, holder

    # Parameters ------------------------------------------------------------------------------------------

    def request(self, parameter: Parameter) -> Value:
        """A parameter that the layer whose call runs asks for, as a value.

        Raises:
            ShapeError: it was asked for with another spec.
        """
        call, path = self._stack[-1], parameter.path
        inside = path[len(call.path) :].lstrip("/")
        above, _, name = inside.rpartition("/")
        holder = call.holder.at(above)
        if not self._adapting:
            return self._requested(holder, name, parameter)
        adapting = self._adapting[-1]
        whole = self._requested(holder, name, replace(parameter, trainable=False))
        if not adapting.takes(parameter):
            return whole
        narrow = [
            self._requested(holder, part.path.rpartition("/")[2], part) for part in adapting.parts(parameter)
        ]
        return LowRankSum(adapting.scale, self.training, adapting.dropout)(whole, *narrow)

    def _requested(self, holder: Holder, name: str, parameter: Parameter) -> Value:
        path, known = parameter.path, self.parameters.get(parameter.path)
        if path in self.carried:
            raise _two_things(path)
        if known is not None and known.spec != parameter.spec:
            raise ShapeError(
                f"the shared parameter '{name}' is {format_shape(known.spec.shape)} and cannot also be"
                f" {format_shape(parameter.spec.shape)}.",
                fix="a layer that is called twice needs inputs of the same width.",
                where=place(self.graph.path, self.graph.layer),
            )
        self.parameters.setdefault(path, parameter)
        self.owners[path] = holder, name
        if path not in self.values:
            self.values[path] = self.graph.variable(path, parameter.spec)
        return self.updates.get(path, self.values[path])

    def parameter_of(self, layer: Layer, name: str) -> Value | None:
        """A parameter of another layer, as a value; None if that has none of the name."""
        if not self._stack and id(layer) not in self._places:
            return None
        path, holder = self._places.get(id(layer)) or self._placed(layer)
        path = f"{path}/{name}".lstrip("/")
        if path in self.parameters:
            return self.updates.get(path, self.values[path])
        if name in holder.own:  # it was built before, and is called later here, or not at all
            known = holder.own[name].parameter
            spec = known.spec.with_dtype(self.dtype) if known.spec.is_float else known.spec
            return self._requested(holder, name, replace(known, path=path, spec=spec))
        return None

    # State ----------------------------------------------------------------------------------------------

    def carry(self, path: str, spec: Spec, initial: Value | np.ndarray | float) -> Value:
        """The state at a path, as it is now.

        Args:
            path: of the layer, and the state's name there.
            spec: what it is; the batch stays a free dimension.
            initial: what it begins with.

        Raises:
            ShapeError, DtypeError: it was asked for as something else, or the initial value does not fit.
            GraphError: a parameter has the path.
        """
        if path in self.parameters:
            raise _two_things(path)
        self._check_outside(initial, path.rpartition("/")[2])
        value = carried(self.graph, path, spec, initial)
        known = self.carried.setdefault(path, value)
        if known is not value:
            raise ShapeError(
                f"the state is {known.spec} and cannot also be {value.spec}, or begin with something else.",
                fix="a layer that is called twice needs inputs of the same width.",
                where=path,
            )
        return self.carried_updates.get(path, known)

    def assign(self, path: str, value: Value) -> None:
        """The new value of a state or of a parameter.

        Raises:
            GraphError: there is neither at the path, or the value is none.
            ShapeError: the value has another shape or number type.
        """
        known = self.carried.get(path, self.values.get(path))
        above, _, name = path.rpartition("/")
        if known is None:
            here = [one.rpartition("/") for one in (*self.carried, *self.parameters)]
            names = [one for place, _, one in here if place == above]
            near = close_matches(name, names, n=3, cutoff=0.3) or names[:5]
            raise GraphError(
                f"'{name}' is neither a state nor a parameter of this layer.",
                fix=f"use one of {', '.join(near)}."
                if near
                else "ask for it first: self.carried(name, shape).",
                where=place(self.graph.path, self.graph.layer) or None,
            )
        self._check_outside(value, name)
        if not isinstance(value, Value) or value.spec != known.spec:
            found = value.spec if isinstance(value, Value) else type(value).__name__
            raise ShapeError(
                f"'{name}' is {known.spec} and cannot become {found}.",
                fix="assign a Value of the same shape and number type.",
                where=place(self.graph.path, self.graph.layer) or None,
            )
        self.reassign(path, value)

    def _check_outside(self, value: Any, name: str) -> None:
        """Refuse a value that is another one at each step of a loop."""
        if isinstance(value, Value) and value.node.graph.is_inside(self.graph):
            raise GraphError(
                f"'{name}' cannot be set inside of the body of a scan.",
                fix="carry it: ops.scan(body, (carry, state), xs), and set it behind the loop;"
                " a BatchNorm there must be frozen.",
                where=place(self.graph.path, self.graph.layer) or None,
            )

    def reassign(self, path: str, value: Value) -> None:
        """The new value of a state or of a parameter, as another trace has it; a frozen parameter keeps its
        own."""
        if path in self.carried:
            self.carried_updates[path] = value
        elif not self.is_frozen:
            self.updates[path] = value

    def applied(self, op: Op, inputs: Sequence[Value], here: Callable[[str], str]) -> tuple[Value, ...]:
        """An op of another trace, applied in this one.

        Args:
            op: no leaf.
            inputs: values of this trace.
            here: gives the path here of a path there.
        """
        if isinstance(op, Carried):
            return (self.carry(here(op.path), inputs[0].spec.with_shape(op.shape), inputs[0]),)
        return graph_of(inputs).apply(op, inputs).outputs


def _two_things(path: str) -> GraphError:
    return GraphError(
        "a state and a parameter have the same name.", fix="give the state another name.", where=path
    )


_current: contextvars.ContextVar[Trace | None] = contextvars.ContextVar("trace", default=None)


def current_trace() -> Trace:
    """The trace that is being built.

    Raises:
        GraphError: no model is being built.
    """
    trace = _current.get()
    if trace is None:
        raise GraphError(
            "a layer was called on Values, or asked for a parameter or a mode, while no model is built.",
            fix="call the outermost layer on NumPy arrays or a Spec.",
        )
    return trace


@contextmanager
def freezing() -> Iterator[None]:
    """Layers called inside are frozen: they compute as in inference, and no step changes their parameters.

    Only inside `Layer.__call__`; `bm.layers.Frozen` is a layer that does this.
    """
    trace = current_trace()
    trace._freezing += 1
    try:
        yield
    finally:
        trace._freezing -= 1


@contextmanager
def adapting(pattern: Patterns, rank: int, scale: float, dropout: float = 0.0) -> Iterator[Adapting]:
    """Weights that layers inside ask for stay as they are, and some get the product of two narrow matrices
    added, which learn in their place (Hu et al., 2021).

    Only inside `Layer.__call__`; `bm.layers.LoRA` is a layer that does this.

    Args:
        pattern: which weights, by the paths of parameters or of their layers, as in "*/query".
        rank: how narrow.
        scale: what the product counts.
        dropout: in training, the probability that a number that meets the first matrix is dropped.

    Raises:
        UnknownNameError: a pattern matches no weight.
    """
    trace = current_trace()
    made = Adapting(patterns_of(pattern, "pattern"), rank, scale, trace.graph.path, dropout)
    trace._adapting.append(made)
    try:
        yield made
    finally:
        trace._adapting.pop()
    made.check()


@contextmanager
def recomputing() -> Iterator[None]:
    """What layers inside compute is not kept for gradients, which compute it again: a training step needs
    less memory, and a third more time for them (Chen et al., 2016). Numbers stay the same, but for rounding.

    Only inside `Layer.__call__`; `bm.layers.Recompute` is a layer that does this.
    """
    trace = current_trace()
    with trace.graph.recomputing() if trace.training else nullcontext():
        yield


def is_tracing() -> bool:
    """Whether a model is being built."""
    return _current.get() is not None
