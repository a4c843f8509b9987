"""Going on with a run: the checkpoint has to be one of this model, these options and these data."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core import config
from bigmodel_core.errors import BigmodelError, CheckpointError, DeviceError
from bigmodel_core.layer import Layer
from bigmodel_core.network import Network
from bigmodel_core.train.checkpoint import Checkpoint, read
from bigmodel_core.train.record import optimizer_paths
from bigmodel_core.train.run_state import RunState
from bigmodel_core.train.runs import is_run, resume_point
from bigmodel_core.train.step import TrainStep

_FIXED = ("seed", "batch_size", "augment", "loss", "optimizer", "monitor", "data", "validation")
"""What has to be the same for a resumed run to reach the same bits."""


def checkpoint_of_run(path: str | Path) -> Checkpoint:
    """The checkpoint to resume from.

    Raises:
        CheckpointError: it is missing, damaged, or a saved model without a run.
    """
    checkpoint = read(resume_point(path))
    training = checkpoint.training
    if training is None:
        raise CheckpointError(
            "this is a saved model, not the checkpoint of a run.",
            where=str(checkpoint.path),
            fix="train it on with Trainer(bm.load(path), ...).",
        )
    if set(training) != {"plan", "state"} or not all(isinstance(part, dict) for part in training.values()):
        raise CheckpointError("the description of the run is malformed.", where=str(checkpoint.path))
    return checkpoint


def folder_of(checkpoint: Checkpoint) -> Path | None:
    """The folder of the run that a checkpoint belongs to, if it lies in one."""
    folder = checkpoint.path.parent
    return folder if is_run(folder) else None


def parts(checkpoint: Checkpoint, callbacks: Sequence[Any] | None) -> dict[str, Any]:
    """The loss, optimizer, metrics, callbacks, seed and monitor of a run, as a Trainer takes them.

    Raises:
        CheckpointError: one of them belongs to no plugin, to one that is missing, or is malformed.
    """
    assert checkpoint.training is not None
    plan = checkpoint.training["plan"]
    made = functools.partial(_made, checkpoint)
    try:
        return {
            "loss": made("loss", plan["loss"]),
            "optimizer": made("optimizer", plan["optimizer"]),
            "metrics": [made("metric", item) for item in plan["metrics"]],
            "callbacks": [made("callback", item) for item in plan["callbacks"]]
            if callbacks is None
            else callbacks,
            "seed": int(plan["seed"]),
            "monitor": str(plan["monitor"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the description of the run is malformed: {error!r}.", where=str(checkpoint.path)
        ) from None


def augmentations(checkpoint: Checkpoint, plan: Mapping[str, Any]) -> list[Any]:
    """The augmentations of a run.

    Raises:
        CheckpointError: one of them belongs to no plugin, to one that is missing, or is malformed.
    """
    found = plan.get("augment", [])
    if not isinstance(found, list):
        raise CheckpointError("the augmentations of the run are malformed.", where=str(checkpoint.path))
    return [_made(checkpoint, "augmentation", item) for item in found]


def _made(checkpoint: Checkpoint, kind: str, item: Any) -> Any:
    """An object that the description of a run names."""
    if isinstance(item, Mapping) and set(item) == {"class"}:
        passed = {"callback": "pass callbacks=[...], or ", "augmentation": "pass augment=[...] to fit, or "}
        raise CheckpointError(
            f"the {kind} {item['class']} belongs to no plugin, so the checkpoint only knows its name.",
            where=str(checkpoint.path),
            fix=f"{passed.get(kind, '')}make the Trainer as the run did and call fit(..., resume=path).",
        )
    try:
        return config.from_config(kind, item)
    except BigmodelError as error:
        raise CheckpointError(
            f"the {kind} of the run cannot be made: {error.message}",
            where=str(checkpoint.path),
            fix=error.fix,
        ) from None


def restore(checkpoint: Checkpoint, step: TrainStep, plan: Mapping[str, Any]) -> RunState:
    """Set a built step to where a run was; all of it fits, or nothing changes.

    Args:
        checkpoint: of a run.
        step: the training step.
        plan: the options of the run that goes on.

    Raises:
        CheckpointError: the run had other options or data, or the model or optimizer is another one.
    """
    assert checkpoint.training is not None and step.network is not None
    where = str(checkpoint.path)
    before = {"augment": [], **checkpoint.training["plan"]}
    if odd := [name for name in _FIXED if before.get(name) != plan[name]]:
        raise CheckpointError(
            f"the run had another {', another '.join(odd)}: {_difference(odd[0], before, plan)}.",
            where=where,
            fix="resume with the same data and options, or train on otherwise: Trainer(bm.load(path), ...).",
        )
    try:
        state = RunState.from_plain(checkpoint.training["state"])
        network = step.network
        expected = optimizer_paths(step)
        if set(expected) != set(checkpoint.optimizer):
            different = sorted(set(expected) ^ set(checkpoint.optimizer))
            raise CheckpointError(f"the state of the optimizer does not fit: {different[0]}.")
        for path in expected:
            array, own = checkpoint.optimizer[path], network.variables.read(path)
            if np.shape(array) != own.shape or array.dtype != own.dtype:
                raise CheckpointError(
                    f"'{path}' is {array.dtype} {array.shape}, not {own.dtype} {own.shape}."
                )
        network.load_state(checkpoint.state)
    except BigmodelError as error:
        raise CheckpointError(
            f"the checkpoint does not fit: {error.message}",
            where=where,
            fix="resume with the model and the optimizer of the run.",
        ) from None
    for path in expected:
        network.variables.write(path, checkpoint.optimizer[path])
    step.steps, step.rate_scale = state.steps, state.rate_scale
    return state


def _difference(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if name in ("data", "validation"):
        return "other samples"
    return f"{_short(before.get(name))}, now {_short(now[name])}"


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        fields = ", ".join(f"{key}={item!r}" for key, item in value.get("fields", {}).items())
        return f"{value['name']}({fields})"
    return repr(value)


def check_device(model: Layer | Network, device: str | None) -> None:
    """Whether a built model is where a trainer is to work.

    Raises:
        DeviceError: it is elsewhere.
    """
    network = model if isinstance(model, Network) else model.network if model.is_built else None
    if network is not None and device is not None and network.device.name != device:
        raise DeviceError(
            f"the model is built for '{network.device.name}', training is asked for on '{device}'.",
            fix=f"build it there: model.build(spec, device='{device}').",
        )
