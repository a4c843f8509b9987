"""A device from outside the project: it runs ops by NumPy, and has kernels and a pass of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.graph import Constant, Node, Op, Value, Variable
from bigmodel_core.graph.op import DEVICES
from bigmodel_core.kernels import status
from bigmodel_core.ops import (
    activations,
    arithmetic,
    comparison,
    functions,
    gate,
    linear,
    reduce,
    shape,
    sizes,
)
from bigmodel_core.plan import Device, Program, Variables
from bigmodel_core.plan.failures import error_of
from bigmodel_core.plan.listing import PlannedKernel, PlannedStep
from bigmodel_core.plan.passes import Computation, Passes, replaced
from bigmodel_core.plan.steps import Step


class NumpyKernel(bm.Kernel):
    """A function of an op and its arrays; it gives an array."""

    device: ClassVar[str] = "numpy"

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


def _product(op: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.swapaxes(-1, -2) if op.transpose_a else a) @ (b.swapaxes(-1, -2) if op.transpose_b else b)


def _verdict(op: Any, *arrays: np.ndarray) -> np.ndarray:
    return np.array(0 if all(np.isfinite(array).all() for array in arrays) else status.NOT_FINITE)


KERNELS: dict[type[Op], Callable[..., Any]] = {
    arithmetic.Add: lambda op, a, b: a + b,
    arithmetic.Subtract: lambda op, a, b: a - b,
    arithmetic.Multiply: lambda op, a, b: a * b,
    arithmetic.Divide: lambda op, a, b: a / b,
    functions.Square: lambda op, x: x * x,
    activations.Relu: lambda op, x: np.maximum(x, 0),
    activations._ReluGrad: lambda op, dy, y: np.where(y > 0, dy, 0),
    comparison.Cast: lambda op, x: x.astype(op.dtype),
    linear.MatMul: _product,
    reduce.Sum: lambda op, x: x.sum(op.axes, keepdims=op.keepdims),
    shape.BroadcastTo: lambda op, x: np.broadcast_to(x, op.shape),
    sizes.SizeOf: lambda op, x: np.array(np.prod([x.shape[axis] for axis in op.axes]), op.dtype),
    gate.Copy: lambda op, x: x,
    gate.Gate: _verdict,
}


@contextmanager
def registered() -> Iterator[None]:
    """The kernels are known inside."""
    names = list(DEVICES)
    try:
        for op, function in KERNELS.items():
            bm.register_kernel(op, "numpy", NumpyKernel(function))
        yield
    finally:
        DEVICES[:] = names
        for op in KERNELS:
            if "numpy" in vars(op):
                delattr(op, "numpy")


def apart(computation: Computation, device: Device) -> Computation:
    """A dense layer is a product and a sum: the device has no kernel for both at once."""

    def rule(node: Node, inputs: Sequence[Value]) -> Sequence[Value] | None:
        if not isinstance(node.op, linear.Affine):
            return None
        x, weight, bias = inputs
        return [(x @ weight) + bias]

    return replaced(computation, rule)


class NumpyDevice(Device):
    """The device; its arrays are NumPy's."""

    name = "numpy"
    dtypes = ("float32", "float64", "int64")
    passes = Passes(graph=(apart,))

    def allocate(self, array: np.ndarray) -> np.ndarray:
        return np.array(array)

    def read(self, memory: np.ndarray) -> np.ndarray:
        return memory.copy()

    def write(self, memory: np.ndarray, array: np.ndarray) -> None:
        memory[...] = array

    def plan(self, program: Program, sizes: Mapping[str, int], variables: Variables) -> NumpyPlan:
        return NumpyPlan(program, sizes, variables)

    def listing(self, program: Program, sizes: Mapping[str, int]) -> list[PlannedStep]:
        return [
            PlannedStep(step.ops, step.node.path, step.node.layer, (PlannedKernel(step.ops, 1),), 0, 0)
            for step in program.steps
        ]


class NumpyPlan:
    """A program at some sizes, which interprets its steps."""

    arena = None
    nbytes = 0

    def __init__(self, program: Program, sizes: Mapping[str, int], variables: Variables) -> None:
        self.program, self.sizes, self.variables = program, sizes, variables
        self.arrays: dict[int, np.ndarray] = {}

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        for name, value in self.program.inputs.items():
            spec = value.spec.bind(self.sizes)
            self.arrays[id(value)] = np.broadcast_to(np.asarray(inputs.get(name, 0), spec.dtype), spec.sizes)
        with np.errstate(all="ignore"):
            for step in self.program.steps:
                self._run(step)
        return [np.array(self.array(value)) for value in self.program.outputs]

    def _run(self, step: Step) -> None:
        node = step.node
        kernel = self.program.device.kernel_of(node)
        assert isinstance(kernel, NumpyKernel) and step.fused is None and step.epilogue is None
        found = kernel.function(node.op.bind(self.sizes), *(self.array(value) for value in node.inputs))
        if isinstance(node.op, gate.Gate) and found:
            raise error_of(step, [int(found), 0, 0, 0])
        self.arrays[id(node.outputs[0])] = found
        for variable in step.writes.values():
            self.array(variable)[...] = found

    def array(self, value: Value) -> np.ndarray:
        """The array of a value, under its shape at these sizes."""
        root = self.program.root(value)
        op = root.node.op
        if isinstance(op, Variable):
            found: np.ndarray = self.variables.memory(op.path)
        else:
            found = op.array if isinstance(op, Constant) else self.arrays[id(root)]
        return found.reshape(value.spec.bind(self.sizes).sizes)
