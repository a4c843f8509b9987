"""The checks of losses."""

from __future__ import annotations

import functools
from functools import cached_property
from typing import Any

import numpy as np

from bigmodel_core.errors import BigmodelError, DataError, UsageError
from bigmodel_core.graph import Graph, needed
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS, DTYPES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.loss import Loss
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.plan.kernel_table import without_kernel
from bigmodel_core.registry import config
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, behind, expect, expect_numbers
from bigmodel_core.testing.child import isolated
from bigmodel_core.testing.evaluate import compute
from bigmodel_core.testing.examples import PASS_INPUTS, draw, input_specs
from bigmodel_core.testing.gradients import check_gradients
from bigmodel_core.testing.kernel_checks import (
    Work,
    check_cuts,
    check_inputs_kept,
    check_memory,
    check_survives,
    check_threads,
)
from bigmodel_core.testing.registry_checks import expect_readable, registry_checks, require_registered
from bigmodel_core.testing.worker import cuda_workers, exchanged

LOSS_INPUTS: tuple[tuple[Spec, Spec], ...] = (
    (Spec(("N", 5)), Spec(("N",), "int64")),
    (Spec(("N", 5)), Spec(("N", 5))),
    (Spec(("N", 1)), Spec(("N", 1))),
)
"""Predictions and targets that a loss of unknown purpose is tried on, in order."""


class LossSubject:
    """A loss and what it compares."""

    def __init__(self, loss: Loss, inputs: Inputs | None, reference: Any) -> None:
        self.loss, self.reference = loss, reference
        self._given = inputs

    @cached_property
    def specs(self) -> tuple[Spec, ...]:
        """The specs of prediction and target."""
        if self._given is not None:
            return input_specs(self._given)
        wanted = self.loss.target_dtype
        for specs in LOSS_INPUTS:
            if (specs[1].dtype == "int64") != (wanted == "int64"):
                continue
            try:
                with (graph := Graph()).active():
                    self.loss(graph.input("prediction", specs[0]), graph.input("target", specs[1]))
                return specs
            except BigmodelError:
                continue
        raise UsageError(f"no inputs for {type(self.loss).__name__} were found.", fix=PASS_INPUTS)

    def work(self, batch: int) -> Work:
        """What its kernels do, with their gradients."""
        prediction, target = self.arrays(batch)
        return Work(_program(self.loss, prediction, target), {"prediction": prediction, "target": target})

    @property
    def has_labels(self) -> bool:
        """Whether targets are integers."""
        return not self.specs[1].is_float

    def arrays(self, batch: int, dtype: str = "float32") -> list[np.ndarray]:
        """Predictions and targets; targets that were given as an array are taken as they are."""
        if self._given is not None and all(isinstance(item, np.ndarray) for item in self._given):
            examples: list[np.ndarray] = list(self._given)  # type: ignore[arg-type]  # all are arrays
            given = [np.resize(item, (batch, *item.shape[1:])) for item in examples]
            return [item.astype(dtype) if item.dtype.kind == "f" else item for item in given]
        return [
            draw(spec, batch, 10 + n, dtype if spec.is_float else None) for n, spec in enumerate(self.specs)
        ]


def loss_checks(loss: Loss, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of a loss; the reference gives the loss of each sample."""
    subject = LossSubject(loss, inputs, reference)
    apart = {
        "shapes and dtypes": check_shapes,
        "mean of each": check_mean,
        "reference": check_reference,
        "gradient": check_gradient,
        "stable": check_stable,
        "nothing is broadcast": check_broadcast,
        "labels out of range": check_labels,
        "same bits at any thread count": lambda subject: check_threads([subject.work(20_000)]),
    }
    guarded: Found = {
        "stays in its memory": lambda: check_memory([subject.work(6)]),
        **{name: functools.partial(isolated, check, subject) for name, check in apart.items()},
        "inputs unmodified": lambda: check_unmodified(subject),
        "same bits however it is cut": lambda: check_cuts([subject.work(7)]),
        "cuda equals cpu": lambda: check_cuda(subject),
    }
    return {
        **behind("runs", {"runs": lambda: check_runs(subject), **behind("stays in its memory", guarded)}),
        **registry_checks(loss),
    }


def check_runs(subject: LossSubject) -> None:
    """It can be built and run, forward and backward, for both float types."""

    def run() -> None:
        for dtype in COMPUTED_FLOATS:
            _computed(subject.loss, *subject.arrays(6, dtype))

    check_survives(run, lambda: [subject.work(6)])


def check_shapes(subject: LossSubject) -> None:
    """The loss is a scalar; the losses of samples have the batch first; both of the prediction's type."""
    for dtype in COMPUTED_FLOATS:
        mean, _, each, _ = _computed(subject.loss, *subject.arrays(6, dtype))
        expect(each.shape[:1] == (6,), f"the losses of 6 samples have the shape {each.shape}")
        expect(mean.shape == (), f"the loss has the shape {mean.shape}, expected a scalar")
        expect(each.dtype == mean.dtype == dtype, f"losses of {dtype} are {each.dtype} and {mean.dtype}")


def check_mean(subject: LossSubject) -> None:
    """Calling the loss gives the mean of the losses of samples over what they count."""
    mean, _, each, counts = _computed(subject.loss, *subject.arrays(6, "float64"))
    expect(counts.shape == each.shape, f"counts has the shape {counts.shape}, each has {each.shape}")
    expected = each.sum() / (counts.sum() or 1.0)
    expect_numbers(mean, expected, "the mean")
    np.testing.assert_allclose(mean, expected, rtol=1e-12)


def check_reference(subject: LossSubject) -> None:
    """The losses of samples equal the reference's in float64."""
    if subject.reference is None:
        raise CheckSkipped("no reference was passed")
    for dtype in COMPUTED_FLOATS:
        tolerance = DTYPES[dtype].tolerance
        arrays = subject.arrays(6, dtype)
        wide = [array.astype("float64") if array.dtype.kind == "f" else array for array in arrays]
        expected = subject.reference(*wide)
        _, _, found, _ = _computed(subject.loss, *arrays)
        expect(found.shape == np.shape(expected), f"the losses are {found.shape}, not {np.shape(expected)}")
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=dtype)


