"""The loss in a model's graph: a sum of those of its outputs, each of them a mean over what counts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from bigmodel_core.data.tree import filled, leaves
from bigmodel_core.errors import BigmodelError, BigmodelWarning, DataError, ShapeError
from bigmodel_core.graph import Value, place
from bigmodel_core.graph.spec import format_shape
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss, LossFunction, averaged, name_of, several_outputs
from bigmodel_core.nn.probabilities import last_step, makes_probabilities
from bigmodel_core.nn.trace import Trace
from bigmodel_core.train.by_output import Losses
from bigmodel_core.train.objective import TARGET, WEIGHTS, Goal


@dataclass(frozen=True)
class Measured:
    """The loss of a batch in a graph.

    Args:
        loss: what training minimises.
        parts: the mean of each loss by its name in logs, before its weight; none where one loss is all.
        counted: for each of them ("" for one that is all) what the batch counts; those that are not in it
            count by samples.
        counts: by the names of outputs ("" for all), what each sample counts.
        shares: what each part is multiplied with in the sum.
    """

    loss: Value
    parts: dict[str, Value] = field(default_factory=dict)
    counted: dict[str, Value] = field(default_factory=dict)
    counts: dict[str, Value] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)

    def noted(self) -> list[Value]:
        """What a step notes of a batch: the mean of each loss, and what the batch counts."""
        return [*self.parts.values(), *self.counted.values()]

    def terms(self) -> list[tuple[Value, Value | None]]:
        """What the loss is the sum of, apart where it counts differently, each with what the batch counts in
        it; None for what counts by samples."""
        if len(self.parts) < 2 or not self.counted:
            return [(self.loss, next(iter(self.counted.values()), None))]
        by_samples: Value | None = None
        found: list[tuple[Value, Value | None]] = []
        for name, part in self.parts.items():
            share = part * self.shares[name]
            if name in self.counted:
                found.append((share, self.counted[name]))
            else:
                by_samples = share if by_samples is None else by_samples + share
        return found if by_samples is None else [(by_samples, None), *found]


def measured(loss: Loss | Losses, trace: Trace, goal: Goal) -> Measured:
    """The loss of a trace's outputs, in its graph; errors say that they come from the loss.

    Raises:
        GraphError: the model returns several outputs, and the loss takes one.
    """
    graph = trace.graph
    if goal.mixed and isinstance(loss, Loss):
        loss = loss.of_mixed()
    target = filled(goal.target, [graph.input(TARGET + p, s) for p, s in leaves(goal.target).items()])
    weight = filled(goal.weight, [graph.input(WEIGHTS + p, s) for p, s in leaves(goal.weight).items()])
    with trace.active():
        return measured_in(
            loss, trace.result, dict(zip(_names(trace), trace.outputs, strict=True)), target, weight, trace
        )


def _names(trace: Trace) -> tuple[str, ...]:
    return trace.form.names_of(len(trace.outputs))


def warn_of_probabilities(loss: Loss | Losses, trace: Trace) -> None:
    """Warn if a model ends in a softmax or sigmoid, and its loss makes probabilities of scores itself.

    Warns:
        BigmodelWarning: it does.
    """
    outputs = dict(zip(_names(trace), trace.outputs, strict=True))
    pairs = (
        [(term.loss, str(term.output)) for _, term in loss.placed(list(outputs))]
        if isinstance(loss, Losses)
        else [(loss, name) for name in outputs]
    )
    for own, name in pairs:
        if not own.takes_scores or not makes_probabilities(outputs[name]):
            continue
        last = last_step(outputs[name])
        kind, what = type(last.op).__name__.lower(), "model" if len(outputs) == 1 else f"output '{name}'"
        warnings.warn(
            (f"{last.place}: " if last.place else "")
            + f"the {what} ends in a {kind}, but {name_of(own)} takes scores and makes probabilities of them"
            f" itself: with both, the loss is wrong and training slow. Train without the {kind}, and put it"
            " behind the trained model, or use predict_proba.",
            BigmodelWarning,
            stacklevel=2,
        )


def measured_in(
    loss: Loss | Losses,
    result: Any,
    outputs: Mapping[str, Value],
    target: Any,
    weight: Any = None,
    trace: Trace | None = None,
) -> Measured:
    """The loss of outputs in the graph that is active.

    Args:
        loss: what is minimised.
        result: the outputs as the model returned them.
        outputs: the outputs by name.
        target, weight: as a `Goal` has them.
        trace: of the model, if there is one.
    """
    if not isinstance(loss, Losses):
        value, counted, counts = _scalar(loss, result, target, weight, trace)
        return Measured(
            value,
            counted={} if counted is None else {"": counted},
            counts={} if counts is None else {"": counts},
        )
    parts, counted_by, shares = dict[str, Value](), dict[str, Value](), dict[str, float]()
    counts_by: dict[str, Value] = {}
    total: Value | None = None
    for name, term in loss.placed(list(outputs)):
        output = str(term.output)
        own = (weight or {}).get(output)
        value, counted, counts = _scalar(term.loss, outputs[output], target[output], own, trace)
        parts[name], shares[name] = value, term.weight
        if counted is not None and counts is not None:
            counted_by[name] = counted
            counts_by.setdefault(output, counts)
        share = value if term.weight == 1 else value * term.weight
        total = share if total is None else total + share
    assert total is not None
    return Measured(total, parts, counted_by, counts_by, shares)


def _scalar(
    loss: Loss, prediction: Any, target: Any, weight: Value | None, trace: Trace | None
) -> tuple[Value, Value | None, Value | None]:
    kind = type(loss).__name__
    graph = (
        prediction if isinstance(prediction, Value) else next(iter(leaves(prediction).values()))
    ).node.graph
    with graph.scope("loss", kind):
        try:
            if target is None and not isinstance(loss, LossFunction):
                raise DataError(f"{kind} compares with a target, got None.", fix="pass the targets, too.")
            with _within(loss, trace):
                found = averaged(loss, prediction, target, weight)
            if found[0].shape != ():
                raise ShapeError(
                    f"the loss has shape {format_shape(found[0].shape)}.", fix="a loss is a scalar: its mean."
                )
        except BigmodelError as error:
            error.where = error.where or place("loss", kind)
            raise
        except (AttributeError, TypeError) as error:
            if isinstance(prediction, Value):
                raise
            raise several_outputs(loss, prediction, str(error)) from error
    return found


def _within(loss: Loss, trace: Trace | None) -> AbstractContextManager[None]:
    """Where a loss runs: a method of a layer, in that layer's call."""
    owner = getattr(loss.function, "__self__", None) if isinstance(loss, LossFunction) else None
    return trace.continued(owner) if trace is not None and isinstance(owner, Layer) else nullcontext()
