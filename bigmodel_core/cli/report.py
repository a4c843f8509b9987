"""`bigmodel report`: one HTML page about a run, which needs no network and no script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.data import DataDir, DataOfRun
from bigmodel_core.cli.terminal import AsJson, Output, size
from bigmodel_core.errors import UsageError

app = command_app()


@app.command()
def report(
    what: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="The folder of a run.  [default: the newest run]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The page.  [default: report.html in the run]"),
    ] = None,
    data_name: DataOfRun = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a page about a run: how it learned, and what its model does on the test samples.

    The page is one file without scripts that loads nothing. Where the data of the run are not found, it is
    made without the parts that need them, and says why.
    """
    from bigmodel_core.cli.sources import RUNS, found, known_of, load_data, run_of
    from bigmodel_core.reporting.report import NAME, checked_target
    from bigmodel_core.reporting.run import run_page
    from bigmodel_core.reporting.subject import subject_of
    from bigmodel_core.train import runs
    from bigmodel_core.train.atomic import write_atomically

    path = runs.newest(RUNS) if what is None else found(what)
    run = run_of(path)
    if run is None:
        raise UsageError(
            "this is no run.", where=str(path), fix="pass the folder of a run, such as runs/mlp-001."
        )
    target = checked_target(run / NAME if out is None else out)
    subject = subject_of(
        run,
        lambda content: load_data(data_name, data_dir, known_of(content)),
        needs_data=data_name is not None or data_dir is not None,
    )
    page = run_page(subject)
    written = page.html().encode()
    write_atomically(target, [written])
    output = Output(as_json)
    if not as_json:
        output.line(f"Wrote {target}, {size(len(written))}")
        if subject.left_out:
            output.say(f"Without the parts that need samples: {subject.left_out}", "yellow")
    output.result(
        {
            "report": str(target),
            "run": str(run),
            "bytes": len(written),
            "sections": [section.key for section in page.sections],
            "metrics": {} if subject.tested is None else dict(subject.tested.measures),
            "left_out": subject.left_out or None,
        }
    )
