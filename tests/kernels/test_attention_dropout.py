"""Dropped weights of attention are drawn by vector code."""

from __future__ import annotations

import time

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.plan import Program, Variables, device_named


def least_time(dropout: float) -> float:
    """The least seconds of this thread for attention of 8 heads, 256 queries and keys."""
    graph = bm.Graph()
    q, k, v = (graph.input(name, bm.Spec((1, 8, 256, 32))) for name in "qkv")
    program, variables = (
        Program(graph, [ops.attention(q, k, v, dropout=dropout)]),
        Variables(device_named("cpu")),
    )
    given = {name: np.ones((1, 8, 256, 32), "float32") for name in "qkv"}
    times = []
    for _ in range(8):
        start = time.thread_time()
        program.run(variables, given)
        times.append(time.thread_time() - start)
    return min(times)


@pytest.mark.skipif(not hasattr(time, "thread_time"), reason="this system does not tell a thread's time")
def test_dropping_weights_takes_no_multiple_of_the_time() -> None:
    """2 to 3 times of the time without; where numbers are drawn one by one it is more than 9 times."""
    before = bm.num_threads()
    bm.set_num_threads(1)
    try:
        assert least_time(0.1) < 6 * least_time(0.0)
    finally:
        bm.set_num_threads(before)
