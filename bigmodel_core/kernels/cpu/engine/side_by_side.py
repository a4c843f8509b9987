"""Several small launches as one: the updates of many small parameters, in chunks that are worth a thread."""

from __future__ import annotations

from collections.abc import Sequence

from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Item
from bigmodel_core.kernels.cpu.engine.memory import call_kernel, load_int, store_int
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.status import KERNEL_RAISED


def side_by_side(
    launches: Sequence[CpuLaunch], weights: Sequence[float], status: CpuBuffer
) -> list[CpuLaunch]:
    """One launch that combines independent launches.

    Args:
        launches: what to do; they have no epilogues.
        weights: the work of one chunk of each, as a share of a chunk that is worth a thread.
        status: memory of the plan's status.
    """
    if len(launches) < 2:
        return list(launches)
    items: list[tuple[CpuLaunch, int]] = []
    starts = [0]
    filled = 0.0
    for launch, weight in zip(launches, weights, strict=True):
        for chunk in range(launch.chunks):
            if filled and filled + weight > 1:
                starts.append(len(items))
                filled = 0.0
            items.append((launch, chunk))
            filled += weight
    starts.append(len(items))
    first = 1 + len(starts)
    context: list[Item] = [status, *(first + 3 * start for start in starts)]
    for launch, chunk in items:
        context += [launch.kernel, launch, chunk]
    return [CpuLaunch(KERNEL, context, len(starts) - 1, choice=f"{len(launches)} side by side")]


def run_items(ctx, chunk):
    """Context: the status, where each chunk's items start, the items: kernel, context, chunk."""
    for item in range(load_int(ctx, 1 + chunk), load_int(ctx, 2 + chunk), 3):
        at = ctx + item * 8
        if call_kernel(load_int(at, 0), load_int(at, 1), load_int(at, 2)) != 0:
            store_int(load_int(ctx, 0), 0, KERNEL_RAISED)


KERNEL = NativeFunction(run_items)
