"""What the sessions of a model run: a call, a new beginning, a new order of the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import GraphError, ShapeError
from bigmodel_core.graph import Graph, Input, Node, Value, needed
from bigmodel_core.graph.spec import Dim, Spec, dim_names, format_shape
from bigmodel_core.ops import gather, transpose
from bigmodel_core.ops.carried import PAST, Carried, growing_axis

if TYPE_CHECKING:
    from bigmodel_core.nn.network import Network
    from bigmodel_core.plan import Program

INDICES = "~indices"
"""The name of the input that says how a batch is reordered."""

FIXED = "~fixed/"
"""What the path of an input that stays the same in all calls begins with."""

MOST_SIZES = 16
"""Fixed sizes of inputs, other than its own, for which a model is kept ready; the oldest go first."""


@dataclass(frozen=True)
class Programs:
    """What the sessions of a network run.

    Args:
        states: what is carried, by path; of sizes only the batch's is free.
        fixed: inputs that stay the same in all calls, by path.
        growing: the axes along which states grow, by path.
        added: how many steps a call adds to these; None if there are none.
        longer: of outputs that are as long as what is remembered, the number, the axis and its size.
        batch: the batch's size, or the name that stands for it.
        made_call, made_read: make `call` and `read`.
        reset: gives each state its initial value.
        reorder: takes other samples of each state.
    """

    states: Mapping[str, Spec]
    fixed: Mapping[str, Spec]
    growing: Mapping[str, int]
    added: Dim | None
    longer: Sequence[tuple[int, int, Dim]]
    batch: Dim
    made_call: Callable[[], Program]
    made_read: Callable[[], Program]
    reset: Program
    reorder: Program

    @classmethod
    def of(cls, network: Network, capacity: int, fixed: int) -> Programs:
        """Those of a network.

        Args:
            network: the model.
            capacity: for how many steps states that grow have memory.
            fixed: how many of its inputs, the last ones, stay the same in all calls.

        Raises:
            GraphError: it carries no state, or a state begins with what depends on the input.
            ShapeError: a state has a free dimension that is not the batch's.
        """
        from bigmodel_core.plan import Computation, Program, replaced
        from bigmodel_core.plan.growth import Growth, added

        trace = network.trace(training=False)
        if not trace.carried:
            raise GraphError(
                "nothing in the model carries state from call to call.",
                fix="call the model itself; or let layers carry state: bm.layers.LSTM(16, carry=True).",
            )
        batch: Dim = network.inputs[0].shape[0] if network.inputs[0].ndim else 1
        if not isinstance(batch, int) and dim_names(batch) != {batch}:
            raise ShapeError(f"{batch} cannot be a batch size.", fix="give the batch a name of its own.")
        axes = {path: growing_axis(value.spec) for path, value in trace.carried.items()}
        growing = {path: axis for path, axis in axes.items() if axis is not None}
        states = {path: _of_capacity(value.spec, capacity) for path, value in trace.carried.items()}
        for path, value in trace.carried.items():
            if odd := states[path].names() - dim_names(batch):
                raise ShapeError(
                    f"the state is {format_shape(value.shape)}, but {sorted(odd)[0]} may differ from call to"
                    " call.",
                    fix="only the batch may be free in the shape of a state.",
                    where=path,
                )
            if any(value.node is node for value in trace.inputs for node in needed([trace.carried[path]])):
                raise GraphError("a state cannot begin with what depends on the input.", where=path)
        first = len(network.inputs) - fixed
        stays = dict(zip(network.input_names[first:], network.inputs[first:], strict=True))
        grown = Growth(states)

        def kept(node: Node, inputs: Sequence[Value]) -> Sequence[Value] | None:
            if isinstance(node.op, Carried):
                return [inputs[0].node.graph.variable(node.op.path, states[node.op.path])]
            given = [
                value.node.graph.variable(FIXED + value.node.op.name, value.spec)
                if isinstance(value.node.op, Input) and value.node.op.name in stays
                else value
                for value in inputs
            ]
            found = grown(node, given)
            return given[0].node.graph.repeat(node, given).outputs if found is None and given else found

        def made(computation: Computation) -> Program:
            found = computation
            return Program(
                found.graph,
                found.outputs,
                found.updates,
                device=network.device,
                keeps=True,
                settled={name for spec in stays.values() for name in spec.names()},
            )

        updates = dict(trace.carried_updates)
        call = Computation(trace.graph, trace.outputs, updates, [])
        read = Computation(trace.graph, [], updates, [])
        begun = {path: value for path, value in trace.carried.items() if path not in growing}
        reset = Computation(trace.graph, [], begun, [])
        return cls(
            states,
            {FIXED + name: spec for name, spec in stays.items()},
            growing,
            added(trace.carried_updates),
            [
                (place, axis, dim)
                for place, value in enumerate(trace.outputs)
                for axis, dim in enumerate(value.shape)
                if PAST in dim_names(dim)
            ],
            batch,
            lambda: made(replaced(call, kept)),
            lambda: made(replaced(read, kept)),
            made(replaced(reset, lambda node, inputs: None)),
            made(_reordering(states, batch)),
        )

    def sizes(self, batch_size: int) -> dict[str, int]:
        """The sizes of named dimensions, as far as states have them."""
        return {self.batch: batch_size} if isinstance(self.batch, str) else {}

    @cached_property
    def call(self) -> Program:
        """Computes the outputs, and the states for the next call; made when the first call comes."""
        return self.made_call()

    @cached_property
    def read(self) -> Program:
        """Computes the states for the next call alone."""
        return self.made_read()

    def forked(self) -> Programs:
        """The same with plans of their own."""
        parts = {name: getattr(self, name).fork() for name in ("reset", "reorder")}
        call, read = lambda: self.call.fork(), lambda: self.read.fork()
        return replace(self, made_call=call, made_read=read, **parts)


def _of_capacity(spec: Spec, capacity: int) -> Spec:
    """A state with memory for some steps, if it grows."""
    axis = growing_axis(spec)
    return spec.with_shape(capacity if along == axis else dim for along, dim in enumerate(spec.shape))


def _reordering(states: Mapping[str, Spec], batch: Dim) -> Any:
    from bigmodel_core.plan import Computation

    graph = Graph()
    updates = {}
    with graph.active():
        indices = graph.input(INDICES, Spec((batch,), "int64"))
        for path, spec in states.items():
            if batch in spec.shape:
                axis = spec.shape.index(batch)
                order = [axis, *(other for other in range(spec.ndim) if other != axis)]
                back = [order.index(other) for other in range(spec.ndim)]
                taken = gather(transpose(graph.variable(path, spec), order), indices)
                updates[path] = transpose(taken, back)
    return Computation(graph, [], updates, [])
