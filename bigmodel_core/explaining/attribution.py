"""What an explainer answers: how much each part of the inputs counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bigmodel_core import charts

MOST_CELLS = 1024
"""Of a chart in which each number is a cell."""


@dataclass(frozen=True, eq=False, repr=False)
class Attribution:
    """How much each part of the inputs counts for a model's answer.

    Args:
        method: the name of the explainer.
        values: float64, shaped as the inputs, with 1 where a method tells nothing apart, such as the channels
            of an image; of tokens a number for each. Of a table whose columns became several features,
            methods that answer by columns have a number for each of `facts["columns"]`. Of what concerns all
            samples, as importance by permutation does, there is no axis of samples. Of several inputs a
            tuple, with None for one that nothing is said of.
        names: of the inputs.
        target: (N,) the number of the class or of the output that is explained, or (N, ...) its place where
            each step has some; None if it concerns all.
        outputs: (N,) what is explained: the score of that class, or the number.
        baseline: (N,) the same where the inputs are the baseline, of methods that have one.
        is_signed: whether values below 0 speak against the answer.
        is_global: whether the values concern the model and all samples, not each of them.
        maps: by the path of a layer, what it shows besides, such as the weights of attention.
        facts: what else is known, such as how many steps were taken, or deviations of the values.
    """

    method: str
    values: Any
    names: tuple[str, ...] = ("x",)
    target: np.ndarray | None = None
    outputs: np.ndarray | None = None
    baseline: np.ndarray | None = None
    is_signed: bool = True
    is_global: bool = False
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """The values of each input that something is said of, by its name."""
        given = self.values if isinstance(self.values, tuple) else (self.values,)
        return {name: array for name, array in zip(self.names, given, strict=True) if array is not None}

    @property
    def total(self) -> np.ndarray:
        """The sum of the values of each sample, (N,); of what concerns all, one number."""
        arrays = self.parts.values()
        if self.is_global:
            return np.asarray(sum(float(array.sum()) for array in arrays))
        return np.sum([array.reshape(len(array), -1).sum(1) for array in arrays], axis=0)

    @property
    def gap(self) -> np.ndarray | None:
        """How far the values of each sample are from adding up to `outputs - baseline`, as a share of that,
        (N,); None if there is no baseline. Methods that are not additive have gaps of any size.

        >>> found = Attribution("own", np.array([[2.0, 1.0]]), outputs=np.array([5.0]), baseline=np.zeros(1))
        >>> found.gap.tolist()
        [0.4]
        """
        if self.baseline is None or self.outputs is None or self.is_global:
            return None
        wanted = self.outputs - self.baseline
        missing = np.abs(self.total - wanted)
        return np.divide(missing, np.abs(wanted), out=np.where(missing > 0, np.inf, 0.0), where=wanted != 0)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in self.parts.items())
        return f"<Attribution by {self.method}: {shapes}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the first sample's values, of each input, as bars or over its pixels."""
        return "".join(self._chart(name, array).svg for name, array in self.parts.items())

    def _chart(self, name: str, array: np.ndarray) -> charts.Chart:
        own = array if self.is_global else array[0]
        if own.ndim < 2 or min(own.shape[-2:]) == 1:
            numbers = {str(place): float(value) for place, value in enumerate(own.reshape(-1))}
            return charts.bars(numbers, title=f"{self.method}, {name}")
        pixels = own.reshape(-1, *own.shape[-2:]).sum(0)
        if pixels.size > MOST_CELLS:
            return charts.images([charts.picture(pixels)], title=f"{self.method}, {name}", columns=1)
        return charts.heatmap(pixels, title=f"{self.method}, {name}")

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        plain = {name: array.tolist() for name, array in self.parts.items()}
        found: dict[str, Any] = {
            "method": self.method,
            "values": next(iter(plain.values())) if len(self.names) == 1 else plain,
        }
        for name in ("target", "outputs", "baseline", "gap"):
            if (array := getattr(self, name)) is not None:
                found[name] = array.tolist()
        if self.maps:
            found["maps"] = {path: array.tolist() for path, array in self.maps.items()}
        for name, value in self.facts.items():
            found[name] = _plain(value)
        return found


def _plain(value: Any) -> Any:
    """A fact as JSON can hold it."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
