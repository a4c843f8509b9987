"""Tests of the CUDA device: of a real one where there is one, else in Numba's simulator, a process of its own
that `tests/test_cuda_simulator.py` starts.

The fixture `both` runs one graph on both devices, the CPU and the CUDA device.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from bigmodel_core.errors import DeviceError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cuda.engine.runtime import require_device, simulated
from bigmodel_core.ops import multiply, sum
from bigmodel_core.plan import Program, Variables, device_named

try:
    require_device()
except DeviceError:
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/cuda/" in item.path.as_posix():
            item.add_marker(pytest.mark.cuda)
            if item.get_closest_marker("simulator") and not simulated():
                item.add_marker(pytest.mark.skip(reason="about Numba's simulator, which is not on"))


@pytest.fixture(scope="session")
def both() -> types.SimpleNamespace:
    """Functions that build a graph and run it on both devices."""
    return types.SimpleNamespace(graph_of=graph_of, run=run, assert_same=assert_same)


Build = Callable[..., Value | Sequence[Value]]


def graph_of(build: Build, arrays: Mapping[str, np.ndarray], free: bool = True) -> tuple[Graph, list[Value]]:
    """A graph of an expression, its results, and their gradients with respect to each float input.

    With `free` the first dimension of the input `x`, and of all others that share its size, is named.
    """
    graph = Graph()
    batch = arrays["x"].shape[:1] if free and "x" in arrays else ()
    values = {}
    for name, array in arrays.items():
        shape = ("N", *array.shape[1:]) if batch and array.shape[:1] == batch else array.shape
        values[name] = graph.input(name, Spec(shape, array.dtype.name))
    with graph.active():
        made = build(**values)
        results = [made] if isinstance(made, Value) else list(made)
        floats = [value for value in values.values() if value.spec.is_float]
        smooth = [value for value in results if value.spec.is_float]
        found: list[Value | None] = []
        for value in smooth if floats else ():
            weight = graph.constant(0.75, value.dtype)
            found += gradients(sum(multiply(multiply(value, value), weight)), floats)
    return graph, [*results, *(value for value in found if value is not None)]


def run(
    graph: Graph, results: Sequence[Value], arrays: Mapping[str, np.ndarray], device: str
) -> list[np.ndarray]:
    """The results on one device."""
    program = Program(graph, results, device=device)
    return program.run(Variables(device_named(device)), arrays)


def assert_same(
    build: Build, arrays: Mapping[str, np.ndarray], rtol: float, atol: float, **options: Any
) -> None:
    """Assert that both devices give the same results and gradients."""
    graph, results = graph_of(build, arrays, **options)
    expected = run(graph, results, arrays, "cpu")
    found = run(graph, results, arrays, "cuda")
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=f"result {number}")
