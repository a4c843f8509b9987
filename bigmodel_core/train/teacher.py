"""Teachers: a trained model whose scores another one learns beside the labels (Hinton et al., 2015)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.errors import CheckpointError, DataError, ShapeError, UsageError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.nn.given import check_model
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss, name_of
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.probabilities import makes_probabilities
from bigmodel_core.nn.trace import Trace
from bigmodel_core.registry.askers import CORE
from bigmodel_core.registry.config import make
from bigmodel_core.registry.field_limits import check_number
from bigmodel_core.train.by_output import Losses
from bigmodel_core.train.checkpoint import load
from bigmodel_core.train.measured import Measured
from bigmodel_core.train.runs import path_from

SCORES = "~scores"
"""The graph input that holds what the teacher gives for a batch."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained model that another one learns from, and how.

    A training step then minimises (1 - weight) * the loss of the targets + weight * `Distillation`, both
    means over the same samples, or tokens. The teacher computes as in inference and never changes; it sees
    the batches as the student does, augmented or not. Evaluation measures the loss of the targets alone.

    Args:
        model: a built model, or the path of a run or checkpoint.
        temperature: what both divide their scores by.
        weight: the share of what the teacher says, above 0 up to 1.

    Raises:
        ConfigError: the temperature or the weight is out of range.
        CheckpointError: there is no such run.

    >>> import bigmodel_core as bm
    >>> teacher = bm.Sequential(bm.layers.Dense(16, activation="relu"), bm.layers.Dense(3))
    >>> network = teacher.build(bm.Spec(("N", 4)))
    >>> trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", teacher=Teacher(teacher, temperature=2.0))
    """

    model: Layer | Network | str | Path
    temperature: float = 4.0
    weight: float = 0.9

    def __post_init__(self) -> None:
        check_number(self, "temperature", above=0)
        check_number(self, "weight", above=0, at_most=1)
        if not isinstance(self.model, (str, Path)):
            check_model(self.model)

    @cached_property
    def network(self) -> Network:
        """The built teacher.

        Raises:
            CheckpointError: there is no such run, or its checkpoint cannot be used.
            GraphError: the model is not built.
        """
        if isinstance(self.model, (str, Path)):
            return load(self.model).network
        return self.model if isinstance(self.model, Network) else self.model.network

    def scores(self, inputs: Sequence[Any]) -> np.ndarray:
        """What it gives for a batch."""
        found: np.ndarray = self.network(*inputs)
        return found

    # Whether it can teach -----------------------------------------------------------------------------------

    def check(self, student: Network, loss: Loss | Losses, encoding: Encoding | None) -> None:
        """Raise unless a model can learn from it.

        Args:
            student: the model.
            loss: that of the targets.
            encoding: how the data of the training became numbers.

        Raises:
            UsageError: the loss takes no scores of classes, or there are several outputs.
            ShapeError: it takes or gives arrays of other shapes.
            DataError: it knows other classes, tokens or preprocessing.
        """
        own = self.network
        if isinstance(loss, Losses) or len(own.outputs) > 1 or len(student.outputs) > 1:
            raise UsageError(
                "a teacher gives one output, and so does what learns from it.", where="teacher",
                fix="leave it out, or train with bm.losses.Distillation in a loop of your own.",
            )  # fmt: skip
        if not loss.takes_scores:
            raise UsageError(
                f"{name_of(loss)} takes no scores of classes, which a teacher gives.",
                where="teacher",
                fix="train with cross_entropy or binary_cross_entropy.",
            )
        if makes_probabilities(own.trace(training=False).outputs[0]):
            raise UsageError(
                "the teacher ends in a softmax or sigmoid, and what is learned are its scores.",
                where="teacher",
                fix="take the model without its last step: teacher.part(...).",
            )
        ports = ("takes", own.inputs, student.inputs), ("gives", own.outputs, student.outputs)
        for what, theirs, needed in ports:
            if len(theirs) != len(needed) or not all(map(_fits, theirs, needed)):
                first, second = (
                    " and ".join(format_shape(spec.shape) for spec in specs) for specs in (theirs, needed)
                )
                raise ShapeError(
                    f"the teacher {what} {first}, the student {second}.",
                    where="teacher",
                    fix="choose a teacher that was trained on the same data.",
                )
        self._check_encoding(own.encoding, encoding)

    def _check_encoding(self, own: Encoding | None, data: Encoding | None) -> None:
        if own is None or data is None:
            return
        names = ("labels", "tokenizer", "target_tokenizer", "features", "preprocessing")
        for name in names:
            theirs, needed = getattr(own, name), getattr(data, name)
            if theirs != needed and not (name == "labels" and None in (theirs, needed)):
                kind = {"labels": "other classes", "features": "other columns"}.get(
                    name, f"another {name.replace('_', ' ')}"
                )
                raise DataError(
                    f"the teacher was trained on {own.name or 'other data'} with {kind} than"
                    f" {data.name or 'these data'} {'have' if not data.name else 'has'}.",
                    where="teacher",
                    fix="choose a teacher of the same data, or load them as it met its own: like=RUN.",
                )

    # The step -----------------------------------------------------------------------------------------------

    def taught(self, found: Measured, trace: Trace, targets: Loss | Losses) -> Measured:
        """The loss of a training step, of that of the targets, which says what scores are."""
        is_yes_or_no = isinstance(targets, Loss) and targets.one_score
        options = {"temperature": self.temperature, "independent": is_yes_or_no}
        loss: Loss = make("loss", {"name": "distillation", **options}, owner=CORE)
        graph, (prediction,) = trace.graph, trace.outputs
        with trace.active(), graph.scope("loss", type(loss).__name__):
            scores = graph.input(SCORES, prediction.spec)
            each, counts = loss.each(prediction, scores), found.counts.get("")
            soft = _mean(each, counts, found.counted.get(""))
            total = found.loss * (1.0 - self.weight) + soft * self.weight
        return replace(found, loss=total)

    # What a run says of it ----------------------------------------------------------------------------------

    def described(self, folder: Path | None) -> dict[str, Any]:
        """What the options of a run say of it: where it is, seen from the run's folder, and what it is."""
        place = self.model if isinstance(self.model, (str, Path)) else None
        digest = hashlib.sha256()
        for path, array in sorted(self.network.state().items()):
            digest.update(path.encode() + array.tobytes())
        return {
            "run": None if place is None else str(place) if folder is None else path_from(folder, place),
            "temperature": float(self.temperature),
            "weight": float(self.weight),
            "digest": digest.hexdigest()[:16],
        }


