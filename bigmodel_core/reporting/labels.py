"""Several labels a sample on a page: scores of each label, ROC curves, samples with the most mistakes."""

from __future__ import annotations

import numpy as np

from bigmodel_core.charts import line
from bigmodel_core.nn.predictions import named
from bigmodel_core.nn.quantities import count
from bigmodel_core.registry.askers import CORE
from bigmodel_core.registry.config import make
from bigmodel_core.reporting.classes import CURVES, IMAGES, TEXTS, roc_curve
from bigmodel_core.reporting.page import Block, Charts, Gallery, Section, Table, Text
from bigmodel_core.reporting.tested import Tested


def of_labels(tested: Tested) -> list[Section]:
    """What there is to see of a model that gives several labels a sample."""
    chances = tested.trainer.predict_proba(tested.split)
    true = np.asarray(tested.target) != 0
    return [
        Section("Labels", _scores(chances, true, tested.names)),
        Section("Predictions", _mistakes(tested, chances > 0.5, true)),
    ]


def _scores(chances: np.ndarray, true: np.ndarray, names: list[str]) -> list[Block]:
    kinds = ("precision", "recall", "f1")
    scores = [
        np.asarray(
            make("metric", {"name": name, "average": "none", "several": True}, owner=CORE)(
                chances - 0.5, true
            )
        )
        for name in kinds
    ]
    support = true.sum(0)
    columns = ("Label", "Precision", "Recall", "F1", "Samples with it")
    rows = [
        (name, *(f"{score[at]:.4f}" for score in scores), count(int(support[at])))
        for at, name in enumerate(names)
    ]
    auc, curves, places = make("metric", "auc", owner=CORE), {}, {}
    order = np.argsort(-support, kind="stable")
    for at in [at for at in order.tolist() if 0 < support[at] < len(true)][:CURVES]:
        title = f"{names[at]} ({auc(chances[:, at], true[:, at].astype(np.int64)):.4f})"
        places[title], curves[title] = roc_curve(chances[:, at], true[:, at])
    table = Table("Scores of each label", columns, rows, columns[1:])
    if not curves:
        return [table]
    chart = line(
        curves,
        places,
        title="ROC curves",
        x_label="false positive rate",
        y_label="true positive rate (in brackets: the area below)",
        diagonal=True,
        dots=False,
    )
    return [table, Charts([chart])]


def _mistakes(tested: Tested, found: np.ndarray, true: np.ndarray) -> list[Block]:
    """The samples with the most labels that are predicted wrong."""
    wrong = (found != true).sum(1)
    whole = f"{count(int((wrong == 0).sum()))} of {count(len(wrong))} samples have all labels right."
    order = [int(at) for at in np.argsort(-wrong, kind="stable") if wrong[at]]
    if not order:
        return [Text(whole)]

    def told(flags: np.ndarray) -> str:
        return named([name for name, flag in zip(tested.names, flags, strict=True) if flag])

    title = "The samples with the most mistakes"
    if tested.kind == "image":
        some = order[:IMAGES]
        lines = [[told(found[at]), f"true: {told(true[at])}"] for at in some]
        return [Text(whole), Text(title, "title"), Gallery(tested.shown(some, lines))]
    rows = [[f"{tested.part} {at}", told(found[at]), told(true[at])] for at in order[:TEXTS]]
    return [Text(whole), Table(title, ["Sample", "Predicted", "True"], rows)]
