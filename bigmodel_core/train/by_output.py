"""Losses and metrics of models with several outputs: which belong to which output, by name or by place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, UnknownNameError, UsageError, close_matches
from bigmodel_core.nn.loss import Loss, LossFunction, loss_of, name_of
from bigmodel_core.registry import display_name
from bigmodel_core.registry.config import make_list
from bigmodel_core.train.metric import Metric

OUTPUTS = "outputs"
"""The key of what belongs to outputs, in the description of losses and metrics."""


@dataclass(frozen=True)
class Term:
    """A loss of one output.

    Args:
        output: the name of the output, or its place.
        loss: the loss.
        weight: what its mean is multiplied with in the sum of all.
    """

    output: str | int
    loss: Loss
    weight: float = 1.0


@dataclass(frozen=True)
class Losses:
    """A loss, or several, for outputs of a model; their weighted sum is what training minimises."""

    terms: tuple[Term, ...]

    def placed(self, outputs: Sequence[str]) -> list[tuple[str, Term]]:
        """Each term with the name it has in logs, its output by name.

        Args:
            outputs: the names of the model's outputs.

        Raises:
            UnknownNameError: there is no output of the name; the message has the nearest.
            UsageError: there are more or fewer losses than outputs.
        """
        by_place = [term.output for term in self.terms if isinstance(term.output, int)]
        if by_place and max(by_place) >= len(outputs):
            raise UsageError(
                f"there are losses for {max(by_place) + 1} outputs, and the model returns {len(outputs)}"
                f" ({', '.join(outputs)}).",
                fix="give a loss for each output, in their order, or None for no loss.",
                where="loss",
            )
        found = [
            (outputs[term.output] if isinstance(term.output, int) else term.output, term)
            for term in self.terms
        ]
        check_outputs((name for name, _ in found), outputs, "loss")
        names = [name for name, _ in found]
        placed: dict[str, Term] = {}
        for number, (name, term) in enumerate(found):
            kind = "" if names.count(name) == 1 else f"_{_kind(number, found)}"
            placed[_unused(f"{name}{kind}_loss", placed)] = Term(name, term.loss, term.weight)
        return list(placed.items())


def _kind(number: int, found: Sequence[tuple[str, Term]]) -> str:
    """What tells a loss from the others of its output."""
    output, term = found[number]
    own = [place for place, (name, _) in enumerate(found) if name == output]
    name = _plain_name(term.loss)
    if [_plain_name(found[place][1].loss) for place in own].count(name) == 1:
        return name
    return f"{name}_{own.index(number) + 1}"


def _unused(base: str, taken: Iterable[str]) -> str:
    """A name, with a number if others have it."""
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def _plain_name(loss: Loss) -> str:
    name = name_of(loss).rpartition(".")[2] if isinstance(loss, LossFunction) else display_name(type(loss))
    return name.strip("<>").replace("-", "_")


def check_outputs(names: Iterable[str], outputs: Sequence[str], what: str) -> None:
    """Raise unless each name is that of an output.

    Raises:
        UnknownNameError: one is not; the message has the nearest.
    """
    for name in names:
        if name not in outputs:
            near = close_matches(str(name), outputs, 1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise UnknownNameError(
                f"the model has no output '{name}'.",
                fix=f"{hint}the outputs are {', '.join(outputs)}.",
                where=what,
            )


# Losses -----------------------------------------------------------------------------------------------------


def make_loss(value: Any) -> Loss | Losses:
    """What training minimises, from whatever a user may pass for it.

    Args:
        value: a loss, its name, or a function of Values; a dict of such by the names of outputs, or a list by
            their places, each alone, with a weight (loss, weight), or several as a list.

    Raises:
        UnknownNameError, ConfigError: as for a loss.
        UsageError: it is none of these.
    """
    if isinstance(value, Losses):
        return value
    if isinstance(value, Mapping) and value.keys() == {OUTPUTS}:
        return _read(value[OUTPUTS])
    if isinstance(value, Mapping) and not isinstance(value.get("name"), str):
        return _losses(value.items())
    if isinstance(value, (list, tuple)):
        if _is_weighted(value):
            raise UsageError(
                "the loss is a pair of a loss and a weight, which belongs to one of several outputs.",
                fix='name the output: loss={"y": (loss, weight)}.',
            )
        return _losses(enumerate(value))
    return loss_of(value)


def _losses(items: Iterable[tuple[Any, Any]]) -> Losses:
    terms = [term for output, entry in items for term in _terms(output, entry)]
    if not terms:
        raise UsageError("there is no loss for any output.", fix='pass one: loss={"y": "cross_entropy"}.')
    return Losses(tuple(terms))


def _terms(output: Any, entry: Any) -> list[Term]:
    if entry is None:
        return []
    if _is_weighted(entry):
        return [Term(output, loss_of(entry[0]), _weight(output, entry[1]))]
    if isinstance(entry, (list, tuple)):
        return [term for item in entry for term in _terms(output, item)]
    return [Term(output, loss_of(entry))]


def _is_weighted(entry: Any) -> bool:
    is_pair = isinstance(entry, (list, tuple)) and len(entry) == 2
    return (
        is_pair and isinstance(entry[1], (int, float, np.number)) and not isinstance(entry[0], (int, float))
    )


def _weight(output: Any, value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(value):
        raise ConfigError(
            f"the weight of the loss of '{output}' is {value!r}, expected a finite number.",
            fix="pass (loss, 0.5), for instance.",
        )
    return float(value)


def _read(items: Any) -> Losses:
    return Losses(tuple(Term(item["output"], loss_of(item["loss"]), item["weight"]) for item in items))


def ignoring(item: Any, label: int | None) -> Any:
    """A loss, losses of outputs or a metric that counts nothing of a label, as the data say: where it has an
    option `ignore` that is not set."""
    if label is None:
        return item
    if isinstance(item, Losses):
        return Losses(tuple(replace(term, loss=ignoring(term.loss, label)) for term in item.terms))
    if not is_dataclass(item) or isinstance(item, type) or getattr(item, "ignore", label) is not None:
        return item
    return replace(item, ignore=label)


# Metrics ----------------------------------------------------------------------------------------------------

Metrics = list[Metric] | dict[str, list[Metric]]
"""Metrics of what a model returns, or by the names of outputs."""


def make_metrics(value: Any) -> Metrics:
    """Metrics from whatever a user may pass for some: one, a list, or a dict of such by the names of outputs.

    Raises:
        UnknownNameError, ConfigError, UsageError: as for a metric.
    """
    if isinstance(value, Mapping) and value.keys() == {OUTPUTS}:
        value = value[OUTPUTS]
    elif not isinstance(value, Mapping) or isinstance(value.get("name"), str):
        return make_list("metric", value)
    return {str(output): make_list("metric", items) for output, items in value.items()}


def named_metrics(metrics: Metrics) -> dict[str, tuple[str | None, Metric]]:
    """The output (None for what the model returns) and the metric for each name in logs, as in
    class_accuracy; a second one of the same name gets a number."""
    by_output: dict[str | None, list[Metric]] = {}
    if isinstance(metrics, dict):
        by_output.update(metrics.items())
    else:
        by_output[None] = metrics
    found: dict[str, tuple[str | None, Metric]] = {}
    for output, items in by_output.items():
        for metric in items:
            name = ("" if output is None else f"{output}_") + display_name(type(metric))
            found[_unused(name, found)] = output, metric
    return found
