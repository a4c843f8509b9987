"""Connectionist temporal classification on the CPU: threads share the samples."""

from __future__ import annotations

import math
from typing import Any

from bigmodel_core.kernels.alignments import backward, first_wrong, forward
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.status import report
from bigmodel_core.kernels.status import (
    LENGTH_OUT_OF_RANGE,
    TARGET_IS_BLANK,
    TARGET_LENGTH_OUT_OF_RANGE,
    TARGET_OUT_OF_RANGE,
)

COST = 20
"""The work of one state at one step, in additions."""


def align_samples(
    loss, paths, x, targets, steps, counts, blank, zero_infinity, nothing, never, start, stop, status
):
    """loss (N,), paths (N, T, 2 L + 1), x (N, T, C), targets (N, L), steps and counts (N,)."""
    for i in range(start, stop):
        loss[i] = nothing
        if steps[i] < 0 or steps[i] > x.shape[1]:
            report(status, LENGTH_OUT_OF_RANGE, steps[i], x.shape[1], i)
            continue
        if counts[i] < 0 or counts[i] > targets.shape[1]:
            report(status, TARGET_LENGTH_OUT_OF_RANGE, counts[i], targets.shape[1], i)
            continue
        wrong = first_wrong(targets[i], counts[i], blank, x.shape[2])
        if wrong >= 0:
            code = TARGET_IS_BLANK if targets[i, wrong] == blank else TARGET_OUT_OF_RANGE
            report(status, code, targets[i, wrong], x.shape[2], i * targets.shape[1] + wrong)
            continue
        labels, count, total = targets[i], counts[i], 0.0
        found = forward(paths[i], x[i], labels, steps[i], count, blank, nothing, never, total)
        if found != never or not zero_infinity:
            loss[i] = -found


def align_grad_samples(
    out, dy, x, targets, steps, counts, paths, rows, blank, zero_infinity, nothing, never, start, stop
):
    """out, x (N, T, C), dy (N,). rows (N, 3, 2 L + 1) is scratch."""
    for i in range(start, stop):
        here, way, more, count, is_zero = out[i], paths[i], rows[i], counts[i], zero_infinity
        labels, total = targets[i], steps[i]
        backward(here, dy[i], x[i], labels, total, count, way, more, blank, is_zero, nothing, never)


def _numbers(op: Any, inputs: Any, outputs: Any) -> dict[str, float]:
    return {"nothing": 0.0, "never": -math.inf}


ctc_loss = kernel(align_samples, extras=_numbers, cost=COST)


@cpu_launches
def ctc_loss_grad(call: Call) -> list[CpuLaunch]:
    """The gradient of the logarithms of chances."""
    samples, _, states = call.inputs[5].sizes
    rows = call.temporary((samples, 3, states))
    inputs = [*(call.input(number) for number in range(6)), rows]
    return call.launch(kernel(align_grad_samples, extras=_numbers, cost=COST), [call.output(0)], inputs)
