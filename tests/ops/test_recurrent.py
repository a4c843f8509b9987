"""The recurrent op: against NumPy step by step, finite differences and PyTorch; padding has no influence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import BigmodelError, DataError, DtypeError, ShapeError
from bigmodel_core.graph import Graph
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cpu.recurrent import units_together
from bigmodel_core.kernels.recurrence import Recurrence
from bigmodel_core.testing import check_gradients, compute
from bigmodel_core.testing.evaluate import Evaluation
from tests.ops import recurrent_reference as reference

CELLS = tuple(reference.GATES)
TOLERANCES = {"float64": 1e-12, "float32": 2e-5}


class Case:
    """A recurrence on drawn arrays."""

    def __init__(
        self,
        cell: str,
        steps: int,
        batch: int,
        features: int,
        units: int,
        *,
        lengths: bool = False,
        initial: bool = False,
        reverse: bool = False,
        dtype: str = "float64",
        seed: int = 0,
    ) -> None:
        generator = np.random.default_rng([seed, steps, batch, features, units])
        width = reference.GATES[cell] * units
        limit = units**-0.5

        def draw(*shape: int, scale: float = 1.0) -> np.ndarray:
            return (generator.normal(size=shape) * scale).astype(dtype)

        self.cell, self.reverse, self.has_lengths = cell, reverse, lengths
        self.x = draw(steps, batch, features)
        self.weights = (
            draw(features, width, scale=limit),
            draw(units, width, scale=limit),
            draw(width, scale=limit),
            draw(width, scale=limit),
        )
        self.lengths = generator.integers(0, steps + 1, batch) if lengths else None
        count = (2 if cell == "lstm" else 1) if initial else 0
        self.initial = tuple(draw(batch, units) for _ in range(count))

    @property
    def arrays(self) -> list[np.ndarray]:
        given = [] if self.lengths is None else [self.lengths]
        return [self.x, *self.weights, *given, *self.initial]

    def function(self, x: Any, weight: Any, recurrent: Any, bias: Any, other: Any, *rest: Any) -> Any:
        further = list(rest)
        lengths = further.pop(0) if self.has_lengths else None
        y, last = ops.recurrent(
            self.cell, x, weight, recurrent, bias, other, lengths, tuple(further), self.reverse
        )
        return (y, *last)

    def expected(self) -> list[np.ndarray]:
        wide = [np.asarray(a, np.float64) for a in (self.x, *self.weights)]
        y, last = reference.run(
            self.cell,
            wide[0],
            tuple(wide[1:]),
            self.lengths,
            tuple(np.asarray(a, np.float64) for a in self.initial),
            self.reverse,
        )
        return [y, *last]


def assert_near(found: Any, expected: list[np.ndarray], tolerance: float) -> None:
    for array, right in zip(found, expected, strict=True):
        scale = max(float(np.abs(right).max(initial=0)), 1.0)
        np.testing.assert_allclose(array, right, rtol=tolerance, atol=tolerance * scale)


@settings(max_examples=60)
@given(
    st.sampled_from(CELLS),
    st.integers(0, 6),
    st.integers(0, 40),
    st.integers(1, 9),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(list(TOLERANCES)),
)
@example("lstm", 3, 21, 4, 17, True, True, True, "float32")
@example("gru", 1, 1, 1, 1, False, False, False, "float32")
@example("gru", 0, 2, 3, 4, True, True, True, "float64")
@example("lstm", 0, 2, 3, 4, False, False, False, "float64")
def test_forward_equals_numpy_row_by_row(
    cell: str,
    steps: int,
    batch: int,
    features: int,
    units: int,
    lengths: bool,
    initial: bool,
    reverse: bool,
    dtype: str,
) -> None:
    case = Case(
        cell, steps, batch, features, units, lengths=lengths, initial=initial, reverse=reverse, dtype=dtype
    )
    found = compute(case.function, *case.arrays)
    assert all(array.dtype == dtype for array in found)
    assert_near(found, case.expected(), TOLERANCES[dtype])


@pytest.fixture
def num_threads() -> Iterator[Callable[[int], None]]:
    before = bm.num_threads()
    yield bm.set_num_threads
    bm.set_num_threads(before)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    ("cell", "steps", "batch", "features", "units"),
    [
        ("tanh", 3, 4, 500, 96),
        ("lstm", 9, 3, 40, 64),
        ("lstm", 4, 2, 700, 128),  # inputs before the loop
        ("gru", 5, 4, 33, 96),
        ("lstm", 0, 3, 40, 64),
    ],
)
def test_threads_that_share_steps_give_the_same_bits(
    cell: str,
    steps: int,
    batch: int,
    features: int,
    units: int,
    dtype: str,
    num_threads: Callable[[int], None],
) -> None:
    assert units_together(Recurrence(cell, steps, batch, units, dtype, False), units + features)
    for extras in (False, True):
        options: dict[str, Any] = dict.fromkeys(("lengths", "initial", "reverse"), extras)
        case = Case(cell, steps, batch, features, units, dtype=dtype, **options)
        num_threads(1)
        alone = compute(case.function, *case.arrays)
        assert_near(alone, case.expected(), TOLERANCES[dtype])
        for threads in (2, 5):
            num_threads(threads)
            for _ in range(10):
                together = compute(case.function, *case.arrays)
                assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("extras", [False, True])
@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_gradients_equal_finite_differences(cell: str, extras: bool, reverse: bool) -> None:
    case = Case(cell, 4, 3, 2, 5, lengths=extras, initial=extras, reverse=reverse)
    check_gradients(case.function, case.arrays)


def test_gradient_of_relu_equals_finite_differences() -> None:
    case = Case("relu", 3, 2, 3, 4, seed=5)
    check_gradients(case.function, case.arrays)


@pytest.mark.parametrize("used", [0, 1])
def test_gradients_when_only_one_output_is_used(used: int) -> None:
    case = Case("lstm", 3, 2, 3, 4, initial=True)
    check_gradients(lambda *values: case.function(*values)[used], case.arrays)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_padding_has_no_influence_whatever_it_holds(cell: str, reverse: bool) -> None:
    case = Case(cell, 5, 6, 3, 7, lengths=True, initial=True, reverse=reverse)
    assert case.lengths is not None
    padded = case.x.copy()
    for n, length in enumerate(case.lengths):
        padded[length:, n] = np.nan
    evaluation = Evaluation(case.function, case.arrays)
    clean = evaluation.run(case.arrays)
    dirty = evaluation.run([padded, *case.arrays[1:]])
    for left, right in zip((*clean[0], *clean[1]), (*dirty[0], *dirty[1]), strict=True):
        np.testing.assert_array_equal(left, right)
    gradient = clean[1][1]
    for n, length in enumerate(case.lengths):
        assert not gradient[length:, n].any()


def test_results_do_not_depend_on_the_rest_of_the_batch() -> None:
    case = Case("gru", 6, 37, 5, 64, dtype="float32")
    whole = compute(case.function, *case.arrays)[0]
    case.x = np.ascontiguousarray(case.x[:, 3:4])
    assert_near([compute(case.function, *case.arrays)[0]], [whole[:, 3:4]], 1e-6)


@pytest.mark.parametrize("wrong", [-1, 5])
def test_a_length_out_of_range_is_named(wrong: int) -> None:
    case = Case("tanh", 4, 3, 2, 5, lengths=True)
    case.lengths = np.array([4, wrong, 0])
    with pytest.raises(DataError, match=f"length {wrong} \\(sample 1 of the batch\\).* 4 steps"):
        compute(case.function, *case.arrays)


@pytest.mark.parametrize(
    ("position", "spec", "error"),
    [
        (0, Spec((5, 2, 4)), ShapeError),
        (1, Spec((3, 16)), ShapeError),
        (2, Spec((5, 10)), ShapeError),
        (4, Spec((4,)), ShapeError),
        (3, Spec((5,), "float64"), DtypeError),
        (5, Spec((2,), "int32"), DtypeError),
        (5, Spec((3,), "int64"), ShapeError),
    ],
)
def test_wrong_operands_are_refused(position: int, spec: Spec, error: type[BigmodelError]) -> None:
    specs = [Spec((4, 2, 3)), Spec((3, 5)), Spec((5, 5)), Spec((5,)), Spec((5,)), Spec((2,), "int64")]
    specs[position] = spec
    graph = Graph()
    values = [graph.input(f"x{number}", item) for number, item in enumerate(specs)]
    with pytest.raises(error, match="expected|needs"):
        ops.recurrent("tanh", *values)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("cell", CELLS)
def test_forward_and_gradients_equal_pytorch(cell: str, dtype: str, reverse: bool, torch: Any) -> None:
    case = Case(cell, 9, 13, 5, 33, initial=True, reverse=reverse, dtype=dtype)
    outputs, (_, *gradients) = Evaluation(case.function, case.arrays).run(case.arrays)
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(cell)
    module = kind(5, 33) if kind else torch.nn.RNN(5, 33, nonlinearity=cell)
    module = module.to(getattr(torch, dtype))
    parameters = (module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0, module.bias_hh_l0)
    with torch.no_grad():
        for parameter, array in zip(parameters, case.weights, strict=True):
            parameter.copy_(torch.from_numpy(array.T))
    x, *initial = (torch.from_numpy(array).requires_grad_() for array in (case.x, *case.initial))
    start = tuple(state[None] for state in initial)
    y, last = module(x.flip(0) if reverse else x, start if cell == "lstm" else start[0])
    y = y.flip(0) if reverse else y
    states = [state[0] for state in (last if cell == "lstm" else (last,))]
    generator = np.random.default_rng(1)  # the weights by which `Evaluation` adds outputs up
    total = sum(
        (value * torch.from_numpy(generator.uniform(0.5, 1.5, value.shape).astype(dtype))).sum()
        for value in (y, *states)
    )
    total.backward()
    tolerance = TOLERANCES[dtype] * 10
    assert_near(outputs, [v.detach().numpy() for v in (y, *states)], tolerance)
    right = [x.grad, *(p.grad.numpy().T for p in parameters), *(state.grad for state in initial)]
    assert_near(gradients, [np.asarray(v) for v in right], tolerance)
