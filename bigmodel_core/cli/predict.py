"""`bigmodel predict`: what a trained model says about arrays, images, table rows or a test set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.data import DataDir
from bigmodel_core.cli.terminal import AsJson, Output, count
from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from bigmodel_core.cli.answers import Answer
    from bigmodel_core.cli.inputs import Port
    from bigmodel_core.cli.sources import Known

app = command_app()

BATCH = 256


@dataclass(frozen=True)
class Predictor:
    """A model that is ready to answer.

    Args:
        run: outputs by name for a batch of its inputs, numbers in the units of the recorded targets.
        ports: what it takes, by name.
        known: what it says about itself.
        by: what computes.
        are_probabilities: whether its own last step makes probabilities.
    """

    run: Callable[..., dict[str, np.ndarray]]
    ports: dict[str, Port]
    known: Known
    by: str
    are_probabilities: bool = False

    @property
    def port(self) -> Port:
        """What it takes as its one input.

        Raises:
            UsageError: it takes several.
        """
        if len(self.ports) != 1:
            raise UsageError(
                f"the model takes {len(self.ports)} inputs: {', '.join(self.ports)}.",
                fix="pass a .npz with an array for each of them.",
            )
        return next(iter(self.ports.values()))

    def read(self, path: Path, *, invert: bool = False) -> tuple[list[str], list[np.ndarray]]:
        """The samples in a file, with a name for each: a batch for each input."""
        from bigmodel_core.cli.inputs import read, read_arrays

        if len(self.ports) > 1:
            return read_arrays(path, self.ports)
        names, batch = read(path, self.port, invert=invert)
        return names, [batch]

    def answers(self, *inputs: np.ndarray) -> list[Answer]:
        """The answers for a batch of any size."""
        from bigmodel_core.cli.answers import answers
        from bigmodel_core.cli.inputs import converted

        ports = self.ports.values()
        given = [converted(x, port, "input") for x, port in zip(inputs, ports, strict=True)]
        count = next((len(x) for x, port in zip(given, ports, strict=True) if port.is_batched), 1)
        found: list[Answer] = []
        for start in range(0, count, BATCH):
            parts = [
                x[start : start + BATCH] if port.is_batched else x
                for x, port in zip(given, ports, strict=True)
            ]
            found += answers(
                self.run(*parts), self.known.task, self.known.labels, self.are_probabilities, start
            )
        return found


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
    """Label arrays, images or table rows with a trained model.

    ONNX files are run by ONNX Runtime alone. Images get the size, the channels and the preprocessing of the
    data the model was trained on; so do whole numbers in arrays. Floats in arrays are taken as they are. A
    model of several inputs takes a .npz with an array for each of them, by name.
    """
    if (data is None) == (not inputs):
        raise UsageError(
            "expected files to predict, or --data." if data is None else "files and --data were both given.",
            fix="as in: bigmodel predict model.onnx digit.png, or: bigmodel predict model.onnx --data digits",
        )
    from bigmodel_core.cli.prediction_file import check_target, write_predictions

    if out is not None:
        check_target(out)  # before anything is computed
    predictor = load(model)
    output = Output(as_json)
    if data is not None:
        _predict_data(predictor, data, data_dir, number, out, output)
        return
    rows: list[tuple[str, Answer]] = []
    for path in inputs or ():
        names, batches = predictor.read(path, invert=invert)
        rows += zip(names, predictor.answers(*batches), strict=True)
    records = [{"input": name, **answer.to_dict()} for name, answer in rows]
    if out is not None:
        write_predictions(out, records)
        output.say(f"{count(len(records))} predictions written to {out}")
    elif not as_json:
        _show(output, [(name, answer, None) for name, answer in rows])
    output.result(records)


def load(what: str) -> Predictor:
    """The model somebody named, ready to answer.

    Raises:
        BigmodelError: it is missing or damaged.
    """
    from bigmodel_core.cli.sources import found, is_onnx

    return _from_file(found(what)) if is_onnx(what) else _from_checkpoint(what)


def _from_checkpoint(what: str) -> Predictor:
    import numpy as np

    from bigmodel_core.cli.inputs import Port
    from bigmodel_core.cli.sources import checkpoint, known_of
    from bigmodel_core.nn.outputs import listed
    from bigmodel_core.nn.probabilities import makes_probabilities
    from bigmodel_core.train.evaluation import answered

    content = checkpoint(what)
    model, known = content.restore(), known_of(content)
    network = model.network
    ports = {name: Port.of(spec.shape, spec.dtype, known.encoding) for name, spec in model.inputs.items()}

    def run(*inputs: np.ndarray) -> dict[str, np.ndarray]:
        outputs = [answered(np.asarray(array), known.encoding) for array in listed(model(*inputs))]
        return dict(zip(network.output_names, outputs, strict=True))

    last = network.trace(training=False).outputs[0]
    return Predictor(run, ports, known, "bigmodel", makes_probabilities(last))


def _from_file(path: Path) -> Predictor:
    from bigmodel_core.cli.inputs import Port
    from bigmodel_core.cli.sources import known_of_file
    from bigmodel_core.exporting.export import reader_of
    from bigmodel_core.train.evaluation import answered

    session = reader_of(path, "session").session(path)
    known = known_of_file(session.metadata)
    is_whole = session.metadata.get("input") == "raw"
    is_raw = known.preprocessing is not None and is_whole
    ports = {
        name: Port.of(dims, dtype, known.encoding, is_raw=is_raw and len(session.input_specs) == 1)
        for name, (dtype, dims) in session.input_specs.items()
    }

    def run(*inputs: np.ndarray) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = session.run(*inputs)
        if is_whole:  # the file itself has the way back behind the model
            return found
        return {key: answered(array, known.encoding) for key, array in found.items()}

    are_probabilities = bool(getattr(session, "gives_probabilities", False))
    return Predictor(run, ports, known, "ONNX Runtime", are_probabilities)


def _predict_data(
    predictor: Predictor, name: str, data_dir: Path | None, number: int, out: Path | None, output: Output
) -> None:
    """Predict a test set: some samples with the truth, and the share that is right."""
    import numpy as np

    from bigmodel_core.cli.prediction_file import write_predictions
    from bigmodel_core.cli.sources import load_data
    from bigmodel_core.train.evaluation import answered

    port = predictor.port
    data = load_data(name, data_dir, predictor.known)
    x, truth = data.test.x, answered(data.test.y, predictor.known.encoding)
    check_samples(predictor, data)
    found = [
        answer
        for start in range(0, len(x), BATCH)
        for answer in predictor.answers(port.from_prepared(x[start : start + BATCH]))
    ]
    labels = predictor.known.labels or data.labels
    every = [
        (f"test {position}", answer, None if truth is None else _truth(truth[position], labels, answer))
        for position, answer in enumerate(found)
    ]
    rows = every[:number]
    if out is not None:
        write_predictions(
            out,
            [
                {"input": key, **answer.to_dict(), **({} if truth is None else {"truth": true})}
                for key, answer, true in every
            ],
        )
    result: dict[str, Any] = {
        "data": data.name,
        "split": "test",
        "samples": len(x),
        "by": predictor.by,
        "predictions": [{"input": key, **answer.to_dict(), "truth": true} for key, answer, true in rows],
    }
    summary = f"{count(len(x))} test samples of {data.name}, computed by {predictor.by}"
    if truth is not None and found[0].index is not None:
        right = int(np.sum(np.array([answer.index for answer in found]) == truth))
        of = f" of {count(truth.size)} steps" if truth.ndim > 1 else ""
        result |= {"right": right, "accuracy": right / truth.size}
        summary += f": {count(right)}{of} right, accuracy {right / truth.size:.4f}"
    elif truth is not None:
        error = float(np.mean(np.abs(np.array([answer.values for answer in found]) - truth)))
        result["mean_absolute_error"] = error
        summary += f": mean absolute error {error:.4g}"
    if not output.as_json:
        _show(output, rows)
        output.say(f"\n{summary}")
    if out is not None:
        output.say(f"{count(len(every))} predictions written to {out}")
    output.result(result)


def check_samples(predictor: Predictor, data: Any) -> None:
    """Whether the samples of a data set are as large as the model's input.

    Raises:
        DataError: they are not.
    """
    import math

    from bigmodel_core.errors import DataError

    if math.prod(data.input_shape) != math.prod(predictor.port.shape):
        raise DataError(
            f"its samples have shape {data.input_shape}, the model takes {predictor.port.shape}.",
            where=data.name,
            fix="name the data set that the model was trained on.",
        )


def _truth(true: Any, labels: Any, answer: Answer) -> Any:
    from bigmodel_core.cli.answers import in_a_row

    if answer.index is None:
        return true.tolist()
    if isinstance(answer.index, list):
        return in_a_row(true.tolist(), labels)
    return labels[int(true)] if labels and int(true) < len(labels) else str(int(true))


def _show(output: Output, rows: list[tuple[str, Answer, Any]]) -> None:
    from bigmodel_core.cli.answers import Answer
    from bigmodel_core.cli.terminal import visible

    is_class = bool(rows) and rows[0][1].label is not None
    has_truth = any(true is not None for *_, true in rows)
    columns = ["Input", "Label" if is_class else "Value"]
    columns += ["Truth"] if has_truth else []
    columns += ["Probability"] if is_class else []
    columns += [""] if is_class and has_truth else []
    lines = []
    for name, answer, true in rows:
        line = [name, visible(answer.text())]
        if has_truth:
            line.append(visible(true) if isinstance(true, str) else Answer(values=true).text())
        if is_class:
            line.append(f"{answer.probability:.4f}")
            if has_truth:
                line.append("" if answer.label == true else "wrong")
        lines.append(line)
    output.table(columns, lines, numbers=["Probability"] + ([] if is_class else ["Value", "Truth"]))
