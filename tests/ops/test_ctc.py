"""The loss of connectionist temporal classification: by its definition, as PyTorch's, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import BigmodelError, ConfigError, DataError, DtypeError, GraphError, ShapeError
from bigmodel_core.graph import Graph
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.testing import check_gradients, compute, compute_gradients
from tests.ops.ctc_reference import ctc_losses

X = np.random.default_rng(0).normal(size=(5, 5, 3))
TARGETS = np.array([[2, 1, 2], [1, 1, 9], [2, 2, 2], [-1, 0, 7], [1, 2, 0]])
"""What is behind the labels that count is no label."""
STEPS, COUNTS = np.array([5, 3, 5, 4, 0]), np.array([3, 2, 3, 0, 0])


def samples(seed: int, n: int, steps: int, classes: int, labels: int, blank: int = 0) -> tuple[Any, ...]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, steps, classes)) * 2
    targets = random.integers(0, classes - 1, (n, labels))
    targets += targets >= blank
    lengths = random.integers(0, steps + 1, n), random.integers(0, labels + 1, n)
    return x, targets, *lengths


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-13)])
def test_all_alignments_are_added_up(dtype: str, tolerance: float) -> None:
    found = compute(lambda x: ops.ctc_loss(x, TARGETS, STEPS, COUNTS), X.astype(dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, ctc_losses(X, TARGETS, STEPS, COUNTS), rtol=tolerance, atol=tolerance)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 4), st.integers(2, 3), st.integers(0, 3), st.integers(0, 1))
def test_any_sizes(seed: int, steps: int, classes: int, labels: int, blank: int) -> None:
    x, targets, *lengths = samples(seed, 3, steps, classes, labels, blank)
    found = compute(lambda x: ops.ctc_loss(x, targets, *lengths, blank), x)
    np.testing.assert_allclose(found, ctc_losses(x, targets, *lengths, blank), rtol=1e-12, atol=1e-12)


def test_lengths_that_are_left_out_are_whole() -> None:
    found = compute(lambda x, y: ops.ctc_loss(x, y), X, TARGETS[:, :1] % 3 + (TARGETS[:, :1] % 3 == 0))
    labels = TARGETS[:, :1] % 3 + (TARGETS[:, :1] % 3 == 0)
    np.testing.assert_allclose(found, ctc_losses(X, labels), rtol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float64", 1e-10)])
def test_long_sequences_equal_pytorch(dtype: str, tolerance: float, torch: Any) -> None:
    x, targets, *_ = samples(1, 3, 400, 30, 70, blank=29)
    x = x.astype(dtype)
    steps, counts, weights = (
        np.array([400, 251, 399]),
        np.array([70, 31, 0]),
        np.array([1.0, -0.5, 2.0], dtype),
    )

    def total(x: Any) -> Any:
        return ops.sum(ops.ctc_loss(x, targets, steps, counts, 29) * weights)

    wide = torch.tensor(x.astype("float64"), requires_grad=True)
    expected = torch.nn.functional.ctc_loss(
        *(wide.log_softmax(-1).transpose(0, 1), torch.tensor(targets)),
        *(torch.tensor(steps), torch.tensor(counts), 29),
        reduction="none",
    )
    (expected * torch.tensor(weights)).sum().backward()
    found = compute(lambda x: ops.ctc_loss(x, targets, steps, counts, 29), x)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=tolerance / 10)
    (gradient,) = compute_gradients(total, x)
    np.testing.assert_allclose(gradient, wide.grad.numpy(), atol=tolerance)


def test_log_probabilities_may_be_passed() -> None:
    shifted = X - np.log(np.exp(X).sum(-1, keepdims=True))
    np.testing.assert_allclose(
        compute(lambda x: ops.ctc_loss(x, TARGETS, STEPS, COUNTS), shifted),
        compute(lambda x: ops.ctc_loss(x, TARGETS, STEPS, COUNTS), X),
        rtol=1e-12,
    )


def test_gradients_of_both_orders_equal_finite_differences() -> None:
    def loss(x: Any) -> Any:
        return ops.ctc_loss(x, TARGETS, STEPS, COUNTS)

    weights = np.random.default_rng(1).normal(size=X.shape)
    check_gradients(loss, [X])
    check_gradients(lambda x: ops.gradients(ops.sum(ops.square(loss(x))), x) * weights, [X], rtol=1e-5)


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_samples_without_an_alignment(zero_infinity: bool, torch: Any) -> None:
    x = torch.tensor(X, requires_grad=True)
    steps, counts = np.array([5, 3, 4, 4, 0]), np.array([3, 2, 3, 0, 1])
    expected = torch.nn.functional.ctc_loss(
        *(x.log_softmax(-1).transpose(0, 1), torch.tensor(TARGETS)),
        *(torch.tensor(steps), torch.tensor(counts)),
        reduction="none",
        zero_infinity=zero_infinity,
    )
    expected.sum().backward()

    def loss(x: Any) -> Any:
        return ops.ctc_loss(x, TARGETS, steps, counts, 0, zero_infinity)

    found = compute(loss, X)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-12)
    assert (found[[2, 4]] == (0 if zero_infinity else np.inf)).all()
    (gradient,) = compute_gradients(lambda x: ops.sum(loss(x)), X)
    np.testing.assert_allclose(gradient, x.grad.numpy(), atol=1e-12)


def test_large_scores_stay_finite() -> None:
    x = np.where(X > 0, 1e4, -1e4).astype("float32")[:2]
    (gradient,) = compute_gradients(lambda x: ops.sum(ops.ctc_loss(x, TARGETS[:2], None, COUNTS[:2])), x)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-3)


def test_a_score_that_is_no_number_is_not_hidden() -> None:
    x = X.copy()
    x[0, 4, 0] = np.nan
    found = compute(lambda x: ops.ctc_loss(x, TARGETS, STEPS, COUNTS), x)
    assert np.isnan(found[0]) and np.isfinite(found[[1, 3, 4]]).all()


def test_free_dimensions() -> None:
    graph = Graph()
    x, y = graph.input("x", bm.Spec(("N", "T", 3), "float64")), graph.input("y", bm.Spec(("N", "L"), "int64"))
    with graph.active():
        loss = ops.ctc_loss(x, y)
        program = Program(graph, [loss, ops.gradients(ops.sum(loss), x)])
    for n, steps, labels in ((2, 4, 2), (3, 5, 1), (1, 1, 0)):
        logits, targets, *_ = samples(n, n, steps, 3, labels)
        found, gradient = program.run(Variables(device_named("cpu")), {"x": logits, "y": targets})
        np.testing.assert_allclose(found, ctc_losses(logits, targets), rtol=1e-12)
        assert gradient.shape == logits.shape


def test_second_derivatives_need_a_fixed_number_of_steps() -> None:
    graph = Graph()
    x = graph.input("x", bm.Spec((2, "T", 3)))
    with graph.active():
        slope = ops.gradients(ops.sum(ops.ctc_loss(x, np.array([[1], [2]]))), x)
        with pytest.raises(GraphError, match="free number of steps"):
            ops.gradients(ops.sum(ops.square(slope)), x)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"targets": (1, 1, 3)}, r"label 3 \(position 4 of all targets\) is out of range for 3 classes"),
        ({"targets": (0, 2, -1)}, r"label -1 \(position 2 of all targets\) is out of range"),
        ({"targets": (0, 1, 0)}, r"label 0 \(position 1 of all targets\) is the blank"),
        ({"steps": (1, None, 6)}, r"length 6 \(sample 1 of the batch\) .* sequences of 5 steps"),
        ({"steps": (3, None, -1)}, r"length -1 \(sample 3 of the batch\) .* sequences of 5 steps"),
        ({"counts": (2, None, 4)}, r"length 4 \(sample 2 of the batch\) .* targets of 3 labels"),
    ],
    ids=["label above", "label below", "blank", "steps above", "steps below", "labels above"],
)
def test_wrong_labels_and_lengths(changed: dict[str, Any], text: str) -> None:
    arrays = {"targets": TARGETS.copy(), "steps": STEPS.copy(), "counts": COUNTS.copy()}
    for name, (i, j, value) in changed.items():
        arrays[name][i if j is None else (i, j)] = value
    with pytest.raises(DataError, match=f"(?s)CtcLoss.*{text}"):
        compute(ops.ctc_loss, X, *arrays.values())


@pytest.mark.parametrize(
    ("arrays", "error", "text"),
    [
        ([X[0], TARGETS, STEPS, COUNTS], ShapeError, r"logits \(N, T, C\) and targets \(N, L\)"),
        ([X[0, 0, 0], TARGETS, STEPS, COUNTS], ShapeError, "log|axis|logits"),
        ([X, TARGETS[0], STEPS, COUNTS], ShapeError, r"got \(5, 5, 3\) and \(3,\)"),
        ([X, TARGETS[:4], STEPS, COUNTS], ShapeError, "the batch comes first"),
        (
            [X, TARGETS, STEPS[:1], COUNTS],
            ShapeError,
            r"input_lengths of ctc_loss are \(1,\), expected \(5,\)",
        ),
        ([X, TARGETS, STEPS, COUNTS[:, None]], ShapeError, "target_lengths of ctc_loss"),
        ([X, TARGETS * 1.0, STEPS, COUNTS], DtypeError, "targets of ctc_loss are float64"),
        ([X, TARGETS, STEPS, COUNTS * 1.0], DtypeError, "target_lengths of ctc_loss are float64"),
        ([X > 0, TARGETS, STEPS, COUNTS], DtypeError, "needs float"),
        ([X, TARGETS, STEPS, COUNTS, 3], ConfigError, "blank of ctc_loss is 3, and there are 3 classes"),
    ],
    ids=range(10),
)
def test_refused(arrays: list[Any], error: type[BigmodelError], text: str) -> None:
    with pytest.raises(error, match=text):
        compute(lambda *values: ops.ctc_loss(*values, *arrays[4:]), *arrays[:4])


def test_a_model_learns_to_read() -> None:
    """Two steps of noise for each digit: scores and lengths come from the model."""

    class Reader(bm.Layer):
        scores: Any = bm.layers.Dense(4)

        def __call__(self, x: Any, steps: Any) -> Any:
            return self.scores(x), steps

    random = np.random.default_rng(0)
    targets = np.array([[1, 2, 3], [3, 1, 0], [2, 0, 0], [3, 2, 1]])
    x = random.normal(size=(4, 8, 16)).astype("float32")
    steps = np.array([8, 6, 5, 8])
    model = Reader()
    step = bm.compile(model, "ctc", bm.optimizers.Adam(0.1))
    losses = [step((x, steps), targets) for _ in range(60)]
    assert losses[-1] < losses[0] / 20
