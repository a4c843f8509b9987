"""Gradients of a model's outputs, or of what a layer inside returns, for inputs, parameters and layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.data.arrays import as_array, cast
from bigmodel_core.errors import (
    DtypeError,
    GraphError,
    ShapeError,
    UnknownNameError,
    UsageError,
    close_matches,
    short,
)
from bigmodel_core.graph import Graph, Value, autodiff, needed
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.nn.given import check_model, inputs_of, network_of
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import Form, taken_apart
from bigmodel_core.nn.parts import known_parts, subgraph_at
from bigmodel_core.nn.trace import Trace
from bigmodel_core.plan import Program
from bigmodel_core.plan.growth import settled

WEIGHTS = "~weights"
"""What the names of the graph inputs that weight outputs begin with."""


def gradients(
    model: Layer | Network,
    x: Any,
    *,
    of: str | None = None,
    wrt: str | Sequence[str] | None = None,
    weights: Any = None,
) -> Any:
    """The gradients of a model's output, summed, in inference mode: saliency maps, sensitivities.

    Args:
        model: a layer; it is built for `x` unless it is built already.
        x: a batch, as the model takes it: an array, or a tuple of several inputs.
        of: what is differentiated: the path of a layer for what it returns, or the name of an output; by
            default all outputs.
        wrt: for what: the path of a layer for what it returns, the path of a parameter, the name of an input,
            or a sequence of those; by default the inputs.
        weights: what the numbers of the output are multiplied by before they are added up, of its shape or
            broadcast to it: `np.eye(10)[3]` gives the gradients of the score of class 3.

    Returns:
        An array of the shape of what `wrt` names; for a sequence a dict of them by path; by default one for
        each input, in a tuple if there are several, where integers have None. A layer that returns several
        values has as many gradients, in their form.

    Raises:
        UnknownNameError: there is no such layer, parameter, input or output; the message lists the nearest.
        GraphError: the one is not computed from the other, a layer named is called several times, or an op
            between has no gradient.
        DtypeError: it has no float type.
        ShapeError: the weights do not fit the output.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> model = bm.Sequential(bm.layers.Dense(8), bm.layers.Tanh(), bm.layers.Dense(3))
    >>> x = np.ones((5, 4), "float32")
    >>> bm.gradients(model, x, weights=[0, 1, 0]).shape
    (5, 4)
    >>> sorted(bm.gradients(model, x, wrt=["tanh_1", "dense_1/weight"]))
    ['dense_1/weight', 'tanh_1']
    """
    check_model(model)
    inputs = inputs_of(model, x)
    network = network_of(model, inputs, 0, "cpu")
    names = None if wrt is None else (wrt,) if isinstance(wrt, str) else checked_names(wrt)
    slopes: _Slopes = network.made_once(("gradients", of, names), lambda: _Slopes.made(network, of, names))
    found = slopes.run(network, inputs, weights)
    if names is None:
        arrays = tuple(found.get(name) for name in network.input_names)
        return arrays if len(arrays) > 1 else arrays[0]
    return found[names[0]] if isinstance(wrt, str) else found


def checked_names(wrt: Any) -> tuple[str, ...]:
    """What a user named to differentiate for.

    Raises:
        UsageError: it is no sequence of names.
    """
    names = tuple(wrt) if isinstance(wrt, Iterable) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"wrt is {short(wrt)}.", fix="pass a path, or a sequence of paths.")
    return names


@dataclass(frozen=True, eq=False)
class Wanted:
    """Values of a trace that are differentiated for, by the names that a user gave.

    Args:
        forms: by name, the form of what was named, and how many values it has.
        values: the floats among them, one after the other.
        places: which gradient belongs to each value of each name; None for one that is no float.
    """

    forms: Mapping[str, Form]
    places: Mapping[str, tuple[int | None, ...]]
    values: tuple[Value, ...]

    @classmethod
    def named(cls, network: Network, trace: Trace, names: Sequence[str]) -> Wanted:
        """The values of some names.

        Raises:
            UnknownNameError: there is no such layer, parameter or input.
            GraphError: a layer is called several times, or a parameter is not trained.
            DtypeError: nothing of that name is a float.
        """
        given = dict(zip(network.input_names, trace.inputs, strict=True))
        forms: dict[str, Form] = {}
        places: dict[str, tuple[int | None, ...]] = {}
        values: list[Value] = []
        for name in names:
            single = {**given, **trace.values}.get(name.strip("/"))
            found = returned_at(trace, name) or (None if single is None else (Form(), (single,)))
            if found is None:
                raise unknown_place(
                    name, {*known_parts(network), *trace.values, *given}, "layer, parameter or input"
                )
            parameter = trace.parameters.get(name.strip("/"))
            if parameter is not None and not parameter.trainable:
                raise GraphError(
                    f"'{name}' is a parameter that is not trained: frozen, or a moment of a normalisation; it"
                    " has no gradient.",
                    fix="name parameters that are trained.",
                )
            forms[name], items = found
            if not any(value.spec.is_float for value in items):
                raise DtypeError(
                    f"'{name}' has the type {items[0].dtype}, and only floats have gradients.",
                    fix="differentiate for what is computed from it, such as the path of an embedding.",
                )
            start, floats = len(values), [value for value in items if value.spec.is_float]
            numbers = iter(range(start, start + len(floats)))
            places[name] = tuple(next(numbers) if value.spec.is_float else None for value in items)
            values += floats
        return cls(forms, places, tuple(values))

    def check_sources(self, goals: Sequence[Value], what: str) -> None:
        """Raise GraphError unless goals are computed from the values of each name."""
        known = {id(value) for node in needed(goals) for value in node.outputs}
        for name, numbers in self.places.items():
            if not any(id(self.values[number]) in known for number in numbers if number is not None):
                raise GraphError(
                    f"{what} is not computed from '{name}'.", fix="name what comes before it in the model."
                )

    def packed(self, arrays: Sequence[np.ndarray]) -> dict[str, Any]:
        """Gradients of the values by name, in the form of what was named."""
        return {
            name: self.forms[name].pack([None if n is None else arrays[n] for n in numbers])
            for name, numbers in self.places.items()
        }


@dataclass(frozen=True, eq=False)
class _Slopes:
    """The gradients of a weighted sum as a program.

    Args:
        program: gives the gradients of `wanted`.
        wanted: what it is differentiated for.
        outputs: the specs of what is weighted and added up.
    """

    program: Program
    wanted: Wanted
    outputs: tuple[Spec, ...]

    @classmethod
    def made(cls, network: Network, of: str | None, names: Sequence[str] | None) -> _Slopes:
        graph = Graph()
        trace = network.traced_into(graph, training=False)
        outputs = [value for value in _differentiated(network, trace, of) if value.spec.is_float]
        what = "the output" if of is None else f"'{of}'"
        if not outputs:
            raise DtypeError(
                f"{what} has no float type.", fix="differentiate scores, before argmax or a comparison."
            )
        if names is None:
            floats = [
                name for name, spec in zip(network.input_names, network.inputs, strict=True) if spec.is_float
            ]
            if not floats:
                raise DtypeError(
                    "the model has no float input, and integers have no gradients.",
                    fix="pass wrt: the path of a layer, such as an embedding, or of a parameter.",
                )
            wanted = Wanted.named(network, trace, floats)
        else:
            wanted = Wanted.named(network, trace, names)
            wanted.check_sources(outputs, what)
        values = settled([*outputs, *wanted.values])
        outputs, graph = values[: len(outputs)], values[0].node.graph
        with graph.active():
            goal, *more = (
                ops.sum(value * graph.input(f"{WEIGHTS}{number}", value.spec))
                for number, value in enumerate(outputs)
            )
            for part in more:
                goal = goal + part
            found = autodiff.gradients(goal, values[len(outputs) :])
        program = Program(graph, found, device=network.device)
        return cls(program, wanted, tuple(value.spec for value in outputs))

    def run(self, network: Network, inputs: Sequence[Any], weights: Any) -> dict[str, Any]:
        sizes: dict[str, int] = {}
        given: dict[str, Any] = dict(network.check_inputs(inputs, sizes))
        if weights is not None and len(self.outputs) > 1:
            raise UsageError(
                f"weights are for one output, and there are {len(self.outputs)}.", fix="name one: of=..."
            )
        for number, spec in enumerate(self.outputs):
            given[f"{WEIGHTS}{number}"] = _weights(1.0 if weights is None else weights, spec.bind(sizes))
        return self.wanted.packed(self.program.run(network.variables, given))


def _weights(weights: Any, spec: Spec) -> np.ndarray:
    array = cast(as_array(weights, "array of weights"), spec.dtype, "array of weights")
    try:
        return np.ascontiguousarray(np.broadcast_to(array, spec.sizes))
    except ValueError:
        raise ShapeError(
            f"the weights are {format_shape(array.shape)}, and the output is {format_shape(spec.shape)}.",
            fix="pass a weight for each number of the output, or what broadcasts to it.",
        ) from None


def _differentiated(network: Network, trace: Trace, of: str | None) -> tuple[Value, ...]:
    if of is None:
        return trace.outputs
    named = dict(zip(network.output_names, trace.outputs, strict=True))
    if of in named:
        return (named[of],)
    found = returned_at(trace, of)
    if found is None:
        raise unknown_place(of, {*known_parts(network), *named}, "layer or output")
    return found[1]


def returned_at(trace: Trace, path: str) -> tuple[Form, tuple[Value, ...]] | None:
    """What the layer at a path returns; of a loaded model, in which there are no layers, what is used of what
    is computed there. None if there is no such path."""
    wanted = path.strip("/")
    if not wanted or wanted in trace.values:
        return None
    calls = trace.results.get(wanted)
    if calls is None:
        outputs = subgraph_at(trace, wanted).outputs
        return (Form("single" if len(outputs) == 1 else "tuple"), outputs) if outputs else None
    found = {values: form for form, values in (taken_apart(result, wanted) for result in calls)}
    if len(found) > 1:
        raise GraphError(
            f"it is called {len(found)} times, on different values.",
            fix="use ops.gradients inside the model, where each value is at hand.",
            where=wanted,
        )
    ((values, form),) = found.items()
    return form, values


def unknown_place(name: str, known: set[str], kind: str) -> UnknownNameError:
    """The error about a name that nothing in a model has."""
    near = close_matches(name, sorted(known), n=3, cutoff=0.3) or sorted(known)[:5]
    return UnknownNameError(f"the model has no {kind} '{name}'.", fix=f"use one of {', '.join(near)}.")
