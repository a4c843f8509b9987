"""A model that comes from a checkpoint: its saved graphs, applied op by op."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.errors import ShapeError
from bigmodel_core.graph import Constant, Graph, Input, Value, Variable, graph_of
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.parameters import Parameter
from bigmodel_core.nn.trace import Trace, current_trace
from bigmodel_core.train.checkpoint_graph import SavedGraph, SavedNode, picked
from bigmodel_core.train.frozen_graph import with_frozen


@dataclass(frozen=True)
class About:
    """What is known of a saved model besides its graph and numbers.

    Args:
        config: the layer it was: what `registry.config.to_config` writes if a plugin offers it (it then
            has a "name"), else its "class" and, for a Sequential, its "layers".
        encoding: how the data it was trained on became numbers; None if that is not known.
        metrics: what was measured, by name, when it was saved.
    """

    config: Mapping[str, Any] | None = None
    encoding: Encoding | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names by label."""
        return self.encoding.labels if self.encoding else None

    @property
    def task(self) -> str | None:
        """ "classification", "binary" or "regression"."""
        return self.encoding.task if self.encoding else None

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How its input is made from raw input."""
        return self.encoding.preprocessing if self.encoding else None

    @property
    def input_meaning(self) -> str:
        """One phrase: what one sample is."""
        return self.encoding.input_meaning if self.encoding else ""

    @property
    def data(self) -> str:
        """The name of the data set it was trained on."""
        return self.encoding.name if self.encoding else ""


@dataclass(frozen=True, eq=False, repr=False)
class RestoredModel(Layer):
    """A model as a checkpoint holds it: it computes, trains on and exports like the one that was saved,
    without the code that defined that one.

    Rebuilt, it starts with the saved numbers, whatever the seed.

    Args:
        inputs: the specs of its inputs, by name.
        parameters: by path; each draws its saved numbers.
        graphs: the graph in training mode and in inference mode.
        about: what else is known of the model.
    """

    inputs: Mapping[str, Spec]
    parameters: Mapping[str, Parameter]
    graphs: Mapping[bool, SavedGraph]
    about: About = field(default_factory=About)

    def __repr__(self) -> str:
        count = sum(int(parameter.spec.size) for parameter in self.parameters.values())
        return f"<RestoredModel: {len(self.parameters)} arrays, {count} parameters>"

    def __call__(self, *inputs: Any) -> Any:
        trace = current_trace()
        graph, base = graph_of(inputs), trace.graph.path  # in a loop, that of its body
        saved = self._saved(trace, base)
        given = dict(zip(self.inputs, inputs, strict=False))
        if len(inputs) != len(self.inputs):
            raise ShapeError(f"the model takes {len(self.inputs)} inputs, got {len(inputs)}.")
        for name, value in given.items():
            if value.spec != self.inputs[name]:
                raise ShapeError(
                    f"input '{name}': the model was saved for {self.inputs[name]}, got {value.spec}.",
                    fix="build it for the spec it was saved with.",
                )
        made: list[tuple[Value, ...]] = []
        parts: dict[int, int] = {}
        for node in saved.nodes:
            with graph.scope(_joined(base, node.path), node.layer), graph.repeating(node.part, parts):
                made.append(self._apply(graph, trace, base, node, given, made))
        for path, (node_number, number) in {**saved.updates, **saved.carried_updates}.items():
            trace.reassign(_joined(base, path), picked(made, node_number, number))
        return saved.form.pack([picked(made, *reference) for reference in saved.outputs])

    def _saved(self, trace: Trace, base: str) -> SavedGraph:
        """The graph for a trace, frozen parts as in inference."""
        if not self.training:
            return self.graphs[False]
        start = f"{base}/" if base else ""
        frozen = [path[len(start) :] for path in trace.frozen if path.startswith(start)]
        return with_frozen(self.graphs[True], self.graphs[False], frozen)

    def _argument_names(self, count: int) -> tuple[str, ...]:
        return tuple(self.inputs)[:count]

    def _input_count(self) -> int | None:
        return len(self.inputs)

    def _apply(
        self,
        graph: Graph,
        trace: Trace,
        base: str,
        node: SavedNode,
        given: Mapping[str, Value],
        made: list[tuple[Value, ...]],
    ) -> tuple[Value, ...]:
        op = node.op
        if isinstance(op, Input):
            return (given[op.name] if op.name in given else graph.input(op.name, op.spec),)
        if isinstance(op, Variable):
            parameter = self.parameters[op.path]
            above, _, name = op.path.rpartition("/")
            with graph.scope(_joined(base, above), node.layer):
                return (
                    self.parameter(
                        name,
                        parameter.spec.shape,
                        parameter.initial,
                        dtype=parameter.spec.dtype,
                        trainable=parameter.trainable,
                    ),
                )
        if isinstance(op, Constant):
            return graph.apply(op, ()).outputs
        operands = [picked(made, *reference) for reference in node.inputs]
        return trace.applied(op, operands, lambda path: _joined(base, path))


@dataclass(frozen=True, eq=False)
class SavedNumbers:
    """An initializer that gives the numbers of an array."""

    array: np.ndarray

    def __call__(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return self.array


def _joined(base: str, path: str) -> str:
    return f"{base}/{path}".strip("/")
