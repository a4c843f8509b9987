"""Learning curves of what a run logged: a chart for each measure, training and validation together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bigmodel_core import charts

ABOUT_TIME = ("learning_rate", "seconds", "samples_per_second")
"""What is logged besides measures of the model."""
VALIDATION = "val_"
"""What the names of measures on validation samples begin with."""


def groups(epochs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The logged numbers by what they measure, that on validation samples beside that in training.

    >>> groups([{"epoch": 1, "loss": 2.0, "val_loss": 2.1, "val_accuracy": 0.5}])
    {'loss': ['loss', 'val_loss'], 'accuracy': ['val_accuracy']}
    """
    found: dict[str, list[str]] = {}
    names = dict.fromkeys(name for logs in epochs for name in logs if name != "epoch")
    for name in sorted(names, key=lambda name: name.startswith(VALIDATION)):
        if any(isinstance(logs.get(name), (int, float)) for logs in epochs):
            found.setdefault(name.removeprefix(VALIDATION), []).append(name)
    return found


def curves(epochs: Sequence[Mapping[str, Any]]) -> list[charts.Chart]:
    """A chart for each measure over the epochs, those about time last.

    Args:
        epochs: what each epoch logged; numbers that it lacks are gaps, as are those that were not finite.

    >>> [chart.title for chart in curves([{"epoch": 1, "loss": 2.0, "val_loss": 2.1, "seconds": 0.1}])]
    ['loss', 'seconds']
    """
    found = groups(epochs)
    places = [as_number(logs.get("epoch", place)) for place, logs in enumerate(epochs, 1)]
    return [
        charts.line(
            {name: [as_number(logs.get(name)) for logs in epochs] for name in names},
            places,
            title=(measure if len(names) > 1 else names[0]).replace("_", " "),
            x_label="epoch",
        )
        for measure, names in sorted(found.items(), key=lambda item: item[0] in ABOUT_TIME)
    ]


def as_number(value: Any) -> float | None:
    """What was logged as a number, or None if it is none."""
    try:
        return float(value) if isinstance(value, (int, float)) else None
    except OverflowError:  # a whole number that no float holds
        return None
