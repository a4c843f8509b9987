"""The table walker: one native call runs a whole plan, on a thread pool that lives outside the interpreter.

A plan is a table with a row for each launch: kernel address, context address, the address of a link, number
of chunks, or `BRANCH`: the first integer of the context then says how many rows further the run goes on, or
back. A link (kernel address, context address, the next link) is what runs on each chunk right after, while
its data is in the cache; 0 for none. Chunks are fixed by shapes and never by threads, which is why
results have the same bits at any thread count.

The pool is a block of integers shared by the caller and the workers:

    tickets  for each share of a job: end | next chunk, in one integer, so that a chunk is taken by a single
             atomic addition and a worker that comes late can never mistake one job for another
    done     chunks that are finished
    busy     1 while a caller uses the pool; a second caller runs its chunks itself
"""

from __future__ import annotations

from bigmodel_core.kernels.cpu.engine.memory import (
    atomic_add,
    atomic_exchange_if,
    atomic_load,
    atomic_store,
    call_c,
    call_kernel,
    load_int,
    pause,
    store_int,
)
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.status import CODE, KERNEL_RAISED, OK

ROW = 5
"""Integers in a row of the table: kernel, context, first link, chunks, status."""
BRANCH = -1
"""In the place of the number of chunks: the kernel runs once, and the run may go on elsewhere."""
LINK = 3
"""Integers in a link, which are those that a row starts with: kernel, context, next link."""

# Slots of the pool, eight integers (one cache line) apart where threads write.
STARTED, DONE, BUSY, QUIT, SLEEPERS, JOB, WORKERS = 0, 8, 16, 24, 32, 40, 48
WAIT, WAIT_ARGUMENT, POST, YIELD, SHARES = 49, 50, 51, 52, 53
TICKETS = 64
MOST_SHARES = 16
"""A job's chunks are cut into so many runs at most, one for each thread."""
POOL_SIZE = TICKETS + 8 * MOST_SHARES

COUNT_BITS = 32
COUNT_MASK = (1 << COUNT_BITS) - 1
IDLE_SPINS = 40_000
"""How often an idle worker looks for work before it sleeps: about half a millisecond, so that it is still
there for the next step of a training loop."""
WAITING_SPINS = 4_000
"""How often a caller looks whether the workers are done before it offers its core to others."""


def run_chunk(row, chunk):
    link = row
    while link != 0:
        if call_kernel(load_int(link, 0), load_int(link, 1), chunk) != 0:
            store_int(load_int(row, 4), CODE, KERNEL_RAISED)
            return
        link = load_int(link, 2)


def is_taken(ticket):
    """Whether all chunks of a share are."""
    return (ticket & COUNT_MASK) >= (ticket >> COUNT_BITS)


def take_chunks(pool, thread):
    """Run chunks of the published job until none is left; returns how many this thread ran.

    It begins with its own share: what it reads there it wrote itself in the job before, if that had as many
    chunks, and finds it in its own cache.
    """
    ran = 0
    shares = load_int(pool, SHARES)
    for number in range(shares):
        place = pool + (TICKETS + (thread + number) % shares * 8) * 8
        while not is_taken(atomic_load(place)):
            ticket = atomic_add(place, 1)
            if is_taken(ticket):
                break
            run_chunk(load_int(pool, JOB), ticket & COUNT_MASK)
            atomic_add(pool + DONE * 8, 1)
            ran += 1
    return ran


def run_parallel(pool, row, chunks):
    shares = min(load_int(pool, WORKERS) + 1, chunks, MOST_SHARES)
    store_int(pool, JOB, row)
    store_int(pool, SHARES, shares)
    atomic_store(pool + DONE * 8, 0)
    for number in range(shares):
        first, end = chunks * number // shares, chunks * (number + 1) // shares
        atomic_store(pool + (TICKETS + number * 8) * 8, (end << COUNT_BITS) | first)
    sleeping = atomic_load(pool + SLEEPERS * 8)
    if sleeping > 0 and load_int(pool, POST) != 0:
        for _ in range(min(sleeping, chunks - 1)):
            call_c(load_int(pool, POST), load_int(pool, WAIT_ARGUMENT))
    take_chunks(pool, 0)
    spins = 0
    while atomic_load(pool + DONE * 8) < chunks:
        pause()
        spins += 1
        if spins > WAITING_SPINS:
            call_c(load_int(pool, YIELD), 0)


def run(table, steps, pool, status):
    """Run the steps of a table; stops after the step that sets the status. Returns that step, or -1."""
    owner = 0
    if load_int(pool, WORKERS) > 0:
        owner = atomic_exchange_if(pool + BUSY * 8, 0, 1)
    failed = -1
    step = 0
    while step < steps:
        row = table + step * (ROW * 8)
        chunks = load_int(row, 3)
        onward = 1
        if chunks == BRANCH:
            run_chunk(row, 0)
            onward = load_int(load_int(row, 1), 0)
        elif chunks == 1 or owner == 0:
            for chunk in range(chunks):
                run_chunk(row, chunk)
        elif chunks > 1:
            run_parallel(pool, row, chunks)
        if load_int(status, CODE) != OK:
            failed = step
            break
        step += onward
    if owner == 1:
        atomic_store(pool + BUSY * 8, 0)
    return failed


def has_chunks(pool):
    """Whether a chunk is left to take."""
    for number in range(load_int(pool, SHARES)):
        if not is_taken(atomic_load(pool + (TICKETS + number * 8) * 8)):
            return True
    return False


def work(pool):
    """What a worker thread does until the pool is closed: spin a while for work, then sleep."""
    thread = atomic_add(pool + STARTED * 8, 1) + 1
    idle = 0
    while atomic_load(pool + QUIT * 8) == 0:
        if take_chunks(pool, thread) > 0:
            idle = 0
        else:
            pause()
            idle += 1
        if idle > IDLE_SPINS:
            atomic_add(pool + SLEEPERS * 8, 1)
            if not has_chunks(pool) and atomic_load(pool + QUIT * 8) == 0:
                call_c(load_int(pool, WAIT), load_int(pool, WAIT_ARGUMENT))
            atomic_add(pool + SLEEPERS * 8, -1)
            idle = 0
    return 0


RUN = NativeFunction(run, "intp(intp, intp, intp, intp)")
WORK = NativeFunction(work, "intp(intp)")
