"""A model beside its training: measured on samples, and asked for predictions and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bigmodel_core.data.dataset import Data
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.split import Split
from bigmodel_core.errors import GraphError
from bigmodel_core.nn.buildable import clone
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import listed
from bigmodel_core.nn.probabilities import makes_probabilities, of_both
from bigmodel_core.nn.strategy import Strategy
from bigmodel_core.train.batch_size import check_batch_size, fitting_batch_size
from bigmodel_core.train.by_output import Losses, Metrics, ignoring
from bigmodel_core.train.evaluation import EVALUATION_BATCH, Evaluator, in_recorded_units
from bigmodel_core.train.job import encoded
from bigmodel_core.train.objective import goal_of
from bigmodel_core.train.samples import (
    Samples,
    as_inputs,
    check_one_pair,
)
from bigmodel_core.train.step import TrainStep
from bigmodel_core.train.writing import metrics_of_writing


class TrainedModel:
    """A model with the loss, the metrics and the encoding of the data that belong to it.

    Attributes:
        model: the layer, or the built model.
        step: its training step, which knows the loss.
        metrics: what it is measured by.
        encoding: how the data it was trained on became numbers; other data are brought to that.
    """

    model: Layer | Network
    step: TrainStep
    metrics: Metrics
    encoding: Encoding | None

    def averaged(self) -> Layer:
        """A copy of the model with the averages of its parameters that training keeps, to use or export.

        Raises:
            UsageError: training keeps none; `Trainer(ema=0.999)` does.
            GraphError: the model is not built yet.

        >>> import numpy as np
        >>> import bigmodel_core as bm
        >>> trainer = bm.Trainer(bm.layers.Dense(2), "cross_entropy", "sgd", ema=0.9)
        >>> history = trainer.fit((np.eye(4, dtype="float32"), np.arange(4) % 2), verbose=False)
        >>> trainer.averaged()(np.eye(4, dtype="float32")).shape
        (4, 2)
        """
        found = clone(self.network.layer)
        found.load_state(self.step.averages())
        return found

    def evaluate(
        self,
        split: Data | Split | tuple[Any, ...],
        batch_size: int = EVALUATION_BATCH,
        *,
        averaged: bool = False,
        strategy: Strategy | None = None,
    ) -> dict[str, Any]:
        """The mean loss and the metrics on samples, by name: {"loss": 0.08, "accuracy": 0.97}.

        Metrics of numbers are in the units of the recorded targets, the loss in those of y.

        Args:
            split: a split or arrays (x, y) or (x, y, weight); of data, the test split. Splits of other data
                are brought to the training data's labels, columns and preprocessing; arrays are what the
                model sees.
            batch_size: samples at a time; the result does not depend on it beyond rounding.
            averaged: whether to measure the model with the averages of its parameters.
            strategy: how a model of sources and targets is to write each target by itself, as in
                `bm.strategies.Greedy()`: then there is no loss, and there are metrics of texts alone. If None
                it is given the true tokens before each.

        Raises:
            GraphError: the model is not built yet.
            UsageError: averages are asked for, and training keeps none; a strategy is given, and the model
                writes no targets or no metric is one of texts.
            ShapeError, DtypeError, DataError: the samples do not fit the model, or its training data.
        """
        check_one_pair(batch_size, "evaluate")
        network = self.averaged().network if averaged else self.network
        split = encoded(split.test if isinstance(split, Data) else split, self.encoding)
        samples = Samples.of(split, model=network)
        encoding = self.encoding or (split.encoding if isinstance(split, Split) else None)
        if strategy is not None:
            size = check_batch_size(batch_size)
            return metrics_of_writing(network, samples, self.metrics, encoding, strategy, size)
        first = samples.first(1)
        loss = ignoring(self.step.loss, None if encoding is None else encoding.ignore)
        goal = goal_of(loss, network, first.inputs, first.labelled(), first.weight)
        units = self.encoding if encoding is None or encoding.target_preprocessing is not None else encoding
        evaluator = Evaluator(network, loss, self.metrics, goal, units)
        fitting = samples.fitting(network, loss, goal)
        return evaluator(fitting, check_batch_size(batch_size))

    def predict(self, x: Any, batch_size: int = EVALUATION_BATCH) -> Any:
        """The model's outputs for inputs: an array; a tuple or dict if the model returns one.

        Predicted numbers are in the units of the recorded targets, `data.test.truth`, if training scaled
        them; `model(x)` gives what the model itself computes.

        Args:
            x: an array; a tuple of arrays for several inputs; or a split, brought to the training data's
                columns and preprocessing. Where samples differ in length, what is beyond their ends means
                nothing.
            batch_size: samples at a time.

        Raises:
            GraphError: the model is not built yet.
            ShapeError, DtypeError, DataError: the input does not fit the model.
        """
        return in_recorded_units(self._outputs(x, batch_size), self.encoding)

    def predict_proba(self, x: Any, batch_size: int = EVALUATION_BATCH) -> np.ndarray:
        """The probability of each class for inputs, in float64: each row adds up to 1.

        (N, C) for C classes, (N, 2) for two classes that share one score, with class 1 in the second column,
        and (N, T, C) for classes of steps. A model whose last step is softmax or sigmoid gives them itself;
        otherwise the loss says how scores become probabilities.

        Args:
            x: as for `predict`.
            batch_size: samples at a time.

        Raises:
            GraphError: the model is not built yet, or gives several outputs.
            UsageError: the loss does not compare classes.
            ShapeError, DtypeError, DataError: the input does not fit the model.
        """
        outputs = self.network.trace(training=False).outputs
        if len(outputs) > 1:
            raise GraphError(
                f"the model returns {len(outputs)} outputs ({', '.join(self.network.output_names)}).",
                fix="use predict, and convert the scores to probabilities yourself.",
            )
        scores = listed(self._outputs(x, batch_size))[0]
        if not makes_probabilities(outputs[0]):
            loss = self.step.loss
            return (loss.terms[0].loss if isinstance(loss, Losses) else loss).probabilities(scores)
        chances = scores.astype(np.float64)
        return of_both(chances.reshape(len(chances))) if chances.size == len(chances) else chances

    def _outputs(self, x: Any, batch_size: int) -> Any:
        """What the model itself computes, batch by batch."""
        if isinstance(x, Split):
            x = encoded(replace(x, y=None), self.encoding).x
        network = self.network
        samples = Samples(as_inputs(x, network), None).fitting(network, None, None)
        size = fitting_batch_size(network, len(samples), None, check_batch_size(batch_size))
        samples, order = samples.by_length()
        parts = [listed(network(*part.inputs)) for part in samples.parts(size)]
        joined = [_joined(output, order) for output in zip(*parts, strict=True)]
        return network.trace(training=False).form.pack(joined)

    @property
    def network(self) -> Network:
        """The built model.

        Raises:
            GraphError: it is not built yet.
        """
        if self.step.network is not None:
            return self.step.network
        return self.model if isinstance(self.model, Network) else self.model.network


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
