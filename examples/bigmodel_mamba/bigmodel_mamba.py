"""A selective state-space layer (Mamba) as a plugin: a scan with kernels of its own for the CPU and CUDA.

Each of D channels of a sample has S states, which a step t multiplies and adds to, as the input says:

    h[t, d, s] = exp(delta[t, d] * a[d, s]) * h[t - 1, d, s] + delta[t, d] * u[t, d] * b[t, s]
    y[t, d]    = sum over s of c[t, s] * h[t, d, s], plus skip[d] * u[t, d]

`composed` says it with ops that exist, and keeps the states of all T steps for the gradient. The kernels keep
those at the beginning of each piece of the steps, and go through a piece again when the gradient comes to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import exp

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops

cuda = bm.cuda

# On the CPU an item of work is a block of channels of one sample, from the first step to the last. The inner
# loops run along the channels of a block, which lie together: `a` is turned, (S, D), states are (S, LANES).

LANES = 64
"""Channels of a block."""


def cpu_turned(out, x, start, stop):
    """A matrix with its rows as columns."""
    for i in range(start, stop):
        for j in range(x.shape[0]):
            out[i, j] = x[j, i]


def cpu_summed(out, parts, start, stop):
    """out[i, j] = sum over k of parts[i, k, j]."""
    for i in range(start, stop):
        for j in range(out.shape[1]):
            out[i, j] = 0
        for k in range(parts.shape[1]):
            for j in range(out.shape[1]):
                out[i, j] += parts[i, k, j]


def advance(state, u, delta, a, b):
    """One state of a block, one step further."""
    for j in range(u.shape[0]):
        state[j] = exp(delta[j] * a[j]) * state[j] + delta[j] * u[j] * b


def cpu_scan(y, states, u, delta, a, b, c, skip, start, stop):
    steps, channels = u.shape[1], u.shape[2]
    blocks = (channels + LANES - 1) // LANES
    for item in range(start, stop):
        n, first = item // blocks, item % blocks * LANES
        last = min(first + LANES, channels)
        states[item] = 0
        for t in range(steps):
            out, x, step = y[n, t, first:last], u[n, t, first:last], delta[n, t, first:last]
            through = skip[first:last]
            for j in range(x.shape[0]):
                out[j] = through[j] * x[j]
            for s in range(a.shape[0]):
                state, weight = states[item, s], c[n, t, s]
                advance(state, x, step, a[s, first:last], b[n, t, s])
                for j in range(x.shape[0]):
                    out[j] += weight * state[j]


def advance_and_keep(state, decay, before, u, delta, a, b):
    """One state of a block after a step, and what it was multiplied by."""
    for j in range(u.shape[0]):
        decay[j] = exp(delta[j] * a[j])
        state[j] = decay[j] * before[j] + delta[j] * u[j] * b


def go_back(du, ddelta, da, pull, dy, state, decay, before, u, delta, a, weights):
    """One state of a block, one step back.

    Adds to `du` (not times delta yet), `ddelta` (what comes by `a`) and `da`; makes of the gradient of the
    state after the step that of the state before it; returns the shares of the block in the gradients of b
    and c.
    """
    b, c = weights
    db = dc = dy.dtype.type(0)
    for j in range(u.shape[0]):
        slope = pull[j] + c * dy[j]
        pull[j] = slope * decay[j]
        du[j] += slope * b
        db += slope * delta[j] * u[j]
        dc += dy[j] * state[j]
    for j in range(u.shape[0]):  # a loop of fewer arrays has fewer checks that none overlap
        share = pull[j] * before[j]
        da[j] += share * delta[j]
        ddelta[j] += share * a[j]
    return db, dc


def cpu_gradients(
    du, ddelta, da, db, dc, dskip, kept, states, decays, pulls, dy, u, delta, a, b, c, skip, start, stop
):
    """The gradients; those of `a` and `skip` for each sample, those of `b` and `c` for each block.

    `kept` (items, pieces, S, LANES) holds the states at the beginning of each piece of the steps, `states`
    and `decays` (items, length of a piece, S, LANES) those after each step of a piece and their factors.
    """
    steps, channels, count = u.shape[1], u.shape[2], a.shape[0]
    blocks, pieces, length = (channels + LANES - 1) // LANES, kept.shape[1], states.shape[1]
    for item in range(start, stop):
        n, first = item // blocks, item % blocks * LANES
        last = min(first + LANES, channels)
        kept[item, 0] = 0
        for piece in range(1, pieces):
            for s in range(count):
                for j in range(last - first):
                    kept[item, piece, s, j] = kept[item, piece - 1, s, j]
            for t in range((piece - 1) * length, piece * length):
                x, step = u[n, t, first:last], delta[n, t, first:last]
                for s in range(count):
                    advance(kept[item, piece, s], x, step, a[s, first:last], b[n, t, s])
        pulls[item], da[n, :, first:last], dskip[n, first:last] = 0, 0, 0
        for back in range(pieces):
            piece = pieces - 1 - back
            begin, end = piece * length, min(piece * length + length, steps)
            before = kept[item, piece]
            for t in range(begin, end):
                x, step, here = u[n, t, first:last], delta[n, t, first:last], states[item, t - begin]
                for s in range(count):
                    decay = decays[item, t - begin, s]
                    advance_and_keep(here[s], decay, before[s], x, step, a[s, first:last], b[n, t, s])
                before = here
            for t in range(end - 1, begin - 1, -1):
                x, step, slope = u[n, t, first:last], delta[n, t, first:last], dy[n, t, first:last]
                dx, dstep = du[n, t, first:last], ddelta[n, t, first:last]
                dx[:], dstep[:] = 0, 0
                here, decay = states[item, t - begin], decays[item, t - begin]
                before = states[item, t - begin - 1] if t > begin else kept[item, piece]
                for s in range(count):
                    dpart, pull, rate = da[n, s, first:last], pulls[item, s], a[s, first:last]
                    weights = b[n, t, s], c[n, t, s]
                    db[item, t, s], dc[item, t, s] = go_back(
                        dx, dstep, dpart, pull, slope, here[s], decay[s], before[s], x, step, rate, weights
                    )
                through, dthrough = skip[first:last], dskip[n, first:last]
                for j in range(x.shape[0]):
                    dstep[j] += dx[j] * x[j]
                    dx[j] = dx[j] * step[j] + through[j] * slope[j]
                    dthrough[j] += slope[j] * x[j]


CPU = {
    "turned": bm.kernel(cpu_turned),
    "summed": bm.kernel(cpu_summed),
    "scan": bm.kernel(cpu_scan, cost=100, items=lambda op, inputs, outputs: outputs[1].shape[0]),
    "gradients": bm.kernel(cpu_gradients, cost=400, items=lambda op, inputs, outputs: outputs[6].shape[0]),
}


@bm.cpu_launches
def cpu_forward(call):
    (samples, _, channels), count = call.inputs[0].sizes, call.inputs[2].sizes[1]
    items, lanes = samples * -(-channels // LANES), min(channels, LANES)
    u, delta, a, b, c, skip = (call.input(number) for number in range(6))
    turned, states = call.temporary((count, channels)), call.temporary((items, count, lanes))
    return [
        *call.launch(CPU["turned"], [turned], [a]),
        *call.launch(CPU["scan"], [call.output(0), states], [u, delta, turned, b, c, skip]),
    ]


@bm.cpu_launches
def cpu_backward(call):
    (samples, steps, channels), count = call.inputs[1].sizes, call.inputs[3].sizes[1]
    blocks, length = -(-channels // LANES), piece_length(steps)
    items, lanes = samples * blocks, min(channels, LANES)
    dy, u, delta, a, b, c, skip = (call.input(number) for number in range(7))
    du, ddelta, da, db, dc, dskip = (call.output(number) for number in range(6))
    turned, dturned = call.temporary((count, channels)), call.temporary((count, channels))
    da_parts, dskip_parts = call.temporary((samples, count, channels)), call.temporary((samples, channels))
    db_parts, dc_parts = call.temporary((items, steps, count)), call.temporary((items, steps, count))
    kept = call.temporary((items, max(-(-steps // length), 1), count, lanes))
    states, decays = (call.temporary((items, length, count, lanes)) for _ in range(2))
    pulls = call.temporary((items, count, lanes))
    return [
        *call.launch(CPU["turned"], [turned], [a]),
        *call.launch(
            CPU["gradients"],
            [du, ddelta, da_parts, db_parts, dc_parts, dskip_parts, kept, states, decays, pulls],
            [dy, u, delta, turned, b, c, skip],
        ),
        *summed(call, CPU, dturned, da_parts, 1, samples),
        *call.launch(CPU["turned"], [da], [dturned]),
        *summed(call, CPU, db, db_parts, samples, blocks),
        *summed(call, CPU, dc, dc_parts, samples, blocks),
        *summed(call, CPU, dskip, dskip_parts, 1, samples),
    ]


def summed(call, kernels, out, parts, rows, terms):
    """The launches that add up terms, which lie one after the other in each of some rows."""
    size = math.prod(out.spec.sizes) // max(rows, 1)
    return call.launch(kernels["summed"], [out.reshape(rows, size)], [parts.reshape(rows, terms, size)])


def piece_length(steps):
    """About the square root: as many states are kept for a piece as there are pieces."""
    return math.isqrt(max(steps - 1, 0)) + 1


# On CUDA the steps are cut into pieces so that there are enough threads: one for a channel of a piece, with
# STATES states at once in its registers. `cuda_ends` begins each piece with states of 0; `cuda_carried` then
# adds what comes from the pieces before, which a piece multiplies by exp(a * sum of delta). Gradients go the
# same way back.

STEPS = 16
"""Steps of a piece."""
STATES = 8
"""States that a thread computes at once."""
CHANNELS = 8
"""Channels of which a thread adds up the gradients of b and c."""


def cuda_summed(out, parts, thread, threads):
    size = out.shape[1]
    for item in range(thread, out.shape[0] * size, threads):
        i, j = item // size, item % size
        total = parts.dtype.type(0)
        for k in range(parts.shape[1]):
            total += parts[i, k, j]
        out[i, j] = total


def cuda_ends(ends, totals, u, delta, a, b, reverse, thread, threads):
    """What each piece makes of states of 0, ends (N, pieces, S, D), and the sum of its delta, (N, pieces, D).

    Reverse: the gradients of the states before a piece if those after it are 0; `u` is dy, and `b` is c.
    """
    steps, channels, pieces = u.shape[1], u.shape[2], ends.shape[1]
    zero = u.dtype.type(0)
    state = cuda.local.array(STATES, u.dtype)
    rate = cuda.local.array(STATES, u.dtype)
    for item in range(thread, u.shape[0] * pieces * channels, threads):
        d, n, piece = item % channels, item // channels // pieces, item // channels % pieces
        begin, end = piece * STEPS, min(piece * STEPS + STEPS, steps)
        for first in range(0, a.shape[1], STATES):
            for k in range(STATES):
                state[k] = zero
                rate[k] = a[d, first + k] if first + k < a.shape[1] else zero
            total = zero
            for i in range(begin, end):
                t = end - 1 - (i - begin) if reverse else i
                x, step = u[n, t, d], delta[n, t, d]
                total += step
                for k in range(STATES):
                    if first + k < a.shape[1]:
                        if reverse:
                            state[k] = exp(step * rate[k]) * (state[k] + x * b[n, t, first + k])
                        else:
                            state[k] = exp(step * rate[k]) * state[k] + step * x * b[n, t, first + k]
            for k in range(STATES):
                if first + k < a.shape[1]:
                    ends[n, piece, first + k, d] = state[k]
            totals[n, piece, d] = total


def cuda_carried(states, ends, totals, a, reverse, thread, threads):
    """The states before each piece; reverse: the gradients of those after it."""
    samples, pieces, count, channels = states.shape
    for item in range(thread, samples * count * channels, threads):
        d, s, n = item % channels, item // channels % count, item // channels // count
        state = a.dtype.type(0)
        for i in range(pieces):
            piece = pieces - 1 - i if reverse else i
            states[n, piece, s, d] = state
            state = exp(a[d, s] * totals[n, piece, d]) * state + ends[n, piece, s, d]


def cuda_scan(y, u, delta, a, b, c, skip, states, thread, threads):
    steps, channels, pieces = u.shape[1], u.shape[2], states.shape[1]
    state = cuda.local.array(STATES, u.dtype)
    rate = cuda.local.array(STATES, u.dtype)
    for item in range(thread, u.shape[0] * pieces * channels, threads):
        d, n, piece = item % channels, item // channels // pieces, item // channels % pieces
        for first in range(0, a.shape[1], STATES):
            for k in range(STATES):
                if first + k < a.shape[1]:
                    state[k], rate[k] = states[n, piece, first + k, d], a[d, first + k]
            for t in range(piece * STEPS, min(piece * STEPS + STEPS, steps)):
                x, step = u[n, t, d], delta[n, t, d]
                total = skip[d] * x if first == 0 else y[n, t, d]
                for k in range(STATES):
                    if first + k < a.shape[1]:
                        state[k] = exp(step * rate[k]) * state[k] + step * x * b[n, t, first + k]
                        total += c[n, t, first + k] * state[k]
                y[n, t, d] = total


def cuda_gradients(
    du, ddelta, da, db, dc, dskip, dy, u, delta, a, b, c, skip, states, pulls, thread, threads
):
    """The gradients: of `a` and `skip` by pieces, of `b` and `c` by groups of channels, (N, T, S, groups).

    states, pulls (N, pieces, S, D): states before each piece, and gradients of those after it.
    """
    steps, channels, pieces = u.shape[1], u.shape[2], states.shape[1]
    count, groups = a.shape[1], db.shape[3]
    zero = u.dtype.type(0)
    state = cuda.local.array(STATES, u.dtype)
    pull = cuda.local.array(STATES, u.dtype)
    rate = cuda.local.array(STATES, u.dtype)
    drate = cuda.local.array(STATES, u.dtype)
    before = cuda.local.array((STEPS, STATES), u.dtype)
    for item in range(thread, u.shape[0] * pieces * groups, threads):
        group, n, piece = item % groups, item // groups // pieces, item // groups % pieces
        begin, end = piece * STEPS, min(piece * STEPS + STEPS, steps)
        for d in range(group, channels, groups):  # neighbours read neighbours
            for first in range(0, count, STATES):
                for k in range(STATES):
                    if first + k < count:
                        state[k], rate[k] = states[n, piece, first + k, d], a[d, first + k]
                        pull[k], drate[k] = pulls[n, piece, first + k, d], zero
                for t in range(begin, end):
                    x, step = u[n, t, d], delta[n, t, d]
                    for k in range(STATES):
                        if first + k < count:
                            before[t - begin, k] = state[k]
                            state[k] = exp(step * rate[k]) * state[k] + step * x * b[n, t, first + k]
                dthrough = zero
                for i in range(end - begin):
                    t = end - 1 - i
                    x, step, slope = u[n, t, d], delta[n, t, d], dy[n, t, d]
                    dx, dstep = zero, zero
                    for k in range(STATES):
                        if first + k < count:
                            s = first + k
                            decay = exp(step * rate[k])
                            past, added = decay * before[t - begin, k], step * x
                            change = pull[k] + c[n, t, s] * slope
                            db_before, dc_before = zero, zero
                            if d != group:
                                db_before, dc_before = db[n, t, s, group], dc[n, t, s, group]
                            db[n, t, s, group] = db_before + change * added
                            dc[n, t, s, group] = dc_before + slope * (past + added * b[n, t, s])
                            dx += change * b[n, t, s]
                            dstep += change * past * rate[k]
                            drate[k] += change * past * step
                            pull[k] = change * decay
                    dthrough += slope * x
                    if first == 0:
                        du[n, t, d] = dx * step + skip[d] * slope
                        ddelta[n, t, d] = dstep + dx * x
                    else:
                        du[n, t, d] += dx * step
                        ddelta[n, t, d] += dstep + dx * x
                for k in range(STATES):
                    if first + k < count:
                        da[n, piece, d, first + k] = drate[k]
                dskip[n, piece, d] = dthrough


def by_channel(op, inputs, outputs):
    """A thread for each sample, piece and channel: `outputs[0]` or the last input is (N, pieces, S, D)."""
    samples, pieces, _, channels = (outputs[0] if outputs[0].ndim == 4 else inputs[-1]).sizes
    return samples * pieces * channels


CUDA = {
    "summed": bm.cuda_kernel(cuda_summed),
    "ends": bm.cuda_kernel(cuda_ends, items=by_channel),
    "carried": bm.cuda_kernel(
        cuda_carried, items=lambda op, i, o: math.prod(o[0].sizes) // max(o[0].sizes[1], 1)
    ),
    "scan": bm.cuda_kernel(cuda_scan, items=by_channel),
    "gradients": bm.cuda_kernel(
        cuda_gradients, items=lambda op, i, o: i[-1].sizes[0] * i[-1].sizes[1] * o[3].sizes[3]
    ),
}


def carried(call, scratch, u, delta, a, b, reverse=False):
    """The states before each piece, or reverse, the gradients of those after it; and what finds them."""
    ends, totals = scratch
    states = call.temporary(ends.spec.sizes)
    return states, [
        *call.launch(CUDA["ends"], [ends, totals], [u, delta, a, b], reverse=reverse),
        *call.launch(CUDA["carried"], [states], [ends, totals, a], reverse=reverse),
    ]


def pieces_of(call, u, a):
    """Memory for what `cuda_ends` computes."""
    (samples, steps, channels), count = u.spec.sizes, a.spec.sizes[1]
    pieces = max(-(-steps // STEPS), 1)
    return call.temporary((samples, pieces, count, channels)), call.temporary((samples, pieces, channels))


@bm.cuda_launches
def cuda_forward(call):
    u, delta, a, b, c, skip = (call.input(number) for number in range(6))
    states, launches = carried(call, pieces_of(call, u, a), u, delta, a, b)
    return [*launches, *call.launch(CUDA["scan"], [call.output(0)], [u, delta, a, b, c, skip, states])]


@bm.cuda_launches
def cuda_backward(call):
    dy, u, delta, a, b, c, skip = (call.input(number) for number in range(7))
    du, ddelta, da, db, dc, dskip = (call.output(number) for number in range(6))
    scratch = pieces_of(call, u, a)
    states, forth = carried(call, scratch, u, delta, a, b)
    pulls, back = carried(call, scratch, dy, delta, a, c, reverse=True)
    (samples, pieces, count, channels), steps = states.spec.sizes, u.spec.sizes[1]
    groups = -(-channels // CHANNELS)
    da_parts = call.temporary((samples, pieces, channels, count))
    dskip_parts = call.temporary((samples, pieces, channels))
    db_parts, dc_parts = (call.temporary((samples, steps, count, groups)) for _ in range(2))
    return [
        *forth,
        *back,
        *call.launch(
            CUDA["gradients"],
            [du, ddelta, da_parts, db_parts, dc_parts, dskip_parts],
            [dy, u, delta, a, b, c, skip, states, pulls],
        ),
        *summed(call, CUDA, da, da_parts, 1, samples * pieces),
        *summed(call, CUDA, db, db_parts, samples * steps * count, groups),
        *summed(call, CUDA, dc, dc_parts, samples * steps * count, groups),
        *summed(call, CUDA, dskip, dskip_parts, 1, samples * pieces),
    ]


# The ops.


def composed(u, delta, a, b, c, skip):
    """The scan of ops that exist; see the top of this file for the formula."""

    def step(h, parts):
        u, delta, b, c = parts
        h = ops.exp(ops.expand_dims(delta, -1) * a) * h + ops.expand_dims(delta * u, -1) * ops.expand_dims(
            b, 1
        )
        return h, ops.sum(h * ops.expand_dims(c, 1), axis=-1)

    _, y = ops.scan(step, first_states(u, a), (u, delta, b, c), axis=1)
    return y + skip * u


def composed_gradients(dy, u, delta, a, b, c, skip):
    """The gradients of the scan of ops that exist."""

    def forth(h, parts):
        u, delta, b = parts
        decay = ops.exp(ops.expand_dims(delta, -1) * a)
        after = decay * h + ops.expand_dims(delta * u, -1) * ops.expand_dims(b, 1)
        return after, (decay, h, after)

    def back(carry, parts):
        pull, da = carry
        dy, u, delta, b, c, decay, before, after = parts
        slope = pull + ops.expand_dims(dy, -1) * ops.expand_dims(c, 1)
        pull = slope * decay
        share = pull * before
        dx = ops.sum(slope * ops.expand_dims(b, 1), axis=-1)
        db = ops.sum(slope * ops.expand_dims(delta * u, -1), axis=1)
        dc = ops.sum(after * ops.expand_dims(dy, -1), axis=1)
        da = da + ops.sum(share * ops.expand_dims(delta, -1), axis=0)
        return (pull, da), (dx * delta, ops.sum(share * a, axis=-1) + dx * u, db, dc)

    start = first_states(u, a)
    _, kept = ops.scan(forth, start, (u, delta, b), axis=1)
    (_, da), found = ops.scan(
        back, (start, ops.zeros_like(a)), (dy, u, delta, b, c, *kept), axis=1, reverse=True
    )
    du, ddelta, db, dc = found
    return du + skip * dy, ddelta, da, db, dc, ops.sum(dy * u, axis=(0, 1))


def first_states(u, a):
    """Zeros (N, D, S)."""
    return ops.full((u.shape[0], *a.shape), 0.0, u.dtype)


@dataclass(frozen=True)
class SelectiveScanGradients(bm.Op):
    """The gradients of SelectiveScan for all inputs, from dy (N, T, D) and these.

    Besides inputs and outputs, memory for the states of about 3 * sqrt(T) steps is taken on the CPU, and for
    those of 7 T / 16 steps on CUDA, of which more than half is for sums.
    """

    cpu, cuda = cpu_backward, cuda_backward

    def infer(self, dy, *inputs):
        return inputs

    def decomposed(self, *inputs):
        return composed_gradients(*inputs)


@dataclass(frozen=True)
class SelectiveScan(bm.Op):
    """A linear recurrence with weights that depend on the input (Gu and Dao, 2023), as (N, T, D).

    Inputs: u and delta (N, T, D), a (D, S), b and c (N, T, S), skip (D,), all of one float type. The formula
    is at the top of this file; states begin at 0.
    """

    cpu, cuda = cpu_forward, cuda_forward

    def infer(self, u, delta, a, b, c, skip):
        inputs = (u, delta, a, b, c, skip)
        ranks = tuple(spec.ndim for spec in inputs)
        sizes = dict(zip("NTDS", (*u.shape, *a.shape[-1:]), strict=False))
        wanted = {"u": "NTD", "delta": "NTD", "a": "DS", "b": "NTS", "c": "NTS", "skip": "D"}
        if ranks == (3, 3, 2, 3, 3, 1):
            shapes = [tuple(sizes[name] for name in names) for names in wanted.values()]
            if (
                [spec.shape for spec in inputs] == shapes
                and {spec.dtype for spec in inputs} == {u.dtype}
                and u.is_float
            ):
                return u
        got = ", ".join(f"{name} {spec}" for name, spec in zip(wanted, inputs, strict=True))
        raise bm.errors.ShapeError(
            f"SelectiveScan got {got}; expected u and delta (N, T, D), a (D, S), b and c (N, T, S), skip (D,)"
            " of one float type.",
            fix="turn sequences so that channels are the last axis, and convert: x.astype('float32').",
        )

    def grad(self, dy, y, *inputs):
        return SelectiveScanGradients()(dy, *inputs)

    def decomposed(self, *inputs):
        return (composed(*inputs),)


# The layer.


def uniform(limit: float) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """Initial values from -limit to limit."""
    return lambda generator, shape: generator.uniform(-limit, limit, shape)


def first_log_rates(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The logarithms of 1, 2, 3 and so on, for each channel."""
    return np.broadcast_to(np.log(np.arange(1, shape[1] + 1)), shape)


