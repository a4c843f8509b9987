"""The gate before all updates of a program: it lets through what is finite, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bigmodel_core.errors import NumericsError
from bigmodel_core.graph import Graph
from bigmodel_core.graph.spec import Spec
from bigmodel_core.ops.gate import Gate
from bigmodel_core.ops.linear import MatMul
from bigmodel_core.plan import Program, Variables, device_named

CPU = device_named("cpu")


def moving(shapes: list[tuple[int, ...]], dtype: str) -> tuple[Program, Variables]:
    """A program that adds each input to a variable, and guards the inputs."""
    graph, variables = Graph(), Variables(CPU)
    updates, guards = {}, []
    for number, shape in enumerate(shapes):
        variables.create(f"v{number}", np.ones(shape, dtype))
        x = graph.input(f"x{number}", Spec(shape, dtype))
        updates[f"v{number}"] = graph.variable(f"v{number}", Spec(shape, dtype)) + x
        guards.append(x)
    return Program(graph, [], updates, guards), variables


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 1, 15, 16, 17, 65_535, 65_536, 65_537, 140_000])
def test_one_number_in_many_is_seen(dtype: str, bad: float, at: int) -> None:
    program, variables = moving([(3,), (140_001,), ()], dtype)
    given: dict[str, Any] = {"x0": np.ones(3), "x1": np.ones(140_001), "x2": np.ones(())}
    given["x1"][at] = bad
    with pytest.raises(NumericsError):
        program.run(variables, given)
    assert all((variables.read(path) == 1).all() for path in variables)
    given["x1"][at] = 1
    program.run(variables, given)
    assert all((variables.read(path) == 2).all() for path in variables)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_finite_magnitude_passes(dtype: str) -> None:
    """The largest and smallest numbers, those that are not normal, and zeros of both signs."""
    info = np.finfo(dtype)
    x = np.array([0.0, -0.0, info.tiny, info.smallest_subnormal, info.max, -info.max, 1e30, 2.0**60], dtype)
    program, variables = moving([(8,)], dtype)
    program.run(variables, {"x0": x})
    np.testing.assert_array_equal(variables.read("v0"), np.ones(8, dtype) + x)


def test_a_sum_that_overflows_is_not_written() -> None:
    program, variables = moving([(2,), (2,)], "float32")
    most = np.full(2, np.finfo("float32").max)
    program.run(variables, {"x0": most, "x1": np.ones(2)})
    before = {path: variables.read(path) for path in variables}
    with pytest.raises(NumericsError):
        program.run(variables, {"x0": most, "x1": np.ones(2)})
    for path, array in before.items():
        np.testing.assert_array_equal(variables.read(path), array)


def product(rows: int | str, m: int, n: int, dtype: str = "float32") -> tuple[Program, Variables]:
    """A program that subtracts a product a.T b from a variable, and guards the product."""
    graph, variables = Graph(), Variables(CPU)
    variables.create("w", np.zeros((m, n), dtype))
    a, b = graph.input("a", Spec((rows, m), dtype)), graph.input("b", Spec((rows, n), dtype))
    gradient = MatMul(True, False)(a, b)
    return Program(
        graph, [], {"w": graph.variable("w", Spec((m, n), dtype)) - gradient}, [gradient]
    ), variables


def gate_of(program: Program) -> Any:
    (gate,) = [step.node.op for step in program.steps if isinstance(step.node.op, Gate)]
    return gate


def test_a_product_is_checked_by_its_operands_where_these_are_far_smaller() -> None:
    large, small = product("N", 200, 200)[0], product("N", 20, 20)[0]
    assert [len(bound.inputs) for bound in gate_of(large).bounds] == [2]
    assert [len(bound.inputs) for bound in gate_of(small).bounds] == [1]
    assert any(step.epilogue is not None for step in large.steps)


KINDS = {
    "ordinary": (1.0, 1.0, None),
    "large and small": (1e30, 1e-30, None),
    "too large for the bound": (1e19, 1e18, None),
    "overflowing": (1e25, 1e25, None),
    "infinite against zero": (0.0, 1.0, np.inf),
    "not a number against zero": (0.0, 1.0, np.nan),
    "infinite against numbers": (1.0, 1.0, -np.inf),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 50])
def test_products_are_let_through_where_they_are_finite(kind: str, rows: int) -> None:
    program, variables = product("N", 200, 180)
    random = np.random.default_rng(0)
    scale_a, scale_b, bad = KINDS[kind]
    a = (random.standard_normal((rows, 200)) * scale_a).astype("float32")
    b = (random.standard_normal((rows, 180)) * scale_b).astype("float32")
    if bad is not None:
        b[rows // 2, 100] = bad
    with np.errstate(all="ignore"):
        expected = a.T @ b
        exact = a.T.astype("float64") @ b.astype("float64")
    if np.isfinite(expected).all():
        program.run(variables, {"a": a, "b": b})
        np.testing.assert_allclose(variables.read("w"), -exact, rtol=1e-4, atol=1e-4 * np.abs(exact).max())
    else:
        with pytest.raises(NumericsError):
            program.run(variables, {"a": a, "b": b})
        assert not variables.read("w").any()


def test_an_update_that_follows_its_gradient_waits_for_the_gate() -> None:
    program, variables = product(4, 20, 20)
    with pytest.raises(NumericsError):
        program.run(variables, {"a": np.full((4, 20), np.inf, "float32"), "b": np.ones((4, 20), "float32")})
    assert not variables.read("w").any()


def test_the_bound_of_a_product_counts_what_is_added_up() -> None:
    """64 products of some 2^60 are finite, and the square of their sum is not."""
    graph, variables = Graph(), Variables(CPU)
    variables.create("w", np.zeros((200, 200), "float32"))
    a = graph.input("a", Spec((64, 200)))
    gradient = MatMul(True, False)(a, a)
    program = Program(
        graph, [], {"w": graph.variable("w", Spec((200, 200))) - gradient * gradient}, [gradient]
    )
    assert [len(bound.inputs) for bound in gate_of(program).bounds] == [2]
    with pytest.raises(NumericsError):
        program.run(variables, {"a": np.full((64, 200), 2.0**29.9, "float32")})
    assert not variables.read("w").any()


def test_programs_without_guards_write_what_they_compute() -> None:
    graph, variables = Graph(), Variables(CPU)
    variables.create("v", np.ones(3, "float32"))
    x = graph.input("x", Spec((3,)))
    Program(graph, [], {"v": graph.variable("v", Spec((3,))) + x}).run(variables, {"x": np.full(3, np.inf)})
    assert np.isinf(variables.read("v")).all()
