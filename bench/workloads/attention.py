"""Attention alone, 48 heads of width 64, beside PyTorch's `scaled_dot_product_attention`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bench.operators import Arrays, Case, normal, times
from bench.workload import Run, Target, Workload

WORKLOAD = Workload("attention", "attention, 4 samples of 12 heads of width 64, float32", "ms")
PEERS = ("ours", "torch")
STEPS = {"t64": 64, "t256": 256, "t1024": 1024, "t2048": 2048}


def rows() -> dict[str, tuple[Target, ...]]:
    return {
        row: (Target(ratio=1.5 if steps == 1024 else 1.0, against="torch"),) for row, steps in STEPS.items()
    }


def _arrays(steps: int) -> Arrays:
    return tuple(normal(4, 12, steps, 64, seed=seed) for seed in range(4))


def _ours(
    is_causal: bool, dropout: float, is_trained: bool, q: Any, k: Any, v: Any, dy: Any
) -> Sequence[Any]:
    from bigmodel_core import ops

    y = ops.attention(q, k, v, causal=is_causal, dropout=dropout)
    return [y, *ops.gradients(ops.sum(y * dy), [q, k, v])] if is_trained else [y]


def _torch(
    is_causal: bool, dropout: float, is_trained: bool, q: Any, k: Any, v: Any, dy: Any
) -> Callable[[], Any]:
    import torch

    operands = [x.clone().requires_grad_(is_trained) for x in (q, k, v)]

    def call() -> Any:
        y = torch.nn.functional.scaled_dot_product_attention(
            *operands, is_causal=is_causal, dropout_p=dropout
        )
        return torch.autograd.grad(y, operands, dy) if is_trained else y

    return call


CASES: dict[str, tuple[bool, float, bool]] = {
    "causal, forward": (True, 0.0, False),
    "causal, with gradients": (True, 0.0, True),
    "all keys, forward": (False, 0.0, False),
    "all keys, with gradients": (False, 0.0, True),
    "all keys, dropout 0.1, with gradients": (False, 0.1, True),
}


def measure(row: str, peer: str, run: Run) -> dict[str, float]:
    cases = [
        Case(name, 0, partial(_arrays, STEPS[row]), partial(_ours, *options), partial(_torch, *options))
        for name, options in CASES.items()
    ]
    return times(cases, peer, run)
