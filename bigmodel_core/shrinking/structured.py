"""Structured pruning: whole channels, units and heads are taken out, wherever the graph has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Node, Op, Value
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.patterns import matching
from bigmodel_core.ops.carried import Carried
from bigmodel_core.ops.filters import ConvolutionForward
from bigmodel_core.ops.random import RandomBits
from bigmodel_core.ops.shape import BroadcastTo, Reshape
from bigmodel_core.ops.slicing import Slice
from bigmodel_core.shrinking.following import Followed
from bigmodel_core.shrinking.rewriting import Rewriting, rewritten
from bigmodel_core.shrinking.units import FIXED
from bigmodel_core.train.restored import RestoredModel

LEAST = 0.1
"""The share of a layer's units that stays, however little they count: a layer of none gives nothing."""


@dataclass(frozen=True, eq=False)
class Widths:
    """Which units a model has, and what each counts.

    Args:
        followed: the way of units through the graphs.
        layers: units that are compared with each other, in one array for each layer; layers whose outputs
            are added up share theirs.
        names: of the weights that make the units of each layer.
        importance: what each unit of each layer counts.
    """

    followed: Followed
    layers: list[np.ndarray]
    names: list[tuple[str, ...]]
    importance: list[np.ndarray]

    @classmethod
    def of(cls, network: Network, importance: str, only: Sequence[str]) -> Widths:
        """The units of a model.

        Args:
            network: the model.
            importance: "l1" or "l2", the norm of the weights that make a unit, or "scale", what batch
                normalisation multiplies it with.
            only: patterns of the weights, or of their layers, whose units may be taken out.

        Raises:
            UnknownNameError: a pattern matches nothing.
            GraphError: nothing can be taken out.
        """
        followed = Followed([network.trace(training=False), network.trace(training=True)])
        makers = followed.makers
        layers = [path.rpartition("/")[0] for path in makers]
        chosen = set(matching(only, list(dict.fromkeys([*makers, *layers])), "only"))
        merged: list[tuple[set[int], tuple[str, ...]]] = []
        for path, axis in makers.items():
            found = followed.parameters[path][axis]
            own = set() if found is None else set(followed.units.of(found).tolist()) - {FIXED}
            names: tuple[str, ...] = (path,)
            for other in [item for item in merged if item[0] & own]:
                merged.remove(other)
                own, names = own | other[0], other[1] + names
            merged.append((own, names))
        kept = [
            (own, names)
            for own, names in merged
            if len(own) > 1 and all(chosen & {path, path.rpartition("/")[0]} for path in names)
        ]
        if not kept:
            raise GraphError(
                "the model has no channels that can be taken out.",
                fix="prune single weights, structured=False; outputs and recurrent layers stay whole.",
            )
        units = [np.array(sorted(own)) for own, _ in kept]
        counted = _importance(followed, network.state(), importance)
        return cls(
            followed, units, [names for _, names in kept], [counted(own, names) for own, names in kept]
        )

    def chosen(self, amount: float, *, is_global: bool) -> frozenset[int]:
        """The units that count least.

        Args:
            amount: their share, of each layer or of all.
            is_global: whether units of all layers are compared, by what they count beside the mean of their
                layer; at least a tenth of each layer stays.
        """
        if not is_global:
            counts = [min(int(amount * len(own) + 1e-9), len(own) - 1) for own in self.layers]
            parts = zip(self.layers, self.importance, counts, strict=True)
            return frozenset(
                int(unit)
                for own, what, count in parts
                for unit in own[np.argsort(what, kind="stable")[:count]]
            )
        shares = [what / max(float(what.mean()), 1e-30) for what in self.importance]
        order = np.argsort(np.concatenate(shares), kind="stable")
        home = np.concatenate([np.full(len(own), number) for number, own in enumerate(self.layers)])
        left = [len(own) - max(1, math.ceil(LEAST * len(own))) for own in self.layers]
        units, gone = np.concatenate(self.layers), set[int]()
        for place in order:
            if len(gone) >= int(amount * len(units) + 1e-9):
                break
            if left[home[place]] > 0:
                left[home[place]] -= 1
                gone.add(int(units[place]))
        return frozenset(gone)


