"""Predicted numbers on a page: predictions beside the truth, residuals, forecasts, the worst samples."""

from __future__ import annotations

import numpy as np

from bigmodel_core.charts import Chart, line, scatter
from bigmodel_core.charts.texts import number
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.quantities import count
from bigmodel_core.reporting.page import Block, Charts, Gallery, Section, Table, Text
from bigmodel_core.reporting.tested import Tested, short

TARGETS, WORST, COLUMNS, IMAGES = 4, 10, 7, 12
"""Targets that are drawn; samples and columns in the table of the worst, and images."""
STEPS = 240
"""Steps of a series that are drawn."""


def of_numbers(tested: Tested) -> list[Section]:
    """What there is to see of predicted numbers."""
    outputs = np.asarray(tested.trainer.predict(tested.split), np.float64)
    truth = np.asarray(tested.split.truth[np.arange(len(tested.split))], np.float64)
    loss = tested.trainer.step.loss
    if isinstance(loss, Loss):
        outputs = loss.point(outputs)
    predicted = outputs.reshape(len(outputs), -1)
    true = truth.reshape(predicted.shape)
    names = _names(tested, predicted.shape[1])
    found = [Section("Residuals", residuals(predicted, true, names))]
    if tested.kind == "series":
        found.insert(0, Section("Forecasts", _forecasts(tested, predicted, true)))
    found.append(Section("Predictions", _worst(tested, predicted, true, names)))
    return found


def _names(tested: Tested, wide: int) -> list[str]:
    if wide == 1:
        return [tested.data.target or "target"]
    return [f"{tested.data.target or 'target'} {place}" for place in range(1, wide + 1)]


def residuals(predicted: np.ndarray, true: np.ndarray, names: list[str]) -> list[Block]:
    """Predicted numbers beside the true ones, (n, k) both, and how far they are apart."""
    charts: list[Chart] = []
    rows = []
    for at, name in enumerate(names):
        found, truth = predicted[:, at], true[:, at]
        residual = truth - found
        spread = float(np.std(truth))
        rows.append(
            (
                name,
                number(float(np.mean(np.abs(residual)))),
                number(float(np.sqrt(np.mean(residual**2)))),
                number(float(np.mean(residual))),
                number(float(np.abs(residual).max())),
                number(spread),
            )
        )
        if at < TARGETS:
            charts.append(
                scatter(
                    truth,
                    found,
                    title=f"{name}: predicted and true",
                    x_label="true",
                    y_label="predicted",
                    diagonal=True,
                )
            )
            charts.append(
                scatter(
                    found,
                    residual,
                    title=f"{name}: residuals",
                    x_label="predicted",
                    y_label="true minus predicted",
                    level=0,
                )
            )
            charts.append(_spread(residual, name))
    columns = (
        "Target",
        "Mean absolute error",
        "Root mean squared",
        "Mean residual",
        "Largest",
        "Deviation of the truth",
    )
    return [Charts(charts), Table("Errors, in the units of the data", columns, rows, columns[1:])]


def _spread(residual: np.ndarray, name: str) -> Chart:
    """How often residuals of each size are."""
    known = residual[np.isfinite(residual)]
    if not len(known):
        return line({}, title=f"{name}: spread of the residuals")
    counts, edges = np.histogram(known, bins=min(30, max(5, round(len(known) ** 0.5))))
    return line(
        {"samples": counts},
        (edges[:-1] + edges[1:]) / 2,
        title=f"{name}: spread of the residuals",
        x_label="true minus predicted",
        y_label="samples",
        y_limits=(0.0, float(counts.max()) or 1.0),
    )


def _forecasts(tested: Tested, predicted: np.ndarray, true: np.ndarray) -> list[Block]:
    charts = []
    is_next = predicted.shape[1] == 1
    if is_next and tested.split.reach is not None:
        shown = slice(max(0, len(true) - STEPS), None)
        places = np.arange(len(true))[shown]
        charts.append(
            line(
                {"true": true[shown, 0], "forecast": predicted[shown, 0]},
                places,
                title="Each step, forecast from those before it",
                x_label="sample of the split",
            )
        )
    errors = np.abs(predicted - true).mean(1)
    order = np.argsort(errors, kind="stable")
    picked = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    (x,) = tested.inputs(list(picked.values()))
    series = tested.raw(x)[..., 0]
    for (title, at), before in zip(picked.items(), series, strict=True):
        after = np.arange(1, predicted.shape[1] + 1)
        charts.append(
            line(
                {"before": before, "true": true[at], "forecast": predicted[at]},
                {"before": np.arange(1 - len(before), 1), "true": after, "forecast": after},
                title=f"The {title} forecast: {tested.part} {at}",
                x_label="steps from now",
            )
        )
    blocks: list[Block] = [Charts(charts)]
    steps = tested.data.preprocessing
    targets = tested.data.target_preprocessing
    if is_next and (steps is None) == (targets is None):
        (every,) = tested.inputs(np.arange(len(tested.split)))
        naive = float(np.mean(np.abs(tested.raw(every)[:, -1, 0] - true[:, 0])))
        own = float(errors.mean())
        blocks.append(
            Text(
                f"The mean absolute error is {number(own)}; forecasting that nothing changes has"
                f" {number(naive)}."
            )
        )
    return blocks


def _worst(tested: Tested, predicted: np.ndarray, true: np.ndarray, names: list[str]) -> list[Block]:
    errors = np.abs(predicted - true).mean(1)
    order = np.argsort(-errors, kind="stable")
    if tested.kind == "image":
        places = order[:IMAGES].tolist()
        lines = [[f"predicted {short(predicted[at, 0])}", f"true {short(true[at, 0])}"] for at in places]
        return [Text("The most wrong predictions", "title"), Gallery(tested.shown(places, lines))]
    places = order[:WORST].tolist()
    wide = min(len(names), 2)
    columns = ["Sample", "Error"]
    for name in names[:wide]:
        columns += [f"Predicted {name}", f"True {name}"]
    rows = []
    for at in places:
        pairs = [short(value[at, target]) for target in range(wide) for value in (predicted, true)]
        rows.append([f"{tested.part} {at}", short(errors[at]), *pairs])
    if tested.kind == "row":
        (x,) = tested.inputs(places)
        columns += tested.columns(COLUMNS)
        rows = [[*row, *tested.row(item, COLUMNS)] for row, item in zip(rows, x, strict=True)]
    left_out = len(tested.columns(10**6)) - COLUMNS if tested.kind == "row" else 0
    note = [Text(f"{count(left_out)} more columns are not shown.", "faint")] if left_out > 0 else []
    return [Table(f"The {len(rows)} most wrong of {len(true):,} samples", columns, rows, columns[1:]), *note]
