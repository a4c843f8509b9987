"""The checks of optimizers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from bigmodel_core.graph.dtypes import COMPUTED_FLOATS, DTYPES
from bigmodel_core.nn.optimizer import Optimizer, Schedule
from bigmodel_core.registry import config
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, behind, expect, expect_numbers
from bigmodel_core.testing.child import isolated
from bigmodel_core.testing.kernel_checks import Work, check_cuts, check_inputs_kept, check_memory
from bigmodel_core.testing.optimizer_run import OptimizerRun, steps_on
from bigmodel_core.testing.registry_checks import registry_checks, require_registered
from bigmodel_core.testing.worker import cuda_workers, exchanged


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
                "cuda equals cpu": lambda: check_cuda(optimizer),
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


def check_cuda(optimizer: Optimizer) -> None:
    """Steps on "cuda" (a device, if there is one, and the simulator) equal those on "cpu", for each shape."""
    require_registered(optimizer)
    for shape in SHAPES:
        start, *given = _gradients(3, "float32", shape)
        expected = steps_on("cpu", optimizer, start, given)
        settings = config.to_config(optimizer)
        for worker in cuda_workers():
            found = exchanged(worker, "optimizer", [start, *given], {}, config=settings, device="cuda")
            for name, ours, theirs in zip(expected, expected.values(), found, strict=True):
                what = f"'{name}' of a parameter of shape {shape} after {len(given)} steps"
                expect_numbers(theirs, ours, what)
                np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5, err_msg=what)


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
