"""Loops with carried state: all but the numbers that the tables of references, devices and files compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import DataError, GraphError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cpu.engine import threads
from bigmodel_core.ops.linear import MatMul
from bigmodel_core.ops.random import SEED, STEP
from bigmodel_core.ops.scan import Scan
from bigmodel_core.ops.shape import Transpose
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.testing import compute
from bigmodel_core.testing.evaluate import Evaluation

RNG = np.random.default_rng(3)


def run(program: Program, **inputs: Any) -> list[np.ndarray]:
    return program.run(
        Variables(device_named("cpu")), {name.replace("_", "~"): x for name, x in inputs.items()}
    )


def loops_of(program: Program) -> list[Scan]:
    return [node.op for node in program.nodes if isinstance(node.op, Scan)]


def inside(program: Program) -> list[type]:
    """The kinds of ops in the bodies of a program."""
    return [type(node.op) for body in program.bodies.values() for node in body.nodes]


# What is computed -----------------------------------------------------------------------------------------


def cell(kind: str, weight: Value, recurrent: Value, bias: Value, other: Value) -> Callable[..., Any]:
    """A step of a recurrent layer, gates in PyTorch's order."""
    units = recurrent.shape[0]

    def parts(gates: Value) -> list[Value]:
        return [gates[:, k * units : (k + 1) * units] for k in range(gates.shape[1] // units)]

    def lstm(carry: Any, x: Value) -> Any:
        state, memory = carry
        enter, forget, new, leave = parts(x @ weight + bias + (state @ recurrent + other))
        memory = ops.sigmoid(forget) * memory + ops.sigmoid(enter) * ops.tanh(new)
        state = ops.sigmoid(leave) * ops.tanh(memory)
        return (state, memory), state

    def gru(carry: Any, x: Value) -> Any:
        (state,) = carry
        reset, update, new = parts(x @ weight + bias)
        for_reset, for_update, for_new = parts(state @ recurrent + other)
        update = ops.sigmoid(update + for_update)
        new = ops.tanh(new + ops.sigmoid(reset + for_reset) * for_new)
        state = new + update * (state - new)
        return (state,), state

    return lstm if kind == "lstm" else gru


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize(("kind", "gates", "states"), [("lstm", 4, 2), ("gru", 3, 1)])
def test_a_layer_written_as_a_loop_is_the_built_in_one(
    kind: str, gates: int, states: int, reverse: bool
) -> None:
    shapes = [(5, 2, 3), (3, 4 * gates), (4, 4 * gates), (4 * gates,), (4 * gates,), *[(2, 4)] * states]
    arrays = [RNG.normal(size=shape) for shape in shapes]

    def loop(x: Value, *rest: Value) -> tuple[Value, ...]:
        last, y = ops.scan(cell(kind, *rest[:4]), rest[4:], x, reverse=reverse)
        return (y, *last)

    def built_in(x: Value, *rest: Value) -> tuple[Value, ...]:
        y, last = ops.recurrent(kind, x, *rest[:4], None, rest[4:], reverse)
        return (y, *last)

    found, expected = (Evaluation(function, arrays).run(arrays) for function in (loop, built_in))
    for ours, theirs in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
def test_sums_so_far_in_any_type(dtype: str) -> None:
    x = (RNG.normal(size=(3, 7)) * 9).astype(dtype)
    for axis in (0, 1, -1):

        def total(x: Value, axis: int = axis) -> Value:
            begin = ops.zeros_like(x[0] if axis == 0 else x[:, 0])
            return ops.scan(lambda total, part: (total + part, total + part), begin, x, axis)[1]

        np.testing.assert_allclose(compute(total, x), np.cumsum(x, axis), rtol=1e-6)


def test_what_is_carried_may_be_of_any_form() -> None:
    class State(NamedTuple):
        seen: Any
        largest: Any

    def step(carry: dict[str, Any], x: Any) -> Any:
        state = carry["state"]
        assert isinstance(state, State) and isinstance(carry["more"], list) and carry["none"] is None
        seen = ops.logical_or(state.seen, x["number"] > 2.0)
        new = State(seen, ops.maximum(state.largest, x["number"]))
        return {"more": (carry["more"][0] + 1,), "none": None, "state": new}, {
            "seen": seen,
            "two": (2, x["bytes"]),
        }

    def build(x: Value, i: Value) -> Any:
        begin = {"state": State(np.array(False), -np.inf), "more": [0], "none": None}
        carry, y = ops.scan(step, begin, {"number": x, "bytes": i})
        assert isinstance(carry["state"], State) and isinstance(carry["more"], list)
        return (*carry["state"], carry["more"][0], y["seen"], *y["two"])

    x, i = np.array([1.0, 5.0, 2.0]), np.array([1, 0, 200], "uint8")
    seen, largest, count, so_far, two, numbers = compute(build, x, i)
    assert (seen, largest, count) == (True, 5.0, 3) and numbers.dtype == np.uint8
    assert so_far.tolist() == [False, True, True] and two.tolist() == [2, 2, 2]
    assert numbers.tolist() == i.tolist()


def test_what_a_step_hands_on_has_memory_of_its_own() -> None:
    """What comes in, once or twice, constants, and what is shared go out as results and are carried."""

    def step(carry: Any, x: Value) -> Any:
        a, b, c = carry
        return (b, a, x), (x, x, a, ops.reshape(b, (1, 2)), 7.0, shared, c * 1.0)

    def build(x: Value, s: Value) -> Any:
        nonlocal shared
        shared = s
        last, ys = ops.scan(step, (x[0] + 1.0, x[0] + 2.0, x[0]), x)
        return (*last, *ys)

    shared: Any = None
    x, s = RNG.normal(size=(3, 2)), RNG.normal(size=(2,))
    a, b, c, x1, x2, before, other, seven, same, third = compute(build, x, s)
    first, second = x[0] + 1, x[0] + 2
    np.testing.assert_array_equal([a, b, c], [second, first, x[2]])
    np.testing.assert_array_equal([x1, x2], [x, x])
    np.testing.assert_array_equal(before, [first, second, first])
    np.testing.assert_array_equal(other, [[second], [first], [second]])
    np.testing.assert_array_equal(seven, [7, 7, 7])
    np.testing.assert_array_equal(same, [s, s, s])
    np.testing.assert_array_equal(third, [x[0], x[0], x[1]])


@pytest.mark.parametrize("given", ["xs", "length"])
def test_one_program_makes_any_number_of_steps(given: str) -> None:
    graph = Graph()
    with graph.active():
        x = graph.input("x", Spec(("T", "N"), "float64"))
        if given == "xs":
            last, ys = ops.scan(lambda c, row: (c * 0.5 + row, c), x[:0].sum(0), x)
        else:
            last, ys = ops.scan(lambda c, _: (c * 0.5 + 1.0, c), x[:0].sum(0), length=x.shape[0])
        program = Program(graph, [last, ys, gradients(ops.sum(last * last), [x])[0]])
    assert ys.shape == ("T", "N")
    for steps, batch in ((4, 3), (1, 2), (7, 1), (0, 2)):
        array = RNG.normal(size=(steps, batch)) if given == "xs" else np.ones((steps, batch))
        carry, before = np.zeros(batch), []
        for row in array:
            before.append(carry)
            carry = carry * 0.5 + row
        last, ys, slope = run(program, x=array)
        np.testing.assert_allclose(last, carry)
        np.testing.assert_allclose(ys, np.reshape(before, (steps, batch)))
        weights = 0.5 ** np.arange(steps)[::-1, None] if given == "xs" else np.zeros((steps, 1))
        np.testing.assert_allclose(slope, 2 * weights * carry)


def test_results_have_the_same_bits_on_any_number_of_threads() -> None:
    before = threads.num_threads()
    arrays = [RNG.normal(size=shape).astype("float32") for shape in ((3, 300, 90), (90, 90))]

    def build(x: Value, w: Value) -> Value:
        return ops.scan(lambda c, row: (ops.tanh(c @ w + row), c), x[0], x)[0]

    evaluation = Evaluation(build, arrays)
    try:
        found = []
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            (value,), (_, *slopes) = evaluation.run(arrays)
            found.append([array.tobytes() for array in (value, *slopes)])
    finally:
        threads.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def _images(c: Value, x: Value, w: Value) -> Value:
    return ops.max_pool(ops.relu(ops.conv2d(x + c * 0.5, w, padding=1)), 3, 1, 1)


def _volumes(c: Value, x: Value, w: Value) -> Value:
    """Kernels that name parts of their arrays."""
    return ops.tanh(ops.conv3d(x + c * 0.5, w, padding=1))


@pytest.mark.parametrize(
    ("step", "shape", "filters"),
    [(_images, (3, 2, 5, 9, 7), (5, 5, 3, 3)), (_volumes, (3, 2, 2, 4, 5, 6), (2, 2, 3, 3, 3))],
    ids=["images", "volumes"],
)
def test_a_loop_over_images_is_the_same_without_a_loop(step: Any, shape: Any, filters: Any) -> None:
    arrays = [RNG.normal(size=shape).astype("float32"), RNG.normal(size=filters).astype("float32") * 0.2]

    def loop(x: Value, w: Value) -> Any:
        return ops.scan(lambda c, part: (step(c, part, w), c), x[0], x)

    def written_out(x: Value, w: Value) -> Any:
        c, before = x[0], []
        for number in range(3):
            before.append(c)
            c = step(c, x[number], w)
        return c, ops.stack(before)

    found, expected = (Evaluation(function, arrays).run(arrays) for function in (loop, written_out))
    for ours, theirs in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


# What is planned ------------------------------------------------------------------------------------------


def recurrence(x: Value, w: Value) -> Value:
    """A loop whose weights are transposed in its body."""
    return ops.scan(lambda c, row: (ops.tanh(c @ ops.transpose(w) + row), c), x[0], x)[1]


def test_a_step_of_training_runs_one_loop_forward_and_one_back() -> None:
    graph = Graph()
    with graph.active():
        x, w = graph.input("x", Spec(("T", 2, 3))), graph.input("w", Spec((3, 3)))
        y = recurrence(x, w)
        slopes = gradients(ops.sum(y * y), [w])
        both, alone = Program(graph, [y, *slopes]), Program(graph, [y])
    forward, back = loops_of(both)
    assert not forward.reverse and back.reverse and len(loops_of(alone)) == 1
    # Back runs what the state needs: the product of the step forward was kept, that of the weights comes
    # after the loop, and nobody asked for the gradient of the data.
    assert inside(alone).count(MatMul) == 1 and inside(both).count(MatMul) == 2
    assert sum(isinstance(node.op, MatMul) for node in both.nodes) == 1
    assert (forward.carries, len(forward.body.outputs)) == (1, 3)  # the state before each step, its product
    assert (back.carries, len(back.body.outputs)) == (1, 2)


def test_what_is_the_same_at_each_step_is_computed_once() -> None:
    graph = Graph()
    with graph.active():
        x, w = graph.input("x", Spec(("T", 2, 3))), graph.input("w", Spec((3, 3)))
        y = recurrence(x, w)
    (loop,) = [node for node in graph.nodes if isinstance(node.op, Scan)]
    assert not any(isinstance(node.op, Transpose) for node in loop.op.body.nodes)
    assert isinstance(loop.inputs[-1].node.op, Transpose)
    assert y.shape == ("T", 2, 3)


def test_multiply_adds_are_those_of_all_steps() -> None:
    x, w = RNG.normal(size=(5, 2, 3)), RNG.normal(size=(3, 3))
    graph = Graph()
    with graph.active():
        recurrence(graph.input("x", Spec(("T", 2, 3))), graph.input("w", Spec(w.shape)))
    (loop,) = [node for node in graph.nodes if isinstance(node.op, Scan)]
    specs = [Spec((2, 3)), Spec(x.shape), Spec(w.shape)]
    assert loop.op.multiply_adds(specs, [Spec((2, 3)), Spec(x.shape)]) == 5 * 2 * 3 * 3


def test_two_loops_over_one_body_are_two() -> None:
    """What looks alike may draw other random numbers."""
    graph = Graph()
    with graph.active():
        x = graph.input("x", Spec((4,)))
        for _ in range(2):
            ops.scan(lambda c, part: (c + part, None), 0.0, x)
    assert len([node for node in graph.nodes if isinstance(node.op, Scan)]) == 2


# Random numbers, state and failures -----------------------------------------------------------------------


def test_random_numbers_differ_from_step_to_step_and_are_repeated_exactly() -> None:
    graph = Graph()
    with graph.active():
        x = graph.input("x", Spec((6, 50)))

        def draw() -> Any:
            step = lambda c, row: (c, (ops.uniform(row.shape), ops.normal(row.shape)))  # noqa: E731
            return ops.scan(step, None, x)[1]

        first, second = draw(), draw()
        inner = ops.scan(
            lambda c, row: (c, ops.scan(lambda c, part: (c, ops.uniform(())), None, row)[1]), None, x
        )[1]
        program = Program(graph, [*first, *second, inner, ops.uniform((6, 50))])
    array = np.zeros((6, 50), "float32")
    found = run(program, x=array, _seed=1, _step=3)
    for again, ours in zip(run(program, x=array, _seed=1, _step=3), found, strict=True):
        np.testing.assert_array_equal(again, ours)
    uniform = np.concatenate([found[number].ravel() for number in (0, 2, 4, 5)])
    assert len(np.unique(uniform)) > 0.99 * uniform.size  # a few of float32's 2**24 meet
    assert 0.45 < uniform.mean() < 0.55 and abs(found[1].mean()) < 0.2
    for other in (run(program, x=array, _seed=2, _step=3), run(program, x=array, _seed=1, _step=4)):
        assert (other[0] != found[0]).mean() > 0.99
    assert {SEED, STEP} <= set(program.inputs)


def test_a_gradient_drops_what_the_loop_dropped() -> None:
    graph = Graph()
    with graph.active():
        x = graph.input("x", Spec((5, 40), "float64"))
        _, kept = ops.scan(lambda c, row: (c, ops.dropout(row, 0.5)), None, x)
        program = Program(graph, [kept, *gradients(ops.sum(kept), [x])])
    kept, slope = run(program, x=np.ones((5, 40)), _seed=3, _step=1)
    np.testing.assert_array_equal(kept, slope)
    assert 0.3 < (kept == 0).mean() < 0.7 and len({row.tobytes() for row in kept}) == 5


def test_a_failure_names_the_op_of_the_body_and_the_next_run_begins_anew() -> None:
    table = RNG.normal(size=(4, 3))

    def build(i: Value, t: Value) -> Value:
        return ops.scan(lambda c, row: (c + ops.gather(t, row), None), np.zeros((2, 3)), i)[0]

    good, bad = np.array([[0, 1], [2, 3], [1, 1]]), np.array([[3, 3], [2, 4], [1, 1]])
    evaluation = Evaluation(build, [good, table])
    with pytest.raises(DataError, match=r"(?s)Gather.*the index 4 \(position 1\)") as caught:
        evaluation.run([bad, table])
    assert caught.value.where == "Gather"
    np.testing.assert_allclose(evaluation.run([good, table])[0][0], table[good].sum(0))


def test_a_gradient_inside_of_a_body_is_one_step_of_descent() -> None:
    """A loop may differentiate: for what it carries, and for values around it."""

    def descent(x: Value, w: Value) -> Any:
        def step(at: Value, target: Value) -> Any:
            loss = ops.sum(ops.square(at * w - target))
            slope, of_weight = ops.gradients(loss, (at, w))
            return at - 0.1 * slope, of_weight

        return ops.scan(step, np.zeros(3), x)

    x, w = RNG.normal(size=(4, 3)), RNG.normal(size=3)
    at, slopes = np.zeros(3), []
    for target in x:
        slopes.append(2 * (at * w - target) * at)
        at = at - 0.1 * 2 * (at * w - target) * w
    last, found = compute(descent, x, w)
    np.testing.assert_allclose(last, at)
    np.testing.assert_allclose(found, slopes)


def test_values_do_not_leave_a_body() -> None:
    kept: list[Value] = []

    def leak(c: Value, x: Value) -> Any:
        kept.append(x)
        return c, x

    with pytest.raises(GraphError, match="Add was applied to a value of a body that is done"):
        compute(lambda x: ops.scan(leak, None, x)[1] + kept[0], np.zeros(3))
    with pytest.raises(GraphError, match="values of two graphs were mixed"):
        compute(lambda x: (ops.scan(leak, None, x)[1], kept[-1]), np.zeros(3))


@dataclass(frozen=True)
class Steps(bm.Layer):
    """A layer applied at each step, in a loop."""

    layer: bm.Layer

    def __call__(self, x: Any) -> Any:
        return ops.scan(lambda c, row: (c, self.layer(row)), None, x, 1)[1]


def test_layers_in_a_body_cannot_change_their_state() -> None:
    with pytest.raises(
        GraphError, match="'running_mean' cannot be set inside of the body of a scan"
    ) as caught:
        Steps(bm.layers.BatchNorm()).build(Spec(("N", "T", 3))).trace(training=True)
    assert caught.value.where == "layer (BatchNorm)"
