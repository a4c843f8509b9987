"""For each check there is a plugin with one small fault that it finds; docs/conformance.md lists them."""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops, registry
from bigmodel_core.testing import Check, checks_for
from bigmodel_core.testing.child import IS_POSSIBLE
from tests.plugins import test_wrong_kernels as kernels
from tests.plugins import wrong_cuda
from tests.processes import run_code

pytestmark = pytest.mark.skipif(not IS_POSSIBLE, reason="needs mmap, mprotect and fork")

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
FAULTS: dict[str, tuple[str, Callable[[], list[Check]]]] = {}
"""By what is wrong: the check that finds it, and what makes the checks."""


def fault(text: str, check: str, *arguments: Any) -> Callable[[type[Any]], type[Any]]:
    """Put a class into the table; it is checked with these inputs and this reference."""

    def note(cls: type[Any]) -> type[Any]:
        made = dataclass(frozen=True)(cls)
        FAULTS[text] = check, lambda: checks_for(made(), *arguments)
        return made

    return note


# Kernels --------------------------------------------------------------------------------------------------

MEMORY, CUTS = "stays in its memory", "same bits however it is cut"
KERNELS: dict[str, tuple[Any, str]] = {
    "reads what the piece before wrote": (kernels.sums_from_before, CUTS),
    "adds 1 to the first row of each piece": (kernels.adds_in_first_row, CUTS),
    "leaves the last row of a piece out": (kernels.leaves_last_row_out, MEMORY),
    "adds to an output that holds nothing yet": (kernels.adds_to_what_is_there, MEMORY),
    "writes one number past each row": (kernels.writes_one_past_rows, MEMORY),
    "reads one number past each row": (kernels.reads_one_past_rows, MEMORY),
    "writes 40 rows past the end": (kernels.writes_rows_past_the_end, MEMORY),
    "writes thousands of rows past the end": (kernels.writes_thousands_of_rows_away, MEMORY),
    "writes before the beginning": (kernels.writes_before_the_beginning, MEMORY),
    "writes into what it reads": (kernels.writes_into_what_it_reads, "inputs unmodified"),
}
for text, (function, check) in KERNELS.items():
    for place, pair in {"kernel": (function, kernels.right), "gradient": (kernels.right, function)}.items():
        FAULTS[f"a {place} that {text}"] = (
            check,
            lambda pair=pair: checks_for(kernels.op_of(*pair), [(4, 7)]),  # type: ignore[misc]  # mypy infers no lambda with defaults
        )


# Ops and layers -------------------------------------------------------------------------------------------


def double(x):
    return x + x


