"""The checks of optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from bigmodel_core.graph import Graph
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS, DTYPES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.optimizer import Optimizer, Schedule, first_state
from bigmodel_core.ops.random import STEP
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.testing.checks import CheckSkipped, Inputs, expect, expect_numbers
from bigmodel_core.testing.registry_checks import Found, registry_checks


class OptimizerRun:
    """An optimizer at work on one parameter, gradients being given.

    Args:
        optimizer: the optimizer.
        start: the parameter's first value.
    """

    def __init__(self, optimizer: Optimizer, start: np.ndarray) -> None:
        self.optimizer, self.steps = optimizer, 0
        self.variables = Variables(device_named("cpu"))
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
        self._program = Program(graph, [], {"parameter": new, **kept})

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

    def state(self) -> dict[str, np.ndarray]:
        """Parameter and state."""
        return {path: self.variables.read(path) for path in self.variables}


def optimizer_checks(optimizer: Optimizer, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of an optimizer.

    The reference is `reference(parameter, gradient, state, rate, step) -> (parameter, state)` on float64
    arrays, `state` being a dict of arrays by the names of `init`, `step` counting from 1.
    """
    return {
        "reference": lambda: check_reference(optimizer, reference),
        "converges on a quadratic": lambda: check_converges(optimizer),
        "state round-trip": lambda: check_state(optimizer),
        "follows its schedule": lambda: check_schedule(optimizer),
        "weight decay": lambda: check_weight_decay(optimizer),
        "clipping": lambda: check_clipping(optimizer),
        "gradient unmodified": lambda: check_unmodified(optimizer),
        **registry_checks(optimizer),
    }


def _gradients(count: int, dtype: str = "float64") -> list[np.ndarray]:
    return [np.random.default_rng(number).normal(size=7).astype(dtype) for number in range(count)]


def check_reference(optimizer: Optimizer, reference: Any) -> None:
    """Four steps equal the reference's formula."""
    if reference is None:
        raise CheckSkipped("no reference was passed")
    for dtype in COMPUTED_FLOATS:
        tolerance = DTYPES[dtype].tolerance
        parameter = np.random.default_rng(9).normal(size=7)
        state = {name: np.full(7, first) for name, first in optimizer.init().items()}
        run = OptimizerRun(optimizer, parameter.astype(dtype))
        for number, gradient in enumerate(_gradients(4)):
            parameter, state = reference(parameter, gradient, state, optimizer.rate(number), number + 1)
            found = run.step(gradient.astype(dtype))
            np.testing.assert_allclose(
                found, parameter, rtol=tolerance, atol=tolerance, err_msg=f"{dtype}, step {number + 1}"
            )


def check_converges(optimizer: Optimizer) -> None:
    """A convex quadratic falls to a hundredth of its start, at some usual learning rate."""
    curvature, start = np.linspace(0.5, 2.0, 7), np.linspace(-1.5, 2.0, 7)
    lowest = np.inf
    rates = (0.1, 0.5, 0.02) if _has_rate(optimizer) else (None,)
    for rate in rates:
        run = OptimizerRun(optimizer if rate is None else _with_rate(optimizer, rate), start)
        at = start
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(600):
                at = run.step(curvature * at)
            lowest = float(np.fmin(lowest, curvature @ (at * at)))
    expect(
        lowest < 0.01 * float(curvature @ (start * start)), f"after 600 steps the quadratic is {lowest:.3g}"
    )


def check_state(optimizer: Optimizer) -> None:
    """Stopping, copying parameter and state, and going on gives the same bits as not stopping."""
    gradients = _gradients(6, "float32")
    start = np.linspace(-1, 1, 7, dtype="float32")
    whole, first, second = (OptimizerRun(optimizer, start) for _ in range(3))
    for gradient in gradients:
        whole.step(gradient)
    for gradient in gradients[:3]:
        first.step(gradient)
    for path, array in first.state().items():
        second.variables.write(path, array)
    second.steps = first.steps
    for gradient in gradients[3:]:
        second.step(gradient)
    for path, array in whole.state().items():
        expect(np.array_equal(array, second.state()[path]), f"'{path}' differs after state was copied")


def check_schedule(optimizer: Optimizer) -> None:
    """A schedule is called with the completed steps, and a rate of zero changes nothing but state."""

    class Recorded(Schedule):
        asked: list[int] = []

        def __call__(self, step: int) -> float:
            self.asked.append(step)
            return 0.0

    if not _has_rate(optimizer):
        raise CheckSkipped("it has no learning_rate")
    start = np.linspace(-1, 1, 7)
    run = OptimizerRun(_with_rate(optimizer, Recorded()), start)
    for gradient in _gradients(3):
        found = run.step(gradient)
    expect(Recorded.asked == [0, 1, 2], f"the schedule was asked for the steps {Recorded.asked}")
    expect(np.array_equal(found, start), "a learning rate of 0 moved the parameter")


def check_weight_decay(optimizer: Optimizer) -> None:
    """With weight decay and no gradient a parameter goes towards zero."""
    decayed = replace(optimizer, weight_decay=0.1)
    start = np.linspace(1, 2, 7)
    run = OptimizerRun(_with_rate(decayed, 0.01) if _has_rate(optimizer) else decayed, start)
    for _ in range(5):
        found = run.step(np.zeros(7))
    expect(np.all(np.abs(found) < np.abs(start)), f"parameters went from {start} to {found}")


def check_clipping(optimizer: Optimizer) -> None:
    """Clipped gradients act like the same gradients clipped by hand."""
    start, gradient = np.linspace(1, 2, 7), 10 * _gradients(1)[0]
    norm = np.linalg.norm(gradient)
    changes: tuple[tuple[dict[str, Any], np.ndarray], ...] = (
        ({"clip_value": 0.5}, np.clip(gradient, -0.5, 0.5)),
        ({"clip_norm": 1.0}, gradient / (norm + 1e-6)),
        ({"clip_norm": 1e6}, gradient),
    )
    for change, clipped in changes:
        found = OptimizerRun(replace(optimizer, **change), start).step(gradient)
        expected = OptimizerRun(optimizer, start).step(clipped)
        expect_numbers(found, expected, str(change))
        np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=str(change))
    for size in (1e25, 1e-25):  # whose squares float32 cannot hold
        huge, single = (gradient * size).astype("float32"), start.astype("float32")
        wide = huge.astype("float64")
        clipped = (wide * min(1.0, 1.0 / (np.linalg.norm(wide) + 1e-6))).astype("float32")
        found = OptimizerRun(replace(optimizer, clip_norm=1.0), single).step(huge)
        expected = OptimizerRun(optimizer, single).step(clipped)
        expect_numbers(found, expected, f"gradients of {size}")
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=f"gradients of {size}")


def check_unmodified(optimizer: Optimizer) -> None:
    """The gradient that was passed stays as it is."""
    gradient = _gradients(1)[0]
    before = gradient.copy()
    OptimizerRun(optimizer, np.ones(7)).step(gradient)
    expect(np.array_equal(gradient, before), "the gradient was overwritten")


def _has_rate(optimizer: Optimizer) -> bool:
    return any(field.name == "learning_rate" for field in fields(optimizer))


def _with_rate(optimizer: Optimizer, rate: Any) -> Optimizer:
    return replace(optimizer, learning_rate=rate)  # type: ignore[call-arg]  # _has_rate was asked first
