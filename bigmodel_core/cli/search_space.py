"""What a search varies: options of an experiment by name, each with a range or some choices.

learning_rate=1e-4..1e-1      a range; of a factor of 100 or more on a scale of logarithms
batch_size=16..128            a range of whole numbers
model.widths=64|128|256,128   choices
optimizer=adam|sgd:momentum=0.9
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.choice import Choice
from bigmodel_core.cli.experiment import Experiment, Train, with_changes
from bigmodel_core.errors import UsageError, close_matches
from bigmodel_core.registry.config import owner_of
from bigmodel_core.registry.field_values import field_types

if TYPE_CHECKING:
    from bigmodel_core.nn.model import Model

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*")
_LOGARITHMS = 100
"""A range whose ends are this factor apart is searched on a scale of logarithms."""
_PARTS = ("model", "optimizer", "schedule", "data")
_FIXED = ("epochs", "seed", "device", "workers", "monitor", "metrics", "start_from", "validation")
"""Keys of [train] that must not differ between trials that are compared."""


@dataclass(frozen=True)
class Dimension:
    """One option that a search varies.

    Args:
        name: "model.widths", "train.learning_rate", "optimizer".
        low, high: the ends of a range, both included; None for choices.
        whole: whether only whole numbers are tried.
        choices: what is tried, as typed.
    """

    name: str
    low: float | None = None
    high: float | None = None
    whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def by_logarithm(self) -> bool:
        """Whether all orders of magnitude are tried alike."""
        return self.low is not None and self.high is not None and 0 < self.low <= self.high / _LOGARITHMS

    @property
    def ends(self) -> tuple[str, ...]:
        """What has to be possible: the ends of a range, or all choices, as typed."""
        if self.choices:
            return self.choices
        assert self.low is not None and self.high is not None
        return self.typed(self.low), self.typed(self.high)

    def typed(self, value: float | str) -> str:
        """A value as a user would type it.

        >>> Dimension("train.learning_rate", 1e-4, 1e-1).typed(0.00123456)
        '0.001235'
        """
        if isinstance(value, str):
            return value
        return str(int(value)) if self.whole else f"{value:.4g}"

    def holds(self, text: str) -> bool:
        """Whether a typed value is one that can be tried."""
        if self.choices:
            return text in self.choices
        try:
            value = float(text)
        except ValueError:
            return False
        assert self.low is not None and self.high is not None
        return self.low <= value <= self.high and (not self.whole or value == int(value))

    def to_dict(self) -> dict[str, Any]:
        """The dimension as plain values."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "whole": self.whole, "logarithms": self.by_logarithm}


def dimension(name: str, described: Any, where: str = "--search") -> Dimension:
    """A dimension from its name and what was typed for it, or a list in an experiment file.

    Raises:
        UsageError: it is neither a range nor choices, or of a name that cannot be searched.

    >>> dimension("batch_size", "16..128").ends
    ('16', '128')
    >>> dimension("model.widths", [[128, 64], [256]]).choices
    ('128,64', '256')
    """
    full = _full_name(name.strip(), where)
    if isinstance(described, Sequence) and not isinstance(described, str):
        choices = tuple(_typed(value) for value in described)
    elif found := _RANGE.fullmatch(str(described)):
        low, high = float(found[1]), float(found[2])
        if not low < high:
            raise UsageError(
                f"the range of {name} ends at {found[2]}, not above {found[1]}.",
                where=where,
                fix="write the lower end first, as in 1e-4..1e-1.",
            )
        whole = not re.search(r"[.eE]", found[1] + found[2])
        return Dimension(full, low, high, whole and not _is_real(full))
    else:
        choices = tuple(part.strip() for part in str(described).split("|"))
    if len(choices) < 2 or len(set(choices)) < len(choices) or not all(choices):
        raise UsageError(
            f"{described!r} is nothing to search for {name}.",
            where=where,
            fix=f"write a range or two or more choices, as in {name}=0.1..0.5 or {name}=adam|sgd.",
        )
    return Dimension(full, choices=choices)


def _is_real(name: str) -> bool:
    """Whether an option of training takes real numbers, so that 0..1 is no range of two."""
    part, _, key = name.partition(".")
    return part == "train" and "float" in str(Train.__annotations__.get(key, ""))


def _full_name(name: str, where: str) -> str:
    part, dot, key = name.partition(".")
    known = {field: f"train.{field}" for field in Train.__dataclass_fields__ if field not in _FIXED}
    if not dot and part.replace("-", "_") in known:
        return known[part.replace("-", "_")]
    if (part in _PARTS and (dot or part != "data")) or name in known.values():
        return name
    fixed = key if part == "train" else part
    if fixed in _FIXED:
        raise UsageError(f"{fixed} is the same in all trials.", where=where, fix=f"set it: --{fixed}.")
    near = close_matches(name, [*known, *(f"{part}." for part in _PARTS), *_PARTS], 2)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(
        f"there is no option '{name}' to search.",
        where=where,
        fix=f"{hint}Names are {', '.join(known)}, optimizer, model.OPTION and the like.",
    )


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(_typed, value)) if isinstance(value, list) else str(value)


