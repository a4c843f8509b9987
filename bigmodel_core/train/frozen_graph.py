"""The saved graph of training in which some layers compute as in inference."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Constant, Input, Node, Variable, with_inner
from bigmodel_core.train.checkpoint_graph import Reference, SavedGraph, SavedNode


class _Region:
    """What a saved graph computes under a path.

    Attributes:
        nodes: the numbers of its nodes.
        inputs: what comes from elsewhere, in the order of its use; parameters, constants and random streams
            are no inputs.
        outputs: what is used elsewhere.
    """

    def __init__(self, graph: SavedGraph, path: str) -> None:
        self.nodes = [
            number
            for number, node in enumerate(graph.nodes)
            if _is_under(node.path, path) and not isinstance(node.op, (Input, Variable, Constant))
        ]
        inside = set(self.nodes)
        read = (reference for number in self.nodes for reference in graph.nodes[number].inputs)
        self.inputs = list(
            dict.fromkeys(ref for ref in read if ref[0] not in inside and not is_leaf(graph.nodes[ref[0]]))
        )
        used = {
            reference
            for number, node in enumerate(graph.nodes)
            if number not in inside
            for reference in node.inputs
        }
        used |= set(graph.outputs)
        self.outputs = sorted(reference for reference in used if reference[0] in inside)


def with_frozen(training: SavedGraph, inference: SavedGraph, frozen: Collection[str]) -> SavedGraph:
    """The graph of training in which what lies under some paths is as in inference.

    Args:
        training, inference: the graphs of a model in both modes.
        frozen: paths of layers.

    Raises:
        GraphError: a part takes or gives other values in training than in inference.
    """
    outermost = sorted(
        path for path in frozen if not any(_is_under(path, other) and path != other for other in frozen)
    )
    return _Merge(training, inference, outermost).result() if outermost else training


class _Merge:
    def __init__(self, training: SavedGraph, inference: SavedGraph, paths: list[str]) -> None:
        self.training, self.inference = training, inference
        self.nodes: list[SavedNode] = []
        self._made: dict[int, int] = {}
        """New numbers of nodes of the training graph."""
        self._outputs: dict[Reference, Reference] = {}
        """What stands for the outputs of frozen parts, once they were added."""
        self._begun = set[str]()
        self._regions: dict[str, tuple[_Region, _Region]] = {}
        self._part: dict[int, str] = {}
        """The frozen parts that nodes of the training graph belong to."""
        for path in paths:
            ours, theirs = _Region(training, path), _Region(inference, path)
            if (len(ours.inputs), len(ours.outputs)) != (len(theirs.inputs), len(theirs.outputs)):
                raise GraphError(
                    "it cannot be frozen: it takes or gives other values in training than in inference.",
                    fix="freeze the larger part around it, or the whole model.",
                    where=path,
                )
            if any(_is_under(node.path, path) for node in _inside_others(training, path)):
                raise GraphError(
                    "it cannot be frozen in a loaded model: it is called in the body of a scan.",
                    fix="freeze the larger part around the loop, or the model that was saved.",
                    where=path,
                )
            if not ours.nodes:  # what others compute with its parameters is theirs
                continue
            self._regions[path] = ours, theirs
            self._part.update(dict.fromkeys(ours.nodes, path))

    def result(self) -> SavedGraph:
        """The new graph."""
        # In the order in which the layers would have made them, from which the steps of a program follow.
        for number, node in enumerate(self.training.nodes):
            path = next((path for path in self._regions if _is_under(node.path, path)), None)
            if path is None:
                self._make(number)
            elif path not in self._begun:
                self._make(self._regions[path][0].nodes[0])
        outputs = tuple(self._known(reference) for reference in self.training.outputs)
        updates = {
            path: self._known(reference)
            for path, reference in self.training.updates.items()
            if reference[0] not in self._part
        }
        return replace(self.training, nodes=tuple(self.nodes), outputs=outputs, updates=updates)

    def _make(self, wanted: int) -> None:
        """Add a node of the training graph, or the part that it is in; what it needs is added before."""
        stack, waiting = [wanted], set[str]()
        while stack:
            number = stack[-1]
            missing = [ref[0] for ref in self._needs(number) if not self._is_made(ref[0])]
            if missing:
                for part in {self._part[item] for item in missing if item in self._part} & waiting:
                    raise GraphError(
                        "it cannot be frozen in a loaded model: it is called again on what came of it.",
                        fix="freeze the larger part around it, or the model that was saved.",
                        where=part,
                    )
                if number in self._part:
                    waiting.add(self._part[number])
                stack.extend(missing)
                continue
            stack.pop()
            if self._is_made(number):
                continue
            if number in self._part:
                self._add_part(self._part[number])
            else:
                node = self.training.nodes[number]
                self._made[number] = self._add(node, [self._known(ref) for ref in node.inputs])

    def _needs(self, number: int) -> list[Reference]:
        if number in self._part:
            return self._regions[self._part[number]][0].inputs
        return list(self.training.nodes[number].inputs)

    def _is_made(self, number: int) -> bool:
        if number in self._part:
            return self._part[number] in self._begun
        return number in self._made

    def _known(self, reference: Reference) -> Reference:
        return self._outputs.get(reference) or (self._made[reference[0]], reference[1])

    def _add_part(self, path: str) -> None:
        """Add what a part computes in inference."""
        ours, theirs = self._regions[path]
        self._begun.add(path)
        given = {there: self._known(here) for there, here in zip(theirs.inputs, ours.inputs, strict=True)}
        inside: dict[int, int] = {}

        def new_of(reference: Reference) -> Reference:
            number, output = reference
            if reference in given:
                return given[reference]
            if number not in inside:  # a parameter or a constant
                inside[number] = self._add(self.inference.nodes[number], [])
            return inside[number], output

        for number, node in enumerate(self.inference.nodes):
            if not _is_under(node.path, path):
                continue
            inside[number] = self._add(node, [new_of(reference) for reference in node.inputs])
        self._outputs.update(
            (ours_out, new_of(theirs_out))
            for ours_out, theirs_out in zip(ours.outputs, theirs.outputs, strict=True)
        )

    def _add(self, node: SavedNode, inputs: list[Reference]) -> int:
        self.nodes.append(replace(node, inputs=tuple(inputs)))
        return len(self.nodes) - 1


def _inside_others(graph: SavedGraph, path: str) -> Iterator[Node]:
    """What is computed inside of ops that are not under a path."""
    for node in graph.nodes:
        body = node.op.inner()
        if body is not None and not _is_under(node.path, path):
            yield from with_inner(body.nodes)


def is_leaf(node: SavedNode) -> bool:
    """Whether a node is a parameter, a constant, or the seed or number of a random stream."""
    return isinstance(node.op, (Variable, Constant)) or (
        isinstance(node.op, Input) and node.op.name.startswith("~")
    )


def _is_under(path: str, above: str) -> bool:
    return path == above or path.startswith(f"{above}/")
