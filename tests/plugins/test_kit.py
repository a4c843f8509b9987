"""The conformance kit finds what it looks for: each check fails on a plugin that breaks its one promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops, registry
from bigmodel_core.errors import UsageError
from bigmodel_core.kernels.cpu.engine.kernels import kernel
from bigmodel_core.testing import (
    Check,
    CheckSkipped,
    check_gradients,
    checks_for,
    checks_for_plugin,
    compute,
    round_trips,
    run_checks,
    worker,
)
from bigmodel_core.testing.examples import example_of

# Plugins that break one promise each ------------------------------------------------------------------------


def double(x):
    return x + x


@dataclass(frozen=True)
class DoubleOp(bm.Op):
    slope: float = 2.0
    cpu, cuda = bm.elementwise(double)

    def infer(self, x: bm.Spec) -> bm.Spec:
        return x

    def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
        return (dy * self.slope,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Add(x, x)


@dataclass(frozen=True)
class Double(bm.Layer):
    """x + x."""

    slope: float = 2.0

    def __call__(self, x: Any) -> Any:
        return DoubleOp(self.slope)(x)


@dataclass(frozen=True)
class WronglyLowered(DoubleOp):
    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Mul(x, x)


@dataclass(frozen=True)
class NarrowOp(DoubleOp):
    def infer(self, x: bm.Spec) -> bm.Spec:
        return x.with_dtype("float32")


def overwrite(out, x, start, stop):
    for i in range(start, stop):
        out[i] = x[i]
        x[i] = 0


@dataclass(frozen=True)
class OverwritingOp(DoubleOp):
    cpu = kernel(overwrite, views=lambda op, i, o: ([(o[0].shape[0] * 7,)], [(i[0].shape[0] * 7,)]))


def double_all(out, x):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = x[i, j] + x[i, j]


def _by_sample(spec: Any) -> tuple[int, int]:
    samples, width = spec.shape
    return samples, samples * width // samples


@dataclass(frozen=True)
class Undocumented(bm.Layer):
    def __call__(self, x: Any) -> Any:
        return ops.relu(x)


@dataclass(frozen=True)
class CrashingOnInteger(bm.Layer):
    """Raises what NumPy raises."""

    def __call__(self, x: Any) -> Any:
        if not x.spec.is_float:
            raise ValueError("operands could not be broadcast together")
        return ops.relu(x)


@dataclass(frozen=True)
class DividingOp(DoubleOp):
    cpu = kernel(double_all, views=lambda op, i, o: ([_by_sample(o[0])], [_by_sample(i[0])]))


@dataclass(frozen=True)
class OneSample(bm.Layer):
    """Breaks for a batch of no samples: divides by their number."""

    def __call__(self, x: Any) -> Any:
        return DividingOp()(x)


@dataclass(frozen=True)
class BroadcastingLoss(bm.Loss):
    """Broadcasts (N, 1) against (N,)."""

    def each(self, prediction: Any, target: Any) -> Any:
        return ops.square(prediction - target)


@dataclass(frozen=True)
class OverflowingLoss(bm.Loss):
    """log(1 + exp(-y x)) as it is written."""

    def each(self, prediction: Any, target: Any) -> Any:
        ops.elementwise.check_same_shape("it", prediction.spec, target.spec, "both")
        return ops.log(1.0 + ops.exp(-prediction * target))


@dataclass(frozen=True)
class Uphill(bm.Optimizer):
    """Walks along the gradient."""

    learning_rate: float = 0.1

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter + rate * gradient, {}


@dataclass(frozen=True)
class Growing(bm.Schedule):
    """Remembers how often it was asked."""

    asked: tuple[int, ...] = ()

    def __call__(self, step: int) -> float:
        object.__setattr__(self, "asked", (*self.asked, step))
        return 0.1 * len(self.asked)


CLASSES = [Double, Undocumented, CrashingOnInteger, OneSample]


class Plugin:
    """What the classes above would be in an installed package."""

    @staticmethod
    @bm.hookimpl
    def bigmodel_layers() -> list[Any]:
        return CLASSES


@pytest.fixture
def registered() -> Iterator[None]:
    registry.reset()
    registry.register(Plugin, "kit-tests")
    yield
    registry.reset()


def named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


# Each check fails where it should -------------------------------------------------------------------------


def test_a_sound_layer_passes(registered: None) -> None:
    checks = checks_for(Double(), [(4, 7)], lambda x: 2 * x)
    elsewhere = ("cuda equals cpu", "save and reload")  # another process does not know this test's plugin
    report = run_checks([check for check in checks if check.name not in elsewhere])
    assert report.ok, [outcome for outcome in report.outcomes if outcome.status == "failed"]
    assert report.count("skipped") == 0


def test_wrong_gradient() -> None:
    check = named(checks_for(DoubleOp(2.1), [(4, 7)]), "gradient")
    with pytest.raises(AssertionError, match=r"gradient of input 'x' at \(0, 0\)"):
        check()


def test_wrong_result() -> None:
    with pytest.raises(AssertionError, match="Mismatched"):
        named(checks_for(DoubleOp(), [(4, 7)], lambda x: 2.001 * x), "reference")()


def test_wrong_dtype() -> None:
    with pytest.raises(AssertionError, match="output of a float64 model is float32"):
        named(checks_for(NarrowOp(), [(4, 7)]), "shapes and dtypes")()


def test_wrong_lowering() -> None:
    with pytest.raises(bm.errors.ExportError, match="DoubleOp|Applied|WronglyLowered"):
        named(checks_for(WronglyLowered(), [(4, 7)]), "onnx")()


def test_missing_lowering() -> None:
    @dataclass(frozen=True)
    class NotLowered(DoubleOp):
        cpu, cuda = bm.elementwise(lambda x, slope, index: slope * x)  # positions have no lowering
        onnx = bm.Op.onnx

    with pytest.raises(bm.errors.BigmodelError, match="NotLowered"):
        named(checks_for(NotLowered(), [(4, 7)]), "onnx")()


def test_overwritten_input() -> None:
    with pytest.raises(AssertionError, match="overwritten"):
        named(checks_for(OverwritingOp(), [(4, 7)]), "inputs unmodified")()


def test_result_that_depends_on_threads() -> None:
    calls = iter(range(100))

    @dataclass(frozen=True)
    class Layered(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return x

    check = named(checks_for(Layered(), [(4, 7)]), "same bits at any thread count")
    from bigmodel_core.testing.backward import Backward

    run = Backward.run
    with pytest.MonkeyPatch.context() as patch:

        def drifting(self: Any, arrays: Any) -> Any:
            outputs, total, gradients = run(self, arrays)
            return [output + next(calls) for output in outputs], total, gradients

        patch.setattr(Backward, "run", drifting)
        with pytest.raises(AssertionError, match="1 and 2 threads differ"):
            check()


def test_broken_empty_batch(registered: None) -> None:
    check = named(checks_for(OneSample(), [(4, 7)]), "empty batch")
    with pytest.raises(ZeroDivisionError):
        check()


def test_missing_docstring(registered: None) -> None:
    with pytest.raises(AssertionError, match="no docstring"):
        named(checks_for(Undocumented(), [(4, 7)]), "registered and documented")()


def test_class_that_no_plugin_offers() -> None:
    with pytest.raises(AssertionError, match="no plugin offers Double"):
        named(checks_for(Double(), [(4, 7)]), "registered and documented")()
    with pytest.raises(CheckSkipped, match="no plugin offers Double"):
        named(checks_for(Double(), [(4, 7)]), "config round-trip")()


def test_foreign_error(registered: None) -> None:
    with pytest.raises(AssertionError, match="raised ValueError"):
        named(checks_for(CrashingOnInteger(), [(4, 7)]), "error texts")()


def test_loss_that_broadcasts() -> None:
    with pytest.raises(AssertionError, match=r"\(6, 1\) against \(6,\) was accepted"):
        named(checks_for(BroadcastingLoss(), [(6, 1), (6, 1)]), "nothing is broadcast")()


def test_loss_that_overflows() -> None:
    with pytest.raises(AssertionError, match="the loss of large predictions is"):
        named(checks_for(OverflowingLoss(), [(6, 5), (6, 5)]), "stable")()


def test_optimizer_that_diverges() -> None:
    with pytest.raises(AssertionError, match="after 600 steps"):
        named(checks_for(Uphill()), "converges")()


def test_schedule_with_memory() -> None:
    with pytest.raises(AssertionError, match="depends on which steps were asked for before"):
        named(checks_for(Growing()), "depends on the step alone")()


# Running and reporting ------------------------------------------------------------------------------------


def test_where_all_is_skipped_nothing_passed() -> None:
    def skip() -> None:
        raise CheckSkipped("not here")

    report = run_checks([Check("one", "it", skip), Check("two", "it", skip)])
    assert str(report) == "0 passed, 2 skipped, 0 failed"
    assert not report.ok
    assert report.outcomes[0].reason == "not here"


def test_no_checks_at_all_is_not_ok() -> None:
    assert not run_checks([]).ok


def test_any_exception_is_a_failure_with_its_name() -> None:
    def fail() -> None:
        raise ZeroDivisionError("by zero")

    seen: list[str] = []
    report = run_checks([Check("one", "it", fail)], done=lambda outcome: seen.append(outcome.status))
    assert (seen, report.outcomes[0].reason) == (["failed"], "ZeroDivisionError: by zero")


def test_unknown_subjects_are_refused() -> None:
    with pytest.raises(UsageError, match="no checks for int"):
        checks_for(3)


def test_examples_fill_fields_without_defaults() -> None:
    assert example_of(bm.layers.Dense) == bm.layers.Dense(4)
    assert example_of(bm.layers.Dropout) == bm.layers.Dropout(0.5)
    assert isinstance(example_of(bm.schedules.WarmUp).then, float)


def test_class_without_an_example_is_shown_as_skipped() -> None:
    @dataclass(frozen=True)
    class Named(bm.Layer):
        """Wants a text."""

        text: str

        def __call__(self, x: Any) -> Any:
            return x

    report = run_checks(checks_for(Named))
    assert [outcome.status for outcome in report.outcomes] == ["skipped", "failed"]  # no plugin offers it


def test_the_checks_of_a_plugin_by_its_name(registered: None) -> None:
    assert {check.subject for check in checks_for_plugin("kit-tests")} == {
        registry.display_name(cls) for cls in CLASSES
    }
    with pytest.raises(bm.errors.UnknownNameError, match=r"(?s)no plugin 'kit-test'.*kit-tests"):
        checks_for_plugin("kit-test")


def test_the_checks_of_a_plugin_that_did_not_load(registered: None) -> None:
    registry.configure(block=["losses"])
    with pytest.raises(bm.errors.PluginError, match="blocked"):
        checks_for_plugin("losses")


def test_check_gradients_names_the_element() -> None:
    with pytest.raises(AssertionError, match=r"gradient of input 0 at \(1,\) is .*, finite differences give"):
        check_gradients(lambda x: ops.sum(DoubleOp(2.2)(x)[1:]), [np.array([1.0, 2.0])])


def test_compute_takes_and_gives_several_arrays() -> None:
    total, product = compute(lambda a, b: (a + b, a * b), np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    np.testing.assert_array_equal(total, [4, 6])
    np.testing.assert_array_equal(product, [3, 8])


@dataclass(frozen=True)
class Halves(bm.Layer):
    """The sum of parts of equal width."""

    parts: int

    @classmethod
    def examples(cls) -> Any:
        return [({"parts": 3}, [(4, 6)])]

    def __call__(self, x: Any) -> Any:
        width = x.spec.sizes[-1] if isinstance(x.shape[0], int) else x.shape[-1]
        if width % self.parts:
            raise bm.errors.ShapeError(f"the width {width} does not divide by {self.parts}.")
        return ops.sum(ops.reshape(x, (-1, self.parts, width // self.parts)), axis=1)


def test_a_class_gives_examples() -> None:
    named(checks_for(Halves), "runs")()
    named(checks_for(Halves), "gradient")()


def test_examples_are_pairs() -> None:
    class Wrong(Halves):
        @classmethod
        def examples(cls) -> Any:
            return [{"parts": 3}]

    with pytest.raises(UsageError, match="pairs of fields and inputs"):
        checks_for(Wrong)


def test_what_cannot_run_fails_once() -> None:
    report = run_checks(checks_for(Halves(3), [(4, 7)]))
    failed = [outcome for outcome in report.outcomes if outcome.status == "failed"]
    assert [outcome.check.name for outcome in failed] == ["runs", "registered and documented"]
    assert "the width 7 does not divide by 3" in failed[0].reason


def test_an_op_that_no_file_holds_skips_the_file() -> None:
    @dataclass(frozen=True)
    class Kept(DoubleOp):
        exported = False

    with pytest.raises(CheckSkipped, match="exported = False"):
        named(checks_for(Kept(), [(4, 7)]), "onnx")()


def test_what_the_simulator_cannot_do_in_time_is_skipped() -> None:
    check = named(checks_for(bm.layers.Dense(1024), [(3, 512)]), "cuda equals cpu")
    with pytest.raises(CheckSkipped, match=r"multiplications are too many for CUDA's simulator"):
        check()


def test_a_device_gets_all_that_the_simulator_could_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the simulator gets what it can do, there too: it sees what a device does not."""
    given = []

    def compared(subject: Any, kind: str, network: Any, arrays: Any, asked: worker.Worker) -> None:
        given.append(("simulator" if asked is worker.SIMULATOR else "device", arrays[0].shape))

    monkeypatch.setattr(worker, "simulates_cuda", lambda: False)
    monkeypatch.setattr(round_trips, "simulates_cuda", lambda: False)
    monkeypatch.setattr(round_trips, "_compare_cuda", compared)
    named(checks_for(bm.layers.Dense(1024), [(7, 512)]), "cuda equals cpu")()
    named(checks_for(bm.layers.Dense(2), [(7, 5)]), "cuda equals cpu")()
    assert given == [("device", (7, 512)), ("device", (7, 5)), ("simulator", (3, 5))]
