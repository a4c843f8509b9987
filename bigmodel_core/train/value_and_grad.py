"""The loss and its gradients, for updating parameters other than by a training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bigmodel_core.graph import Graph
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.nn.given import check_model, inputs_of, network_of
from bigmodel_core.nn.gradients import Wanted, checked_names
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.ops.random import SEED, STEP
from bigmodel_core.plan import Program
from bigmodel_core.plan.growth import settled
from bigmodel_core.train.by_output import make_loss
from bigmodel_core.train.measured import measured
from bigmodel_core.train.objective import batch_inputs, goal_of


def value_and_grad(
    model: Layer | Network,
    loss: Any,
    *,
    seed: int = 0,
    device: str = "cpu",
    training: bool = False,
    wrt: Sequence[str] | None = None,
) -> Callable[..., tuple[float, dict[str, np.ndarray]]]:
    """A function of (x, y) that returns the loss and its gradients by parameter path; nothing is updated.

    It takes weights of samples, too: (x, y, weight), as a step of `compile` does. Numbers are given as they
    are computed, NaN and infinity included.

    Args:
        model, loss, seed, device: as for `compile`.
        training: whether layers compute as in training. Dropout then draws another mask at every call: the
            first call draws what the first step of `compile` with this seed draws, the second what the
            second does.
        wrt: what the gradients are for, as in `bm.gradients`: paths of layers and parameters, names of inputs
            ("x"), as for adversarial examples; all trainable parameters if None.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> model = bm.layers.Dense(2)
    >>> loss, grads = bm.value_and_grad(model, "cross_entropy")(np.eye(2, dtype="float32"), np.array([0, 1]))
    >>> sorted(grads), grads["weight"].shape
    (['bias', 'weight'], (2, 2))
    """
    check_model(model)
    chosen = make_loss(loss)
    made: dict[str, Any] = {}

    def evaluate(x: Any, y: Any, weight: Any = None) -> tuple[float, dict[str, np.ndarray]]:
        inputs = inputs_of(model, x)
        if not made:
            network = network_of(model, inputs, seed, device)
            goal = goal_of(chosen, network, inputs, y, weight)
            graph = Graph()
            trace = network.traced_into(graph, training)
            value = measured(chosen, trace, goal).loss
            paths = [path for path in trace.values if trace.parameters[path].trainable]
            wanted = Wanted.named(network, trace, paths if wrt is None else checked_names(wrt))
            if wrt is not None:
                wanted.check_sources([value], "the loss")
            value, *values = settled([value, *wanted.values])
            with value.node.graph.active():
                found = gradients(value, values)
            made.update(
                network=network,
                goal=goal,
                wanted=wanted,
                program=Program(value.node.graph, [value, *found], device=network.device),
            )
        given = batch_inputs(made["network"], chosen, made["goal"], inputs, y, weight)
        made["calls"] = given[STEP] = made.get("calls", 0) + 1
        given[SEED] = seed
        value, *found = made["program"].run(made["network"].variables, given)
        return float(value), made["wanted"].packed(found)

    return evaluate