def _importance(
    followed: Followed, state: Mapping[str, np.ndarray], kind: str
) -> Callable[[set[int], tuple[str, ...]], np.ndarray]:
    """A function that gives what each of some units counts."""

    def counted(own: set[int], names: tuple[str, ...]) -> np.ndarray:
        units = np.array(sorted(own))
        sources = [(path, followed.makers[path]) for path in names]
        power = 2 if kind == "l2" else 1
        if kind == "scale":
            scales = [(path, 0) for path in followed.scales if _has(followed, path, own)]
            sources, power = (scales, 1) if scales else (sources, 2)
        found = np.zeros(len(units))
        for path, axis in sources:
            along = followed.parameters[path][axis]
            assert along is not None
            array = np.abs(state[path].astype("float64")) ** power
            sums = array.sum(tuple(other for other in range(array.ndim) if other != axis))
            here = followed.units.of(along)
            places = np.searchsorted(units, here).clip(0, len(units) - 1)
            is_own = units[places] == here
            np.add.at(found, places[is_own], sums[is_own])
        return found ** (1 / power)

    return counted


def _has(followed: Followed, path: str, own: set[int]) -> bool:
    axis = followed.parameters[path][0]
    return axis is not None and not own.isdisjoint(followed.units.of(axis).tolist())


def masked_state(network: Network, followed: Followed, gone: frozenset[int]) -> dict[str, np.ndarray]:
    """The parameters with zeros wherever units that are to go make something, or are used: the model then
    computes what it does without them."""
    found = network.state()
    for path, array in found.items():
        for number, axis in enumerate(followed.parameters[path]):
            stays = followed.kept_along(axis, gone)
            if stays is not None:
                array[(slice(None),) * number + (~stays,)] = 0
    return found


def narrowed(
    network: Network, followed: Followed, gone: frozenset[int], how: Mapping[str, Any]
) -> RestoredModel:
    """A copy of a model without some units.

    Args:
        network: the model.
        followed: the way of its units.
        gone: the units that are taken out.
        how: what was done, for the model's description.
    """
    arrays = {}
    for path, array in network.state().items():
        for number, axis in enumerate(followed.parameters[path]):
            stays = followed.kept_along(axis, gone)
            array = array if stays is None else np.compress(stays, array, number)
        arrays[path] = np.ascontiguousarray(array)

    def write(to: Rewriting, node: Node) -> Op:
        return _narrow(node, followed, gone)

    return rewritten(network, arrays, write, how)


def _narrow(node: Node, followed: Followed, gone: frozenset[int]) -> Op:
    """The op of a node for the sizes that are left."""
    op = node.op
    if isinstance(op, (Reshape, BroadcastTo, RandomBits, Carried)):
        (out,) = node.outputs
        shape = tuple(
            size if stays is None else int(stays.sum())
            for size, stays in zip(out.shape, followed.kept(out, gone), strict=True)
        )
        return replace(op, shape=shape)
    if isinstance(op, ConvolutionForward) and op.groups > 1:
        stays = _along(node.inputs[0], 1, followed, gone)
        return op if stays is None else replace(op, groups=int(stays.reshape(op.groups, -1)[:, 0].sum()))
    if isinstance(op, Slice) and (stays := _along(node.inputs[0], op.axis, followed, gone)) is not None:
        start = op.bound_start(node.inputs[0].spec)
        assert isinstance(op.length, int)
        length = int(stays[start : start + op.length].sum())
        return replace(op, start=int(stays[:start].sum()), length=length)
    return op


def _along(value: Value, axis: int, followed: Followed, gone: frozenset[int]) -> np.ndarray | None:
    return followed.kept_along(followed.values[value][axis], gone)
