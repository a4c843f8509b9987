"""Several training steps of one model in one file, to continue all of them exactly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bigmodel_core.errors import CheckpointError, DataError, DtypeError, ShapeError, UsageError
from bigmodel_core.train.checkpoint import read
from bigmodel_core.train.snapshot import Snapshot
from bigmodel_core.train.step import TrainStep
from bigmodel_core.train.updates import STATE

_COUNTS = ("steps", "draws", "rate_scale")


def save_steps(path: str | Path, **steps: TrainStep) -> None:
    """Write a model with what its training steps keep to one file, at once; `bm.load` reads the model of it.

    Args:
        path: where to write; what is there is replaced only when the new file is complete.
        steps: built steps of one model, by names of your own.

    Raises:
        GraphError: a step is not built.
        UsageError: the steps are not of one model, or there are none.
        CheckpointError: the file cannot be written.

    >>> import os, tempfile
    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> model, x, y = bm.layers.Dense(2), np.eye(4, dtype="float32"), np.arange(4) % 2
    >>> step = bm.compile(model, "cross_entropy", bm.optimizers.Adam(0.1))
    >>> loss = step(x, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bm.save_steps(os.path.join(folder, "steps.safetensors"), only=step)
    ...     after = step(x, y)
    ...     bm.load_steps(os.path.join(folder, "steps.safetensors"), only=step)
    >>> step(x, y) == after
    True
    """
    networks = {name: step.programs.network for name, step in steps.items()}
    if len({id(network) for network in networks.values()}) != 1:
        raise UsageError(
            "the steps are not of one model." if networks else "there is no step to save.",
            fix="pass steps that were compiled for the same model: save_steps(path, critic=step, ...).",
        )
    (network,) = {id(network): network for network in networks.values()}.values()
    kept = {
        f"{STATE}/{name}/{key}": array for name, step in steps.items() for key, array in _own(step).items()
    }
    counts = {name: {count: getattr(step, count) for count in _COUNTS} for name, step in steps.items()}
    Snapshot(network).write(Path(path), network.state(), kept, training={"steps": counts})


def load_steps(path: str | Path, **steps: TrainStep) -> None:
    """Set a model and its training steps to what `save_steps` wrote; all of them, or nothing changes.

    Args:
        path: the file.
        steps: built steps of one model, by the names they were saved by.

    Raises:
        CheckpointError: the file cannot be read, or holds other steps or another model.
        GraphError: a step is not built; `step.build(inputs, target)` does that without a batch.
    """
    checkpoint = read(path)
    counts = (checkpoint.training or {}).get("steps")
    if not isinstance(counts, Mapping) or set(counts) != set(steps):
        held = ", ".join(sorted(counts)) if isinstance(counts, Mapping) and counts else "no steps"
        raise CheckpointError(
            f"the file holds {held}, not {', '.join(sorted(steps)) or 'nothing'}.",
            where=str(path),
            fix="pass the steps by the names they were saved by.",
        )
    states: dict[str, dict[str, Any]] = {}
    for name, step in steps.items():
        start = f"{STATE}/{name}/"
        own = {
            key[len(start) :]: array for key, array in checkpoint.optimizer.items() if key.startswith(start)
        }
        states[name] = {**checkpoint.state, **own}
        try:
            step.fitting_state(states[name])
        except (ShapeError, DtypeError, DataError) as error:
            raise CheckpointError(
                f"the step '{name}' does not fit: {error.message}",
                where=str(path),
                fix="compile the steps as those that were saved.",
            ) from None
    for name, step in steps.items():
        step.load_state(states[name], int(counts[name]["steps"]))
        step.draws, step.rate_scale = int(counts[name]["draws"]), float(counts[name]["rate_scale"])


def _own(step: TrainStep) -> dict[str, Any]:
    """What a step keeps besides the model."""
    return {
        path: array for path, array in step.state().items() if path not in step.programs.network.variables
    }
