"""A program at some sizes: the specs and buffers of its values, and how long each buffer is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bigmodel_core.graph import LEAVES, Input, Node, Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.call import Call
from bigmodel_core.plan.arenas import Sized
from bigmodel_core.plan.capacity import check_capacity
from bigmodel_core.plan.placement import Lifetime, offsets_of
from bigmodel_core.plan.steps import Step

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program

SMALLER = "use smaller batches or layers."
"""The fix where a run needs too much memory."""


Buffer = TypeVar("Buffer", bound=Sized)


class BoundProgram(Generic[Buffer]):
    """What is the same for all devices when a program is bound to sizes.

    Args:
        program: what to compute.
        sizes: the sizes of named dimensions.
        leaf: gives the buffer of an input, variable or constant.
        make: makes a buffer of a number of bytes, not yet placed.
        results: the buffers of the program's outputs, if they have any yet.

    Attributes:
        buffers: by the id of a value.
        scratch: temporary memory of kernels, each with the number of its step.
    """

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        leaf: Callable[[Value, Spec], Buffer],
        make: Callable[[int], Buffer],
        results: Sequence[Buffer] = (),
    ) -> None:
        self.program, self.sizes, self._make, self._leaf = program, sizes, make, leaf
        self.scratch: list[tuple[Buffer, int]] = []
        self._inside: list[tuple[Buffer, list[tuple[Buffer, int]]]] = []
        self._specs: dict[int, Spec] = {}
        self.buffers: dict[int, Buffer] = {}
        self._check_capacity()
        leaves = (*program.inputs.values(), *program.variables, *program.constants)
        for value in leaves:
            self.buffers[id(value)] = leaf(value, self.spec(value))
        for value, buffer in zip(program.outputs, results, strict=False):
            self.buffers[id(program.root(value))] = buffer
        self._fixed = {id(buffer) for buffer in self.buffers.values()}

    def _check_capacity(self) -> None:
        """Refuse sizes at which a single value is too large, before anything is split into chunks."""
        values = (value for node in self.program.nodes for value in node.outputs)
        largest = max(values, key=lambda value: self.spec(value).nbytes, default=None)
        if largest is not None:
            needed, node = self.spec(largest).nbytes, largest.node
            place = node.place or (None if isinstance(node.op, LEAVES) else type(node.op).__name__)
            check_capacity(needed, f"a run at {self.described()} needs", SMALLER, place)

    @property
    def padding(self) -> int:
        """Bytes behind each temporary that may be read."""
        return 0

    def described(self) -> str:
        """The sizes for people: "N = 64, T = 50"."""
        return ", ".join(f"{name} = {size}" for name, size in self.sizes.items()) or "fixed sizes"

    def spec(self, value: Value) -> Spec:
        """A value's spec with all sizes known."""
        found = self._specs.get(id(value))
        if found is None:
            found = self._specs[id(value)] = value.spec.bind(self.sizes)
        return found

    def buffer(self, value: Value) -> Buffer:
        """The memory of a value."""
        root = self.program.root(value)
        found = self.buffers.get(id(root))
        if found is None:
            found = self.buffers[id(root)] = self._make(self.spec(root).nbytes)
        return found

    def buffers_of(self, step: Step) -> tuple[list[Buffer], list[Buffer]]:
        """The memory of a step's inputs and outputs; what becomes a variable's new value in place is that
        variable's, and what changes a value in place that value's."""
        for position, value in step.takes.items():
            self.buffers[id(step.outputs[position])] = self.buffer(value)
        for position, variable in step.writes.items():
            self.buffers[id(step.outputs[position])] = self.buffers[id(variable)]
        inputs, outputs = ([self.buffer(value) for value in values] for values in (step.inputs, step.outputs))
        return inputs, outputs

    def call_of(self, step: Step, number: int, status: Any) -> Call:
        """The op of a step as its kernel sees it.

        Args:
            step: a step that is no fused chain.
            number: its number, or that of the step whose epilogue it is.
            status: where kernels report a failure.
        """
        node = step.node
        return Call(
            node.op.bind(self.sizes),
            tuple(self.spec(value) for value in node.inputs),
            tuple(self.spec(value) for value in node.outputs),
            tuple(self.buffer(value) for value in node.inputs),
            tuple(self.buffer(value) for value in node.outputs),
            lambda count: self.new_scratch(count, number),
            status,
            lambda inputs, outputs: self._body(node, number, inputs, outputs),
            frozenset(n for n, value in enumerate(node.inputs) if id(value) in self.program.unchanging),
            frozenset(n for n, value in enumerate(node.outputs) if id(value) not in self.program.read),
        )

    def _body(self, node: Node, number: int, inputs: Sequence[Any], outputs: Sequence[Any]) -> Sequence[Any]:
        """The launches of the body of an op.

        Args:
            node: which has one.
            number: its step.
            inputs, outputs: their memory.
        """
        raise NotImplementedError

    def _leaf_inside(self, inputs: Sequence[Buffer]) -> Callable[[Value, Spec], Buffer]:
        """Gives the buffers of leaves of a body."""

        def leaf(value: Value, spec: Spec) -> Buffer:
            op = value.node.op
            return inputs[int(op.name)] if isinstance(op, Input) else self._leaf(value, spec)

        return leaf

    def _put_inside(self, bound: BoundProgram[Buffer], number: int) -> None:
        """Give the temporaries of a body, which are the same at each of its steps, a block of memory."""
        places, total = bound.places()
        self._inside.append((self.new_scratch(total, number), places))

    def places(self, kept: Iterable[Buffer] = ()) -> tuple[list[tuple[Buffer, int]], int]:
        """Where each temporary is in one block of memory, and how large the block is.

        Args:
            kept: buffers that are read after the last step, as outputs are.
        """
        found = self.lifetimes(kept)
        offsets, total = offsets_of([lifetime for _, lifetime in found], self.padding)
        places = [(buffer, offset) for (buffer, _), offset in zip(found, offsets, strict=True)]
        at = {id(buffer): offset for buffer, offset in places}
        for block, inner in self._inside:
            places += [(buffer, at[id(block)] + offset) for buffer, offset in inner]
        return places, total

    def new_scratch(self, count: int, step: int) -> Buffer:
        """Scratch memory, in bytes, for the kernels of a step."""
        buffer = self._make(count)
        self.scratch.append((buffer, step))
        return buffer

    def lifetimes(self, kept: Iterable[Buffer] = ()) -> list[tuple[Buffer, Lifetime]]:
        """The temporaries, and from which step to which each is needed.

        Args:
            kept: buffers that are read after the last step, as outputs are.
        """
        steps = self.program.steps
        first: dict[int, tuple[Buffer, int]] = {}
        last: dict[int, int] = {}
        for number, step in enumerate(steps):
            for part in step.parts():
                for value in (*part.inputs, *part.outputs):
                    buffer = self.buffers[id(self.program.root(value))]
                    first.setdefault(id(buffer), (buffer, number))
                    last[id(buffer)] = number
        read = [self.buffers[id(self.program.root(value))] for value in self.program.outputs]
        for buffer in (*read, *kept):
            last[id(buffer)] = len(steps)
        found = [
            (buffer, Lifetime(buffer.nbytes, begin, last[key]))
            for key, (buffer, begin) in first.items()
            if key not in self._fixed
        ]
        return [*found, *((buffer, Lifetime(buffer.nbytes, n, n)) for buffer, n in self.scratch)]
