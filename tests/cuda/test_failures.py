"""What goes wrong on the device is reported as on the CPU, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError, KernelError, NumericsError, ShapeError
from bigmodel_core.graph import Graph, Op
from bigmodel_core.plan import Program, Variables, device_named

X = np.random.default_rng(0).standard_normal((6, 8)).astype("float32")


def step_on(device: str) -> Any:
    model = bm.Sequential(bm.layers.Dense(10), bm.layers.Relu(), bm.layers.Dense(3))
    network = model.build(bm.Spec(("N", 8)), seed=5, device=device)
    return bm.compile(network, loss="cross_entropy", optimizer=bm.optimizers.Adam(0.01)), network


def message(device: str, x: np.ndarray, y: np.ndarray, kind: type[Exception]) -> str:
    step, network = step_on(device)
    step(X, np.zeros(6, "int64"))
    before = network.state()
    with pytest.raises(kind) as caught:
        step(x, y)
    for path, array in network.state().items():
        np.testing.assert_array_equal(array, before[path])
    step(X, np.zeros(6, "int64"))
    return str(caught.value)


@pytest.mark.parametrize("labels", [[0, 1, 3, 0, 9, 1], [0, -1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 2**40]])
def test_labels_out_of_range(labels: list[int]) -> None:
    y = np.array(labels)
    expected = message("cpu", X, y, DataError)
    found = message("cuda", X, y, DataError)
    assert found == expected
    assert "out of range for 3 classes" in found


def test_a_loss_that_is_not_finite() -> None:
    x = X.copy()
    x[2, 3] = np.inf
    y = np.zeros(6, "int64")
    assert message("cuda", x, y, NumericsError) == message("cpu", x, y, NumericsError)


def test_a_slice_that_leaves_a_free_dimension() -> None:
    def run(device: str, size: int) -> Any:
        graph = Graph()
        x = graph.input("x", bm.Spec(("N", "T")))
        cut = bm.ops.slicing.Slice(1, 1, 2)(x)
        program = Program(graph, [cut, x[:, :2] * 2.0, x[:, -2:-1] * 2.0], device=device)
        given = {"x": np.arange(2.0 * size, dtype="float32").reshape(2, size)}
        return program.run(Variables(device_named(device)), given)

    for found, wanted in zip(run("cuda", 3), run("cpu", 3), strict=True):
        np.testing.assert_array_equal(found, wanted)
    for device in ("cpu", "cuda"):
        with pytest.raises(ShapeError, match="runs past axis 1"):
            run(device, 1)


def test_an_index_out_of_range_in_a_loop() -> None:
    def run(index: int) -> Any:
        graph = Graph()
        i, t = graph.input("i", bm.Spec(("T", 2), "int64")), graph.input("t", bm.Spec((4, 3)))
        total, _ = bm.ops.scan(
            lambda c, row: (c + bm.ops.gather(t, row), None), np.zeros((2, 3), "float32"), i
        )
        program = Program(graph, [total], device="cuda")
        table = np.arange(12.0, dtype="float32").reshape(4, 3)
        given = {"i": np.array([[0, 1], [2, index], [1, 1]]), "t": table}
        return program.run(Variables(device_named("cuda")), given)[0]

    assert run(3).tolist() == [[9, 12, 15], [15, 18, 21]]
    with pytest.raises(DataError, match=r"(?s)Gather: the index \? .* a table of 4 rows.*on the CPU"):
        run(4)


def test_indices_out_of_range() -> None:
    def run(device: str) -> str:
        graph = Graph()
        table, indices = graph.input("t", bm.Spec((4, 3))), graph.input("i", bm.Spec(("K",), "int64"))
        program = Program(graph, [bm.ops.gather(table, indices)], device=device)
        variables = Variables(device_named(device))
        arrays = {"t": np.ones((4, 3), "float32"), "i": np.array([0, 7, -2])}
        with pytest.raises(DataError) as caught:
            program.run(variables, arrays)
        program.run(variables, {**arrays, "i": np.array([0, 3, 2])})
        return str(caught.value)

    assert run("cuda") == run("cpu")


@pytest.mark.parametrize(
    "build",
    [
        lambda x, i: bm.ops.gather(x, i[0], 1),
        lambda x, i: bm.ops.take_along_axis(x, i, 1),
        bm.ops.gather_nd,
        lambda x, i: bm.ops.scatter(x, i, 1.0, 1),
    ],
    ids=["gather", "take_along_axis", "gather_nd", "scatter"],
)
def test_places_out_of_range(build: Any) -> None:
    def run(device: str) -> str:
        graph = Graph()
        with graph.active():
            made = build(graph.input("x", bm.Spec((2, 3))), graph.input("i", bm.Spec((2, 2), "int64")))
        program = Program(graph, [made], device=device)
        first = 1 if build is bm.ops.gather_nd else 3  # which it looks for along one axis after the other
        arrays = {"x": np.ones((2, 3), "float32"), "i": np.array([[0, -1], [first, 1]])}
        with pytest.raises(DataError) as caught:
            program.run(Variables(device_named(device)), arrays)
        return str(caught.value)

    assert run("cuda") == run("cpu")


@pytest.mark.parametrize(
    "wrong", [{"t": [[1, 1], [3, 0]]}, {"t": [[1, 0], [1, 1]]}, {"s": [3, 4]}, {"n": [-1, 2]}], ids=str
)
def test_labels_and_lengths_of_sequences(wrong: dict[str, Any]) -> None:
    def run(device: str) -> str:
        graph, sizes = Graph(), bm.Spec((2,), "int64")
        x, t = graph.input("x", bm.Spec((2, 3, 3))), graph.input("t", bm.Spec((2, 2), "int64"))
        with graph.active():
            loss = bm.ops.ctc_loss(x, t, graph.input("s", sizes), graph.input("n", sizes))
            program = Program(graph, [loss, bm.ops.gradients(bm.ops.sum(loss), x)], device=device)
        arrays: dict[str, Any] = {
            "x": np.ones((2, 3, 3), "float32"),
            "t": [[1, 2], [2, 1]],
            "s": [3, 2],
            "n": [2, 2],
        }
        given = {name: np.asarray(array) for name, array in (arrays | wrong).items()}
        with pytest.raises(DataError) as caught:
            program.run(Variables(device_named(device)), given)
        return str(caught.value)

    assert run("cuda") == run("cpu")


@pytest.mark.parametrize("name", ["max", "argmin"])
def test_a_free_axis_that_turns_out_empty_has_no_extreme(name: str) -> None:
    graph = Graph()
    with graph.active():
        made = getattr(bm.ops, name)(graph.input("x", bm.Spec(("N", "T"))), 1)
    program = Program(graph, [made], device="cuda")
    with pytest.raises(bm.errors.ShapeError, match=r"along an empty axis of \(2, 0\)"):
        program.run(Variables(device_named("cuda")), {"x": np.zeros((2, 0), "float32")})


def test_an_op_without_a_cuda_kernel_is_named() -> None:
    class Unported(Op):
        cpu = bm.kernel(lambda out, x: None)

        def infer(self, x: Any) -> Any:
            return x

    graph = Graph()
    with pytest.raises(KernelError, match=r"the op Unported has no kernel for 'cuda'"):
        Program(graph, [Unported()(graph.input("x", bm.Spec(("N",))))], device="cuda")


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    class RootOfNothing(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return bm.ops.sqrt(x * 0.0)

    def failed(device: str) -> str:
        model = bm.Sequential(bm.layers.Dense(4), RootOfNothing(), bm.layers.Dense(3))
        network = model.build(bm.Spec(("N", 8)), seed=5, device=device)
        step = bm.compile(network, "cross_entropy", bm.optimizers.SGD(0.1, momentum=0.9, clip_norm=1.0))
        before = network.state()
        with pytest.raises(NumericsError, match="gradient of 'dense_1/weight'") as caught:
            step(X, np.zeros(6, "int64"))
        assert all(np.array_equal(array, before[path]) for path, array in network.state().items())
        return str(caught.value)

    assert failed("cuda") == failed("cpu")


@dataclass(frozen=True)
class Root(bm.Layer):
    """x, and the root of 0: its derivative is infinite there, and infinity times 0 is no number."""

    def __call__(self, x: Any) -> Any:
        return x + bm.ops.sqrt(x * 0.0)


def trained_to_failure(device: str, model: bm.Layer, optimizer: Any, *batches: np.ndarray) -> str:
    """The message of a step on the last batch, after steps on the others; it changed nothing."""
    network = model.build(bm.Spec(("N", 8)), seed=5, device=device)
    step = bm.compile(network, loss="mean_squared_error", optimizer=optimizer)
    y = np.zeros((6, 3), "float32")
    step.build([X], y)
    for x in batches[:-1]:
        step(x, y)
    before = step.state()
    with pytest.raises(NumericsError) as caught:
        step(batches[-1], y)
    for path, array in step.state().items():
        np.testing.assert_array_equal(array, before[path])
    return str(caught.value)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_gradient_that_is_not_finite(clip_norm: float | None) -> None:
    model = bm.Sequential(bm.layers.Dense(5), Root(), bm.layers.Dense(3))
    optimizer = bm.optimizers.SGD(0.1, momentum=0.9, clip_norm=clip_norm)
    found = [trained_to_failure(device, model, optimizer, X) for device in ("cpu", "cuda")]
    assert "root_1 (Root): the gradient of 'dense_1/weight' is NaN or infinite" in found[0]
    assert found[0] == found[1]


def test_a_square_that_overflows() -> None:
    optimizer = bm.optimizers.Adam(0.1)
    large = X * np.float32(1e12)
    found = [
        trained_to_failure(device, bm.layers.Dense(3), optimizer, X, large) for device in ("cpu", "cuda")
    ]
    assert "the new value of 'optimizer/square/weight' is NaN or infinite" in found[0]
    assert found[0] == found[1]


def test_parameters_that_grow_until_they_overflow() -> None:
    def run(device: str) -> str:
        network = bm.layers.Dense(3).build(bm.Spec(("N", 8)), seed=5, device=device)
        step = bm.compile(network, "mean_absolute_error", bm.optimizers.SGD(1e6, weight_decay=1.0))
        with pytest.raises(NumericsError) as caught:
            for _ in range(9):
                step(np.zeros((6, 8), "float32"), np.zeros((6, 3), "float32"))
        assert caught.value.is_written
        return str(caught.value)

    assert run("cuda") == run("cpu")


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e10])
def test_gradients_of_any_magnitude_are_clipped_alike(scale: float) -> None:
    def run(device: str) -> dict[str, np.ndarray]:
        network = bm.layers.Dense(3).build(bm.Spec(("N", 8)), seed=5, device=device)
        step = bm.compile(network, "mean_squared_error", bm.optimizers.SGD(0.1, clip_norm=0.5))
        for _ in range(2):
            step(X * np.float32(scale), np.zeros((6, 3), "float32"))
        found: dict[str, np.ndarray] = step.state()
        return found

    expected, found = run("cpu"), run("cuda")
    for path, array in expected.items():
        np.testing.assert_allclose(found[path], array, rtol=1e-5, atol=1e-6, err_msg=path)
