"""The epochs of a run: batch by batch, each measured and kept when it is done."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from bigmodel_core.data.tree import leaves
from bigmodel_core.train.accumulation import Window
from bigmodel_core.train.callback import Callback
from bigmodel_core.train.divergence import has_diverged
from bigmodel_core.train.evaluation import EVALUATION_BATCH
from bigmodel_core.train.interruption import Interruption
from bigmodel_core.train.job import Job
from bigmodel_core.train.loss_means import LossMeans
from bigmodel_core.train.private_step import PrivateStep
from bigmodel_core.train.progress import Reporter
from bigmodel_core.train.samples import Samples

if TYPE_CHECKING:
    from bigmodel_core.train.trainer import Trainer


def train_epochs(trainer: Trainer, job: Job, report: Reporter, interruption: Interruption) -> None:
    """Train the epochs that are not done yet, until the last one, a callback or Ctrl-C ends training.

    Raises:
        NumericsError: the loss, a gradient or an update is NaN or infinite; where several batches give one
            update, in no update of an epoch all was well.
        CheckpointError: a checkpoint cannot be written.
    """
    _save(trainer)
    while trainer.state.epoch < job.epochs and not trainer.stop:
        began = time.perf_counter()
        samples_before = trainer.state.samples
        if not _train_epoch(trainer, job, report, interruption):
            _save(trainer)
            return
        _end_epoch(trainer, job, report, began, samples_before)
        if interruption.requested:
            return


def tell(trainer: Trainer, event: str, *details: Any) -> None:
    """Call a method of all callbacks."""
    for callback in trainer.callbacks:
        getattr(callback, event)(trainer, *details)


def say_how_it_ended(trainer: Trainer, job: Job, report: Reporter, done_before: int) -> None:
    """Say, where training was stopped, how to continue, and find out whether it diverged.

    Args:
        trainer, job, report: of the run.
        done_before: the steps that were done before.
    """
    state = trainer.state
    if trainer.history.interrupted:
        done = f"stopped after {state.steps} steps, {state.epoch} full epochs"
        after = "the model keeps what it learned; no checkpoint was requested"
        report.note(f"{done}; {after if trainer.record is None else f'resume from {trainer.record.last}'}")
        return
    if trainer.step.steps == done_before and not trainer.stop:
        report.note(f"nothing to do: the run has completed its {state.epoch} epochs")
    trainer.history.diverged = has_diverged(state, job, trainer.network, trainer.step.loss)


def _train_epoch(trainer: Trainer, job: Job, report: Reporter, interruption: Interruption) -> bool:
    """Run the batches of an epoch that are not done yet; False if it is to stop before."""
    state, step = trainer.state, trainer.step
    listeners = [item for item in trainer.callbacks if type(item).on_batch_end is not Callback.on_batch_end]
    window, whole = Window(step, trainer.accumulate), state.batch == 0
    if whole:
        step.discard()
        tell(trainer, "on_epoch_begin", state.epoch)
    report.epoch_begins(state.epoch, job.epochs, job.batches, state.batch)
    profiler = trainer.profiler
    take = window.take if profiler is None else profiler.taking(window.take)
    with closing(_batches(trainer, job)) as batches:
        for batch in batches if profiler is None else profiler.reading(batches):
            number = state.batch + 1
            count = len(next(iter(leaves(batch[1]).values())))
            closes = number % trainer.accumulate == 0 or number == job.batches
            loss = take(batch, count, number, closes=closes)
            state.batch, state.steps, state.draws = number, step.steps, step.draws
            if isinstance(step, PrivateStep):
                state.ledger = [list(use) for use in step.ledger.uses]
            if loss is not None and count:
                if state.first_loss is None:
                    state.first_loss = loss
                state.losses.add(step.losses or {"": loss}, step.counted, count)
                state.samples += count
            if listeners and window.is_updated:
                logs = {"loss": window.loss, "learning_rate": _last_rate(trainer)}
                for callback in listeners:
                    callback.on_batch_end(trainer, step.steps, logs)
            report.batch_ends(state.batch, state.losses.loss(step.programs.shares))
            if trainer.record is not None:
                trainer.record.lock.show_life()
            if not closes:  # what was added up is in no checkpoint
                continue
            if (trainer.stop or interruption.requested) and state.batch < job.batches:
                return False
            if job.checkpoint_every and window.is_updated and step.steps % job.checkpoint_every == 0:
                _save(trainer)
    if whole and window.error is not None and not window.updates:
        raise window.error
    return True


def _batches(trainer: Trainer, job: Job) -> Generator[tuple[Any, ...]]:
    """Those of the epoch that are not done yet."""
    seed, epoch, start = trainer.step.seed, trainer.state.epoch, trainer.state.batch
    if (drawn := job.sampling) is not None and isinstance(job.train, Samples):
        return job.train.drawn(drawn.rate, drawn.batches, seed, epoch, start, job.augment, job.workers)
    return job.train.shuffled(job.batch_size, seed, epoch, start, job.augment, job.workers, job.classes)


def _end_epoch(trainer: Trainer, job: Job, report: Reporter, began: float, samples_before: int) -> None:
    """Measure, tell the callbacks, keep what was reached.

    Args:
        trainer, job, report: of the run.
        began: when the epoch, or what was left of it, began; in seconds.
        samples_before: how many of its samples were done then.
    """
    state = trainer.state
    seconds = time.perf_counter() - began
    logs: dict[str, Any] = {"epoch": state.epoch + 1, **state.losses.logged(trainer.step.programs.shares)}
    if job.validation is not None:
        found = job.evaluator(job.validation, EVALUATION_BATCH, job.workers)
        logs.update({f"val_{name}": value for name, value in found.items()})
    elif trainer.metrics and isinstance(job.train, Samples):
        found = job.evaluator(job.train, EVALUATION_BATCH, job.workers)
        logs.update({name: value for name, value in found.items() if name not in logs})
    if trainer.epsilon is not None:
        logs["epsilon"] = trainer.epsilon
    logs["learning_rate"] = _last_rate(trainer)
    logs["seconds"] = time.perf_counter() - began
    logs["samples_per_second"] = (state.samples - samples_before) / max(seconds, 1e-9)
    tell(trainer, "on_epoch_end", state.epoch, logs)
    state.history.append(logs)
    state.epoch, state.batch, state.samples, state.losses = state.epoch + 1, 0, 0, LossMeans()
    _save(trainer, is_best=job.is_best(state, logs))
    if trainer.record is not None:
        trainer.record.measured(logs)
    report.epoch_ends(logs)


def _last_rate(trainer: Trainer) -> float:
    step = trainer.step
    return step.optimizer.rate(max(step.steps - 1, 0)) * step.rate_scale


def _save(trainer: Trainer, *, is_best: bool = False) -> None:
    trainer.state.rate_scale = trainer.step.rate_scale
    if trainer.record is not None:
        trainer.record.save(trainer.step, trainer.state, is_best=is_best)
