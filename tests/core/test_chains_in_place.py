"""Chains write into memory that nothing else needs, and activations are computed again for gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.graph import Graph
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.plan import Program, Variables, activations, device_named

CPU = device_named("cpu")
RANDOM = np.random.default_rng(3)
X, W, U = (RANDOM.standard_normal(shape).astype(np.float32) for shape in ((300, 90), (90, 90), (90, 90)))


def program_of(build: Any, **arrays: np.ndarray) -> tuple[Program, dict[str, np.ndarray]]:
    graph = Graph()
    values = {name: graph.input(name, bm.Spec(a.shape, a.dtype.name)) for name, a in arrays.items()}
    with graph.active():
        return Program(graph, build(**values)), arrays


def block(activation: Any, *more: Any) -> Any:
    """A product, an activation and a product: the gradients of the weights, and what `more` makes."""

    def build(x: Any, w: Any, u: Any) -> list[Any]:
        inside = activation(ops.matmul(x, w))
        loss = ops.sum(ops.square(ops.matmul(inside, u)))
        return [*gradients(loss, [w, u]), *(make(inside) for make in more)]

    return build


def test_a_chain_takes_the_memory_of_the_product_before_it() -> None:
    program, given = program_of(lambda x, w: [ops.sum(ops.relu(ops.matmul(x, w)), 1)], x=X, w=W)
    assert any(part.takes for step in program.steps for part in step.parts())
    np.testing.assert_allclose(
        program.run(Variables(CPU), given)[0], np.maximum(X @ W, 0).sum(1), rtol=1e-4, atol=1e-4
    )


def test_what_a_product_reads_is_not_overwritten_by_what_runs_on_its_tiles() -> None:
    def build(x: Any, w: Any) -> list[Any]:
        rows = ops.softmax(x)
        return [ops.sum(rows + ops.matmul(rows, w), 1)]

    x, w = (RANDOM.standard_normal((300, 300)) for _ in range(2))  # tiles that are narrower than a row
    program, given = program_of(build, x=x, w=w)
    rows = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(program.run(Variables(CPU), given)[0], (rows + rows @ w).sum(1), rtol=1e-9)


@pytest.mark.parametrize("activation", [ops.gelu, ops.gelu_tanh], ids=["gelu", "gelu_tanh"])
def test_gradients_are_the_same_if_an_activation_is_computed_again(activation: Any) -> None:
    again, given = program_of(block(activation), x=X, w=W, u=U)
    kept, _ = program_of(block(activation, lambda inside: inside), x=X, w=W, u=U)
    named = [{type(node.op).__name__ for node in program.nodes} for program in (again, kept)]
    assert [any("Share" in name for name in names) for names in named] == [True, False]
    for found, expected in zip(
        again.run(Variables(CPU), given), kept.run(Variables(CPU), given), strict=False
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3 * np.abs(expected).max())


def test_an_activation_that_is_computed_again_takes_no_memory_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def several(x: Any, w: Any, u: Any) -> list[Any]:
        y = x
        for _ in range(4):
            y = ops.matmul(ops.gelu(ops.matmul(y, w)), u)
        return list(gradients(ops.sum(ops.square(y)), [w, u]))

    again = program_of(several, x=X, w=W, u=U)[0].plan(Variables(CPU), {})
    monkeypatch.setattr(activations, "_gradients", lambda computation: {})
    kept = program_of(several, x=X, w=W, u=U)[0].plan(Variables(CPU), {})
    assert kept.nbytes - again.nbytes >= 3 * X.nbytes
