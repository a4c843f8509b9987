"""Confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import ShapeError
from bigmodel_core.plot.axes import axes

MOST_WRITTEN = 30
"""Classes up to which each count is written into its cell."""


def confusion_matrix(
    matrix: Any, labels: Sequence[str] | None = None, *, normalise: bool = False, ax: Any = None
) -> Any:
    """A confusion matrix as a table of colours: rows are true classes, columns predicted ones.

    Args:
        matrix: (C, C) counts, as `bm.metrics.ConfusionMatrix` and `trainer.evaluate` give them.
        labels: of the classes, as `data.labels`; their numbers by default.
        normalise: whether to show shares of each true class in place of counts.
        ax: the axes to draw on.

    Returns:
        The axes.

    Raises:
        ShapeError: it is not square, or has another number of classes than there are labels.
        MissingPackageError: matplotlib is not installed.

    >>> import bigmodel_core as bm
    >>> counts = bm.metrics.ConfusionMatrix()(np.array([0, 1, 1]), np.array([0, 1, 0]))
    >>> ax = bm.plot.confusion_matrix(counts, ["cat", "dog"])  # doctest: +SKIP
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or len(counts) != counts.shape[1]:
        raise ShapeError(f"a confusion matrix is (C, C), got {counts.shape}.", fix="pass all classes.")
    if labels is not None and len(labels) != len(counts):
        raise ShapeError(
            f"there are {len(counts)} classes and {len(labels)} labels.", fix="pass a label for each class."
        )
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shown = shares if normalise else counts
    ax = axes(ax)
    image = ax.imshow(shown, cmap="Blues", vmin=0, vmax=1 if normalise else None)
    ax.figure.colorbar(image, ax=ax)
    names = [str(number) for number in range(len(counts))] if labels is None else [*map(str, labels)]
    is_long = max(map(len, names), default=0) > 3
    ax.set_xticks(
        range(len(names)), names, rotation=45 if is_long else 0, ha="right" if is_long else "center"
    )
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    if len(names) <= MOST_WRITTEN:
        for (row, column), value in np.ndenumerate(shown):
            is_dark = value > shown.max() / 2
            text = f"{value:.2f}" if normalise else f"{value:g}"
            ax.text(column, row, text, ha="center", va="center", color="white" if is_dark else "black")
    return ax
