"""Second derivatives of recurrent layers: finite differences of the first, and PyTorch's double backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Value
from bigmodel_core.ops.recurrent import Recurrent
from bigmodel_core.ops.recurrent_steps import forward_steps
from bigmodel_core.testing import check_gradients, compute
from bigmodel_core.testing.evaluate import Evaluation, weighted_sum
from tests.ops.recurrent_reference import GATES

STEPS, BATCH, FEATURES, UNITS = 2, 2, 2, 3


def arrays(op: Recurrent) -> list[np.ndarray]:
    generator, width = np.random.default_rng(0), UNITS * GATES[op.cell]
    shapes = [(STEPS, BATCH, FEATURES), (FEATURES, width), (UNITS, width), (width,), (width,)]
    found = [generator.normal(size=shape) * 0.7 for shape in shapes]
    if op.has_lengths:
        found.append(np.array([STEPS, 1]))
    return found + [generator.normal(size=(BATCH, UNITS)) for _ in range(op.states * op.has_initial)]


def slopes(op: Recurrent) -> Callable[..., tuple[Value, ...]]:
    """The gradients of the weighted squares of y and the last states."""

    def first(*values: Value) -> tuple[Value, ...]:
        total = weighted_sum([ops.square(value) for value in op(*values)[: 1 + op.states]])
        return ops.gradients(total, tuple(value for value in values if value.spec.is_float))

    return first


@pytest.mark.parametrize("cell", GATES)
def test_the_steps_are_what_the_kernel_computes(cell: str) -> None:
    for reverse in (False, True):
        op = Recurrent(cell, reverse, has_lengths=True, has_initial=True)
        found = compute(lambda *v, op=op: forward_steps(op, v)[: 1 + op.states], *arrays(op))
        expected = compute(lambda *v, op=op: op(*v)[: 1 + op.states], *arrays(op))
        for mine, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, right, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", GATES)
def test_second_derivatives_equal_finite_differences(cell: str, reverse: bool) -> None:
    """With lengths and first states, where most can go wrong."""
    op = Recurrent(cell, reverse, has_lengths=True, has_initial=True)
    check_gradients(slopes(op), arrays(op), rtol=1e-5, atol=1e-6, limit=8)


def ours(slope: Any, place: int) -> Any:
    """PyTorch's slope for an array of this place in our form; its matrices are turned."""
    return slope.T if place in (1, 2) else slope


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_second_derivatives_equal_pytorch(cell: str, torch: Any) -> None:
    """The same kernels as above: all rows are whole."""
    op = Recurrent(cell, has_lengths=True, has_initial=True)
    given = arrays(op)
    given[5][:] = STEPS
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](FEATURES, UNITS).double()
    weights = [module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0, module.bias_hh_l0]
    with torch.no_grad():
        for parameter, array in zip(weights, given[1:5], strict=True):
            parameter.copy_(torch.from_numpy(array.T))
    x, *initial = (torch.from_numpy(array).requires_grad_() for array in (given[0], *given[6:]))
    states = tuple(state[None] for state in initial)
    y, last = module(x, states if cell == "lstm" else states[0])
    generator = np.random.default_rng(1)  # the weights of `weighted_sum`
    states = [state[0] for state in (last if cell == "lstm" else (last,))]
    total = sum(
        (value**2 * torch.tensor(generator.uniform(0.5, 1.5, value.shape))).sum() for value in (y, *states)
    )
    wanted = [x, *weights, *initial]
    first = torch.autograd.grad(total, wanted, create_graph=True)
    generator = np.random.default_rng(1)
    total = sum(
        (ours(slope, place) * torch.tensor(generator.uniform(0.5, 1.5, ours(slope, place).shape))).sum()
        for place, slope in enumerate(first)
    )
    expected = torch.autograd.grad(total, wanted)
    _, (_, *found) = Evaluation(slopes(op), given).run(given)
    for place, (mine, right) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(mine, ours(right, place).numpy(), rtol=1e-9, atol=1e-11)


@dataclass(frozen=True)
class Slope(bm.Layer):
    """How the last state of a layer depends on its input."""

    inner: bm.Layer

    def __call__(self, x: Value) -> Value:
        return ops.gradients(ops.sum(self.inner(x)), x)


def test_a_layer_with_a_free_batch_trains() -> None:
    model = Slope(bm.layers.GRU(3))
    x = np.random.default_rng(0).normal(size=(4, 2, 2)).astype("float32")
    model.build(bm.Spec(("N", 2, 2)))
    evaluate = bm.value_and_grad(model, "mean_squared_error")
    _, found = evaluate(x, np.zeros_like(x))
    assert all(array.any() for array in found.values())
    _, half = evaluate(x[:2], np.zeros_like(x[:2]))
    _, rest = evaluate(x[2:], np.zeros_like(x[2:]))
    for path, array in found.items():
        np.testing.assert_allclose(array, (half[path] + rest[path]) / 2, rtol=1e-4, atol=1e-7)


def test_a_free_number_of_steps_is_an_error_that_names_the_layer() -> None:
    model = Slope(bm.layers.LSTM(3))
    model.build(bm.Spec(("N", "T", 2)))
    x = np.ones((4, 3, 2), "float32")
    assert model(x).shape == x.shape  # the first derivative
    with pytest.raises(GraphError, match="inner .LSTM.: second derivatives .* known number of steps"):
        bm.gradients(model, x)
