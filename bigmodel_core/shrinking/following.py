"""The units of a model, as its graphs say: an op's rule joins the axes of what it takes and gives.

An op without a rule lets nothing that it touches be taken out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bigmodel_core.graph import Constant, Input, Node, Value, Variable, needed
from bigmodel_core.graph.spec import Dim
from bigmodel_core.nn.trace import Trace
from bigmodel_core.shrinking.rules import nothing, rule_of
from bigmodel_core.shrinking.units import Axes, Axis, Units


class Followed:
    """The units of a model, found in its graphs.

    Args:
        traces: the model's, in training and in inference.

    Attributes:
        units: which belong together.
        parameters: the axes of each parameter, by path.
        values: the axes of each value.
        makers: for the weights whose numbers make the channels along an axis, that axis, by path.
        scales: the paths of what batch normalisation multiplies channels with.
    """

    def __init__(self, traces: Iterable[Trace]) -> None:
        self.units = Units()
        self.parameters: dict[str, Axes] = {}
        self.values: dict[Value, Axes] = {}
        self.makers: dict[str, int] = {}
        self.scales: set[str] = set()
        for trace in traces:
            self._follow(trace)

    def _follow(self, trace: Trace) -> None:
        assigned = {**trace.updates, **trace.carried_updates}
        for node in needed([*trace.outputs, *trace.inputs, *trace.values.values(), *assigned.values()]):
            for value, axes in zip(node.outputs, self._through(node), strict=True):
                self.values[value] = axes
        for value in trace.outputs:
            self.fix(self.values[value])
        states = {path: self.values[value] for path, value in trace.carried.items() if value in self.values}
        for path, value in assigned.items():
            before = states[path] if path in states else self.parameters[path]
            for now, new in zip(before, self.values[value], strict=True):
                self.units.join(now, new)

    def _through(self, node: Node) -> list[Axes]:
        """The axes of what a node gives."""
        op = node.op
        if isinstance(op, Variable):
            if op.path not in self.parameters:
                self.parameters[op.path] = [self.fresh(dim) for dim in op.spec.shape]
            return [self.parameters[op.path]]
        if isinstance(op, (Input, Constant)):
            return [nothing(value) for value in node.outputs]
        found = rule_of(node)(self, node, [self.values[value] for value in node.inputs])
        return [*found, *(nothing(value) for value in node.outputs[len(found) :])]

    def fresh(self, dim: Dim) -> Axis:
        """New units along an axis, unless it is free or has one place alone."""
        return self.units.fresh(dim) if isinstance(dim, int) and dim > 1 else None

    def fix(self, axes: Iterable[Axis]) -> None:
        """Nothing can be taken out of some axes."""
        for axis in axes:
            self.units.fix(axis)

    def made(self, value: Value, axis: int) -> None:
        """Note that a weight makes the channels along one of its axes."""
        if isinstance(value.node.op, Variable):
            self.makers[value.node.op.path] = axis

    def kept(self, value: Value, gone: frozenset[int]) -> list[np.ndarray | None]:
        """For each axis of a value which places stay; None for all."""
        return [self.kept_along(axis, gone) for axis in self.values[value]]

    def kept_along(self, axis: Axis, gone: frozenset[int]) -> np.ndarray | None:
        """Which places of an axis stay; None for all."""
        if axis is None:
            return None
        stays = np.array([unit not in gone for unit in self.units.of(axis).tolist()])
        return None if stays.all() else stays
