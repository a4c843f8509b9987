"""Metrics of texts that a model writes by itself; else evaluation gives it the true tokens before each."""

from __future__ import annotations

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.ragged import NO_TOKEN, Ragged
from bigmodel_core.errors import UsageError
from bigmodel_core.generating.generate import written
from bigmodel_core.generating.writer import Writer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.strategy import Strategy
from bigmodel_core.train.by_output import Metrics, named_metrics
from bigmodel_core.train.evaluation import fitted_metric
from bigmodel_core.train.samples import Samples


def metrics_of_writing(
    network: Network,
    samples: Samples,
    metrics: Metrics,
    encoding: Encoding | None,
    strategy: Strategy,
    batch_size: int,
) -> dict[str, float]:
    """The metrics of texts between what a model writes for sources and the true targets, by name.

    No text gets longer than twice the longest true one.

    Args:
        network: a model with an encoder and a decoder.
        samples: sources and the targets so far, and what follows in the targets.
        metrics: those of texts among them are taken.
        encoding: of the data.
        strategy: how tokens are chosen.
        batch_size: sources at a time.

    Raises:
        UsageError: the samples are no pairs of texts, or no metric is one of texts.
    """
    if len(samples.inputs) != 2 or isinstance(samples.target, (dict, tuple)):
        raise UsageError(
            "a strategy is for models that write a target for a source.",
            where="strategy",
            fix="leave it out, or use data such as text-pairs.",
        )
    chosen = {
        name: fitted_metric(metric, encoding)
        for name, (_, metric) in named_metrics(metrics).items()
        if metric.whole
    }
    if not chosen:
        raise UsageError(
            "none of the metrics is one of texts that are written.",
            where="metrics",
            fix='name one, as in metrics=["bleu"] or --metrics token_error_rate.',
        )
    states = {name: metric.empty() for name, metric in chosen.items()}
    most = 2 * samples.labelled().shape[1]
    for part in samples.by_length()[0].parts(batch_size):
        sources = [row[row != NO_TOKEN] for row in np.asarray(part.inputs[0])]
        texts = written(Writer.of(network, sources, encoding), strategy, most)
        rows = Ragged.of(texts)[:]
        for name, metric in chosen.items():
            states[name] = metric.update(states[name], rows, np.asarray(part.labelled()))
    return {name: float(metric.result(states[name])) for name, metric in chosen.items()}
