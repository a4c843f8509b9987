"""What `with_preprocessing` adds: normalisation of raw input before the model; after it, label and
probability, or numbers in the units of the recorded targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.preprocessing import Preprocessing, shape_along
from bigmodel_core.errors import ConfigError, ExportError
from bigmodel_core.graph.spec import Shape, Spec, format_shape
from bigmodel_core.nn.probabilities import classified, most_probable_spans, sigmoid
from bigmodel_onnx.emit import Emitter
from bigmodel_onnx.operations import Port

TASKS = ("classification", "binary", "multilabel", "regression")


def write_front(emitter: Emitter, name: str, spec: Spec, steps: Preprocessing) -> str:
    """The file's input takes raw values; returns the name of the model's input made from them.

    Args:
        emitter: the file under construction.
        name: the input's name.
        spec: what the model takes.
        steps: how raw values become that.

    Raises:
        ExportError: raw samples have another shape than the model's input.
    """
    if spec.shape[1:] != steps.raw_shape:
        raise ExportError(
            f"raw samples are {format_shape(steps.raw_shape)}, the model takes {format_shape(spec.shape)}.",
            where="preprocessing",
            fix="build the model for the shape of the data, or pass the preprocessing of its own data.",
        )
    emitter.path = "preprocessing"
    x = emitter.port(name, steps.raw_dtype, spec.shape)
    number = _number_type(steps)
    if steps.raw_dtype != number:
        x = emitter.cast(x, number)
    if steps.scale != 1:
        x = emitter.Mul(x, emitter.const(steps.scale, number))
    mean = np.asarray(steps.mean, np.float64)
    if mean.any():
        # What float32 leaves of a mean is taken off after it: the difference of two near numbers is exact.
        first = mean.astype(number)
        rest = mean - first if not steps.is_narrow else np.zeros(())
        x = emitter.Sub(x, _along_samples(emitter, first, steps.raw_shape, number))
        if rest.any():
            x = emitter.Sub(x, _along_samples(emitter, rest, steps.raw_shape, number))
    if any(value != 1 for value in steps.std):
        x = emitter.Div(x, _along_samples(emitter, steps.std, steps.raw_shape, number))
    return x if spec.dtype == number else emitter.cast(x, spec.dtype)


def raw_values(inputs: Mapping[str, np.ndarray], steps: Preprocessing) -> dict[str, np.ndarray]:
    """Raw values that the steps turn into about normal numbers, as far as the raw type has such values."""
    kind = np.dtype(steps.raw_dtype)
    as_floats = replace(steps, scale=steps.scale or 1.0, raw_dtype="float64")
    found = {}
    for name, array in inputs.items():
        raw = as_floats.invert(array)
        if kind.kind in "iu":
            raw = np.clip(np.rint(raw), np.iinfo(kind).min, np.iinfo(kind).max)
        found[name] = raw.astype(kind)
    return found


def _number_type(steps: Preprocessing) -> str:
    """What the steps are computed in: float32 wherever that gives what float64 does."""
    is_exact = steps.is_narrow or (steps.raw_dtype == "float32" and (steps.scale == 1 or not any(steps.mean)))
    return "float32" if is_exact else "float64"


def _along_samples(
    emitter: Emitter, values: Sequence[float] | np.ndarray, raw_shape: tuple[int, ...], dtype: str
) -> str:
    array = np.asarray(values, dtype)
    return emitter.array(array.reshape(shape_along(len(array), raw_shape)))


@dataclass(frozen=True)
class Numbers:
    """What the file says about a sample of a regression: numbers in the units of the recorded targets.

    Args:
        steps: how recorded targets became those that the model was trained with.
    """

    steps: Preprocessing

    def write(self, emitter: Emitter, value: str, port: Port) -> list[tuple[str, Port]]:
        """Nodes after the model that undo the steps; returns the output, of the type of the targets."""
        emitter.path = "answer"
        steps, number = self.steps, "float64" if self.steps.raw_dtype == "float64" else "float32"
        if port.dtype != number:
            value = emitter.cast(value, number)
        if any(std != 1 for std in steps.std):
            value = emitter.Mul(value, _along_samples(emitter, steps.std, steps.raw_shape, number))
        if any(steps.mean):
            value = emitter.Add(value, _along_samples(emitter, steps.mean, steps.raw_shape, number))
        if steps.scale != 1:
            value = emitter.Div(value, emitter.const(steps.scale, number))
        return [(value, Port(port.name, number, port.shape))]

    def compute(self, outputs: np.ndarray) -> np.ndarray:
        """The same in NumPy and float64, to compare with."""
        return self.steps.invert(outputs)


@dataclass(frozen=True)
class Answer:
    """What the file says about a sample, or about each step or pixel of it: its label and how probable.

    Args:
        task: "classification" (a score per class), "binary" (one score: above 0 means class 1).
        is_probability: whether the model's own last step already makes probabilities.
    """

    task: str
    is_probability: bool

    def write(self, emitter: Emitter, scores: str) -> list[tuple[str, Port]]:
        """Nodes after the model; returns the outputs label, probability and probabilities."""
        emitter.path = "answer"
        spec = emitter.specs[scores]
        rows = spec.shape[:-1] if spec.ndim > 2 else spec.shape[:1]
        if self.task == "classification":
            chances = scores if self.is_probability else emitter.Softmax(scores, axis=-1)
            label = emitter.ArgMax(scores, axis=spec.ndim - 1, keepdims=0)
            chance = emitter.reduce("ReduceMax", chances, (spec.ndim - 1,), False)
        else:
            flat = scores if spec.ndim == 1 else emitter.Squeeze(scores, emitter.ints((1,)))
            chances = flat if self.is_probability else emitter.Sigmoid(flat)
            limit = emitter.const(0.5 if self.is_probability else 0.0, spec.dtype)
            chosen = emitter.Greater(flat, limit)
            label = emitter.cast(chosen, "int64")
            chance = emitter.Where(chosen, chances, emitter.Sub(emitter.const(1.0, spec.dtype), chances))
        shape: Shape = spec.shape if self.task == "classification" else rows
        return [
            (label, Port("label", "int64", rows)),
            (chance, Port("probability", spec.dtype, rows)),
            (chances, Port("probabilities", spec.dtype, shape)),
        ]

    def compute(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same in NumPy and float64, to compare with: label, probability, probabilities."""
        indices, chances = classified(scores.astype(np.float64), self.is_probability)
        chosen = np.take_along_axis(chances, indices[..., None], -1)[..., 0]
        return indices, chosen, chances if self.task == "classification" else chances[:, 1]


