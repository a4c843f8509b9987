"""What a training run measured, epoch by epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bigmodel_core.errors import UnknownNameError

Logs = dict[str, Any]
"""What one epoch measured: "epoch" (from 1), "loss", "val_loss", metrics, "seconds" and so on."""

_LOW_IS_GOOD = ("loss", "error", "seconds", "deviation", "epsilon")


def deciding_loss(logs: Mapping[str, Any]) -> float:
    """The loss that decides ties of the monitored measure: the validation loss, else the training loss;
    infinity if it is not a number.

    >>> deciding_loss({"loss": 0.1, "val_loss": 0.2, "val_accuracy": 1.0})
    0.2
    """
    loss = logs.get("val_loss", logs.get("loss"))
    return float(loss) if isinstance(loss, (int, float)) and loss == loss else math.inf


def number(value: float) -> str:
    """A measured number in few digits, however large or small it is.

    >>> number(0.97218), number(3.4e-5), number(1.2e29), number(12345.678)
    ('0.9722', '3.4000e-05', '1.2000e+29', '12345.6780')
    """
    is_usual = value == 0 or 0.001 <= abs(value) < 1e6 or not math.isfinite(value)
    return f"{value:.4f}" if is_usual else f"{value:.4e}"


@dataclass
class History:
    """What a run measured; a sequence of the epochs' logs.

    Args:
        epochs: the logs of each epoch.
        interrupted: whether Ctrl-C ended the run.
        run: the folder of the run, if it has one.
        diverged: whether training ended with a loss far above that of a model that knows nothing.

    >>> history = History([{"epoch": 1, "val_loss": 0.5}, {"epoch": 2, "val_loss": 0.25}])
    >>> history.best("val_loss")["epoch"], history["val_loss"]
    (2, [0.5, 0.25])
    """

    epochs: list[Logs] = field(default_factory=list)
    interrupted: bool = False
    run: Path | None = None
    diverged: bool = False

    def __repr__(self) -> str:
        told = ("loss", *(name for name in self.last if name.startswith("val_")))
        values = [
            f"{name} {number(value)}"
            for name in told
            if isinstance(value := self.last.get(name), (int, float))
        ]
        epochs = f"{len(self)} epoch{'s' * (len(self) != 1)}"
        parts = [epochs, *values, *["interrupted"] * self.interrupted]
        return f"<History of {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        """The learning curves, for notebooks."""
        from html import escape

        from bigmodel_core.train.curves import curves

        shown = "".join(f"<div>{chart.svg}</div>" for chart in curves(self.epochs))
        about = f"<p>{escape(repr(self))}</p>"
        return f'{about}<div style="display:flex;flex-wrap:wrap;gap:8px">{shown}</div>'

    def plot(self, *names: str, ax: Any = None) -> Any:
        """Draw learning curves with matplotlib (the extra `plot`); returns the axes.

        Args:
            names: measures, each with its fellow on validation samples: "loss" draws "val_loss", too. The
                loss, if none is named.
            ax: the axes to draw on; those of a new figure by default.

        Raises:
            UnknownNameError: nothing of this name was measured.
            MissingPackageError: matplotlib is not installed.

        >>> history = History([{"epoch": 1, "loss": 0.9, "val_loss": 1.0}, {"epoch": 2, "loss": 0.5}])
        >>> ax = history.plot("loss")  # doctest: +SKIP
        """
        from bigmodel_core.plot import curves

        chosen: dict[str, list[Any]] = {}
        for name in names or ("loss",):
            fellows = [fellow for fellow in (name, f"val_{name}") if any(fellow in logs for logs in self)]
            chosen.update({fellow: self[fellow] for fellow in fellows or [name]})
        return curves(chosen, [logs.get("epoch", place) for place, logs in enumerate(self, 1)], ax=ax)

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Logs]:
        return iter(self.epochs)

    def __getitem__(self, name: str) -> list[Any]:
        """The values of one measure, epoch by epoch.

        Raises:
            UnknownNameError: nothing of this name was measured.
        """
        if self.epochs and not any(name in logs for logs in self.epochs):
            raise UnknownNameError(
                f"'{name}' was not measured.", fix=f"use one of {', '.join(self.epochs[-1])}."
            )
        return [logs.get(name) for logs in self.epochs]

    @property
    def last(self) -> Logs:
        """The logs of the last epoch; empty before the first is done."""
        return self.epochs[-1] if self.epochs else {}

    def best(self, name: str = "val_loss", *, higher_is_better: bool | None = None) -> Logs:
        """The logs of the epoch in which a measure was best; of several, the one with the lowest loss.

        Args:
            name: a measure, such as "val_accuracy".
            higher_is_better: which way is better; None decides by the name: losses and errors are to be low.

        Raises:
            UnknownNameError: nothing of this name was measured.
        """
        higher = is_better_high(name) if higher_is_better is None else higher_is_better
        values = self[name]
        found = [
            (value if higher else -value, -deciding_loss(self.epochs[position]), -position)
            for position, value in enumerate(values)
            if isinstance(value, (int, float)) and not math.isnan(value)
        ]
        return self.epochs[-max(found)[-1]] if found else {}

    def to_dict(self) -> dict[str, Any]:
        """The history as plain values that JSON can hold; numbers that are not finite become None."""
        return {
            "epochs": [plain(logs) for logs in self.epochs],
            "interrupted": self.interrupted,
            "diverged": self.diverged,
            "run": None if self.run is None else self.run.as_posix(),
        }


def is_better_high(name: str) -> bool:
    """Whether high values of a measure are good, by its name: losses and errors are to be low, and what a
    metric of that name says.

    >>> is_better_high("val_accuracy"), is_better_high("val_loss"), is_better_high("val_perplexity")
    (True, False, False)
    >>> is_better_high("epsilon")  # what private training has spent
    False
    """
    if any(word in name for word in _LOW_IS_GOOD):
        return False
    from bigmodel_core import registry

    known = set(registry.names("metric"))
    while name and name not in known:  # "val_masked_accuracy" is that of an output, on validation samples
        name = name.partition("_")[2]
    return bool(registry.get("metric", name).higher_is_better) if name else True


def json_line(logs: Mapping[str, Any]) -> str:
    """The logs of an epoch as one line of JSON."""
    return json.dumps(plain(logs), allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """A value without numbers that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
