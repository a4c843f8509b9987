"""Kernels stay in the memory they are given, and their results do not depend on how their work is cut."""

from __future__ import annotations

from functools import partial
from typing import Any

from bigmodel_core.kernels.cpu.engine.array import cut_into
from bigmodel_core.plan import Program, device_named
from bigmodel_core.plan.cpu_plan import path_of
from bigmodel_core.plan.kernel_table import needs_kernel
from bigmodel_core.testing.backward import Backward
from bigmodel_core.testing.checks import CheckSkipped, expect
from bigmodel_core.testing.guard_pages import IS_POSSIBLE, Run, alone, fault_of
from bigmodel_core.testing.layer_subject import LayerSubject

ELEMENTS = 97
"""Elements of a chunk: few and odd, so that a chunk ends in the middle of everything."""
MEANINGS = {
    "it uses numbers that are not its own": "its numbers depend on how the work is cut into chunks, on their"
    " order, or on memory that nothing was written to",
    ": SIGSEGV": ": it reads or writes where it may not (SIGSEGV): beside its arrays, or into what it reads",
    ": SIGBUS": ": it reads or writes where it may not (SIGBUS): beside its arrays, or into what it reads",
}
"""What faults mean to the author of a kernel."""
FEWER = 10
"""How many times fewer samples do for chunks that are so small."""


def check_memory(subject: LayerSubject) -> None:
    """Between guard pages, and with its work cut otherwise, everything comes to the same bits; no kernel
    writes into what it reads."""
    if not IS_POSSIBLE:
        raise CheckSkipped("it needs mmap, mprotect and fork")
    backward = Backward(subject.network())
    program = backward.program(device_named("cpu"))
    own = [node for node in program.nodes if needs_kernel(node.op) and is_foreign(type(node.op))]
    if not own:
        raise CheckSkipped("it has no kernel of its own")
    arrays = subject.arrays(max(subject.many // FEWER, 8))
    given = backward.given(program, arrays)
    paths = [path_of(value) for value in program.variables]
    known = given | {path: backward.network.variables.read(path) for path in paths}
    _expect_no_fault(Run("forward and backward", backward.program, known))
    values = list({id(value): value for node in own for value in node.inputs}.values())
    inner = Run("inputs", lambda device: Program(program.graph, values, device=device), known)
    found = dict(zip(map(id, values), inner.on(device_named("cpu"))(), strict=False))
    sizes = program.sizes(given)
    for node in own:
        read = {f"x{number}": found[id(value)] for number, value in enumerate(node.inputs)}
        _expect_no_fault(Run(f"{type(node.op).__name__} alone", partial(alone, node, sizes), read))


def _expect_no_fault(run: Run) -> None:
    fault, _, _ = fault_of([run], partial(cut_into, ELEMENTS)).partition("\n")
    for said, meant in MEANINGS.items():
        fault = fault.replace(said, meant)
    expect(not fault, fault)


def is_foreign(op: type[Any]) -> bool:
    """Whether an op is not of the core, whose kernels are all tested so."""
    return op.__module__.partition(".")[0] != "bigmodel_core"
