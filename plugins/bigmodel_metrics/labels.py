"""From what a classifier gives to class labels, checked."""

from __future__ import annotations

import numpy as np

from bigmodel_core.errors import DataError, DtypeError, NumericsError, ShapeError


def predicted_and_true(
    prediction: np.ndarray, target: np.ndarray, where: str, ignore: int | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Predicted labels, true labels and the number of classes.

    Args:
        prediction: logits (..., C), or logits of two classes, (..., 1) or (n,), where more than 0 means
            class 1; or labels (...) as integers.
        target: (...) labels: integers or booleans; for logits of two classes also (..., 1), and 0 and 1
            as floats; or a share of each class, (..., C) floats, of which the largest is the label.
        where: name of the metric, for messages.
        ignore: a label that is left out.

    Returns:
        Two flat int64 arrays and C, which is 2 for binary logits, and for labels the least that holds them.

    Raises:
        ShapeError: shapes that do not fit together.
        DtypeError: labels that are not integers.
        DataError: labels out of range.
        NumericsError: logits that are NaN.
    """
    prediction, target = counted(prediction, target, ignore)
    if prediction.dtype.kind in "iub":
        _check_labels(target, where)
        if prediction.shape != target.shape:
            raise ShapeError(
                f"predicted labels are {prediction.shape} and target {target.shape}, expected one shape.",
                where=where,
            )
        labels = _int64(prediction, None, "predicted label", where)
        true = _int64(target, None, "label", where)
        return labels, true, int(max(labels.max(initial=-1), true.max(initial=-1))) + 1
    if (binary := binary_logits(prediction, target, where)) is not None:
        return (binary[0] > 0).astype(np.int64), binary[1], 2
    check_logits(prediction, target, where)
    classes = prediction.shape[-1]
    return prediction.argmax(-1).astype(np.int64).ravel(), _int64(target, classes, "label", where), classes


def flags(prediction: np.ndarray, target: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Which labels are predicted, and which are true, where a sample may have several: bool (n, k) both.

    Args:
        prediction: (n, k) logits, of which more than 0 means that the sample has the label; or integers and
            booleans that say so.
        target: (n, k), 0 or 1.
        where: name of the metric, for messages.

    Raises:
        ShapeError, DataError: the targets are of another shape, or none of 0 and 1.
        NumericsError: logits that are NaN.
    """
    prediction, target = np.asarray(prediction), np.asarray(target)
    if prediction.ndim < 2 or prediction.shape != target.shape:
        raise ShapeError(
            f"logits have shape {prediction.shape} and target {target.shape}, expected (n, labels) for both.",
            where=where,
            fix="give 0 or 1 for each label of each sample.",
        )
    _check_nan(prediction, where)
    if (wrong := (target != 0) & (target != 1)).any():
        sample = int(np.argwhere(wrong)[0][0])
        raise DataError(f"sample {sample} has the target {target[wrong][0]}, expected 0 or 1.", where=where)
    return prediction > 0, target != 0


def counted(prediction: np.ndarray, target: np.ndarray, ignore: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels without those of a label that is ignored; shares of classes as labels.

    Shares of classes add up to 1 for each sample.
    """
    prediction, target = np.asarray(prediction), np.asarray(target)
    is_shares = target.dtype.kind == "f" and target.ndim > 1 and target.shape[-1] > 1
    if is_shares and target.shape == prediction.shape and np.allclose(target.sum(-1), 1, atol=1e-3):
        target = target.argmax(-1)
    if ignore is None or target.shape != prediction.shape[: target.ndim]:
        return prediction, target
    is_counted = target != ignore
    return prediction[is_counted], target[is_counted]


def binary_logits(
    prediction: np.ndarray, target: np.ndarray, where: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Logits of class 1 and labels 0 and 1, flattened; None unless prediction is one logit per sample.

    Args:
        prediction: (..., 1) or (...) floats.
        target: (...) or (..., 1) integers, booleans, or floats that are 0 or 1.
        where: name of the metric, for messages.

    Raises:
        DtypeError, DataError: a target is none of 0 and 1.
        NumericsError: logits that are NaN.
    """
    batch = prediction.shape[:-1] if prediction.ndim > 1 else prediction.shape
    if (
        prediction.dtype.kind != "f"
        or prediction.ndim == 0
        or prediction.shape not in (batch, (*batch, 1))
        or target.shape not in (batch, (*batch, 1))
    ):
        return None
    _check_nan(prediction, where)
    if target.dtype.kind == "f":
        wrong = (target != 0) & (target != 1)
        if wrong.any():
            sample = int(np.argwhere(wrong.ravel())[0][0])
            raise DataError(
                f"sample {sample} has the target {target.ravel()[sample]}, expected 0 or 1.",
                where=where,
                fix="measure probabilities with a loss; this metric counts samples of two classes.",
            )
        return prediction.ravel(), target.astype(np.int64).ravel()
    _check_labels(target, where)
    return prediction.ravel(), _int64(target, 2, "label", where)


def check_logits(prediction: np.ndarray, target: np.ndarray, where: str) -> None:
    """Raises unless prediction is logits (..., C) without NaN for integer labels of shape (...)."""
    _check_labels(target, where)
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
    _check_nan(prediction, where)


def _check_labels(target: np.ndarray, where: str) -> None:
    if target.dtype.kind not in "iub":
        raise DtypeError(f"target is {target.dtype}, expected integer labels.", where=where)


def _check_nan(prediction: np.ndarray, where: str) -> None:
    if np.isnan(prediction).any():
        sample = int(np.argwhere(np.isnan(prediction))[0][0])
        raise NumericsError(f"the prediction for sample {sample} is NaN.", where=where)


def _int64(labels: np.ndarray, classes: int | None, kind: str, where: str) -> np.ndarray:
    """Labels, flat and as int64, known to be in range; one that int64 cannot hold is shown as it is."""
    labels = labels.astype(np.int64) if labels.dtype.kind == "b" else labels.ravel()
    limit = np.iinfo(np.int64).max if classes is None else classes - 1
    wrong = (labels < 0) | (labels > limit)
    if wrong.any():
        sample = int(wrong.argmax())
        expected = "0 or more" if classes is None else f"0 to {classes - 1}"
        raise DataError(
            f"sample {sample} has {kind} {labels.ravel()[sample]}, expected {expected}.", where=where
        )
    return labels.astype(np.int64).ravel()
