"""What is checked of layers, models and single ops: the layer, its inputs, and the models built of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import BigmodelError, UsageError
from bigmodel_core.graph import Op, Value, needed
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.network import Network
from bigmodel_core.plan import Program
from bigmodel_core.plan.cpu_plan import path_of
from bigmodel_core.testing.backward import Backward
from bigmodel_core.testing.checks import Inputs
from bigmodel_core.testing.examples import LAYER_INPUTS, draw, input_specs
from bigmodel_core.testing.kernel_checks import Work


@dataclass(frozen=True)
class Applied(Layer):
    """A layer that applies one op: how the kit checks an op alone."""

    op: Op

    def __call__(self, *inputs: Any) -> Any:
        return self.op(*inputs)


class LayerSubject:
    """A layer and what it is called on, with the models built of it.

    Args:
        layer: the layer.
        inputs: see `checks_for`; found by trial if None.
        reference: see `checks_for`.
    """

    def __init__(
        self, layer: Layer, inputs: Inputs | None = None, reference: Callable[..., Any] | None = None
    ) -> None:
        self.layer, self.reference, self._given = layer, reference, inputs
        self._networks: dict[str, Network] = {}
        self._backwards: dict[str, Backward] = {}

    @cached_property
    def specs(self) -> tuple[Spec, ...]:
        """The specs of the inputs."""
        if self._given is not None:
            return input_specs(self._given)
        if isinstance(self.layer, Model):
            return self.layer._input_specs()
        problems = []
        for specs in LAYER_INPUTS:
            try:
                self.layer.build(*specs, seed=0)
                return specs
            except (BigmodelError, TypeError) as error:
                problems.append(str(error))
        raise UsageError(
            f"no inputs for {type(self.layer).__name__} were found by trial; the first said: {problems[0]}",
            fix="pass inputs=[(4, 7)] or similar.",
        )

    def specs_in(self, dtype: str) -> tuple[Spec, ...]:
        """The specs of the inputs, floats in one number type."""
        return tuple(spec.with_dtype(dtype) if spec.is_float else spec for spec in self.specs)

    def network(self, dtype: str = "float32") -> Network:
        """The layer built for one number type, with parameters that are all away from special values; made
        once."""
        if dtype not in self._networks:
            self._networks[dtype] = self.rebuilt(dtype)
        return self._networks[dtype]

    def backward(self, dtype: str = "float32") -> Backward:
        """The network of a number type with its gradients; made once."""
        if dtype not in self._backwards:
            self._backwards[dtype] = Backward(self.network(dtype))
        return self._backwards[dtype]

    def ops(self) -> list[Op]:
        """The ops of the model in training."""
        return [node.op for node in needed(self.network().trace(training=True).outputs)]

    def backward_of_turned(self) -> Backward:
        """The network with its gradients, behind a kernel that leaves images in memory with channels last."""
        network = self.network()
        layer = network.layer
        network.layer = lambda *inputs: layer(*map(_turned, inputs))  # type: ignore[assignment]  # it is called alone
        try:
            return Backward(network)
        finally:
            network.layer = layer

    def works(self, batch: int) -> list[Work]:
        """What the kernels of the layer do: a prediction, and a step of training with its gradients."""
        network, arrays, backward = self.network(), self.arrays(batch), self.backward()
        state, trace = network.state(), network.trace(training=False)
        found = [
            (backward.program, backward.given(arrays)),
        ]
        trained = {node.op for node in needed(network.trace(training=True).outputs)}
        if any(node.op not in trained for node in needed(trace.outputs)):
            program = Program(trace.graph, trace.outputs)
            found.append((program, network.check_inputs(arrays)))
        return [
            Work(program, given, {path_of(v): state[path_of(v)] for v in program.variables})
            for program, given in found
        ]

    def rebuilt(self, dtype: str = "float32") -> Network:
        """Such a network, which becomes the layer's own: what is saved and exported."""
        network = self.layer.build(*self.specs_in(dtype), seed=0, dtype=dtype)
        generator = np.random.default_rng(7)
        network.load_state(
            {
                path: value + generator.normal(0, 0.1, value.shape).astype(value.dtype)
                if value.dtype.kind == "f"
                else value
                for path, value in network.state().items()
            }
        )
        return network

    def arrays(self, batch: int, dtype: str = "float32", seed: int = 0) -> list[np.ndarray]:
        """Arrays for the inputs; those that were given as arrays are repeated to the size of the batch."""
        arrays = []
        for number, spec in enumerate(self.specs):
            given = self._given[number] if self._given is not None else None
            if isinstance(given, np.ndarray) and given.ndim:
                array = np.resize(given, (batch, *given.shape[1:])) if spec.names() else given
                arrays.append(array.astype(dtype) if spec.is_float else array)
            else:
                arrays.append(draw(spec, batch, seed + number, dtype if spec.is_float else None))
        return arrays

    @property
    def batch(self) -> int:
        """The size of the batch in the shapes that were given."""
        for item in self._given or ():
            if isinstance(item, (tuple, np.ndarray)):
                return int(item[0]) if isinstance(item, tuple) and item else len(item)
        return 4

    @property
    def large(self) -> int:
        """A size of batches whose work kernels cut into many pieces."""
        elements = max(array.size for array in self.arrays(1))
        return min(max(60_000 // max(elements, 1), 8), 20_000)

    @property
    def many(self) -> int:
        """A size of batches of a few pieces of any cut, with something left over."""
        return max(self.batch, 5)


def _turned(value: Value) -> Value:
    """An image or volume as it is, computed by a kernel that wants channels last; others untouched."""
    pools = {4: ops.max_pool, 5: ops.max_pool3d}
    return pools[value.ndim](value, 1) if value.spec.is_float and value.ndim in pools else value