class Double(bm.Op):
    cpu, cuda = bm.elementwise(double)

    def infer(self, x: bm.Spec) -> bm.Spec:
        return x

    def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
        return (dy * 2.0,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Add(x, x)


def twice(x: np.ndarray) -> np.ndarray:
    return 2 * x


@fault("an op whose gradient lacks a factor", "gradient", [(4, 7)])
class HalfGradient(Double):
    def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
        return (dy,)


@fault("an op whose file computes something else", "onnx", [(4, 7)])
class OtherLowering(Double):
    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Mul(x, x)


@fault("an op that is off by a thousandth", "reference", [(4, 7)], lambda x: 2.001 * x)
class Inexact(Double):
    pass


@fault("an op that says float32 for float64", "shapes and dtypes", [(4, 7)])
class Narrow(Double):
    def infer(self, x: bm.Spec) -> bm.Spec:
        return x.with_dtype("float32")


def only_few(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = 2 * x[i, j] if i < 200 else x[i, j]


@fault("a kernel that is right for the first 200 rows alone", "reference", [(4, 7)], twice)
class OnlyFew(Double):
    cpu = bm.kernel(only_few)


def backwards_in_place(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, x.shape[1] - 1 - j]


@fault("a kernel in place that reads what it has overwritten", "stays in its memory", [(4, 7)])
class TurnedInPlace(Double):
    backwards = bm.kernel(backwards_in_place)
    cpu = bm.cpu_launches(in_place=0)(
        lambda call: call.launch(TurnedInPlace.backwards, [call.output(0)], [call.input(0)])
    )


@dataclass(frozen=True)
class WrongSecondGradient(bm.Op):
    """Of dy * 2 * x, the gradient of a square."""

    cpu, cuda = bm.elementwise(lambda dy, x: 2 * dy * x)

    def grad(self, ddy: Any, y: Any, dy: Any, x: Any) -> tuple[Any, Any]:
        return 2.0 * ddy * x, 3.0 * ddy * dy


@fault("a gradient whose own gradient is wrong", "gradient of the gradient", [(4, 7)])
class Square(bm.Op):
    cpu, cuda = bm.elementwise(lambda x: x * x)

    def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
        return (WrongSecondGradient()(dy, x),)


def not_for_one(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = 2 * x[i, j] if x.shape[0] > 1 else x[i, j]


@fault("a kernel that is wrong for one sample", "reference", [(4, 7)], twice)
class NotForOne(Double):
    cpu = bm.kernel(not_for_one)


def by_sample(spec: Any) -> tuple[int, int]:
    samples, width = spec.shape
    return samples, samples * width // samples


def double_all(out, x):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = x[i, j] + x[i, j]


@fault("views that divide by the number of samples", "empty batch", [(4, 7)])
class Dividing(Double):
    cpu = bm.kernel(double_all, views=lambda op, i, o: ([by_sample(o[0])], [by_sample(i[0])]))


@fault("an op whose gradient cannot be built", "runs", [(4, 7)])
class NoGradient(Double):
    def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
        return (ops.reshape(dy, (3, 3)),)


@fault("a layer whose inputs nobody finds", "runs")
class Choosy(bm.Layer):
    def __call__(self, x: Any) -> Any:
        raise bm.errors.ShapeError("expected an input of 12 axes.")


@fault("a layer that counts how often it is called", "same seed, same numbers", [(4, 7)])
class CountingCalls(bm.Layer):
    calls: ClassVar[list[int]] = []

    def __call__(self, x: Any) -> Any:
        self.calls.append(1)
        return x * float(len(self.calls))


@fault("a layer whose initial numbers no seed decides", "same seed, same numbers", [(4, 7)])
class Unseeded(bm.Layer):
    def __call__(self, x: Any) -> Any:
        return x * self.parameter("scale", x.shape[-1:], float(np.random.default_rng().normal()))


@fault("a layer without a docstring", "registered and documented", [(4, 7)])
class Undocumented(bm.Layer):
    def __call__(self, x: Any) -> Any:
        return ops.relu(x)


@fault("a layer that raises what NumPy raises", "error texts", [(4, 7)])
class Crashing(bm.Layer):
    def __call__(self, x: Any) -> Any:
        if not x.spec.is_float:
            raise ValueError("operands could not be broadcast together")
        return ops.relu(x)


@fault("a model whose loss is misspelt", "defaults exist")
class Misspelt(bm.Model):
    """A linear model."""

    name: ClassVar[str] = "misspelt"
    loss: ClassVar[str] = "cross_entrophy"

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 5))

    def __call__(self, x: Any) -> Any:
        return bm.layers.Dense(3)(x)


@fault("a model whose output depends on no parameter", "learns")
class Deaf(bm.Model):
    """A model that learns nothing."""

    name: ClassVar[str] = "deaf"
    loss: ClassVar[str] = "mean_squared_error"
    metrics: ClassVar[tuple[str, ...]] = ()

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 5))

    def __call__(self, x: Any) -> Any:
        return x + 0.0 * bm.layers.Dense(5)(x)


@fault("an option that is kept otherwise than it was given", "config round-trip", [(4, 7)])
class Rounding(bm.Layer):
    """x times a number."""

    factor: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", self.factor + 1.0)

    def __call__(self, x: Any) -> Any:
        return x * self.factor


# Losses ---------------------------------------------------------------------------------------------------

FLOATS = [(6, 5), (6, 5)]


def squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x - y) ** 2


class Squares(bm.Loss):
    def each(self, prediction: Any, target: Any) -> Any:
        ops.elementwise.check_same_shape("it", prediction.spec, target.spec, "both")
        return ops.square(prediction - target)


@fault("a loss that broadcasts", "nothing is broadcast", [(6, 1), (6, 1)])
class Broadcasting(bm.Loss):
    def each(self, prediction: Any, target: Any) -> Any:
        return ops.square(prediction - target)


