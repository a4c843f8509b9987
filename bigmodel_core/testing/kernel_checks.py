"""What holds for the kernels of anything: they keep to their memory, to their outputs, and to any cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from bigmodel_core.graph import Node, Op
from bigmodel_core.kernels.cpu.engine.array import cut_by
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.plan.device import Device
from bigmodel_core.plan.kernel_table import needs_kernel
from bigmodel_core.testing.checks import CheckSkipped, expect, expect_numbers
from bigmodel_core.testing.child import IS_POSSIBLE, Child, Died, isolated
from bigmodel_core.testing.guard_pages import FORMS, GuardedCpu
from bigmodel_core.testing.in_place import InPlace, in_place

FEW = 40
"""Steps of a program that is guarded even if it has no kernels but the core's."""
CUTS = (1, 3)
"""The rows of a piece that kernels are also cut by; where there are few, they are else a single piece."""
NOT_ITS_OWN = (
    "the result depends on memory that nobody wrote: a kernel reads past the end of an array, or from its"
    " output before it wrote there"
)
DEPENDS_ON_CUT = (
    "the result depends on how the work is cut into pieces: a kernel may write the rows from start to stop"
    " of its outputs alone, and read nothing that another piece writes"
)
VARIES = "two runs on the same numbers differ: a kernel may draw no random numbers of its own"
Run = Callable[[], list[np.ndarray]]


def is_of_the_core(op: Op) -> bool:
    """Whether an op is the project's: such ops have tests of their own."""
    return type(op).__module__.partition(".")[0] == "bigmodel_core"


@dataclass
class Work:
    """A program of the CPU with all that it reads.

    Args:
        program: what is computed.
        given: its inputs by name.
        state: its variables by path.
    """

    program: Program
    given: Mapping[str, np.ndarray]
    state: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def has_own_kernels(self) -> bool:
        """Whether an op is of a plugin: the kernels of the core have guards in its own tests."""
        return bool(self._own())

    def up_to_each(self) -> Iterator[tuple[str, Work]]:
        """What each of a plugin's ops gives, in their order, and what it and its kernel are called."""
        for node in sorted(self._own(), key=lambda node: node.index):
            program = Program(self.program.graph, node.outputs, device=self.program.device)
            kernel = node.op.kernel("cpu")
            function = getattr(kernel, "function", None) or getattr(kernel, "choose", kernel)
            name = f"{type(node.op).__name__}, kernel {getattr(function, '__name__', '')}"
            yield name, Work(program, self.given, self.state)

    def in_place(self) -> list[InPlace]:
        """The ops of plugins whose output may take over the memory of an input, on the program's device."""
        nodes = sorted(self._own(), key=lambda node: node.index)
        return in_place(self.program.device, nodes, self.given, self.state)

    def _own(self) -> list[Node]:
        return [node for node in self._nodes() if not is_of_the_core(node.op) and needs_kernel(node.op)]

    @property
    def rounds_by_piece(self) -> bool:
        """Whether an op may add up numbers piece by piece of what it follows, if it can."""
        return any(
            getattr(node.op.kernel("cpu"), "follows", None) is not None
            for node in self._nodes()
            if needs_kernel(node.op)
        )

    def _nodes(self) -> list[Node]:
        return [node for step in self.program.steps for part in step.parts() for node in part.nodes]

    @property
    def is_small(self) -> bool:
        """Whether the kernels are few."""
        return len(self.program.steps) <= FEW

    def on(self, device: Device) -> Run:
        """What runs it once on a device, everything compiled; gives its outputs and new variables."""
        variables = Variables(device)
        for path, array in self.state.items():
            variables.create(path, array)
        given = {name: self.given[name] for name in self.given if name in self.program.inputs}
        plan = device.plan(self.program, self.program.sizes(self.given), variables)
        if isinstance(device, GuardedCpu):
            given = {name: device.array(array, is_frozen=False) for name, array in given.items()}
        return lambda: [*plan.run(given), *(variables.read(path) for path in self.state)]


def check_survives(run: Callable[[], None], works: Callable[[], Sequence[Work]]) -> None:
    """Something runs in a copy of the process; where that dies of what guard pages find, nothing is said: the
    check "stays in its memory", which is next, names the kernel, too.

    Args:
        run: what is run.
        works: makes the work that it does.
    """
    try:
        isolated(run)
    except Died:
        try:
            check_memory(works())
        except AssertionError:
            return
        raise


def check_memory(works: Sequence[Work]) -> None:
    """Kernels read and write their own arrays alone, and read nothing that nobody wrote: unreadable pages
    surround all memory, and new memory holds NaN, then huge numbers."""
    child, works = _child(), _looked_at(works)
    pairs = []
    for work in works:
        for form in FORMS:
            change = partial(_guarded, child=child, form=form, how=f"with guard pages at the {form}")
            pairs.append(Pair(work, change, change(work), work.on(device_named("cpu"))))
    in_place = [found for work in works for found in work.in_place()]

    def run() -> None:
        _compare(pairs, NOT_ITS_OWN)
        for found in in_place:
            child.say(f"{found.name}, with the output in the memory of an input")
            found.check()

    child.run(run)


