"""`bigmodel predict`: what a trained model says about arrays, images, table rows or a test set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.data import DataDir
from bigmodel_core.cli.terminal import AsJson, Output, count
from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    from bigmodel_core.cli.predictor import Predictor
    from bigmodel_core.nn.predictions import Prediction

app = command_app()


@app.command()
def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX file, a run or a checkpoint.")],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Arrays (.npy, .npz), images (.png, ...) or tables (.csv)."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="NAME", help="Predict the test samples of this data set.")
    ] = None,
    data_dir: DataDir = None,
    number: Annotated[int, typer.Option("--count", min=1, help="How many test samples to show.")] = 10,
    invert: Annotated[
        bool, typer.Option("--invert", help="Swap black and white of images, for dark ink on white paper.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write every prediction to a .csv or .jsonl file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict arrays, images or table rows with a trained model.

    ONNX files are run by ONNX Runtime alone. Images get the size, the channels and the preprocessing of the
    data the model was trained on; so do integers in arrays. Floats in arrays are taken as they are. A
    model of several inputs takes a .npz with an array for each of them, by name.
    """
    if (data is None) == (not inputs):
        raise UsageError(
            "expected files to predict, or --data." if data is None else "files and --data were both given.",
            fix="as in: bigmodel predict model.onnx digit.png, or: bigmodel predict model.onnx --data digits",
        )
    from bigmodel_core.cli.prediction_file import check_target, write_predictions
    from bigmodel_core.cli.predictor import load

    if out is not None:
        check_target(out)  # before anything is computed
    predictor = load(model)
    output = Output(as_json)
    if data is not None:
        _predict_data(predictor, data, data_dir, number, out, output)
        return
    rows: list[tuple[str, Prediction]] = []
    for path in inputs or ():
        names, batches = predictor.read(path, invert=invert)
        rows += zip(names, predictor.predictions(*batches), strict=True)
    records = [{"input": name, **prediction.to_dict()} for name, prediction in rows]
    if out is not None:
        write_predictions(out, records)
        output.say(f"{count(len(records))} predictions written to {out}")
    elif not as_json:
        _show(output, [(name, prediction, None) for name, prediction in rows])
    output.result(records)


def _predict_data(
    predictor: Predictor, name: str, data_dir: Path | None, number: int, out: Path | None, output: Output
) -> None:
    """Predict a test set: some samples with the truth, and the share that is right."""
    import numpy as np

    from bigmodel_core.cli.prediction_file import write_predictions
    from bigmodel_core.cli.predictor import BATCH, check_samples
    from bigmodel_core.cli.sources import load_data
    from bigmodel_core.train.evaluation import in_recorded_units

    data = load_data(name, data_dir, predictor.known)
    truth = in_recorded_units(data.test.y, predictor.known.encoding)
    check_samples(predictor, data)
    found = [
        prediction
        for start in range(0, len(data.test), BATCH)
        for prediction in predictor.predictions(*predictor.prepared(data.test.x, start, start + BATCH))
    ]
    labels = predictor.known.labels or data.labels
    every = [
        (
            f"test {position}",
            prediction,
            None if truth is None else _truth(truth[position], labels, prediction),
        )
        for position, prediction in enumerate(found)
    ]
    rows = every[:number]
    if out is not None:
        write_predictions(
            out,
            [
                {"input": key, **prediction.to_dict(), **({} if truth is None else {"truth": true})}
                for key, prediction, true in every
            ],
        )
    result: dict[str, Any] = {
        "data": data.name,
        "split": "test",
        "samples": len(data.test),
        "by": predictor.by,
        "predictions": [
            {"input": key, **prediction.to_dict(), "truth": true} for key, prediction, true in rows
        ],
    }
    summary = f"{count(len(data.test))} test samples of {data.name}, computed by {predictor.by}"
    if truth is not None and found[0].index is not None:
        right = int(np.sum(np.array([prediction.index for prediction in found]) == truth))
        of = f" of {count(truth.size)} steps" if truth.ndim > 1 else ""
        result |= {"right": right, "accuracy": right / truth.size}
        summary += f": {count(right)}{of} right, accuracy {right / truth.size:.4f}"
    elif truth is not None:
        error = float(np.mean(np.abs(np.array([prediction.values for prediction in found]) - truth)))
        result["mean_absolute_error"] = error
        summary += f": mean absolute error {error:.4g}"
    if not output.as_json:
        _show(output, rows)
        output.say(f"\n{summary}")
    if out is not None:
        output.say(f"{count(len(every))} predictions written to {out}")
    output.result(result)


def _truth(true: Any, labels: Any, prediction: Prediction) -> Any:
    from bigmodel_core.nn.predictions import in_a_row

    if prediction.index is None:
        return true.tolist()
    if isinstance(prediction.index, list):
        return in_a_row(true.tolist(), labels)
    return labels[int(true)] if labels and int(true) < len(labels) else str(int(true))


def _show(output: Output, rows: list[tuple[str, Prediction, Any]]) -> None:
    from bigmodel_core.cli.terminal import visible
    from bigmodel_core.nn.predictions import Prediction

    is_class = bool(rows) and rows[0][1].label is not None
    has_truth = any(true is not None for *_, true in rows)
    columns = ["Input", "Label" if is_class else "Value"]
    columns += ["Truth"] if has_truth else []
    columns += ["Probability"] if is_class else []
    columns += [""] if is_class and has_truth else []
    lines = []
    for name, prediction, true in rows:
        line = [name, visible(prediction.text())]
        if has_truth:
            line.append(visible(true) if isinstance(true, str) else Prediction(values=true).text())
        if is_class:
            line.append(f"{prediction.probability:.4f}")
            if has_truth:
                line.append("" if prediction.label == true else "wrong")
        lines.append(line)
    output.table(columns, lines, numbers=["Probability"] + ([] if is_class else ["Value", "Truth"]))
