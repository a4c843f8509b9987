"""Greedy decoding with a cache, gpt of 6 layers and width 384, beside transformers on PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.workload import Run, Target, Workload

WORKLOAD = Workload(
    "decoding",
    "greedy decoding, gpt of 6 layers, 6 heads, width 384, 256 tokens, 16 of them the prompt",
    "tokens/s",
    higher_is_better=True,
    warm_up=(),
)
PEERS = ("ours", "torch")
SEQUENCES = {"n1": 1, "n16": 16}
VOCABULARY, CONTEXT, PROMPT = 65, 256, 16


def rows() -> dict[str, tuple[Target, ...]]:
    return {row: (Target(ratio=2.0, against="torch"),) for row in SEQUENCES}


def _ours(tokens: np.ndarray, count: int) -> Callable[[], Any]:
    import bigmodel_core as bm

    sizes = {"vocabulary": VOCABULARY, "context": CONTEXT, "layers": 6, "heads": 6, "width": 384}
    model = bm.models.build("gpt", **sizes)
    network = model.build(model.input_spec())
    return lambda: bm.generate(network, tokens, max_tokens=count)


def _torch(tokens: np.ndarray, count: int) -> Callable[[], Any]:
    import torch
    import transformers

    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    sizes = {"vocab_size": VOCABULARY, "n_positions": CONTEXT, "n_embd": 384, "n_layer": 6, "n_head": 6}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **ends)).eval()
    ids = torch.tensor(tokens)
    options: dict[str, Any] = {"do_sample": False, "max_new_tokens": count, "min_new_tokens": count}

    def call() -> Any:
        with torch.inference_mode():
            return model.generate(ids, attention_mask=torch.ones_like(ids), **options)

    return call


def measure(row: str, peer: str, run: Run) -> dict[str, float]:
    sequences = SEQUENCES[row]
    count = CONTEXT - PROMPT if run.steps is None else max(run.steps, 1)
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (sequences, PROMPT))
    if peer == "torch":
        import torch

        torch.set_num_threads(run.threads)
    call = {"ours": _ours, "torch": _torch}[peer](tokens, count)
    times = []
    for _ in range(2 if run.steps is not None else 5):  # the first makes plans
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return {"greedy": sequences * count / float(np.median(times[1:]))}
