"""`bigmodel export`: a run's best checkpoint as a file that others can run."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.terminal import AsJson, Output, Quiet, metric
from bigmodel_core.errors import BigmodelWarning, UsageError

if TYPE_CHECKING:
    from bigmodel_core.train.checkpoint import Checkpoint

app = command_app()


@app.command()
def export(
    out: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="The file; its ending says what it is.")],
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN", help="A run or checkpoint.  [default: the newest run]"),
    ] = None,
    opset: Annotated[int | None, typer.Option("--opset", help="The operator set to write.")] = None,
    target_runtime: Annotated[
        str | None,
        typer.Option(
            "--target-runtime",
            metavar="VERSION",
            help="The oldest ONNX Runtime that must run it, such as 1.17.",
        ),
    ] = None,
    with_preprocessing: Annotated[
        bool,
        typer.Option("--with-preprocessing", help="Take raw input, return label and probability."),
    ] = False,
    no_fold: Annotated[
        bool,
        typer.Option("--no-fold", help="Keep batch normalisation separate from the layer before it."),
    ] = False,
    exporter_name: Annotated[
        str | None,
        typer.Option("--exporter", metavar="NAME", help="The exporter, if several write such files."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the exporter; may be repeated."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The model's name in the file.  [default: the model's name]")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a run's best checkpoint as an ONNX file, or as what an installed exporter writes.

    An ONNX file appears only when ONNX Runtime computed the same as the model, at two batch sizes.
    """
    import bigmodel_core as bm
    from bigmodel_core.cli.names import class_named, settings, split_options, wrong_usage
    from bigmodel_core.cli.sources import checkpoint, data_typed, known_of, results_of
    from bigmodel_core.exporting.export import exporter_for
    from bigmodel_core.registry import config

    wanted = {
        "opset": opset,
        "target_runtime": target_runtime,
        "with_preprocessing": with_preprocessing or None,
        "fold": False if no_fold else None,
    }
    flags = {key: value for key, value in wanted.items() if value is not None}
    with wrong_usage():
        typed, more = split_options(exporter_name or "")
        cls = class_named("exporter", typed) if exporter_name else exporter_for(out)
        given = config.parse_fields(cls, {**more, **settings(options)})
        for key in given.keys() & flags.keys():
            raise UsageError(f"{key} is given twice.", where="--set", fix="give it once.")
        exporter = config.build(cls, {**given, **flags})
    content = checkpoint(run)
    about, known = content.about, known_of(content)
    details: dict[str, Any] = {
        "name": name or _model_name(about.config) or None,
        "metrics": results_of(content) or None,
        "encoding": known.encoding,
    }
    model = content.restore()
    report = bm.export(
        model,
        out,
        exporter=exporter,
        **{key: value for key, value in details.items() if value is not None},
    )
    output = Output(as_json, quiet)
    taken = taken_from(content)
    if not as_json:
        output.line(f"From {taken['of']}")
        output.line(str(report))
        typed = shlex.quote(str(out))
        asked = "predict" if len(model.network.output_names) == 1 else "evaluate"  # predict shows one target
        takes_cells = known.encoding.columns is not None and getattr(exporter, "with_preprocessing", False)
        shown = "TABLE.csv" if takes_cells else data_typed(known)
        uses = {"session": f"{asked} {typed} {shown}", "describe": f"info {typed}"}
        if found := [f"  bigmodel {use}" for ability, use in uses.items() if hasattr(cls, ability)]:
            output.say("\n".join(["\nNext:", *found]))
    output.result(
        {
            "checkpoint": str(content.path),
            "run": taken["run"],
            "epoch": taken["epoch"],
            **report.to_dict(),
        }
    )


def taken_from(content: Checkpoint) -> dict[str, Any]:
    """The run and the epoch that a checkpoint comes from, in words, too.

    Warns:
        BigmodelWarning: the run failed, or its best epoch was its first.
    """
    from bigmodel_core.cli.sources import run_of
    from bigmodel_core.train import runs

    run, epoch = run_of(content.path), content.about.metrics.get("epoch")
    if run is None or content.training is None:
        return {"of": str(content.path), "run": None, "epoch": None}
    done, which = runs.epochs_done(run), "best" if content.path.name == runs.BEST else "last"
    measured = "  ".join(
        f"{name} {metric(value)}"
        for name, value in content.about.metrics.items()
        if isinstance(value, float) and (name.startswith("val_") or name == "loss")
    )
    if how := runs.how_it_ended(run):
        _warn(f"{run}: {how.removeprefix(', ')}; the model is that of its {which} checkpoint.")
    if epoch == 1 and done > 1 and which == "best":
        _warn(f"{run} never improved after its first epoch of {done}.")
    if epoch is None:
        return {"of": f"{content.path}, before the end of an epoch", "run": str(run), "epoch": None}
    return {
        "of": f"{run}, {which} checkpoint: epoch {epoch} of {done}  {measured}",
        "run": str(run),
        "epoch": epoch,
    }


def _warn(text: str) -> None:
    warnings.warn(text, BigmodelWarning, stacklevel=3)


def _model_name(described: Any) -> str:
    """The registry's name of the model a checkpoint holds, without the plugin's."""
    from bigmodel_core import registry
    from bigmodel_core.errors import BigmodelError
    from bigmodel_core.registry import config

    try:
        return registry.display_name(type(config.from_config("model", described)))
    except (BigmodelError, KeyError, TypeError):
        return ""
