"""Ops on images: NumPy over drawn shapes, strides, paddings and groups; finite differences; layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import BigmodelError, ConfigError, ShapeError
from bigmodel_core.ops.images import SwapPlanes
from bigmodel_core.testing import check_gradients, compute
from tests.ops.image_reference import (
    assert_convolves,
    convolutions,
    convolved,
    numbers,
    padded,
    pools,
    windows,
)
from tests.processes import run_code

few = settings(max_examples=30)


@few
@given(convolutions(), st.sampled_from(("float32", "float64")))
def test_convolution_equals_numpy(drawn: dict[str, Any], dtype: str) -> None:
    x, w = numbers(drawn.pop("x")), numbers(drawn.pop("w"), 1)
    assert_convolves(x, w, drawn, dtype, {"float32": 1e-4, "float64": 1e-11})


@few
@given(convolutions())
def test_transposes_and_gradients_are_adjoint(drawn: dict[str, Any]) -> None:
    """<conv(x, w), y> is linear in each: the gradients with respect to x and w are its transposes."""
    x, w = numbers(drawn.pop("x")), numbers(drawn.pop("w"), 1)
    y = compute(lambda x, w: ops.conv2d(x, w, **drawn), x, w)
    up = numbers(y.shape, 3)
    total = float((y * up).sum())

    def weighted(x: Any, w: Any) -> Any:
        return ops.sum(ops.conv2d(x, w, **drawn) * x.node.graph.constant(up))

    from bigmodel_core.testing.evaluate import compute_gradients

    dx, dw = compute_gradients(weighted, x, w)
    np.testing.assert_allclose((dx * x).sum(), total, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose((dw * w).sum(), total, rtol=1e-9, atol=1e-9)


GRADIENTS = [
    ((2, 3, 6, 5), (4, 3, 3, 3), {"padding": 1}),
    ((2, 2, 7, 8), (3, 2, 3, 2), {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2)}),
    ((1, 4, 6, 6), (4, 1, 3, 3), {"groups": 4, "padding": "same"}),
    ((2, 4, 5, 5), (6, 2, 1, 1), {"groups": 2}),
    ((2, 5, 4, 4), (3, 5, 1, 1), {}),
    ((1, 2, 7, 7), (3, 2, 3, 3), {"stride": 2, "padding": "same"}),
]


@pytest.mark.parametrize(("x", "w", "options"), GRADIENTS)
def test_convolution_gradients(x: Any, w: Any, options: Any) -> None:
    arrays = [numbers(x), numbers(w, 1), numbers(w[:1], 2)]
    check_gradients(lambda x, w, b: ops.conv2d(x, w, b, **options), arrays)


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 3, 4, 5), (3, 2, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
        ((1, 4, 3, 3), (4, 2, 2, 3), {"groups": 2, "dilation": (2, 1)}),
    ],
)
def test_transposed_convolution_gradients(x: Any, w: Any, options: Any) -> None:
    bias = numbers((w[1] * options.get("groups", 1),), 2)
    check_gradients(
        lambda x, w, b: ops.conv_transpose2d(x, w, b, **options), [numbers(x), numbers(w, 1), bias]
    )


def test_transposed_convolution_spreads_pixels() -> None:
    x, w = numbers((1, 1, 2, 2)), numbers((1, 1, 2, 2), 1)
    expected = np.zeros((1, 1, 5, 5))
    for i in range(2):
        for j in range(2):
            expected[0, 0, 3 * i : 3 * i + 2, 3 * j : 3 * j + 2] += x[0, 0, i, j] * w[0, 0]
    found = compute(lambda x, w: ops.conv_transpose2d(x, w, stride=3), x, w)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rows_that_the_stack_cannot_hold() -> None:
    x, w = numbers((1, 700, 6, 40), dtype="float32"), numbers((3, 700, 3, 3), 1, "float32")
    expected = convolved(*(a.astype("float64") for a in (x, w)), np.zeros(3), (1, 1), (1, 1, 1, 1), (1, 1), 1)
    found = compute(lambda x, w: ops.conv2d(x, w, padding=1), x, w)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    check_gradients(lambda x, w: ops.conv2d(x, w, padding=1), [x, w], limit=4, rtol=1e-5)


# Pools ----------------------------------------------------------------------------------------------------


@few
@given(pools(), st.sampled_from(("float32", "float64")))
def test_pools_equal_numpy(drawn: Any, dtype: str) -> None:
    shape, window, stride, padding = drawn
    x, border = numbers(shape, dtype=dtype), padding * 2
    largest = windows(padded(x, border, -np.inf), window, stride).max((-2, -1))
    np.testing.assert_array_equal(compute(lambda x: ops.max_pool(x, window, stride, padding), x), largest)
    total = windows(padded(x.astype("float64"), border), window, stride).sum((-2, -1))
    inside = windows(padded(np.ones_like(x), border), window, stride).sum((-2, -1))
    for count, whole in ((window[0] * window[1], True), (inside, False)):
        found = compute(lambda x, whole=whole: ops.average_pool(x, window, stride, padding, whole), x)
        np.testing.assert_allclose(found, total / count, rtol=1e-5, atol=1e-6)


@few
@given(pools())
def test_max_pool_sends_the_gradient_to_the_largest(drawn: Any) -> None:
    shape, window, stride, padding = drawn
    x = np.random.default_rng(0).permutation(np.arange(np.prod(shape)) * 0.1).reshape(shape)
    check_gradients(lambda x: ops.max_pool(x, window, stride, padding), [x], limit=20)


POOLED: list[tuple[str, Any, tuple[int, ...]]] = [
    ("average", lambda x: ops.average_pool(x, 3, 2, 1), (2, 3, 7, 6)),
    ("average inside", lambda x: ops.average_pool(x, 3, 2, 1, count_border=False), (2, 3, 7, 6)),
    ("adaptive", lambda x: ops.adaptive_average_pool(x, (3, 2)), (2, 3, 7, 6)),
    ("adaptive even", lambda x: ops.adaptive_average_pool(x, 3), (2, 3, 6, 6)),
    ("global", ops.global_average_pool, (2, 3, 4, 5)),
    ("pad", lambda x: ops.zero_pad(x, (1, 0, 2, 3)), (2, 3, 4, 5)),
    ("upsample", lambda x: ops.upsample_nearest(x, (2, 3)), (2, 3, 4, 5)),
    ("pad, then pool", lambda x: ops.average_pool(ops.zero_pad(x, (1, 2, 0, 1)), 2), (2, 3, 5, 5)),
    ("sliced channels", lambda x: ops.average_pool(x, 2)[:, 1:3] * 2.0, (2, 4, 4, 4)),
    (
        "joined channels",
        lambda x: ops.concatenate([ops.average_pool(x, 2), ops.average_pool(x, 3, 2, 1)], 1),
        (2, 3, 6, 6),
    ),
]


@pytest.mark.parametrize(("function", "shape"), [case[1:] for case in POOLED], ids=[c[0] for c in POOLED])
def test_gradients(function: Any, shape: tuple[int, ...]) -> None:
    check_gradients(function, [numbers(shape)])


def test_borders_and_enlargement() -> None:
    x = numbers((2, 3, 4, 5))
    np.testing.assert_array_equal(
        compute(lambda x: ops.zero_pad(x, (1, 0, 2, 3)), x), padded(x, (1, 0, 2, 3))
    )
    np.testing.assert_array_equal(
        compute(lambda x: ops.upsample_nearest(x, (2, 3)), x), x.repeat(2, 2).repeat(3, 3)
    )
    np.testing.assert_allclose(compute(ops.global_average_pool, x), x.mean((2, 3)), rtol=1e-12)
    rows = [x[:, :, 0:2].mean(2), x[:, :, 1:3].mean(2), x[:, :, 2:4].mean(2)]
    expected = np.stack([row.mean(-1, keepdims=True) for row in rows], 2)
    np.testing.assert_allclose(
        compute(lambda x: ops.adaptive_average_pool(x, (3, 1)), x), expected, rtol=1e-12
    )


@pytest.mark.parametrize(("window", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 0)])
def test_relu_before_a_max_pool(window: int, stride: int, padding: int) -> None:
    """The gradient stops at what the ReLU cut off, also where windows overlap and where all is negative."""
    x = numbers((3, 2, 7, 8))
    x[1] = -np.abs(x[1])
    with_relu = lambda x: ops.max_pool(ops.relu(x), window, stride, padding)  # noqa: E731
    check_gradients(with_relu, [x])
    from bigmodel_core.testing.evaluate import compute_gradients

    (found,) = compute_gradients(lambda x: ops.sum(with_relu(x)), x)
    assert not found[x < 0].any() and found[x > 0].any()


def test_max_pool_passes_nan_on() -> None:
    x = np.zeros((1, 1, 2, 4))
    x[0, 0, 1, 2] = np.nan
    np.testing.assert_array_equal(compute(lambda x: ops.max_pool(x, 2), x), [[[[0, np.nan]]]])


# Batch normalisation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (40, 3, 8, 9), (7, 5, 1, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_norm_equals_numpy(shape: Any, dtype: str) -> None:
    x = numbers(shape) * 3 + 100
    scale, shift = numbers(shape[1:2], 1), numbers(shape[1:2], 2)
    y, mean, variance = compute(ops.batch_norm, *(a.astype(dtype) for a in (x, scale, shift)))
    m, v = x.mean((0, 2, 3)), x.var((0, 2, 3))
    expected = (x - m[:, None, None]) / np.sqrt(v[:, None, None] + 1e-5)
    expected = expected * scale[:, None, None] + shift[:, None, None]
    tolerance = 2e-4 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(mean, m, rtol=tolerance)
    np.testing.assert_allclose(variance, v, rtol=tolerance)
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    found = compute(ops.fixed_norm, *(a.astype(dtype) for a in (x, scale, shift, m, v)))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_normalisation_gradients() -> None:
    x, scale, shift = numbers((3, 2, 4, 3)), numbers((2,), 1), numbers((2,), 2)
    check_gradients(lambda *arrays: ops.batch_norm(*arrays)[0], [x, scale, shift])
    moments = [numbers((2,), 3), np.array([0.5, 2.0])]
    check_gradients(ops.fixed_norm, [x, scale, shift, *moments], wrt=(0, 1, 2))


def test_running_moments_follow_the_batches() -> None:
    layer = bm.layers.BatchNorm(momentum=0.2)
    step = bm.compile(layer, loss="mean_squared_error", optimizer=bm.optimizers.SGD(0.0))
    x = numbers((6, 3, 4, 5), dtype="float32") * 2 + 1
    step(x, x)
    state = layer.state()
    np.testing.assert_allclose(state["running_mean"], 0.2 * x.mean((0, 2, 3)), rtol=1e-5)
    expected = 0.8 + 0.2 * x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(state["running_variance"], expected, rtol=1e-5)


# Layouts and errors ---------------------------------------------------------------------------------------


def converted(model: bm.Layer, x: np.ndarray) -> int:
    """How often a training step changes a layout."""
    step = bm.compile(model, loss="cross_entropy", optimizer="sgd")
    step(x, np.array([0, 2]))
    program: Any = step.programs["step"].program
    return sum(isinstance(node.op, SwapPlanes) for node in program.nodes)


def test_layouts_are_converted_at_the_borders_alone() -> None:
    model = bm.Sequential(
        bm.layers.Conv2d(4, 3, padding=1),
        bm.layers.BatchNorm(),
        bm.layers.Relu(),
        bm.layers.MaxPool2d(2),
        bm.layers.Conv2d(4, 3, padding=1),
        bm.layers.Flatten(),
        bm.layers.Dense(3),
    )
    # The images, and the flattened values forth and back.
    assert converted(model, numbers((2, 3, 8, 8), dtype="float32")) == 3


def test_sequences_stay_channels_last_between_convolutions() -> None:
    model = bm.Sequential(
        *(bm.layers.Conv1d(4, 3, padding="same"), bm.layers.Relu(), bm.layers.MaxPool1d(2)),
        *(bm.layers.Conv1d(4, 3, padding="same"), bm.layers.Relu(), bm.layers.GlobalAveragePool()),
        bm.layers.Dense(3),
    )
    assert converted(model, numbers((2, 3, 8), dtype="float32")) == 1  # the input


ERRORS: list[tuple[Any, list[Any], type[BigmodelError], str]] = [
    (lambda x, w: ops.conv2d(x, w), [(2, 3, 4, 4), (5, 2, 3, 3)], ShapeError, "needs 2 channels"),
    (lambda x, w: ops.conv2d(x, w), [(2, 3, 4, 4), (5, 3, 5, 3)], ShapeError, "does not fit"),
    (lambda x, w: ops.conv2d(x, w), [(2, 3, 4), (5, 3, 3, 3)], ShapeError, r"needs images \(N, C, H, W\)"),
    (lambda x, w: ops.conv2d(x, w, stride=0), [(2, 3, 4, 4), (5, 3, 3, 3)], ConfigError, "stride is 0"),
    (lambda x, w: ops.conv2d(x, w, padding="full"), [(2, 3, 4, 4), (5, 3, 3, 3)], ConfigError, "full"),
    (lambda x: ops.max_pool(x, 2, padding=2), [(2, 3, 4, 4)], ShapeError, "without a pixel"),
    (lambda x: ops.max_pool(x, 5), [(2, 3, 4, 4)], ShapeError, "does not fit"),
    (lambda x, s: ops.batch_norm(x, s, s), [(2, 3, 4, 4), (4,)], ShapeError, "needs vectors"),
]


@pytest.mark.parametrize(("function", "shapes", "error", "text"), ERRORS)
def test_errors(function: Any, shapes: list[Any], error: type[BigmodelError], text: str) -> None:
    with pytest.raises(error, match=text):
        compute(function, *(numbers(shape) for shape in shapes))


def test_the_narrower_vector_unit() -> None:
    """The kernels of AVX2 (or the generic ones) give what the host's own give."""
    x, w = numbers((2, 5, 7, 9), dtype="float32"), numbers((19, 5, 3, 3), 1, "float32")
    expected = compute(lambda x, w: ops.conv2d(x, w, padding=1), x, w)
    code = (
        "import numpy as np\n"
        "from bigmodel_core import ops\n"
        "from bigmodel_core.testing import compute\n"
        "x = np.random.default_rng(0).normal(size=(2, 5, 7, 9)).astype('float32')\n"
        "w = np.random.default_rng(1).normal(size=(19, 5, 3, 3)).astype('float32')\n"
        "y = compute(lambda x, w: ops.conv2d(x, w, padding=1), x, w)\n"
        "print(y.astype('float64').sum(), (y.astype('float64') ** 2).sum())\n"
    )
    from bigmodel_core.kernels.cpu.engine.target import vector_unit

    unit = "avx2" if vector_unit().name == "avx512" else "generic"
    done = run_code(code, beside=[Path(bm.__file__).parents[1]], BIGMODEL_VECTOR_UNIT=unit)
    wide = expected.astype("float64")
    np.testing.assert_allclose(
        [float(text) for text in done.stdout.split()], [wide.sum(), (wide**2).sum()], rtol=1e-5
    )


