"""What a prediction computes, for exporters: ops applied to values, in an order in which they can run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bigmodel_core.errors import UsageError
from bigmodel_core.graph import Constant, Graph, Input, Node, Value, Variable, between
from bigmodel_core.graph.op import parts_of
from bigmodel_core.graph.spec import Spec, match
from bigmodel_core.nn.network import Network
from bigmodel_core.plan import Computation, Program, Variables, device_named, replaced

if TYPE_CHECKING:
    from bigmodel_core.nn.layer import Layer

Writes = Callable[[Node], bool]


@dataclass(frozen=True, eq=False)
class PredictionGraph:
    """What a model computes in inference.

    Args:
        inputs: the values that are given, by name.
        outputs: the values that are wanted, by name.
        nodes: the applications of ops between them, in an order in which they can run. Each has its `op`, its
            `inputs` and `outputs` (Values), and its `place`: the layer that it belongs to, for messages.
        arrays: the values that are known: parameters, constants, and what follows from those alone.
        names: by value, the path of the parameter that an array is, or is computed from.
    """

    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]
    nodes: tuple[Node, ...]
    arrays: Mapping[Value, np.ndarray]
    names: Mapping[Value, str]
    _writes: Writes | None = field(default=None, repr=False)
    _sizes: Mapping[str, int] = field(default_factory=dict, repr=False)

    def inner(self, node: Node) -> PredictionGraph | None:
        """The same of what an op such as a loop computes at each step (`Op.inner`); None for other ops.

        The names of its inputs are their positions among the inputs of the op.
        """
        body = node.op.inner()
        if body is None:
            return None
        inputs = {str(number): value for number, value in enumerate(body.inputs)}
        outputs = {str(number): value for number, value in enumerate(body.outputs)}
        return _graph(inputs, outputs, self._writes, None, self._sizes)


def prediction_graph(
    model: Layer | Network, inputs: Sequence[Spec] | None = None, *, writes: Writes | None = None
) -> PredictionGraph:
    """What a built model computes in inference, as ops and arrays: what an exporter writes.

    Args:
        model: a built model.
        inputs: the specs of its inputs with other sizes, such as those of one sample; those that it was built
            with by default, whose named dimensions are free.
        writes: whether the exporter can write the op of a node. One that it cannot write is replaced by those
            that it is `decomposed` into, as long as there are some; what is left is for the exporter to
            refuse.

    Raises:
        ShapeError: the model does not take such inputs.
        UsageError: it is not built.

    >>> import bigmodel_core as bm
    >>> model = bm.Sequential(bm.layers.Dense(8), bm.layers.Gelu(), bm.layers.Dense(3))
    >>> network = model.build(bm.Spec(("N", 4)))
    >>> graph = bm.prediction_graph(model, [bm.Spec((1, 4))])
    >>> [(type(node.op).__name__, node.place) for node in graph.nodes]
    [('Affine', 'dense_1 (Dense)'), ('Gelu', 'gelu_1 (Gelu)'), ('Affine', 'dense_2 (Dense)')]
    >>> [(graph.names[value], graph.arrays[value].shape) for value in graph.nodes[0].inputs[1:]]
    [('dense_1/weight', (4, 8)), ('dense_1/bias', (8,))]
    """
    network = model if isinstance(model, Network) else model.network
    sizes: dict[str, int] = {}
    if inputs is not None:
        given = tuple(inputs)
        if len(given) != len(network.inputs):
            raise UsageError(f"the model has {len(network.inputs)} inputs, got the specs of {len(given)}.")
        fixed = [[dim for dim in spec.shape if isinstance(dim, int)] for spec in given]
        if any(
            len(dims) < spec.ndim or match(spec.shape, dims, sizes)
            for spec, dims in zip(network.inputs, fixed, strict=True)
        ):
            network, sizes = network.for_inputs(given), {}
    trace = network.trace(training=False)
    taken = dict(zip(network.input_names, trace.inputs, strict=True))
    outputs = dict(zip(network.output_names, trace.outputs, strict=True))
    return _graph(taken, outputs, writes, network, sizes)


def _graph(
    inputs: Mapping[str, Value],
    outputs: Mapping[str, Value],
    writes: Writes | None,
    network: Network | None,
    sizes: Mapping[str, int],
) -> PredictionGraph:
    found = Computation(next(iter(outputs.values())).node.graph, list(outputs.values()), {}, ())
    if sizes:
        found = _bound(found, sizes)
    rule = _Parts(writes)
    while writes is not None:
        rule.has_replaced = False
        rewritten = replaced(found, rule)
        if not rule.has_replaced:
            break
        found = rewritten
    leaves = {node.op.name: node.outputs[0] for node in found.graph.nodes if isinstance(node.op, Input)}
    known, names = _known(found.nodes)
    nodes = tuple(
        node
        for node in found.nodes
        if not isinstance(node.op, (Input, Constant, Variable)) and node.outputs[0] not in known
    )
    read = {value for node in nodes for value in node.inputs} | set(found.outputs)
    return PredictionGraph(
        {name: leaves[_name(value)] for name, value in inputs.items()},
        dict(zip(outputs, found.outputs, strict=True)),
        nodes,
        _arrays([value for value in known if value in read], network),
        {value: name for value, name in names.items() if value in read},
        writes,
        sizes,
    )


def _name(leaf: Value) -> str:
    assert isinstance(leaf.node.op, Input)
    return leaf.node.op.name


def _bound(computation: Computation, sizes: Mapping[str, int]) -> Computation:
    """The same with named dimensions replaced by sizes."""
    graph, new = Graph(), dict[int, Value]()
    inputs = [node for node in computation.graph.nodes if isinstance(node.op, Input)]
    for node in (*inputs, *computation.nodes):
        if id(node.outputs[0]) in new:
            continue
        with graph.scope(node.path, node.layer):
            if isinstance(node.op, Input):
                made = graph.apply(Input(node.op.name, node.outputs[0].spec.bind(sizes)), ()).outputs
            else:
                made = graph.bound(node, [new[id(value)] for value in node.inputs], sizes).outputs
        new.update(zip((id(value) for value in node.outputs), made, strict=True))
    return computation.moved(graph, lambda value: new[id(value)])


class _Parts:
    """The rule that replaces what an exporter does not write."""

    def __init__(self, writes: Writes | None) -> None:
        self.writes, self.has_replaced = writes, False

    def __call__(self, node: Node, inputs: Sequence[Value]) -> Sequence[Value] | None:
        if self.writes is None or isinstance(node.op, (Input, Variable, Constant)) or self.writes(node):
            return None
        found = parts_of(node.op, inputs)
        if found is None or any(part.op == node.op for part in between(inputs, found)):
            return None  # an elementary op, such as exp, is made of itself
        self.has_replaced = True
        return found


def _known(nodes: Sequence[Node]) -> tuple[dict[Value, None], dict[Value, str]]:
    """The values that need no input, and the paths of the parameters that they come from. One that has more
    numbers than what it is made of is left to be computed."""
    known: dict[Value, None] = {}
    names: dict[Value, str] = {}
    for node in nodes:
        if isinstance(node.op, Variable):
            names[node.outputs[0]] = node.op.path
        elif not isinstance(node.op, Constant):
            few = max(sum(map(_count, node.inputs)), 64)
            if not node.inputs or not all(value in known for value in node.inputs):
                continue
            if sum(map(_count, node.outputs)) > few or node.op.inner() is not None:
                continue
            origin = next((names[value] for value in node.inputs if value in names), None)
            names |= {} if origin is None else dict.fromkeys(node.outputs, origin)
        known |= dict.fromkeys(node.outputs)
    return known, names


def _count(value: Value) -> float:
    """How many numbers a value has; infinitely many if a dimension is free."""
    return value.spec.size if isinstance(value.spec.size, int) else math.inf


def _arrays(values: Sequence[Value], network: Network | None) -> dict[Value, np.ndarray]:
    found: dict[Value, np.ndarray] = {}
    computed: list[Value] = []
    for value in values:
        if isinstance(value.node.op, Constant):
            found[value] = value.node.op.array
        elif isinstance(value.node.op, Variable) and network is not None:
            found[value] = network.variables.read(value.node.op.path)
        else:
            computed.append(value)
    if computed:
        variables = Variables(device_named("cpu")) if network is None else network.variables
        program = Program(computed[0].node.graph, computed, device=variables.device)
        found |= dict(zip(computed, program.run(variables, {}), strict=True))
    return found
