"""From what a classifier gives to class labels, checked."""

from __future__ import annotations

import numpy as np

from bigmodel_core.errors import DataError, DtypeError, NumericsError, ShapeError


def predicted_and_true(
    prediction: np.ndarray, target: np.ndarray, where: str
) -> tuple[np.ndarray, np.ndarray, int]:
    """Predicted labels, true labels and the number of classes.

    Args:
        prediction: logits (..., C), or binary logits (..., 1) where more than 0 means class 1, or labels
            (...) as integers.
        target: (...) integer labels.
        where: name of the metric, for messages.

    Returns:
        Two flat int64 arrays and C, which is 2 for binary logits, and for labels the least that holds them.

    Raises:
        ShapeError: shapes that do not fit together.
        DtypeError: labels that are not integers.
        DataError: labels out of range.
        NumericsError: logits that are NaN.
    """
    prediction, target = np.asarray(prediction), np.asarray(target)
    if target.dtype.kind not in "iub":
        raise DtypeError(f"target is {target.dtype}, expected integer labels.", where=where)
    if prediction.dtype.kind in "iub":
        if prediction.shape != target.shape:
            raise ShapeError(
                f"predicted labels are {prediction.shape} and target {target.shape}, expected one shape.",
                where=where,
            )
        labels = prediction.astype(np.int64).ravel()
        true = target.astype(np.int64).ravel()
        classes = int(max(labels.max(initial=-1), true.max(initial=-1))) + 1
        _check_range(labels, None, "predicted label", where)
        _check_range(true, None, "label", where)
        return labels, true, classes
    check_logits(prediction, target, where)
    true = target.astype(np.int64).ravel()
    if prediction.shape[-1] == 1:
        _check_range(true, 2, "label", where)
        return (prediction > 0).astype(np.int64).ravel(), true, 2
    classes = prediction.shape[-1]
    _check_range(true, classes, "label", where)
    return prediction.argmax(-1).astype(np.int64).ravel(), true, classes


def check_logits(prediction: np.ndarray, target: np.ndarray, where: str) -> None:
    """Raises unless prediction is logits (..., C) without NaN for a target of shape (...)."""
    if prediction.dtype.kind != "f":
        raise DtypeError(
            f"prediction is {prediction.dtype}, expected logits as floating point numbers.", where=where
        )
    if prediction.ndim == 0 or prediction.shape[:-1] != target.shape or prediction.shape[-1] == 0:
        found = f"logits have shape {prediction.shape} and target {target.shape}"
        raise ShapeError(
            f"{found}, expected logits (n, classes) or (n, 1) and labels (n,).",
            where=where,
            fix="give logits a last axis of classes that the labels do not have.",
        )
    if np.isnan(prediction).any():
        sample = int(np.argwhere(np.isnan(prediction))[0][0])
        raise NumericsError(f"the prediction for sample {sample} is NaN.", where=where)


def _check_range(labels: np.ndarray, classes: int | None, kind: str, where: str) -> None:
    wrong = labels < 0 if classes is None else (labels < 0) | (labels >= classes)
    if wrong.any():
        sample = int(wrong.argmax())
        expected = "0 or more" if classes is None else f"0 to {classes - 1}"
        raise DataError(f"sample {sample} has {kind} {labels[sample]}, expected {expected}.", where=where)
