"""What a step of a loop with carried state costs: Python's loop over tensors, JAX's scan, and ours."""

from __future__ import annotations

from typing import Any

from bench.operators import Case, normal, times
from bench.workload import Run, Workload

WORKLOAD = Workload("loops", "a step of a loop with carried state, float32", "us")
STEPS = 500


def _decay(size: int) -> Case:
    """A decaying sum."""

    def ours(x: Any) -> list[Any]:
        from bigmodel_core import ops

        return [ops.scan(lambda total, part: (total * 0.5 + part, total), x[0], x)[1]]

    def torch(x: Any) -> Any:
        import torch as peer

        def run() -> Any:
            total, found = x[0], []
            for part in x:
                found.append(total)
                total = total * 0.5 + part
            return peer.stack(found)

        return run

    def jax(x: Any) -> Any:
        from jax import lax

        return lax.scan(lambda total, part: (total * 0.5 + part, total), x[0], x)[1]

    return Case(f"decay {size}", 0, lambda: (normal(STEPS, size),), ours, torch, jax)


def _elman(batch: int, units: int, trained: bool) -> Case:
    """Elman's network; with the gradient of its recurrent weight."""

    def ours(x: Any, w: Any) -> list[Any]:
        from bigmodel_core import ops

        def step(state: Any, part: Any) -> Any:
            state = ops.tanh(state @ w + part)
            return state, state

        y = ops.scan(step, x[0], x)[1]
        return [ops.gradients(ops.sum(y * y), w)] if trained else [y]

    def torch(x: Any, w: Any) -> Any:
        import torch as peer

        w = w.requires_grad_(trained)

        def run() -> Any:
            state, found = x[0], []
            for part in x:
                state = (state @ w + part).tanh()
                found.append(state)
            y = peer.stack(found)
            return peer.autograd.grad((y * y).sum(), w) if trained else y

        return run

    def jax(x: Any, w: Any) -> Any:
        import jax as peer
        from jax import lax, numpy

        def run(w: Any) -> Any:
            def step(state: Any, part: Any) -> Any:
                state = numpy.tanh(state @ w + part)
                return state, state

            return lax.scan(step, x[0], x)[1]

        return peer.grad(lambda w: (run(w) ** 2).sum())(w) if trained else run(w)

    label = f"Elman {batch} x {units}{', gradient' * trained}"
    arrays = lambda: (normal(STEPS, batch, units), normal(units, units) * units**-0.5)  # noqa: E731
    return Case(label, 0, arrays, ours, torch, jax)


def _each(peer: str, run: Run) -> dict[str, float]:
    cases = [
        _decay(4),
        *(_elman(*sizes, trained) for sizes in ((1, 16), (32, 128)) for trained in (False, True)),
    ]
    return {label: found / STEPS * 1e3 for label, found in times(cases, peer, run).items()}


def ours(run: Run) -> dict[str, float]:
    return _each("ours", run)


def torch(run: Run) -> dict[str, float]:
    return _each("torch", run)


def jax(run: Run) -> dict[str, float]:
    return _each("jax", run)
