"""`bigmodel report`: one HTML page about a run, which needs no network and no script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.data import DataDir
from bigmodel_core.cli.terminal import AsJson, Output, size
from bigmodel_core.errors import BigmodelError, UsageError

if TYPE_CHECKING:
    from bigmodel_core.reporting.run import Subject
    from bigmodel_core.reporting.tested import Tested
    from bigmodel_core.train.checkpoint import Checkpoint

app = command_app()

NAME = "report.html"


@app.command()
def report(
    what: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="The folder of a run.  [default: the newest run]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The page.  [default: report.html in the run]"),
    ] = None,
    data_name: Annotated[
        str | None,
        typer.Option("--data", metavar="NAME", help="The data set.  [default: that of training]"),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a page about a run: how it learned, and what its model does on the test samples.

    The page is one file without scripts that loads nothing. Where the data of the run are not found, it is
    made without the parts that need them, and says why.
    """
    from bigmodel_core.cli.sources import RUNS, found, run_of
    from bigmodel_core.reporting.run import run_page
    from bigmodel_core.train import runs
    from bigmodel_core.train.atomic import write_atomically

    path = runs.newest(RUNS) if what is None else found(what)
    run = run_of(path)
    if run is None:
        raise UsageError(
            "this is no run.", where=str(path), fix="pass the folder of a run, such as runs/mlp-001."
        )
    target = run / NAME if out is None else out
    if target.is_dir():
        raise UsageError(
            "this is a folder.", where=f"--out {target}", fix="name a file, such as report.html."
        )
    output = Output(as_json)
    subject = _subject(run, data_name, data_dir)
    page = run_page(subject)
    written = page.html().encode()
    write_atomically(target, [written])
    left_out = subject.no_model or subject.no_samples
    if not as_json:
        output.line(f"Wrote {target}, {size(len(written))}")
        if left_out:
            output.say(f"Without the parts that need samples: {left_out}", "yellow")
    output.result(
        {
            "report": str(target),
            "run": str(run),
            "bytes": len(written),
            "sections": [section.key for section in page.sections],
            "metrics": {} if subject.tested is None else dict(subject.tested.measures),
            "left_out": left_out or None,
        }
    )


def _subject(run: Path, data_name: str | None, data_dir: Path | None) -> Subject:
    """All that there is of a run.

    Raises:
        CheckpointError: its configuration or its log is damaged.
        BigmodelError: data that the user names cannot be used.
    """
    from bigmodel_core.reporting.run import Subject
    from bigmodel_core.train import runs
    from bigmodel_core.train.checkpoint import read
    from bigmodel_core.train.run import epochs_of

    manifest = runs.read_manifest(run)
    known: dict[str, Any] = {"folder": run, "manifest": manifest, "epochs": epochs_of(run)}
    try:
        content = read(run)
        network = content.restore().network
    except BigmodelError as error:
        return Subject(**known, no_model=error.message)
    try:
        tested = _tested(content, data_name, data_dir)
    except BigmodelError as error:
        if data_name is not None or data_dir is not None:
            raise
        where = f"{error.where}: " if error.where else ""
        return Subject(**known, network=network, no_samples=f"{where}{error.message}")
    return Subject(**known, network=network, tested=tested)


def _tested(content: Checkpoint, data_name: str | None, data_dir: Path | None) -> Tested:
    """The model on the test samples."""
    from bigmodel_core.cli.evaluate import split_of, trainer_of
    from bigmodel_core.cli.sources import known_of, load_data
    from bigmodel_core.reporting.tested import Tested

    data = load_data(data_name, data_dir, known_of(content))
    split = split_of(data, "test")
    trainer = trainer_of(content, data)
    return Tested(trainer, data, "test", trainer.evaluate(split))
