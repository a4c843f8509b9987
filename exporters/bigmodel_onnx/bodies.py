"""The graph inside an operation, such as the body of a loop, while it is written."""

from __future__ import annotations

from collections.abc import Sequence

from bigmodel_core.graph.spec import Dim, Spec
from bigmodel_onnx.emit import Emitter
from bigmodel_onnx.operations import Inner, Operation, Port


class BodyEmitter(Emitter):
    """A graph under construction inside of a file, with which it shares names, weights and constants. Sizes
    are read outside, where they are the same at each step.

    Args:
        outer: the file, or the graph around.
    """

    def __init__(self, outer: Emitter) -> None:
        super().__init__(outer.opset, outer.folds_norms)
        self.outer, self.write_body = outer, outer.write_body
        self._taken, self._constants = outer._taken, outer._constants
        self.weights, self.specs = outer.weights, outer.specs
        self.made, self.shaped, self.found = outer.made, outer.shaped, outer.found
        self.path = outer.path

    def dimension(self, dim: Dim) -> str:
        return self.outer.dimension(dim)

    def taken(self, spec: Spec) -> str:
        """A new input of the graph."""
        name = self.port(self._unique(f"{self.path}/step".lstrip("/")), spec.dtype, spec.shape)
        self.specs[name] = spec
        return name

    def graph(self, names: Sequence[str]) -> Inner:
        """The graph, given what its outputs are called so far: each its own, and made in it."""
        made = {name for operation in self.operations for name in operation.outputs}
        outputs: list[Port] = []
        for name in names:
            spec = self.specs[name]
            if name not in made or any(name == port.name for port in outputs):
                copy = self._unique(f"{self.path}/Identity".lstrip("/"))
                self.operations.append(Operation("Identity", copy, [name], [copy]))
                name = copy
            outputs.append(Port(name, spec.dtype, spec.shape))
        return Inner(f"{self.path}/body".lstrip("/"), self.ports, outputs, self.operations)
