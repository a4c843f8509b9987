"""`bigmodel evaluate --by COLUMN`: what a classifier does to groups of samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.terminal import Output
from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    from bigmodel_core.auditing.fairness import Fairness, Group
    from bigmodel_core.data.data import Data
    from bigmodel_core.data.split import Split

_MEASURES = {
    "demographic_parity_difference": "Demographic parity, difference",
    "demographic_parity_ratio": "Demographic parity, ratio",
    "equal_opportunity_difference": "Equal opportunity, difference",
    "equalised_odds_difference": "Equalised odds, difference",
    "equalised_odds_ratio": "Equalised odds, ratio",
}


def by_group(
    path: Path, data: Data, split: Split, column: str, favourable: str | None
) -> tuple[str, Fairness]:
    """The favourable class, and the report by the groups of a column.

    Args:
        path: a run, a checkpoint or an ONNX file.
        data: the data set.
        split: the samples that are measured.
        column: whose cells name the groups.
        favourable: the class that is good for those who are given it; of two classes the second if None.

    Raises:
        UsageError: there is no such column or class, or the model does not classify.
    """
    import numpy as np

    from bigmodel_core.auditing import fairness
    from bigmodel_core.cli.predictor import BATCH, check_samples, load

    if column not in split.columns:
        known = ", ".join(split.columns) or "none"
        raise UsageError(
            f"{data.name} has no column '{column}' that tells groups apart; there are: {known}.",
            where="--by",
            fix="name one of them; in a table (csv), a column of at most 50 different cells.",
        )
    labels = data.labels
    if labels is None or not isinstance(split.y, np.ndarray) or split.y.ndim != 1:
        raise UsageError("rates by group are of classes.", where="--by", fix="leave it out.")
    chosen = _favourable(labels, favourable)
    predictor = load(str(path))
    check_samples(predictor, data)
    found = [
        item
        for start in range(0, len(split), BATCH)
        for item in predictor.predictions(*predictor.prepared(split.x, start, start + BATCH))
    ]
    name = labels[chosen]
    has_chances = all(item.probabilities is not None and name in item.probabilities for item in found)
    chances = [(item.probabilities or {})[name] for item in found] if has_chances else None
    predicted = np.array([item.index for item in found])
    return name, fairness.report(split.y, predicted, split.columns[column], chosen, chances)


def _favourable(labels: tuple[str, ...], asked: str | None) -> int:
    if asked is None and len(labels) == 2:
        return 1
    if asked is None or asked not in labels:
        what = "no class is named" if asked is None else f"there is no class {asked!r}"
        raise UsageError(
            f"{what} as the favourable one; there are {', '.join(labels[:20])}.",
            where="--favourable",
            fix=f"name the one that is good for those who are given it: --favourable {labels[-1]!r}.",
        )
    return labels.index(asked)


def show(column: str, favourable: str, found: Fairness, output: Output) -> None:
    """Print a report."""
    from bigmodel_core.auditing.fairness import FEW

    rates = ["True", "Given", "True positive", "False positive", "Accuracy", "Probability", "Calibration"]
    output.line(f"By {column}, of the class {favourable}:", "bold")
    rows = [_row(group, group.name or "(empty)") for group in found.groups]
    output.table(
        [column, "Samples", *rates], [*rows, _row(found.overall, "all")], numbers=["Samples", *rates]
    )
    output.line()
    output.pairs({title: f"{getattr(found, name):.4f}" for name, title in _MEASURES.items()})
    if small := [group.name for group in found.groups if group.is_small]:
        output.say(f"* fewer than {FEW} samples: {', '.join(small)}. Their rates say little.", "yellow")


def _row(group: Group, title: str) -> list[Any]:
    rates = (
        group.favourable, group.selection, group.true_positive, group.false_positive, group.accuracy,
        group.probability, group.calibration,
    )  # fmt: skip
    mark = "*" if group.is_small else ""
    return [title + mark, f"{group.samples:,}", *("" if rate is None else f"{rate:.4f}" for rate in rates)]
