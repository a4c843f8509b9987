"""What a run came to: its best checkpoint on the test samples, and what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bigmodel_core.cli.app import STOPPED
from bigmodel_core.cli.compared import compared, point_of
from bigmodel_core.cli.compared import show as show_compared
from bigmodel_core.cli.sources import RUNS
from bigmodel_core.cli.terminal import Output, metric

if TYPE_CHECKING:
    from bigmodel_core.data.data import Data
    from bigmodel_core.train.history import History
    from bigmodel_core.train.profile import Profile
    from bigmodel_core.train.trainer import Trainer


def finish(trainer: Trainer, history: History, data: Data, folder: Path, output: Output) -> None:
    """Measure the best checkpoint on the test samples, note it, and say what to do next."""
    from bigmodel_core.generating.writer import writes
    from bigmodel_core.train.baselines import is_series
    from bigmodel_core.train.checkpoint import read
    from bigmodel_core.train.forecasting import quantiles_of
    from bigmodel_core.train.history import plain

    profiled = _profiled(trainer)
    if history.interrupted:
        output.line(f"Resume with: bigmodel train --resume {shlex.quote(str(folder))}")
        output.result({"run": str(folder), **history.to_dict(), "best_epoch": None, "test": None, **profiled})
        raise typer.Exit(STOPPED)
    best = trainer.state.best
    trainer.network.load_state(read(folder).state)
    found = trainer.evaluate(data.test) if data.test.y is not None else {}
    results = {"best_epoch": best.epoch if best else None, "test": plain(found)}
    if is_series(data):
        levels = quantiles_of(trainer.network.layer)
        results |= compared(data, data.test, point_of(data.test, trainer.predict(data.test), levels))
    if trainer.record is not None:
        trainer.record.note(results=results)
    if not output.as_json:
        which = f"best checkpoint (epoch {best.epoch})" if best else "last checkpoint"
        values = "  ".join(
            f"{name} {metric(value)}" for name, value in found.items() if isinstance(value, float)
        )
        output.line(f"{which[0].upper()}{which[1:]} on {len(data.test):,} test samples: {values}", "bold")
        for name, value in found.items():
            if not isinstance(value, float):
                output.line(name)
                output.matrix(value)
        show_compared(results, output)
        if trainer.profile is not None:
            _show(trainer.profile, output)
        typed = shlex.quote(str(folder))
        which = "" if folder.parent == RUNS else f" --run {typed}"
        output.say(f"\nSaved in {folder}. Next:")
        if data.tokenizer is not None and writes(trainer.network):
            output.say(f'  bigmodel generate {typed} --prompt "..."')
        if is_series(data):
            output.say(f"  bigmodel forecast {typed}")
        if trainer.encoding is not None and trainer.encoding.odd_above is not None:
            output.say(f"  bigmodel predict {typed} TABLE.csv  # which rows are odd")
        output.say(f"  bigmodel export model.onnx{which}")
        output.say(f"  bigmodel evaluate {typed}")
        output.say(f"  bigmodel report {typed}")
        output.say(f"  bigmodel info {typed}")
    output.result({"run": str(folder), **history.to_dict(), **results, **profiled})


def _profiled(trainer: Trainer) -> dict[str, Any]:
    """Where the time went, for programs, if it was measured."""
    return {} if trainer.profile is None else {"profile": trainer.profile.to_dict()}


def _show(profile: Profile, output: Output) -> None:
    for title, (columns, rows) in profile.tables().items():
        output.line()
        output.line(title, "bold")
        output.table(columns, rows, numbers=[name for name in columns if name.endswith(("ms", "Share"))])
