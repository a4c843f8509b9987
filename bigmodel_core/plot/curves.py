"""Learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bigmodel_core.plot.axes import axes


def curves(
    values: Mapping[str, Sequence[float | None]], epochs: Sequence[int] | None = None, *, ax: Any = None
) -> Any:
    """Measures over the epochs, those on validation samples dashed, in the colour of their fellow.

    Args:
        values: what was measured in each epoch, by name; None leaves a gap.
        epochs: their numbers, from 1 by default.
        ax: the axes to draw on.

    Returns:
        The axes.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    ax = axes(ax)
    colours: dict[str, Any] = {}
    for name, measured in sorted(values.items(), key=lambda item: item[0].startswith("val_")):
        measure = name.removeprefix("val_")
        points = [float("nan") if value is None else float(value) for value in measured]
        (line,) = ax.plot(
            range(1, len(points) + 1) if epochs is None else epochs,
            points,
            label=name.replace("_", " "),
            linestyle="--" if name.startswith("val_") else "-",
            marker="." if len(points) < 20 else None,
            color=colours.get(measure),
        )
        colours[measure] = line.get_color()
    ax.set_xlabel("epoch")
    ax.xaxis.get_major_locator().set_params(integer=True)
    if len(colours) == 1:
        ax.set_ylabel(next(iter(colours)).replace("_", " "))
    ax.grid(alpha=0.3)
    if len(values) > 1:
        ax.legend()
    return ax
