"""What explainers look at inside of a model: convolutions, the weights of attention, the first matrix."""

from __future__ import annotations

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import UsageError
from bigmodel_core.explaining.points import carrying
from bigmodel_core.graph import Graph, Node, Value, Variable, autodiff, needed
from bigmodel_core.nn.gradients import returned_at, unknown_place
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.parts import known_parts
from bigmodel_core.nn.probabilities import last_step, makes_probabilities
from bigmodel_core.nn.trace import Trace
from bigmodel_core.ops.attention import Attention
from bigmodel_core.ops.convolution import Conv2d, Conv3d
from bigmodel_core.ops.linear import Affine, MatMul
from bigmodel_core.plan import Program
from bigmodel_core.plan.growth import settled

WEIGHTS = "~weights"
"""The input by which programs multiply the output before its numbers are added up."""


def last_convolution(trace: Trace) -> str:
    """The path of the layer that convolves last.

    Raises:
        UsageError: none does.
    """
    found = [node for node in needed(trace.outputs) if isinstance(node.op, (Conv2d, Conv3d))]
    if not found:
        raise UsageError(
            "the model has no convolution.",
            fix="name a layer that returns feature maps, as in grad-cam:layer=PATH, or use another method,"
            " such as integrated-gradients.",
        )
    return found[-1].path


def first_filters(network: Network) -> tuple[str, np.ndarray] | None:
    """The path and the filters (K, C, H, W) of the layer that convolves first; None if none does."""
    for node in needed(network.trace(training=False).outputs):
        weight = node.inputs[1].node.op if isinstance(node.op, Conv2d) else None
        if isinstance(weight, Variable):
            return node.path, network.variables.read(weight.path)
    return None


def layer_program(network: Network, path: str, output: int) -> Program:
    """What a layer returns, and the gradient of a weighted output for it.

    Raises:
        UnknownNameError: there is no such layer.
        GraphError: it is called several times.
        UsageError: it returns several values, or none of floats.
    """
    trace = network.traced_into(Graph(), training=False)
    found = returned_at(trace, path)
    if found is None:
        raise unknown_place(path, known_parts(network), "layer")
    if len(found[1]) != 1 or not found[1][0].spec.is_float:
        raise UsageError(
            "it returns no single array of floats.", where=path, fix="name a layer inside of it."
        )
    value, scores = settled([*found[1], trace.outputs[output]])
    graph = value.node.graph
    with graph.active():
        goal = ops.sum(scores * graph.input(WEIGHTS, scores.spec))
        gradients = autodiff.gradients(goal, [value])
    return Program(graph, [value, *gradients], device=network.device)


def attention_program(network: Network) -> tuple[list[str], Program]:
    """The paths of all attention of a model, and the program of its weights. A layer that is called several
    times has its path several times, the later ones with a number.

    Raises:
        UsageError: the model has none.
    """
    trace = network.traced_into(Graph(), training=False)
    nodes = [node for node in needed(trace.outputs) if isinstance(node.op, Attention)]
    if not nodes:
        raise UsageError(
            "the model has no attention.", fix="use another method, such as integrated-gradients."
        )
    operands = iter(settled([value for node in nodes for value in node.inputs]))
    paths: list[str] = []
    weights: list[Value] = []
    for node in nodes:
        count = sum(path.partition("#")[0] == node.path for path in paths)
        paths.append(f"{node.path}#{count + 1}" if count else node.path)
        assert isinstance(node.op, Attention)
        own = [next(operands) for _ in node.inputs]
        with own[0].node.graph.scope(node.path, node.layer), own[0].node.graph.active():
            weights.append(node.op.weights(own))
    return paths, Program(weights[0].node.graph, weights, device=network.device)


def first_weight(network: Network) -> tuple[str, np.ndarray, bool]:
    """The matrix that a table of features is multiplied by first: its path, the matrix, and whether what it
    gives is the score that the model gives.

    Raises:
        UsageError: there is none.
    """
    trace = network.trace(training=False)
    nodes = needed(trace.outputs)
    given = trace.inputs[0]
    same = carrying(given, nodes)
    users = [node for node in nodes if any(id(value) in same for value in node.inputs)]
    users = [node for node in users if not (node.op.alias or id(node.outputs[0]) in same)]
    if len(trace.inputs) == 1 and len(users) == 1 and _is_product(users[0], same):
        (node,) = users
        assert isinstance(node.inputs[1].node.op, Variable)
        path = node.inputs[1].node.op.path
        return path, network.variables.read(path), _is_last(node, trace.outputs[0])
    raise UsageError(
        "its first layer does not multiply one table of features by a matrix.",
        fix="explain a model that begins with Dense, or use another method, such as permutation.",
    )


def _is_product(node: Node, same: set[int]) -> bool:
    """Whether it multiplies what is given, from the left, by a matrix that is a parameter."""
    if not isinstance(node.op, (Affine, MatMul)) or node.op not in (Affine(), MatMul()):
        return False
    weight = node.inputs[1]
    is_table = id(node.inputs[0]) in same and node.inputs[0].ndim == 2
    return is_table and isinstance(weight.node.op, Variable) and weight.ndim == 2


def _is_last(node: Node, output: Value) -> bool:
    """Whether the model's scores are what it gives, or probabilities of that."""
    last = last_step(output)
    return last is node or (makes_probabilities(output) and last_step(last.inputs[0]) is node)
