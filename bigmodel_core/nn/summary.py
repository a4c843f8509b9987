"""What a built model consists of: layers with shapes, parameters, multiply-adds; and the memory it needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import OutOfMemoryError, ShapeError
from bigmodel_core.graph import LEAVES, Node, Value, needed
from bigmodel_core.graph.spec import Shape, Spec, format_shape
from bigmodel_core.nn.quantities import count, size
from bigmodel_core.plan.placement import Lifetime, offsets_of

if TYPE_CHECKING:
    from bigmodel_core.nn.network import Network
    from bigmodel_core.nn.trace import Trace
    from bigmodel_core.plan import Program


COLUMNS = ("Layer", "Type", "Output", "Parameters", "Multiply-adds")


@dataclass(frozen=True)
class Row:
    """One layer of a model.

    Args:
        path: the layer's path; empty for the model itself.
        layer: its class name.
        output: the shape it gives, named dimensions included.
        parameters: how many numbers belong to it, trainable or not.
        multiply_adds: how many multiplications with an addition one sample takes.
    """

    path: str
    layer: str
    output: Shape
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Memory:
    """Bytes that arrays take.

    Args:
        parameters: the parameters.
        kept: the parameters as kernels read them, packed and transformed, which predictions keep.
        inference: what a prediction holds besides them, at the batch size.
        batch_size: that batch size.
    """

    parameters: int
    kept: int
    inference: int
    batch_size: int


@dataclass(frozen=True)
class Summary:
    """What a built model consists of.

    Args:
        name: the class name of the outermost layer.
        inputs: the specs of its inputs.
        outputs: the specs of its outputs.
        rows: one for each layer that computes something, in the order of computation.
        parameters: how many numbers its parameters have.
        trainable: how many of them optimizers change.
        multiply_adds: how many multiplications with an addition one sample takes.
        memory: bytes.
        input_names: what the inputs are called.

    `str()` of it is the table that `bigmodel info` prints.
    """

    name: str
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    multiply_adds: int
    memory: Memory
    input_names: tuple[str, ...] = ("x",)

    def table(self) -> list[tuple[str, ...]]:
        """The inputs, the layers and their sum as rows of strings under `COLUMNS`."""
        ports = zip(self.input_names, self.inputs, strict=True)
        found = [(name, "Input", format_shape(spec.shape), "", "") for name, spec in ports]
        for row in self.rows:
            numbers = (count(row.parameters), count(row.multiply_adds))
            found.append((row.path or "(model)", row.layer, format_shape(row.output), *numbers))
        return [*found, ("Total", "", "", count(self.parameters), count(self.multiply_adds))]

    def totals(self) -> dict[str, str]:
        """Parameters, memory and work in words."""
        frozen = self.parameters - self.trainable
        kept = f"{size(self.memory.kept)} for what kernels make of them, " if self.memory.kept else ""
        samples = f"{self.memory.batch_size:,} sample{'s' * (self.memory.batch_size > 1)}"
        return {
            "Parameters": f"{count(self.parameters)}" + (f", {count(frozen)} not trained" if frozen else ""),
            "Memory": f"{size(self.memory.parameters)} for parameters, {kept}{size(self.memory.inference)}"
            f" more to predict {samples}",
            "Work": f"{count(self.multiply_adds)} multiply-adds per sample",
        }

    def __str__(self) -> str:
        cells = [COLUMNS, *self.table()]
        widths = [max(len(row[place]) for row in cells) for place in range(len(COLUMNS))]
        texts = len(COLUMNS) - 2  # the last two are numbers, which end in line
        lines = [
            "  ".join(
                cell.ljust(width) if place < texts else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        totals = self.totals()
        wide = max(map(len, totals))
        return "\n".join([*lines, "", *(f"{name.ljust(wide)}  {text}" for name, text in totals.items())])

    def __repr__(self) -> str:
        return f"<Summary of {self.name}: {count(self.parameters)} parameters>"

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return {
            "name": self.name,
            "inputs": [_port(spec) for spec in self.inputs],
            "outputs": [_port(spec) for spec in self.outputs],
            "layers": [{**asdict(row), "output": _dims(row.output)} for row in self.rows],
            "parameters": self.parameters,
            "trainable": self.trainable,
            "multiply_adds": self.multiply_adds,
            "memory": asdict(self.memory),
        }


def summarise(network: Network, batch_size: int = 1) -> Summary:
    """What a built model consists of; nothing is compiled and nothing runs.

    Args:
        network: a built model.
        batch_size: the size of every named dimension, for the memory of a prediction.

    >>> import bigmodel_core as bm
    >>> model = bm.Sequential(bm.layers.Dense(8), bm.layers.Relu(), bm.layers.Dense(3))
    >>> summary = summarise(model.build(bm.Spec(("N", 4))))
    >>> [(row.path, row.parameters, row.multiply_adds) for row in summary.rows]
    [('dense_1', 40, 32), ('relu_1', 0, 0), ('dense_2', 27, 24)]
    """
    if batch_size < 1:
        raise ShapeError(f"the batch size is {batch_size}.", fix="pass 1 or more.")
    trace = network.trace(training=False)
    program = network._inference().program
    dimensions = dict.fromkeys(program.dimensions, batch_size)
    sizes = {path: math.prod(item.spec.sizes) for path, item in network.parameters.items()}
    rows = tuple(_rows(trace, sizes))
    return Summary(
        name=type(network.layer).__name__,
        inputs=network.inputs,
        outputs=network.outputs,
        rows=rows,
        parameters=sum(sizes.values()),
        trainable=sum(sizes[path] for path, item in network.parameters.items() if item.trainable),
        multiply_adds=sum(row.multiply_adds for row in rows),
        memory=Memory(
            parameters=sum(item.spec.nbytes for item in network.parameters.values()),
            kept=_kept_nbytes(program, dimensions),
            inference=arrays_nbytes(program, dimensions),
            batch_size=batch_size,
        ),
        input_names=network.input_names,
    )


def _kept_nbytes(program: Program, sizes: Mapping[str, int]) -> int:
    try:
        return program.device.kept_nbytes(program, sizes)
    except OutOfMemoryError:  # no machine runs it
        return 0


def arrays_nbytes(program: Program, sizes: Mapping[str, int]) -> int:
    """Bytes of the arrays that a program holds besides variables, constants and what it keeps; shared
    memory counts once.

    Scratch memory of kernels is not counted; it is small, and depends on the machine.

    Args:
        program: what is computed.
        sizes: the sizes of named dimensions.
    """
    fixed = {id(value) for value in (*program.variables, *program.constants)}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    nbytes: dict[int, int] = {}
    taken: dict[int, Value] = {}  # by a value, what it is written over

    def held(value: Value) -> Value:
        root = program.root(value)
        while id(root) in taken:
            root = taken[id(root)]
        return root

    for number, step in enumerate(program.steps):
        for part in step.parts():
            taken.update((id(part.outputs[place]), program.root(x)) for place, x in part.takes.items())
            written = {id(part.outputs[position]) for position in part.writes}  # into a variable's own memory
            for value in (*part.inputs, *part.outputs):
                root = held(value)
                if id(root) in fixed or id(root) in program.unchanging or id(value) in written:
                    continue
                first.setdefault(id(root), number)
                last[id(root)] = number
                nbytes[id(root)] = root.spec.bind(sizes).nbytes
    for value in program.inputs.values():
        first[id(value)], last[id(value)] = 0, len(program.steps)
        nbytes[id(value)] = value.spec.bind(sizes).nbytes
    for value in program.outputs:
        if id(root := held(value)) in first:
            last[id(root)] = len(program.steps)
    return offsets_of([Lifetime(nbytes[key], first[key], last[key]) for key in first])[1]


def _rows(trace: Trace, sizes: Mapping[str, int]) -> list[Row]:
    found: dict[str, list[_Work]] = {}
    for work in _steps(needed(trace.outputs), {}, 1):
        found.setdefault(work.node.path, []).append(work)
    rows = []
    for path, members in found.items():
        own = {
            op.path
            for work in members
            for op in (value.node.op for value in work.inputs)
            if hasattr(op, "path") and op.path.rpartition("/")[0] == path
        }
        rows.append(
            Row(
                path=path,
                layer=members[-1].node.layer,
                output=_returned(trace, path, members[-1].node).shape,
                parameters=sum(sizes.get(item, 0) for item in own),
                multiply_adds=sum(work.times * _multiply_adds(work.node) for work in members),
            )
        )
    return rows


@dataclass(frozen=True)
class _Work:
    """What a sample takes: a node, on which values of the model, and how often."""

    node: Node
    inputs: tuple[Value, ...]
    times: int


def _steps(nodes: Sequence[Node], outside: Mapping[Value, Value], times: int) -> Iterator[_Work]:
    """What nodes do; those of a loop in the place of it, once for each step, of which a free number is 1.

    Args:
        nodes: in order.
        outside: by input of a body, the value of the model that it stands for.
        times: how often they run.
    """
    for node in nodes:
        inputs = tuple(outside.get(value, value) for value in node.inputs)
        body = node.op.inner()
        if body is not None:
            length = getattr(node.op, "length", 1)
            turns = times * (length if isinstance(length, int) else 1)
            yield from _steps(body.nodes, dict(zip(body.inputs, inputs, strict=True)), turns)
        elif not isinstance(node.op, LEAVES):
            yield _Work(node, inputs, times)


def _returned(trace: Trace, path: str, last: Node) -> Value:
    """What a layer returns, if that is one value; else what it computes last."""
    result = trace.results.get(path, [None])[-1]
    return result if isinstance(result, Value) else last.outputs[0]


def _multiply_adds(node: Node) -> int:
    """Those of one sample: every named dimension is 1."""
    values = (*node.inputs, *node.outputs)
    ones = {name: 1 for value in values for name in value.spec.names()}
    specs = [value.spec.bind(ones) for value in values]
    return node.op.multiply_adds(specs[: len(node.inputs)], specs[len(node.inputs) :])


def _port(spec: Spec) -> dict[str, Any]:
    return {"shape": _dims(spec.shape), "dtype": spec.dtype}


def _dims(shape: Shape) -> list[int | str]:
    return [dim if isinstance(dim, int) else str(dim) for dim in shape]
