"""Loss and metrics of a model on samples, in inference mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.prefetch import DEFAULT_WORKERS
from bigmodel_core.data.tree import leaves
from bigmodel_core.errors import BigmodelError, DataError, UsageError
from bigmodel_core.graph import Graph
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import listed
from bigmodel_core.plan import Program
from bigmodel_core.train.batch_size import fitting_batch_size
from bigmodel_core.train.by_output import Losses, Metrics, check_outputs, ignoring, named_metrics
from bigmodel_core.train.loss_means import LossMeans
from bigmodel_core.train.measured import measured
from bigmodel_core.train.metric import Metric
from bigmodel_core.train.objective import TARGET, WEIGHTS, Goal
from bigmodel_core.train.samples import Samples

EVALUATION_BATCH = 256
"""Samples at a time if nobody says otherwise."""


def in_recorded_units(outputs: Any, encoding: Encoding | None) -> Any:
    """A model's outputs, or its targets, in the units of the recorded targets, if those were scaled.

    Args:
        outputs: (n, k) numbers, or (n, k, q) with quantiles of each; several outputs as a tuple stay as they
            are.
        encoding: of the training data.

    Returns:
        float64 if the numbers were scaled.
    """
    steps = None if encoding is None else encoding.target_preprocessing
    if steps is None or not isinstance(outputs, np.ndarray):
        return outputs
    if outputs.ndim > 2 and outputs.shape[1:-1] == steps.raw_shape:
        return steps.of_each(outputs.shape[-1]).invert(outputs)
    return steps.invert(outputs) if outputs.shape[1:] == steps.raw_shape else outputs


def fitted_metric(metric: Metric, encoding: Encoding | None) -> Metric:
    """A metric for the data of an encoding: it counts nothing of the label that those ignore."""
    return metric if encoding is None else ignoring(metric, encoding.ignore).fitted(encoding)


class Evaluator:
    """The inference graph of a model with a loss on top, run over samples.

    Args:
        network: the model.
        loss: the loss; its mean over all samples is reported, and that of each loss if there are several.
        metrics: fed with the model's output and the targets, or with those of one output; what counts nothing
            in the loss (a weight of 0, a label that it ignores) is left out.
        goal: what targets and weights look like.
        encoding: how the data became numbers; metrics are then taken in the units of the recorded targets,
            the loss in those of the model.

    Raises:
        UnknownNameError: metrics are of an output that there is none of.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | Losses,
        metrics: Metrics,
        goal: Goal,
        encoding: Encoding | None = None,
    ) -> None:
        self.network, self.loss, self.goal, self.encoding = network, loss, goal, encoding
        self.metrics = {
            name: (output, fitted_metric(metric, encoding))
            for name, (output, metric) in named_metrics(metrics).items()
        }
        if isinstance(metrics, dict):
            check_outputs(metrics, network.output_names, "metrics")
        graph = Graph()
        trace = network.traced_into(graph, training=False)
        found = self._measured = measured(loss, trace, goal)
        self._form = trace.form
        results = found.noted() if found.parts else [found.loss, *found.noted()]
        self._count_of = list(found.counts) if self.metrics else []
        if self.metrics:
            results += [*found.counts.values(), *trace.outputs]
        self._program = Program(graph, results, device=network.device)

    def __call__(self, samples: Samples, batch_size: int, workers: int = DEFAULT_WORKERS) -> dict[str, Any]:
        """The mean loss and the metrics, by name; floats, and nested lists for metrics that give an array.

        Raises:
            ShapeError, DtypeError, DataError: the samples do not fit the model, the loss or a metric.
        """
        states, losses = self._run(samples, batch_size, workers)
        for name, (_, count) in losses.sums.items():
            if count == 0:
                raise DataError(
                    "no sample counts in the loss: all have a weight of 0, or a label that it ignores.",
                    where=name or "loss",
                )
        found: dict[str, Any] = losses.logged(self._measured.shares)
        for name, (_, metric) in self.metrics.items():
            result = metric.result(states[name])
            found[name] = float(result) if np.ndim(result) == 0 else np.asarray(result).tolist()
        return found

    def check(self, samples: Samples, batch_size: int) -> None:
        """Raise unless samples fit the model, the loss and the metrics: the first batch is tried.

        Raises:
            ShapeError, DtypeError, DataError: they do not.
        """
        size = fitting_batch_size(self.network, len(samples), None, batch_size)
        self._run(samples.first(size), size, workers=0)

    def _run(self, samples: Samples, batch_size: int, workers: int) -> tuple[dict[str, Any], LossMeans]:
        """The states of metrics, and the mean losses."""
        states = {name: metric.empty() for name, (_, metric) in self.metrics.items()}
        losses, names = LossMeans(), [*self._measured.parts] or [""]
        counted, counts = len(self._measured.counted), len(self._count_of)
        size = fitting_batch_size(self.network, len(samples), None, batch_size)
        samples, _ = samples.by_length()
        for part in samples.parts(size, workers):
            given: dict[str, Any] = dict(zip(self.network.input_names, part.inputs, strict=True))
            target = part.labelled()
            given.update({TARGET + path: array for path, array in leaves(target).items()})
            given.update({WEIGHTS + path: array for path, array in leaves(part.weight).items()})
            results = self._program.run(self.network.variables, given)
            means, results = map(float, results[: len(names)]), results[len(names) :]
            sizes = dict(zip(self._measured.counted, map(float, results[:counted]), strict=True))
            kept = dict(zip(self._count_of, results[counted : counted + counts], strict=True))
            losses.add(dict(zip(names, means, strict=True)), sizes, len(part))
            if not self.metrics:
                continue
            prediction = self._form.pack(results[counted + counts :])
            for name, (output, metric) in self.metrics.items():
                pair = self._compared(output, prediction, target, {} if metric.whole else kept)
                try:
                    states[name] = metric.update(states[name], *pair)
                except (BigmodelError, AttributeError, TypeError, ValueError) as error:
                    if isinstance(pair[0], np.ndarray):
                        raise
                    raise self._several_outputs(name, getattr(error, "message", str(error))) from error
        return states, losses

    def _several_outputs(self, metric: str, reason: str) -> UsageError:
        """The error if the model returns several outputs, but a metric takes one."""
        names = self.network.output_names
        return UsageError(
            f"the model returns {len(names)} outputs ({', '.join(names)}), and {metric} cannot take"
            f" them: {reason.rstrip('.')}.",
            fix=f'name the output: metrics={{"{names[0]}": "{metric}"}}.',
            where="metrics",
        )

    def _compared(
        self, output: str | None, prediction: Any, target: Any, kept: Mapping[str, np.ndarray]
    ) -> tuple[Any, Any]:
        """What a metric is fed with: the predictions and targets that count."""
        counts = kept.get(output or "")
        if output is not None:
            names = self.network.output_names
            prediction = dict(zip(names, listed(prediction), strict=True))[output]
            if isinstance(target, dict):
                target = target.get(output)
            elif isinstance(target, tuple):
                target = dict(zip(names, target, strict=False)).get(output)
            if target is None:
                raise UsageError(
                    f"there are metrics of the output '{output}', and no targets for it.",
                    fix="give it a loss and targets.",
                    where="metrics",
                )
        prediction = in_recorded_units(prediction, self.encoding)
        if isinstance(self.loss, Loss) and isinstance(prediction, np.ndarray):
            prediction = self.loss.point(prediction)
        target = in_recorded_units(target, self.encoding)
        if counts is not None and isinstance(prediction, np.ndarray) and not counts.all():
            is_kept = counts != 0
            if target.ndim < is_kept.ndim:
                is_kept = is_kept.reshape(len(is_kept), -1).any(1)
            return prediction[is_kept], target[is_kept]
        return prediction, target
