"""Every kernel of the CPU reads and writes where it may: unreadable pages surround its memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from bigmodel_core.graph import Op
from bigmodel_core.kernels.cpu.engine.launch import PADDING, CpuBuffer
from bigmodel_core.ops.recurrent import Recurrent
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.plan.cpu_program import CpuProgram
from bigmodel_core.plan.kernel_table import known_ops
from bigmodel_core.testing.child import IS_POSSIBLE, Child
from bigmodel_core.testing.guard_pages import FORMS, GuardedCpu
from tests.kernels.guard_cases import (
    CASES,
    Arrays,
    alone,
    arrays_of,
    normal,
    predicting,
    program_of,
    with_kernels_of_their_own,
)

CPU = device_named("cpu")
pytestmark = pytest.mark.skipif(not IS_POSSIBLE, reason="needs mmap, mprotect and fork")


@dataclass
class Run:
    """A program to run as it is, and between guard pages.

    Args:
        name: for people.
        make: makes the program for a device.
        arrays: its inputs and variables.
        compared: how many of its outputs have a meaning everywhere.
    """

    name: str
    make: Callable[[Any], Program]
    arrays: Arrays
    compared: int | None = None

    def on(self, device: Any) -> Callable[[], list[np.ndarray]]:
        """What runs the program on a device, everything compiled, and gives its outputs and variables."""
        program, variables = self.make(device), Variables(device)
        paths = [value.node.op.path for value in program.variables]
        for path in paths:
            variables.create(path, self.arrays[path])
        given = {name: self.arrays[name] for name in program.inputs if name in self.arrays}
        plan = program.plan(variables, program.sizes(given))
        if isinstance(device, GuardedCpu):
            given = {name: device.array(array) for name, array in given.items()}
        return lambda: [*plan.run(given)[: self.compared], *(variables.read(path) for path in paths)]


def runs_of(name: str, dtype: str) -> Iterator[Run]:
    """A case as a whole, and each of its ops alone, where it reads the arrays of the caller."""
    case = CASES[name]
    arrays = arrays_of(case, dtype)
    if case.is_about_chains or dtype == case.dtypes[0]:
        yield Run("all of it", lambda device: program_of(case, arrays, device), arrays)
    if "w" in arrays:
        yield Run("predictions", lambda device: predicting(case, arrays, device), arrays)
    program = program_of(case, arrays)
    sizes = program.sizes(arrays)
    nodes = {
        (node.op, *(value.spec for value in node.inputs)): node for node in with_kernels_of_their_own(program)
    }
    values = {id(value): value for node in nodes.values() for value in node.inputs}
    # Floats may be any; labels, positions and the like are those of the case.
    computed = [value for value in values.values() if not value.spec.is_float]
    inner = Run(name, lambda device: Program(program.graph, computed, device=device), arrays)
    found = {id(v): np.abs(normal(*v.spec.bind(sizes).sizes)).astype(v.dtype) for v in values.values()}
    found.update(zip(map(id, computed), inner.on(CPU)() if computed else (), strict=False))
    for node in nodes.values():
        given = {f"x{n}": found[id(value)] for n, value in enumerate(node.inputs)}
        # What a recurrent layer keeps for its gradient has no meaning where a row has ended.
        compared = 1 + node.op.states if isinstance(node.op, Recurrent) else None
        yield Run(repr(node.op), lambda device, node=node: alone(node, sizes, device), given, compared)


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name, case in CASES.items() for dtype in case.dtypes]
)
def test_kernels_read_and_write_where_they_may(name: str, dtype: str) -> None:
    child = Child()
    ready = []
    for run in runs_of(name, dtype):
        expected = run.on(CPU)()
        for form in FORMS:

            def note(text: str, run: Run = run, form: str = form) -> None:
                child.say(f"{run.name}, guard pages at the {form}: {text}")

            ready.append((run.on(GuardedCpu(form, note)), expected))

    def work() -> None:
        for guarded, expected in ready:
            for ours, usual in zip(guarded(), expected, strict=True):
                assert ours.tobytes() == usual.tobytes(), "it uses numbers that are not its own"

    child.run(work)


def ops_of(program: Program) -> set[type[Op]]:
    """The ops whose kernels a program runs."""
    parts = [part for step in program.steps for part in step.parts()]
    return {type(node.op) for part in parts for node in part.nodes}


def test_the_cases_use_every_op() -> None:
    used = set[type[Op]]()
    for case in CASES.values():
        used |= ops_of(program_of(case, arrays_of(case, case.dtypes[0])))
    assert [op.__name__ for op in known_ops({"bigmodel_core"}) if op.kernel("cpu") and op not in used] == []


def test_the_cases_use_what_is_chosen_for_few_rows_and_kept_weights() -> None:
    choices = set[str]()
    for case in CASES.values():
        arrays = arrays_of(case, case.dtypes[-1])
        if "w" in arrays:
            program = predicting(case, arrays)
            steps = CPU.listing(program, {})
            choices |= {kernel.choice for step in steps for kernel in step.kernels}
    for words in ({"in", "panels"}, {"units", "chunk"}, {"direct,", "filters", "chunk"}):
        assert any(words <= {*choice.split()} for choice in choices), words


# Padding --------------------------------------------------------------------------------------------------


def test_temporaries_have_padding() -> None:
    """Whatever lives at the same time lies so far apart."""
    case = CASES["block"]
    program = program_of(case, arrays_of(case, "float32"))
    bound = CpuProgram(program, {}, lambda value, spec: CpuBuffer(spec.nbytes), CpuBuffer(64))
    places, total = bound.places()
    lives = [(offset, life) for (_, offset), (_, life) in zip(places, bound.lifetimes(), strict=True)]
    assert len(lives) > 5
    for (at, life), (other_at, other) in itertools.permutations(lives, 2):
        assert at + life.nbytes + PADDING <= total
        if at <= other_at and life.first <= other.last and other.first <= life.last:
            assert at + life.nbytes + PADDING <= other_at


def test_inputs_have_padding() -> None:
    case = CASES["block"]
    arrays = arrays_of(case, "float32")
    program = program_of(case, arrays)
    plan = program.plan(Variables(CPU), program.sizes(arrays))
    ends = sorted((buffer.address, buffer.address + buffer.nbytes) for buffer, _ in plan._inputs.values())
    memory = plan.arena.memory
    starts = [start for start, _ in ends[1:]] + [memory.address + memory.array.nbytes]
    assert all(end + PADDING <= start for (_, end), start in zip(ends, starts, strict=True))


@pytest.mark.parametrize("size", [1, 64, 67])
def test_variables_have_padding(size: int) -> None:
    variables = Variables(CPU)
    variables.create("v", np.zeros(size, "float32"))
    memory = variables.memory("v")
    block = memory._raw
    assert memory.address + size * 4 + PADDING <= block.ctypes.data + block.nbytes
