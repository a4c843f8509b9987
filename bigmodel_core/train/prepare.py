"""Before training: every argument of `Trainer.fit` is checked, and a resumed run put if it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.data.augmentation import Augmentation, augmented_pair, mixable, mixes
from bigmodel_core.data.data import Data
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.prefetch import DEFAULT_WORKERS
from bigmodel_core.data.split import Split
from bigmodel_core.data.tree import mapped
from bigmodel_core.errors import DataError, UsageError
from bigmodel_core.nn.given import network_of
from bigmodel_core.nn.loss import Loss, name_of
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.registry.config import make, make_list
from bigmodel_core.train import resume as resuming
from bigmodel_core.train.batch_size import check_batch_size, fitting_batch_size
from bigmodel_core.train.by_output import ignoring
from bigmodel_core.train.described import described, described_loss, described_metrics
from bigmodel_core.train.evaluation import EVALUATION_BATCH, Evaluator
from bigmodel_core.train.job import Job, encoded, measures, monitored, parted, whole_number
from bigmodel_core.train.lock import check_unused
from bigmodel_core.train.loss_means import LossMeans
from bigmodel_core.train.objective import Goal, goal_of
from bigmodel_core.train.private_sampling import check_private, sampling
from bigmodel_core.train.record import check_free
from bigmodel_core.train.run_state import RunState
from bigmodel_core.train.runs import is_run, path_from, read_manifest
from bigmodel_core.train.samples import Samples, check_one_pair
from bigmodel_core.train.snapshot import Snapshot
from bigmodel_core.train.stream import Stream
from bigmodel_core.train.updates import check_optimizer

if TYPE_CHECKING:
    from bigmodel_core.train.trainer import Trainer


def prepared(
    trainer: Trainer,
    data: Any,
    *,
    epochs: int | None,
    batch_size: int | None,
    validation: Any,
    resume: str | Path | None,
    checkpoint_every: int | None,
    record: Mapping[str, Any],
    augment: Sequence[Augmentation | str] | None = None,
    workers: int = DEFAULT_WORKERS,
    steps_per_epoch: int | None = None,
) -> Job:
    """What a call of `fit` works on; nothing is written yet, and of the trainer only its step is built.

    Args:
        trainer: whose `fit` was called.
        data, epochs, batch_size, validation, resume, checkpoint_every, record, augment, workers,
            steps_per_epoch: as for `fit`.

    Raises:
        BigmodelError: as `fit` says.
    """
    check_one_pair(epochs, "fit")
    checkpoint = resuming.checkpoint_of_run(resume) if resume is not None else trainer.resumed
    folder = trainer.out or (resuming.folder_of(checkpoint) if checkpoint is not None else None)
    before = checkpoint.options if checkpoint is not None else {}
    before = before or trainer.begun or {}
    epochs = whole_number("epochs", before.get("epochs", 1) if epochs is None else epochs)
    asked = before.get("batch_size") if batch_size is None else check_batch_size(batch_size)
    whole_number("workers", workers, least=0)
    source = checkpoint.path if checkpoint is not None else Path(folder or "")
    changes = _augmentations(before, source, augment)
    if checkpoint_every is not None:
        whole_number("checkpoint_every", checkpoint_every)
        if folder is None:
            raise UsageError(
                "checkpoint_every needs a folder to write to.",
                fix="pass out to the Trainer.",
                shell="name one with --out.",
            )
    if validation is None:
        validation = before.get("validation_fraction")
    step = trainer.step
    encoding = checkpoint.about.encoding if checkpoint is not None else trainer.encoding
    data = encoded(data, encoding)
    if encoding is None and isinstance(data, (Data, Split)):
        encoding = data.encoding
    validation = encoded(validation, encoding)
    step.take_loss(ignoring(step.loss, None if encoding is None else encoding.ignore))
    if steps_per_epoch is not None:
        whole_number("steps_per_epoch", steps_per_epoch)
    train, held_out = parted(data, validation, step.seed, step.model, steps_per_epoch)
    if isinstance(train, Stream):
        if batch_size is not None:
            raise UsageError("the batches have a size of their own.", fix="leave batch_size out.")
        if trainer.metrics and held_out is None:
            raise UsageError(
                "batches that are made elsewhere are not measured after an epoch.",
                fix="pass validation data, or leave the metrics out.",
            )
        asked = None
    _check_labels(trainer, encoding)
    network, goal, classes = _built(trainer, train, changes)
    if step.teacher is not None:
        step.teacher.check(network, step.loss, encoding)
    usual = len(train) // train.steps if isinstance(train, Stream) else 64
    batch_size = fitting_batch_size(network, len(train), asked, usual)
    _check_texts(network, encoding, train)
    names = list(step.programs.shares)
    measured = measures(trainer.metrics, validated=held_out is not None, losses=names)
    monitor = monitored(trainer.monitor, measured)
    train = train.fitting(network, step.loss, goal)
    _check_augmentations(changes, train, step.seed, classes)
    evaluator = Evaluator(network, step.loss, trainer.metrics, goal, encoding)
    if held_out is not None:
        held_out = held_out.fitting(network, step.loss, goal)
    measured_on = train if held_out is None else held_out
    if isinstance(measured_on, Samples) and (held_out is not None or trainer.metrics):
        evaluator.check(measured_on, EVALUATION_BATCH)
    all_epochs = epochs if checkpoint is not None else trainer.state.epoch + epochs
    updates = -(-len(train) // (batch_size * trainer.accumulate))
    optimizer = _for_run(trainer, before, all_epochs, updates)
    check_optimizer(step.programs.optimizer, optimizer)
    privacy = trainer.privacy
    if privacy is not None:
        check_private(train, changes, batch_size)
    options: dict[str, Any] = {
        "epochs": all_epochs,
        "batch_size": batch_size,
        "accumulate": trainer.accumulate,
        "seed": step.seed,
        "augment": [described(change) for change in changes],
        "loss": described_loss(step.loss),
        "optimizer": described(optimizer),
        "freeze": list(step.freeze),
        "ema": step.ema,
        "privacy": None if privacy is None else asdict(privacy),
        "teacher": None if step.teacher is None else step.teacher.described(folder),
        "metrics": described_metrics(trainer.metrics),
        "callbacks": [described(callback) for callback in trainer.callbacks],
        "monitor": monitor,
        "data": train.fingerprint(),
        "validation": None if held_out is None else held_out.fingerprint(),
        "validation_fraction": float(validation) if isinstance(validation, (int, float)) else None,
    }
    snapshot, is_own_folder = None, False
    if folder is not None:
        is_own_folder = (
            (checkpoint is not None and folder == resuming.folder_of(checkpoint))
            or (trainer.record is not None and trainer.record.folder == folder)
            or (trainer.begun is not None and is_run(folder) and read_manifest(folder) == trainer.begun)
        )
        check_free(folder, ours=is_own_folder)
        check_unused(folder)
        snapshot = Snapshot(network, encoding)
    if checkpoint is not None:
        state = resuming.state_of(checkpoint, step, options)
    else:
        state = _state_for(trainer, options)
    drawn = None
    if privacy is not None:
        earlier = before or trainer.options
        drawn = sampling(privacy, len(train), batch_size, all_epochs, step.seed, state, earlier)
        options["noise"] = drawn.noise
    return Job(
        train,
        held_out,
        evaluator,
        epochs=all_epochs,
        batch_size=batch_size,
        augment=changes,
        workers=workers,
        classes=classes,
        checkpoint_every=checkpoint_every,
        monitor=monitor,
        measures=measured,
        options=options,
        facts={**_facts(data, network, encoding, folder), **record},
        snapshot=snapshot,
        resumed=checkpoint,
        folder=folder,
        is_own_folder=is_own_folder,
        state=state,
        optimizer=optimizer,
        encoding=encoding,
        sampling=drawn,
    )


def _built(
    trainer: Trainer, samples: Samples | Stream, augment: Sequence[Augmentation]
) -> tuple[Network, Goal, int | None]:
    """The model and its step, built for samples; what their targets look like; and, if augmentations mix
    labels, how many classes there are."""
    first, step = samples.first(1), trainer.step
    target, classes = first.labelled(), None
    if mixed := mixes(augment) and isinstance(target, np.ndarray):
        network = network_of(step.model, first.inputs, step.seed, step.device)
        size = network.outputs[0].shape[-1]
        loss = step.loss
        if target.dtype.kind != "f" and isinstance(loss, Loss) and loss.target_dtype == "int64":
            if not loss.soft_targets or not isinstance(size, int):
                raise UsageError(
                    f"an augmentation mixes labels, and {name_of(loss)} takes no shares of classes.",
                    fix="train with cross_entropy, or leave the augmentation out.",
                )
            classes = size
        target = mixable(target, classes)
    given, accumulates = (first.inputs, target, first.weight), trainer.accumulate > 1
    if step.network is None:
        step.build(*given, accumulates=accumulates, mixed=mixed)
    else:
        goal = goal_of(step.loss, step.network, *given, mixed=mixed)
        step.take_goal(goal, accumulates=accumulates)
    network = trainer.network
    goal = goal_of(step.loss, network, first.inputs, first.labelled(), first.weight)
    return network, goal, classes


def _check_labels(trainer: Trainer, encoding: Encoding | None) -> None:
    """Raise if samples have several labels, and the loss would take them as shares of one class.

    Raises:
        UsageError: it would.
    """
    loss = trainer.step.loss
    if encoding is None or encoding.task != "multilabel" or not isinstance(loss, Loss):
        return
    if loss.target_dtype == "int64":
        raise UsageError(
            f"the samples have several labels, and {name_of(loss)} takes one class of each.",
            where="loss",
            fix='pass loss="binary_cross_entropy".',
        )


def _check_texts(network: Network, encoding: Encoding | None, train: Samples | Stream) -> None:
    """Raise unless a model of texts has a place for each token of the tokenizer and each step of the samples,
    as far as it says how many it has.

    Raises:
        DataError: it has fewer.
    """
    if encoding is None:
        return
    for field in ("vocabulary", "target_vocabulary"):
        tokenizer = encoding.target_tokenizer if field.startswith("target") else encoding.tokenizer
        size = getattr(network.layer, field, None) if hasattr(type(network.layer), field) else None
        if tokenizer is not None and isinstance(size, int) and size < tokenizer.size:
            raise DataError(
                f"the tokenizer has {tokenizer.size:,} tokens, and the model a {field} of {size:,}.",
                where=type(network.layer).__name__,
                fix=f"build it with {field}={tokenizer.size}; model.fitted(data) does.",
            )
    context = getattr(network.layer, "context", None)
    if isinstance(train, Samples) and isinstance(context, int):
        longest = max((x.shape[1] for x in train.inputs if x.ndim == 2 and x.dtype.kind == "i"), default=0)
        if longest > context:
            raise DataError(
                f"the samples have up to {longest:,} tokens, and the model a context of {context:,}.",
                where=type(network.layer).__name__,
                fix=f"build it with context={longest}, or load the data with length={context}.",
                shell=f"train with --set context={longest}, or --data NAME:length={context}.",
            )


def _for_run(trainer: Trainer, before: Mapping[str, Any], epochs: int, steps_an_epoch: int) -> Optimizer:
    """The trainer's optimizer with what its schedule takes from the run: of a resumed run, what it took
    then; of a further call of `fit`, from all epochs together.

    Args:
        trainer: whose `fit` was called.
        before: the options of the resumed run, if there is one.
        epochs: all epochs of the run.
        steps_an_epoch: of each of them.
    """
    asked, state = trainer.optimizer, trainer.state
    begun = -(-state.batch // trainer.accumulate)
    done, left = (0, epochs) if before else (state.steps - begun, epochs - state.epoch)
    found = asked.for_run(done + left * steps_an_epoch, steps_an_epoch)
    if found is asked or "optimizer" not in before:
        return found
    earlier: Optimizer = make("optimizer", before["optimizer"])
    return earlier if _fits(described(asked), described(earlier)) else found


def _fits(asked: Any, taken: Any, *, is_open: bool = False) -> bool:
    """Whether the description of an optimizer is another one, in whose schedules what was left open has been
    filled in.

    Args:
        asked, taken: the descriptions.
        is_open: whether they are parts of that of a schedule.
    """
    if isinstance(asked, Mapping) and isinstance(taken, Mapping):
        inside = is_open or asked.get("kind") == "schedule"
        return asked.keys() == taken.keys() and all(
            _fits(asked[key], taken[key], is_open=inside) for key in asked
        )
    return bool(asked == taken) or (is_open and asked is None)


def _augmentations(
    before: Mapping[str, Any], source: Path, augment: Sequence[Augmentation | str] | None
) -> list[Augmentation]:
    """The augmentations that somebody chose, else those of the resumed run."""
    if augment is None:
        return resuming.augmentations(before, source)
    return make_list("augmentation", augment)


def _check_augmentations(
    augment: Sequence[Augmentation], train: Samples | Stream, seed: int, classes: int | None
) -> None:
    """Try the augmentations with one sample.

    Raises:
        UsageError: the model takes several inputs.
        ShapeError, DtypeError: they do not suit the samples.
    """
    if not augment:
        return
    inputs = train.first(1).inputs
    if len(inputs) > 1:
        raise UsageError(
            f"the model takes {len(inputs)} inputs, and augmentations change one.",
            fix="leave augment out, and change the samples before training.",
        )
    target = mapped(np.asarray, train.first(1).labelled())
    augmented_pair(np.asarray(inputs[0]), target, augment, seed, 0, np.arange(1), classes)


def _state_for(trainer: Trainer, options: Mapping[str, Any]) -> RunState:
    """Where another call of `fit` begins: on other samples its own epoch, under another measure its own
    best."""
    state, before = trainer.state, trainer.options
    if not before:
        return state
    if any(before[name] != options[name] for name in ("data", "batch_size")):
        state = replace(state, batch=0, samples=0, losses=LossMeans())
    if any(before[name] != options[name] for name in ("monitor", "validation")):
        state = replace(state, best=None)
    return state


def _facts(data: Any, network: Network, encoding: Encoding | None, folder: Path | None) -> dict[str, Any]:
    """What the configuration of a run says besides its options."""
    found: dict[str, Any] = {
        "model": described(network.layer),
        "dtype": network.dtype,
        "device": network.device.name,
    }
    if encoding is not None and encoding.dataset is not None:
        found["dataset"] = dict(encoding.dataset)
    if isinstance(data, Data):
        found["data"] = data.summary()
        if folder is not None:
            found["data_dir"] = None if data.data_dir is None else path_from(folder, data.data_dir)
    return found
