"""The sum of a batch's clipped gradients, as a program: a loop that differentiates sample by sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.data.tree import filled, leaves
from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.op import current_graph
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.outputs import taken_apart
from bigmodel_core.nn.trace import Trace
from bigmodel_core.ops.carried import carried
from bigmodel_core.ops.linear import MatMul
from bigmodel_core.ops.squares import SumOfSquares
from bigmodel_core.plan import Program
from bigmodel_core.train.measured import Measured, measured_in
from bigmodel_core.train.objective import TARGET, WEIGHTS
from bigmodel_core.train.step_programs import StepPrograms

SAMPLES = "samples_of_the_batch"
"""The dimension that the loop goes over."""


def clipped_sums(programs: StepPrograms, clip: float) -> Program:
    """Gives the losses of the samples, (N,), then those of outputs, if there are several, each (N,); then for
    each trained parameter the sum of the gradients, each scaled so that the norm of all of a sample together
    is at most `clip`.

    The body of the loop is the model on one sample, so that whatever the layers do, no sample has a part in
    the gradient of another, and memory is that of one sample.

    Args:
        programs: of the step.
        clip: the largest norm.

    Raises:
        GraphError: the samples cannot be told apart.
    """
    programs.check_samples_apart()
    network, goal, graph = programs.network, programs.goal, Graph()
    trace = _Trace(graph, True, network.dtype, frozen=programs.frozen_layers)
    specs = dict(zip(network.input_names, network.inputs, strict=True))
    specs.update({TARGET + path: spec for path, spec in leaves(goal.target).items()})
    specs.update({WEIGHTS + path: spec for path, spec in leaves(goal.weight).items()})
    given = {
        name: graph.input(name, spec.with_shape((SAMPLES, *spec.shape)) if spec.ndim else spec)
        for name, spec in specs.items()
    }
    of_samples = {name: value for name, value in given.items() if value.ndim}
    trained = programs.groups.trained
    batch = next((spec.shape[0] for spec in network.inputs if spec.ndim), None)

    def one(sums: dict[str, Value], parts: dict[str, Value]) -> tuple[dict[str, Value], list[Value]]:
        sample = {**given, **parts}
        result = network.layer(*(sample[name] for name in network.input_names))
        form, outputs = taken_apart(result, type(network.layer).__name__)
        target = filled(goal.target, [sample[TARGET + path] for path in leaves(goal.target)])
        weight = filled(goal.weight, [sample[WEIGHTS + path] for path in leaves(goal.weight)])
        named = dict(zip(form.names_of(len(outputs)), outputs, strict=True))
        found = measured_in(programs.loss, form.pack(outputs), named, target, weight, trace)
        loss = _of_sample(found)
        wanted = [loss.node.graph.here(trace.values[path]) for path in trained]
        each = dict(zip(trained, gradients(loss, wanted), strict=True))
        return _added(sums, each, clip, batch), [loss, *found.parts.values()]

    with trace.active():
        zeros = {
            path: ops.broadcast_to(graph.constant(0.0, spec.dtype), spec.sizes)
            for path, spec in trained.items()
        }
        sums, losses = ops.scan(one, zeros, of_samples)
    results = [*losses, *sums.values()]
    return Program(graph, results, {}, results, device=network.device)


class _Trace(Trace):
    """The trace of a model in the body of the loop: states that layers carry begin anew with each sample, and
    what they would carry on is dropped, as by a training step."""

    def carry(self, path: str, spec: Spec, initial: Value | np.ndarray | float) -> Value:
        known = self.carried.setdefault(path, carried(current_graph(), path, spec, initial))
        return self.carried_updates.get(path, known)

    def assign(self, path: str, value: Value) -> None:
        if path in self.carried:
            self.carried_updates[path] = value
        else:
            super().assign(path, value)


def _of_sample(found: Measured) -> Value:
    """The loss of a sample: the mean over its entries, in which those that are weighted count by that, and
    those that are ignored as 0. The mean over what counts alone would take weights out again."""
    if not found.counted:
        return found.loss
    if found.parts:
        raise GraphError(
            "several losses, of which some weigh or ignore entries, have no sum for one sample.",
            where="loss",
            fix="train with privacy without weights, class_weight and ignore.",
        )
    return found.loss * ops.mean(found.counts[""])


def _added(sums: dict[str, Value], each: dict[str, Value], clip: float, batch: Any) -> dict[str, Value]:
    """The sums with the gradients of one more sample, clipped."""
    total: Any = 0.0
    for value in each.values():
        factors = _outer(value, batch)
        squares = [SumOfSquares()(factor) for factor in factors or (value,)]
        total = total + (squares[0] * squares[1] if factors else squares[0])
    factor = ops.minimum(clip / ops.sqrt(total), 1.0)  # of gradients of 0: of infinity and 1
    found = {}
    for path, value in each.items():
        scale = factor.astype(value.dtype)
        factors = _outer(value, batch)
        scaled = MatMul(True, False)(factors[0] * scale, factors[1]) if factors else value * scale
        found[path] = sums[path] + scaled
    return found


def _outer(value: Value, batch: Any) -> tuple[Value, Value] | None:
    """The rows of which a gradient is the outer product, as that of a dense layer's weight is for one sample:
    its norm is then the product of theirs, and it need not be made before it is clipped."""
    node = value.node
    if node.op == MatMul(True, False) and node.inputs[0].shape[0] == node.inputs[1].shape[0] == batch:
        return node.inputs[0], node.inputs[1]
    return None
