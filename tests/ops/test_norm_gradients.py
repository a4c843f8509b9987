"""Gradients of scales and shifts of norms, added up block by block: the same on any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.graph import Graph
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.plan import Program, Variables, device_named

RANDOM = np.random.default_rng(5)


def normalised(x: np.ndarray, is_centred: bool) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True) if is_centred else x
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-5)


@pytest.fixture
def thread_count() -> Iterator[Callable[[int], None]]:
    """Set the number of threads; it is put back afterwards."""
    before = bm.num_threads()
    yield bm.set_num_threads
    bm.set_num_threads(before)


@pytest.mark.parametrize("shape", [(700, 67), (3, 4000), (1, 5), (0, 5)])
@pytest.mark.parametrize("is_centred", [True, False], ids=["layer norm", "rms norm"])
def test_gradients_of_scale_and_shift_equal_numpy(
    shape: tuple[int, int], is_centred: bool, thread_count: Callable[[int], None]
) -> None:
    x, dy = (RANDOM.standard_normal(shape).astype(np.float32) for _ in range(2))
    scale, shift = (RANDOM.standard_normal(shape[1:]).astype(np.float32) for _ in range(2))
    graph = Graph()
    given = {"x": x, "dy": dy, "scale": scale, "shift": shift}
    values: dict[str, Any] = {name: graph.input(name, bm.Spec(a.shape)) for name, a in given.items()}
    with graph.active():
        if is_centred:
            y, shared = ops.layer_norm(values["x"], values["scale"], values["shift"]), ["scale", "shift"]
        else:
            y, shared = ops.rms_norm(values["x"], values["scale"], epsilon=1e-5), ["scale"]
        found = gradients(ops.sum(y * values["dy"]), [values[name] for name in shared])
        program = Program(graph, found)
    wide = dy.astype(np.float64)
    expected = [(wide * normalised(x.astype(np.float64), is_centred)).sum(0), wide.sum(0)]
    bits = set()
    for count in (1, 2, 5):
        thread_count(count)
        made = program.run(Variables(device_named("cpu")), {name: given[name] for name in program.inputs})
        for ours, theirs in zip(made, expected, strict=False):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)
        bits.add(b"".join(array.tobytes() for array in made))
    assert len(bits) == 1
