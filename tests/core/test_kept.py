"""What predictions keep beside the parameters: seen by nobody, whoever changes the parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import NumericsError
from bigmodel_core.graph import Graph
from bigmodel_core.plan import Program, Variables
from bigmodel_core.plan.changes import LATEST, Writer
from bigmodel_core.plan.cpu import CPU
from bigmodel_core.plan.variables import StoredArray

X = np.random.default_rng(0).standard_normal((4, 16, 8, 8), dtype=np.float32)
Y = np.array([0, 1, 2, 0])


def convolutional() -> bm.Sequential:
    """A model of which a prediction keeps transformed and arranged weights."""
    return bm.Sequential(
        *(bm.layers.Conv2d(16, 3, padding=1, use_bias=False), bm.layers.BatchNorm(), bm.layers.Relu()),
        *(bm.layers.Conv2d(8, 3, stride=2), bm.layers.BatchNorm(), bm.layers.Flatten()),
        *(bm.layers.Dense(12), bm.layers.BatchNorm(), bm.layers.Dense(3)),
    )


def plainly(network: Any, x: np.ndarray) -> np.ndarray:
    """The same prediction by a program that keeps nothing."""
    trace = network.trace(training=False)
    (found,) = Program(trace.graph, trace.outputs).run(network.variables, {"x": x})
    return found


def same(network: Any, x: np.ndarray = X) -> None:
    """A prediction is what a program computes that keeps nothing."""
    expected = plainly(network, x)
    np.testing.assert_allclose(network(x), expected, rtol=1e-5, atol=1e-5 * float(np.abs(expected).max()))


def drawn(network: Any, seed: int) -> dict[str, np.ndarray]:
    """Other numbers for all parameters, variances above 0."""
    random = np.random.default_rng(seed)
    return {
        path: random.uniform(0.5, 2.0, array.shape).astype(array.dtype)
        if path.endswith(("variance", "scale"))
        else random.standard_normal(array.shape).astype(array.dtype) / 4
        for path, array in network.state().items()
    }


def by_a_training_step(model: Any, folder: Path) -> None:
    bm.compile(model, "cross_entropy", bm.optimizers.SGD(0.1))(X, Y)


def by_a_trainer(model: Any, folder: Path) -> None:
    bm.Trainer(model, "cross_entropy", bm.optimizers.Adam(0.01)).fit((X, Y), epochs=1, verbose=False)


def by_load_state(model: Any, folder: Path) -> None:
    model.network.load_state(drawn(model.network, 2))


def by_a_write(model: Any, folder: Path) -> None:
    model.network.variables.write("conv2d_1/weight", drawn(model.network, 3)["conv2d_1/weight"])


def by_another_model(model: Any, folder: Path) -> None:
    """One that has the first layers, too."""
    other = bm.Sequential(*model.layers[:6], bm.layers.Dense(3))
    bm.compile(other, "cross_entropy", bm.optimizers.SGD(0.1))(X, Y)


def by_a_seed(model: Any, folder: Path) -> None:
    model.build(bm.Spec(("N", 16, 8, 8)), seed=7)


def by_averages(model: Any, folder: Path) -> None:
    step = bm.compile(model, "cross_entropy", bm.optimizers.SGD(0.5), ema=0.5)
    step(X, Y)
    step(X, Y)
    model.network.load_state(step.averages())


def by_the_state_of_a_step(model: Any, folder: Path) -> None:
    step = bm.compile(model, "cross_entropy", bm.optimizers.SGD(0.1))
    step(X, Y)
    model.network(X)
    step.load_state({**step.state(), **drawn(model.network, 4)}, 1)


def by_a_step_that_fails(model: Any, folder: Path) -> None:
    """The update that overflows has changed parameters before it is found."""
    step = bm.compile(model, "cross_entropy", bm.optimizers.SGD(0.1))
    step(X, Y)
    with pytest.raises(NumericsError):
        step(np.full_like(X, np.nan), Y)


def by_a_file(model: Any, folder: Path) -> None:
    other = convolutional().build(bm.Spec(("N", 16, 8, 8)), seed=9)
    bm.save(other, folder / "other.safetensors")
    model.network.load_state(bm.load(folder / "other.safetensors").network.state())


WRITERS = [
    by_a_training_step,
    by_a_trainer,
    by_load_state,
    by_a_write,
    by_another_model,
    by_a_seed,
    by_averages,
    by_the_state_of_a_step,
    by_a_step_that_fails,
    by_a_file,
]


@pytest.mark.parametrize("change", WRITERS, ids=lambda change: change.__name__)
def test_the_next_prediction_sees_every_change(change: Callable[[Any, Path], None], tmp_path: Path) -> None:
    model = convolutional()
    network = model.build(bm.Spec(("N", 16, 8, 8)))
    network.load_state(drawn(network, 1))
    same(network)
    before = network(X)
    change(model, tmp_path)
    network = model.network
    assert np.abs(network(X) - before).max() > 1e-4
    same(network)
    same(network, X[:1])


def test_a_session_sees_changes_and_keeps_its_state() -> None:
    model = bm.Sequential(bm.layers.LSTM(6, carry=True, return_sequences=False), bm.layers.Dense(3))
    x = np.random.default_rng(1).standard_normal((4, 5, 3), dtype=np.float32)
    network = model.build(bm.Spec(("N", 5, 3)))
    session = network.session()
    session(x)
    network.load_state(drawn(network, 5))
    session.reset()
    np.testing.assert_allclose(session(x), plainly(network, x), rtol=1e-5)
    assert np.abs(session(x) - plainly(network, x)).max() > 1e-3  # the state went on


def test_a_prediction_computes_what_is_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = convolutional().build(bm.Spec(("N", 16, 8, 8)))
    network(X)
    plan: Any = network._inference().program.plan(network.variables, {"N": 4})
    runs: list[int] = []
    run = plan._kept_table.run
    monkeypatch.setattr(plan._kept_table, "run", lambda: runs.append(1) or run())
    network(X)
    bm.compile(bm.layers.Dense(2), "cross_entropy", bm.optimizers.SGD(0.1))(X[:, 0, 0], Y % 2)
    network(X)  # another model has changed, not this
    assert runs == []
    network.load_state(network.state())
    network(X)
    network(X)
    assert runs == [1]


def test_a_training_step_notes_one_change_and_keeps_nothing() -> None:
    step = bm.compile(convolutional(), "cross_entropy", bm.optimizers.Adam(0.1))
    step(X, Y)
    before = LATEST.number
    step(X, Y)
    program = step.programs["step"].program
    assert program.writer.number == LATEST.number == before + 1
    assert not program.keeps and not program.unchanging
    assert step.variables is not None
    for variable in program.updates:
        assert program.writer.number in step.variables.stored(variable.node.op.path).changes()  # type: ignore[attr-defined]  # variables come from Variable ops


def test_plans_for_all_batches_share_what_they_compute_alike() -> None:
    network = convolutional().build(bm.Spec(("N", 16, 8, 8)))
    network.load_state(drawn(network, 6))
    for count in (1, 2, 3, 4):
        same(network, X[:count])
    program = network._inference().program
    plans: list[Any] = [program.plan(network.variables, {"N": count}) for count in (2, 3, 4)]
    kept = [{memory.address for memory in plan._keep} for plan in plans]
    assert kept[0] == kept[1] == kept[2]
    assert 0 < plans[0].kept_nbytes == plans[1].kept_nbytes
    assert plans[0].arena.lock is plans[2].arena.lock


def test_a_layer_that_is_called_twice_is_kept_right() -> None:
    layer = bm.layers.Conv2d(16, 3, padding=1)
    network = bm.Sequential(layer, layer, bm.layers.BatchNorm()).build(bm.Spec(("N", 16, 8, 8)))
    network.load_state(drawn(network, 7))
    same(network)


@pytest.mark.parametrize(
    ("layer", "shape", "batches", "choice"),
    [
        (bm.layers.Dense(500), (700,), (1, 5, 70), "B in panels"),
        (bm.layers.Conv2d(40, 1), (300, 5, 5), (1, 3), "B in panels"),
        (bm.layers.Conv2d(96, 3, padding=1), (64, 7, 7), (1, 2), "Winograd"),
        (bm.layers.ConvTranspose2d(64, 3, padding=1), (96, 8, 8), (1,), "Winograd"),
        (bm.layers.Conv2d(150, 3, stride=2, padding=1), (64, 8, 8), (1, 2), "filters a chunk"),
        (bm.layers.Conv2d(100, 3, dilation=2), (90, 9, 8), (1,), "filters a chunk"),
        (bm.layers.Conv3d(32, 3, padding=1), (16, 3, 8, 8), (1, 2), "Winograd"),
    ],
    ids=["dense", "pointwise", "winograd", "transposed", "strided", "dilated", "volumes"],
)
def test_what_is_chosen_for_kept_weights_is_right(
    layer: bm.Layer, shape: tuple[int, ...], batches: tuple[int, ...], choice: str
) -> None:
    network = bm.Sequential(bm.clone(layer), bm.layers.Relu()).build(bm.Spec(("N", *shape)))
    network.load_state(drawn(network, 8))
    for batch in batches:
        kernels = [kernel for step in network.kernels(batch) for kernel in step.kernels]
        assert any(choice in kernel.choice for kernel in kernels)
        assert any(kernel.is_kept for kernel in kernels)
        x = np.random.default_rng(batch).standard_normal((batch, *shape), dtype=np.float32)
        same(network, x)


def test_what_a_program_updates_is_not_kept() -> None:
    graph, variables = Graph(), Variables(CPU)
    variables.create("count", np.zeros(3, np.float32))
    variables.create("step", np.ones(3, np.float32))
    with graph.active():
        spec = bm.Spec((3,))
        count, step = graph.variable("count", spec), graph.variable("step", spec)
        program = Program(graph, [step * 2.0], {"count": count + step}, keeps=True)
    for number in (1, 2, 3):
        (found,) = program.run(variables, {})
        assert found.tolist() == [2.0] * 3
        assert variables.read("count").tolist() == [number] * 3


def test_what_is_kept_is_not_written_over() -> None:
    """Neither by what each run computes, nor by what is kept, too, and could be computed after its reader."""
    graph, variables = Graph(), Variables(CPU)
    variables.create("w", np.arange(6, dtype=np.float32).reshape(2, 3))
    with graph.active():
        x, w = graph.input("x", bm.Spec((2, 3))), graph.variable("w", bm.Spec((2, 3)))
        a, b = ops.softmax(w), ops.softmax(w + 1.0, 0)
        outputs = [x + a, x * ops.update_slice(a, w[:1], (1, 0)), ops.update_slice(b, x[:1], (0, 0))]
    kept, plain = (Program(graph, outputs, keeps=keeps) for keeps in (True, False))
    assert sum(bool(step.takes) for step in plain.steps) == 2
    given = {"x": np.full((2, 3), 2.0, np.float32)}
    for _ in range(2):
        for ours, usual in zip(kept.run(variables, given), plain.run(variables, given), strict=True):
            np.testing.assert_array_equal(ours, usual)


def test_what_a_writer_wrote_that_is_gone_is_not_forgotten() -> None:
    array = StoredArray(CPU, np.zeros(2, np.float32))
    owner = Variables(CPU)
    gone = Writer(owner)
    array.written_by(gone)
    before = array.changes()
    gone.has_written()
    del owner
    array.written_by(Writer(array))
    assert gone.is_gone and len(array.changes()) == 2
    assert array.changes() != before
    assert array.changes()[0] > gone.number
