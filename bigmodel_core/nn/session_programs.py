"""What the sessions of a model run: a call, a new beginning, a new order of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import GraphError, ShapeError
from bigmodel_core.graph import Graph, Node, Value, needed
from bigmodel_core.graph.spec import Dim, Spec, dim_names, format_shape
from bigmodel_core.ops import gather, transpose
from bigmodel_core.ops.carried import Carried

if TYPE_CHECKING:
    from bigmodel_core.nn.network import Network
    from bigmodel_core.plan import Program

INDICES = "~indices"
"""The name of the input that says how a batch is reordered."""

MOST_SIZES = 16
"""Fixed sizes of inputs, other than its own, for which a model is kept ready; the oldest go first."""


@dataclass(frozen=True)
class Programs:
    """What the sessions of a network run.

    Args:
        states: what is carried, by path; of sizes only the batch's is free.
        batch: the batch's size, or the name that stands for it.
        call: computes the outputs, and the states for the next call.
        reset: gives each state its initial value.
        reorder: takes other samples of each state.
    """

    states: Mapping[str, Spec]
    batch: Dim
    call: Program
    reset: Program
    reorder: Program

    @classmethod
    def of(cls, network: Network) -> Programs:
        """Those of a network.

        Raises:
            GraphError: it carries no state, or a state begins with what depends on the input.
            ShapeError: a state has a free dimension that is not the batch's.
        """
        from bigmodel_core.plan import Computation, Program, replaced

        trace = network.trace(training=False)
        if not trace.carried:
            raise GraphError(
                "nothing in the model carries state from call to call.",
                fix="call the model itself; or let layers carry state: bm.layers.LSTM(16, carry=True).",
            )
        batch: Dim = network.inputs[0].shape[0] if network.inputs[0].ndim else 1
        if not isinstance(batch, int) and dim_names(batch) != {batch}:
            raise ShapeError(f"{batch} cannot be a batch size.", fix="give the batch a name of its own.")
        states = {path: value.spec for path, value in trace.carried.items()}
        for path, value in trace.carried.items():
            if odd := value.spec.names() - dim_names(batch):
                raise ShapeError(
                    f"the state is {format_shape(value.shape)}, but {sorted(odd)[0]} may differ from call to"
                    " call.",
                    fix="only the batch may be free in the shape of a state.",
                    where=path,
                )
            if any(value.node is node for value in trace.inputs for node in needed([trace.carried[path]])):
                raise GraphError("a state cannot begin with what depends on the input.", where=path)

        def kept(node: Node, inputs: Sequence[Value]) -> Sequence[Value] | None:
            op = node.op
            if not isinstance(op, Carried):
                return None
            return [inputs[0].node.graph.variable(op.path, states[op.path])]

        def made(computation: Computation) -> Program:
            found = computation
            return Program(found.graph, found.outputs, found.updates, device=network.device, keeps=True)

        call = Computation(trace.graph, trace.outputs, dict(trace.carried_updates), [])
        reset = Computation(trace.graph, [], dict(trace.carried), [])
        return cls(
            states,
            batch,
            made(replaced(call, kept)),
            made(replaced(reset, lambda node, inputs: None)),
            made(_reordering(states, batch)),
        )

    def sizes(self, batch_size: int) -> dict[str, int]:
        """The sizes of named dimensions, as far as states have them."""
        return {self.batch: batch_size} if isinstance(self.batch, str) else {}

    def forked(self) -> Programs:
        """The same with plans of their own."""
        parts = {name: getattr(self, name).fork() for name in ("call", "reset", "reorder")}
        return replace(self, **parts)


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
