"""The rate of each family of ops that multiply, beside the rate at which this machine multiplies at most."""

from __future__ import annotations

from bench.operators import rates
from bench.workload import MACHINE_PEAK, Run, Workload

WORKLOAD = Workload("op_families", "ops that multiply, float32", "GFLOP/s", higher_is_better=True)


def _rates(peer: str, run: Run) -> dict[str, float]:
    from bench.operators_of_products import Convolution, dense, recurrent

    convolutions = (
        Convolution("conv 3x3, first layer", 64, 28, 3, 64, 3, padding=1),
        Convolution("conv 3x3", 32, 32, 16, 16, 3, padding=1),
        Convolution("conv 3x3", 32, 16, 32, 32, 3, padding=1),
        Convolution("conv 3x3", 64, 14, 64, 128, 3, padding=1),
        Convolution("conv 5x5", 64, 14, 6, 16, 5),
        Convolution("conv 1x1", 32, 16, 64, 64, 1),
        Convolution("depthwise conv 3x3", 32, 16, 64, 64, 3, padding=1, groups=64),
        Convolution("conv 3x3, stride 2", 32, 32, 16, 32, 3, stride=2, padding=1),
        Convolution("transposed conv 2x2, stride 2", 32, 16, 32, 16, 2, stride=2, transposed=True),
        Convolution("conv 3x3x3", 8, 32, 16, 32, 3, padding=1, depth=16),
    )
    cases = [
        *dense(64, 784, 128),
        *dense(64, 6272, 1000),
        *(case for convolution in convolutions for case in convolution.cases()),
        *(case for cell in ("tanh", "lstm", "gru") for case in recurrent(cell, 64, 32, 32, 128)),
    ]
    return rates(cases, peer, run)


def ours(run: Run) -> dict[str, float]:
    from bench.peak import machine_peak

    before = machine_peak()
    found = _rates("ours", run)
    run.notes[MACHINE_PEAK] = max(before, machine_peak())
    return found


def torch(run: Run) -> dict[str, float]:
    return _rates("torch", run)


def jax(run: Run) -> dict[str, float]:
    return _rates("jax", run)
