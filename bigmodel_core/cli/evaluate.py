"""`bigmodel evaluate`: loss and metrics of a run, a checkpoint or an ONNX file on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.augmented import Augmented, Changes, Times
from bigmodel_core.cli.compared import compared, point_of, show_backtest
from bigmodel_core.cli.compared import show as show_compared
from bigmodel_core.cli.data import DataDir, DataOfRun
from bigmodel_core.cli.fairness import by_group, show
from bigmodel_core.cli.membership import attacked
from bigmodel_core.cli.membership import show as show_leak
from bigmodel_core.cli.terminal import AsJson, Output, metric
from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from bigmodel_core.data.data import Data
    from bigmodel_core.data.split import Split
    from bigmodel_core.train.checkpoint import Checkpoint
    from bigmodel_core.train.metric import Metric
    from bigmodel_core.train.trainer import Trainer

app = command_app()


@app.command()
def evaluate(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="A run, a checkpoint or an ONNX file.  [default: the newest run]"
        ),
    ] = None,
    data_name: DataOfRun = None,
    data_dir: DataDir = None,
    part: Annotated[str, typer.Option("--split", metavar="NAME", help="test, train or validation.")] = "test",
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metrics", metavar="NAMES", help="Such as accuracy,f1.  [default: those of training]"),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            metavar="NAME",
            help="How the model writes targets itself, as beam:width=4.  [default: it is given the true"
            " tokens before each]",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="COLUMN", help="Also compare the groups that a column of a table names."
        ),
    ] = None,
    favourable: Annotated[
        str | None,
        typer.Option(
            "--favourable",
            metavar="CLASS",
            help="With --by, the class that is good for those who get it.  [default: the second of two]",
        ),
    ] = None,
    membership: Annotated[
        bool,
        typer.Option("--membership", help="Also attack a run: tell its training samples from the others."),
    ] = False,
    origins: Annotated[
        int | None,
        typer.Option("--backtest", metavar="N", min=1, help="Of a series, also errors from N origins."),
    ] = None,
    times: Times = None,
    augment: Changes = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Samples at a time.")] = 256,
    as_json: AsJson = False,
) -> None:
    """Measure a trained model on a data set; of a run, its best checkpoint."""
    from bigmodel_core.cli.names import named, names_in
    from bigmodel_core.cli.sources import found, is_onnx

    writer = None if strategy is None else named("strategy", strategy)
    chosen = None if metrics is None else [named("metric", text) for text in names_in(metrics)]
    path, changes = found(what), Augmented.of(times, augment)
    if changes is not None and is_onnx(path):
        changes.refuse_file()
    others = {"--strategy": writer, "--by": by, "--membership": membership or None, "--backtest": origins}
    if changes is not None and (other := next((key for key in others if others[key] is not None), None)):
        raise UsageError(f"{other} takes samples as they are.", where="--tta", fix="leave one of both out.")
    if not is_onnx(path):
        options = {"strategy": writer} if changes is None else changes.options(path)
        facts, measured, point = _checkpoint(path, data_name, data_dir, part, chosen, batch_size, options)
    elif writer is None:
        facts, measured, point = _file(path, data_name, data_dir, part, chosen, batch_size)
    else:
        raise UsageError(
            "an ONNX file is run by ONNX Runtime, which writes nothing by itself.",
            where="--strategy",
            fix="evaluate the run.",
        )
    if strategy is not None:
        facts["strategy"] = strategy
    if changes is not None:
        facts["times"] = changes.times
    if favourable is not None and by is None:
        raise UsageError("there are no groups.", where="--favourable", fix="name a column, too: --by COLUMN.")
    groups = None if by is None else by_group(path, *measured, by, favourable)
    leak = attacked(path, *measured) if membership else None
    if origins is not None:
        facts["backtest"] = _backtest(*measured, point, origins)
    output = Output(as_json)
    if not as_json:
        values = facts["metrics"]
        how = "" if strategy is None else f", written by {strategy}"
        how += "" if changes is None else f", each looked at {changes.times} times"
        output.say(f"{facts['of']} on {facts['samples']:,} {part} samples of {facts['data']}{how}", "dim")
        output.pairs({name: metric(value) for name, value in values.items() if isinstance(value, float)})
        for name, value in values.items():
            if not isinstance(value, float):
                output.line(f"{name}")
                output.matrix(value)
        show_compared(facts, output)
        show_backtest(facts, output)
    if by is not None and groups is not None:
        facts["groups"] = {"by": by, "favourable": groups[0], **groups[1].to_dict()}
        if not as_json:
            output.line()
            show(by, *groups, output)
    if leak is not None:
        facts["membership"] = leak.to_dict()
        if not as_json:
            output.line()
            show_leak(leak, part, output)
    output.result(facts)


def split_of(data: Data, name: str) -> Split:
    """The split of a name, with targets.

    Raises:
        UsageError: there is none, or it has no targets.
    """
    parts = data.splits()
    if name not in parts:
        raise UsageError(
            f"{data.name} has no split '{name}'.", where="--split", fix=f"use one of {', '.join(parts)}."
        )
    if parts[name].y is None:
        raise UsageError("the samples have no targets to compare with.", where=f"{data.name}/{name}")
    return parts[name]


def _checkpoint(
    path: Path,
    data_name: str | None,
    data_dir: Path | None,
    part: str,
    metrics: list[Metric] | None,
    batch_size: int,
    options: dict[str, Any],
) -> tuple[dict[str, Any], tuple[Data, Split], np.ndarray | None]:
    """The measures, with what was measured; `options` are those of `Trainer.evaluate`."""
    from bigmodel_core.cli.sources import known_of, load_data
    from bigmodel_core.train.baselines import is_series
    from bigmodel_core.train.checkpoint import read
    from bigmodel_core.train.forecasting import quantiles_of

    content = read(path)
    data = load_data(data_name, data_dir, known_of(content))
    split = split_of(data, part)
    trainer = trainer_of(content, data, metrics)
    facts = {
        "of": str(content.path),
        "by": "bigmodel",
        "data": data.name,
        "split": part,
        "samples": len(split),
        "metrics": trainer.evaluate(split, batch_size, **options),
    }
    point = None
    if is_series(data):
        point = point_of(split, trainer.predict(split, batch_size), quantiles_of(trainer.network))
        facts |= compared(data, split, point)
    return facts, (data, split), point


def _backtest(data: Data, split: Split, point: np.ndarray | None, origins: int) -> dict[str, Any]:
    """The errors from moving origins.

    Raises:
        UsageError: the data are no series, or there are fewer windows.
    """
    from bigmodel_core.train.backtesting import backtest

    if point is None:
        raise UsageError(
            f"the samples of {data.name} are no windows of a series.", where="--backtest", fix="leave it out."
        )
    return backtest(data, split, point, origins).to_dict()


def trainer_of(content: Checkpoint, data: Data, metrics: list[Metric] | None = None) -> Trainer:
    """A trainer with the model of a checkpoint and its loss, to measure it on data.

    Args:
        content: of the checkpoint.
        data: what it is measured on.
        metrics: those of its training if None.
    """
    from bigmodel_core.cli.usual import loss_for, metrics_for
    from bigmodel_core.train.described import loss_of, metrics_of
    from bigmodel_core.train.trainer import Trainer

    options = content.options
    if options:
        loss = loss_of(options)
        metrics = metrics_of(options) if metrics is None else metrics
    else:
        loss = loss_for(content.about.config, data)
        metrics = metrics_for(data) if metrics is None else metrics
    return Trainer(content.restore(), loss, metrics=metrics)


def _file(
    path: Path,
    data_name: str | None,
    data_dir: Path | None,
    part: str,
    metrics: list[Metric] | None,
    batch_size: int,
) -> tuple[dict[str, Any], tuple[Data, Split], np.ndarray | None]:
    """The same for a file that ONNX Runtime runs: metrics alone, since a file holds no loss."""
    import numpy as np

    from bigmodel_core.cli.predictor import check_samples, load
    from bigmodel_core.cli.sources import load_data
    from bigmodel_core.cli.usual import metrics_for
    from bigmodel_core.nn.probabilities import scores_of
    from bigmodel_core.train.baselines import is_series
    from bigmodel_core.train.by_output import named_metrics
    from bigmodel_core.train.evaluation import fitted_metric, in_recorded_units

    predictor = load(str(path))
    data = load_data(data_name, data_dir, predictor.known)
    split = split_of(data, part)
    check_samples(predictor, data)
    metrics = metrics_for(data) if metrics is None else metrics
    metrics = [fitted_metric(item, data.encoding) for item in metrics]
    states = [item.empty() for item in metrics]
    if isinstance(split.y, (dict, tuple)):
        raise UsageError(
            "the samples have several targets, and a file holds no losses of outputs.",
            where=data.name,
            fix="evaluate the run.",
        )
    truth = in_recorded_units(split.y, predictor.known.encoding)
    predicted = []
    for start in range(0, len(split), batch_size):
        outputs = predictor.run(*predictor.prepared(split.x, start, start + batch_size))
        first = scores_of(outputs, predictor.are_probabilities, data.task)
        predicted.append(first)
        assert truth is not None
        target = truth[start : start + batch_size]
        states = [item.update(state, first, target) for item, state in zip(metrics, states, strict=True)]
    results = [np.asarray(item.result(state)) for item, state in zip(metrics, states, strict=True)]
    facts = {
        "of": str(path),
        "by": predictor.by,
        "data": data.name,
        "split": part,
        "samples": len(split),
        "metrics": {
            name: float(value) if value.ndim == 0 else value.tolist()
            for name, value in zip(named_metrics(metrics), results, strict=True)
        },
    }
    point = None
    if is_series(data):
        point = point_of(split, np.concatenate(predicted), ())
        facts |= compared(data, split, point)
    return facts, (data, split), point
