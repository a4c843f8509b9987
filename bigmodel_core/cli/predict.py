"""`bigmodel predict`: what a trained model says about arrays, images, table rows or a test set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.augmented import Augmented, Changes, Times
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
        list[str] | None,
        typer.Argument(
            metavar="[FILE|TEXT]...",
            help="Arrays (.npy, .npz), images (.png, ...) or tables (.csv); texts, or files with one a line.",
        ),
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
        typer.Option(
            "--out",
            metavar="PATH",
            help="Write every prediction to a .csv or .jsonl file, or masks to a folder.",
        ),
    ] = None,
    times: Times = None,
    augment: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Predict arrays, images, table rows or texts with a trained model.

    ONNX files are run by ONNX Runtime alone. Images get the size, the channels and the preprocessing of the
    data the model was trained on; so do integers in arrays. Floats in arrays are taken as they are. A
    model of several inputs takes a .npz with an array for each of them, by name. A model that was trained on
    texts takes texts. Of a model that says of each pixel what it shows, --out FOLDER gets a mask for each
    image, as large as the image: a PNG whose pixels are the numbers of classes. A model that gives back the
    rows of tables, such as autoencoder, says which are odd, and because of which columns.
    """
    if (data is None) == (not inputs):
        raise UsageError(
            "expected files to predict, or --data." if data is None else "files and --data were both given.",
            fix="as in: bigmodel predict model.onnx digit.png, or: bigmodel predict model.onnx --data digits",
        )
    from bigmodel_core.cli.inputs import ARRAYS, is_file, read_lines
    from bigmodel_core.cli.odd import judged_file, judges, records
    from bigmodel_core.cli.prediction_file import check_target, is_folder
    from bigmodel_core.cli.predictor import load

    if out is not None:
        check_target(out)  # before anything is computed
    predictor = load(model, Augmented.of(times, augment))
    if out is not None and is_folder(out) and not predictor.gives_masks:
        raise UsageError(
            "the model predicts no masks, and folders take masks.",
            where=f"--out {out}",
            fix="name a file that ends in .csv or .jsonl.",
        )
    output = Output(as_json)
    if data is not None:
        _predict_data(predictor, data, data_dir, number, out, output)
        return
    if judges(predictor):
        _write_odd(
            output,
            out,
            [row for what in inputs or () for row in records(*judged_file(predictor, Path(what)))],
        )
        return
    rows: list[tuple[str, Prediction]] = []
    for what in inputs or ():
        if predictor.takes_texts and Path(what).suffix.lower() not in ARRAYS:
            names, texts = read_lines(Path(what)) if is_file(what) else ([what], [what])
            rows += zip(names, predictor.of_texts(texts), strict=True)
            continue
        if predictor.known.encoding.tokenizer is not None and not is_file(what):
            raise _no_answer(predictor)
        names, batches = predictor.read(Path(what), invert=invert)
        rows += zip(names, predictor.predictions(*batches), strict=True)
    answers = [{"input": name, **prediction.to_dict()} for name, prediction in rows]
    if out is not None:
        _write(out, rows, answers, output, inputs)
    elif not as_json:
        _show(output, [(name, prediction, None) for name, prediction in rows])
    output.result(answers)


def _write(
    out: Path,
    rows: list[tuple[str, Prediction]],
    records: list[dict[str, Any]],
    output: Output,
    inputs: list[str] | None = None,
) -> None:
    """Write all predictions to a file, or masks to a folder."""
    from bigmodel_core.cli.mask_files import write_masks
    from bigmodel_core.cli.prediction_file import is_folder, write_predictions

    if is_folder(out):
        write_masks(out, rows, [Path(name) for name in inputs or ()])
    else:
        write_predictions(out, records)
    output.say(f"{count(len(rows))} predictions written to {out}")


def _write_odd(output: Output, out: Path | None, rows: list[dict[str, Any]], most: int | None = None) -> None:
    """Say which rows are odd, and write what is said of each."""
    from bigmodel_core.cli.odd import show
    from bigmodel_core.cli.prediction_file import write_predictions

    if out is not None:
        write_predictions(out, rows)
        output.say(f"{count(len(rows))} predictions written to {out}")
    if not output.as_json:
        show(output, rows, most)
    output.result(rows)


def _no_answer(predictor: Predictor) -> UsageError:
    """Why a model with a tokenizer says nothing of a text."""
    if predictor.known.encoding.made_by() is None:
        return UsageError(
            "the model takes tokens, and nothing says how a text becomes its sample.",
            fix="train it on texts first, as in: bigmodel train bert-classifier --from FOLDER --data"
            " text-classification; or pass arrays of tokens (.npy, .npz).",
        )
    return UsageError(
        f"the model was trained on {predictor.known.data}, and goes on with texts: it says nothing of one.",
        fix="let it write, as in: bigmodel generate RUN --prompt TEXT; or pass arrays of tokens (.npy).",
    )