def usual_space(experiment: Experiment) -> tuple[Dimension, ...]:
    """What is searched where nothing is said: the learning rate, the batch size, and, where the model has
    them, widths of layers and dropout."""
    model: Model = experiment.model.make()
    optimizer = experiment.make_optimizer(model, 1)
    rate = optimizer.rate(0)
    size = experiment.train.batch_size
    found = [
        Dimension("train.learning_rate", _round(rate / 15), _round(rate * 15)),
        Dimension("train.batch_size", choices=tuple(str(max(size * k // 4, 1)) for k in (1, 2, 4, 8))),
    ]
    widths = getattr(model, "widths", None)
    if isinstance(widths, tuple) and widths and all(isinstance(width, int) for width in widths):
        scaled = [",".join(str(max(width * k // 2, 1)) for width in widths) for k in (1, 2, 4)]
        found.append(Dimension("model.widths", choices=tuple(dict.fromkeys(scaled))))
    if "dropout" in field_types(type(model)):
        found.append(Dimension("model.dropout", 0.0, 0.5))
    return tuple(found)


def _round(value: float) -> float:
    return float(f"{value:.1g}")


def check_space(experiment: Experiment, space: Sequence[Dimension]) -> None:
    """Raise unless each end and choice of each dimension can be made.

    Raises:
        UsageError: an option is unknown, or a value does not fit; names the dimension.
    """
    names = [one.name for one in space]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{double} is searched twice.", fix="name it once.")
    for one in space:
        for text in one.ends:
            try:
                made = applied(experiment, {one.name: text})
                made.make_optimizer(made.model.make(), 1)
                made.data.make()
            except UsageError as error:
                error.where = f"{one.name}={text}" + (f": {error.where}" if error.where else "")
                raise


def applied(experiment: Experiment, values: Mapping[str, str]) -> Experiment:
    """An experiment with options in place of its own.

    Args:
        experiment: the experiment.
        values: by the names of dimensions, as typed.

    Raises:
        UsageError: a value of [train] does not fit.
    """
    wholes = {name: text for name, text in values.items() if "." not in name}
    made = experiment
    for part, text in wholes.items():
        kind = "dataset" if part == "data" else part
        chosen: Any = {part: Choice(kind, text)}
        made = replace(made, **chosen)
    for name, text in values.items():
        part, dot, key = name.partition(".")
        if not dot:
            continue
        if part == "train":
            made = with_changes(made, {key: _of_train(key, text)})
        else:
            choice = getattr(made, part) or _own(made, part)
            chosen = {part: replace(choice, more={**choice.more, key: text})}
            made = replace(made, **chosen)
    return made


def _own(experiment: Experiment, part: str) -> Choice:
    """The choice of a part that an experiment leaves to the model, or to what is usual."""
    from bigmodel_core.cli.choice import USUAL_SCHEDULE

    if part == "schedule":
        return USUAL_SCHEDULE
    model: Model = experiment.model.make()
    return Choice("optimizer", model.optimizer, owner=owner_of(type(model), "optimizer"))


def _of_train(key: str, text: str) -> Any:
    """A value of [train] from its text.

    Raises:
        UsageError: it does not fit.
    """
    from bigmodel_core.cli.names import wrong_usage
    from bigmodel_core.registry import config

    with wrong_usage():
        return config.parse_fields(Train, {key: text})[key]


def of_experiment(experiment: Experiment, space: Sequence[Dimension]) -> dict[str, str]:
    """The values of an experiment as it is, by dimension, as far as they can be tried."""
    model: Model = experiment.model.make()
    optimizer = experiment.make_optimizer(model, 1)
    found: dict[str, str] = {}
    for one in space:
        part, dot, key = one.name.partition(".")
        if one.name == "train.learning_rate":
            value: Any = optimizer.rate(0)
        elif not dot:
            choice = getattr(experiment, part) or _own(experiment, part)
            value = choice.text
        else:
            owner = {"model": model, "optimizer": optimizer, "train": experiment.train}.get(part)
            value = getattr(owner, key.replace("-", "_"), None)
        text = one.typed(value) if isinstance(value, (int, float)) and not one.choices else _typed(
            list(value) if isinstance(value, tuple) else value
        )  # fmt: skip
        if one.holds(text):
            found[one.name] = text
    return found
