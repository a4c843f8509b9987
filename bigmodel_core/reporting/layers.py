"""A picture of a model: layers as boxes in the order of computation, and what leads from one to another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bigmodel_core.charts import Box, Chart, flow
from bigmodel_core.graph import LEAVES, Node, needed
from bigmodel_core.graph.spec import format_shape
from bigmodel_core.nn.quantities import count

if TYPE_CHECKING:
    from bigmodel_core.nn.network import Network

FEW, MOST = 16, 40
"""Boxes beyond which the layers of one part of the model share one, and those that are drawn at most."""


@dataclass
class _Group:
    """What shares a box: a layer or a part of the model, with layers without weights behind it.

    Args:
        part: the path of the layer or part.
        nodes: what it computes, in order.
        sources: the numbers of the boxes that it reads.
    """

    part: str
    nodes: list[Node]
    sources: set[int] = field(default_factory=set)

    def about(self, containers: set[str]) -> str:
        """The kinds of its layers, or of the ops of what consists of layers; and the shape of the result."""
        kinds = [type(node.op).__name__ if node.path in containers else node.layer for node in self.nodes]
        names = list(dict.fromkeys(kinds))
        told = ", ".join(names) if len(names) <= 3 else f"{len({node.path for node in self.nodes})} layers"
        return f"{told}, {format_shape(self.nodes[-1].outputs[0].shape)}"


def layers(network: Network) -> Chart:
    """The layers as boxes, each filled by its share of the parameters of the largest."""
    trace = network.trace(training=False)
    order = [node for node in needed(trace.outputs) if not isinstance(node.op, LEAVES)]
    sizes = {path: int(item.spec.size) for path, item in network.parameters.items()}
    tables = {path.rpartition("/")[0] for path, item in network.parameters.items() if item.spec.ndim > 1}
    inputs = [
        Box(name, format_shape(spec.shape))
        for name, spec in zip(network.input_names, network.inputs, strict=True)
    ]
    containers = {"", *(path for node in order for path in _above(node.path))}
    start = {id(value): place for place, value in enumerate(trace.inputs)}
    depth = max((node.path.count("/") for node in order), default=0)
    groups = _groups(order, depth, tables, start)
    while depth > 0 and len(groups) > FEW:
        depth -= 1
        groups = _groups(order, depth, tables, start)
    owned: dict[str, int] = {}
    for path, size in sizes.items():
        owner = _part(path.rpartition("/")[0], depth)
        owned[owner] = owned.get(owner, 0) + size
    boxes, shown = list(inputs), groups[: MOST - len(inputs)]
    most = max(owned.values(), default=0) or 1
    for group in shown:
        parameters = sum(
            owned.pop(part, 0) for part in dict.fromkeys(_part(n.path, depth) for n in group.nodes)
        )
        note = f"{count(parameters)} parameters" if parameters else ""
        name = group.part or type(group.nodes[0].op).__name__
        boxes.append(Box(name, group.about(containers), parameters / most, note))
    edges = [(source, place) for place, group in enumerate(shown, len(inputs)) for source in group.sources]
    if len(groups) > len(shown):
        boxes.append(Box(f"and {len(groups) - len(shown)} more"))
    return flow(boxes, edges, title="Layers")


def _part(path: str, depth: int) -> str:
    return "/".join(path.split("/")[: depth + 1])


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _groups(order: list[Node], depth: int, tables: set[str], start: dict[int, int]) -> list[_Group]:
    """The boxes of a model.

    Args:
        order: what is computed.
        depth: how deep a path may be to have a box of its own.
        tables: the paths of layers with weights of two or more axes.
        start: the numbers of the inputs' boxes, by the values.
    """
    heavy = {_part(path, depth) for path in tables}
    places, inputs = dict(start), len(start)
    found: list[_Group] = []
    for node in order:
        part, last = _part(node.path, depth), inputs + len(found) - 1
        sources = {places[id(value)] for value in node.inputs if id(value) in places}
        is_same = bool(found) and _part(found[-1].nodes[-1].path, depth) == part
        # A layer without weights that reads the box before it alone belongs to that, as an activation does.
        if found and (is_same or (part not in heavy and sources == {last})):
            found[-1].nodes.append(node)
            found[-1].sources |= sources - {last}
        else:
            found.append(_Group(part, [node], sources))
        places.update((id(value), inputs + len(found) - 1) for value in node.outputs)
    return found
