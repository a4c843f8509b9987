"""Loops on the CPU: the launches of a body, run once for each step of its arrays.

They are rows of the plan's own table. The row before them, and the one behind them that goes back, put the
addresses of a step into their contexts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch, Item, MovingBuffer, Places
from bigmodel_core.kernels.cpu.engine.memory import load_int, store_int
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.updates import copy_all
from bigmodel_core.kernels.loop import body_of, unchanged

# A loop's context: how far the run goes on, then
STEPS, STEP, COUNT, ENTRIES = 1, 2, 3, 4
# and for each buffer that moves where it is at first, in later even and odd steps, the offset and the stride
# in bytes, and the list of slots that hold its address, or that of a part of it.
ENTRY = 6


def place(loop):
    """Put the addresses of a step into the contexts of the body."""
    step = load_int(loop, STEP)
    for number in range(load_int(loop, COUNT)):
        entry = loop + (ENTRIES + number * ENTRY) * 8
        base = load_int(entry, 0 if step == 0 else 1 + step % 2)
        address = base + load_int(entry, 3) + load_int(entry, 4) * step
        slots = load_int(entry, 5)
        for slot in range(load_int(slots, 0)):
            store_int(load_int(slots, 1 + 2 * slot), 0, address + load_int(slots, 2 + 2 * slot))


def begin_loop(ctx, chunk):
    store_int(ctx, STEP, 0)
    place(ctx)


def next_turn(ctx, chunk):
    """Context: how far the run goes on, the loop, how far it goes back for another step."""
    loop = load_int(ctx, 1)
    step = load_int(loop, STEP) + 1
    store_int(loop, STEP, step)
    if step < load_int(loop, STEPS):
        place(loop)
        store_int(ctx, 0, load_int(ctx, 2))
    else:
        store_int(ctx, 0, 1)


BEGIN, TURN = NativeFunction(begin_loop), NativeFunction(next_turn)


class _Loop:
    """The buffers that move from step to step, and where each is."""

    def __init__(self, steps: int, reverse: bool) -> None:
        self.steps, self.reverse = steps, reverse
        self.entries: list[Item] = []

    def _moving(self, nbytes: int, first: Any, even: Any, odd: Any, offset: int, stride: int) -> MovingBuffer:
        buffer = MovingBuffer(nbytes)
        self.entries += [first, even, odd, offset, stride, Places(buffer)]
        return buffer

    def step_of(self, array: Operand) -> MovingBuffer:
        """The step of an array that is there at each turn."""
        nbytes = array.spec.nbytes // self.steps
        offset = (self.steps - 1) * nbytes if self.reverse else 0
        stride = -nbytes if self.reverse else nbytes
        return self._moving(nbytes, array.buffer, array.buffer, array.buffer, offset, stride)

    def carried(self, initial: Operand, last: Operand, other: Any) -> tuple[MovingBuffer, MovingBuffer]:
        """What is carried, before and after each step: in two buffers by turns, at the end in the last."""
        nbytes = last.spec.nbytes
        turns = (other, last.buffer) if self.steps % 2 == 0 else (last.buffer, other)
        before = self._moving(nbytes, initial.buffer, *turns[::-1], 0, 0)
        return before, self._moving(nbytes, turns[0], *turns, 0, 0)

    def rows(self, body: Sequence[CpuLaunch]) -> list[CpuLaunch]:
        """The body, and what lets it run once for each step."""
        count = len(self.entries) // ENTRY
        begin = CpuLaunch(BEGIN, [1, self.steps, 0, count, *self.entries], branches=True)
        return [begin, *body, CpuLaunch(TURN, [1, begin, -len(body)], branches=True)]


@cpu_launches
def scan(call: Call) -> list[CpuLaunch]:
    """All steps of a loop."""
    steps = call.op.length
    if steps == 0:
        return unchanged(call, kernel(copy_all))
    loop = _Loop(steps, call.op.reverse)
    body = body_of(call, loop)
    return loop.rows(body) if body else []
