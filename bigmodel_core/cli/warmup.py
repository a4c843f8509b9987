"""`bigmodel warmup`: compile kernels ahead, in several processes, so that training begins at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from bigmodel_core.cli.app import FAILED, command_app
from bigmodel_core.cli.names import class_named
from bigmodel_core.cli.terminal import AsJson, Output, Quiet, count, size

app = command_app()

BATCHES = (64, 7, 1)
"""Sizes of batches that are tried: kernels serve all sizes, but few rows may take others than many."""


@dataclass(frozen=True)
class Task:
    """What one process does at a time: train and ask one model.

    Args:
        model: its qualified name.
        optimizer: that of its training.
    """

    model: str
    optimizer: str


@dataclass(frozen=True)
class Done:
    """What a task gave.

    Args:
        task: which.
        compiled: how many kernels were compiled for it.
        problem: why it could not be done; empty if it was.
    """

    task: Task
    compiled: int = 0
    problem: str = ""


@app.command()
def warmup(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Registered models.  [default: all of them]"),
    ] = None,
    optimizers: Annotated[
        list[str] | None,
        typer.Option(
            "--optimizer", metavar="NAME", help="Besides the model's own; may be repeated.  [default: all]"
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="How many at once.  [default: one per core]")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compile the kernels that models need in training, with each optimizer, and in prediction.

    What is compiled stays in the kernel cache; a second warmup compiles nothing.
    """
    from bigmodel_core.kernels import cache

    tasks = _tasks(models, optimizers)
    output = Output(as_json, quiet)
    started, before = time.perf_counter(), int(str(cache.statistics()["files"]))
    # Where nothing is kept, compiling would be in vain.
    results = list(_shown(_run(tasks, processes), len(tasks), output)) if cache.is_usable() else []
    problems = [item for item in results if item.problem]
    facts = cache.statistics()
    total = sum(item.compiled for item in results)
    kept = (
        int(str(facts["files"])) - before
    )  # two processes may compile the same kernel at once; it counts once
    compiled, is_kept = kept or total, bool(facts["usable"]) and (kept > 0 or total == 0)
    seconds = time.perf_counter() - started
    if not as_json:
        output.line(
            f"Compiled {count(compiled)} kernel{'' if compiled == 1 else 's'} in {seconds:.1f} s; "
            f"{count(int(str(facts['files'])))} files, {size(float(str(facts['bytes'])))} in"
            f" {facts['folder']}."
        )
        for item in problems:
            output.line(f"{item.task.model} with {item.task.optimizer}: {item.problem}", "red")
        if not is_kept:
            output.line("Nothing could be saved: set BIGMODEL_CACHE_DIR to a folder of your own.", "red")
    output.result(
        {
            "compiled": compiled,
            "seconds": seconds,
            "cache": facts,
            "problems": [
                {"model": item.task.model, "optimizer": item.task.optimizer, "problem": item.problem}
                for item in problems
            ],
        }
    )
    if problems or not is_kept:
        raise typer.Exit(FAILED)


def _tasks(models: list[str] | None, optimizers: list[str] | None) -> list[Task]:
    """Each model with its own optimizer, which plain training uses, and with those that were named."""
    chosen = _all("model", models)
    own = [Task(model, _own_optimizer(model)) for model in chosen]
    tasks = [Task(model, optimizer) for optimizer in _all("optimizer", optimizers) for model in chosen]
    return list(dict.fromkeys(own + tasks))


def _own_optimizer(model: str) -> str:
    from bigmodel_core import registry
    from bigmodel_core.registry.config import make, owner_of

    cls = registry.get("model", model)
    return registry.qualified_name(type(make("optimizer", cls.optimizer, owner=owner_of(cls, "optimizer"))))


def _all(kind: str, names: list[str] | None) -> list[str]:
    """The qualified names of what was named, else of everything of a kind."""
    from bigmodel_core import registry

    classes = [class_named(kind, name) for name in names] if names else registry.classes(kind)
    return [registry.qualified_name(cls) for cls in classes]


def _run(tasks: list[Task], processes: int | None) -> Iterator[Done]:
    """The results of the tasks as they come; each process takes the next task when it is done with one."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    from bigmodel_core.kernels.cpu.engine.threads import num_threads

    workers = min(processes or num_threads(), len(tasks))
    if workers == 1:
        yield from map(perform, tasks)
        return
    # Fresh processes: a fork of this one would share locks that its threads may hold.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(perform, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _shown(results: Iterator[Done], total: int, output: Output) -> Iterator[Done]:
    """The results, with a bar on a terminal."""
    if output.quiet or not output.console.is_terminal:
        yield from results
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("compiling"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=output.console, transient=True) as bar:
        task = bar.add_task("", total=total)
        for item in results:
            bar.advance(task)
            yield item


def perform(task: Task) -> Done:
    """Train and ask one model on made-up samples, so that its kernels are compiled."""
    from bigmodel_core.errors import BigmodelError
    from bigmodel_core.kernels import cache

    before = len(cache.compilations)
    try:
        _train_and_ask(task)
    except BigmodelError as error:
        return Done(task, len(cache.compilations) - before, str(error))
    return Done(task, len(cache.compilations) - before)


def _train_and_ask(task: Task) -> None:
    from bigmodel_core.registry.config import make
    from bigmodel_core.train.trainer import Trainer

    model = make("model", task.model)
    trainer = Trainer(model, optimizer=make("optimizer", task.optimizer))
    network = model.build(*model._input_specs())
    for batch_size in BATCHES:
        x, y = _samples(trainer, network, batch_size)
        trainer.step(x, y)
        trainer.predict(x, batch_size)
        if batch_size > 1:  # some metrics are not defined for one sample
            trainer.evaluate((x, y), batch_size)


def _samples(trainer: Any, network: Any, batch_size: int) -> tuple[Any, Any]:
    """Samples of the shape that a model was designed for, and targets that its loss takes."""
    import numpy as np

    generator = np.random.default_rng(0)
    (output,) = network.outputs
    specs = [spec.bind({"N": batch_size}) for spec in network.inputs]
    found = [generator.normal(size=spec.shape).astype(spec.dtype) for spec in specs]
    x = found[0] if len(found) == 1 else tuple(found)
    if trainer.step.loss.target_dtype == "int64":
        return x, np.zeros(batch_size, np.int64)
    return x, generator.normal(size=output.bind({"N": batch_size}).shape).astype(output.dtype)
