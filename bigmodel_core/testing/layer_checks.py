"""The checks of layers, models and single ops."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph import Op
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS, DTYPES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import listed
from bigmodel_core.plan import Program
from bigmodel_core.testing import round_trips
from bigmodel_core.testing.backward import Backward
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, behind, expect, expect_numbers
from bigmodel_core.testing.child import isolated
from bigmodel_core.testing.kernel_checks import (
    check_cuts,
    check_inputs_kept,
    check_memory,
    check_survives,
    check_threads,
    expect_same,
)
from bigmodel_core.testing.layer_gradients import check_gradient, check_second_gradient
from bigmodel_core.testing.layer_subject import Applied, LayerSubject
from bigmodel_core.testing.registry_checks import expect_readable, registry_checks
from bigmodel_core.train.by_output import Losses
from bigmodel_core.train.step import TrainStep
from bigmodel_core.train.usual import usual_loss, usual_metrics, usual_optimizer


def layer_checks(layer: Layer, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of a layer."""
    subject = LayerSubject(layer, inputs, reference)
    return {
        **_computation_checks(
            subject,
            {
                "cuda equals cpu": lambda: round_trips.check_cuda(subject),
                "save and reload": lambda: round_trips.check_reload(subject),
                "onnx": lambda: round_trips.check_onnx(subject),
                "error texts": lambda: check_error_texts(subject),
            },
        ),
        **registry_checks(layer),
    }


