"""A model beside its training: measured on samples, and asked for predictions and probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bigmodel_core.data.data import Data
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.split import Split
from bigmodel_core.data.views import Views
from bigmodel_core.errors import GraphError
from bigmodel_core.nn.buildable import clone
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import listed
from bigmodel_core.nn.probabilities import makes_probabilities, of_both
from bigmodel_core.nn.strategy import Strategy
from bigmodel_core.train.batch_size import check_batch_size
from bigmodel_core.train.by_output import Losses, Metrics, ignoring
from bigmodel_core.train.evaluation import EVALUATION_BATCH, Evaluator, in_recorded_units
from bigmodel_core.train.job import encoded
from bigmodel_core.train.objective import goal_of
from bigmodel_core.train.outputs import TIMES, mean_of_views, metrics_of_outputs, outputs_of
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
        augment: Any = None,
        times: int = TIMES,
        seed: int = 0,
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
            augment, times, seed: as for `predict`; the metrics are then those of the means, and there is no
                loss.

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
        if augment is not None:
            outputs = self._outputs(samples.inputs, batch_size, Views.of(augment, times, seed), network)
            return metrics_of_outputs(outputs, samples.labelled(), self.metrics, encoding)
        first = samples.first(1)
        loss = ignoring(self.step.loss, None if encoding is None else encoding.ignore)
        goal = goal_of(loss, network, first.inputs, first.labelled(), first.weight)
        units = self.encoding if encoding is None or encoding.target_preprocessing is not None else encoding
        evaluator = Evaluator(network, loss, self.metrics, goal, units)
        fitting = samples.fitting(network, loss, goal)
        return evaluator(fitting, check_batch_size(batch_size))

    def predict(
        self,
        x: Any,
        batch_size: int = EVALUATION_BATCH,
        *,
        augment: Any = None,
        times: int = TIMES,
        seed: int = 0,
    ) -> Any:
        """The model's outputs for inputs: an array; a tuple or dict if the model returns one.

        Predicted numbers are in the units of the recorded targets, `data.test.truth`, if training scaled
        them; `model(x)` gives what the model itself computes.

        Args:
            x: an array; a tuple of arrays for several inputs; or a split, brought to the training data's
                columns and preprocessing. Where samples differ in length, what is beyond their ends means
                nothing.
            batch_size: samples at a time.
            augment: augmentations that leave the answer as it is, or their names: each sample is looked at
                several times, once as it is, and the mean is predicted: of probabilities, as scores that
                stand for it, or of numbers (test-time augmentation).
            times: how often each sample is looked at.
            seed: key of the random numbers of augmentations.

        Raises:
            GraphError: the model is not built yet.
            UsageError: the model has several inputs or outputs, or says something of each place, and samples
                are to be augmented; an augmentation mixes them.
            ShapeError, DtypeError, DataError: the input does not fit the model.
        """
        views = None if augment is None else Views.of(augment, times, seed)
        return in_recorded_units(self._outputs(x, batch_size, views), self.encoding)

    def predict_proba(
        self,
        x: Any,
        batch_size: int = EVALUATION_BATCH,
        *,
        augment: Any = None,
        times: int = TIMES,
        seed: int = 0,
    ) -> np.ndarray:
        """The probability of each class for inputs, in float64: each row adds up to 1.

        (N, C) for C classes, (N, 2) for two classes that share one score, with class 1 in the second column,
        and (N, T, C) for classes of steps. A model whose last step is softmax or sigmoid gives them itself;
        otherwise the loss says how scores become probabilities.

        Args:
            x, augment, times, seed: as for `predict`.
            batch_size: samples at a time.

        Raises:
            GraphError: the model is not built yet, or gives several outputs.
            UsageError: the loss does not compare classes; as for `predict`.
            ShapeError, DtypeError, DataError: the input does not fit the model.
        """
        outputs = self.network.trace(training=False).outputs
        if len(outputs) > 1:
            raise GraphError(
                f"the model returns {len(outputs)} outputs ({', '.join(self.network.output_names)}).",
                fix="use predict, and convert the scores to probabilities yourself.",
            )
        views = None if augment is None else Views.of(augment, times, seed)
        scores = listed(self._outputs(x, batch_size, views))[0]
        if not makes_probabilities(outputs[0]):
            loss = self.step.loss
            return (loss.terms[0].loss if isinstance(loss, Losses) else loss).probabilities(scores)
        chances = scores.astype(np.float64)
        return of_both(chances.reshape(len(chances))) if chances.size == len(chances) else chances

    def _outputs(
        self, x: Any, batch_size: int, views: Views | None = None, network: Network | None = None
    ) -> Any:
        """What the model itself computes, batch by batch; of several views the mean."""
        network = network or self.network
        if isinstance(x, Split):
            x = encoded(replace(x, y=None), self.encoding).x
        if views is not None:
            return mean_of_views(network, as_inputs(x, network), views, self.step.loss, batch_size)
        return outputs_of(network, x, batch_size)

    @property
    def network(self) -> Network:
        """The built model.

        Raises:
            GraphError: it is not built yet.
        """
        if self.step.network is not None:
            return self.step.network
        return self.model if isinstance(self.model, Network) else self.model.network
