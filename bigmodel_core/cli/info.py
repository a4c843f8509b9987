"""`bigmodel info`: what a model, a run, a checkpoint or an ONNX file consists of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.data import DataDir, preprocessing
from bigmodel_core.cli.kernel_listing import show_kernels
from bigmodel_core.cli.terminal import AsJson, Output, count, metric, size, visible
from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    from bigmodel_core.nn.summary import Summary

app = command_app()


@app.command()
def info(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT",
            help="A model's name, a run, a checkpoint or an ONNX file.  [default: the newest run]",
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of a named model; may be repeated."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="NAME", help="Build a named model for this data set.")
    ] = None,
    data_dir: DataDir = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input-shape",
            metavar="SIZES",
            help="Build a named model for samples of this shape, such as 1,28,28.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            help="Batch size of the prediction whose memory is shown, and of what --kernels lists."
            "  [default: 1, and 64 for a training step]",
        ),
    ] = None,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="List the steps of a prediction and of a training step.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show layers, shapes, parameters, multiply-adds and memory."""
    from bigmodel_core.cli.sources import RUNS, found, is_onnx
    from bigmodel_core.train import runs

    output = Output(as_json)
    if what is not None and _is_model_name(what):
        _model(what, options, data, data_dir, input_shape, batch_size, kernels, output)
        return
    if options or data or input_shape:
        raise UsageError(
            "--set, --data and --input-shape are for models by name.",
            fix="leave them out: what was saved is fixed.",
        )
    path = runs.newest(RUNS) if what is None else found(what)
    if not is_onnx(path):
        _checkpoint(path, batch_size, kernels, output)
    elif kernels:
        raise UsageError(
            "--kernels is for what bigmodel runs itself; an ONNX file is run by ONNX Runtime.",
            fix="name a model, a run or a checkpoint.",
        )
    else:
        _file(path, output)


def _is_model_name(what: str) -> bool:
    """Whether a text means a model of the registry rather than something saved."""
    from bigmodel_core.cli.sources import RUNS

    if Path(what).exists() or (RUNS / what).is_dir():
        return False
    return "=" in what or not (Path(what).suffix or "/" in what or "\\" in what)


# Models ---------------------------------------------------------------------------------------------------


def _model(
    what: str,
    options: list[str] | None,
    data_name: str | None,
    data_dir: Path | None,
    input_shape: str | None,
    batch_size: int | None,
    kernels: bool,
    output: Output,
) -> None:
    from bigmodel_core.cli.experiment import fitted
    from bigmodel_core.cli.names import named, settings, split_options
    from bigmodel_core.cli.sources import load_data
    from bigmodel_core.graph.spec import Spec
    from bigmodel_core.nn.fitting import input_spec
    from bigmodel_core.nn.given import inputs_of
    from bigmodel_core.nn.summary import summarise
    from bigmodel_core.registry import config

    typed = settings(options)
    model = named("model", what, typed)
    specs = model._input_specs()
    if data_name is not None:
        samples = load_data(data_name, data_dir)
        model = fitted(model, samples, {*split_options(what)[1], *typed})
        specs = tuple(map(input_spec, inputs_of(model, samples.train.x)))
    if input_shape is not None:
        if len(specs) > 1:
            raise UsageError(
                f"the model takes {len(specs)} inputs.", where="--input-shape", fix="name a data set: --data."
            )
        specs = (Spec(("N", *_sizes(input_shape)), specs[0].dtype),)
    network = model.build(*specs)
    summary = summarise(network, batch_size or 1)
    described = config.to_config(model)
    if not output.as_json:
        fields = ", ".join(f"{key}={value}" for key, value in described["fields"].items())
        output.line(f"{described['name']}({fields})", "bold")
        output.line((type(model).__doc__ or "").strip().partition("\n")[0], "dim")
        output.line()
        _show_summary(summary, output)
    listing = show_kernels(network, batch_size, output) if kernels else {}
    output.result({"kind": "model", "config": described, **summary.to_dict(), **listing})


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise UsageError(
            f"{text!r} is not a shape.",
            where="--input-shape",
            fix="write sizes separated by commas, as in 1,28,28.",
        )
    return sizes


def _show_summary(summary: Summary, output: Output) -> None:
    from bigmodel_core.nn.summary import COLUMNS

    output.table(COLUMNS, summary.table(), numbers=COLUMNS[3:])
    output.line()
    output.pairs(summary.totals())


def _shape(dims: Any) -> str:
    return "?" if dims is None else f"({', '.join(map(str, dims))}{',' if len(dims) == 1 else ''})"


# Runs and checkpoints ---------------------------------------------------------------------------------------


