"""The conformance kit: what it makes checks of, how it runs them and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops, registry
from bigmodel_core.errors import UsageError
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

# A plugin -------------------------------------------------------------------------------------------------


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
class Undocumented(bm.Layer):
    def __call__(self, x: Any) -> Any:
        return ops.relu(x)


CLASSES = [Double, Undocumented]


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


# What cannot be checked -----------------------------------------------------------------------------------


def test_missing_lowering() -> None:
    @dataclass(frozen=True)
    class NotLowered(DoubleOp):
        cpu, cuda = bm.elementwise(lambda x, slope, index: slope * x)  # positions have no lowering
        onnx = bm.Op.onnx

    with pytest.raises(bm.errors.BigmodelError, match="NotLowered"):
        named(checks_for(NotLowered(), [(4, 7)]), "onnx")()


def test_class_that_no_plugin_offers() -> None:
    with pytest.raises(AssertionError, match="no plugin offers Double"):
        named(checks_for(Double(), [(4, 7)]), "registered and documented")()
    with pytest.raises(CheckSkipped, match="no plugin offers Double"):
        named(checks_for(Double(), [(4, 7)]), "config round-trip")()


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


def test_a_layer_that_draws_at_each_call_is_compared_with_equal_draws() -> None:
    @dataclass(frozen=True)
    class Noisy(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return x + ops.normal(x.shape, dtype=x.dtype)

    for name in ("runs", "non-contiguous inputs", "same bits at any thread count"):
        named(checks_for(Noisy(), [(4, 7)]), name)()


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

    def compared(subject: Any, sent: Any, network: Any, arrays: Any, asked: worker.Worker) -> None:
        given.append(("simulator" if asked is worker.SIMULATOR else "device", arrays[0].shape))

    monkeypatch.setattr(worker, "simulates_cuda", lambda: False)
    monkeypatch.setattr(round_trips, "simulates_cuda", lambda: False)
    monkeypatch.setattr(round_trips, "_compare_cuda", compared)
    named(checks_for(bm.layers.Dense(1024), [(7, 512)]), "cuda equals cpu")()
    named(checks_for(bm.layers.Dense(2), [(7, 5)]), "cuda equals cpu")()
    assert given == [("device", (7, 512)), ("device", (7, 5)), ("simulator", (3, 5))]


def test_an_op_of_a_module_is_checked_on_cuda_without_a_name() -> None:
    """Floats that were given as float64 are checked as those of the model."""
    checks = checks_for(DoubleOp(), [np.ones((4, 7))])
    for name in ("cuda equals cpu", "same seed, same numbers"):
        named(checks, name)()


def test_an_op_that_no_other_process_can_import_is_not() -> None:
    @dataclass(frozen=True)
    class Inside(DoubleOp):
        pass

    with pytest.raises(CheckSkipped, match="define it in a module"):
        named(checks_for(Inside(), [(4, 7)]), "cuda equals cpu")()
