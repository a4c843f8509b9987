"""`bigmodel shrink`: a smaller model of a trained one, trained on, and what each of the two costs."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import STOPPED, command_app
from bigmodel_core.cli.data import DataDir
from bigmodel_core.cli.terminal import AsJson, Output, Quiet, count, metric, size
from bigmodel_core.errors import CheckpointError, UsageError, close_matches

if TYPE_CHECKING:
    from bigmodel_core.data.data import Data
    from bigmodel_core.nn.layer import Layer
    from bigmodel_core.nn.optimizer import Optimizer
    from bigmodel_core.shrinking.low_rank import LowRank
    from bigmodel_core.shrinking.pruning import Prune
    from bigmodel_core.train.checkpoint import Checkpoint
    from bigmodel_core.train.trainer import Trainer

app = command_app()

METHODS = ("prune", "low-rank")


@app.command()
def shrink(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run.  [default: the newest run]")
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="As in prune:amount=0.5,structured=true or low-rank:energy=0.9; may be repeated.",
        ),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--into", metavar="MODEL", help="Teach a model that begins anew, as in resnet20:width=8."
        ),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the data.")] = 3,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", help="At which training goes on.  [default: the highest of the run]"),
    ] = None,
    distill: Annotated[
        bool, typer.Option("--distill", help="Let the run teach the smaller model, as --into does.")
    ] = False,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The new run.  [default: runs/MODEL-small-001, -002, ...]"),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make a trained model smaller, train it on as the run was trained, and compare both.

    The smaller model is a run of its own, which the other commands take.
    """
    from bigmodel_core.cli.sources import RUNS, checkpoint, known_of, load_data
    from bigmodel_core.cli.start import folder_for

    output = Output(as_json, quiet)
    chosen, how = [_method(text) for text in methods or ()], [*(methods or ()), *filter(None, [into])]
    if not chosen and into is None:
        raise UsageError(
            "it was not said how.", where="--method", fix="as in: --method prune:amount=0.5,structured=true"
        )
    if chosen and into is not None:
        raise UsageError(
            "a model that begins anew is not made of the run's.", where="--into", fix="leave out --method."
        )
    content = checkpoint(run)
    _check_run(content)
    model = content.restore()
    small: Any = model
    for method in chosen:
        small = small if _is_gradual(method) else method(small)
    data = load_data(None, data_dir, known_of(content))
    if into is not None:
        small, distill = _student(into, data, content), True
    with folder_for(out, _title(content)) as folder:
        trainer = _trainer(content, small, chosen, data, epochs, learning_rate, folder, distill=distill)
        output.say(
            f"{', '.join(how)}: {_numbers(small)} numbers, {_numbers(model)} in {content.path}.",
            "dim",
        )
        with output.progress():
            history = trainer.fit(
                data,
                epochs,
                content.options["batch_size"],
                content.options.get("validation_fraction"),
                verbose=not quiet,
                record={"shrunk": {"from": str(content.path.resolve()), "by": how}},
                augment=_augmentations(content),
            )
    if history.interrupted:
        output.line(f"Resume with: bigmodel train --resume {shlex.quote(str(folder))}")
        output.result({"run": str(folder), **history.to_dict(), "before": None, "after": None})
        raise typer.Exit(STOPPED)
    facts = _compared(content, trainer, data, folder)
    if trainer.record is not None:
        cost = {part: facts[part] for part in ("before", "after")}
        trainer.record.note(results={**facts["results"], **cost})
    if not as_json:
        _show(facts, output)
        typed = shlex.quote(str(folder))
        which = "" if folder.parent == RUNS else f" --run {typed}"
        output.say(
            f"\nSaved in {folder}. Next:\n  bigmodel export model.onnx{which}\n  bigmodel info {typed}"
        )
    output.result({"run": str(folder), "from": str(content.path), "by": how, **facts})


def _method(text: str) -> Prune | LowRank:
    """A method from its name and options.

    Raises:
        UsageError: there is no such method, or an option is unknown or does not fit.
    """
    from bigmodel_core.cli.names import split_options, wrong_usage
    from bigmodel_core.registry import config
    from bigmodel_core.shrinking.low_rank import LowRank
    from bigmodel_core.shrinking.pruning import Prune

    name, options = split_options(text)
    plain = name.lower().replace("_", "-")
    if plain not in METHODS:
        near = close_matches(plain, METHODS)
        raise UsageError(
            f"there is no method '{name}'.",
            where="--method",
            fix=f"{f'did you mean {near[0]}? ' if near else ''}the methods are {', '.join(METHODS)}.",
        )
    cls: Any = Prune if plain == "prune" else LowRank
    with wrong_usage("--method"):
        made: Prune | LowRank = config.build(cls, config.parse_fields(cls, options))
    return made


def _student(text: str, data: Data, content: Checkpoint) -> Layer:
    """A model that begins anew, built for the data.

    Raises:
        UsageError: there is no such model, or an option is unknown or does not fit.
    """
    from bigmodel_core.cli.choice import Choice
    from bigmodel_core.cli.experiment import fitted
    from bigmodel_core.nn.given import network_of
    from bigmodel_core.train.job import parted

    choice = Choice("model", text)
    model = fitted(choice.make(), data, choice.options)
    samples, _ = parted(data, None, 0, model)
    network_of(model, samples.first(1).inputs, int(content.options["seed"]), "cpu")
    return model


def _check_run(content: Checkpoint) -> None:
    """Raise unless the run says how its training can go on."""
    if not content.options:
        raise CheckpointError(
            "this is a saved model, not a run, and does not say how to train it on.",
            where=str(content.path),
            fix="name a run; in Python, bm.prune and bm.factorize take any model.",
        )
    if content.options.get("privacy"):
        raise UsageError(
            "the run is private, and training goes on without privacy.",
            where=str(content.path),
            fix="use bm.prune and bm.Trainer(privacy=...) in Python.",
        )


