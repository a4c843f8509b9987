"""Greedy decoding with a cache, gpt of 6 layers and width 384, beside transformers and ONNX Runtime."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
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
PEERS = ("ours", "onnxruntime", "torch")
SEQUENCES = {"n1": 1, "n16": 16}
VOCABULARY, CONTEXT, PROMPT = 65, 256, 16
SIZES = {"vocabulary": VOCABULARY, "context": CONTEXT, "layers": 6, "heads": 6, "width": 384}

Write = Callable[[np.ndarray, int], Any]
"""What writes so many tokens after prompts (N, T)."""


def rows() -> dict[str, tuple[Target, ...]]:
    targets = Target(ratio=2.0, against="torch"), Target(ratio=1.0, against="onnxruntime")
    return dict.fromkeys(SEQUENCES, targets)


def _built() -> Any:
    import bigmodel_core as bm

    model = bm.models.build("gpt", **SIZES)
    return model.build(model.input_spec())


def _ours(threads: int) -> Write:
    import bigmodel_core as bm

    network = _built()
    return lambda tokens, count: bm.generate(network, tokens, max_tokens=count)


def _onnxruntime(threads: int) -> Write:
    """Our file of the model, whose past is what the call before gave as the present, and is never copied."""
    import onnxruntime as ort

    import bigmodel_core as bm

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        bm.export(_built(), path)
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    past = [item for item in session.get_inputs() if item.name.startswith("past")]
    outputs = [item.name for item in session.get_outputs()]
    of_array = ort.OrtValue.ortvalue_from_numpy

    def write(tokens: np.ndarray, count: int) -> np.ndarray:
        sizes = {"N": len(tokens), "past": 0}
        given = {
            item.name: of_array(np.zeros([sizes.get(size, size) for size in item.shape], np.float32))
            for item in past
        }
        mask = np.ones((len(tokens), PROMPT + count), np.int64)
        written: list[np.ndarray] = []
        for step in range(count):
            given["input_ids"] = of_array(tokens)
            given["attention_mask"] = of_array(mask[:, : PROMPT + step])
            logits, *present = session.run_with_ort_values(outputs, given)
            given.update(zip((item.name for item in past), present, strict=True))
            tokens = logits.numpy()[:, -1].argmax(-1)[:, None]
            written.append(tokens)
        return np.concatenate(written, 1)

    return write


def _torch(threads: int) -> Write:
    import torch
    import transformers

    torch.set_num_threads(threads)
    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    sizes = {"vocab_size": VOCABULARY, "n_positions": CONTEXT, "n_embd": 384, "n_layer": 6, "n_head": 6}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **ends)).eval()

    def write(tokens: np.ndarray, count: int) -> Any:
        ids = torch.tensor(tokens)
        options: dict[str, Any] = {"do_sample": False, "max_new_tokens": count, "min_new_tokens": count}
        with torch.inference_mode():
            return model.generate(ids, attention_mask=torch.ones_like(ids), **options)

    return write


def measure(row: str, peer: str, run: Run) -> dict[str, float]:
    sequences = SEQUENCES[row]
    count = CONTEXT - PROMPT if run.steps is None else max(run.steps, 1)
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (sequences, PROMPT))
    write = {"ours": _ours, "onnxruntime": _onnxruntime, "torch": _torch}[peer](run.threads)
    times = []
    for _ in range(2 if run.steps is not None else 5):  # the first makes plans
        start = time.perf_counter()
        write(tokens, count)
        times.append(time.perf_counter() - start)
    return {"greedy": sequences * count / float(np.median(times[1:]))}
