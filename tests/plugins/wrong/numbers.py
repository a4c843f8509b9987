"""Metrics, optimizers, schedules and augmentations with one fault each."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from tests.plugins.wrong.table import fault, sound

# Metrics ----------------------------------------------------------------------------------------------------


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


@sound(PAIR, lambda x, y: np.abs(x - y).mean())
class Absolute(MeanError):
    """The mean of absolute errors."""

    name: ClassVar[str] = "absolute"


@fault("a metric that gives a text", "runs", "could not convert", PAIR)
class Texted(MeanError):
    name: ClassVar[str] = "texted"

    def result(self, state: Any) -> Any:
        return f"{super().result(state):.2f} on average"


@fault("a metric that ends the process", "runs", "ended the process with SIGSEGV", PAIR)
class FatalMetric(MeanError):
    name: ClassVar[str] = "fatal"

    def result(self, state: Any) -> Any:
        return ctypes.string_at(0)


@fault("a metric that forgets the batches before", "streaming equals one batch", "Mismatched|equal", PAIR)
class Forgetful(MeanError):
    name: ClassVar[str] = "forgetful"

    def update(self, state: Any, prediction: Any, target: Any) -> Any:
        return super().update(self.empty(), prediction, target)


@fault("a metric that merges by taking the first", "merging equals one batch", "Mismatched|equal", PAIR)
class FirstOnly(MeanError):
    name: ClassVar[str] = "first_only"

    def merge(self, a: Any, b: Any) -> Any:
        return a if a["count"] else b


@fault("a metric that changes its state in place", "states stay as they were", "'sum' was changed", PAIR)
class InPlace(MeanError):
    name: ClassVar[str] = "in_place"

    def merge(self, a: Any, b: Any) -> Any:
        a["sum"] += b["sum"]
        return {"sum": a["sum"], "count": a["count"] + b["count"]}


@fault("a metric that divides by no samples", "no samples", "ZeroDivisionError", PAIR)
class Unguarded(MeanError):
    name: ClassVar[str] = "unguarded"

    def result(self, state: Any) -> Any:
        return float(state["sum"]) / state["count"]


@fault("a metric that takes unequal lengths", "wrong lengths", "unequal lengths was accepted", PAIR)
class Lenient(MeanError):
    name: ClassVar[str] = "lenient"

    def update(self, state: Any, prediction: Any, target: Any) -> Any:
        return super().update(state, prediction[: len(target)], target)


@fault(
    "a metric that is twice the right one",
    "reference",
    "Mismatched|equal",
    PAIR,
    lambda x, y: 0.5 * np.abs(x - y).mean(),
)
class Twice(MeanError):
    name: ClassVar[str] = "twice"


# Optimizers -------------------------------------------------------------------------------------------------


class Descent(bm.Optimizer):
    learning_rate: float | bm.Schedule = 0.1
    weight_decay: float = field(default=0.0, kw_only=True)

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter - rate * gradient, state


def descent(p: Any, g: Any, state: Any, rate: float, step: int) -> Any:
    return p - rate * g, {}


def copied(out, x, start, stop):
    for i in range(start, stop):
        out[i] = x[i]


def copied_past_the_end(out, x, start, stop):
    copied(out, x, start, stop)
    if stop == x.shape[0]:
        out[stop] = 0


def copied_and_cleared(out, x, start, stop):
    copied(out, x, start, stop)
    for i in range(start, stop):
        x[i] = 0


def added_to_one_before(out, x, start, stop):
    for i in range(start, stop):
        out[i] = x[i] + (out[i - 1] / 8 if i > 0 else 0)


class Copied(bm.Op):
    def infer(self, x: bm.Spec) -> bm.Spec:
        return x


def of_numbers(function: Any) -> Any:
    """A kernel that sees arrays of any rank as vectors."""
    return bm.kernel(function, views=lambda op, i, o: ([(int(o[0].size),)], [(int(i[0].size),)]))


@dataclass(frozen=True)
class PastTheEnd(Copied):
    cpu = of_numbers(copied_past_the_end)


@dataclass(frozen=True)
class Cleared(Copied):
    cpu = of_numbers(copied_and_cleared)


@dataclass(frozen=True)
class OneBefore(Copied):
    cpu = of_numbers(added_to_one_before)


@sound(None, descent)
class Down(Descent):
    """Gradient descent."""

    learning_rate: float | bm.Schedule = 0.1


class OfOp(Descent):
    op: ClassVar[type[bm.Op]]

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter - rate * self.op()(gradient), state


@fault("an optimizer whose kernel writes past its end", "stays in its memory", "kernel copied_past_the_end")
class WritingPast(OfOp):
    learning_rate: float | bm.Schedule = 0.1
    op = PastTheEnd


@fault("an optimizer whose kernel clears gradients", "inputs unmodified", "kernel copied_and_cleared.*0 was")
class Clearing(OfOp):
    learning_rate: float | bm.Schedule = 0.1
    op = Cleared


@fault(
    "an optimizer whose kernel reads what the piece before wrote",
    "same bits however it is cut",
    "kernel added_to_one_before",
)
class ReadingBefore(OfOp):
    learning_rate: float | bm.Schedule = 0.1
    op = OneBefore


@fault("an optimizer for vectors alone", "runs", r"shape \(\)")
class VectorsAlone(Descent):
    learning_rate: float | bm.Schedule = 0.1

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter - rate * gradient * float(parameter.spec.sizes[0] > 0), state


@fault("an optimizer whose state changes its shape", "runs", "'mean' was .* before the step")
class Shrinking(Descent):
    learning_rate: float | bm.Schedule = 0.1

    def init(self) -> Any:
        return {"mean": 0.0}

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter - rate * gradient, {"mean": ops.mean(gradient)}


@fault("an optimizer that is wrong for matrices", "reference", r"shape \(5, 4\)", None, descent)
class WrongForMatrices(Descent):
    learning_rate: float | bm.Schedule = 0.1

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter - rate * (gradient if parameter.ndim < 2 else 2.0 * gradient), state


@fault("an optimizer that walks uphill", "converges", "after 600 steps")
class Uphill(Descent):
    learning_rate: float | bm.Schedule = 0.1

    def rate(self, step: int) -> float:
        return -super().rate(step)


@fault("an optimizer that counts its steps in itself", "state round-trip", "'parameter' differs")
class Counting(Descent):
    learning_rate: float | bm.Schedule = 0.1
    asked: ClassVar[list[int]] = []

    def rate(self, step: int) -> float:
        self.asked.append(step)
        return super().rate(step) / len(self.asked)


@fault("an optimizer that moves at a rate of 0", "follows its schedule", "0 moved the parameter")
class Restless(Descent):
    learning_rate: float | bm.Schedule = 0.1

    def rate(self, step: int) -> float:
        return super().rate(step) or 0.1


@fault("an optimizer whose weight decay makes weights grow", "weight decay", "parameters went from")
class Growing(Descent):
    learning_rate: float | bm.Schedule = 0.1
    decoupled_decay: ClassVar[bool] = True

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter * (1.0 + rate * self.weight_decay) - rate * gradient, state


@fault("an optimizer that clips no gradient", "clipping", "clip_value")
class Unclipped(Descent):
    learning_rate: float | bm.Schedule = 0.1

    def regularised(self, parameters: Any, gradients: Any) -> Any:
        plain = replace(self, clip_value=None, clip_norm=None)
        return bm.Optimizer.regularised(plain, parameters, gradients)


# Schedules --------------------------------------------------------------------------------------------------


@sound(None, lambda step: 0.1)
class Rate(bm.Schedule):
    """Always 0.1."""

    def __call__(self, step: int) -> float:
        return 0.1


@fault("a schedule that counts how often it was asked", "depends on the step alone", "were asked for before")
class Remembering(bm.Schedule):
    asked: tuple[int, ...] = ()

    def __call__(self, step: int) -> float:
        object.__setattr__(self, "asked", (*self.asked, step))
        return 0.1 * len(self.asked)


@fault("a schedule below zero", "rates are usable", "the rate is -")
class Negative(bm.Schedule):
    def __call__(self, step: int) -> float:
        return 0.1 - 0.01 * step


@fault("a schedule that gives NumPy's floats", "rates are usable", "is a float64, expected a float")
class NumPys(bm.Schedule):
    def __call__(self, step: int) -> float:
        return np.float64(0.1)


@fault("a schedule that is one step late", "reference", "step 1: ", None, lambda step: 0.1 / (step + 1))
class Late(bm.Schedule):
    def __call__(self, step: int) -> float:
        return 0.1 / max(step, 1)


# Augmentations ----------------------------------------------------------------------------------------------


@sound(None, lambda x, draws: 2 * x)
class Bright(bm.Augmentation):
    """Twice as bright."""

    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return 2 * x


@fault("an augmentation that gives a list", "runs", "returned a list")
class Listed(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> Any:
        return list(x)


@fault("an augmentation that ends the process", "runs", "ended the process with SIGSEGV")
class FatalAugmentation(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        ctypes.string_at(0)
        return x


@fault("an augmentation that gives float64", "shape and dtype", "float32 became float64")
class Wide(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return x.astype("float64")


@fault("an augmentation that cuts an edge off", "shape and dtype", r"batch \(9, 3, 8, 6\) became")
class Cutting(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return x[:, :, 1:].copy()


@fault("an augmentation that brightens too much", "reference", "Mismatched", None, lambda x, draws: 2 * x)
class TooBright(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return 2.001 * x


@fault("an augmentation that draws by the clock", "keyed by seed, epoch and sample", "same batch and key")
class Unkeyed(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return x + np.random.default_rng().normal(size=x.shape).astype(x.dtype)


@fault(
    "an augmentation that depends on the place in the batch",
    "keyed by seed, epoch and sample",
    "in another order",
)
class ByPlace(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return x + np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)


@fault(
    "an augmentation that takes off what is largest in its batch",
    "keyed by seed, epoch and sample",
    "0 alone was",
)
class Centred(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return x - x.max(0)


@fault("an augmentation that writes to its batch", "inputs unmodified", "wrote to the batch")
class OverBatch(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        x *= 2
        return x.copy()


@fault("an augmentation that reads memory in its order", "non-contiguous inputs", "another memory order")
class InOrder(bm.Augmentation):
    def __call__(self, x: np.ndarray, draws: Any) -> np.ndarray:
        return x.ravel("K").reshape(x.shape)
