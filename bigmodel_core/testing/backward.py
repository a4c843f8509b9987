"""A built model with its gradients as one program: what several checks run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.nn.network import Network
from bigmodel_core.plan import Program


class Backward:
    """The outputs of a model in training mode and the gradients of their weighted sum.

    Args:
        network: the built model.
        order: 2 for the gradients of the sum of the squares of all gradients.

    Attributes:
        names: of what the gradients belong to: float inputs, then trainable parameters by path.
    """

    def __init__(self, network: Network, order: int = 1) -> None:
        graph = Graph()
        trace = network.traced_into(graph, training=True)
        floats = [value for value in trace.outputs if value.spec.is_float]
        self.network = network
        self.weighted = {f"weights_{number}": value.spec for number, value in enumerate(floats)}
        wrt: dict[str, Value] = {
            name: value
            for name, value in zip(network.input_names, trace.inputs, strict=True)
            if value.spec.is_float
        }
        wrt |= {path: value for path, value in trace.values.items() if trace.parameters[path].trainable}
        self.names = tuple(wrt)
        self.differentiable = bool(floats)
        found: list[Value] = []
        if floats:
            with graph.active():
                parts = [
                    ops.sum(value * graph.input(name, spec))
                    for value, (name, spec) in zip(floats, self.weighted.items(), strict=True)
                ]
                total = parts[0]
                for part in parts[1:]:
                    total = total + part
                found = [total, *gradients(total, list(wrt.values()))]
                for _ in range(1, order):
                    squares = [ops.sum(gradient * gradient) for gradient in found[1:]]
                    total = sum(squares[1:], squares[0])
                    found = [total, *gradients(total, list(wrt.values()))]
        self._count = len(trace.outputs)
        self.program = Program(graph, [*trace.outputs, *found], device=network.device)

    def run(self, arrays: Sequence[Any]) -> tuple[list[np.ndarray], float, dict[str, np.ndarray]]:
        """The outputs, the weighted sum of their numbers, and its gradients by name."""
        results = self.program.run(self.network.variables, self.given(arrays))
        outputs, rest = results[: self._count], results[self._count :]
        total = float(rest[0]) if rest else 0.0
        return outputs, total, dict(zip(self.names, rest[1:], strict=True)) if rest else {}

    def given(self, arrays: Sequence[Any]) -> dict[str, np.ndarray]:
        """What the program reads, by name: the arrays, and the weights of the outputs."""
        given: dict[str, np.ndarray] = dict(self.network.check_inputs(arrays))
        sizes = self._sizes(given)
        for number, (name, spec) in enumerate(self.weighted.items()):
            shape = spec.bind(sizes).sizes
            generator = np.random.default_rng(100 + number)
            given[name] = generator.uniform(0.5, 1.5, shape).astype(spec.dtype)
        return {name: given[name] for name in given if name in self.program.inputs}

    def _sizes(self, given: Mapping[str, np.ndarray]) -> dict[str, int]:
        from bigmodel_core.graph.spec import match

        known: dict[str, int] = {}
        for name, spec in zip(self.network.input_names, self.network.inputs, strict=True):
            match(spec.shape, given[name].shape, known)
        return known
