"""Dense networks train on the simulated device as they do on the CPU: losses, parameters, random masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm

RNG = np.random.default_rng(11)
X = RNG.standard_normal((6, 8)).astype("float32")
LABELS = RNG.integers(0, 3, 6)


@dataclass(frozen=True)
class Rows(bm.Layer):
    """A layer applied to two halves of each sample, one after the other, and to what it gave before."""

    inner: bm.Layer

    def __call__(self, x: Any) -> Any:
        def step(before: Any, half: Any) -> Any:
            return self.inner(bm.ops.concatenate([half, before], 1)), None

        begin = bm.ops.full((x.shape[0], 5), 0.0, x.dtype)
        return bm.ops.scan(step, begin, x.reshape(x.shape[0], 2, 4), axis=1)[0]


def trained(
    model: Any, device: str, optimizer: Any, steps: int = 4, loss: str = "cross_entropy", y: Any = LABELS
) -> Any:
    """Losses of a few steps, and the parameters after them."""
    network = model.build(bm.Spec(("N", 8)), seed=5, device=device)
    step = bm.compile(network, loss=loss, optimizer=optimizer, seed=9)
    losses = [step(X, y) for _ in range(steps)]
    return losses, network.state(), step


def assert_same_training(make: Any, optimizer: Any, **options: Any) -> None:
    losses, state, _ = trained(make(), "cpu", optimizer, **options)
    found_losses, found, _ = trained(make(), "cuda", optimizer, **options)
    np.testing.assert_allclose(found_losses, losses, rtol=1e-5)
    for path, array in state.items():
        np.testing.assert_allclose(found[path], array, rtol=1e-5, atol=1e-6, err_msg=path)


def mlp() -> Any:
    return bm.Sequential(bm.layers.Dense(10), bm.layers.Relu(), bm.layers.Dense(3))


def test_a_dense_network_with_adam() -> None:
    assert_same_training(mlp, bm.optimizers.Adam(0.01), steps=5)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: bm.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        lambda: bm.optimizers.AdamW(0.01),
        lambda: bm.optimizers.RMSprop(0.01),
    ],
    ids=["SGD", "AdamW", "RMSprop"],
)
def test_other_optimizers(optimizer: Any) -> None:
    assert_same_training(mlp, optimizer(), steps=3)


def test_dropout_and_normalisation_draw_the_same_masks() -> None:
    def make() -> Any:
        return bm.Sequential(
            bm.layers.Dense(12),
            bm.layers.LayerNorm(),
            bm.layers.Gelu(),
            bm.layers.Dropout(0.4),
            bm.layers.Dense(3),
        )

    assert_same_training(make, bm.optimizers.SGD(0.05))


@pytest.mark.parametrize("is_tanh", [False, True])
def test_activations_that_are_computed_again(is_tanh: bool) -> None:
    layers = bm.layers.Dense(5), bm.layers.Gelu(approximate=is_tanh), bm.layers.Dense(3)
    assert_same_training(lambda: bm.Sequential(*layers), bm.optimizers.SGD(0.05), steps=2)


def test_a_layer_in_a_loop_draws_the_same_masks() -> None:
    inner = bm.Sequential(bm.layers.Dense(5), bm.layers.Dropout(0.3))
    assert_same_training(lambda: bm.Sequential(Rows(inner), bm.layers.Dense(3)), bm.optimizers.Adam(0.01))


def test_the_loss_falls() -> None:
    losses, _, _ = trained(mlp(), "cuda", bm.optimizers.Adam(0.05), steps=12)
    assert losses[-1] < 0.6 * losses[0]


def test_regression_in_float64() -> None:
    def run(device: str) -> Any:
        model = bm.Sequential(bm.layers.Dense(5), bm.layers.Tanh(), bm.layers.Dense(1))
        network = model.build(bm.Spec(("N", 8), "float64"), seed=1, dtype="float64", device=device)
        step = bm.compile(network, loss="mean_squared_error", optimizer=bm.optimizers.SGD(0.1))
        target = X[:, :1].astype("float64")
        return [step(X.astype("float64"), target) for _ in range(4)], network.state()

    (losses, state), (found_losses, found) = run("cpu"), run("cuda")
    np.testing.assert_allclose(found_losses, losses, rtol=1e-12)
    for path, array in state.items():
        np.testing.assert_allclose(found[path], array, rtol=1e-10, atol=1e-13)


def test_batches_of_other_sizes() -> None:
    network = mlp().build(bm.Spec(("N", 8)), seed=5, device="cuda")
    same = mlp().build(bm.Spec(("N", 8)), seed=5)
    for size in (1, 6, 4):
        np.testing.assert_allclose(network(X[:size]), same(X[:size]), rtol=1e-5, atol=1e-6)


def test_state_goes_to_the_device_and_back() -> None:
    network = mlp().build(bm.Spec(("N", 8)), seed=5, device="cuda")
    state = {path: np.full_like(array, 0.25) for path, array in network.state().items()}
    network.load_state(state)
    for path, array in network.state().items():
        np.testing.assert_array_equal(array, state[path])
    np.testing.assert_allclose(network(X[:1]), network(X[:1]))


def test_memory_is_used_again() -> None:
    """Layers of one width need less than the sum of their outputs: buffers live while they are read."""
    from bigmodel_core.plan import Program

    layers = [layer for _ in range(6) for layer in (bm.layers.Dense(64), bm.layers.Relu())]
    network = bm.Sequential(*layers).build(bm.Spec(("N", 8)), device="cuda")
    trace = network.trace(training=False)
    program = Program(trace.graph, trace.outputs, device="cuda")
    plan = program.plan(network.variables, {"N": 16})
    outputs = sum(16 * 64 * 4 for step in program.steps)
    assert plan.nbytes < 0.6 * outputs


def test_halves_sums_groups_and_averages() -> None:
    """Gradients as arrays, added up on the device, frozen, in groups, averaged: as on the CPU."""
    states = []
    for device in ("cpu", "cuda"):
        network = mlp().build(bm.Spec(("N", 8)), seed=5, device=device)
        optimizer = bm.optimizers.SGD(0.1, momentum=0.9, groups={"*/bias": {"learning_rate": 0.5}})
        step = bm.compile(network, "cross_entropy", optimizer, freeze="dense_1/weight", ema=0.5)
        step.apply(step.gradients(X, LABELS)[1])
        for rows in (slice(0, 4), slice(4, 6)):
            step.accumulate(X[rows], LABELS[rows])
        step.apply()
        states.append(step.state())
    for path, array in states[0].items():
        np.testing.assert_allclose(states[1][path], array, rtol=1e-5, atol=1e-6, err_msg=path)
