"""`bigmodel forecast`: what comes after the end of a series, in its own units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.data import DataDir
from bigmodel_core.cli.terminal import AsJson, Output
from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    from bigmodel_core.charts.chart import Chart
    from bigmodel_core.train.forecasting import Forecast

app = command_app()

MOST_CHARTS = 20


@app.command()
def forecast(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run or a checkpoint.  [default: the newest run]"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="How many.  [default: the model's horizon]")
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it to a .csv or .jsonl file.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw it with the past, as an .svg file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast past the end of the series a model was trained on, or of another file.

    A model gives its horizon at once; beyond it, its own forecasts are taken for
    the values.
    """
    from bigmodel_core.cli.prediction_file import check_target, write_predictions
    from bigmodel_core.cli.sources import found, is_onnx
    from bigmodel_core.train.atomic import write_atomically
    from bigmodel_core.train.forecasting import forecast as made

    for file in (out, plot):
        if file is plot and file is not None and file.suffix.lower() != ".svg":
            raise UsageError(
                f"a chart cannot be written as '{file.suffix}'.",
                where=f"--plot {file}",
                fix="name a file that ends in .svg.",
            )
        if file is not None:  # before anything is computed
            check_target(file if file is out else file.with_suffix(".csv"))
    path = found(run)
    if is_onnx(path):
        raise UsageError(
            "an ONNX file does not go on from its own forecasts.",
            where=str(path),
            fix="forecast with the run it was exported from.",
        )
    result = made(path, data_dir, steps)
    output = Output(as_json)
    for note in result.notes:
        output.say(note, "dim")
    if out is not None:
        write_predictions(out, result.rows())
        output.say(f"{len(result.rows())} rows written to {out}")
    elif not as_json:
        _show(result, output)
    if plot is not None:
        charts = result.charts()
        write_atomically(plot, [stacked(charts[:MOST_CHARTS]).encode()])
        more = f", the first {MOST_CHARTS} of {len(charts)} charts" if len(charts) > MOST_CHARTS else ""
        output.say(f"Drawn in {plot}{more}")
    output.result({"of": str(path), **result.to_dict()})


def _show(result: Forecast, output: Output) -> None:
    rows = result.rows()
    names = list(rows[0])
    titles = {"series": "Series", "date": "Date", "step": "Step"}
    output.table(
        [titles.get(name, name) for name in names],
        [[row[name] if isinstance(row[name], str) else f"{row[name]:.6g}" for name in names] for row in rows],
        numbers=[name for name in names if name not in titles],
    )


def stacked(charts: list[Chart]) -> str:
    """Charts below each other as one SVG."""
    if len(charts) == 1:
        return charts[0].svg
    from bigmodel_core.charts.chart import WIDTH

    parts, top = [], 0.0
    for chart in charts:
        parts.append(chart.svg.replace("<svg ", f'<svg y="{top:.1f}" ', 1))
        top += float(chart.svg.split('height="', 1)[1].split('"', 1)[0]) + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {top:.0f}"'
        f' width="{WIDTH:.0f}" height="{top:.0f}">{"".join(parts)}</svg>'
    )
