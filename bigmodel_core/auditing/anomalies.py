"""`bm.anomalies`: which rows of a table are odd, and which columns make them so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.data.data import Data
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.split import Split
from bigmodel_core.errors import UsageError
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.train.checkpoint import load
from bigmodel_core.train.odd_rows import QUANTILE, squared_differences, threshold


@dataclass(frozen=True, eq=False)
class Anomalies:
    """How odd rows are.

    Args:
        scores: (n,), the mean squared difference of each row and what the model gave back.
        threshold: rows with a higher score are odd.
        errors: (n, k), the squared difference in each feature; `scores` are their means.
        features: the names of the features.
        origins: the column that each feature came from, if a column may have become several.
    """

    scores: np.ndarray
    threshold: float
    errors: np.ndarray
    features: tuple[str, ...]
    origins: tuple[str, ...] = ()

    @property
    def is_odd(self) -> np.ndarray:
        """(n,) truth values: which rows are odd."""
        return np.asarray(self.scores > self.threshold)

    def columns(self, row: int, count: int = 3) -> list[tuple[str, float]]:
        """The columns that make a row odd, with the share of its score that each has, largest first."""
        sums: dict[str, float] = {}
        for name, error in zip(self.origins or self.features, self.errors[row].tolist(), strict=True):
            sums[name] = sums.get(name, 0.0) + error
        total = sum(sums.values()) or 1.0
        largest = sorted(sums, key=lambda name: -sums[name])[:count]
        return [(name, sums[name] / total) for name in largest]

    def rows(self) -> list[int]:
        """The positions of the odd rows, the oddest first."""
        order = np.argsort(-self.scores, kind="stable")
        return [int(row) for row in order if self.scores[row] > self.threshold]

    def to_dict(self) -> dict[str, Any]:
        """The threshold and the odd rows as JSON-able values."""
        return {
            "threshold": self.threshold,
            "rows": len(self.scores),
            "odd": [
                {"row": row, "score": float(self.scores[row]), "columns": dict(self.columns(row))}
                for row in self.rows()
            ],
        }

    def __repr__(self) -> str:
        return f"<Anomalies: {int(self.is_odd.sum())} of {len(self.scores)} rows above {self.threshold:.4g}>"


def anomalies(model: Any, data: Data, quantile: float = QUANTILE, *, rows: Any = None) -> Anomalies:
    """Which rows of a table are odd: those that a model which gives back its input changes most.

    Args:
        model: a trained model that gives back its input, such as `autoencoder`; its trainer, or the path of
            its run.
        data: the data it was trained on; the share `quantile` of its training rows is not odd.
        quantile: that share.
        rows: (n, k) as in `data`, or a split of such: which rows to judge; those of the test split if None.

    Raises:
        UsageError: the model is none, takes several inputs, or the quantile is out of range.
        ShapeError: the model does not give back its input.

    >>> import bigmodel_core as bm
    >>> x = np.random.default_rng(0).normal(size=(300, 1)).astype("float32") * np.ones((1, 3), "float32")
    >>> data = bm.Data("made", bm.Split(x[:200], x[:200]), bm.Split(x[200:], x[200:]), task="regression")
    >>> model = bm.models.build("autoencoder", widths=(4, 1), activation="tanh")
    >>> _ = bm.Trainer(model, optimizer=bm.optimizers.Adam(0.01)).fit(data, epochs=40, verbose=False)
    >>> found = bm.anomalies(model, data, rows=np.array([[1, 1, 1], [1, -4, 1]], "float32"))
    >>> found.rows(), found.columns(1, count=1)[0][0]
    ([1], 'column 2')
    """
    if isinstance(quantile, bool) or not 0 < quantile < 1:
        raise UsageError(
            f"quantile is {quantile!r}, expected a number above 0 and below 1.",
            fix="pass the share of training rows that is not odd, such as 0.99.",
        )
    if isinstance(model, (str, Path)):
        model = load(model)
    model = getattr(model, "model", model)
    if not isinstance(model, (Layer, Network)):
        raise UsageError(
            f"the model is a {type(model).__name__}, expected a trained model or the path of a run.",
            fix="pass what bm.load(RUN) gives.",
        )
    judged = data.test.x if rows is None else rows.x if isinstance(rows, Split) else np.asarray(rows)
    above = threshold(model, data.train.x, quantile)
    return of_errors(squared_differences(model, judged), above, data.encoding)


def of_errors(errors: np.ndarray, odd_above: float, encoding: Encoding) -> Anomalies:
    """What the squared differences (n, k) in the features of rows say."""
    features = encoding.features or tuple(f"column {place + 1}" for place in range(errors.shape[1]))
    origins = () if encoding.columns is None else encoding.columns.origins
    return Anomalies(errors.mean(1), odd_above, errors, tuple(features), origins)
