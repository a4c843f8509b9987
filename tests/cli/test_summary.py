"""The summary of a model: counts by formula, memory beside the plan's, shared layers counted once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.nn.summary import summarise


@pytest.mark.parametrize("batch_size", [1, 64])
def test_memory_is_that_of_the_plan(batch_size: int) -> None:
    model = bm.models.build("mlp")
    network = model.build(model.input_spec())
    network(np.zeros((batch_size, 784), "float32"))
    (plan,) = network._inference().program._plans.values()
    expected = summarise(network, batch_size).memory.inference
    # The plan pads its buffers, and some kernels ask for scratch memory.
    assert expected <= plan.nbytes <= expected * 1.1 + 8192


def test_what_kernels_make_of_large_weights_is_counted() -> None:
    network = bm.Sequential(bm.layers.Dense(500), bm.layers.Relu()).build(bm.Spec(("N", 700)))
    network(np.zeros((3, 700), "float32"))
    (plan,) = network._inference().program._plans.values()
    memory = summarise(network, 3).memory
    assert memory.kept == plan.kept_nbytes >= 700 * 500 * 4
    assert "for what kernels make of them, " in summarise(network, 3).totals()["Memory"]


def test_parameters_are_those_of_the_state() -> None:
    model = bm.models.build("mlp", widths=(5, 3))
    network = model.build(bm.Spec(("N", 4)))
    summary = summarise(network)
    assert summary.parameters == summary.trainable == sum(array.size for array in network.state().values())
    assert sum(row.parameters for row in summary.rows) == summary.parameters


@dataclass(frozen=True)
class Twice(bm.Layer):
    """One dense layer, applied twice."""

    inner: bm.Layer = field(default_factory=lambda: bm.layers.Dense(6))

    def __call__(self, x: Any) -> Any:
        return self.inner(bm.ops.relu(self.inner(x)))


def test_a_shared_layer_counts_its_parameters_once_and_its_work_twice() -> None:
    summary = summarise(Twice().build(bm.Spec(("N", 6))))
    assert summary.parameters == 6 * 6 + 6
    assert summary.multiply_adds == 2 * 6 * 6


def test_a_batched_product_counts_all_of_it() -> None:
    @dataclass(frozen=True)
    class Gram(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return bm.ops.matmul(x, bm.ops.transpose(x, (0, 2, 1)))

    summary = summarise(Gram().build(bm.Spec(("N", 5, 7))))
    assert summary.multiply_adds == 5 * 5 * 7
    assert summary.outputs[0].shape == ("N", 5, 5)
