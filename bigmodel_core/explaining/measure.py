"""How good the outputs of all samples are, for methods that measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.data.arrays import as_array
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.errors import UsageError
from bigmodel_core.explaining.targets import Known
from bigmodel_core.nn.probabilities import scores_of
from bigmodel_core.registry import config
from bigmodel_core.registry.askers import CORE
from bigmodel_core.registry.discovery import display_name
from bigmodel_core.train.evaluation import fitted_metric, in_recorded_units
from bigmodel_core.train.metric import Metric


@dataclass(frozen=True)
class Measure:
    """How good the outputs of all samples are; more is better.

    Args:
        name: of the metric.
        function: the metric of outputs.
        sign: -1 if less of the metric is better.
    """

    name: str
    function: Callable[[np.ndarray], float]
    sign: float = 1.0

    def __call__(self, outputs: np.ndarray) -> float:
        """The metric of outputs, with the sign that makes more better."""
        return self.sign * self.function(outputs)


def measure_of(
    y: Any, metric: str | Metric | None, encoding: Encoding | None, known: Known
) -> Measure | None:
    """What a metric says of outputs; None if there are no true targets.

    Raises:
        UsageError: a metric is named and there are none, or it gives no number that is better or worse.
    """
    if y is None and metric is not None:
        raise UsageError(
            "a metric compares with true targets, and there are none.", where="metric", fix="pass them: y=..."
        )
    if y is None:
        return None
    truth = as_array(y, "array of targets")
    is_number = known.task == "regression" or (known.task is None and truth.dtype.kind == "f")
    made = config.make("metric", metric or ("r2" if is_number else "accuracy"), owner=CORE)
    assert isinstance(made, Metric)
    if made.higher_is_better is None:
        raise UsageError(
            f"{type(made).__name__} gives no number that is better or worse.",
            where="metric",
            fix="use another, such as accuracy.",
        )
    fitted = fitted_metric(made, encoding)
    truth = in_recorded_units(truth, encoding)

    def measured(outputs: np.ndarray) -> float:
        scores = in_recorded_units(outputs, encoding)
        if not is_number:
            scores = scores_of({"y": scores}, known.are_probabilities, known.task)
        return float(fitted(scores, truth))

    return Measure(display_name(type(made)), measured, 1.0 if made.higher_is_better else -1.0)
