"""The loss of each single sample, as a trained model has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.data.tree import filled, leaves
from bigmodel_core.errors import UsageError
from bigmodel_core.graph import Graph
from bigmodel_core.nn.loss import Loss, name_of
from bigmodel_core.nn.network import Network
from bigmodel_core.plan import Program
from bigmodel_core.train.batch_size import fitting_batch_size
from bigmodel_core.train.by_output import Losses
from bigmodel_core.train.objective import TARGET, goal_of
from bigmodel_core.train.samples import Samples

_BATCH = 256


def sample_losses(network: Network, loss: Loss | Losses, samples: Samples) -> np.ndarray:
    """The loss of each sample in inference, the mean over its entries: (n,) float64.

    Args:
        network: the model.
        loss: what says how wrong it is.
        samples: with targets; their weights do not count.

    Raises:
        UsageError: there are several losses, or the loss says nothing of single samples.
        ShapeError, DtypeError, DataError: the samples do not fit.
    """
    if isinstance(loss, Losses):
        raise UsageError("there are several losses.", where="loss", fix="name one: loss='cross_entropy'.")
    goal = goal_of(loss, network, samples.inputs, samples.labelled())
    samples = Samples(samples.inputs, samples.target).fitting(network, loss, goal)
    graph = Graph()
    trace = network.traced_into(graph, training=False)
    with trace.active():
        specs = leaves(goal.target).items()
        target = filled(goal.target, [graph.input(TARGET + path, spec) for path, spec in specs])
        each: Any = loss.each(trace.result, target)
        if each.ndim == 0:
            raise UsageError(
                f"{name_of(loss)} gives one number for all samples.",
                where="loss",
                fix="return the loss of each sample.",
            )
        each = each if each.ndim == 1 else ops.mean(each, tuple(range(1, each.ndim)))
    program = Program(graph, [each], device=network.device)
    found: list[np.ndarray] = []
    for part in samples.parts(fitting_batch_size(network, len(samples), None, _BATCH), 0):
        given: dict[str, Any] = dict(zip(network.input_names, part.inputs, strict=True))
        given.update({TARGET + path: array for path, array in leaves(part.labelled()).items()})
        found += program.run(network.variables, given)
    return np.concatenate(found).astype(np.float64)
