"""Times the scan beside its composition, and beside PyTorch's ops if it is installed: `python bench.py`.

All run in one process, in turns. A figure is the least of the rounds, in milliseconds: of one core, on the
CPU; with `--device cuda`, until the results are back on the host.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_mamba import SelectiveScan, composed

Size = tuple[int, int, int, int]
SIZES = [(8, 128, 64, 16), (8, 256, 256, 16), (2, 1024, 128, 16)]
"""Samples, steps, channels, states."""
SCANS: dict[str, Callable[..., bm.Value]] = {"composed": composed, "op": SelectiveScan()}


def shortest(
    calls: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """The milliseconds that each call takes, at least."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():  # compiles
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            call()
            taken[name].append(1e3 * (clock() - start))
    return {name: min(times) for name, times in taken.items()}


def arrays_of(size: Size) -> list[np.ndarray]:
    """What a scan takes."""
    samples, steps, channels, states = size
    random = np.random.default_rng(0)
    long, short = (samples, steps, channels), (samples, steps, states)
    shapes = (long, long, (channels, states), short, short, (channels,))
    u, delta, a, b, c, skip = (random.standard_normal(shape).astype("float32") for shape in shapes)
    return [u, np.exp(delta - 3), -np.exp(a), b, c, skip]


def of_torch(size: Size, device: str) -> dict[str, Callable[[], Any]]:
    """The scan and its gradients as a loop of ops of PyTorch, the reference in the authors' code."""
    import torch

    torch.set_num_threads(1)
    inputs = [torch.tensor(array, device=device).requires_grad_() for array in arrays_of(size)]

    def scan() -> Any:
        u, delta, a, b, c, skip = inputs
        decay = torch.exp(delta[..., None] * a)
        added = (delta * u)[..., None] * b[:, :, None]
        h, outputs = torch.zeros_like(decay[:, 0]), []
        for factor, more, weight in zip(decay.unbind(1), added.unbind(1), c.unbind(1), strict=True):
            h = factor * h + more
            outputs.append((h * weight[:, None]).sum(-1))
        return torch.stack(outputs, 1) + skip * u

    def forward() -> Any:
        with torch.no_grad():
            return scan().cpu()

    def gradients() -> list[Any]:
        return [found.cpu() for found in torch.autograd.grad((scan() ** 2).mean(), inputs)]

    return {"scan": forward, "with gradients": gradients}


def of_ours(size: Size, scan: Callable[..., bm.Value], device: str) -> dict[str, Callable[[], Any]]:
    """A scan of ours, and its gradients."""
    u, delta, a, b, c, skip = arrays_of(size)
    samples = u, delta, b, c

    @dataclass(frozen=True)
    class Scan(bm.Layer):
        """The scan as a layer, which owns what is the same for all samples."""

        def __call__(self, u: bm.Value, delta: bm.Value, b: bm.Value, c: bm.Value) -> bm.Value:
            rates, through = self.parameter("a", a.shape, of(a)), self.parameter("skip", skip.shape, of(skip))
            return scan(u, delta, rates, b, c, through)

    layer = Scan()
    network = layer.build(*(bm.Spec(array.shape) for array in samples), device=device)
    gradients = bm.value_and_grad(
        layer, "mean_squared_error", wrt=["u", "delta", "a", "b", "c", "skip"], device=device
    )
    return {"scan": partial(network, *samples), "with gradients": partial(gradients, samples, 0 * u)}


def of(array: np.ndarray) -> Callable[..., np.ndarray]:
    """An initializer that gives an array."""
    return lambda generator, shape: array


def has_torch(device: str) -> bool:
    """Whether PyTorch is installed, and knows the device."""
    if not importlib.util.find_spec("torch"):
        return False
    import torch

    return device == "cpu" or bool(torch.cuda.is_available())


def main(sizes: Sequence[Size] = SIZES, rounds: int = 15, device: str = "cpu") -> None:
    """Print a table in Markdown."""
    bm.set_num_threads(1)
    clock = time.thread_time if device == "cpu" else time.perf_counter
    print("| samples, steps, channels, states | | composed | PyTorch | op | ratios |\n" + "| --- " * 6 + "|")
    for size in sizes:
        sides = {name: of_ours(size, scan, device) for name, scan in SCANS.items()}
        if has_torch(device):
            sides["PyTorch"] = of_torch(size, device)
        for what in ("scan", "with gradients"):
            found = shortest({name: side[what] for name, side in sides.items()}, rounds, clock)
            times = (f"{found[name]:.1f}" if name in found else "" for name in ("composed", "PyTorch", "op"))
            ratios = (f"{found[name] / found['op']:.1f}" for name in ("composed", "PyTorch") if name in found)
            print(f"| {str(size)[1:-1]} | {what} | {' | '.join(times)} | {', '.join(ratios)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Time the selective scan.")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    main(device=parser.parse_args().device)
