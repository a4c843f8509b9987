"""The checks of layers, models and single ops."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph import Op
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS, DTYPES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import listed
from bigmodel_core.testing import round_trips
from bigmodel_core.testing.backward import Backward
from bigmodel_core.testing.checks import CheckSkipped, Inputs, expect, expect_numbers
from bigmodel_core.testing.gradients import compare
from bigmodel_core.testing.layer_subject import Applied, LayerSubject
from bigmodel_core.testing.memory_checks import check_memory
from bigmodel_core.testing.registry_checks import Found, expect_readable, registry_checks
from bigmodel_core.train.step import TrainStep
from bigmodel_core.train.usual import usual_loss, usual_metrics, usual_optimizer


def layer_checks(layer: Layer, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of a layer."""
    subject = LayerSubject(layer, inputs, reference)
    found = {
        **_computation_checks(),
        "cuda equals cpu": round_trips.check_cuda,
        "save and reload": round_trips.check_reload,
        "onnx": round_trips.check_onnx,
        "error texts": check_error_texts,
    }
    return {**_on(subject, found), **registry_checks(layer)}


def model_checks(model: Model, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of a model: those of a layer, its defaults exist, and it learns."""
    return {
        **layer_checks(model, inputs, reference),
        "defaults exist": lambda: check_defaults(model),
        "learns": lambda: check_learns(LayerSubject(model, inputs)),
    }


def op_checks(op: Op, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of an op: those of a layer that do not need a name."""
    subject = LayerSubject(Applied(op), inputs, reference)
    return _on(subject, {**_computation_checks(), "onnx": round_trips.check_onnx})


def _computation_checks() -> dict[str, Callable[[LayerSubject], None]]:
    return {
        "shapes and dtypes": check_shapes,
        "reference": check_reference,
        "gradient": check_gradient,
        "inputs unmodified": check_unmodified,
        "non-contiguous inputs": check_non_contiguous,
        "empty batch": check_empty_batch,
        "same bits at any thread count": check_threads,
    }


def _on(subject: LayerSubject, checks: Mapping[str, Callable[[LayerSubject], None]]) -> Found:
    """Checks of a subject. If its kernels do not keep to their memory, the others might end the process."""

    @functools.cache
    def memory() -> Exception | None:
        try:
            check_memory(subject)
        except (AssertionError, CheckSkipped) as error:
            return error
        return None

    def show_memory() -> None:
        if (error := memory()) is not None:
            raise error

    def run(check: Callable[[LayerSubject], None]) -> None:
        if isinstance(memory(), AssertionError):
            raise CheckSkipped("the check 'memory and cuts' fails")
        check(subject)

    found = {name: functools.partial(run, check) for name, check in checks.items()}
    return {"memory and cuts": show_memory, **found}


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
    """Outputs in inference mode equal those of the reference in float64, for few samples and for many."""
    if subject.reference is None:
        raise CheckSkipped("no reference was passed")
    for dtype in COMPUTED_FLOATS:
        network = subject.network(dtype)
        for batch in (subject.batch, subject.many):
            _compare_with_reference(subject, network, subject.arrays(batch, dtype), dtype)


def _compare_with_reference(
    subject: LayerSubject, network: Network, arrays: list[np.ndarray], dtype: str
) -> None:
    assert subject.reference is not None
    tolerance = DTYPES[dtype].tolerance
    wide = [array.astype("float64") if array.dtype.kind == "f" else array for array in arrays]
    options = {}
    if "state" in inspect.signature(subject.reference).parameters:
        options["state"] = {path: array.astype("float64") for path, array in network.state().items()}
    expected = subject.reference(*wide, **options)
    for output, right in zip(outputs_of(network, arrays), listed(expected), strict=True):
        scale = max(float(np.max(np.abs(right), initial=0)), 1.0)
        np.testing.assert_allclose(output, right, rtol=tolerance, atol=tolerance * scale, err_msg=dtype)


def check_gradient(subject: LayerSubject) -> None:
    """Gradients of inputs and parameters in training mode equal finite differences in float64."""
    network = subject.network("float64")
    backward = Backward(network)
    if not backward.differentiable:
        raise CheckSkipped("the outputs are not floats")
    arrays = subject.arrays(subject.batch, "float64")
    _, _, gradients = backward.run(arrays)
    named = dict(zip(network.input_names, arrays, strict=True))
    for name, gradient in gradients.items():
        if name in named:
            compare(lambda: backward.run(arrays)[1], named[name], gradient, f"input '{name}'")
            continue
        values = network.variables.read(name)

        def moved(name: str = name, values: np.ndarray = values) -> float:
            network.variables.write(name, values)
            return backward.run(arrays)[1]

        compare(moved, values, gradient, f"parameter '{name}'")
        network.variables.write(name, values)


def check_unmodified(subject: LayerSubject) -> None:
    """No kernel writes into what it reads: neither the caller's arrays nor the plan's copies of them."""
    network = subject.network()
    arrays = subject.arrays(subject.batch)
    before = [array.copy() for array in arrays]
    outputs_of(network, arrays)
    backward = Backward(network)
    for found in (arrays, backward.inputs_after(arrays)):
        for array, copy in zip(found, before, strict=True):
            expect(np.array_equal(array, copy), "an input was overwritten")


def check_non_contiguous(subject: LayerSubject) -> None:
    """Views with strides give the same bits as contiguous copies of them."""
    network = subject.network()
    wide = subject.arrays(2 * subject.batch)
    views = [
        array[::2] if spec.names() else np.asfortranarray(array)
        for array, spec in zip(wide, subject.specs, strict=True)
    ]
    copies = [np.ascontiguousarray(view) for view in views]
    _same(outputs_of(network, views), outputs_of(network, copies), "a view and a copy of it")


def check_empty_batch(subject: LayerSubject) -> None:
    """A batch of no samples gives outputs of no samples."""
    network = subject.network()
    if not any(spec.names() for spec in subject.specs):
        raise CheckSkipped("no dimension is free")
    for spec, output in zip(network.outputs, outputs_of(network, subject.arrays(0)), strict=True):
        expected = spec.bind(dict.fromkeys(spec.names(), 0)).shape
        expect(output.shape == expected, f"the output is {output.shape}, expected {expected}")


def check_threads(subject: LayerSubject) -> None:
    """1, 2 and 8 threads give the same bits, forward and backward, on a batch cut into many pieces."""
    from bigmodel_core.kernels.cpu.engine.threads import num_threads, set_num_threads

    arrays = subject.arrays(subject.many)
    backward = Backward(subject.network())
    before, found = num_threads(), []
    try:
        for count in (1, 2, 8):
            set_num_threads(count)
            outputs, _, gradients = backward.run(arrays)
            found.append([*outputs, *gradients.values()])
    finally:
        set_num_threads(before)
    _same(found[0], found[1], "1 and 2 threads")
    _same(found[0], found[2], "1 and 8 threads")


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
    shape = np.shape(model.network(*arrays))
    generator = np.random.default_rng(3)
    if loss.target_dtype == "int64":
        target: np.ndarray = generator.integers(0, max(shape[-1], 2), shape[:-1])
    else:
        target = generator.normal(size=shape).astype("float32")
    losses = [step(tuple(arrays), target) for _ in range(30)]
    expect(losses[-1] < losses[0], f"the loss went from {losses[0]:.4f} to {losses[-1]:.4f}")


def _same(left: list[np.ndarray], right: list[np.ndarray], what: str) -> None:
    for number, (a, b) in enumerate(zip(left, right, strict=True)):
        expect_numbers(a, b, f"{what}, array {number}")
        expect(
            np.array_equal(a, b),
            f"{what} differ in array {number}, at most by {np.max(np.abs(a - b), initial=0)}",
        )
