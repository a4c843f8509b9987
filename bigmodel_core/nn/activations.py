"""What the layers inside of a model return for some inputs: `bm.activations`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.nn.given import check_model, inputs_of, network_of
from bigmodel_core.nn.gradients import checked_names, returned_at, unknown_place
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import Form
from bigmodel_core.nn.parts import known_parts
from bigmodel_core.nn.trace import Trace
from bigmodel_core.plan import Program


def activations(model: Layer | Network, x: Any, of: str | Sequence[str] | None = None) -> Any:
    """What the layers inside of a model return for a batch, in inference mode.

    Args:
        model: a layer; it is built for `x` unless it is built already.
        x: a batch, as the model takes it: an array, or a tuple of several inputs.
        of: the path of a layer, or a sequence of some; all layers if None, except those that are called
            several times.

    Returns:
        An array, or for several layers a dict of arrays by path, in the order of the calls. A layer that
        returns several values has them in their form.

    Raises:
        UnknownNameError: there is no such layer; the message lists the nearest.
        GraphError: a layer that is named is called several times, on different values.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> model = bm.Sequential(bm.layers.Dense(8), bm.layers.Relu(), bm.layers.Dense(3))
    >>> x = np.ones((5, 4), "float32")
    >>> {path: array.shape for path, array in activations(model, x).items()}
    {'dense_1': (5, 8), 'relu_1': (5, 8), 'dense_2': (5, 3)}
    >>> float(activations(model, x, "relu_1").min()) >= 0
    True
    """
    check_model(model)
    inputs = inputs_of(model, x)
    network = network_of(model, inputs, 0, "cpu")
    names = None if of is None else (of,) if isinstance(of, str) else checked_names(of)
    watched: _Watched = network.made_once(("activations", names), lambda: _Watched.made(network, names))
    found = watched.run(network, inputs)
    return found[of] if isinstance(of, str) else found


@dataclass(frozen=True, eq=False)
class _Watched:
    """The program of what some layers return, and the form of each."""

    program: Program
    forms: dict[str, tuple[Form, int]]

    @classmethod
    def made(cls, network: Network, names: Sequence[str] | None) -> _Watched:
        graph = Graph()
        trace = network.traced_into(graph, training=False)
        forms, values = dict[str, tuple[Form, int]](), list[Value]()
        for name in _paths(network, trace) if names is None else names:
            try:
                found = returned_at(trace, name)
            except GraphError:
                if names is not None:
                    raise
                continue
            if found is None and names is not None:
                raise unknown_place(name, known_parts(network), "layer")
            if found is not None:
                forms[name] = found[0], len(found[1])
                values += found[1]
        return cls(Program(graph, values, device=network.device), forms)

    def run(self, network: Network, inputs: Sequence[Any]) -> dict[str, Any]:
        given = {**network.check_inputs(inputs), **network.drawing(self.program)}
        arrays = iter(self.program.run(network.variables, given))
        return {
            name: form.pack([next(arrays) for _ in range(count)])
            for name, (form, count) in self.forms.items()
        }


def _paths(network: Network, trace: Trace) -> list[str]:
    """The layers inside of a model, in the order in which their calls end; of a loaded model, the places
    where ops are."""
    if len(trace.results) > 1:
        return [path for path in trace.results if path]
    places = dict.fromkeys(node.path for node in trace.graph.nodes if node.path)
    return list(places)