def _trainer(
    content: Checkpoint,
    small: Layer,
    chosen: list[Prune | LowRank],
    data: Data,
    epochs: int,
    learning_rate: float | None,
    folder: Path,
    *,
    distill: bool,
) -> Trainer:
    """A trainer of the smaller model that does as the run did, at a rate that falls from its highest to 0."""
    from bigmodel_core.cli.names import named
    from bigmodel_core.cli.start import parted
    from bigmodel_core.train.resume import parts
    from bigmodel_core.train.teacher import Teacher
    from bigmodel_core.train.trainer import Trainer

    options = content.options
    made = parts({**options, "teacher": None, "callbacks": []}, content.path, None)
    kept, _ = parted(data, options.get("validation_fraction"))
    steps = epochs * -(-kept // (options["batch_size"] * made["accumulate"]))
    done = (content.training or {})["state"]["steps"]
    optimizer = _falling(made["optimizer"], learning_rate, done, steps)
    callbacks = [
        named("callback", "prune", fields=_schedule(method, steps))
        for method in chosen
        if _is_gradual(method)
    ]
    given = {**made, "optimizer": optimizer, "callbacks": callbacks, "out": folder}
    given["teacher"] = Teacher(content.path) if distill else None
    return Trainer(small, **given)


def _is_gradual(method: Prune | LowRank) -> bool:
    """Whether a method does its work while training goes on: single weights go little by little."""
    return getattr(method, "structured", None) is False


def _schedule(method: Any, steps: int) -> dict[str, Any]:
    """The options of the callback that prunes single weights: all are gone after half of the steps."""
    return {
        "amount": method.amount,
        "scope": method.scope,
        "only": method.only,
        "end": steps // 2,
        "every": max(steps // 100, 1),
    }


def _falling(optimizer: Optimizer, rate: float | None, done: int, steps: int) -> Optimizer:
    """The optimizer of a run with a rate that falls to 0 over more steps.

    Args:
        optimizer: of the run.
        rate: where it begins; the highest of the run if None.
        done: the steps of the run.
        steps: how many there are now.
    """
    from dataclasses import replace

    from bigmodel_core.cli.choice import USUAL_SCHEDULE, make_schedule

    highest = max(optimizer.rate(step) for step in range(0, done + 1, max(done // 200, 1)))
    schedule = make_schedule(USUAL_SCHEDULE, highest if rate is None else rate, steps)
    changes: dict[str, Any] = {"learning_rate": schedule}
    return replace(optimizer, **changes)


def _title(content: Checkpoint) -> str:
    """What the folder of the new run is called, besides its number."""
    from bigmodel_core.registry.discovery import snake_case

    described = content.about.config or {}
    name = str(described.get("name") or described.get("class") or "model").rpartition(":")[2]
    return f"{snake_case(name).replace('_', '-')}-small"


def _augmentations(content: Checkpoint) -> list[Any]:
    from bigmodel_core.train.resume import augmentations

    return augmentations(content.options, content.path)


def _compared(content: Checkpoint, trainer: Trainer, data: Data, folder: Path) -> dict[str, Any]:
    """What the model of the run and the smaller one cost, and what they reach on the test samples."""
    from bigmodel_core.data.loader import Loader
    from bigmodel_core.data.split import Split
    from bigmodel_core.data.tree import leaves
    from bigmodel_core.shrinking.measuring import LARGE, costs
    from bigmodel_core.train.checkpoint import read
    from bigmodel_core.train.history import plain
    from bigmodel_core.train.trainer import Trainer

    best = trainer.state.best
    trainer.network.load_state(read(folder).state)
    before = content.restore().network
    batch, _ = next(iter(Loader(Split(data.test.x), LARGE)))
    inputs = list(leaves(batch).values())
    with tempfile.TemporaryDirectory() as place:
        found = costs([before, trainer.network], inputs, Path(place))
    whole = Trainer(before, trainer.step.loss, metrics=trainer.metrics)
    has_targets = data.test.y is not None
    reached = [plain(item.evaluate(data.test)) if has_targets else {} for item in (whole, trainer)]
    first, after = ({**cost.to_dict(), "test": test} for cost, test in zip(found, reached, strict=True))
    results = {"best_epoch": best.epoch if best else None, "test": reached[1]}
    return {"before": first, "after": after, "results": results}


def _show(facts: dict[str, Any], output: Output) -> None:
    before, after = facts["before"], facts["after"]

    def times(name: str) -> str:
        return f"{before[name] / after[name]:.1f}x" if after[name] else ""

    rows = [
        ["ONNX file", size(before["file"]), size(after["file"]), times("file")],
        ["  compressed", size(before["compressed"]), size(after["compressed"]), times("compressed")],
        ["Parameters", count(before["parameters"]), count(after["parameters"]), times("parameters")],
        ["Weights that are 0", count(before["zeros"]), count(after["zeros"]), ""],
        [
            "Multiply-adds",
            count(before["multiply_adds"]),
            count(after["multiply_adds"]),
            times("multiply_adds"),
        ],
        ["Time of 1 sample", _time(before["one"]), _time(after["one"]), times("one")],
        ["Time of 64", _time(before["many"]), _time(after["many"]), times("many")],
    ]
    for name, value in before["test"].items():
        if isinstance(value, float):
            new = after["test"][name]
            rows.append([f"Test {name}", metric(value), metric(new), f"{new - value:+.4f}"])
    output.table(["", "Before", "After", "Change"], rows, numbers=("Before", "After", "Change"))


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"


def _numbers(model: Layer) -> str:
    return f"{sum(array.size for array in model.state().values()):,}"