@fault("a loss that overflows", "stable", FLOATS)
class Overflowing(Squares):
    def each(self, prediction: Any, target: Any) -> Any:
        return ops.log(1.0 + ops.exp(-prediction * target))


@fault("a loss that is the sum over samples", "mean of each", FLOATS)
class Summed(Squares):
    def __call__(self, prediction: Any, target: Any) -> Any:
        return ops.sum(self.each(prediction, target))


@fault("a loss without one number for each sample", "shapes and dtypes", FLOATS)
class Reduced(Squares):
    def each(self, prediction: Any, target: Any) -> Any:
        return ops.mean(ops.square(prediction - target))


@fault("a loss of half the size", "reference", FLOATS, squares)
class Halved(Squares):
    def each(self, prediction: Any, target: Any) -> Any:
        return 0.5 * ops.square(prediction - target)


# Metrics --------------------------------------------------------------------------------------------------


class MeanError(bm.Metric):
    name: ClassVar[str] = "mean_error"

    def empty(self) -> dict[str, Any]:
        return {"sum": np.zeros(()), "count": 0}

    def update(self, state: Any, prediction: Any, target: Any) -> Any:
        prediction, target = self.same_shape(prediction, target)
        error = np.abs(prediction.astype("float64") - target).sum()
        return {"sum": state["sum"] + error, "count": state["count"] + target.size}

    def merge(self, a: Any, b: Any) -> Any:
        return {name: a[name] + b[name] for name in a}

    def result(self, state: Any) -> Any:
        if not state["count"]:
            raise bm.errors.DataError("there is no sample to take the mean of.")
        return float(state["sum"]) / state["count"]


PAIR = [
    np.random.default_rng(0).normal(size=(24, 2)),
    np.random.default_rng(1).normal(size=(24, 2)),
]


@fault("a metric that forgets the batches before", "streaming equals one batch", PAIR)
class Forgetful(MeanError):
    def update(self, state: Any, prediction: Any, target: Any) -> Any:
        return super().update(self.empty(), prediction, target)


@fault("a metric that merges by taking the first", "merging equals one batch", PAIR)
class FirstOnly(MeanError):
    def merge(self, a: Any, b: Any) -> Any:
        return a if a["count"] else b


@fault("a metric that changes its state in place", "states stay as they were", PAIR)
class InPlace(MeanError):
    def merge(self, a: Any, b: Any) -> Any:
        a["sum"] += b["sum"]
        return {"sum": a["sum"], "count": a["count"] + b["count"]}


@fault("a metric that divides by no samples", "no samples", PAIR)
class Unguarded(MeanError):
    def result(self, state: Any) -> Any:
        return float(state["sum"]) / state["count"]


@fault("a metric that takes unequal lengths", "wrong lengths", PAIR)
class Lenient(MeanError):
    def update(self, state: Any, prediction: Any, target: Any) -> Any:
        return super().update(state, prediction[: len(target)], target)


@fault("a metric that is twice the right one", "reference", PAIR, lambda x, y: 0.5 * np.abs(x - y).mean())
class Twice(MeanError):
    pass


# Optimizers and schedules ---------------------------------------------------------------------------------


class Descent(bm.Optimizer):
    learning_rate: float | bm.Schedule = 0.1
    weight_decay: float = field(default=0.0, kw_only=True)

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter - rate * gradient, state


def descent(p: Any, g: Any, state: Any, rate: float, step: int) -> Any:
    return p - rate * g, {}


@fault("an optimizer that walks uphill", "converges")
class Uphill(Descent):
    learning_rate: float | bm.Schedule = 0.1

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter + rate * gradient, state


@fault("an optimizer for vectors alone", "runs")
class VectorsAlone(Descent):
    learning_rate: float | bm.Schedule = 0.1

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter - rate * gradient * float(parameter.spec.sizes[0] > 0), state


@fault("an optimizer whose state changes its shape", "runs")
class Shrinking(Descent):
    learning_rate: float | bm.Schedule = 0.1

    def init(self) -> Any:
        return {"mean": 0.0}

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter - rate * gradient, {"mean": ops.mean(gradient)}


@fault("an optimizer that is wrong for matrices", "reference", None, descent)
class WrongForMatrices(Descent):
    learning_rate: float | bm.Schedule = 0.1

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter - rate * (gradient if parameter.ndim < 2 else 2.0 * gradient), state


