"""A GPT of 4 layers, width 128, on the bundled novel: time of 1,000 steps, and the loss they end with.

Each peer begins with the same weights and takes the same batches in the same order; PyTorch has them from us.
The loss on the test part of the novel is remarked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.workload import Run, Workload

WORKLOAD = Workload(
    "gpt_to_loss",
    "GPT of 4 layers, 4 heads, width 128, on the characters of a novel: 1,000 steps of 32 x 64, AdamW",
    "s",
)
STEPS, BATCH, RATE, WARM_UP, HEADS, LAYERS = 1000, 32, 3e-3, 100, 4, 4


def _started() -> tuple[Any, Any]:
    """The data, and the built model that all peers begin with."""
    import bigmodel_core as bm

    data = bm.datasets.load("text")
    model = bm.models.build("gpt", heads=HEADS, layers=LAYERS).fitted(data)
    model.build(bm.Spec(("N", data.train.x.shape[1]), "int64"))
    return data, model


def _trained(run: Run, data: Any, step: Callable[[np.ndarray, np.ndarray], float]) -> float:
    """The seconds of all steps; the first one, which compiles, does not count."""
    import bigmodel_core as bm

    steps, done, epoch, start = run.steps or STEPS, 0, 0, 0.0
    while done < steps:
        for indices in bm.batches(data.train, BATCH, shuffle_seed=0, epoch=epoch):
            if done == steps or len(indices) < BATCH:
                break
            run.notes["loss"] = step(data.train.x[indices], data.train.y[indices])
            done += 1
            start = start or time.perf_counter()
        epoch += 1
    return time.perf_counter() - start


def _test_loss(data: Any, loss: Callable[[np.ndarray, np.ndarray], float]) -> float:
    """The mean loss on the test part."""
    x, y = data.test.x, data.test.y
    parts = [slice(start, start + BATCH) for start in range(0, len(x), BATCH)]
    return sum(loss(x[part], y[part]) * len(x[part]) for part in parts) / len(x)


def ours(run: Run) -> float:
    import bigmodel_core as bm

    data, model = _started()
    rate = bm.schedules.WarmUp(WARM_UP, bm.schedules.Cosine(RATE, steps=run.steps or STEPS))
    step = bm.compile(model, "cross_entropy", bm.optimizers.AdamW(rate))
    seconds = _trained(run, data, step)
    trainer = bm.Trainer(model, "cross_entropy")
    run.notes["test loss"] = trainer.evaluate((data.test.x, data.test.y))["loss"]
    return seconds


def torch(run: Run) -> float:
    import torch
    from torch.nn import functional

    torch.set_num_threads(run.threads)
    data, model = _started()
    state = {path: torch.tensor(array, requires_grad=True) for path, array in model.state().items()}

    def norm(x: Any, path: str) -> Any:
        return functional.layer_norm(x, x.shape[-1:], state[f"{path}/scale"], state[f"{path}/shift"])

    def dense(x: Any, path: str) -> Any:
        return x @ state[f"{path}/weight"] + state[f"{path}/bias"]

    def scores(tokens: Any) -> Any:
        n, t = tokens.shape
        x = functional.embedding(tokens, state["embedding/weight"]) + state["position/weight"][:t]
        for number in range(1, LAYERS + 1):
            block = f"block_{number}"
            y = norm(x, f"{block}/attention_norm")
            q, k, v = (
                dense(y, f"{block}/attention/{part}").view(n, t, HEADS, -1).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + dense(seen.transpose(1, 2).reshape(x.shape), f"{block}/attention/output")
            y = dense(norm(x, f"{block}/feed_forward_norm"), f"{block}/feed_forward/up")
            x = x + dense(functional.gelu(y, approximate="tanh"), f"{block}/feed_forward/down")
        return norm(x, "norm") @ state["embedding/weight"].T

    def loss_of(x: np.ndarray, y: np.ndarray) -> Any:
        found = scores(torch.tensor(x)).flatten(0, 1)
        return functional.cross_entropy(found, torch.tensor(y).flatten())

    optimizer = torch.optim.AdamW(list(state.values()), lr=RATE, weight_decay=0.01)
    steps = run.steps or STEPS
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(step / WARM_UP, 1) * 0.5 * (1 + math.cos(math.pi * max(step - WARM_UP, 0) / steps)),
    )

    def step(x: np.ndarray, y: np.ndarray) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        schedule.step()
        return float(loss.item())

    seconds = _trained(run, data, step)
    with torch.no_grad():
        run.notes["test loss"] = _test_loss(data, lambda x, y: loss_of(x, y).item())
    return seconds