def first_step_biases(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Biases whose softplus is from 0.001 to 0.1, uniform by logarithm."""
    steps = np.exp(generator.uniform(math.log(1e-3), math.log(1e-1), shape))
    return steps + np.log(-np.expm1(-steps))


@dataclass(frozen=True)
class Mamba(bm.Layer):
    """A selective state-space layer for sequences, (N, T, K) to (N, T, K) (Gu and Dao, 2023).

    The input is widened to D = expand * K channels, and as many gates. A causal convolution along each
    channel and silu follow, then a scan; the input says how long its steps are, what each writes to the
    states and what it reads. The result times silu(gate) is projected back to K. No step sees a later one; T
    may be free.

    Parameters, and their names in the authors' code, of which they have the initial values: `input_weight`
    (K, 2 D), in_proj; `filter` (width, D) and `filter_bias` (D,), conv1d; `selection_weight`
    (D, rank + 2 states), x_proj; `step_weight` (rank, D) and `step_bias` (D,), dt_proj; `log_rates` (D,
    states), A_log; `skip` (D,), D; `output_weight` (D, K), out_proj.

    Args:
        expand: how many channels there are for each feature.
        states: of each channel.
        width: steps that the convolution covers.
        rank: of the matrix that gives the sizes of steps; a sixteenth of K, rounded up, if None.

    Raises:
        ConfigError: a field is no whole number from 1 on.
        ShapeError: the input is no batch of sequences of floats.
    """

    expand: int = 2
    states: int = 16
    width: int = 4
    rank: int | None = None

    def __post_init__(self) -> None:
        for name in ("expand", "states", "width", *(("rank",) if self.rank is not None else ())):
            bm.check_number(self, name, whole=True, at_least=1)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, int], list[tuple[int, ...]]]]:
        """What the conformance kit runs: sizes that CUDA's simulator can do, in several parts."""
        return [({"expand": 5, "states": 9, "rank": 2}, [(2, 34, 2)])]

    def __call__(self, x: bm.Value) -> bm.Value:
        if x.ndim != 3 or not x.spec.is_float or not isinstance(x.shape[2], int) or x.shape[2] < 1:
            raise bm.errors.ShapeError(
                f"Mamba got {x.spec}, expected floats (N, T, K) with a fixed number K of features.",
                fix="give sequences a time axis: x[:, :, None] for one number a step; tokens, an Embedding.",
            )
        features, channels = x.shape[2], self.expand * x.shape[2]
        both = x @ self.parameter("input_weight", (features, 2 * channels), uniform(features**-0.5))
        u, gate = both[..., :channels], both[..., channels:]
        u = ops.silu(self.convolved(u))
        delta, b, c = self.selected(u, self.rank or -(-features // 16))
        log_rates = self.parameter("log_rates", (channels, self.states), first_log_rates)
        skip = self.parameter("skip", (channels,), 1.0)
        y = self.scanned(u, delta, -ops.exp(log_rates), b, c, skip)
        output_weight = self.parameter("output_weight", (channels, features), uniform(channels**-0.5))
        return (y * ops.silu(gate)) @ output_weight

    def convolved(self, x: bm.Value) -> bm.Value:
        """Each step of each channel with the steps before it, by learned weights."""
        weight = self.parameter("filter", (self.width, x.shape[2]), uniform(self.width**-0.5))
        bias = self.parameter("filter_bias", (x.shape[2],), uniform(self.width**-0.5))
        steps = x.shape[1]
        padded = ops.pad(x, {1: (self.width - 1, 0)})
        total = bias
        for k in range(self.width):
            total = total + padded[:, k : steps + k] * weight[k]
        return total

    def selected(self, u: bm.Value, rank: int) -> list[bm.Value]:
        """delta, b and c of each step, of which delta has a matrix of a low rank."""
        channels, states = u.shape[2], self.states
        weight = self.parameter("selection_weight", (channels, rank + 2 * states), uniform(channels**-0.5))
        chosen = u @ weight
        step_weight = self.parameter("step_weight", (rank, channels), uniform(rank**-0.5))
        step_bias = self.parameter("step_bias", (channels,), first_step_biases)
        delta = ops.softplus(chosen[..., :rank] @ step_weight + step_bias)
        return [delta, chosen[..., rank : rank + states], chosen[..., rank + states :]]

    def scanned(self, *inputs: bm.Value) -> bm.Value:
        """The scan of u, delta, a, b, c, skip."""
        return SelectiveScan()(*inputs)


@bm.hookimpl
def bigmodel_layers() -> list[type[bm.Layer]]:
    """The layers of this plugin."""
    return [Mamba]