def _predict_data(
    predictor: Predictor, name: str, data_dir: Path | None, number: int, out: Path | None, output: Output
) -> None:
    """Predict a test set: some samples with the truth, and the share that is right."""
    import numpy as np

    from bigmodel_core.cli.compared import point_of
    from bigmodel_core.cli.odd import judged, judges, records
    from bigmodel_core.cli.predictor import BATCH, check_samples
    from bigmodel_core.cli.sources import load_data
    from bigmodel_core.train.evaluation import in_recorded_units

    data = load_data(name, data_dir, predictor.known)
    truth = in_recorded_units(_one_target(data), predictor.known.encoding)
    check_samples(predictor, data)
    if judges(predictor):
        x = data.test.x
        names = [f"test {position}" for position in range(len(x))]
        _write_odd(
            output, out, records(names, judged(predictor, predictor.prepared(x, 0, len(x)), x)), number
        )
        return
    found = [
        prediction
        for start in range(0, len(data.test), BATCH)
        for prediction in predictor.predictions(*predictor.prepared(data.test.x, start, start + BATCH))
    ]
    if truth is not None and truth.ndim == 2 and data.task != "multilabel":
        found = [_counted(item, truth[row] != data.ignore, data) for row, item in enumerate(found)]
    labels = predictor.known.labels or data.labels
    every = [
        (
            f"test {position}",
            prediction,
            None if truth is None else _truth(truth[position], labels, prediction, data),
        )
        for position, prediction in enumerate(found)
    ]
    rows = every[:number]
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
    if truth is not None and found[0].labels is not None:
        guessed = np.array([np.array([*(item.probabilities or {}).values()]) > 0.5 for item in found])
        right, number = int((guessed == truth).sum()), truth.size
        result |= {"right": right, "accuracy": right / number}
        summary += f": {count(right)} of {count(number)} labels right, accuracy {right / number:.4f}"
    elif truth is not None and found[0].index is not None:
        counts = truth != data.ignore if data.ignore is not None else np.ones(truth.shape, bool)
        if found[0].is_mask:
            guessed = np.array([prediction.index for prediction in found])[counts]
        else:
            guessed = np.concatenate([np.atleast_1d(np.asarray(prediction.index)) for prediction in found])
        right, number = int(np.sum(guessed == truth[counts])), int(counts.sum())
        of = f" of {count(number)} {'steps' if truth.ndim == 2 else 'pixels'}" if truth.ndim > 1 else ""
        result |= {"right": right, "accuracy": right / max(number, 1)}
        summary += f": {count(right)}{of} right, accuracy {right / max(number, 1):.4f}"
    elif truth is not None and found[0].boxes is None:
        values = point_of(data.test, np.array([prediction.values for prediction in found]), ())
        error = float(np.mean(np.abs(values - truth)))
        result["mean_absolute_error"] = error
        summary += f": mean absolute error {error:.4g}"
    if not output.as_json:
        _show(output, rows)
        output.say(f"\n{summary}")
    if out is not None:
        answers = [
            {"input": key, **prediction.to_dict(), **({} if truth is None else {"truth": true})}
            for key, prediction, true in every
        ]
        _write(out, [(key, prediction) for key, prediction, _ in every], answers, output)
    output.result(result)


def _one_target(data: Any) -> Any:
    """The targets of the test samples, read.

    Raises:
        UsageError: there are several.
    """
    import numpy as np

    from bigmodel_core.data.tree import leaves

    targets = leaves(data.test.y)
    if targets.keys() - {""}:
        names = ", ".join(path[1:] for path in targets)
        raise UsageError(
            f"the samples have several targets ({names}), and one is compared with predictions.",
            where="--data",
            fix="use bigmodel evaluate.",
        )
    return np.asarray(targets[""]) if targets else None


def _counted(prediction: Prediction, counts: Any, data: Any) -> Prediction:
    """What is predicted of those steps of a sample that count."""
    import numpy as np

    if not isinstance(prediction.index, list):
        return prediction
    kept = np.asarray(prediction.index)[np.broadcast_to(counts, len(prediction.index))].tolist()
    return replace(prediction, label=_in_a_row(kept, data), index=kept)


def _in_a_row(indices: list[int], data: Any) -> str:
    from bigmodel_core.nn.predictions import in_a_row

    if data.labels is None and data.target_tokenizer is not None:
        text: str = data.target_tokenizer.decode(indices)
        return text
    return in_a_row(indices, data.labels)


def _truth(true: Any, labels: Any, prediction: Prediction, data: Any) -> Any:
    from bigmodel_core.nn.predictions import class_name, class_names, in_shares, named

    if prediction.labels is not None:
        names = class_names(labels, len(true))
        return named([name for name, flag in zip(names, true, strict=True) if flag])
    if prediction.boxes is not None:
        return ", ".join(sorted(class_name(int(row[0]), labels) for row in true if row[0] >= 0)) or "nothing"
    if prediction.index is None:
        return true.tolist()
    if prediction.is_mask:
        return in_shares(true if data.ignore is None else true[true != data.ignore], labels)
    if isinstance(prediction.index, list):
        return _in_a_row(true[true != -1].tolist(), data)
    return labels[int(true)] if labels and int(true) < len(labels) else str(int(true))


def _show(output: Output, rows: list[tuple[str, Prediction, Any]]) -> None:
    from bigmodel_core.cli.terminal import visible
    from bigmodel_core.nn.predictions import Prediction

    is_class = bool(rows) and rows[0][1].label is not None
    is_written = is_class and all(
        item.index is None
        and item.boxes is None
        and item.labels is None
        and all("label" not in span for span in item.spans or ())
        for _, item, _ in rows
    )
    has_truth = any(true is not None for *_, true in rows)
    has_chances = any(prediction.probability is not None for _, prediction, _ in rows)
    columns = ["Input", "Text" if is_written else "Label" if is_class else "Value"]
    columns += ["Truth"] if has_truth else []
    columns += ["Probability"] if has_chances else []
    is_judged = (
        is_class and has_truth and not any(item.is_mask or item.boxes is not None for _, item, _ in rows)
    )
    columns += [""] if is_judged else []
    lines = []
    for name, prediction, true in rows:
        line = [name, visible(prediction.text())]
        if has_truth:
            line.append(visible(true) if isinstance(true, str) else Prediction(values=true).text())
        if has_chances:
            line.append("" if prediction.probability is None else f"{prediction.probability:.4f}")
        if is_judged:
            line.append("" if prediction.label == true else "wrong")
        lines.append(line)
    output.table(columns, lines, numbers=["Probability"] + ([] if is_class else ["Value", "Truth"]))
