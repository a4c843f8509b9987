"""Whether training diverged: it ended with a loss far above that of a model that knows nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bigmodel_core.errors import BigmodelError
from bigmodel_core.graph import Graph
from bigmodel_core.graph.spec import match
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.network import Network
from bigmodel_core.plan import Program
from bigmodel_core.train.job import Job
from bigmodel_core.train.run_state import RunState

_FAR = 5.0
"""How many times the loss of a model that knows nothing is far above it."""
_SAMPLES = 1000
"""Training samples that tell the loss of a model that knows nothing."""


def has_diverged(state: RunState, job: Job, network: Network, loss: Loss) -> bool:
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


def _loss_of_zeros(job: Job, network: Network, loss: Loss) -> float | None:
    """The loss of a model whose outputs are all 0; None if the loss takes no constant outputs."""
    target, spec = job.train.first(_SAMPLES).labelled(), job.evaluator.target
    sizes: dict[str, int] = {}
    match(spec.shape, target.shape, sizes)
    graph = Graph()
    try:
        given = {
            f"output {number}": np.zeros(
                [sizes[d] if isinstance(d, str) else d for d in out.shape], out.dtype
            )
            for number, out in enumerate(network.outputs)
        }
        values = [graph.input(name, out) for name, out in zip(given, network.outputs, strict=True)]
        goal = graph.input("target", spec)
        with graph.active():
            outputs: Any = values[0] if len(values) == 1 else tuple(values)
            value = loss(outputs, goal)
        program = Program(graph, [value], device=network.device)
        return float(program.run(network.variables, {**given, "target": target})[0])
    except (BigmodelError, KeyError, TypeError):  # a size that inputs alone have, a loss of another kind
        return None
