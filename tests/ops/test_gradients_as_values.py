"""`ops.stop_gradient` and `ops.gradients`: what flows, what is refused, and penalties that train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import DtypeError, GraphError, ShapeError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.testing import compute, compute_gradients

X = np.array([[0.5, -1.0], [2.0, 0.25]])


# stop_gradient --------------------------------------------------------------------------------------------


def test_a_stopped_value_is_a_constant_to_gradients() -> None:
    (found,) = compute_gradients(lambda x: ops.sum(ops.square(x) * ops.stop_gradient(ops.exp(x))), X)
    np.testing.assert_allclose(found, 2 * X * np.exp(X), rtol=1e-12)


def test_nothing_is_computed_for_a_stopped_value() -> None:
    """Elementwise ops before and behind it are one step, as without it."""
    steps = []
    for stop in (ops.stop_gradient, lambda x: x):
        graph = Graph()
        y = ops.tanh(stop(ops.exp(graph.input("x", Spec(("N", 3))))))
        steps.append(len(Program(graph, [y]).listing(4, {})))
    assert steps == [1, 1]


def test_a_stopped_input_may_be_an_output() -> None:
    np.testing.assert_array_equal(compute(ops.stop_gradient, X), X)


def test_an_alias_on_a_device_that_rewrites_nothing() -> None:
    """Where a device has no passes over the graph, it is the memory of its input."""
    assert ops.differentiation.StopGradient.alias


def test_a_teacher_behind_stop_gradient_is_not_trained(torch: Any) -> None:
    """Distillation of a layer by another in one model: its gradients are those of `detach`."""

    @dataclass(frozen=True)
    class Distilled(bm.Layer):
        teacher: bm.Layer
        student: bm.Layer

        def __call__(self, x: Value) -> Value:
            return self.student(x) - ops.stop_gradient(self.teacher(x))

    model = Distilled(bm.layers.Dense(2), bm.layers.Dense(2))
    x, y = X.astype("float32"), np.zeros((2, 2), "float32")
    model(x)
    _, found = bm.value_and_grad(model, "mean_squared_error")(x, y)
    state = {path: torch.tensor(array, requires_grad=True) for path, array in model.state().items()}
    given = torch.tensor(x)
    goal = (given @ state["teacher/weight"] + state["teacher/bias"]).detach()
    ((given @ state["student/weight"] + state["student/bias"] - goal) ** 2).mean().backward()
    for path, gradient in found.items():
        expected = state[path].grad
        right = np.zeros_like(gradient) if expected is None else expected.numpy()
        np.testing.assert_allclose(gradient, right, rtol=1e-5, atol=1e-6)
    assert not found["teacher/weight"].any()


# gradients ------------------------------------------------------------------------------------------------


def test_the_form_of_the_gradients_is_that_of_the_values() -> None:
    x = Graph().input("x", Spec((3,)))
    y = ops.exp(x)
    total = ops.sum(y * y)
    assert isinstance(ops.gradients(total, x), Value)
    assert [type(ops.gradients(total, kind([x, y]))) for kind in (tuple, list)] == [tuple, list]


def test_a_gradient_for_an_intermediate_value() -> None:
    def slope(x: Value) -> Value:
        y = ops.exp(x)
        return ops.gradients(ops.sum(y**3), y)

    np.testing.assert_allclose(compute(slope, X), 3 * np.exp(X) ** 2, rtol=1e-12)


def test_zeros_where_the_way_is_cut() -> None:
    for cut in (ops.stop_gradient, ops.floor, lambda x: ops.argmax(x, 0).astype("float64")):
        found = compute(lambda x, cut=cut: ops.gradients(ops.sum(cut(x)), x), X)
        np.testing.assert_array_equal(found, np.zeros_like(X))


def test_a_value_that_the_scalar_does_not_depend_on_is_an_error() -> None:
    x = Graph().input("x", Spec(("N", 3)))
    total = ops.sum(x * x)
    with pytest.raises(GraphError, match="value 2 of those .*Slice.* none that the scalar was computed from"):
        ops.gradients(total, (x, x[:, :1]))
    with pytest.raises(GraphError, match="none that the scalar"):
        ops.gradients(total, Graph().input("x", Spec(("N", 3))))


def test_what_is_no_value_is_an_error() -> None:
    x = Graph().input("x", Spec((3,)))
    with pytest.raises(GraphError, match="outside of models, use bm.gradients"):
        ops.gradients(ops.sum(x), ("x",))  # type: ignore[arg-type]  # on purpose


def test_only_floats_have_gradients_and_only_of_scalars() -> None:
    graph = Graph()
    x, labels = graph.input("x", Spec(("N", 3))), graph.input("y", Spec(("N",), "int64"))
    with pytest.raises(DtypeError, match="no float type"):
        ops.gradients(ops.sum(ops.cross_entropy(x, labels)), labels)
    with pytest.raises(ShapeError, match="only a scalar"):
        ops.gradients(x * x, x)


def test_an_op_without_a_gradient_names_its_layer() -> None:
    @dataclass(frozen=True)
    class Doubled(bm.Op):
        def infer(self, x: Spec) -> Spec:
            return x

    @dataclass(frozen=True)
    class Double(bm.Layer):
        def __call__(self, x: Value) -> Value:
            return ops.gradients(ops.sum(Doubled()(x)), x)

    with pytest.raises(GraphError, match="double_1 .Double.: the op Doubled has no gradient"):
        bm.Sequential(Double()).build(bm.Spec(("N", 3)))


def test_sizes_may_be_free() -> None:
    """Layer normalisation, batch normalisation and means over sizes that are known at the run alone."""
    graph = Graph()
    x = graph.input("x", Spec(("N", 2, "H", "W"), "float64"))
    ones = graph.constant(np.ones(2))
    y = ops.batch_norm(x, ones, ones)[0]
    y = ops.max_pool(ops.sigmoid(y), 2, 1)
    first = ops.gradients(ops.mean(y * y), x)
    second = ops.gradients(ops.sum(first * first), x)
    program = Program(graph, [second])
    given = np.random.default_rng(0).normal(size=(3, 2, 5, 4))

    def fixed(x: Value) -> Value:
        one = x.node.graph.constant(np.ones(2))
        y = ops.max_pool(ops.sigmoid(ops.batch_norm(x, one, one)[0]), 2, 1)
        first = ops.gradients(ops.mean(y * y), x)
        return ops.gradients(ops.sum(first * first), x)

    (found,) = program.run(Variables(device_named("cpu")), {"x": given})
    np.testing.assert_allclose(found, compute(fixed, given), rtol=1e-10)


# In models ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Critic(bm.Layer):
    """A score for each image; smooth, so that its curvature trains, too."""

    def __call__(self, x: Value) -> Value:
        x = bm.layers.LeakyRelu(0.2)(bm.layers.Conv2d(6, 3, stride=2, padding=1)(x))
        x = bm.layers.Tanh()(bm.layers.Conv2d(8, 3, padding=1)(x))
        x = bm.layers.Gelu()(bm.layers.Dense(10)(bm.layers.Flatten()(x)))
        return bm.layers.Dense(1)(x)


@dataclass(frozen=True)
class Game(bm.Layer):
    """The loss of a critic with a penalty on its slope between images (Gulrajani et al., 2017)."""

    critic: bm.Layer
    weight: float = 10.0

    def __call__(self, real: Value, made: Value, share: Value) -> Value:
        between = real * share + made * (1.0 - share)
        slope = ops.gradients(ops.sum(self.critic(between)), between)
        norm = ops.sqrt(ops.sum(slope * slope, (1, 2, 3)) + 1e-12)
        penalty = ops.square(norm - 1.0)
        return self.critic(made)[:, 0] - self.critic(real)[:, 0] + self.weight * penalty


@dataclass(frozen=True)
class Itself(bm.Loss):
    """What the model returns; targets are not looked at."""

    def each(self, prediction: Value, target: Value) -> Value:
        return prediction


def test_a_gradient_penalty_trains_as_in_pytorch(torch: Any) -> None:
    generator = np.random.default_rng(0)
    model = Game(Critic())
    batches = [
        (
            generator.normal(size=(4, 2, 8, 8)).astype("float32"),
            generator.normal(size=(4, 2, 8, 8)).astype("float32"),
            generator.uniform(size=(4, 1, 1, 1)).astype("float32"),
        )
        for _ in range(5)
    ]
    nothing = np.zeros(4, "float32")
    network = model.build(*(bm.Spec(("N", *array.shape[1:])) for array in batches[0]))
    state = {path: torch.tensor(a, requires_grad=True) for path, a in network.state().items()}

    def critic(x: Any) -> Any:
        def of(name: str) -> Any:
            return state[f"critic/{name}/weight"], state[f"critic/{name}/bias"]

        f = torch.nn.functional
        x = f.leaky_relu(f.conv2d(x, *of("conv2d_1"), stride=2, padding=1), 0.2)
        x = torch.tanh(f.conv2d(x, *of("conv2d_2"), padding=1)).flatten(1)
        weight, bias = of("dense_1")
        x = f.gelu(x @ weight + bias)
        weight, bias = of("dense_2")
        return x @ weight + bias

    def loss(real: Any, made: Any, share: Any) -> Any:
        between = (real * share + made * (1 - share)).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = (((slope**2).sum((1, 2, 3)) + 1e-12).sqrt() - 1) ** 2
        return (critic(made)[:, 0] - critic(real)[:, 0] + 10 * penalty).mean()

    rule = torch.optim.Adam(list(state.values()), lr=1e-3)
    step = bm.compile(network, Itself(), bm.optimizers.Adam(1e-3))
    for batch in batches:
        found, gradients = bm.value_and_grad(network, Itself())(batch, nothing)
        rule.zero_grad()
        expected = loss(*(torch.tensor(array) for array in batch))
        expected.backward()
        assert found == pytest.approx(expected.item(), rel=1e-5)
        for path, gradient in gradients.items():
            right = state[path].grad.numpy()
            np.testing.assert_allclose(gradient, right, rtol=0, atol=1e-5 * max(np.abs(right).max(), 1))
        assert step(batch, nothing) == pytest.approx(found, rel=1e-6)
        rule.step()
    for path, array in network.state().items():
        np.testing.assert_allclose(array, state[path].detach().numpy(), rtol=0, atol=1e-5)


def test_a_force_is_the_slope_of_an_energy(torch: Any) -> None:
    """A model whose output is a gradient predicts."""

    @dataclass(frozen=True)
    class Force(bm.Layer):
        energy: bm.Layer

        def __call__(self, x: Value) -> Value:
            return -ops.gradients(ops.sum(self.energy(x)), x)

    model = Force(bm.Sequential(bm.layers.Dense(5), bm.layers.Tanh(), bm.layers.Dense(1)))
    x = X.astype("float32")
    found = model(x)
    state = {path: torch.tensor(array) for path, array in model.state().items()}
    weights = [state[f"energy/dense_{n}/{name}"] for n in (1, 2) for name in ("weight", "bias")]
    given = torch.tensor(x, requires_grad=True)
    energy = torch.tanh(given @ weights[0] + weights[1]) @ weights[2] + weights[3]
    (slope,) = torch.autograd.grad(energy.sum(), given)
    np.testing.assert_allclose(found, -slope.numpy(), rtol=1e-5, atol=1e-6)
