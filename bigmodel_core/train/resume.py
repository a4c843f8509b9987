"""Going on with a run: the checkpoint must be one of this model, these options and these data."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.accounting.privacy import Privacy
from bigmodel_core.errors import BigmodelError, BigmodelWarning, CheckpointError, DeviceError
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.registry import config
from bigmodel_core.train.checkpoint import Checkpoint, read
from bigmodel_core.train.described import described, each_described
from bigmodel_core.train.private_sampling import ledger_of
from bigmodel_core.train.private_step import PrivateStep
from bigmodel_core.train.record import optimizer_paths
from bigmodel_core.train.run_state import RunState
from bigmodel_core.train.runs import BEST, LAST, MANIFEST, is_run, read_manifest, resume_points
from bigmodel_core.train.step import TrainStep
from bigmodel_core.train.teacher import recorded_teacher

_FIXED = (
    "seed",
    "batch_size",
    "accumulate",
    "augment",
    "loss",
    "optimizer",
    "freeze",
    "ema",
    "privacy",
    "teacher",
    "monitor",
    "data",
    "validation",
)
"""What must be the same for a resumed run to reach the same bits."""
_SINCE = {"augment": [], "accumulate": 1, "freeze": [], "ema": None, "privacy": None, "teacher": None}
"""What runs of earlier versions, which did not note these options, had."""


def checkpoint_of_run(path: str | Path) -> Checkpoint:
    """The checkpoint to resume from: of a run the last one, or the best one if that cannot be read.

    Raises:
        CheckpointError: there is none that can be read, or it is a saved model without a run.
    """
    points, problems = resume_points(path), list[CheckpointError]()
    for point in points:
        try:
            found = _of_run(read(point))
        except CheckpointError as error:
            if len(points) == 1 and not is_run(path):
                raise
            problems.append(error)
            continue
        if problems or (point.name != LAST and Path(path).is_dir()):
            why = f" ({problems[0].message.rstrip('.')})" if problems else ""
            done = RunState.from_plain(found.training["state"]).epoch if found.training else 0
            warnings.warn(
                f"{Path(path) / LAST} {'cannot be used' if problems else 'is missing'}{why};"
                f" resuming from {point}, after epoch {done}.",
                BigmodelWarning,
                stacklevel=2,
            )
        return found
    if not problems:
        raise CheckpointError(
            f"the folder holds neither {LAST} nor {BEST}.",
            where=str(path),
            fix="pass the folder of a run, such as runs/mlp-001.",
        )
    files = " ".join(str(point) for point in points)
    raise CheckpointError(
        f"the run has no checkpoint that can be used: {problems[0].message.rstrip('.')}.",
        where=str(points[0]),
        fix=f"replace it with a copy, or move the damaged files away ({files}); the run then starts over with"
        " Trainer.resume.",
        shell=f"replace it with a copy, or start the run over: rm {files}; bigmodel train --resume {path}",
    )


def _of_run(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint, after checking that it is one of a run.

    Raises:
        CheckpointError: it is a saved model without a run, or malformed.
    """
    training = checkpoint.training
    if training is None:
        raise CheckpointError(
            "this is a saved model, not a checkpoint of a run.",
            where=str(checkpoint.path),
            fix="continue training it with Trainer(bm.load(path), ...).",
        )
    if set(training) != {"plan", "state"} or not all(isinstance(part, dict) for part in training.values()):
        raise CheckpointError("the description of the run is malformed.", where=str(checkpoint.path))
    return checkpoint


def begun(path: str | Path) -> dict[str, Any] | None:
    """The configuration of a run without any checkpoint, which is enough to start it over; None if there is a
    checkpoint, or no run.

    Raises:
        CheckpointError: the configuration is damaged.
    """
    return read_manifest(path) if is_run(path) and not resume_points(path) else None


def model_of(manifest: Mapping[str, Any], path: str | Path) -> Any:
    """The model that the configuration of a run names, not built.

    Raises:
        CheckpointError: it belongs to no plugin, to one that is missing, or is malformed.
    """
    described = manifest.get("model")
    kind = described.get("kind", "model") if isinstance(described, Mapping) else "model"
    return _made(str(Path(path) / MANIFEST), str(kind), described)


def folder_of(checkpoint: Checkpoint) -> Path | None:
    """The folder of the run that a checkpoint belongs to, if it is in one."""
    folder = checkpoint.path.parent
    return folder if is_run(folder) else None


