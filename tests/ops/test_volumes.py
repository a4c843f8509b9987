"""Ops on volumes: NumPy over drawn shapes, with all gradients; parts of the work, layouts, NaN and errors."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import BigmodelError, ConfigError, DtypeError, ShapeError
from bigmodel_core.kernels.cpu.convolution import volumes
from bigmodel_core.ops.images import SwapPlanes
from bigmodel_core.testing import compute
from bigmodel_core.testing.evaluate import Evaluation, compute_gradients
from tests.ops.image_reference import (
    convolutions,
    convolved,
    gradients,
    numbers,
    padded,
    pools,
    spread,
    windows,
)

few = settings(max_examples=25)
dtypes = st.sampled_from(("float32", "float64"))
parts = st.sampled_from((1, 3000, volumes.PART))
"""Bytes of slices side by side at a time: of one slice, of a few, of all that these shapes have."""


def assert_near(found: Any, expected: np.ndarray, dtype: str) -> None:
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    assert found.dtype == dtype
    scale = max(float(np.abs(expected).max(initial=0)), 1.0)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


def with_gradients(function: Any, arrays: list[np.ndarray], up: np.ndarray) -> list[np.ndarray]:
    """What a function gives, and the gradients of its arrays from that of its output."""
    found = compute(function, *arrays)
    weighted = lambda *values: ops.sum(function(*values) * values[0].node.graph.constant(up))  # noqa: E731
    return [found, *compute_gradients(weighted, *arrays)]


# Convolutions ---------------------------------------------------------------------------------------------


@few
@given(convolutions(3), dtypes, parts)
def test_convolutions_and_their_gradients_equal_numpy(drawn: dict[str, Any], dtype: str, part: int) -> None:
    x, w = numbers(drawn.pop("x")), numbers(drawn.pop("w"), 1)
    b = numbers(w.shape[:1], 2)
    shape = drawn["stride"], drawn["padding"] * 2, drawn["dilation"], drawn["groups"]
    expected = convolved(x, w, b, *shape)
    up = numbers(expected.shape, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(volumes, "PART", part)
        found = with_gradients(
            lambda x, w, b: ops.conv3d(x, w, b, **drawn),
            [array.astype(dtype) for array in (x, w, b)],
            up.astype(dtype),
        )
    for mine, right in zip(
        found, (expected, *gradients(x, w, up, *shape), up.sum((0, 2, 3, 4))), strict=True
    ):
        assert_near(mine, right, dtype)


@few
@given(convolutions(3), dtypes, parts, st.booleans())
def test_transposed_convolutions_and_their_gradients_equal_numpy(
    drawn: dict[str, Any], dtype: str, part: int, extra: bool
) -> None:
    """By definition the gradient of the convolution with the same filters for its input."""
    x, w, groups = numbers((*drawn.pop("x")[:2], 2, 3, 2)), numbers(drawn.pop("w"), 1), drawn["groups"]
    x = numbers((len(x), len(w), *x.shape[2:]))
    more = tuple(int(extra and step > 1) for step in drawn["stride"])
    size = [
        (n - 1) * step - 2 * pad + gap * (taps - 1) + over + 1
        for n, step, pad, gap, taps, over in zip(
            x.shape[2:], drawn["stride"], drawn["padding"], drawn["dilation"], w.shape[2:], more, strict=True
        )
    ]
    assume(min(size) > 0)
    b = numbers((w.shape[1] * groups,), 2)
    shape = drawn["stride"], drawn["padding"] * 2, drawn["dilation"], groups
    expected = gradients(np.zeros((len(x), len(b), *size)), w, x, *shape)[0] + b.reshape(-1, 1, 1, 1)
    up = numbers(expected.shape, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(volumes, "PART", part)
        found = with_gradients(
            lambda x, w, b: ops.conv_transpose3d(x, w, b, output_padding=more, **drawn),
            [array.astype(dtype) for array in (x, w, b)],
            up.astype(dtype),
        )
    dx = convolved(up, w, np.zeros(len(w)), *shape)
    slopes = dx, gradients(up, w, x, *shape)[1], up.sum((0, 2, 3, 4))
    for mine, right in zip(found, (expected, *slopes), strict=True):
        assert_near(mine, right, dtype)


@pytest.mark.parametrize("padding", ["same", 0])
def test_free_sizes(padding: Any) -> None:
    """One model takes volumes of all sizes, also where "same" depends on them."""
    layer = bm.layers.Conv3d(5, (3, 2, 3), (2, 1, 2), padding, use_bias=False)
    model = layer.build(bm.Spec(("N", 2, "D", "H", "W")))
    w = model.state()["weight"].astype("float64")
    for n, *size in ((1, 3, 4, 5), (3, 6, 2, 8), (2, 7, 7, 3)):
        x = numbers((n, 2, *size), dtype="float32")
        border = [0] * 6
        if padding == "same":
            for axis, (length, span, step) in enumerate(zip(size, w.shape[2:], (2, 1, 2), strict=True)):
                missing = max(0, (-(-length // step) - 1) * step + span - length)
                border[axis], border[axis + 3] = missing // 2, missing - missing // 2
        expected = convolved(x, w, np.zeros(5), (2, 1, 2), border, (1, 1, 1), 1)
        np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)


def test_slices_side_by_side_take_a_part_of_memory() -> None:
    """Scratch memory is that of a part, not of as many volumes as a filter has slices."""
    x, w = numbers((3, 32, 12, 48, 48), dtype="float32"), numbers((8, 32, 5, 1, 1), 1, "float32")
    program = Evaluation(
        lambda x, w: ops.conv3d(x, w, padding=(2, 0, 0)), [x, w], differentiate=False
    )._program
    (step,) = (step for step in program.device.listing(program, {}) if step.op == "Conv3d")
    assert step.scratch <= 2 * volumes.PART + 4 * w.nbytes < 2 * x.nbytes


def test_volumes_stay_channels_last_from_layer_to_layer() -> None:
    model = bm.Sequential(
        bm.layers.Conv3d(4, 3, padding=1),
        bm.layers.BatchNorm(),
        bm.layers.Relu(),
        bm.layers.MaxPool3d(2),
        bm.layers.Conv3d(4, 3, padding=1),
        bm.layers.Flatten(),
        bm.layers.Dense(3),
    )
    step = bm.compile(model, loss="cross_entropy", optimizer="sgd")
    step(numbers((2, 3, 4, 6, 8), dtype="float32"), np.array([0, 2]))
    program: Any = step.programs["step"].program
    swaps = [node for node in program.nodes if isinstance(node.op, SwapPlanes)]
    assert len(swaps) == 3  # the volumes, and the flattened values forth and back


def test_nan_stays_where_filters_see_it() -> None:
    x, w = numbers((1, 16, 9, 12, 12), dtype="float32"), numbers((16, 16, 3, 3, 3), 1, "float32")
    x[0, 3, 4, 5, 6] = np.nan
    found = np.isnan(compute(lambda x, w: ops.conv3d(x, w, padding=1), x, w))
    expected = np.zeros_like(found)
    expected[:, :, 3:6, 4:7, 5:8] = True
    np.testing.assert_array_equal(found, expected)


# Pools ----------------------------------------------------------------------------------------------------

UNDER = (-3, -2, -1)


@few
@given(pools(3), dtypes)
def test_max_pools_and_their_gradients_equal_numpy(drawn: Any, dtype: str) -> None:
    shape, window, stride, padding = drawn
    x = np.random.default_rng(0).permutation(np.arange(np.prod(shape)) * 0.5).reshape(shape)
    border = padding * 2
    seen = windows(padded(x, border, -np.inf), window, stride)
    up = numbers(seen.shape[:5], 3)
    flows = np.where(seen == seen.max(UNDER, keepdims=True), up[..., None, None, None], 0.0)
    y, dx = with_gradients(
        lambda x: ops.max_pool3d(x, window, stride, padding), [x.astype(dtype)], up.astype(dtype)
    )
    assert_near(y, seen.max(UNDER), dtype)
    assert_near(dx, spread(flows, shape, stride, border), dtype)


@few
@given(pools(3), dtypes, st.booleans())
def test_average_pools_and_their_gradients_equal_numpy(drawn: Any, dtype: str, whole: bool) -> None:
    shape, window, stride, padding = drawn
    x, border = numbers(shape), padding * 2
    inside = windows(padded(np.ones(shape), border), window, stride).sum(UNDER)
    count = np.full_like(inside, np.prod(window)) if whole else inside
    up = numbers(inside.shape, 3)
    flows = np.broadcast_to((up / count)[..., None, None, None], (*up.shape, *window))
    y, dx = with_gradients(
        lambda x: ops.average_pool3d(x, window, stride, padding, whole), [x.astype(dtype)], up.astype(dtype)
    )
    assert_near(y, windows(padded(x, border), window, stride).sum(UNDER) / count, dtype)
    assert_near(dx, spread(flows, shape, stride, border), dtype)


def test_the_first_of_equals_is_found_slice_by_slice() -> None:
    """The largest stands at (0, 2, 3), (1, 0, 0) and (1, 0, 1): in the first slice it is behind."""
    x = np.zeros((1, 1, 2, 4, 4), "float32")
    x[0, 0, 0, 2, 3] = x[0, 0, 1, 0, 0] = x[0, 0, 1, 0, 1] = 2
    expected = np.zeros_like(x)
    expected[0, 0, 0, 2, 3] = 1
    (found,) = compute_gradients(lambda x: ops.sum(ops.max_pool3d(x, (2, 4, 4))), x)
    np.testing.assert_array_equal(found, expected)


def test_max_pool_passes_nan_on() -> None:
    x = np.zeros((1, 1, 4, 2, 2))
    x[0, 0, 1, 0, 1] = np.nan
    np.testing.assert_array_equal(compute(lambda x: ops.max_pool3d(x, 2), x).ravel(), [np.nan, 0])


# Training and errors --------------------------------------------------------------------------------------


def test_five_steps_equal_pytorch(torch: Any) -> None:
    layers, nn = bm.layers, torch.nn
    model = bm.Sequential(
        layers.Conv3d(6, 3, padding=1, activation="relu"),
        layers.MaxPool3d(2),
        layers.ConvTranspose3d(4, 2, stride=2),
        layers.AveragePool3d(2, 1),
        layers.GlobalAveragePool(),
        layers.Dense(3),
    ).build(bm.Spec(("N", 2, 4, 6, 8)))
    mirror = nn.Sequential(
        *(nn.Conv3d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.ConvTranspose3d(6, 4, 2, stride=2)),
        *(nn.AvgPool3d(2, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)),
    )
    with torch.no_grad():
        for parameter, array in zip(mirror.parameters(), model.state().values(), strict=True):
            parameter.copy_(torch.tensor(array.T if array.ndim == 2 else array))
    step = bm.compile(model, loss="cross_entropy", optimizer=bm.optimizers.SGD(0.3))
    optimizer = torch.optim.SGD(mirror.parameters(), 0.3)
    x, y = numbers((5, 2, 4, 6, 8), dtype="float32"), np.array([0, 2, 1, 1, 0])
    for _ in range(5):
        loss = nn.functional.cross_entropy(mirror(torch.tensor(x)), torch.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        np.testing.assert_allclose(step(x, y), loss.item(), rtol=1e-5)


IMAGE, VOLUME, FILTERS = (2, 3, 4, 4), (2, 3, 4, 5, 6), (8, 3, 3, 3, 3)
ERRORS: dict[str, tuple[Any, list[Any], type[BigmodelError], str]] = {
    "an image": (ops.conv3d, [IMAGE, FILTERS], ShapeError, "Conv3d needs volumes (N, C, D, H, W), got"),
    "an image, transposed": (
        ops.conv_transpose3d,
        [IMAGE, FILTERS],
        ShapeError,
        "ConvTranspose3d needs volu",
    ),
    "filters of images": (
        ops.conv3d,
        [VOLUME, (8, 3, 3, 3)],
        ShapeError,
        "needs filters (K, C, Q, R, S), got",
    ),
    "filters of images, transposed": (
        ops.conv_transpose3d,
        [VOLUME, (3, 8, 3, 3)],
        ShapeError,
        "needs filters (K, C, Q, R, S), got (3, 8, 3, 3)",
    ),
    "other channels": (ops.conv3d, [VOLUME, (8, 2, 3, 3, 3)], ShapeError, "needs 2 channels"),
    "a large filter": (
        ops.conv3d,
        [VOLUME, (8, 3, 5, 3, 3)],
        ShapeError,
        "a window of 5 x 3 x 3 does not fit a volume of 4 x 5 x 6",
    ),
    "two strides": (
        lambda x, w: ops.conv3d(x, w, stride=(1, 2)),
        [VOLUME, FILTERS],
        ConfigError,
        "stride is (1, 2), expected an integer of at least 1 or three of them",
    ),
    "padding by name": (
        lambda x, w: ops.conv3d(x, w, padding="full"),
        [VOLUME, FILTERS],
        ConfigError,
        'pass a number, three numbers or "same"',
    ),
    "groups": (lambda x, w: ops.conv3d(x, w, groups=2), [VOLUME, FILTERS], ShapeError, "2 group(s)"),
    "no output": (
        lambda x, w: ops.conv_transpose3d(x, w, padding=4),
        [VOLUME, (3, 2, 3, 3, 3)],
        ShapeError,
        "the output would be -2 x -1 x 0",
    ),
    "a pool of images": (
        lambda x: ops.max_pool3d(x, 2),
        [IMAGE],
        ShapeError,
        "needs volumes (N, C, D, H, W)",
    ),
    "an image pool of volumes": (
        lambda x: ops.max_pool(x, 2),
        [VOLUME],
        ShapeError,
        "needs images (N, C, H, W)",
    ),
    "a large window": (lambda x: ops.average_pool3d(x, 5), [VOLUME], ShapeError, "does not fit a volume of"),
    "windows of padding": (
        lambda x: ops.max_pool3d(x, 2, padding=2),
        [VOLUME],
        ShapeError,
        "without a pixel",
    ),
    "two sizes of a window": (
        lambda x: ops.average_pool3d(x, (2, 2)),
        [VOLUME],
        ConfigError,
        "window is (2, 2), expected an integer of at least 1 or three of them",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    function, shapes, error, text = ERRORS[name]
    with pytest.raises(error, match=re.escape(text)):
        compute(function, *(numbers(shape) for shape in shapes))


def test_integers_and_mixed_types_are_refused() -> None:
    x, w = numbers(VOLUME), numbers(FILTERS)
    with pytest.raises(DtypeError, match="float32 and float64"):
        compute(ops.conv3d, x, w.astype("float32"))
    with pytest.raises(DtypeError, match="int64"):
        compute(lambda x: ops.max_pool3d(x, 2), x.astype("int64"))