@fault("an optimizer that moves at a rate of 0", "follows its schedule")
class Restless(Descent):
    learning_rate: float | bm.Schedule = 0.1

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter - 0.1 * gradient, state


class Rate(bm.Schedule):
    def __call__(self, step: int) -> float:
        return 0.1


@fault("a schedule that counts how often it was asked", "depends on the step alone")
class Counting(Rate):
    asked: tuple[int, ...] = ()

    def __call__(self, step: int) -> float:
        object.__setattr__(self, "asked", (*self.asked, step))
        return 0.1 * len(self.asked)


@fault("a schedule below zero", "rates are usable")
class Negative(Rate):
    def __call__(self, step: int) -> float:
        return 0.1 - 0.01 * step


@fault("a schedule that gives NumPy's floats", "rates are usable")
class NumPys(Rate):
    def __call__(self, step: int) -> float:
        return np.float64(0.1)


@fault("a schedule that is one step late", "reference", None, lambda step: 0.1 / (step + 1))
class Late(Rate):
    def __call__(self, step: int) -> float:
        return 0.1 / max(step, 1)


# Augmentations --------------------------------------------------------------------------------------------


@fault("an augmentation that gives float64", "shape and dtype")
class Wide(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return x.astype("float64")


@fault("an augmentation that draws by the clock", "keyed by seed, epoch and sample")
class Unkeyed(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return x + np.random.default_rng().normal(size=x.shape).astype(x.dtype)


@fault("an augmentation that depends on the place in the batch", "keyed by seed, epoch and sample")
class ByPlace(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return x + np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)


@fault("an augmentation that writes to its batch", "inputs unmodified")
class Overwriting(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        x *= 2
        return x.copy()


@fault("an augmentation that reads memory in its order", "non-contiguous inputs")
class InOrder(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return x.ravel("K").reshape(x.shape)


class Plugin:
    """What some of the classes above would be in an installed package."""

    @staticmethod
    @bm.hookimpl
    def bigmodel_layers() -> list[Any]:
        return [Undocumented, Rounding]


@pytest.fixture
def registered() -> Iterator[None]:
    registry.reset()
    registry.register(Plugin, "wrong-plugins")
    yield
    registry.reset()


# The table ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", FAULTS)
def test_the_check_finds_the_fault(text: str, registered: None) -> None:
    name, make = FAULTS[text]
    check = next(check for check in make() if check.name == name)
    with pytest.raises((AssertionError, bm.errors.BigmodelError, ZeroDivisionError)):
        try:
            check()
        except unittest.SkipTest as reason:
            pytest.fail(f"it was skipped: {reason}")


@pytest.fixture(scope="module")
def said_of_cuda_kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the kit says of wrong CUDA kernels, in a process that has them installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "wrong_cuda.py").write_text(Path(wrong_cuda.__file__).read_text())
    info = site / "wrong_cuda-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong-cuda\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bigmodel]\nwrong = wrong_cuda\n")
    found: dict[str, str] = json.loads(run_code("import wrong_cuda; wrong_cuda.main()", beside=[site]).stdout)
    return found


@pytest.mark.parametrize("text", [*wrong_cuda.FAULTS])
def test_the_check_finds_the_fault_of_a_cuda_kernel(text: str, said_of_cuda_kernels: dict[str, str]) -> None:
    assert text in said_of_cuda_kernels
    expected = {
        "does one row a thread": "one thread does all the work",
        "reads the row of another": "the last thread starts first",
        "writes to its input": "writes to what it may only read",
        "reads what it has overwritten": "takes over the memory of an input",
    }
    for what, words in expected.items():
        assert (words in said_of_cuda_kernels[text]) is text.endswith(what)


def test_nothing_is_said_of_a_right_cuda_kernel(said_of_cuda_kernels: dict[str, str]) -> None:
    assert "right" not in said_of_cuda_kernels


def test_the_page_lists_the_faults() -> None:
    rows = re.findall(r"^\| (\w+ .*) \| `(.*)` \|$", PAGE.read_text(), re.M)
    found = [(text, check) for text, (check, _) in FAULTS.items()]
    assert rows == found + [(text, wrong_cuda.CHECK) for text in wrong_cuda.FAULTS]
    assert len(rows) >= 40
