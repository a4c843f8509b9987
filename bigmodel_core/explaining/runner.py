"""What a model computes for a question, batch by batch: outputs, slopes, and what is inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import UsageError
from bigmodel_core.explaining import inside
from bigmodel_core.explaining.points import Point, from_points, point_name, points_of
from bigmodel_core.explaining.targets import Targets
from bigmodel_core.graph import autodiff
from bigmodel_core.nn.network import Network
from bigmodel_core.plan import Program

MOST_ROWS, MOST_NUMBERS = 256, 1 << 21
"""Of a batch: rows, and numbers in one array of it."""

Inputs = Sequence[np.ndarray]


class Runner:
    """Runs the programs of a model that questions need; they are kept with the model.

    Args:
        network: the model.
        output: the number of the output.
        coded: the numbers of inputs that are known to hold codes of columns, (N, m).

    Attributes:
        places: where the floats are that are varied and differentiated for.
        coded: the numbers of the inputs that hold codes of columns.
    """

    def __init__(self, network: Network, output: int, coded: Sequence[int] = ()) -> None:
        self.network, self._output = network, output
        self._trace = network.trace(training=False)
        self.places: tuple[Point, ...] = network.made_once("points", lambda: points_of(network, self._trace))
        self.coded = {*coded, *(point.number for point in self.places if point.column is not None)}
        self._value = self._trace.outputs[output]
        self._tail: tuple[int, ...] = ()

    def floats(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """The points of inputs."""
        tables = [point.value for point in self.places if point.is_embedded]
        found: Iterator[np.ndarray] = iter(())
        if tables:
            program = self._once("embedded", lambda: self._program(self._trace.graph, tables))
            found = iter(self._joined(program, inputs, np.arange(len(inputs[0]))))
        return tuple(next(found) if point.is_embedded else inputs[point.number] for point in self.places)

    def replaced(self, inputs: Inputs, given: Sequence[Any]) -> list[np.ndarray]:
        """The inputs with the tokens and codes that count as nothing; of columns of codes that is 0."""
        found = []
        for number, (item, array, name) in enumerate(
            zip(given, inputs, self.network.input_names, strict=True)
        ):
            asked = 0 if item is None and number in self.coded else item
            is_replaced = asked is not None and array.dtype.kind in "iu"
            found.append(_filled(asked, array, name) if is_replaced else array)
        return found

    def baselines(self, inputs: Inputs, given: Sequence[Any]) -> tuple[np.ndarray, ...]:
        """What counts as nothing, for each point.

        Raises:
            UsageError: what is given for an input does not fit it.
        """
        names = self.network.input_names
        tokens = self.replaced(inputs, given)
        found = []
        for point, array in zip(self.places, self.floats(tokens), strict=True):
            item = given[point.number]
            if item is None and point.number in self.coded:
                pass  # what code 0 stands for
            elif item is None:
                array = np.zeros_like(array)
            elif not point.is_embedded:
                array = _filled(item, array, names[point.number])
            found.append(array)
        return tuple(found)

    def outputs(self, points: Inputs, samples: np.ndarray, inputs: Inputs) -> np.ndarray:
        """The output for floats.

        Args:
            points: (R, ...) each.
            samples: (R,) of which sample each row is.
            inputs: of the model, N samples each.
        """

        def made() -> Program:
            return self._program(*from_points(self._trace, self.places, [self._value]))

        (found,) = self._joined(self._once("outputs", made), inputs, samples, self._named(points))
        self._tail = found.shape[1:]
        return found

    def slopes(
        self, points: Inputs, samples: np.ndarray, inputs: Inputs, targets: Targets
    ) -> tuple[np.ndarray, ...]:
        """The gradients for floats of what is explained; see `outputs`."""

        def made() -> Program:
            graph, (output,) = from_points(self._trace, self.places, [self._value])
            specs = [point.value.spec for point in self.places]
            with graph.active():
                goal = ops.sum(output * graph.input(inside.WEIGHTS, output.spec))
                wrt = [graph.input(name, spec) for name, spec in zip(self._names(), specs, strict=True)]
                return self._program(graph, autodiff.gradients(goal, wrt))

        program = self._once("slopes", made)
        return tuple(self._joined(program, inputs, samples, self._named(points), targets))

    def layer(self, path: str | None, inputs: Inputs, targets: Targets) -> tuple[str, np.ndarray, np.ndarray]:
        """The path of a layer, the last convolution if None, what it returns and the gradient for that."""
        chosen = inside.last_convolution(self._trace) if path is None else path
        program = self._once(
            ("layer", chosen), lambda: inside.layer_program(self.network, chosen, self._output)
        )
        activations, slopes = self._joined(program, inputs, np.arange(len(inputs[0])), targets=targets)
        return chosen, activations, slopes

    def attention(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """The weights of attention, by path."""
        paths, program = self._once("attention", lambda: inside.attention_program(self.network))
        return dict(zip(paths, self._joined(program, inputs, np.arange(len(inputs[0]))), strict=True))

    # Programs and batches --------------------------------------------------------------------------------

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        return self.network.made_once(("explained", self._output, key), make)

    def _program(self, graph: Any, values: Sequence[Any]) -> Program:
        return Program(graph, values, device=self.network.device)

    def _names(self) -> list[str]:
        """What graphs call the floats of the points."""
        inputs = self.network.input_names
        return [
            point_name(number) if point.is_embedded else inputs[point.number]
            for number, point in enumerate(self.places)
        ]

    def _named(self, points: Inputs) -> dict[str, np.ndarray]:
        specs = (point.value.spec for point in self.places)
        return {
            name: np.asarray(array, spec.dtype)
            for name, array, spec in zip(self._names(), points, specs, strict=True)
        }

    def _joined(
        self,
        program: Program,
        inputs: Inputs,
        samples: np.ndarray,
        floats: Mapping[str, np.ndarray] | None = None,
        targets: Targets | None = None,
    ) -> list[np.ndarray]:
        """The results of a program for rows, in batches of a size that memory has.

        Args:
            program: what is run.
            inputs: of the model, N samples each; of those that `floats` names nothing is read.
            samples: (R,) which sample each row is of.
            floats: (R, ...) by name.
            targets: by what the program weighs the output; None if it does not.
        """
        floats = floats or {}
        names = self.network.input_names
        rest = {name: array for name, array in zip(names, inputs, strict=True) if name not in floats}
        fixed = self.network.inputs[0].shape[0]
        largest = max(array[:1].size for array in (*floats.values(), *rest.values()))
        size = fixed if isinstance(fixed, int) else max(1, min(MOST_ROWS, MOST_NUMBERS // max(1, largest)))
        found = []
        for start in range(0, len(samples), size):
            places = np.arange(start, min(start + size, len(samples)))
            count = len(places)
            if isinstance(fixed, int):  # the model takes no other number of samples
                places = np.resize(places, fixed)
            rows = samples[places]
            given: dict[str, Any] = {name: np.ascontiguousarray(array[rows]) for name, array in rest.items()}
            given |= {name: np.ascontiguousarray(array[places]) for name, array in floats.items()}
            if targets is not None:
                given[inside.WEIGHTS] = targets.weights((len(rows), *self._tail), self._value.dtype, rows)
            given |= self.network.drawing(program)
            found.append([array[:count] for array in program.run(self.network.variables, given)])
        return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]


def _filled(item: Any, array: np.ndarray, name: str) -> np.ndarray:
    """A baseline in the shape of an input; places without a token stay so."""
    given, is_tokens = np.asarray(item), array.dtype.kind in "iu"
    if is_tokens and given.dtype.kind not in "iu":
        raise UsageError(
            f"the baseline is {given.dtype}, and the input holds tokens.",
            where=name,
            fix="pass a token's number.",
        )
    try:
        found = np.broadcast_to(given, array.shape).astype(array.dtype)
    except (ValueError, TypeError):
        raise UsageError(
            f"the baseline {np.shape(item)} does not fit the input {array.shape}.",
            where=name,
            fix="pass a number, or an array that broadcasts to the input.",
        ) from None
    return np.where(array < 0, array, found) if is_tokens else found