def parts(
    options: Mapping[str, Any],
    where: Path,
    callbacks: Sequence[Any] | None,
    loss: Any = None,
    teacher: Any = None,
) -> dict[str, Any]:
    """What a run was made with, as a Trainer takes it: loss, optimizer, metrics and so on.

    Args:
        options: of the run.
        where: the file that they come from.
        callbacks: instead of those of the run.
        loss: instead of that of the run.
        teacher: likewise.

    Raises:
        CheckpointError: one of them belongs to no plugin, to one that is missing, or is malformed.
    """
    made = functools.partial(_made, str(where))
    try:
        return {
            "loss": each_described(options["loss"], functools.partial(made, "loss"))
            if loss is None
            else loss,
            "optimizer": made("optimizer", options["optimizer"]),
            "metrics": each_described(options["metrics"], functools.partial(made, "metric")),
            "callbacks": [made("callback", item) for item in options["callbacks"]]
            if callbacks is None
            else callbacks,
            "seed": int(options["seed"]),
            **{name: options.get(name, _SINCE[name]) for name in ("accumulate", "freeze", "ema")},
            "privacy": Privacy(**options["privacy"]) if options.get("privacy") else None,
            "teacher": recorded_teacher(options.get("teacher"), where) if teacher is None else teacher,
            "monitor": str(options["monitor"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the description of the run is malformed: {error!r}.", where=str(where)
        ) from None


def augmentations(options: Mapping[str, Any], where: Path) -> list[Any]:
    """The augmentations of a run.

    Raises:
        CheckpointError: one of them belongs to no plugin, to one that is missing, or is malformed.
    """
    found = options.get("augment", [])
    if not isinstance(found, list):
        raise CheckpointError("the augmentations of the run are malformed.", where=str(where))
    return [_made(str(where), "augmentation", item) for item in found]


def _made(where: str, kind: str, item: Any) -> Any:
    """An object that the description of a run names."""
    if isinstance(item, Mapping) and "class" in item:
        passed = {
            "loss": "pass loss=..., or ",
            "callback": "pass callbacks=[...], or ",
            "augmentation": "pass augment=[...] to fit, or ",
        }
        raise CheckpointError(
            f"the {kind} {item['class']} belongs to no plugin, so the run knows only its name.",
            where=where,
            fix=f"{passed.get(kind, '')}create the Trainer as for the run and call fit(..., resume=path).",
            shell="resume it from Python, where it was started.",
        )
    try:
        return config.from_config(kind, item)
    except BigmodelError as error:
        raise CheckpointError(
            f"the {kind} of the run cannot be made: {error.message}",
            where=where,
            fix=error.fix,
        ) from None


def state_of(checkpoint: Checkpoint, step: TrainStep, options: Mapping[str, Any]) -> RunState:
    """Where a run was, after checking that a built step can continue from there.

    Args:
        checkpoint: of the run.
        step: the training step; it is not changed.
        options: of the resumed run.

    Raises:
        CheckpointError: the run had other options or data, or the model or optimizer is another one.
    """
    assert checkpoint.training is not None and step.network is not None and step.variables is not None
    where = str(checkpoint.path)
    before = {**_SINCE, **checkpoint.options}
    if odd := [name for name in _FIXED if not _same(name, before.get(name), options[name])]:
        about = checkpoint.about.encoding
        is_old = odd[0] in ("data", "validation") and about is not None and not about.complete
        since = (
            " It was written by an earlier version, which prepared some data differently." if is_old else ""
        )
        raise CheckpointError(
            f"the run had another {', another '.join(odd)}: {_difference(odd[0], before, options)}.{since}",
            where=where,
            fix="resume with the same data and options, or start anew: Trainer(bm.load(path), ...).",
            shell="name the training data with --data-dir, or start a new run on these.",
        )
    try:
        state = RunState.from_plain(checkpoint.training["state"])
        if isinstance(step, PrivateStep):
            ledger_of(state, step.privacy)
        expected = optimizer_paths(step)
        if set(expected) != set(checkpoint.optimizer):
            different = sorted(set(expected) ^ set(checkpoint.optimizer))
            raise CheckpointError(f"the state of the optimizer does not fit: {different[0]}.")
        for path in expected:
            array, own = checkpoint.optimizer[path], step.variables.spec(path)
            if np.shape(array) != own.sizes or array.dtype != own.dtype:
                raise CheckpointError(
                    f"'{path}' is {array.dtype} {array.shape}, not {own.dtype} {own.sizes}."
                )
        step.network.check_state(checkpoint.state)
    except BigmodelError as error:
        raise CheckpointError(
            f"the checkpoint does not fit: {error.message}",
            where=where,
            fix="resume with the model and the optimizer of the run.",
        ) from None
    return state


def restore(checkpoint: Checkpoint, step: TrainStep, state: RunState) -> None:
    """Set a built step to where a run was.

    Args:
        checkpoint: of the run.
        step: the training step.
        state: what `state_of` gave for them.
    """
    assert step.network is not None and step.variables is not None
    step.network.load_state(checkpoint.state)
    for path in optimizer_paths(step):
        step.variables.write(path, checkpoint.optimizer[path])
    step.steps, step.draws, step.rate_scale = state.steps, state.draws, state.rate_scale
    if isinstance(step, PrivateStep):
        step.ledger = ledger_of(state, step.privacy)
    step.discard()


def _same(name: str, before: Any, now: Any) -> bool:
    """Whether an option is what it was. An earlier version may have described it without a field that has
    come since, whose default does what was done before."""
    kind = "augmentation" if name == "augment" else name
    if name == "teacher" and before is not None and now is not None:  # wherever it is now
        return bool({**before, "run": None} == {**now, "run": None})
    if before == now or kind not in ("augmentation", "loss", "optimizer"):
        return bool(before == now)
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return all(_same(name, *pair) for pair in zip(before, now, strict=True))
    try:
        return bool(described(config.from_config(kind, before)) == now)
    except BigmodelError:
        return False


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
    """Raise if the model and the trainer are on different devices.

    Raises:
        DeviceError: it is elsewhere.
    """
    network = model if isinstance(model, Network) else model.network if model.is_built else None
    if network is not None and device is not None and network.device.name != device:
        raise DeviceError(
            f"the model is built for '{network.device.name}', but training was requested on '{device}'.",
            fix=f"build it there: model.build(spec, device='{device}').",
        )