def model_checks(model: Model, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of a model: those of a layer, its defaults exist, and it learns."""
    subject = LayerSubject(model, inputs)
    return {
        **layer_checks(model, inputs, reference),
        "defaults exist": lambda: check_defaults(model),
        "learns": lambda: isolated(check_learns, subject),
    }


def op_checks(op: Op, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of an op: those of a layer that do not need a name."""
    subject = LayerSubject(Applied(op), inputs, reference)
    elsewhere = {"cuda equals cpu": round_trips.check_cuda, "onnx": round_trips.check_onnx}
    return _computation_checks(
        subject, {name: functools.partial(check, subject) for name, check in elsewhere.items()}
    )


def _computation_checks(subject: LayerSubject, elsewhere: Found) -> Found:
    """The checks of what is computed.

    Args:
        subject: the layer.
        elsewhere: checks that run kernels in this process, too, and so only where these keep to their memory.
    """
    apart = {
        "shapes and dtypes": check_shapes,
        "reference": check_reference,
        "gradient": check_gradient,
        "gradient of the gradient": check_second_gradient,
        "same seed, same numbers": check_repeats,
        "non-contiguous inputs": check_non_contiguous,
        "empty batch": check_empty_batch,
        "same bits at any thread count": lambda subject: check_threads(subject.works(subject.large)),
    }
    return behind(
        "runs",
        {
            "runs": lambda: check_runs(subject),
            **behind(
                "stays in its memory",
                {
                    "stays in its memory": lambda: check_memory(subject.works(subject.batch)),
                    **{name: functools.partial(isolated, check, subject) for name, check in apart.items()},
                    "inputs unmodified": lambda: check_unmodified(subject),
                    "same bits however it is cut": lambda: check_cuts(subject.works(subject.many)),
                    **elsewhere,
                },
            ),
        },
    )


def check_runs(subject: LayerSubject) -> None:
    """It can be built and run, forward and backward, for both float types."""
    ready = [(subject.backward(dtype), subject.arrays(subject.batch, dtype)) for dtype in COMPUTED_FLOATS]

    def run() -> None:
        for backward, arrays in ready:
            outputs_of(backward.network, arrays)
            backward.run(arrays)

    check_survives(run, lambda: subject.works(subject.batch))


def outputs_of(network: Network, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a model as a list."""
    return listed(network(*arrays))


def check_shapes(subject: LayerSubject) -> None:
    """Outputs have the shape and type that the graph said, for both float types and several batches."""
    for dtype in COMPUTED_FLOATS:
        network = subject.network(dtype)
        for batch in (subject.batch, 3):
            arrays = subject.arrays(batch, dtype)
            for spec, output in zip(network.outputs, outputs_of(network, arrays), strict=True):
                expected = spec.bind(dict.fromkeys(spec.names(), batch))
                expect(
                    (output.shape, output.dtype.name) == (expected.shape, expected.dtype),
                    f"the output is {output.shape} {output.dtype}, the graph said {expected}",
                )
                expect(
                    output.dtype.kind != "f" or output.dtype == dtype,
                    f"the output of a {dtype} model is {output.dtype}",
                )


def check_reference(subject: LayerSubject) -> None:
    """Outputs in inference mode equal those of the reference in float64, for batches of any size."""
    if subject.reference is None:
        raise CheckSkipped("no reference was passed")
    sizes = dict.fromkeys((subject.batch, 1, 2, subject.large))
    for dtype, batch in (("float64", subject.batch), *(("float32", batch) for batch in sizes)):
        tolerance = DTYPES[dtype].tolerance
        network = subject.network(dtype)
        arrays = subject.arrays(batch, dtype)
        wide = [array.astype("float64") if array.dtype.kind == "f" else array for array in arrays]
        options = {}
        if "state" in inspect.signature(subject.reference).parameters:
            options["state"] = {path: array.astype("float64") for path, array in network.state().items()}
        expected = subject.reference(*wide, **options)
        for output, right in zip(outputs_of(network, arrays), listed(expected), strict=True):
            scale = max(float(np.max(np.abs(right), initial=0)), 1.0)
            np.testing.assert_allclose(
                output, right, rtol=tolerance, atol=tolerance * scale, err_msg=f"{dtype}, batch {batch}"
            )


def check_repeats(subject: LayerSubject) -> None:
    """Models built with one seed have the same parameters, and give the same bits forward and backward."""
    arrays, found = subject.arrays(subject.batch), []
    for _ in range(2):
        network = subject.layer.build(*subject.specs_in("float32"), seed=0, dtype="float32")
        state = network.state()
        outputs, _, gradients = Backward(network).run(arrays)
        found.append(([*state.values()], [*outputs_of(network, arrays), *outputs, *gradients.values()]))
    (states, results), (others, again) = found
    for name, one, other in zip(state, states, others, strict=True):
        expect(
            np.array_equal(one, other, equal_nan=one.dtype.kind == "f"),
            f"two models built with one seed differ in parameter '{name}': draw it from the generator that"
            " initializers are given",
        )
    expect_same(results, again, "two models built with one seed: outputs and gradients")


def check_unmodified(subject: LayerSubject) -> None:
    """No kernel, forward or backward, writes into what it reads; nor is the caller's array written."""

    def run() -> None:
        arrays = subject.arrays(subject.batch)
        before = [array.copy() for array in arrays]
        outputs_of(subject.network(), arrays)
        subject.backward().run(arrays)
        expect(all(map(np.array_equal, arrays, before)), "an array of the caller was overwritten")

    isolated(run)
    works = subject.works(subject.batch)
    if any(work.has_own_kernels or work.is_small for work in works):
        check_inputs_kept(works)


def check_non_contiguous(subject: LayerSubject) -> None:
    """Views with strides give the same bits as contiguous copies of them; images with channels last in memory
    the same numbers, if kernels of its own read them."""
    network = subject.network()
    wide = subject.arrays(2 * subject.batch)
    views = [
        array[::2] if spec.names() else np.asfortranarray(array)
        for array, spec in zip(wide, subject.specs, strict=True)
    ]
    copies = [np.ascontiguousarray(view) for view in views]
    trace = network.trace(training=False)
    if not network.drawing(Program(trace.graph, trace.outputs)):  # else no two calls give the same
        expect_same(outputs_of(network, views), outputs_of(network, copies), "a view and a copy of it")
    if any(array.ndim in (4, 5) for array in wide) and any(work.has_own_kernels for work in subject.works(1)):
        found, _, gradients = subject.backward_of_turned().run(wide)
        outputs, _, expected = subject.backward().run(wide)
        named = {f"output {number}": pair for number, pair in enumerate(zip(found, outputs, strict=True))}
        named |= {f"gradient of {name}": (gradients[name], right) for name, right in expected.items()}
        for what, (got, right) in named.items():
            expect_numbers(got, right, what)
            bound = 1e-5 * max(float(np.max(np.abs(right), initial=0)), 1.0)
            expect(
                np.allclose(got, right, 1e-5, bound),
                f"the {what} differs for images with channels last in memory; check the op's permuted and"
                " channels_last",
            )


def check_empty_batch(subject: LayerSubject) -> None:
    """A batch of no samples gives outputs of no samples."""
    network = subject.network()
    if not any(spec.names() for spec in subject.specs):
        raise CheckSkipped("no dimension is free")
    for spec, output in zip(network.outputs, outputs_of(network, subject.arrays(0)), strict=True):
        expected = spec.bind(dict.fromkeys(spec.names(), 0)).shape
        expect(output.shape == expected, f"the output is {output.shape}, expected {expected}")


def check_error_texts(subject: LayerSubject) -> None:
    """Wrong inputs are errors of this project that say what was expected; never a traceback of NumPy."""
    network = subject.network()
    arrays = subject.arrays(subject.batch)
    for number, array in enumerate(arrays):
        if array.ndim > 1:
            wrong = [*arrays[:number], np.concatenate([array, array], -1), *arrays[number + 1 :]]
            try:
                network(*wrong)
            except ShapeError as error:
                expect("expected" in str(error), f"the message does not say what was expected: {error}")
            else:
                raise AssertionError("an input that is too wide was accepted")
    for spec in (Spec(()), Spec(("N",)), Spec(("N", 7), "bool"), Spec(("N", 7), "int64")):
        specs = [spec] * len(arrays)
        expect_readable(
            lambda specs=specs: subject.layer.build(*specs, seed=0),  # type: ignore[misc]  # mypy infers no lambda with defaults
            f"building for {spec}",
            may_work=True,
        )
    expect_readable(lambda: network(), "a call without inputs")


def check_defaults(model: Model) -> None:
    """The names of the model's loss, optimizer and metrics are registered."""
    for usual in (usual_loss, usual_optimizer, usual_metrics):
        usual(model)


def check_learns(subject: LayerSubject) -> None:
    """Thirty steps on one batch with the model's own loss and optimizer lower that loss."""
    model = subject.layer
    assert isinstance(model, Model)
    arrays = subject.arrays(32)
    loss = usual_loss(model)
    step = TrainStep(model.build(*subject.specs, seed=0), loss, usual_optimizer(model))
    generator = np.random.default_rng(3)

    def target_of(own: Loss, output: np.ndarray) -> np.ndarray:
        shape = own.point(output).shape
        if own.target_dtype == "int64":
            return generator.integers(0, max(shape[-1], 2), shape[:-1])
        return generator.normal(size=shape).astype("float32")

    names, outputs = model.network.output_names, listed(model.network(*arrays))
    by_name = dict(zip(names, outputs, strict=True))
    target: Any = (
        {str(term.output): target_of(term.loss, by_name[str(term.output)]) for _, term in loss.placed(names)}
        if isinstance(loss, Losses)
        else target_of(loss, outputs[0])
    )
    if isinstance(loss, Loss) and (own := loss.example_targets(by_name, generator)) is not None:
        target = own
    losses = [step(tuple(arrays), target) for _ in range(30)]
    expect(losses[-1] < losses[0], f"the loss went from {losses[0]:.4f} to {losses[-1]:.4f}")
