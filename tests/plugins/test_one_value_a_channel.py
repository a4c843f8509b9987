"""A single number has no variance: normalising it is an error, as in PyTorch, and nothing changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError

L = bm.layers
RANDOM = np.random.default_rng(0)


def model() -> Any:
    return bm.Sequential(L.Dense(3), L.BatchNorm(), L.Relu(), L.Dense(2))


def images() -> Any:
    return bm.Sequential(L.Conv2d(4, 3), L.BatchNorm(), L.Relu(), L.Flatten(), L.Dense(2))


@pytest.mark.parametrize(("build", "shape"), [(model, (5,)), (images, (2, 3, 3))])
def test_a_batch_of_one_number_a_channel_is_refused_before_anything_changes(build: Any, shape: Any) -> None:
    network = build()
    step = bm.compile(network, loss="cross_entropy", optimizer=bm.optimizers.Adam(0.1))
    x, labels = RANDOM.standard_normal((4, *shape)).astype("float32"), np.array([0, 1, 1, 0])
    step(x, labels)
    before = {path: array.copy() for path, array in network.state().items()}
    with pytest.raises(
        ShapeError, match=r"batch_norm_1 \(BatchNorm\).*one number.*(?s:.)*Fix: .*two samples"
    ):
        step(x[:1], labels[:1])
    for path, array in network.state().items():
        np.testing.assert_array_equal(array, before[path], err_msg=path)
    twin = build()
    again = bm.compile(twin, loss="cross_entropy", optimizer=bm.optimizers.Adam(0.1))
    again(x, labels)
    twin.load_state(before)
    assert step(x, labels) == pytest.approx(again(x, labels))
    assert network(x[:1]).shape == (1, 2)  # inference has its moments


def test_one_sample_with_several_pixels_will_do() -> None:
    step = bm.compile(L.BatchNorm(), loss="mean_squared_error", optimizer="sgd")
    x = RANDOM.standard_normal((1, 3, 2, 1)).astype("float32")
    assert np.isfinite(step(x, x))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (L.InstanceNorm(), ("N", 4, 1, 1)),
        (L.InstanceNorm(affine=False), ("N", 4, 1)),
        (L.GroupNorm(4), ("N", 4)),
    ],
    ids=str,
)
def test_groups_of_one_number_are_refused(layer: Any, shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"(?s)(Instance|Group)Norm.*one number and so no variance.*Fix: "):
        bm.Sequential(layer).build(bm.Spec(shape))


def test_pytorch_refuses_them_too(torch: Any) -> None:
    for layer, shape in (
        (torch.nn.BatchNorm1d(3), (1, 3)),
        (torch.nn.BatchNorm2d(3), (1, 3, 1, 1)),
        (torch.nn.InstanceNorm2d(3), (2, 3, 1, 1)),
        (torch.nn.GroupNorm(3, 3), (1, 3)),
    ):
        with pytest.raises(ValueError, match="more than 1"):
            layer(torch.zeros(shape))
