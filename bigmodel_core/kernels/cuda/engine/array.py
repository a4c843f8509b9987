"""Array kernels on a CUDA device: the generated wrapper that gives a function its thread's number."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.graph.dtypes import DTYPES, FLOATS
from bigmodel_core.kernels.call import Call, attributes_of
from bigmodel_core.kernels.cuda.engine import runtime
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, over_items
from bigmodel_core.kernels.scalar import parameters

if TYPE_CHECKING:
    from bigmodel_core.kernels.cuda.engine.kernels import CudaKernel


_shares: list[tuple[int | None, bool, list[str]]] = []
"""How `shared_by` shares work, the innermost last."""


@contextlib.contextmanager
def shared_by(threads: int | None = None, is_backwards: bool = False) -> Iterator[list[str]]:
    """Plans that are made inside share the work of plugins' array kernels so, in memory that holds NaN.

    No result may depend on either.

    Args:
        threads: how many threads there are, in blocks of one; as many as usual if None.
        is_backwards: whether the thread of the highest number is the first that starts.

    Yields:
        The names of these kernels.
    """
    names: list[str] = []
    _shares.append((threads, is_backwards, names))
    try:
        yield names
    finally:
        _shares.pop()


def is_being_checked() -> bool:
    """Whether plans are made inside `shared_by`, whose memory holds NaN first."""
    return bool(_shares)


def launches(kernel: CudaKernel, call: Call) -> list[CudaLaunch]:
    """The launch of an array kernel; none if there is no work."""
    function = kernel.function
    specs = (*call.outputs, *call.inputs)
    if kernel.views is None:
        shapes: list[Any] = [spec.sizes for spec in specs]
    else:
        outputs, inputs = kernel.views(call.op, call.inputs, call.outputs)
        shapes = [*outputs, *inputs]
    items = kernel.items(call.op, call.inputs, call.outputs) if kernel.items else math.prod(shapes[0])
    if items == 0:
        return []
    buffers = (*call.output_buffers, *call.input_buffers)
    arguments: list[Any] = [
        View(buffer, tuple(int(size) for size in shape), spec.dtype, is_read=number >= len(call.outputs))
        for number, (buffer, shape, spec) in enumerate(zip(buffers, shapes, specs, strict=True))
    ]
    names = parameters(function)[len(specs) :]
    arguments += [
        _argument(value, call.dtype) for value in attributes_of(kernel, call, kernel.special).values()
    ]
    if "status" in names:
        arguments.append(call.status())
    if not _shares or function.__module__.partition(".")[0] == "bigmodel_core":
        return [over_items(wrapper(function, len(specs)), arguments, items)]
    threads, is_backwards, called = _shares[-1]
    called.append(function.__name__)
    found = over_items(wrapper(function, len(specs), is_backwards), arguments, items)
    return [found if threads is None else replace(found, blocks=(threads,), threads=1)]


def _argument(value: Any, dtype: str) -> Any:
    if isinstance(value, tuple):
        return tuple(np.int64(item) for item in value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return np.int64(value)
    return DTYPES[dtype if dtype in FLOATS else "float64"].scalar(value)


@functools.cache
def wrapper(function: Any, arrays: int, is_backwards: bool = False) -> Any:
    """The kernel that calls a function with its arrays, attributes and thread number; `is_backwards` counts
    threads from the last."""
    names = parameters(function)[arrays:]
    taken = [f"a{number}" for number in range(arrays)] + [
        f"k_{name}" for name in names if name not in ("thread", "threads")
    ]
    number = "cuda.gridsize(1) - 1 - cuda.grid(1)" if is_backwards else "cuda.grid(1)"
    special = {"thread": number, "threads": "cuda.gridsize(1)"}
    given = [f"a{number}" for number in range(arrays)] + [special.get(name, f"k_{name}") for name in names]
    scope: dict[str, Any] = {"function": function, "cuda": runtime.numba_cuda()}
    text = f"def kernel({', '.join(_status_last(taken))}):\n    function({', '.join(given)})\n"
    exec(compile(text, f"<CUDA kernel {function.__name__}>", "exec"), scope)
    made = scope["kernel"]
    made.__name__, made.authors = function.__name__, (function,)
    return made


def _status_last(names: list[str]) -> list[str]:
    return [name for name in names if name != "k_status"] + [name for name in names if name == "k_status"]
