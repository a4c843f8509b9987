"""What an explainer is asked: a model, samples, and which number of the output is to be explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import UsageError
from bigmodel_core.explaining import inside
from bigmodel_core.explaining.attribution import Attribution
from bigmodel_core.explaining.points import Point, from_points, point_name, points_of
from bigmodel_core.explaining.sums import adds_up
from bigmodel_core.explaining.targets import Targets
from bigmodel_core.graph import Graph, Value, autodiff
from bigmodel_core.nn.network import Network
from bigmodel_core.plan import Program

MOST_ROWS, MOST_NUMBERS = 256, 1 << 21
"""Of a batch: rows, and numbers in one array of it."""


@dataclass(frozen=True)
class Measure:
    """How good the outputs of all samples are; more is better.

    Args:
        name: of the metric.
        function: the metric of outputs.
        sign: -1 if less of the metric is better.
    """

    name: str
    function: Callable[[np.ndarray], float]
    sign: float = 1.0

    def __call__(self, outputs: np.ndarray) -> float:
        """The metric of outputs, with the sign that makes more better."""
        return self.sign * self.function(outputs)


class Question:
    """A model, samples, and which number of its output is to be explained: what explainers are given.

    Attributions are taken at *points*: inputs of floats, and the vectors that tables have for inputs of
    tokens. All methods take and give one array for each point, and compute as in inference.

    Args:
        network: the model.
        inputs: its inputs, a batch of N samples each.
        targets: what is explained of each sample.
        output: the number of the output.
        baseline: what counts as nothing for each input: a number, an array that broadcasts to it, or the
            number of a token; None for zeros.
        measure: says how good the outputs of all samples are, for methods that ask; None if it is not known.

    Attributes:
        points: the floats of the samples, (N, ...) each.
        baselines: the same for the baseline, of the same shapes.
        outputs: (N,) float64, what is explained.
    """

    def __init__(
        self,
        network: Network,
        inputs: Sequence[np.ndarray],
        targets: Targets,
        output: int = 0,
        baseline: Sequence[Any] = (),
        measure: Measure | None = None,
    ) -> None:
        self.network, self.inputs, self.targets, self.measure = network, tuple(inputs), targets, measure
        self._output = output
        self._trace = network.trace(training=False)
        self._places: tuple[Point, ...] = network.made_once("points", lambda: points_of(network, self._trace))
        self.points = self._floats(self.inputs)
        self.baselines = self._baselines(baseline or [None] * len(self.inputs))
        outputs = self.predictions(self.points)
        self._tail: tuple[int, ...] = outputs.shape[1:]
        self._at_baseline: np.ndarray | None = None
        self.outputs = targets.picked(outputs, np.arange(len(outputs)))

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.points[0])

    @property
    def is_embedded(self) -> tuple[bool, ...]:
        """Of each point, whether it holds vectors of tokens: (N, ..., width)."""
        return tuple(point.is_embedded for point in self._places)

    @property
    def at_baseline(self) -> np.ndarray:
        """(N,) float64, what is explained, at the baselines."""
        if self._at_baseline is None:
            self._at_baseline = self.scores(self.baselines)
        return self._at_baseline

    @property
    def steps(self) -> np.ndarray | None:
        """(N,) which step of the output is explained; None of outputs without steps."""
        classes = self.targets.classes
        return classes[:, 0] if classes.ndim == 2 else None

    def adds_up(self, values: Sequence[np.ndarray], samples: np.ndarray) -> np.ndarray:
        """Of some samples, whether values, one array for each point, add up to what is explained less the
        same at the baseline, to within 1 %.

        Args:
            values: (R, ...) each.
            samples: (R,) which samples.
        """
        flat = [np.asarray(array, np.float64).reshape(len(array), -1) for array in values]
        sums, sizes = (sum(array.sum(1) for array in arrays) for arrays in (flat, map(np.abs, flat)))
        return adds_up(np.asarray(sums), self.outputs[samples], self.at_baseline[samples], np.asarray(sizes))

    # What the model computes ----------------------------------------------------------------------------

    def predictions(
        self, points: Sequence[np.ndarray], samples: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """The output of the model, as a whole, for floats in place of those of the samples.

        Args:
            points: (R, ...) each.
            samples: (R,) of which sample each row is, whose target and other inputs it has; in their order
                if None.
        """
        program = self._once("outputs", self._outputs_program)
        found = [arrays[0] for _, arrays in self._run(program, points, samples)]
        return np.concatenate(found)

    def scores(
        self, points: Sequence[np.ndarray], samples: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """(R,) float64: what is explained, for floats in place of those of the samples; see
        `predictions`."""
        rows = np.arange(len(points[0])) if samples is None else np.asarray(samples)
        return self.targets.picked(self.predictions(points, rows), rows)

    def slopes(
        self, points: Sequence[np.ndarray], samples: Sequence[int] | np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        """The gradients of what is explained, shaped as the points; see `predictions`."""
        program = self._once("slopes", self._slopes_program)
        parts = [arrays for _, arrays in self._run(program, points, samples, weighted=True)]
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    def layer(self, path: str | None = None) -> tuple[str, np.ndarray, np.ndarray]:
        """What a layer returns for the samples, and the gradient of what is explained for that.

        Args:
            path: of the layer; the last convolution if None.

        Returns:
            The path, and two arrays (N, ...).

        Raises:
            UnknownNameError: there is no such layer.
            UsageError: there is no convolution.
        """
        chosen = inside.last_convolution(self._trace) if path is None else path
        made = self._once(("layer", chosen), lambda: inside.layer_program(self.network, chosen, self._output))
        rows = np.arange(len(self))
        found = [arrays for _, arrays in self._batches(made, self.inputs, rows, weighted=True)]
        activations, gradients = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        return chosen, activations, gradients

    def attention(self) -> dict[str, np.ndarray]:
        """What each step takes of each other, (N, heads, T, S), by the path of the layer: rows add up to 1.

        Raises:
            UsageError: the model has no attention.
        """
        paths, program = self._once("attention", lambda: inside.attention_program(self.network))
        found = [arrays for _, arrays in self._batches(program, self.inputs, np.arange(len(self)))]
        joined = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        return dict(zip(paths, joined, strict=True))

    def first_weight(self) -> tuple[str, np.ndarray, bool]:
        """The matrix that a table of features is multiplied by first.

        Returns:
            Its path, the matrix (features, outputs), and whether what it gives is the model's output.

        Raises:
            UsageError: there is none.
        """
        return inside.first_weight(self.network, self._trace)

    # What is answered ------------------------------------------------------------------------------------

    def answer(
        self,
        explainer: Any,
        values: Sequence[np.ndarray],
        *,
        norm: bool = False,
        has_baseline: bool = False,
        is_global: bool = False,
        maps: dict[str, np.ndarray] | None = None,
        **facts: Any,
    ) -> Attribution:
        """The answer of an explainer.

        Args:
            explainer: whose answer it is.
            values: one array for each point, shaped as it, or with 1 where nothing is told apart. Those of
                the numbers of a token's vector are added up, unless they come as one number for each token.
            norm: whether the length of such a vector counts, not its sum.
            has_baseline: whether the values say what changes from the baseline to the samples.
            is_global: whether the values concern all samples: they have no axis of samples.
            maps: what layers show besides.
            facts: what else is known.
        """
        from bigmodel_core.registry.discovery import display_name

        found: list[np.ndarray | None] = [None] * len(self.inputs)
        for point, own, array in zip(self._places, self.points, values, strict=True):
            wide = np.asarray(array, np.float64)
            if point.is_embedded and wide.ndim == own.ndim - is_global:
                wide = np.sqrt((wide**2).sum(-1)) if norm else wide.sum(-1)
            if point.is_embedded and not is_global:
                wide = wide.reshape(self.inputs[point.number].shape)
            before = found[point.number]
            found[point.number] = wide if before is None else before + wide
        return Attribution(
            display_name(type(explainer)).replace("_", "-"),
            found[0] if len(found) == 1 else tuple(found),
            self.network.input_names,
            None if is_global and len(set(self.targets.classes.tolist())) > 1 else self.targets.classes,
            None if is_global else self.outputs,
            self.at_baseline if has_baseline else None,
            bool(explainer.is_signed),
            is_global,
            maps or {},
            facts,
        )

    # Programs --------------------------------------------------------------------------------------------

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        return self.network.made_once(("explained", self._output, key), make)

    def _outputs_program(self) -> Program:
        graph, outputs = from_points(self._trace, self._places, [self._trace.outputs[self._output]])
        return Program(graph, outputs, device=self.network.device)

    def _slopes_program(self) -> Program:
        graph, (output,) = from_points(self._trace, self._places, [self._trace.outputs[self._output]])
        with graph.active():
            goal = ops.sum(output * graph.input(inside.WEIGHTS, output.spec))
            wrt = [self._point_in(graph, number) for number in range(len(self._places))]
            found = autodiff.gradients(goal, wrt)
        return Program(graph, found, device=self.network.device)

    def _point_in(self, graph: Graph, number: int) -> Value:
        point = self._places[number]
        name = point_name(number) if point.is_embedded else self.network.input_names[point.number]
        return graph.input(name, point.value.spec)

    def _floats(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The points of inputs."""
        tables = [point.value for point in self._places if point.is_embedded]
        rows = np.arange(len(inputs[0]))
        found: Iterator[np.ndarray] = iter(())
        if tables:
            program = self._once("embedded", lambda: Program(self._trace.graph, tables))
            parts = [arrays for _, arrays in self._batches(program, inputs, rows)]
            found = iter([np.concatenate(arrays) for arrays in zip(*parts, strict=True)])
        return tuple(next(found) if point.is_embedded else inputs[point.number] for point in self._places)

    def _baselines(self, given: Sequence[Any]) -> tuple[np.ndarray, ...]:
        """What counts as nothing, for each point."""
        tokens = [
            _filled(item, array, name) if item is not None and array.dtype.kind in "iu" else array
            for item, array, name in zip(given, self.inputs, self.network.input_names, strict=True)
        ]
        embedded = self._floats(tokens) if any(item is not None for item in given) else self.points
        found = []
        for point, own, array in zip(self._places, self.points, embedded, strict=True):
            item = given[point.number]
            if item is None:
                found.append(np.zeros_like(own))
            elif point.is_embedded:
                found.append(array)
            else:
                found.append(_filled(item, own, self.network.input_names[point.number]))
        return tuple(found)

    def _run(
        self,
        program: Program,
        points: Sequence[np.ndarray],
        samples: Sequence[int] | np.ndarray | None,
        weighted: bool = False,
    ) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        rows = np.arange(len(points[0])) if samples is None else np.asarray(samples)
        inputs: list[np.ndarray | None] = [
            None if array.dtype.kind == "f" else array for array in self.inputs
        ]
        floats: dict[str, np.ndarray] = {}
        for number, (point, array) in enumerate(zip(self._places, points, strict=True)):
            name = point_name(number) if point.is_embedded else self.network.input_names[point.number]
            floats[name] = np.asarray(array, point.value.dtype)
        return self._batches(program, inputs, rows, floats, weighted)

    def _batches(
        self,
        program: Program,
        inputs: Sequence[np.ndarray | None],
        samples: np.ndarray,
        floats: dict[str, np.ndarray] | None = None,
        weighted: bool = False,
    ) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """The results of a program, batch by batch, each with the samples that its rows are of.

        Args:
            program: what is run.
            inputs: of the model, N samples each; None for one that `floats` holds.
            samples: (R,) which sample each row is of.
            floats: (R, ...) by name.
            weighted: whether the program multiplies the output by weights.
        """
        floats = floats or {}
        fixed = self.network.inputs[0].shape[0]
        numbers = max(array[:1].size for array in (*floats.values(), *self.inputs))
        size = fixed if isinstance(fixed, int) else max(1, min(MOST_ROWS, MOST_NUMBERS // max(1, numbers)))
        for start in range(0, len(samples), size):
            own = samples[start : start + size]
            places = np.arange(start, start + len(own))
            if isinstance(fixed, int):  # the model takes no other number of samples
                places = np.resize(places, fixed)
            rows = samples[places]
            given = {
                name: np.ascontiguousarray(array[rows])
                for name, array in zip(self.network.input_names, inputs, strict=True)
                if array is not None
            }
            given |= {name: np.ascontiguousarray(array[places]) for name, array in floats.items()}
            if weighted:
                dtype = self._trace.outputs[self._output].dtype
                given[inside.WEIGHTS] = self.targets.weights((len(rows), *self._tail), dtype, rows)
            given |= self.network.drawing(program)
            yield own, [array[: len(own)] for array in program.run(self.network.variables, given)]


def _filled(item: Any, array: np.ndarray, name: str) -> np.ndarray:
    """A baseline in the shape of an input; places without a token stay so."""
    try:
        found = np.broadcast_to(np.asarray(item), array.shape).astype(array.dtype)
    except (ValueError, TypeError):
        raise UsageError(
            f"the baseline {np.shape(item)} does not fit the input {array.shape}.",
            where=name,
            fix="pass a number, or an array that broadcasts to the input.",
        ) from None
    return np.where(array < 0, array, found) if array.dtype.kind in "iu" else found