def _checkpoint(path: Path, batch_size: int | None, kernels: bool, output: Output) -> None:
    from bigmodel_core.cli.sources import results_of, run_of
    from bigmodel_core.nn.summary import summarise
    from bigmodel_core.train import runs
    from bigmodel_core.train.checkpoint import read
    from bigmodel_core.train.resume import parts

    if runs.is_run(path) and not runs.has_learnt(path) and (path / runs.LAST).is_file():
        path = path / runs.LAST  # there is something to show, though nothing to use
    content = read(path)
    about = content.about
    run = run_of(path)
    manifest = runs.read_manifest(run) if run is not None else None
    results = results_of(content)
    network = content.restore().network
    summary = summarise(network, batch_size or 1)
    facts = summary.to_dict()
    facts["name"] = (about.config or {}).get("name") or facts["name"]
    if not output.as_json:
        output.pairs(
            {
                "Run": run,
                "Checkpoint": content.path,
                "Model": _config(about.config),
                "Data": about.data,
                "Input": about.input_meaning,
                "Labels": visible(", ".join(about.labels)) if about.labels else None,
                "Preprocessing": about.preprocessing and preprocessing(about.preprocessing.to_dict()),
                "Epoch": about.metrics.get("epoch"),
                "Metrics": _metrics(results),
                **_came_to(manifest or {}),
            }
        )
        output.line()
        _show_summary(summary, output)
    listing = {}
    if kernels:
        trained = parts(content.options, content.path, []) if content.options else {}
        listing = show_kernels(network, batch_size, output, trained.get("loss"), trained.get("optimizer"))
    output.result(
        {
            "kind": "checkpoint" if run is None else "run",
            "path": str(run or path),
            "checkpoint": str(content.path),
            "config": about.config,
            "data": about.data or None,
            "input_meaning": about.input_meaning or None,
            "labels": about.labels,
            "metrics": results,
            "run": manifest,
            **facts,
            **listing,
        }
    )


def _came_to(manifest: dict[str, Any]) -> dict[str, str]:
    """What a run used and spent, by title."""
    from bigmodel_core.train.energy import described

    used, spent = manifest.get("energy"), manifest.get("spent")
    found = {"Energy": described(used)} if isinstance(used, dict) else {}
    if isinstance(spent, dict):
        found["Privacy"] = f"epsilon {spent['epsilon']:.4g} at delta {spent['delta']:g}"
    return found


def _config(described: Any) -> str | None:
    if not described:
        return None
    name = described.get("name")
    if not isinstance(name, str):  # a layer that no plugin offers
        steps = described.get("shrunk") or ()
        shrunk = [
            _config({"name": step["method"], "fields": {k: v for k, v in step.items() if k != "method"}})
            for step in steps
        ]
        return "; ".join(filter(None, [str(described.get("class", "")), *shrunk])) or None
    given = described.get("fields")
    fields = given.items() if isinstance(given, dict) else ()
    return f"{name}({', '.join(f'{key}={_short(value)}' for key, value in fields)})"


def _short(value: Any) -> str:
    return str(_config(value) if isinstance(value, dict) else value)


def _metrics(values: Any) -> str:
    return ", ".join(
        f"{key} {metric(value)}" for key, value in values.items() if isinstance(value, (int, float))
    )


# ONNX files -------------------------------------------------------------------------------------------------


def _file(path: Path, output: Output) -> None:
    from bigmodel_core.exporting.export import reader_of

    facts = reader_of(path, "describe").describe(path)
    known = facts["metadata"]
    if not output.as_json:
        ports = {
            title: "; ".join(f"{port['name']} {_shape(port['shape'])} {port['dtype']}" for port in facts[key])
            for title, key in (("Inputs", "inputs"), ("Outputs", "outputs"))
        }
        steps = known.get("preprocessing")
        output.pairs(
            {
                "File": f"{path}, {size(facts['bytes'])}",
                "Producer": facts["producer"],
                "Format": f"opset {facts['opset']}, IR {facts['ir_version']}",
                **ports,
                "Encoder": known.get("encoder"),
                "Model": _config(known["config"])
                if isinstance(known.get("config"), dict)
                else known.get("model"),
                "Data": known.get("dataset"),
                "Input": known.get("input_meaning"),
                "Labels": visible(", ".join(map(str, known["labels"])))
                if isinstance(known.get("labels"), list)
                else None,
                "Preprocessing": preprocessing(steps) if isinstance(steps, dict) else None,
                "Metrics": _metrics(known["metrics"]) if isinstance(known.get("metrics"), dict) else None,
                "Versions": _versions(known.get("versions")),
            }
        )
        output.line()
        rows = [
            (
                row["name"],
                row["operator"],
                _shape(row["output_shape"]),
                count(row["parameters"]),
                count(row["multiply_adds"]),
            )
            for row in facts["layers"]
        ]
        total = sum(row["multiply_adds"] or 0 for row in facts["layers"])
        rows.append(("Total", "", "", count(facts["parameters"]), count(total)))
        output.table(
            ["Node", "Operator", "Output", "Parameters", "Multiply-adds"],
            rows,
            numbers=["Parameters", "Multiply-adds"],
        )
    output.result({"kind": "onnx", **facts})


def _versions(found: Any) -> str | None:
    if isinstance(found, str):
        return found
    return ", ".join(f"{key} {value}" for key, value in found.items()) if isinstance(found, dict) else None
