"""The checks of optimizers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from bigmodel_core.graph import Graph
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS, DTYPES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.optimizer import Optimizer, Schedule, first_state
from bigmodel_core.ops.random import STEP
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, behind, expect, expect_numbers
from bigmodel_core.testing.child import isolated
from bigmodel_core.testing.kernel_checks import Work, check_cuts, check_inputs_kept, check_memory
from bigmodel_core.testing.registry_checks import registry_checks


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
        for name, value in {"parameter": new, **kept}.items():
            was = self.variables.spec(name)
            expect(value.spec == was, f"'{name}' was {was} before the step and is {value.spec} after it")
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

    def work(self, gradient: np.ndarray) -> Work:
        """The first step, with all that it reads."""
        rate, step = np.asarray(self.optimizer.rate(0), "float64"), np.asarray(1, "int64")
        given = {"gradient": gradient, "~rate": rate, STEP: step}
        return Work(self._program, given, self.state())

    def state(self) -> dict[str, np.ndarray]:
        """Parameter and state."""
        return {path: self.variables.read(path) for path in self.variables}


def optimizer_checks(optimizer: Optimizer, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of an optimizer.

    The reference is `reference(parameter, gradient, state, rate, step) -> (parameter, state)` on float64
    arrays, `state` being a dict of arrays by the names of `init_parameter`, `step` counting from 1.
    """
    apart: dict[str, Callable[[Optimizer], None]] = {
        "converges": check_converges,
        "state round-trip": check_state,
        "follows its schedule": check_schedule,
        "weight decay": check_weight_decay,
        "clipping": check_clipping,
    }
    return {
        **behind(
            "runs",
            {
                "runs": lambda: isolated(check_runs, optimizer),
                "stays in its memory": lambda: check_memory(_works(optimizer)),
                "reference": lambda: isolated(check_reference, optimizer, reference),
                **{name: functools.partial(isolated, check, optimizer) for name, check in apart.items()},
                "inputs unmodified": lambda: check_inputs_kept(_works(optimizer)),
                "same bits however it is cut": lambda: check_cuts(_works(optimizer)),
            },
        ),
        **registry_checks(optimizer),
    }


SHAPES: tuple[tuple[int, ...], ...] = ((7,), (5, 4), (), (2, 3, 3, 2))
"""The shapes of parameters that optimizers are tried on."""


def _gradients(count: int, dtype: str = "float64", shape: tuple[int, ...] = SHAPES[0]) -> list[np.ndarray]:
    return [np.asarray(np.random.default_rng(n).normal(size=shape), dtype) for n in range(count)]


def _works(optimizer: Optimizer) -> list[Work]:
    """A step on a parameter of each shape."""
    return [
        OptimizerRun(optimizer, start).work(gradient)
        for shape in SHAPES
        for start, gradient in [_gradients(2, "float32", shape)]
    ]


def check_runs(optimizer: Optimizer) -> None:
    """It takes steps with vectors, matrices, scalars and weights of convolutions, and these stay finite."""
    for dtype in COMPUTED_FLOATS:
        for shape in SHAPES:
            start, *given = _gradients(3, dtype, shape)
            try:
                run = OptimizerRun(optimizer, start)
                for gradient in given:
                    found = run.step(gradient)
            except Exception as error:  # whatever a stranger's code raises
                text = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
                raise AssertionError(f"a parameter of shape {shape}: {text}") from error
            expect(np.isfinite(found).all(), f"a parameter of shape {shape} is {found} after two steps")


def check_reference(optimizer: Optimizer, reference: Any) -> None:
    """Four steps equal the reference's formula, for parameters of each shape."""
    if reference is None:
        raise CheckSkipped("no reference was passed")
    for dtype, shape in (("float32", SHAPES[0]), *(("float64", shape) for shape in SHAPES)):
        tolerance = DTYPES[dtype].tolerance
        parameter = np.asarray(np.random.default_rng(9).normal(size=shape))
        run = OptimizerRun(optimizer, parameter.astype(dtype))
        state = {name: array for name, array in run.state().items() if name != "parameter"}
        state = {name: array.astype("float64") for name, array in state.items()}
        for number, gradient in enumerate(_gradients(4, shape=shape)):
            parameter, state = reference(parameter, gradient, state, optimizer.rate(number), number + 1)
            found = run.step(gradient.astype(dtype))
            what = f"{dtype}, shape {shape}, step {number + 1}"
            np.testing.assert_allclose(found, parameter, rtol=tolerance, atol=tolerance, err_msg=what)


def _quadratic(at: np.ndarray) -> tuple[float, np.ndarray]:
    """A convex quadratic of other curvature along each axis, lowest at 0."""
    curvature = np.linspace(0.5, 2.0, at.size).reshape(at.shape)
    return float((curvature * at * at).sum()), curvature * at


def _flat(at: np.ndarray) -> tuple[float, np.ndarray]:
    """log(cosh(x - 1)), whose gradients are small where it is far from its lowest point."""
    return float(np.log(np.cosh(at - 1)).sum()), np.tanh(at - 1)


PROBLEMS: tuple[tuple[str, Any, tuple[int, ...]], ...] = (
    ("a quadratic", _quadratic, (7,)),
    ("a quadratic of a matrix", _quadratic, (4, 3)),
    ("a quadratic of a scalar", _quadratic, ()),
    ("log(cosh(x - 1)) of weights of a convolution", _flat, (2, 1, 2, 2)),
)
"""What is minimised: its name, its value and gradient, and the shape of its parameter."""


def check_converges(optimizer: Optimizer) -> None:
    """Each problem falls to a hundredth of its start, at some usual learning rate."""
    rates = (0.1, 0.5, 0.02) if _has_rate(optimizer) else (None,)
    for name, problem, shape in PROBLEMS:
        start = np.asarray(np.linspace(-1.5, 2.0, int(np.prod(shape))).reshape(shape))
        first = problem(start)[0]
        lowest = np.inf
        for rate in rates:
            run = OptimizerRun(optimizer if rate is None else _with_rate(optimizer, rate), start)
            at = start
            with np.errstate(over="ignore", invalid="ignore"):
                for _ in range(600):
                    at = run.step(problem(at)[1])
                lowest = float(np.fmin(lowest, problem(at)[0]))
            if lowest < 0.01 * first:
                break
        else:
            raise AssertionError(f"after 600 steps {name} is {lowest:.3g}, and was {first:.3g}")


def check_state(optimizer: Optimizer) -> None:
    """Stopping, copying parameter and state, and going on gives the same bits as not stopping."""
    for shape in SHAPES:
        start, *gradients = _gradients(7, "float32", shape)
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


def _has_rate(optimizer: Optimizer) -> bool:
    return any(field.name == "learning_rate" for field in fields(optimizer))


def _with_rate(optimizer: Optimizer, rate: Any) -> Optimizer:
    return replace(optimizer, learning_rate=rate)  # type: ignore[call-arg]  # _has_rate was asked first
