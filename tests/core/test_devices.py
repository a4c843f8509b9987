"""A device of one's own: kernels, passes, memory and plans are all that a program needs of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DeviceError, DtypeError, GraphError, KernelError, NumericsError
from bigmodel_core.graph import Graph, Node
from bigmodel_core.graph.spec import Spec
from bigmodel_core.ops.gate import Gate
from bigmodel_core.ops.linear import MatMul
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.plan.cpu import CpuDevice
from bigmodel_core.plan.passes import Computation, Passes
from tests.core import numpy_device
from tests.core.numpy_device import NumpyDevice

X = np.random.default_rng(0).standard_normal((6, 4)).astype("float32")
Y = np.random.default_rng(1).standard_normal((6, 2)).astype("float32")


@pytest.fixture(autouse=True)
def kernels() -> Iterator[None]:
    with numpy_device.registered():
        yield


def trained(device: Any) -> tuple[Any, list[float]]:
    model = bm.Sequential(bm.layers.Dense(5), bm.layers.Relu(), bm.layers.Dense(2))
    network = model.build(bm.Spec(("N", 4)), seed=3, device=device)
    step = bm.compile(network, "mean_squared_error", bm.optimizers.SGD(0.1, momentum=0.9))
    return step, [float(step(X[: 6 - n], Y[: 6 - n])) for n in range(3)]


def test_a_model_trains_on_it_as_on_the_cpu() -> None:
    """With another batch size at each step."""
    step, losses = trained(NumpyDevice())
    reference, expected = trained("cpu")
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    state = step.network.state()
    for path, array in reference.network.state().items():
        np.testing.assert_allclose(state[path], array, rtol=1e-4, atol=1e-6, err_msg=path)
    np.testing.assert_allclose(step.network(X), reference.network(X), rtol=1e-4, atol=1e-6)


def test_its_own_pass_is_applied() -> None:
    step, _ = trained(NumpyDevice())
    on_numpy = [planned.op for planned in step.network.kernels(batch_size=3)]
    assert on_numpy == ["MatMul", "Add", "Relu", "MatMul", "Add"]
    on_cpu = [planned.op for planned in trained("cpu")[0].network.kernels(batch_size=3)]
    assert on_cpu == ["Affine", "Affine"]


def test_its_gate_stops_a_step_before_anything_is_written() -> None:
    step, _ = trained(NumpyDevice())
    before = step.state()
    with pytest.raises(NumericsError):
        step(np.full((6, 4), np.inf, "float32"), Y)
    for path, array in step.state().items():
        np.testing.assert_array_equal(array, before[path])


def test_an_op_without_a_kernel_of_it_is_named() -> None:
    graph = Graph()
    x = graph.input("x", Spec((3,)))
    with pytest.raises(KernelError, match="the op Tanh has no kernel for 'numpy'"):
        Program(graph, [bm.ops.tanh(x)], device=NumpyDevice())


def test_a_number_type_that_it_does_not_compute_with_is_refused() -> None:
    graph = Graph()
    with pytest.raises(DtypeError, match="number type without kernels on 'numpy'"):
        Program(graph, [graph.input("x", Spec((3,), "int32"))], device=NumpyDevice())


def test_a_pass_that_changes_what_is_computed_is_refused() -> None:
    def halved(computation: Computation, device: Any) -> Computation:
        (value,) = computation.outputs
        return computation.moved(computation.graph, lambda _: value[:2])

    class Careless(NumpyDevice):
        passes = Passes(graph=(halved,))

    graph = Graph()
    with pytest.raises(GraphError, match="the pass 'halved' changes what is computed"):
        Program(graph, [graph.input("x", Spec((4,)))], device=Careless())


def test_steps_are_what_its_last_passes_make_of_them() -> None:
    seen: list[list[str]] = []

    def noted(steps: list[Any], program: Program) -> list[Any]:
        seen.append([step.ops for step in steps])
        return steps

    class Noting(NumpyDevice):
        passes = Passes(steps=(noted,))

    graph = Graph()
    x = graph.input("x", Spec((4,)))
    program = Program(graph, [x * x + x], device=Noting())
    assert seen == [["Multiply", "Add"]] == [[step.ops for step in program.steps]]
    (found,) = program.run(Variables(program.device), {"x": np.arange(4.0)})
    np.testing.assert_array_equal(found, [0, 2, 6, 12])


def test_a_grouping_of_its_own_gives_the_same_numbers_in_more_steps() -> None:
    class Unfused(CpuDevice):
        passes = replace(CpuDevice.passes, grouping=lambda nodes, program: [[node] for node in nodes])

    graph = Graph()
    x = graph.input("x", Spec((5,)))
    y = bm.ops.relu(x * 3.0 - 1.0)
    given = {"x": np.linspace(-1, 1, 5, dtype="float32")}
    for device, count in ((Unfused(), 3), (CpuDevice(), 1)):
        program = Program(graph, [y], device=device)
        assert len(program.steps) == count
        (found,) = program.run(Variables(device), given)
        np.testing.assert_array_equal(found, np.maximum(given["x"] * np.float32(3) - 1, 0))


def test_a_device_that_borrows_kernels_has_the_steps_of_their_owner() -> None:
    class Borrower(CpuDevice):
        name = "borrower"

        def kernel_of(self, node: Node) -> bm.Kernel:
            return CpuDevice().kernel_of(node)

    L = bm.layers
    model = bm.Sequential(
        L.Conv2d(4, 3), L.BatchNorm(), L.Relu(), L.MaxPool2d(2), L.Conv2d(3, 3), L.Flatten()
    )
    steps = [
        repr(Program(trace.graph, trace.outputs, device=device).steps)
        for device in (Borrower(), CpuDevice())
        for trace in [model.build(bm.Spec(("N", 2, 12, 12))).trace(training=False)]
    ]
    assert steps[0] == steps[1]
    assert "Subtract+Multiply+Add+Relu" in steps[0]


@pytest.mark.parametrize(("device", "count"), [(NumpyDevice(), 1), ("cpu", 2)], ids=["numpy", "cpu"])
def test_a_product_is_proven_by_its_operands_only_if_it_is_finished_by_tiles(device: Any, count: int) -> None:
    graph = Graph()
    a, b = graph.input("a", Spec((4, 300))), graph.input("b", Spec((4, 300)))
    gradient = MatMul(True, False)(a, b)
    updates = {"w": graph.variable("w", Spec((300, 300))) - gradient}
    program = Program(graph, [], updates, [gradient], device=device)
    (gate,) = [step for step in program.steps if isinstance(step.node.op, Gate)]
    assert len(gate.inputs) == count


@pytest.mark.parametrize("device", ["gpu", 5, object()])
def test_what_is_no_device_is_refused(device: Any) -> None:
    with pytest.raises(DeviceError, match="there is no device"):
        device_named(device)
