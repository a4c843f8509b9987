"""Classes on a page: confusion matrix, scores of each class, ROC and reliability curves, mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core.charts import Chart, heatmap, line
from bigmodel_core.nn.quantities import count
from bigmodel_core.registry.askers import CORE
from bigmodel_core.registry.config import make
from bigmodel_core.reporting.page import Block, Charts, Folded, Gallery, Section, Table, Text
from bigmodel_core.reporting.places import of_masks
from bigmodel_core.reporting.tested import Tested

CURVES, BINS, POINTS = 8, 10, 120
"""ROC curves that are drawn, bins of the reliability curve, and points of a curve."""
FIRST = 30
"""Classes in a table that is not folded."""
IMAGES, TEXTS, COLUMNS = 12, 10, 6
"""Samples that are shown of each kind, and columns of a table that are shown."""


def of_classes(tested: Tested) -> list[Section]:
    """What there is to see of a classifier."""
    chances = tested.trainer.predict_proba(tested.split)
    true = np.asarray(tested.target, np.int64)
    if chances.ndim == 3:  # beyond the longest sample nothing counts
        steps = min(chances.shape[1], true.shape[1])
        chances, true = chances[:, :steps], true[:, :steps]
    true = true.reshape(chances.shape[:-1])
    counts = np.ones(true.shape, bool) if tested.data.ignore is None else true != tested.data.ignore
    flat, labels = chances[counts], true[counts]
    names = tested.names if len(tested.names) == flat.shape[-1] else list(map(str, range(flat.shape[-1])))
    found = class_sections(flat, labels, names)
    if chances.ndim == 2:
        found.append(Section("Predictions", _samples(tested, chances, true, names)))
    elif chances.ndim == 3:
        found.append(Section("Predictions", _steps(tested, chances.argmax(-1), true, counts, names)))
    elif chances.ndim == 4 and tested.kind == "image":
        found.append(Section("Predictions", of_masks(tested, chances, true, counts)))
    return found


def class_sections(chances: np.ndarray, true: np.ndarray, names: list[str], of: str = "") -> list[Section]:
    """What probabilities and true classes tell.

    Args:
        chances, true: (n, C) and (n,).
        names: of the classes.
        of: the output that they are, where there are several.
    """
    parts = {"Confusion matrix": _confusion, "Classes": _scores, "Reliability and ROC curves": _curves}
    titles = {title: f"{of}: {title[0].lower()}{title[1:]}" if of else title for title in parts}
    return [Section(titles[title], told(chances, true, names)) for title, told in parts.items()]


def _confusion(chances: np.ndarray, true: np.ndarray, names: list[str]) -> list[Block]:
    matrix = np.asarray(make("metric", "confusion_matrix", owner=CORE)(chances, true))
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    pairs = [divmod(int(place), len(matrix)) for place in order if wrong.flat[place] > 0]
    rows = [
        (names[i], names[j], count(int(wrong[i, j])), f"{wrong[i, j] / matrix[i].sum():.1%}")
        for i, j in pairs
    ]
    chart = heatmap(
        matrix,
        rows=names,
        columns=names,
        title="Confusion matrix",
        row_label="true",
        column_label="predicted",
    )
    columns = ("True class", "Taken for", "Samples", "Share of the class")
    table = Table("What is confused most often", columns, rows, columns[2:])
    return [Charts([chart]), *([table] if rows else [Text("No sample is predicted wrong.")])]


def _scores(chances: np.ndarray, true: np.ndarray, names: list[str]) -> list[Block]:
    kinds = ("precision", "recall", "f1")
    scores = {
        name: np.asarray(make("metric", {"name": name, "average": "none"}, owner=CORE)(chances, true))
        for name in kinds
    }
    support = np.bincount(true, minlength=len(names))
    columns = ("Class", "Precision", "Recall", "F1", "Samples")
    rows = [
        (name, *(f"{scores[kind][at]:.4f}" for kind in kinds), count(int(support[at])))
        for at, name in enumerate(names)
    ]
    table = Table("Scores of each class", columns, rows, columns[1:])
    return [table] if len(rows) <= FIRST else [Folded(f"All {len(rows):,} classes", [table])]


def _curves(chances: np.ndarray, true: np.ndarray, names: list[str]) -> list[Block]:
    reliable, error, rows = _reliability(chances, true)
    roc, areas = _roc(chances, true, names)
    text = (
        f"The expected calibration error is {error:.4f}: the mean distance between the probability of the"
        " predicted class and the share that is right."
    )
    columns = ("Probability", "Samples", "Mean probability", "Share that is right")
    more: list[Block] = [
        Folded("The reliability curve in numbers", [Table("Reliability", columns, rows, columns[1:])])
    ]
    if areas:
        titles = ("Class", "Area under its ROC curve")
        more.append(Folded("Areas under the ROC curves", [Table("Areas", titles, areas, titles[1:])]))
    return [Charts([reliable, *([roc] if roc else [])]), Text(text), *more]


def _reliability(chances: np.ndarray, true: np.ndarray) -> tuple[Chart, float, list[Any]]:
    """The chart, the expected calibration error (Naeini et al., 2015), and rows of a table."""
    sure, right = chances.max(-1), chances.argmax(-1) == true
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    rows, xs, ys, error = [], [], [], 0.0
    for at in range(BINS):
        inside = bins == at
        if not inside.any():
            continue
        mean, share = float(sure[inside].mean()), float(right[inside].mean())
        error += abs(mean - share) * inside.mean()
        xs.append(mean)
        ys.append(share)
        rows.append(
            (
                f"{at / BINS:.1f} to {(at + 1) / BINS:.1f}",
                count(int(inside.sum())),
                f"{mean:.4f}",
                f"{share:.4f}",
            )
        )
    chart = line(
        {"predicted class": ys},
        xs,
        title="Reliability",
        x_label="probability of the predicted class",
        y_label="share that is right",
        diagonal=True,
    )
    return chart, float(error), rows


def _roc(chances: np.ndarray, true: np.ndarray, names: list[str]) -> tuple[Chart | None, list[Any]]:
    """ROC curves of each class against all others, and the areas below them."""
    support = np.bincount(true, minlength=len(names))
    usable = [at for at in np.argsort(-support, kind="stable") if 0 < support[at] < len(true)]
    if len(names) == 2:  # both curves say the same
        usable = [1] if 1 in usable else []
    auc = make("metric", "auc", owner=CORE)
    areas = [(names[at], f"{auc(chances[:, at], (true == at).astype(np.int64)):.4f}") for at in usable]
    curves, places = {}, {}
    for at, (name, area) in list(zip(usable, areas, strict=True))[:CURVES]:
        title = f"{name} ({area})"
        places[title], curves[title] = roc_curve(chances[:, at], true == at)
    if not curves:
        return None, areas
    which = f", the {CURVES} largest classes" if len(usable) > CURVES else ""
    chart = line(
        curves,
        places,
        title=f"ROC curves{which}",
        x_label="false positive rate",
        y_label="true positive rate (in brackets: the area below)",
        diagonal=True,
        dots=False,
    )
    return chart, areas


def roc_curve(scores: np.ndarray, is_true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates for all thresholds, in at most 120 points.

    >>> roc_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))[1].tolist()
    [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.diff(scores[order]) != 0, True)  # a tie is one step
    hits, misses = np.cumsum(is_true[order])[ends], np.cumsum(~is_true[order])[ends]
    ys = np.append(0.0, hits / max(hits[-1], 1))
    xs = np.append(0.0, misses / max(misses[-1], 1))
    kept = np.unique(np.linspace(0, len(xs) - 1, POINTS).astype(int))
    return xs[kept], ys[kept]


def _samples(tested: Tested, chances: np.ndarray, true: np.ndarray, names: list[str]) -> list[Block]:
    """Mistakes, the most confident first, and samples that are right."""
    found = chances.argmax(-1)
    sure = chances[np.arange(len(chances)), found]
    wrong = np.flatnonzero(found != true)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    right = np.flatnonzero(found == true)
    some = right[np.unique(np.linspace(0, len(right) - 1, IMAGES).astype(int))] if len(right) else right
    groups = [
        (f"Most confident mistakes, of {len(wrong):,}", wrong[:IMAGES]),
        ("Least confident mistakes", wrong[IMAGES:][-IMAGES:]),
        ("Right predictions", some),
    ]
    told = [
        (title, [(int(at), names[found[at]], names[true[at]], f"{sure[at]:.4f}") for at in places])
        for title, places in groups
        if len(places)
    ]
    blocks: list[Block] = [] if len(wrong) else [Text("No sample is predicted wrong.")]
    for title, rows in told:
        blocks += _shown(tested, title, rows)
    return blocks


def _steps(
    tested: Tested, found: np.ndarray, true: np.ndarray, counts: np.ndarray, names: list[str]
) -> list[Block]:
    """The samples with the most steps that are predicted wrong."""
    wrong = (found != true) & counts
    order = np.argsort(-wrong.sum(1), kind="stable")[:TEXTS].tolist()
    rows = []
    for at in order:
        places = np.flatnonzero(wrong[at])
        steps = [
            f"{_step(tested, at, int(step))}: {names[found[at, step]]}, true {names[true[at, step]]}"
            for step in places
        ]
        rows.append([f"{tested.part} {at}", f"{len(places)} of {counts[at].sum()}", _cut("; ".join(steps))])
        if tested.kind == "text":
            rows[-1].append(_cut(tested.text(at)))
    columns = ["Sample", "Wrong", "Steps", *(["Text"] if tested.kind == "text" else [])]
    return [Table("The samples with the most mistakes", columns, rows)]


def _step(tested: Tested, at: int, step: int) -> str:
    """One step of a sample: its token, or its number."""
    if tested.kind != "text" or tested.data.tokenizer is None or len(tested.split.inputs) > 1:
        return str(step)
    token = int(tested.inputs([at])[0][0, step])
    return tested.data.tokenizer.decode([token]).strip() if token >= 0 else str(step)


def _shown(tested: Tested, title: str, rows: list[tuple[int, str, str, str]]) -> list[Block]:
    if tested.kind == "image":
        lines = [
            [found if found == true else f"{found}, true {true}", f"{float(chance):.1%} sure"]
            for _, found, true, chance in rows
        ]
        return [Text(title, "title"), Gallery(tested.shown([at for at, *_ in rows], lines))]
    columns = ["Sample", "Predicted", "True", "Probability"]
    some = [[f"{tested.part} {at}", found, true, chance] for at, found, true, chance in rows[:TEXTS]]
    if tested.kind == "text":
        columns.append("Text")
        some = [[*row, _cut(tested.text(at))] for row, (at, *_) in zip(some, rows, strict=False)]
    elif tested.kind == "row":
        (x,) = tested.inputs([at for at, *_ in rows[:TEXTS]])
        columns += tested.columns(COLUMNS)
        some = [[*row, *tested.row(item, COLUMNS)] for row, item in zip(some, x, strict=True)]
    return [Table(title, columns, some, [columns[3], *columns[4:]] if tested.kind == "row" else [columns[3]])]


def _cut(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