def check_gradient(subject: LossSubject) -> None:
    """The gradient of the prediction equals finite differences in float64."""
    check_gradients(subject.loss, subject.arrays(4, "float64"), wrt=[0])
    check_gradients(subject.loss.each, subject.arrays(4, "float64"), wrt=[0])


def check_stable(subject: LossSubject) -> None:
    """Predictions of 10000 and more give finite losses and gradients."""
    prediction, target = subject.arrays(6)
    prediction = np.where(prediction > 0, 1e4, -1e4).astype("float32") * (1 + np.abs(prediction))
    loss, gradient, *_ = _computed(subject.loss, prediction, target)
    expect(np.isfinite(loss) and np.isfinite(gradient).all(), f"the loss of large predictions is {loss}")


def check_broadcast(subject: LossSubject) -> None:
    """Predictions against targets of another shape are an error, or mean the targets reshaped, as (N, 1) may
    against (N,); they are never broadcast."""
    loss = subject.loss
    if subject.has_labels:
        pairs: list[tuple[Any, Any]] = [((6, 5), (6, 1)), ((6, 5), (1,))]
    else:
        pairs = [((6, 1), (6,)), ((6,), (6, 1)), ((6, 5), (6, 1)), ((6, 5), (1, 5))]
    for prediction, target in pairs:
        wrong = [np.zeros(prediction, "float32"), np.zeros(target, subject.specs[1].dtype)]
        if wrong[0].size == wrong[1].size:
            wrong = [
                np.linspace(0, 1, array.size).reshape(array.shape).astype(array.dtype) for array in wrong
            ]
            if _means_reshaped(loss, *wrong):
                continue
        expect_readable(lambda wrong=wrong: compute(loss, *wrong), f"{prediction} against {target}")  # type: ignore[misc]  # mypy infers no lambda with defaults


def _means_reshaped(loss: Loss, prediction: np.ndarray, target: np.ndarray) -> bool:
    """Whether a loss takes targets of another shape, for the same as in the prediction's shape."""
    try:
        found = compute(loss, prediction, target)
        return bool(found == compute(loss, prediction, target.reshape(prediction.shape)))
    except BigmodelError:
        return False


def check_labels(subject: LossSubject) -> None:
    """Integer labels below zero and beyond the classes stop the run with DataError."""
    if not subject.has_labels:
        raise CheckSkipped("the targets are not labels")
    prediction, target = subject.arrays(6)
    for wrong in (-1, 1000):
        changed = target.copy()
        changed.reshape(-1)[2] = wrong
        try:
            compute(subject.loss, prediction, changed)
        except DataError as error:
            expect(str(wrong) in str(error), f"the message does not name the label {wrong}: {error}")
        else:
            raise AssertionError(f"the label {wrong} was accepted")


def check_unmodified(subject: LossSubject) -> None:
    """Neither the loss nor its gradient writes into the inputs."""

    def run() -> None:
        arrays = subject.arrays(6)
        before = [array.copy() for array in arrays]
        _computed(subject.loss, *arrays)
        expect(all(map(np.array_equal, arrays, before)), "an array of the caller was overwritten")

    isolated(run)
    check_inputs_kept([subject.work(6)])


def check_cuda(subject: LossSubject) -> None:
    """Losses and gradient on "cuda" (a device, if there is one, and the simulator) equal those on "cpu"."""
    require_registered(subject.loss)
    arrays = subject.arrays(4)
    program = _program(subject.loss, *arrays)
    if lacking := without_kernel("cuda", [node.op for node in needed(program.outputs)]):
        raise CheckSkipped(f"{', '.join(lacking)}: no CUDA kernel")
    _, gradient, each, _ = _computed(subject.loss, *arrays)
    expected = [each, gradient]
    for worker in cuda_workers():
        found = exchanged(worker, "loss", arrays, {}, config=config.to_config(subject.loss), device="cuda")
        for theirs, ours in zip(found, expected, strict=True):
            expect_numbers(theirs, ours, "cuda and cpu")
            np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)


def _program(loss: Loss, prediction: np.ndarray, target: np.ndarray) -> Program:
    """A loss, its gradient, the losses of samples, and what they count where not all count alike: one program
    for all checks, so that its kernels are compiled once for each float type."""
    graph = Graph()
    with graph.active():
        given = graph.input("prediction", Spec(prediction.shape, prediction.dtype.name))
        compared = graph.input("target", Spec(target.shape, target.dtype.name))
        value = loss(given, compared)
        (gradient,) = gradients(value, [given])
        each, counts = loss.each(given, compared), loss.counts(given, compared)
    return Program(graph, [value, gradient, each, *([] if counts is None else [counts])])


def _computed(loss: Loss, prediction: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    """The loss, its gradient, the losses of samples, and what each counts."""
    program = _program(loss, prediction, target)
    given = {"prediction": prediction, "target": target}
    found = program.run(
        Variables(device_named("cpu")), {name: given[name] for name in given if name in program.inputs}
    )
    return found if len(found) > 3 else [*found, np.ones_like(found[2])]
