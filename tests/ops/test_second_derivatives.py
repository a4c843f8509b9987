"""Second derivatives: of every op against finite differences of the first, and PyTorch's double backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bigmodel_core import ops
from bigmodel_core.graph import Op, Value
from bigmodel_core.testing import check_gradients, compute
from bigmodel_core.testing.evaluate import Evaluation, weighted_sum
from tests.ops.image_reference import convolutions, numbers, pools
from tests.ops.test_against_references import CASES, CUBE, normal, plain, positive

few = settings(max_examples=15)


def functional(name: str, *more: Any, **options: Any) -> Callable[..., Any]:
    return lambda torch, *x: getattr(torch.nn.functional, name)(*x, *more, **options)


IMAGES, VECTOR = normal(2, 3, 4, 5), normal(3, seed=4)

Smooth = tuple[str, Callable[..., Any], Callable[..., Any], list[np.ndarray]]

SMOOTH: list[Smooth] = [
    *(
        (case.name, case.function, case.torch, case.arrays)
        for case in CASES
        if case.is_differentiable and case.torch
    ),
    ("power 2.5", lambda x: x**2.5, plain("pow", exponent=2.5), [positive(3, 5)]),
    ("power of any base", lambda x: x**3.0, plain("pow", exponent=3.0), [np.array([-2.0, -1.0, 1.0, 1.5])]),
    (
        "huber",
        lambda x: ops.huber(x, 0.7),
        lambda torch, x: torch.nn.functional.huber_loss(x, torch.zeros_like(x), reduction="none", delta=0.7),
        [CUBE],
    ),
    ("squares", ops.squares.SumOfSquares(), lambda torch, x: (x * x).sum(), [CUBE]),
    ("global_average_pool", ops.global_average_pool, lambda torch, x: x.mean((2, 3)), [IMAGES]),
    (
        "adaptive_average_pool",
        lambda x: ops.adaptive_average_pool(x, (3, 2)),
        functional("adaptive_avg_pool2d", (3, 2)),
        [IMAGES],
    ),
    (
        "batch_norm",
        lambda x, s, b: ops.batch_norm(x, s, b)[0],
        lambda torch, x, s, b: torch.nn.functional.batch_norm(x, None, None, s, b, True),
        [IMAGES, VECTOR, normal(3, seed=5)],
    ),
    (
        "fixed_norm",
        lambda x, s, b: ops.fixed_norm(x, s, b, *(x.node.graph.constant(m) for m in (VECTOR, VECTOR**2))),
        lambda torch, x, s, b: torch.nn.functional.batch_norm(
            x, torch.tensor(VECTOR), torch.tensor(VECTOR**2), s, b
        ),
        [IMAGES, normal(3, seed=6), normal(3, seed=5)],
    ),
    ("zero_pad", lambda x: ops.zero_pad(x, (1, 2, 0, 1)), functional("pad", (2, 1, 1, 0)), [IMAGES]),
    (
        "upsample_nearest",
        lambda x: ops.upsample_nearest(x, (2, 3)),
        functional("interpolate", scale_factor=(2.0, 3.0)),
        [IMAGES],
    ),
]

each = pytest.mark.parametrize("case", SMOOTH, ids=lambda case: case[0])


def curved(function: Callable[..., Any]) -> Callable[..., Any]:
    """A scalar of a function with curvature everywhere: else that of linear ops would be zero."""
    return lambda *values: weighted_sum(
        [ops.square(out) for out in tuple_of(function(*values)) if is_float(out)]
    )


def is_float(value: Value) -> bool:
    return value.spec.is_float


def tuple_of(found: Any) -> tuple[Any, ...]:
    return found if isinstance(found, tuple) else (found,)


def slopes(function: Callable[..., Any]) -> Callable[..., Any]:
    """The gradients of a scalar function of values, as a function of these."""
    return lambda *values: ops.gradients(function(*values), tuple(v for v in values if is_float(v)))


@each
def test_second_derivatives_equal_finite_differences(case: Smooth) -> None:
    _, function, _, arrays = case
    check_gradients(slopes(curved(function)), arrays, rtol=2e-6, atol=2e-7, limit=20)


@each
def test_second_derivatives_equal_pytorch(case: Smooth, torch: Any) -> None:
    _, function, reference, arrays = case
    compare_with_torch(torch, function, reference, arrays)


def compare_with_torch(torch: Any, function: Any, reference: Any, arrays: Any) -> None:
    """The gradients of a weighted sum of first gradients, of a curved scalar of a function."""
    tensors = [torch.tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]
    floats = [tensor for tensor in tensors if tensor.requires_grad]
    output = reference(torch, *tensors) ** 2
    weights = torch.tensor(np.random.default_rng(1).uniform(0.5, 1.5, output.shape))
    first = torch.autograd.grad((output * weights).sum(), floats, create_graph=True)
    generator = np.random.default_rng(1)
    total = sum((g * torch.tensor(generator.uniform(0.5, 1.5, g.shape))).sum() for g in first)
    expected = torch.autograd.grad(total, floats, allow_unused=True)
    _, (_, *found) = Evaluation(slopes(curved(function)), arrays).run(arrays)
    for mine, right, tensor in zip(found, expected, floats, strict=True):
        right = torch.zeros_like(tensor) if right is None else right
        scale = max(float(right.abs().max()) if right.numel() else 1.0, 1.0)
        np.testing.assert_allclose(mine, right.numpy(), rtol=1e-9, atol=1e-11 * scale)


# Images ---------------------------------------------------------------------------------------------------


AXES = st.sampled_from((2, 2, 3))
"""Of images, more often, and of volumes."""
drawn_convolutions = AXES.flatmap(convolutions)


@few
@given(drawn=drawn_convolutions)
def test_second_derivatives_of_convolutions_equal_pytorch(torch: Any, drawn: dict[str, Any]) -> None:
    x, w = numbers(drawn.pop("x")), numbers(drawn.pop("w"), 1)
    b, name = numbers(w.shape[:1], 2), f"conv{x.ndim - 2}d"
    compare_with_torch(
        torch,
        lambda x, w, b: getattr(ops, name)(x, w, b, **drawn),
        lambda torch, x, w, b: getattr(torch.nn.functional, name)(x, w, b, **drawn),
        [x, w, b],
    )


@few
@given(drawn=drawn_convolutions, extra=st.booleans())
def test_second_derivatives_of_transposed_convolutions_equal_pytorch(
    torch: Any, drawn: dict[str, Any], extra: bool
) -> None:
    x, w = numbers(drawn.pop("x")), numbers(drawn.pop("w"), 1)
    x = numbers((x.shape[0], w.shape[0], *convolved_size(x, w, drawn)))
    name = f"conv_transpose{x.ndim - 2}d"
    more = tuple(int(extra and step > 1) for step in drawn["stride"])
    b = numbers((w.shape[1] * drawn["groups"],), 2)
    spans = [(taps - 1) * gap + 1 for taps, gap in zip(w.shape[2:], drawn["dilation"], strict=True)]
    for size, step, span, sides in zip(x.shape[2:], drawn["stride"], spans, drawn["padding"], strict=True):
        assume((size - 1) * step + span > 2 * sides)  # else there is no output
    compare_with_torch(
        torch,
        lambda x, w, b: getattr(ops, name)(x, w, b, output_padding=more, **drawn),
        lambda torch, x, w, b: getattr(torch.nn.functional, name)(x, w, b, output_padding=more, **drawn),
        [x, w, b],
    )


def convolved_size(x: np.ndarray, w: np.ndarray, drawn: dict[str, Any]) -> tuple[int, ...]:
    return compute(lambda x, w: getattr(ops, f"conv{x.ndim - 2}d")(x, w, **drawn), x, w).shape[2:]


@few
@given(drawn=AXES.flatmap(pools))
def test_second_derivatives_of_pools_equal_pytorch(torch: Any, drawn: Any) -> None:
    shape, window, stride, padding = drawn
    padding = tuple(min(p, w // 2) for p, w in zip(padding, window, strict=True))  # what PyTorch takes
    x, axes = numbers(shape), len(window)
    largest, mean = (ops.max_pool, ops.average_pool) if axes == 2 else (ops.max_pool3d, ops.average_pool3d)
    compare_with_torch(
        torch,
        lambda x: largest(x, window, stride, padding),
        functional(f"max_pool{axes}d", window, stride, padding),
        [x],
    )
    for counts in (False, True):
        compare_with_torch(
            torch,
            lambda x, counts=counts: mean(x, window, stride, padding, counts),
            functional(f"avg_pool{axes}d", window, stride, padding, count_include_pad=counts),
            [x],
        )


# Where they end -------------------------------------------------------------------------------------------

WITHOUT = {
    "Gate": "a plan adds it, behind all gradients",
    "Copy": "a plan adds it, behind all gradients",
    "_GeluGradOfShare": "a plan adds it, behind all gradients",
    "_GeluShare": "a plan adds it, behind all gradients",
    "_GeluTanhGradOfShare": "a plan adds it, behind all gradients",
    "_GeluTanhShare": "a plan adds it, behind all gradients",
}
"""The ops without a gradient of their own or of what they are made of, and why."""


def test_every_op_has_a_gradient_or_a_reason() -> None:
    assert {op.__name__ for op in without_gradient()} == set(WITHOUT)


def without_gradient() -> Iterator[type[Op]]:
    waiting = [Op]
    while waiting:
        op = waiting.pop()
        waiting += op.__subclasses__()
        is_abstract = op.infer is Op.infer or not (op.cpu or op.cuda or op.alias)
        is_ours = op.__module__.startswith("bigmodel_")
        if is_ours and not is_abstract and op.grad is Op.grad and op.decomposed is Op.decomposed:
            yield op


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in SMOOTH
        if c[0]
        in (
            "gelu",
            "gelu_tanh",
            "elu",
            "layer_norm",
            "softmax",
            "batch_norm",
            "cross_entropy smoothed",
            "power",
            "softsign",
            "silu",
            "binary_cross_entropy",
        )
    ],
    ids=lambda c: c[0],
)
def test_third_derivatives_equal_finite_differences(case: Smooth) -> None:
    _, function, _, arrays = case
    second = slopes(lambda *values: weighted_sum(slopes(curved(function))(*values)))
    check_gradients(second, arrays, rtol=1e-5, atol=1e-6, limit=5)