@dataclass(frozen=True)
class LabelsAnswer:
    """What the file says about a sample that may have several labels: which, and how probable each is.

    Args:
        is_probability: whether the model's own last step already makes probabilities.
    """

    is_probability: bool

    def write(self, emitter: Emitter, scores: str) -> list[tuple[str, Port]]:
        """Nodes after the model; returns the outputs label, 0 or 1 for each, and probabilities."""
        emitter.path = "answer"
        spec = emitter.specs[scores]
        limit = emitter.const(0.5 if self.is_probability else 0.0, spec.dtype)
        label = emitter.cast(emitter.Greater(scores, limit), "int64")
        chances = scores if self.is_probability else emitter.Sigmoid(scores)
        return [
            (label, Port("label", "int64", spec.shape)),
            (chances, Port("probabilities", spec.dtype, spec.shape)),
        ]

    def compute(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same in NumPy and float64, to compare with: label, probabilities."""
        chances = scores.astype(np.float64) if self.is_probability else sigmoid(scores)
        limit = 0.5 if self.is_probability else 0.0
        return (scores > limit).astype(np.int64), chances


@dataclass(frozen=True)
class SpanAnswer:
    """What the file says about a sample: the most probable span of its steps, and how probable it is.

    Args:
        names: of the outputs with scores of where it starts and ends, in the model's order.
    """

    names: Sequence[str]
    scores: ClassVar[set[str]] = {"start", "end"}

    def write(self, emitter: Emitter, *scores: str) -> list[tuple[str, Port]]:
        """Nodes after the model; returns the outputs start, end and probability."""
        emitter.path = "answer"
        batch, steps = emitter.specs[scores[0]].shape
        found = dict(zip(self.names, scores, strict=True))
        start, end = (emitter.Softmax(found[name], axis=1) for name in ("start", "end"))
        start, end = (emitter.Unsqueeze(x, emitter.ints((axis,))) for x, axis in ((start, 2), (end, 1)))
        zero, one = emitter.const(0, "int64"), emitter.const(1, "int64")
        size = emitter.dimension_size(steps, "int64")
        places = emitter.Range(zero, size, one)
        before = emitter.LessOrEqual(emitter.Unsqueeze(places, emitter.ints((1,))), places)
        dtype = emitter.specs[scores[0]].dtype
        chances = emitter.Where(before, emitter.Mul(start, end), emitter.const(0.0, dtype))
        flat = emitter.Flatten(chances, axis=1)
        which = emitter.ArgMax(flat, axis=1, keepdims=0)
        return [
            (emitter.Div(which, size), Port("start", "int64", (batch,))),
            (emitter.Mod(which, size), Port("end", "int64", (batch,))),
            (emitter.reduce("ReduceMax", flat, (1,), False), Port("probability", dtype, (batch,))),
        ]

    def compute(self, *scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same in NumPy and float64, to compare with: start, end, probability."""
        found = dict(zip(self.names, scores, strict=True))
        return most_probable_spans(found["start"], found["end"])


Answers = Answer | LabelsAnswer | SpanAnswer | Numbers
"""All that a file may say behind a model."""


def answer_for(output: Spec, known: Encoding, is_probability: bool) -> Answers | None:
    """What can be said behind a model; None for numbers that need no way back.

    Args:
        output: the spec of the model's output.
        known: the task and the labels of the training, as far as they are known, and how its targets were
            scaled.
        is_probability: whether the model ends with softmax or sigmoid.

    Raises:
        ConfigError: the task is unknown, or does not fit the output or the labels.
    """
    task, labels, steps = known.task, known.labels, known.target_preprocessing
    scores = output.shape[1] if output.ndim == 2 else 1 if output.ndim == 1 else None
    if task is None:
        if scores == 1 and not (labels and len(labels) == 2):
            return None
        task = "binary" if scores == 1 else "classification"
    if task not in TASKS:
        raise ConfigError(
            f"the task is {task!r}.", where="Onnx.export", fix=f"use one of {', '.join(TASKS)}."
        )
    if task == "regression":
        last = output.shape[-1] if output.ndim > 2 else None
        if steps is not None and isinstance(last, int) and output.shape[1:-1] == steps.raw_shape:
            steps = steps.of_each(last)  # quantiles
        return Numbers(steps) if steps is not None and output.shape[1:] == steps.raw_shape else None
    if task == "multilabel" and output.ndim == 2 and output.is_float:
        return LabelsAnswer(is_probability)
    if output.ndim in (3, 4) and labels and len(labels) == output.shape[-1]:
        scores = len(labels)
    if scores is None or not output.is_float or (task == "binary" and scores not in (1, 2)):
        raise ConfigError(
            f"a model that gives {output} cannot be labelled as {task}.",
            where="Onnx.export",
            fix="give scores (N, classes), (N, T, classes) or (N, H, W, classes), or leave with_preprocessing"
            " out.",
            shell="leave --with-preprocessing out.",
        )
    return Answer("binary" if scores == 1 else "classification", is_probability)


def check_labels(outputs: Sequence[Spec], labels: Sequence[str] | None) -> None:
    """Raise unless there is a label for each class of some output.

    Args:
        outputs: the specs of the model's outputs: (N, C), (N, T, C) or (N, C, H, W) scores of C classes, or
            one score of two classes, (N, 1) or (N,).
        labels: the names of the classes.

    Raises:
        ConfigError: there are more or fewer.
    """
    if labels is None or isinstance(labels, str):
        return
    counts: list[int] = []
    for output in outputs:
        sizes = {1} if output.ndim < 2 else {output.shape[-1], output.shape[1]}
        counts += sorted(2 if size == 1 else size for size in sizes if isinstance(size, int))
        if len(counts) < len(sizes) or len(labels) in counts:
            return  # a free size, which any number of classes may fit, or the right one
    raise ConfigError(
        f"there are {len(labels)} labels, but {counts[-1]} classes: the model returns {outputs[0]}.",
        where="Onnx.export",
        fix="pass a label for each class, or build the model with that many classes.",
    )
