"""Networks for images: as many parameters as published, and what they learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.graph import Graph
from bigmodel_core.nn.trace import Trace

# LeNet-5 as in every textbook; those for ImageNet as the papers and PyTorch count them.
PARAMETERS = [
    (bm.models.Lenet(), 61_706),
    (bm.models.Alexnet(), 61_100_840),
    (bm.models.Vgg11(batch_norm=False), 132_863_336),
    (bm.models.Vgg16(batch_norm=False), 138_357_544),
    (bm.models.Resnet18(), 11_689_512),
    (bm.models.Resnet50(), 25_557_032),
    (bm.models.Densenet121(), 7_978_856),
]


def trace_of(model: Any) -> Trace:
    trace = Trace(Graph(), training=True)
    with trace.active():
        trace.outputs = (model(trace.graph.input("x", model.input_spec())),)
    return trace


@pytest.mark.parametrize(("model", "count"), PARAMETERS, ids=lambda item: type(item).__name__)
def test_parameters_are_as_many_as_published(model: Any, count: int) -> None:
    trace = trace_of(model)
    assert trace.outputs[0].shape == ("N", model.classes)
    trained = [parameter.spec.sizes for parameter in trace.parameters.values() if parameter.trainable]
    assert sum(math.prod(sizes) for sizes in trained) == count


def test_lenet_learns_the_bundled_digits() -> None:
    data = bm.datasets.Digits().load()
    images = np.asarray(data.train.x, "float32").reshape(len(data.train.x), 1, 8, 8)
    x = images.repeat(2, 2).repeat(2, 3)
    y = np.asarray(data.train.y)
    model = bm.models.Lenet()
    step = bm.compile(model, loss="cross_entropy", optimizer=bm.optimizers.Adam(0.002))
    order = np.random.default_rng(0).permutation(len(x))
    for _ in range(4):
        for at in range(0, len(x) - 63, 64):
            step(x[order[at : at + 64]], y[order[at : at + 64]])
    assert (model(x).argmax(1) == y).mean() > 0.95
