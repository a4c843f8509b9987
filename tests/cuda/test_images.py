"""Ops on images on the CUDA device: both layouts, float64, numbers far from 0, batches of one and of none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core.ops as o
from bigmodel_core.errors import ShapeError
from bigmodel_core.graph import Graph
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.spec import Spec
from bigmodel_core.ops.pooling import MaxPool
from bigmodel_core.plan import device_named
from bigmodel_core.plan.layout import channels_last
from bigmodel_core.plan.passes import Passes, decomposed
from tests.cuda.test_ops import CASES, NUMPY, assert_is_numpy
from tests.ops.image_reference import padded, windows

ON_IMAGES = [name for name, (_, arrays) in CASES.items() if arrays.get("x", np.empty(0)).ndim in (4, 5)]
RNG = np.random.default_rng(12)


def test_there_are_cases_on_images() -> None:
    assert set(ON_IMAGES) <= set(NUMPY)
    assert {"zero pad", "batch norm of pieces"} <= set(ON_IMAGES)


@pytest.mark.parametrize("name", ON_IMAGES)
def test_channels_last_gives_the_same(name: str, both: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans for CUDA keep channels first; a device whose plans do not has the same kernels."""
    monkeypatch.setattr(device_named("cuda"), "passes", Passes(graph=(channels_last, decomposed)))
    assert_is_numpy(name, "float32", 2e-5, 2e-5, both)


@pytest.mark.parametrize("name", ON_IMAGES)
def test_float64_equals_numpy(name: str, both: Any) -> None:
    assert_is_numpy(name, "float64", 1e-6, 1e-6, both)


@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_batch_norm_keeps_the_digits_of_numbers_far_from_0(mean: float, both: Any) -> None:
    x = (mean + 0.1 * RNG.standard_normal((5, 2, 3, 7))).astype("float32")
    dy = RNG.standard_normal(x.shape).astype("float32")
    graph = Graph()
    with graph.active():
        given, scale = graph.input("x", Spec(("N", *x.shape[1:]))), graph.input("scale", Spec((2,)))
        made = o.batch_norm(given, scale, o.zeros_like(scale))
        found = gradients(o.sum(made[0] * graph.input("dy", Spec(("N", *x.shape[1:])))), [given, scale])
    arrays = {"x": x, "scale": np.array([1, 2], "float32"), "dy": dy}
    y, center, variance, dx, dscale = both.run(graph, [*made, *found], arrays, "cuda")
    wide, g, axes = x.astype("float64"), dy.astype("float64"), (0, 2, 3)
    apart = wide - wide.mean(axes, keepdims=True)
    rate = 1 / np.sqrt((apart**2).mean(axes, keepdims=True) + 1e-5)
    normal, column = apart * rate, np.array([1, 2])[:, None, None]
    dn = g * column
    right = [
        *(normal * column, wide.mean(axes), wide.var(axes)),
        rate * (dn - dn.mean(axes, keepdims=True) - normal * (dn * normal).mean(axes, keepdims=True)),
        (g * normal).sum(axes),
    ]
    for number, (ours, theirs) in enumerate(zip([y, center, variance, dx, dscale], right, strict=True)):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max(), err_msg=str(number))


def normed(rows: int, both: Any) -> list[np.ndarray]:
    """Batch normalisation of so many samples of one pixel, with the gradient of their squares."""
    arrays = {
        "x": np.zeros((rows, 2, 1, 1), "float32"),
        "s": np.ones(2, "float32"),
        "b": np.ones(2, "float32"),
    }
    graph, results = both.graph_of(lambda x, s, b: o.batch_norm(x, s, b)[0], arrays, free=False)
    found: list[np.ndarray] = both.run(graph, results, arrays, "cuda")
    return found


def test_batch_norm_of_one_number_a_channel_is_refused(both: Any) -> None:
    with pytest.raises(ShapeError, match="one number for each of 2 channels"):
        normed(1, both)


def test_batch_norm_of_nothing_is_nothing(both: Any) -> None:
    y, dx, _, dshift = normed(0, both)
    assert y.shape == dx.shape == (0, 2, 1, 1)
    np.testing.assert_array_equal(dshift, [0, 0])


def test_a_pool_chooses_the_first_of_equals_and_the_last_nan(both: Any) -> None:
    x = RNG.integers(0, 3, (2, 2, 6, 7)).astype("float32")
    x[RNG.random(x.shape) < 0.1] = np.nan
    graph = Graph()
    with graph.active():
        given = graph.input("x", Spec(x.shape))
        y, places = MaxPool((3, 2), (2, 1), (1, 0, 1, 1))(given)
        results = [y, places, *gradients(o.sum(y), [given])]
    found, expected = (both.run(graph, results, {"x": x}, device) for device in ("cuda", "cpu"))
    seen = windows(padded(x, (1, 0, 1, 1), -np.inf), (3, 2), (2, 1)).reshape(*found[1].shape, -1)
    last = seen.shape[-1] - 1 - np.isnan(seen)[..., ::-1].argmax(-1)
    first = np.where(np.isnan(seen).any(-1), last, np.nan_to_num(seen, nan=-1).argmax(-1))
    np.testing.assert_array_equal(found[1], first)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_padding_of_free_sizes(both: Any) -> None:
    """Padding "same" under a stride depends on the size."""
    graph = Graph()
    with graph.active():
        x = graph.input("x", Spec(("N", 2, "H", "W")))
        w = graph.input("w", Spec((3, 2, 3, 2)))
        wider = o.zero_pad(x, (0, x.shape[2] // 2, 1, 0))
        made = [o.conv2d(x, w, stride=(2, 3), padding="same"), o.max_pool(x, 2, 2, "same"), wider]
        results = [*made, *gradients(o.sum(o.square(made[0])), [w])]
        results += [dx for y in made for dx in gradients(o.sum(o.square(y)), [x])]
    arrays = {"w": RNG.standard_normal((3, 2, 3, 2)).astype("float32")}
    for shape in [(2, 2, 5, 6), (1, 2, 6, 7)]:
        arrays["x"] = RNG.standard_normal(shape).astype("float32")
        found, expected = (both.run(graph, results, arrays, device) for device in ("cuda", "cpu"))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