def check_inputs_kept(works: Sequence[Work]) -> None:
    """No kernel, forward or backward, writes to what it reads."""
    child, works = _child(), _looked_at(works)
    runs = [work.on(GuardedCpu(FORMS[0], child.say)) for work in works]
    child.run(lambda: _run_all(runs))


def check_cuts(works: Sequence[Work]) -> None:
    """One piece, pieces of one row and of three, the last piece first: all give the same bits, for kernels
    that take start and stop."""
    child, own = _child(), [work for work in works if work.has_own_kernels]
    if not own:
        raise CheckSkipped("it has no kernel of its own")
    pairs = []
    for work in own:
        for rows in CUTS:
            how = f"cut into pieces of {rows} rows"
            make = partial(_guarded, child=child, form=FORMS[0], how=how, is_backwards=True)
            with cut_by(rows) as kernels:
                otherwise = make(work)
            if kernels:
                pairs.append(Pair(work, partial(_cut, rows, make), otherwise, work.on(device_named("cpu"))))
    child.run(lambda: _compare(pairs, DEPENDS_ON_CUT))


def check_threads(works: Sequence[Work]) -> None:
    """1, 2 and 8 threads give the same bits, planned and run anew for each; the most threads first, so that
    they find nothing that another run left behind."""
    from bigmodel_core.kernels.cpu.engine.threads import num_threads, set_num_threads

    before, found = num_threads(), {}
    try:
        for count in (8, 2, 1):
            set_num_threads(count)
            found[count] = [array for work in works for array in work.on(device_named("cpu"))()]
    finally:
        set_num_threads(before)
    for count in (2, 8):
        expect_same(found[1], found[count], f"1 and {count} threads")


def expect_same(left: Sequence[np.ndarray], right: Sequence[np.ndarray], what: str) -> None:
    """Raise AssertionError unless two results have the same bits, and numbers."""
    for number, (a, b) in enumerate(zip(left, right, strict=True)):
        expect_numbers(a, b, f"{what}, array {number}")
        gaps = np.abs(np.subtract(a, b, dtype=float))  # of truth values, too
        expect(np.array_equal(a, b), f"{what} differ in array {number}, at most by {np.max(gaps, initial=0)}")


def _run_all(runs: Sequence[Run]) -> None:
    for run in runs:
        run()


def _looked_at(works: Sequence[Work]) -> list[Work]:
    """Those with kernels of their own, and others as long as they are small."""
    found = [work for work in works if work.has_own_kernels or work.is_small]
    if not found:
        raise CheckSkipped(
            "it has no kernel of its own, and many of bigmodel_core's, which have guards there"
        )
    return found


def _child() -> Child:
    if not IS_POSSIBLE:
        raise CheckSkipped("this system has no fork, mmap and mprotect")
    return Child()


@dataclass
class Pair:
    """Work that is done as usual and otherwise.

    Args:
        work: the work.
        change: how other work is done otherwise.
        otherwise: what does it so.
        usual: what does it as usual.
    """

    work: Work
    change: Callable[[Work], Run]
    otherwise: Run
    usual: Run


def _compare(pairs: Sequence[Pair], problem: str) -> None:
    """Raise AssertionError where the two ways give other bits; it names the first op of a plugin at fault."""
    for pair in pairs:
        if _are_same(pair.otherwise(), pair.usual(), pair.work.rounds_by_piece):
            continue
        for name, part in pair.work.up_to_each():
            usual = part.on(device_named("cpu"))
            first = [array.copy() for array in usual()]
            if not _are_same(first, usual(), may_round=False):
                raise AssertionError(f"{name}: {VARIES}")
            if not _are_same(pair.change(part)(), first, part.rounds_by_piece):
                raise AssertionError(f"{name}: {problem}")
        raise AssertionError(problem)


def _cut(rows: int, make: Callable[[Work], Run], work: Work) -> Run:
    with cut_by(rows):
        return make(work)


def _guarded(work: Work, child: Child, form: str, how: str, is_backwards: bool = False) -> Run:
    def note(text: str) -> None:
        child.say(f"{text} ({how})")

    return work.on(GuardedCpu(form, note, is_backwards, compares_inputs=False))


def _are_same(found: list[np.ndarray], usual: list[np.ndarray], may_round: bool) -> bool:
    """Whether all bits are the same; or all numbers nearly, where sums may be rounded otherwise."""
    return all(
        one.tobytes() == other.tobytes()
        or (may_round and np.allclose(one, other, 1e-5, 1e-5 * np.max(np.abs(other), initial=0)))
        for one, other in zip(found, usual, strict=True)
    )
