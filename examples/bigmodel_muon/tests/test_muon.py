"""The optimizers keep every promise of the conformance kit, and take the steps that the papers say."""

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.testing import compute, parametrize_checks
from bigmodel_muon import Lion, Muon, orthogonalised


def lion(parameter, gradient, state, rate, step):
    direction = np.sign(0.9 * state["mean"] + 0.1 * gradient)
    return parameter - rate * direction, {"mean": 0.99 * state["mean"] + 0.01 * gradient}


def adam(parameter, gradient, state, rate, step):
    mean, square = 0.9 * state["mean"] + 0.1 * gradient, 0.95 * state["square"] + 0.05 * gradient**2
    change = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.95**step)) + 1e-8)
    return parameter - 0.1 * rate * change, {"mean": mean, "square": square}


@parametrize_checks(Lion(), reference=lion)
def test_lion(check):
    check()


def muon(parameter, gradient, state, rate, step):
    if parameter.ndim < 2:
        return adam(parameter, gradient, state, rate, step)
    mean = 0.95 * state["mean"] + gradient
    x = (gradient + 0.95 * mean).reshape(len(parameter), -1)
    ratio = x.shape[0] / x.shape[1] if parameter.ndim > 2 else x.shape[1] / x.shape[0]
    x, size = x / (np.linalg.norm(x) + 1e-7), max(1.0, ratio) ** 0.5
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return parameter - rate * size * x.reshape(parameter.shape), {"mean": mean}


@parametrize_checks(Muon(), reference=muon)
def test_muon(check):
    check()


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_singular_values_become_about_one(shape):
    matrix = np.random.default_rng(0).standard_normal(shape)
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    found = compute(lambda x: orthogonalised(x, 5), matrix)
    values = np.linalg.svd(found, compute_uv=False)
    assert values.min() > 0.6 and values.max() < 1.25
    assert np.abs(found - u @ v).max() < 0.4


def test_a_step_of_a_matrix_and_of_filters():
    random = np.random.default_rng(1)
    model = bm.Sequential(bm.layers.Conv2d(30, 3), bm.layers.GlobalAveragePool(), bm.layers.Dense(40))
    x, y = random.standard_normal((50, 2, 6, 6)).astype("float32"), random.integers(0, 40, 50)
    step = bm.compile(model, "cross_entropy", Muon(0.02, momentum=0.0))
    _, gradients = step.gradients(x, y)
    before = step.network.state()
    step(x, y)
    after = step.network.state()
    for path, gradient in gradients.items():
        if gradient.ndim < 2:
            continue
        rows = gradient.shape[0]
        flat = gradient.reshape(rows, -1).astype("float64")
        outputs, inputs = (30, 18) if gradient.ndim == 4 else (40, 30)
        wanted = compute(lambda g: orthogonalised(g, 5), flat) * (outputs / inputs) ** 0.5
        moved = (before[path] - after[path]).reshape(rows, -1) / 0.02
        np.testing.assert_allclose(moved, wanted, atol=2e-3)
