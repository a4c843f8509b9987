"""Functions of Values, computed on arrays: what tests of ops are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.outputs import taken_apart
from bigmodel_core.plan import Program, Variables, device_named

Function = Callable[..., Any]


class Evaluation:
    """A function of Values with its gradients, ready to run on arrays of fixed shapes and types.

    Its outputs are weighted by fixed random numbers and added up to a scalar; that scalar is differentiated.

    Args:
        function: takes a Value for each array, returns one or several.
        arrays: examples of the arrays.
        wrt: the positions of the arrays to differentiate for; all floats by default.
        differentiate: whether to make gradients at all.
        device: "cpu" or "cuda".
    """

    def __init__(
        self,
        function: Function,
        arrays: Sequence[Any],
        *,
        wrt: Sequence[int] | None = None,
        differentiate: bool = True,
        device: str = "cpu",
    ) -> None:
        graph = Graph()
        with graph.active():
            values = _inputs(graph, arrays)
            result = function(*values)
            self.form, outputs = taken_apart(result, "the function")
            self.wrt = [n for n, v in enumerate(values) if v.spec.is_float] if wrt is None else list(wrt)
            found: list[Value] = []
            if differentiate:
                total = weighted_sum(outputs)
                found = [total, *gradients(total, [values[number] for number in self.wrt])]
        self._outputs = len(outputs)
        self._variables = Variables(device_named(device))
        self._program = Program(graph, [*outputs, *found], device=device)

    def run(self, arrays: Sequence[Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The outputs; and the weighted sum of them with its gradients."""
        results = self._program.run(self._variables, _given(self._program, arrays))
        return results[: self._outputs], results[self._outputs :]


def weighted_sum(outputs: Sequence[Value], seed: int = 1) -> Value:
    """The sum of all float outputs, each number weighted by a fixed random one: no gradient cancels."""
    generator = np.random.default_rng(seed)
    total: Value | None = None
    for value in outputs:
        if not value.spec.is_float:
            continue
        weights = generator.uniform(0.5, 1.5, value.spec.sizes).astype(value.dtype)
        part = ops.sum(value * value.node.graph.constant(weights))
        total = part if total is None else total + part
    if total is None:
        raise ValueError("the function has no float output to differentiate")
    return total


def compute(function: Function, *arrays: Any, device: str = "cpu") -> Any:
    """What a function of Values gives for arrays: an array, or a tuple of them.

    >>> import numpy as np
    >>> from bigmodel_core import ops
    >>> compute(ops.relu, np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    evaluation = Evaluation(function, arrays, differentiate=False, device=device)
    outputs, _ = evaluation.run(arrays)
    return evaluation.form.pack(outputs)


def compute_gradients(
    function: Function, *arrays: Any, wrt: Sequence[int] | None = None, device: str = "cpu"
) -> list[np.ndarray]:
    """The gradients of the sum of a scalar function's output for arrays, one for each position in `wrt`.

    >>> import numpy as np
    >>> from bigmodel_core import ops
    >>> compute_gradients(lambda x: ops.sum(x * x), np.array([1.0, 2.0]))
    [array([2., 4.])]
    """
    graph = Graph()
    with graph.active():
        values = _inputs(graph, arrays)
        total = function(*values)
        chosen = [n for n, v in enumerate(values) if v.spec.is_float] if wrt is None else list(wrt)
        found = gradients(total if total.shape == () else ops.sum(total), [values[n] for n in chosen])
    program = Program(graph, found, device=device)
    return program.run(Variables(device_named(device)), _given(program, arrays))


def _inputs(graph: Graph, arrays: Sequence[Any]) -> list[Value]:
    """A graph input for each array."""
    found = [np.asarray(array) for array in arrays]
    return [graph.input(f"input_{n}", Spec(array.shape, array.dtype.name)) for n, array in enumerate(found)]


def _given(program: Program, arrays: Sequence[Any]) -> dict[str, np.ndarray]:
    """The arrays by input, without those that nothing reads."""
    given = {f"input_{number}": np.asarray(array) for number, array in enumerate(arrays)}
    return {name: array for name, array in given.items() if name in program.inputs}
