"""Predictions beside what is true: images with labels, numbers, series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel_core.charts.colours import image
from bigmodel_core.data.split import Split
from bigmodel_core.errors import DataError, ShapeError
from bigmodel_core.plot.axes import axes

ACROSS = 8
"""Images in a row."""


def predictions(
    data: Any, predicted: Any, labels: Sequence[str] | None = None, *, count: int = 16, ax: Any = None
) -> Any:
    """Predictions beside the truth: images titled with both labels, numbers as points around the diagonal.

    Args:
        data: a split, such as `data.test`, or (x, y).
        predicted: for its samples the probabilities or scores (n, C), or the labels (n,) as integers, of
            images; numbers in the units of the truth, as `trainer.predict` gives them, otherwise.
        labels: of the classes; those of the split by default.
        count: how many images are shown, the first ones.
        ax: the axes to draw on; for images a sequence of `count` axes.

    Returns:
        The axes; of images a list, one for each.

    Raises:
        DataError: the samples have no targets, or are classes of something that is no image.
        ShapeError: there is not a prediction for each sample.
        MissingPackageError: matplotlib is not installed.

    >>> import bigmodel_core as bm
    >>> data = bm.datasets.load("digits")
    >>> chances = np.eye(10)[data.test.y]  # in earnest trainer.predict_proba(data.test)
    >>> grid = bm.plot.predictions(data.test, chances, count=8)  # doctest: +SKIP
    """
    x, truth, encoding = _parts(data)
    guesses = np.asarray(predicted)
    if truth is None:
        raise DataError("the samples have no targets to compare with.", fix="pass a split with y.")
    if len(guesses) != len(truth):
        raise ShapeError(
            f"there are {len(truth)} samples and {len(guesses)} predictions.",
            fix="predict exactly these samples.",
        )
    if truth.ndim > 1 or truth.dtype.kind == "f":
        return _points(truth, guesses, ax)
    if getattr(x, "ndim", 0) != 4 or x.shape[1] not in (1, 3):
        raise DataError(
            "the samples are classes of something that is no image (n, 1 or 3, height, width).",
            fix="plot their confusion matrix: bm.plot.confusion_matrix.",
        )
    if labels is None and encoding is not None:
        labels = encoding.labels
    steps = None if encoding is None else encoding.preprocessing
    count = min(count, len(truth))
    raw = np.asarray(x[:count])
    if steps is not None and steps.raw_shape == raw.shape[1:]:
        raw = steps.invert(raw)
    return _images(raw, truth[:count], guesses[:count], labels, ax)


def forecast(truth: Any, predicted: Any, *, step: int = 0, ax: Any = None) -> Any:
    """A forecast along the series: what came, and what was said of it so many steps ahead.

    Args:
        truth: (n,) or (n, steps) numbers in their order, or the split that has them, such as `data.test`.
        predicted: likewise, in the same units, as `trainer.predict(data.test)` gives them.
        step: which of several steps ahead, from 0.
        ax: the axes to draw on.

    Returns:
        The axes.

    Raises:
        ShapeError: truth and prediction differ in shape, or there is no such step.
        MissingPackageError: matplotlib is not installed.

    >>> import bigmodel_core as bm
    >>> ax = bm.plot.forecast(np.sin(np.arange(50)), np.sin(np.arange(50) - 0.1))  # doctest: +SKIP
    """
    came = np.asarray(truth.truth if isinstance(truth, Split) else truth, np.float64)
    said = np.asarray(predicted, np.float64)
    if came.ndim == 0 or said.ndim == 0 or came.size != said.size or len(came) != len(said):
        raise ShapeError(
            f"the truth is {came.shape} and the forecast {said.shape}.", fix="forecast exactly these samples."
        )
    came, said = (values.reshape(len(values), -1) for values in (came, said))
    if not 0 <= step < came.shape[1]:
        raise ShapeError(f"there is no step {step}.", fix=f"use 0 to {came.shape[1] - 1}.")
    ax = axes(ax, figsize=(9, 3.5))
    ax.plot(came[:, step], label="true", color="black", linewidth=1)
    ax.plot(said[:, step], label="forecast", color="tab:orange", linewidth=1)
    ax.set_xlabel("step of the series")
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def _parts(data: Any) -> tuple[Any, np.ndarray | None, Any]:
    """Samples, what is true of them, and how they became numbers."""
    if isinstance(data, Split):
        truth = data.truth
        return data.x, None if truth is None else np.asarray(truth), data.encoding
    x, y = data
    return x, np.asarray(y), None


def _points(truth: np.ndarray, guesses: np.ndarray, ax: Any) -> Any:
    true, said = truth.ravel(), guesses.ravel()
    if true.shape != said.shape:
        raise ShapeError(
            f"the truth is {truth.shape} and the prediction {guesses.shape}.", fix="predict each target."
        )
    ax = axes(ax)
    ax.scatter(true, said, s=12, alpha=0.6)
    ends = [min(true.min(), said.min()), max(true.max(), said.max())]
    ax.plot(ends, ends, color="black", linewidth=1, linestyle="--")
    ax.set_xlabel("true")
    ax.set_ylabel("predicted")
    ax.grid(alpha=0.3)
    return ax


def _images(
    raw: np.ndarray, truth: np.ndarray, guesses: np.ndarray, labels: Sequence[str] | None, ax: Any
) -> list[Any]:
    down = -(-len(raw) // ACROSS)
    across = min(len(raw), ACROSS)
    grid = axes(ax, nrows=down, ncols=across, figsize=(1.4 * across, 1.75 * down), squeeze=False)
    places = list(np.ravel(grid))
    for place in places:
        place.axis("off")
    chosen = guesses.argmax(1) if guesses.ndim == 2 else guesses
    is_chance = guesses.ndim == 2 and guesses.min() >= 0 and np.allclose(guesses.sum(1), 1, atol=1e-3)
    for number, place in enumerate(places[: len(raw)]):
        names = [str(n) if labels is None else str(labels[n]) for n in (truth[number], int(chosen[number]))]
        sure = f" ({guesses[number].max():.2f})" if is_chance else ""
        is_right = truth[number] == chosen[number]
        place.imshow(image(raw[number]), cmap="gray", interpolation="nearest")
        place.set_title(
            names[1] + sure if is_right else f"{names[1]}{sure}\nis {names[0]}",
            fontsize=9,
            color="tab:green" if is_right else "tab:red",
        )
    return places[: len(raw)]
