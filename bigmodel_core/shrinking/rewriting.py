"""A built model with other parameters or steps: its graphs, op by op, as a checkpoint would hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bigmodel_core.graph import Node, Op, Value, Variable, needed
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.parameters import Parameter
from bigmodel_core.nn.trace import Trace
from bigmodel_core.train.checkpoint_graph import Reference, SavedGraph, SavedNode
from bigmodel_core.train.described import described
from bigmodel_core.train.restored import About, RestoredModel, SavedNumbers


@dataclass(eq=False)
class Rewriting:
    """A graph that is written anew, node by node.

    Args:
        arrays: the parameters, by path.
        nodes: what is written so far.
    """

    arrays: Mapping[str, np.ndarray]
    nodes: list[SavedNode] = field(default_factory=list)
    _made: dict[Value, Reference] = field(default_factory=dict)
    _variables: dict[str, Reference] = field(default_factory=dict)

    def add(self, op: Op, inputs: Sequence[Reference], like: Node) -> Reference:
        """Write a step in the place of a node, which has one output.

        Args:
            op: what is applied.
            inputs: to what.
            like: whose layer it belongs to.
        """
        part = like.graph.recomputed.get(like.index)
        self.nodes.append(SavedNode(op, tuple(inputs), like.path, like.layer, part))
        return len(self.nodes) - 1, 0

    def variable(self, path: str, like: Node) -> Reference:
        """A parameter, written once."""
        if path not in self._variables:
            array = self.arrays[path]
            op = Variable(path, Spec(array.shape, array.dtype.name))
            self._variables[path] = self.add(op, (), like)
        return self._variables[path]

    def here(self, value: Value) -> Reference:
        """What stands for a value of the graph that is read."""
        op = value.node.op
        if isinstance(op, Variable) and value not in self._made:
            self._made[value] = self.variable(op.path, value.node)
        return self._made[value]

    def stands_for(self, node: Node, number: int) -> None:
        """The outputs of a step stand for those of a node."""
        self._made.update((value, (number, value.number)) for value in node.outputs)


Write = Callable[[Rewriting, Node], Op | int]
"""Writes a node: gives its new op, or the number of the last of several steps that stand for it."""


def rewritten(
    network: Network, arrays: Mapping[str, np.ndarray], write: Write, how: Mapping[str, Any]
) -> RestoredModel:
    """A copy of a model with other parameters, and other steps; it is built.

    Args:
        network: the model.
        arrays: the parameters of the copy, by path.
        write: what becomes of each step.
        how: what was done, for the model's description.
    """
    trainable = {path: parameter.trainable for path, parameter in network.parameters.items()}
    parameters = {
        path: Parameter(
            path, Spec(array.shape, array.dtype.name), SavedNumbers(array), trainable.get(path, True)
        )
        for path, array in arrays.items()
    }
    graphs = {mode: _graph(network.trace(mode), arrays, write) for mode in (True, False)}
    inputs = dict(zip(network.input_names, network.inputs, strict=True))
    before = described(network.layer)
    name = before.get("class") or str(before["name"]).rpartition(":")[2]
    config = {"class": name, "shrunk": [*before.get("shrunk", []), dict(how)]}
    found = RestoredModel(inputs, parameters, graphs, About(config, network.encoding))
    found.build(*network.inputs, seed=network.seed, dtype=network.dtype, device=network.device.name)
    found.network.encoding = network.encoding
    return found


def _graph(trace: Trace, arrays: Mapping[str, np.ndarray], write: Write) -> SavedGraph:
    to = Rewriting(arrays)
    assigned = {**trace.updates, **trace.carried_updates}
    for node in needed([*trace.outputs, *trace.inputs, *assigned.values()]):
        if isinstance(node.op, Variable):
            continue
        found = write(to, node)
        if isinstance(found, Op):
            found = to.add(found, [to.here(value) for value in node.inputs], node)[0]
        to.stands_for(node, found)
    for path, value in trace.values.items():  # what only the other mode uses
        if path in arrays:
            to.variable(path, value.node)
    return SavedGraph(
        tuple(to.nodes),
        tuple(to.here(value) for value in trace.outputs),
        trace.form,
        {path: to.here(value) for path, value in trace.updates.items()},
        {path: to.here(value) for path, value in trace.carried_updates.items()},
    )
