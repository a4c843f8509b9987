"""Single ops beside PyTorch and JAX: what the workloads on families of ops share.

Ours run as steps of a plan, on memory that the plan owns, images with channels last as inside a network.
PyTorch gets images in both of its memory formats, and the better one counts; JAX gets channels last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.workload import Run

SECONDS = 0.4

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Case:
    """One op, or one of its gradients, at one size.

    Args:
        label: what the table calls it.
        amount: operations or bytes of one call; 0 where its time is told.
        arrays: makes the operands; of four dimensions are images (N, H, W, C) and filters (K, C, R, S), of
            five volumes (N, D, H, W, C) and their filters.
        ours: gives the values to compute, of those of the operands.
        torch: gives the function to call, of tensors; images are (N, C, H, W) there.
        jax: computes the same of JAX's arrays, jitted; None if it is not compared.
        images: which operands are images.
    """

    label: str
    amount: float
    arrays: Callable[[], Arrays]
    ours: Callable[..., Sequence[Any]]
    torch: Callable[..., Callable[[], Any]]
    jax: Callable[..., Any] | None = None
    images: tuple[int, ...] = ()


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Operands: normal numbers, float32."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def rates(cases: Sequence[Case], peer: str, run: Run) -> dict[str, float]:
    """Billions of operations or bytes a second, by label."""
    amounts = {case.label: case.amount for case in cases}
    return {label: amounts[label] / time / 1e6 for label, time in times(cases, peer, run).items()}


def times(cases: Sequence[Case], peer: str, run: Run) -> dict[str, float]:
    """Milliseconds of a call, by label."""
    timed = {"ours": _ours, "torch": _torch, "jax": _jax}[peer]
    return {case.label: timed(case, run) for case in cases if peer != "jax" or case.jax is not None}


def our_call(case: Case) -> Callable[[], None]:
    """Computes a case once; results stay in the plan's memory."""
    from bigmodel_core.graph import Graph
    from bigmodel_core.graph.spec import Spec
    from bigmodel_core.plan import Program, Variables, device_named

    graph, variables = Graph(), Variables(device_named("cpu"))
    values = []
    for number, array in enumerate(case.arrays()):
        variables.create(f"x{number}", array)
        values.append(graph.variable(f"x{number}", Spec(array.shape, array.dtype.name)))
    with graph.active():
        plan: Any = Program(graph, case.ours(*values)).plan(variables, {})
    return lambda: plan.execute({})


def _ours(case: Case, run: Run) -> float:
    return run.median_call(our_call(case), seconds=SECONDS)


def _torch(case: Case, run: Run) -> float:
    import torch

    torch.set_num_threads(run.threads)
    torch.manual_seed(0)
    best = float("inf")
    for last in (False, True) if case.images else (False,):
        tensors = []
        for number, array in enumerate(case.arrays()):
            tensor = torch.from_numpy(array)
            if number in case.images:
                tensor = tensor.movedim(-1, 1)
                tensor = tensor if last else tensor.contiguous()
            elif last and tensor.ndim > 3:
                formats = {4: torch.channels_last, 5: torch.channels_last_3d}
                tensor = tensor.to(memory_format=formats[tensor.ndim])
            tensors.append(tensor)
        best = min(best, run.median_call(case.torch(*tensors), seconds=SECONDS))
    return best


def _jax(case: Case, run: Run) -> float:
    import jax

    assert case.jax is not None
    function = jax.jit(case.jax)
    operands = [jax.device_put(array) for array in case.arrays()]
    return run.median_call(lambda: jax.block_until_ready(function(*operands)), seconds=SECONDS)