# PyTorch --------------------------------------------------------------------------------------------------


def test_ten_steps_with_batch_norm_equal_pytorch(torch: Any) -> None:
    layers = bm.layers
    model = bm.Sequential(
        layers.Conv2d(6, 3, padding=1),
        layers.BatchNorm(),
        layers.Relu(),
        layers.MaxPool2d(2),
        layers.Conv2d(8, 3, stride=2, padding=1, groups=2),
        layers.BatchNorm(),
        layers.Relu(),
        layers.Flatten(),
        layers.Dense(4),
    )
    network = model.build(bm.Spec(("N", 3, 8, 8)))
    state = network.state()
    nn = torch.nn
    mirror = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32, 4)),
    )
    names = {0: "conv2d_1", 4: "conv2d_2", 8: "dense_1"}
    with torch.no_grad():
        for at, path in names.items():
            weight = state[f"{path}/weight"]
            mirror[at].weight.copy_(torch.tensor(weight.T if at == 8 else weight))
            mirror[at].bias.copy_(torch.tensor(state[f"{path}/bias"]))
    step = bm.compile(model, loss="cross_entropy", optimizer=bm.optimizers.SGD(0.1, momentum=0.9))
    optimizer = torch.optim.SGD(mirror.parameters(), lr=0.1, momentum=0.9)
    for number in range(10):
        x = numbers((16, 3, 8, 8), number, "float32")
        y = np.random.default_rng(number).integers(0, 4, 16)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(mirror(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        optimizer.step()
        assert step(x, y) == pytest.approx(loss.item(), abs=1e-4)
    found = model.state()
    for at, path in ((1, "batch_norm_1"), (5, "batch_norm_2")):
        np.testing.assert_allclose(found[f"{path}/running_mean"], mirror[at].running_mean, atol=1e-4)
        np.testing.assert_allclose(found[f"{path}/running_variance"], mirror[at].running_var, atol=1e-4)
        np.testing.assert_allclose(found[f"{path}/scale"], mirror[at].weight.detach(), atol=1e-4)
    for at, path in names.items():
        weight = found[f"{path}/weight"]
        expected = mirror[at].weight.detach().numpy()
        np.testing.assert_allclose(weight.T if at == 8 else weight, expected, atol=1e-4)
    mirror.eval()
    x = numbers((5, 3, 8, 8), 99, "float32")
    np.testing.assert_allclose(model(x), mirror(torch.tensor(x)).detach(), atol=1e-4)
