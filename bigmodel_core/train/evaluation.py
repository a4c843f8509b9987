"""Loss and metrics of a model on samples, in inference mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.prefetch import DEFAULT_WORKERS
from bigmodel_core.graph import Graph
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.network import Network
from bigmodel_core.plan import Program
from bigmodel_core.registry import display_name
from bigmodel_core.train.metric import Metric
from bigmodel_core.train.objective import TARGET, loss_value
from bigmodel_core.train.samples import Samples

EVALUATION_BATCH = 256
"""Samples at a time if nobody says otherwise."""


def metric_names(metrics: Sequence[Metric]) -> list[str]:
    """The name of each metric in logs; a second one of the same name gets a number."""
    names: list[str] = []
    for metric in metrics:
        base = name = display_name(type(metric))
        number = 2
        while name in names:
            name, number = f"{base}_{number}", number + 1
        names.append(name)
    return names


def in_recorded_units(outputs: Any, encoding: Encoding | None) -> Any:
    """A model's outputs, or its targets, in the units of the recorded targets, if those were scaled.

    Args:
        outputs: (n, k) numbers; several outputs as a tuple stay as they are.
        encoding: of the training data.

    Returns:
        float64 if the numbers were scaled.
    """
    steps = None if encoding is None else encoding.target_preprocessing
    if steps is None or not isinstance(outputs, np.ndarray) or outputs.shape[1:] != steps.raw_shape:
        return outputs
    return steps.invert(outputs)


class Evaluator:
    """The inference graph of a model with a loss on top, run over samples.

    Args:
        network: the model.
        loss: the loss; its mean over all samples is reported.
        metrics: fed with the model's output and the targets.
        target: the spec of the targets.
        encoding: how the data became numbers; metrics are then taken in the units of the recorded targets,
            the loss in those of the model.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        metrics: Sequence[Metric],
        target: Spec,
        encoding: Encoding | None = None,
    ) -> None:
        self.network, self.target, self.encoding = network, target, encoding
        self.metrics = dict(zip(metric_names(metrics), metrics, strict=True))
        graph = Graph()
        trace = network.traced_into(graph, training=False)
        value = loss_value(loss, trace, graph.input(TARGET, target))
        self._form = trace.form
        outputs = trace.outputs if self.metrics else ()
        self._program = Program(graph, [value, *outputs], device=network.device)

    def __call__(self, samples: Samples, batch_size: int, workers: int = DEFAULT_WORKERS) -> dict[str, Any]:
        """The mean loss and the metrics, by name; floats, and nested lists for metrics that give an array.

        Raises:
            ShapeError, DtypeError, DataError: the samples do not fit the model, the loss or a metric.
        """
        states, total = self._run(samples, batch_size, workers)
        found: dict[str, Any] = {"loss": total / len(samples)}
        for name, metric in self.metrics.items():
            result = metric.result(states[name])
            found[name] = float(result) if np.ndim(result) == 0 else np.asarray(result).tolist()
        return found

    def check(self, samples: Samples, batch_size: int) -> None:
        """Raise unless samples fit the model, the loss and the metrics: the first batch is tried.

        Raises:
            ShapeError, DtypeError, DataError: they do not.
        """
        self._run(samples.first(batch_size), batch_size, workers=0)

    def _run(self, samples: Samples, batch_size: int, workers: int) -> tuple[dict[str, Any], float]:
        states = {name: metric.empty() for name, metric in self.metrics.items()}
        total = 0.0
        for part in samples.parts(batch_size, workers):
            given: dict[str, Any] = dict(zip(self.network.input_names, part.inputs, strict=True))
            target = given[TARGET] = part.labelled()
            loss, *outputs = self._program.run(self.network.variables, given)
            total += float(loss) * len(part)
            prediction: Any = self._form.pack(outputs) if outputs else None
            prediction, target = (
                in_recorded_units(prediction, self.encoding),
                in_recorded_units(target, self.encoding),
            )
            for name, metric in self.metrics.items():
                states[name] = metric.update(states[name], prediction, target)
        return states, total
