"""A training step takes no memory of its own: what it needs was placed when it was planned."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm

LIMIT = 16 * 1024
"""Bytes: the numbers and small objects of a call, whatever the size of the batch."""


def lenet() -> tuple[Any, np.ndarray]:
    return bm.models.build("lenet"), np.zeros((64, 1, 32, 32), "float32")


def resnet20() -> tuple[Any, np.ndarray]:
    return bm.models.build("resnet20"), np.zeros((16, 3, 16, 16), "float32")


def lstm() -> tuple[Any, np.ndarray]:
    return bm.models.build("lstm-classifier", units=64), np.zeros((32, 28, 28), "float32")


def mlp() -> tuple[Any, np.ndarray]:
    return bm.models.build("mlp"), np.zeros((256, 784), "float32")


every = pytest.mark.parametrize("network", [mlp, lenet, resnet20, lstm], ids=lambda make: make.__name__)


def warm_step(network: Callable[[], tuple[Any, np.ndarray]]) -> Callable[[], float]:
    """A step that ran often enough for everything to be in place."""
    model, x = network()
    x = np.random.default_rng(0).standard_normal(x.shape, dtype=np.float32)
    y = np.random.default_rng(1).integers(0, 10, len(x))
    step = bm.compile(model, "cross_entropy", bm.optimizers.SGD(1e-3, momentum=0.9))
    for _ in range(3):
        step(x, y)
    return lambda: step(x, y)


@every
def test_a_step_allocates_nothing_in_proportion_to_data(network: Any) -> None:
    step = warm_step(network)
    gc.collect()  # what earlier tests left is not to be collected while the steps are watched
    tracemalloc.start()  # NumPy reports its arrays, too
    try:
        step()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            step()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < LIMIT
    assert after - before < LIMIT


def resident() -> int:
    """Bytes of memory that the process has now."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="this system does not tell its memory in /proc")
@every
def test_steps_leave_the_process_as_large_as_it_was(network: Any) -> None:
    step = warm_step(network)
    step()
    before = resident()
    for _ in range(20):
        step()
    assert resident() - before < 256 * 1024  # batches and activations are megabytes
