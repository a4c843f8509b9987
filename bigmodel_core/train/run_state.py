"""Where a run is: what training needs, besides the arrays, to continue as if it had never stopped."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from bigmodel_core.errors import CheckpointError
from bigmodel_core.train.history import deciding_loss
from bigmodel_core.train.loss_means import LossMeans


@dataclass
class Best:
    """The best epoch so far.

    Args:
        value: what was monitored, then.
        epoch: which epoch it was, from 1.
        loss: its validation loss, else its training loss, which decides between epochs of one value.
    """

    value: float
    epoch: int
    loss: float = math.inf

    def is_beaten_by(self, other: Best, *, higher_is_better: bool) -> bool:
        """Whether another epoch is better: by its value, or by its loss if the values are equal."""
        if other.value == self.value:
            return other.loss < self.loss
        return other.value > self.value if higher_is_better else other.value < self.value


@dataclass
class RunState:
    """Where a run is.

    Args:
        epoch: how many epochs are done.
        batch: how many batches of the next epoch are done.
        steps: how many steps are done over all.
        draws: how many batches were differentiated, which numbers the draws of dropout.
        samples: how many samples of this epoch are done.
        losses: their mean losses.
        rate_scale: what callbacks multiply the learning rate with.
        best: the best epoch so far.
        first_loss: the loss of the first step, before the model had learnt anything.
        ledger: of private training what its steps have spent: noise, rate and how many, of each kind.
        callbacks: the state of each callback, by its name.
        history: the logs of the epochs that are done.
    """

    epoch: int = 0
    batch: int = 0
    steps: int = 0
    draws: int = 0
    samples: int = 0
    losses: LossMeans = field(default_factory=LossMeans)
    rate_scale: float = 1.0
    best: Best | None = None
    first_loss: float | None = None
    ledger: list[Any] | None = None
    callbacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def to_plain(self) -> dict[str, Any]:
        """Plain values that JSON can hold.

        Raises:
            CheckpointError: a callback keeps something else.
        """
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        found["best"] = None if self.best is None else vars(self.best)
        found["losses"] = self.losses.sums
        return {name: _encode(value, name) for name, value in found.items()}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> RunState:
        """The state that `to_plain` gave.

        Raises:
            CheckpointError: it is malformed.
        """
        kinds = {
            **dict.fromkeys(("epoch", "batch", "steps", "draws", "samples"), int),
            "rate_scale": (int, float),
            "best": (dict, type(None)),
            "first_loss": (int, float, type(None)),
            "ledger": (list, type(None)),
            "callbacks": dict,
            "losses": dict,
            "history": list,
        }
        found = {name: _decode(value) for name, value in values.items()}
        since: dict[str, Any] = {
            "first_loss": None,
            "ledger": None,
            "losses": _earlier_sums(found),
            "draws": found.get("steps"),
        }  # earlier versions did not write them
        found = {**since, **found}
        for name, kind in kinds.items():
            if name not in found or not isinstance(found[name], kind) or isinstance(found[name], bool):  # type: ignore[arg-type]  # a type or a tuple of them
                raise CheckpointError(f"the state of the run has no valid '{name}'.")
        if min(found[name] for name in ("epoch", "batch", "steps", "draws", "samples")) < 0:
            raise CheckpointError("the state of the run has a negative count.")
        best, sums = found.pop("best"), found.pop("losses")
        try:
            made = None if best is None else _read_best(best, found["history"])
            losses = LossMeans({name: (float(total), float(count)) for name, (total, count) in sums.items()})
            return cls(
                best=made,
                losses=losses,
                **{name: found[name] for name in kinds if name not in ("best", "losses")},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the state of the run is malformed: {error!r}.") from None


def _earlier_sums(values: Mapping[str, Any]) -> dict[str, Any]:
    """The sums of losses as earlier versions wrote them, where each counts by samples."""
    parts, samples = values.get("part_sums"), values.get("samples")
    sums = parts if isinstance(parts, dict) and parts else {"": values.get("loss_sum")}
    return {name: (total, samples) for name, total in sums.items()} if samples else {}


def _read_best(best: Mapping[str, Any], history: list[dict[str, Any]]) -> Best:
    """The best epoch; the loss, which earlier versions did not note beside it, stands in the history, too."""
    value, epoch = float(best["value"]), int(best["epoch"])
    if "loss" in best:
        return Best(value, epoch, float(best["loss"]))
    logs = next((logs for logs in history if isinstance(logs, dict) and logs.get("epoch") == epoch), {})
    return Best(value, epoch, deciding_loss(logs))


def _encode(value: Any, where: str) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"number": repr(value)}
    if isinstance(value, (list, tuple)):
        return [_encode(item, where) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"array": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _encode(item, f"{where}.{key}") for key, item in value.items()}
    raise CheckpointError(
        f"a value of type {type(value).__name__} cannot be saved.",
        where=where,
        fix="keep numbers, strings, booleans, None, arrays of numbers, and lists and mappings of them in"
        " callback_state().",
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"number"} and value["number"] in ("nan", "inf", "-inf"):
            return float(value["number"])
        if value.keys() == {"array", "dtype", "shape"}:
            return _read_array(value)
        return {key: _decode(item) for key, item in value.items()}
    return value


def _read_array(value: Mapping[str, Any]) -> np.ndarray:
    """An array that `_encode` wrote.

    Raises:
        CheckpointError: it is malformed.
    """
    try:
        dtype = np.dtype(value["dtype"])
        if dtype.kind not in "biuf":
            raise ValueError(f"numbers of type {dtype}")
        data = base64.b64decode(value["array"], validate=True)
        return np.frombuffer(data, dtype).reshape(value["shape"]).copy()
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"an array in the state of the run is malformed: {error}.") from None
