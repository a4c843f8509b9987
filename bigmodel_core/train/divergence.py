"""Whether training diverged: it ended with a loss far above that of a model that knows nothing."""

from __future__ import annotations

import math

import numpy as np

from bigmodel_core.data.tree import filled, leaves
from bigmodel_core.errors import BigmodelError
from bigmodel_core.graph import Graph
from bigmodel_core.graph.spec import match
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.network import Network
from bigmodel_core.plan import Program
from bigmodel_core.train.by_output import Losses
from bigmodel_core.train.job import Job
from bigmodel_core.train.measured import measured_in
from bigmodel_core.train.run_state import RunState

_FAR = 5.0
"""How many times the loss of a model that knows nothing is far above it."""
_SAMPLES = 1000
"""Training samples that tell the loss of a model that knows nothing."""


def has_diverged(state: RunState, job: Job, network: Network, loss: Loss | Losses) -> bool:
    """Whether the last epoch's loss is far above both the loss of the first step and that of outputs of 0.

    The first alone is no judge: the loss of a model that was good already may rise, and still be low.
    """
    if not state.history or state.first_loss is None:
        return False
    last = state.history[-1].get("loss")
    if not isinstance(last, float) or not is_far(last, state.first_loss):
        return False
    ignorant = _loss_of_zeros(job, network, loss)
    return ignorant is None or is_far(last, ignorant)


def is_far(loss: float, other: float | None) -> bool:
    """Whether a loss is far above another one; a loss that is not finite is."""
    if other is None:
        return False
    return not math.isfinite(loss) or loss - other > (_FAR - 1) * abs(other) + 1e-9


def _loss_of_zeros(job: Job, network: Network, loss: Loss | Losses) -> float | None:
    """The loss of a model whose outputs are all 0; None if the loss takes no constant outputs."""
    some, goal = job.train.first(_SAMPLES), job.evaluator.goal
    arrays = [*leaves(some.labelled()).values(), *leaves(some.weight).values()]
    specs = [*leaves(goal.target).values(), *leaves(goal.weight).values()]
    sizes: dict[str, int] = {}
    for spec, array in zip(specs, arrays, strict=True):
        match(spec.shape, array.shape, sizes)
    graph = Graph()
    try:
        given = {
            f"output {number}": np.zeros(
                [sizes[d] if isinstance(d, str) else d for d in out.shape], out.dtype
            )
            for number, out in enumerate(network.outputs)
        }
        values = [graph.input(name, out) for name, out in zip(given, network.outputs, strict=True)]
        names = goal.names()
        wanted = [graph.input(name, spec) for name, spec in zip(names, specs, strict=True)]
        count = len(leaves(goal.target))
        trees = filled(goal.target, wanted[:count]), filled(goal.weight, wanted[count:])
        with graph.active():
            form = network.trace(training=False).form
            outputs = dict(zip(network.output_names, values, strict=True))
            value = measured_in(loss, form.pack(values), outputs, *trees).loss
        program = Program(graph, [value], device=network.device)
        given.update({name: np.asarray(array) for name, array in zip(names, arrays, strict=True)})
        return float(program.run(network.variables, given)[0])
    except (BigmodelError, KeyError, TypeError):  # a size that inputs alone have, a loss of another kind
        return None
