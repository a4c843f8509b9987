"""An optimizer at work: what the checks of optimizers run, here and in other processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.graph import Graph
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.optimizer import Optimizer, first_state
from bigmodel_core.ops.random import STEP
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.testing.checks import expect
from bigmodel_core.testing.kernel_checks import Work


class OptimizerRun:
    """An optimizer at work on one parameter, gradients being given.

    Args:
        optimizer: the optimizer.
        start: the parameter's first value.
        device: "cpu" or "cuda".
    """

    def __init__(self, optimizer: Optimizer, start: np.ndarray, device: str = "cpu") -> None:
        self.optimizer, self.steps = optimizer, 0
        self.variables = Variables(device_named(device))
        self.variables.create("parameter", start)
        graph, spec = Graph(), Spec(start.shape, start.dtype.name)
        with graph.active():
            parameter, gradient = graph.variable("parameter", spec), graph.input("gradient", spec)
            rate = graph.input("~rate", Spec((), "float64"))
            number = graph.input(STEP, Spec((), "int64")).astype("float64")
            state = {}
            for name, first in first_state(optimizer, "parameter", spec).items():
                self.variables.create(name, first)
                state[name] = graph.variable(name, self.variables.spec(name))
            found = optimizer.regularised({"parameter": parameter}, {"parameter": gradient})["parameter"]
            new, kept = optimizer.update_parameter(
                "parameter", parameter, found, state, rate.astype(spec.dtype), number
            )
        expect(
            set(kept) == set(state), f"update returned the state {sorted(kept)}, init names {sorted(state)}"
        )
        for name, value in {"parameter": new, **kept}.items():
            was = self.variables.spec(name)
            expect(value.spec == was, f"'{name}' was {was} before the step and is {value.spec} after it")
        self._program = Program(graph, [], {"parameter": new, **kept}, device=device)

    def step(self, gradient: np.ndarray) -> np.ndarray:
        """One step; returns the parameter after it."""
        given: dict[str, Any] = {
            "gradient": gradient,
            "~rate": np.float64(self.optimizer.rate(self.steps)),
            STEP: np.int64(self.steps + 1),
        }
        needed: Mapping[str, Any] = self._program.inputs
        self._program.run(self.variables, {name: given[name] for name in given if name in needed})
        self.steps += 1
        return self.variables.read("parameter")

    def work(self, gradient: np.ndarray) -> Work:
        """The first step, with all that it reads."""
        rate, step = np.asarray(self.optimizer.rate(0), "float64"), np.asarray(1, "int64")
        given = {"gradient": gradient, "~rate": rate, STEP: step}
        return Work(self._program, given, self.state())

    def state(self) -> dict[str, np.ndarray]:
        """Parameter and state."""
        return {path: self.variables.read(path) for path in self.variables}


def steps_on(
    device: str, optimizer: Optimizer, start: np.ndarray, given: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """The parameter and its state after a step with each of some gradients, by name."""
    run = OptimizerRun(optimizer, start, device)
    for gradient in given:
        run.step(gradient)
    return dict(sorted(run.state().items()))
