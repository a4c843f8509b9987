"""What a metric is: a stateless reduction over batches that can be streamed and merged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.errors import ShapeError

MetricState: TypeAlias = dict[str, Any]
"""NumPy arrays and scalars by name: what a metric has counted so far."""


class Metric(ABC):
    """Base class of metrics: a frozen dataclass whose fields are the options.

    A metric holds no data. Counts and sums are in a `MetricState`; `update` and `merge` return a new one, so
    one metric serves any number of streams, and workers can each keep a state and merge them at the end.

    `name` is what the registry and reports call it. `higher_is_better` says which of two values is preferred;
    it is None if values cannot be compared, as for a confusion matrix.
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool | None] = True
    whole: ClassVar[bool] = False
    """Whether it takes samples as they are, with the labels that count nothing: for metrics of sequences."""

    @abstractmethod
    def empty(self) -> MetricState:
        """The MetricState before any sample."""

    @abstractmethod
    def update(self, state: MetricState, prediction: np.ndarray, target: np.ndarray) -> MetricState:
        """The MetricState with a batch of predictions and their targets added; `state` stays as it was.

        Raises:
            ShapeError: prediction and target do not fit together.
        """

    @abstractmethod
    def merge(self, a: MetricState, b: MetricState) -> MetricState:
        """The MetricState of the samples of both; both stay as they were."""

    @abstractmethod
    def result(self, state: MetricState) -> float | np.ndarray:
        """The value of the metric over all samples of the MetricState.

        Raises:
            DataError: the MetricState has no sample, or too few for a value.
        """

    def fitted(self, encoding: Encoding) -> Metric:
        """The same metric for the data of an encoding: those of texts take its tokenizer, those of tags the
        names of the labels."""
        return self

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float | np.ndarray:
        """The value over one batch that holds all samples."""
        return self.result(self.update(self.empty(), prediction, target))

    def same_shape(self, prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Prediction and target as arrays, after checking that they have one shape.

        Raises:
            ShapeError: the shapes differ, (n, 1) against (n,) too: broadcasting them would compare every
                prediction with every target.
        """
        prediction, target = np.asarray(prediction), np.asarray(target)
        if prediction.shape != target.shape:
            raise ShapeError(
                f"prediction has shape {prediction.shape} and target {target.shape}, expected one shape.",
                where=type(self).__name__,
                fix="reshape the target, for example with target.reshape(-1, 1).",
            )
        return prediction, target