def teacher_of(given: Any) -> Teacher | None:
    """The teacher that a user means: one, a model, or where a run is."""
    return given if given is None or isinstance(given, Teacher) else Teacher(given)


def recorded_teacher(item: Mapping[str, Any] | None, where: Path) -> Teacher | None:
    """The teacher of a run that is resumed.

    Args:
        item: what `described` gave.
        where: a file in the run's folder.

    Raises:
        CheckpointError: it is not where it was.
    """
    if item is None:
        return None
    path = None if item["run"] is None else where.parent / item["run"]
    if path is None or not path.exists():
        what = "was a model of the program" if path is None else f"{os.path.normpath(path)} is missing"
        raise CheckpointError(
            f"the teacher of the run {what}.",
            where=str(where),
            fix="pass it: Trainer.resume(run, teacher=bm.Teacher(...)).",
            shell="put its run back where it was.",
        )
    return Teacher(Path(os.path.normpath(path)), item["temperature"], item["weight"])


def _fits(own: Spec, other: Spec) -> bool:
    """Whether arrays that fit one spec fit the other: free sizes fit any."""
    return (
        own.dtype == other.dtype
        and own.ndim == other.ndim
        and all(a == b or isinstance(a, str) for a, b in zip(own.shape, other.shape, strict=True))
    )


def _mean(each: Value, counts: Value | None, counted: Value | None) -> Value:
    """The mean over what counts."""
    from bigmodel_core import ops

    if counts is None or counted is None:
        return ops.mean(each)
    return ops.sum(each * counts) / ops.where(ops.equal(counted, 0.0), 1.0, counted)
