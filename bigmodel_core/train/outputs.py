"""What a model computes for samples, batch by batch; of several views of each the mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.source import Source
from bigmodel_core.data.views import Views
from bigmodel_core.errors import UsageError
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import listed
from bigmodel_core.nn.probabilities import Kind, makes_probabilities, mean_scores
from bigmodel_core.train.batch_size import check_batch_size, fitting_batch_size
from bigmodel_core.train.by_output import Losses, Metrics
from bigmodel_core.train.evaluation import fitted_metric, in_recorded_units
from bigmodel_core.train.samples import Samples, as_inputs

TIMES = 8
"""How often a sample is looked at if nobody says otherwise."""


def outputs_of(network: Network, x: Any, batch_size: int) -> Any:
    """The outputs for inputs, in the form that the model returns them."""
    samples = Samples(as_inputs(x, network), None).fitting(network, None, None)
    size = fitting_batch_size(network, len(samples), None, check_batch_size(batch_size))
    samples, order = samples.by_length()
    parts = [listed(network(*part.inputs)) for part in samples.parts(size)]
    joined = [_joined(output, order) for output in zip(*parts, strict=True)]
    return network.trace(training=False).form.pack(joined)


def mean_of_views(
    network: Network,
    inputs: Sequence[np.ndarray | Source],
    views: Views,
    loss: Loss | Losses,
    batch_size: int,
) -> np.ndarray:
    """The mean over views of samples: scores that stand for the mean of probabilities, or numbers.

    Args:
        network: the model.
        inputs: its one input.
        views: how the samples are looked at.
        loss: says what its outputs are.
        batch_size: samples at a time.

    Raises:
        UsageError: the model has several inputs or outputs, or says something of each place of a sample,
            and views move places.
    """
    outputs = network.trace(training=False).outputs
    check_views(views, len(inputs), [output.shape for output in outputs])
    if isinstance(loss, Losses):
        loss = loss.terms[0].loss
    are_scores = loss.takes_scores and not makes_probabilities(outputs[0])
    kind: Kind | None = ("sigmoid" if loss.one_score else "softmax") if are_scores else None
    return mean_scores([outputs_of(network, (x,), batch_size) for x in views.each(inputs[0])], kind)


def check_views(views: Views, inputs: int, outputs: Sequence[Sequence[Any]]) -> None:
    """Raise unless the mean over views means something.

    Args:
        views: how samples are looked at.
        inputs: how many inputs the model has.
        outputs: the shapes of its outputs.

    Raises:
        UsageError: it does not.
    """
    if inputs != 1 or len(outputs) != 1:
        raise UsageError(
            f"samples are augmented for models of one input and one output, and this has {inputs} and"
            f" {len(outputs)}.",
            where="augment",
            fix="leave augment out.",
            shell="leave --tta out.",
        )
    if len(outputs[0]) > 2 and not views.are_in_place:
        raise UsageError(
            "the model says something of each place of a sample, and an augmentation moves places.",
            where="augment",
            fix='pass such as move none, as in augment=["colour-jitter"].',
            shell="pass such as move none, as in --augment colour-jitter.",
        )


def metrics_of_outputs(
    outputs: np.ndarray, target: Any, metrics: Metrics, encoding: Encoding | None
) -> dict[str, Any]:
    """The metrics of outputs, by name, in the units of the recorded targets.

    Raises:
        UsageError: they are of several outputs, or there are none.
    """
    if isinstance(metrics, Mapping) or not metrics:
        raise UsageError(
            "there is no metric of the one output.", where="metrics", fix='pass metrics=["accuracy"].'
        )
    found: dict[str, Any] = {}
    true = in_recorded_units(np.asarray(target[np.arange(len(target))]), encoding)
    for metric in metrics:
        fitted = fitted_metric(metric, encoding)
        result = fitted(in_recorded_units(outputs, encoding), true)
        found[metric.name] = float(result) if np.ndim(result) == 0 else np.asarray(result).tolist()
    return found


def _joined(parts: Sequence[np.ndarray], order: np.ndarray) -> np.ndarray:
    """The outputs of samples in their own order; those of short ones end in zeros.

    Args:
        parts: the outputs of some samples each.
        order: which samples these are.
    """
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) == 1:
        found = np.concatenate(parts)
    else:
        sizes = np.max([part.shape[1:] for part in parts], axis=0)
        found = np.zeros((len(order), *sizes), parts[0].dtype)
        start = 0
        for part in parts:
            found[(slice(start, start + len(part)), *map(slice, part.shape[1:]))] = part
            start += len(part)
    if np.array_equal(order, np.arange(len(order))):
        return found
    placed = np.empty_like(found)
    placed[order] = found
    return placed
