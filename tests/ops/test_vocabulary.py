"""The cross-entropy of a product with a large vocabulary, by blocks of rows, equals that of all logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import DataError
from bigmodel_core.graph import Graph
from bigmodel_core.ops.vocabulary import VocabularyLoss
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.testing import compute

K, V = 8, 2100


def arrays(turned: bool = False, rows: int = 600, scored: float = 1.0, seed: int = 0) -> list[np.ndarray]:
    """x (2, rows / 2, K), weight, bias, labels; a share of the labels is not -1."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, V, (2, rows // 2))
    return [
        generator.normal(size=(2, rows // 2, K)),
        generator.normal(size=(V, K) if turned else (K, V)),
        generator.normal(size=V),
        np.where(generator.random(labels.shape) < scored, labels, -1),
    ]


def loss(
    x: Any, weight: Any, bias: Any, labels: Any, turned: bool = False, smoothing: float = 0.0
) -> tuple[Any, ...]:
    """The losses, and the gradients of their mean over the labels that count."""
    product = ops.matmul(x, ops.transpose(weight)) if turned else ops.matmul(x, weight)
    logits = product if bias is None else product + bias
    losses = ops.cross_entropy(logits, labels, smoothing, -1)
    mean = ops.sum(losses) / ops.sum(ops.not_equal(labels, -1).astype(x.dtype))
    return losses, *ops.gradients(mean, [value for value in (x, weight, bias) if value is not None])


def reference(
    x: Any, weight: Any, bias: Any, labels: Any, turned: bool = False, smoothing: float = 0.0
) -> tuple[Any, ...]:
    """The same in NumPy."""
    weight = weight.T if turned else weight
    logits = x @ weight + bias
    shifted = logits - logits.max(-1, keepdims=True)
    likely = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    counts = labels >= 0
    wanted = np.eye(V)[labels] * (1 - smoothing) + smoothing / V
    slopes = (np.exp(likely) - wanted) * counts[..., None] / counts.sum()
    of_weight = np.einsum("ntk,ntv->kv", x, slopes)
    found = slopes @ weight.T, of_weight.T if turned else of_weight, slopes.sum((0, 1))
    return -(likely * wanted).sum(-1) * counts, *found


def steps(function: Any, *given: Any) -> list[str]:
    """The names of the ops that a plan runs."""
    graph = Graph()
    with graph.active():
        values = [
            graph.input(f"x{number}", bm.Spec(array.shape, array.dtype.name))
            for number, array in enumerate(given)
        ]
        found = function(*values)
    program = Program(graph, found if isinstance(found, tuple) else [found])
    return [type(node.op).__name__ for step in program.steps for part in step.parts() for node in part.nodes]


@pytest.mark.parametrize("scored", [1.0, 0.15])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("turned", [False, True])
def test_losses_and_gradients_equal_numpy(turned: bool, smoothing: float, scored: float) -> None:
    given = arrays(turned, scored=scored)
    found = compute(lambda *each: loss(*each, turned=turned, smoothing=smoothing), *given)
    for one, expected in zip(found, reference(*given, turned=turned, smoothing=smoothing), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("turned", [False, True])
def test_in_float32_the_digits_stay(turned: bool) -> None:
    given = arrays(turned)
    single = [array.astype("float32") if array.dtype.kind == "f" else array for array in given]
    found = compute(lambda *each: loss(*each, turned=turned), *single)
    exact = [array.astype("float64") if array.dtype.kind == "f" else array for array in single]
    for one, expected in zip(found, reference(*exact, turned=turned), strict=True):
        assert np.linalg.norm(one - expected) < 2e-6 * np.linalg.norm(expected)


def test_equals_what_it_is_made_of() -> None:
    x, weight, bias, labels = arrays(scored=0.4)
    given = np.random.default_rng(1).normal(size=labels.shape)
    op = VocabularyLoss(0.1, -1, False, True, True)
    found = compute(lambda *each: op(*each), x, weight, bias, labels, given)
    made = compute(lambda *each: tuple(op.decomposed(*each)), x, weight, bias, labels, given)
    for one, expected in zip(found, made, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-10, atol=1e-13)


def test_where_nothing_counts_gradients_are_zero() -> None:
    x, weight, bias, labels = arrays(rows=20, scored=0.0)

    def summed(*each: Any) -> tuple[Any, ...]:
        x, weight, bias, labels = each
        losses = ops.cross_entropy(ops.affine(x, weight, bias), labels, 0.0, -1)
        return losses, *ops.gradients(ops.sum(losses), [x, weight, bias])

    assert "VocabularyLoss" in steps(summed, x, weight, bias, labels)
    for one in compute(summed, x, weight, bias, labels):
        assert not one.any()


def test_numbers_where_nothing_counts_are_not_read() -> None:
    """As behind the end of a text, where anything may be."""
    x, weight, bias, labels = arrays(scored=0.5)
    x[labels < 0] = np.nan
    found = compute(loss, x, weight, bias, labels)
    assert all(np.isfinite(one).all() for one in found)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_bits_are_the_same_at_any_number_of_threads(threads: int) -> None:
    given = [array.astype("float32") if array.dtype.kind == "f" else array for array in arrays(scored=0.7)]
    before = bm.num_threads()
    expected = compute(loss, *given)
    try:
        bm.set_num_threads(threads)
        found = compute(loss, *given)
    finally:
        bm.set_num_threads(before)
    for one, other in zip(found, expected, strict=True):
        assert one.tobytes() == other.tobytes()


def test_batches_one_after_the_other_are_each_their_own() -> None:
    """How many rows count is written where the products find it: no batch sees what another one wrote."""
    step = bm.function(loss)
    for scored in (0.9, 0.1, 0.5):
        given = arrays(scored=scored, seed=int(10 * scored))
        for one, expected in zip(step(*given), reference(*given), strict=True):  # in float32
            assert np.linalg.norm(one - expected) < 1e-5 * np.linalg.norm(expected)


def test_a_label_outside_the_vocabulary_is_named() -> None:
    x, weight, bias, labels = arrays(rows=8)
    labels[1, 2] = V
    with pytest.raises(DataError, match=f"the label {V} .sample 6 .*{V} classes"):
        compute(loss, x, weight, bias, labels)


# Where it stands ------------------------------------------------------------------------------------------


def test_the_loss_of_a_model_takes_it_with_an_output_of_its_own_or_tied() -> None:
    x, weight, bias, labels = arrays()
    turned = arrays(True)[1]
    assert "VocabularyLoss" in steps(loss, x, weight, bias, labels)
    assert "VocabularyLoss" in steps(lambda *each: loss(*each, turned=True), x, turned, bias, labels)
    assert "VocabularyLoss" in steps(lambda x, w, y: loss(x, w, None, y), x, weight, labels)


def test_no_gradients_take_it_too() -> None:
    given = arrays(scored=0.5)
    assert "VocabularyLoss" in steps(lambda *each: loss(*each)[0], *given)
    np.testing.assert_allclose(
        compute(lambda *each: loss(*each)[0], *given), reference(*given)[0], rtol=1e-10, atol=1e-14
    )


def _also_logits(*each: Any) -> tuple[Any, ...]:
    x, weight, bias, labels = each
    logits = ops.affine(x, weight, bias)
    return ops.cross_entropy(logits, labels, 0.0, -1), logits


def _by_its_own_loss(*each: Any) -> Any:
    """Hard labels count more: the gradient of a loss depends on the loss."""
    x, weight, bias, labels = each
    losses = ops.cross_entropy(ops.affine(x, weight, bias), labels, 0.0, -1)
    return ops.gradients(ops.sum(losses * losses), [x])[0]


def _of_few(*each: Any) -> Any:
    x, weight, bias, labels = each
    return loss(x, weight[:, :100], bias[:100], ops.minimum(labels, 99))


@pytest.mark.parametrize("function", [_also_logits, _by_its_own_loss, _of_few])
def test_logits_are_kept_where_something_needs_them(function: Any) -> None:
    assert "VocabularyLoss" not in steps(function, *arrays())


def test_memory_is_that_of_a_block() -> None:
    rows, vocabulary = 4000, 4096

    def mean(x: Any, weight: Any, labels: Any) -> tuple[Any, ...]:
        losses = ops.cross_entropy(x @ weight, labels)
        return losses, *ops.gradients(ops.sum(losses), [x, weight])

    graph = Graph()
    with graph.active():
        values = [
            graph.input("x", bm.Spec((rows, K))),
            graph.input("w", bm.Spec((K, vocabulary))),
            graph.input("y", bm.Spec((rows,), "int64")),
        ]
        program = Program(graph, mean(*values))
    plan: Any = program.plan(Variables(device_named("cpu")), {})
    assert plan.nbytes < 4 * rows * vocabulary / 2
