"""The training loop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.data.augmentation import Augmentation
from bigmodel_core.data.dataset import Data
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.like import encoding_held
from bigmodel_core.data.prefetch import DEFAULT_WORKERS
from bigmodel_core.data.split import Split
from bigmodel_core.errors import BigmodelWarning, CheckpointError, GraphError, NumericsError, UsageError
from bigmodel_core.nn.given import check_model
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.nn.outputs import listed
from bigmodel_core.nn.probabilities import makes_probabilities, of_both
from bigmodel_core.registry.askers import CORE
from bigmodel_core.registry.config import make, make_list, owner_of
from bigmodel_core.train import resume as resuming
from bigmodel_core.train.callback import Callback
from bigmodel_core.train.checkpoint import Checkpoint, versions
from bigmodel_core.train.divergence import has_diverged, is_far
from bigmodel_core.train.evaluation import EVALUATION_BATCH, Evaluator, answered
from bigmodel_core.train.history import History, number
from bigmodel_core.train.interruption import Interruption
from bigmodel_core.train.job import Job, encoded, monitored
from bigmodel_core.train.kept_parameters import KeptParameters
from bigmodel_core.train.metric import Metric
from bigmodel_core.train.objective import target_spec
from bigmodel_core.train.prepare import prepared
from bigmodel_core.train.progress import Reporter, reporter
from bigmodel_core.train.record import Record, check_free
from bigmodel_core.train.run_state import RunState
from bigmodel_core.train.runs import (
    DIVERGED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    MANIFEST,
    is_run,
    read_manifest,
)
from bigmodel_core.train.samples import Samples, as_inputs, check_batch_size, check_one_pair
from bigmodel_core.train.step import TrainStep


class Trainer:
    """Trains a model on data: `fit`, `evaluate`, `predict`.

    Args:
        model: a layer, a built model or the name of a registered model.
        loss: a loss or its name; a `Model` says which suits it.
        optimizer: an optimizer or its name; the `Model`'s own, or Adam.
        metrics: metrics or their names, measured after each epoch on the validation data, and on the training
            samples where there are none; the `Model`'s own, or none.
        callbacks: called at fixed points of the loop, in this order.
        seed: for the first parameters (unless the model is built), the order of the samples and dropout.
        device: "cpu" or "cuda"; that of a built model, else the CPU.
        out: the folder of the run, for its configuration, metrics and checkpoints; None writes nothing.
        monitor: which measure decides the best checkpoint, such as "val_loss"; by default the first metric on
            validation data, without them the loss. Of epochs that are equally good by it, the one with the
            lowest loss is the best.

    Attributes:
        optimizer: the optimizer as it was given; `step.optimizer` has what its schedule takes from the run.
        step: the compiled training step; `step.rate_scale` multiplies the learning rate.
        state: where the run is: `state.epoch`, `state.steps`, `state.best`.
        history: the logs of all epochs.
        measures: what the running `fit` measures and can compare, with whether higher values are better.
        plan: the options of the running `fit`.
        record: writes the folder of the run.
        encoding: how the data it was trained on became numbers; other data are brought to that.
        stop: set it, from a callback, to end training.

    Raises:
        UnknownNameError: nothing has such a name.
        UsageError: no loss is given and the model names none.

    >>> import bigmodel_core as bm
    >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    >>> trainer = bm.Trainer(bm.layers.Dense(2), "cross_entropy", bm.optimizers.SGD(0.5), ["accuracy"])
    >>> history = trainer.fit((x, (x[:, 0] > 0).astype("int64")), epochs=5, validation=0.25, verbose=False)
    >>> history.last["val_loss"] < history["val_loss"][0]
    True
    """

    def __init__(
        self,
        model: Layer | Network | str,
        loss: Loss | str | None = None,
        optimizer: Optimizer | str | None = None,
        metrics: Metric | str | Sequence[Metric | str] | None = None,
        *,
        callbacks: Callback | str | Sequence[Callback | str] = (),
        seed: int = 0,
        device: str | None = None,
        out: str | Path | None = None,
        monitor: str | None = None,
    ) -> None:
        self.model: Layer | Network = check_model(make("model", model) if isinstance(model, str) else model)
        layer = self.model.layer if isinstance(self.model, Network) else self.model
        own = layer if isinstance(layer, Model) else None
        self.step = TrainStep(
            self.model,
            loss if loss is not None else _usual_loss(own),
            optimizer if optimizer is not None else _usual_optimizer(own),
            seed=seed,
            device=device or "cpu",
        )
        self.optimizer: Optimizer = self.step.optimizer
        chosen = metrics if metrics is not None else own.metrics if own else ()
        whose = owner_of(type(own), "metrics") if own and metrics is None else None
        self.metrics: list[Metric] = make_list("metric", chosen, owner=whose)
        self.callbacks: list[Callback] = make_list("callback", callbacks)
        self.out = None if out is None else Path(out)
        self.stop = False
        self.state = RunState()
        self.history = History(self.state.history, run=self.out)
        self.monitor = monitor
        self.measures: dict[str, bool] = {}
        self.plan: dict[str, Any] = {}
        self.record: Record | None = None
        self.resumed: Checkpoint | None = None
        self.encoding: Encoding | None = encoding_held(self.model)
        self.begun: dict[str, Any] | None = None
        self._report = Reporter()
        self._kept = KeptParameters()
        resuming.check_device(self.model, device)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        callbacks: Sequence[Callback | str] | None = None,
        device: str = "cpu",
        out: str | Path | None = None,
    ) -> Trainer:
        """The trainer of a run that stopped: its `fit` goes on to the same bits as if it had never stopped.

        It goes on from the last checkpoint, or from the best one, with a warning, where the last one cannot
        be read. A run that has no checkpoint yet begins anew, with the options of its configuration.

        Args:
            path: the folder of the run, or a checkpoint.
            callbacks: instead of those the checkpoint names.
            device: "cpu" or "cuda".
            out: another folder to write to.

        Raises:
            CheckpointError: the checkpoint is missing, damaged or none of a run.
        """
        if (begun := resuming.begun(path)) is not None:
            return cls._begin_anew(Path(path), begun, callbacks, device, out)
        checkpoint = resuming.checkpoint_of_run(path)
        assert checkpoint.training is not None
        trainer = cls(
            checkpoint.restore(device),
            **resuming.parts(checkpoint.training["plan"], checkpoint.path, callbacks),
            out=resuming.folder_of(checkpoint) if out is None else out,
        )
        trainer.resumed = checkpoint
        return trainer

    @classmethod
    def _begin_anew(
        cls,
        path: Path,
        begun: dict[str, Any],
        callbacks: Sequence[Callback | str] | None,
        device: str,
        out: str | Path | None,
    ) -> Trainer:
        warnings.warn(f"{path} has no checkpoint; the run begins anew.", BigmodelWarning, stacklevel=3)
        trainer = cls(
            resuming.model_of(begun, path),
            **resuming.parts(begun, path / MANIFEST, callbacks),
            device=device,
            out=path if out is None else out,
        )
        trainer.begun = begun
        return trainer

    def __repr__(self) -> str:
        layer = self.model.layer if isinstance(self.model, Network) else self.model
        epochs = f"{self.state.epoch} epoch{'s' * (self.state.epoch != 1)} done"
        best = f", best in epoch {self.state.best.epoch}" if self.state.best else ""
        parts = f"{type(self.step.loss).__name__}, {type(self.step.optimizer).__name__}"
        return f"<Trainer of {type(layer).__name__}: {parts}, {epochs}{best}>"

    # Training --------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Data | Split | tuple[Any, Any],
        epochs: int | None = None,
        batch_size: int | None = None,
        validation: float | Split | tuple[Any, Any] | None = None,
        *,
        verbose: bool = True,
        resume: str | Path | None = None,
        checkpoint_every: int | None = None,
        record: Mapping[str, Any] | None = None,
        augment: Sequence[Augmentation | str] | None = None,
        workers: int = DEFAULT_WORKERS,
    ) -> History:
        """Train; what is wrong with the arguments is said before anything is written.

        Args:
            data: what to train on: data with its splits, one split, or arrays (x, y); several inputs as a
                tuple of arrays.
            epochs: passes over the data, 1 by default; called again, training goes on for as many more. With
                `resume`, all passes of the run together, by default as many as it was to do.
            batch_size: samples in a step, 64 by default; the last batch of an epoch may be smaller.
            validation: samples to measure after each epoch, or the fraction of the training samples to hold
                out for that; by default the data's own validation split, or the resumed run's fraction.
            verbose: whether progress is shown.
            resume: the folder or checkpoint of a run to go on with; needs the same data, options and seed.
            checkpoint_every: write the last checkpoint every so many steps, too; needs `out`.
            record: more that the run's configuration is to say, such as where the data came from.
            augment: augmentations or their names, applied to training samples in this order; by default
                those of the resumed run, or none.
            workers: threads that read and augment batches ahead of the step, 0 for none; the batches are the
                same for any number. Samples in memory that are not augmented need none.

        Returns:
            The logs of all epochs; `interrupted` says whether Ctrl-C ended training.

        Raises:
            ConfigError, UsageError: an option makes no sense.
            ShapeError, DtypeError, DataError: the data do not fit the model or the loss.
            NumericsError: the loss is NaN or infinite; parameters and checkpoints are those from before.
            CheckpointError: a checkpoint cannot be read, does not fit, or cannot be written.
            RunInUseError: another process writes the folder of the run.

        Warns:
            BigmodelWarning: training diverged: the loss ended far above that of a model that knows nothing.
        """
        job = prepared(
            self,
            data,
            epochs=epochs,
            batch_size=batch_size,
            validation=validation,
            resume=resume,
            checkpoint_every=checkpoint_every,
            record=record or {},
            augment=augment,
            workers=workers,
        )
        done_before = self.step.steps
        with reporter(verbose) as report, Interruption() as interruption:
            self._report = report
            self._tell("on_train_begin")
            with self._folder(job):
                try:
                    self._save()
                    while self.state.epoch < job.epochs and not self.stop:
                        if not self._train_epoch(job, report, interruption):
                            self._save()
                            break
                        self._end_epoch(job, report)
                        if interruption.requested:
                            break
                except KeyboardInterrupt:
                    self.history.interrupted = True
                except NumericsError as error:
                    if error.loss is not None and is_far(error.loss, self.state.first_loss):
                        error.message = f"training diverged: {error.message}"
                    if self.record is not None:
                        error.fix = f"{error.fix} The last good checkpoint is {self.record.last}."
                    raise
                self.history.interrupted |= interruption.requested
                self._tell("on_train_end")
                self._say_how_it_ended(job, report, done_before)
        if self.history.diverged:
            first, last = number(self.state.first_loss or 0.0), number(self.history.last["loss"])
            warnings.warn(
                f"training diverged: the loss is {last}, it was {first} before the first step. A lower"
                " learning rate, or clipping the gradients (clip_norm), may help.",
                BigmodelWarning,
                stacklevel=2,
            )
        return self.history

    def _train_epoch(self, job: Job, report: Reporter, interruption: Interruption) -> bool:
        """Run the batches of an epoch that are not done yet; False where it is to stop before."""
        state, step = self.state, self.step
        listeners = [item for item in self.callbacks if type(item).on_batch_end is not Callback.on_batch_end]
        if state.batch == 0:
            self._tell("on_epoch_begin", state.epoch)
        report.epoch_begins(state.epoch, job.epochs, job.batches, state.batch)
        job.started, job.samples_before = time.perf_counter(), state.samples
        epoch = job.train.shuffled(
            job.batch_size, step.seed, state.epoch, state.batch, job.augment, job.workers
        )
        with closing(epoch) as batches:
            for x, y in batches:
                loss = step(x, y)
                if state.first_loss is None:
                    state.first_loss = loss
                state.batch += 1
                state.steps = step.steps
                state.loss_sum += loss * len(y)
                state.samples += len(y)
                if listeners:
                    logs = {"loss": loss, "learning_rate": self._last_rate()}
                    for callback in listeners:
                        callback.on_batch_end(self, step.steps, logs)
                report.batch_ends(state.batch, state.loss_sum / state.samples)
                if self.record is not None:
                    self.record.lock.show_life()
                if (self.stop or interruption.requested) and state.batch < job.batches:
                    return False
                if job.checkpoint_every and step.steps % job.checkpoint_every == 0:
                    self._save()
        return True

    def _end_epoch(self, job: Job, report: Reporter) -> None:
        """Measure, tell the callbacks, keep what was reached."""
        state = self.state
        seconds = time.perf_counter() - job.started
        logs: dict[str, Any] = {"epoch": state.epoch + 1, "loss": state.loss_sum / state.samples}
        if job.validation is not None:
            found = job.evaluator(job.validation, EVALUATION_BATCH, job.workers)
            logs.update({f"val_{name}": value for name, value in found.items()})
        elif self.metrics:
            found = job.evaluator(job.train, EVALUATION_BATCH, job.workers)
            logs.update({name: value for name, value in found.items() if name != "loss"})
        logs["learning_rate"] = self._last_rate()
        logs["seconds"] = time.perf_counter() - job.started
        logs["samples_per_second"] = (state.samples - job.samples_before) / max(seconds, 1e-9)
        self._tell("on_epoch_end", state.epoch, logs)
        state.history.append(logs)
        state.epoch, state.batch, state.loss_sum, state.samples = state.epoch + 1, 0, 0.0, 0
        self._save(is_best=job.is_best(state, logs))
        if self.record is not None:
            self.record.measured(logs)
        report.epoch_ends(logs)

    def _last_rate(self) -> float:
        return self.step.optimizer.rate(max(self.step.steps - 1, 0)) * self.step.rate_scale

    def _tell(self, event: str, *details: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *details)

    def callback_state(self, callback: Callback) -> dict[str, Any]:
        """What a callback keeps across checkpoints: a dict of JSON values, its own to change."""
        return self.state.callbacks.setdefault(self._key(callback), {})

    def _key(self, callback: Callback) -> str:
        same = [item for item in self.callbacks if type(item) is type(callback)]
        number = next((number for number, item in enumerate(same) if item is callback), 0)
        return f"{type(callback).__name__}_{number + 1}"

    def note(self, text: str) -> None:
        """Tell the user something, in a line among those of the epochs; `verbose=False` leaves it out."""
        self._report.note(text)

    # Parameters of an earlier epoch ----------------------------------------------------------------------

    def keep_parameters(self, callback: Callback) -> None:
        """Keep the parameters as they are now, for the callback to bring back with `restore_parameters`.

        Each callback has one place. It is in memory and, where the run has a folder, in a file there, so that
        it survives a resume.

        Raises:
            CheckpointError: the file cannot be written.
        """
        self._kept.keep(self._key(callback), self.network, self.record)

    def restore_parameters(self, callback: Callback) -> None:
        """Bring back the parameters that a callback kept; a further `fit` goes on from those of now.

        Raises:
            CheckpointError: it kept none, or its file is missing or damaged.
        """
        self._kept.restore(self._key(callback), self.network, self.out)

    def _go_forward(self) -> None:
        """Undo `restore_parameters`, unless somebody has changed the parameters since."""
        self._kept.go_forward(self.network)

    def _save(self, *, is_best: bool = False) -> None:
        self.state.rate_scale = self.step.rate_scale
        if self.record is not None:
            self.record.save(self.step, self.state, is_best=is_best)

    def _say_how_it_ended(self, job: Job, report: Reporter, done_before: int) -> None:
        if self.history.interrupted:
            report.note(self._farewell())
            return
        if self.step.steps == done_before and not self.stop:
            report.note(f"nothing to do: the run has had its {self.state.epoch} epochs")
        self.history.diverged = has_diverged(self.state, job, self.network, self.step.loss)

    def _farewell(self) -> str:
        done = f"stopped after {self.state.steps} steps, {self.state.epoch} full epochs"
        if self.record is None:
            return f"{done}; the model keeps what it learned, no checkpoint was asked for"
        return f"{done}; resume from {self.record.last}"

    @contextmanager
    def _folder(self, job: Job) -> Iterator[None]:
        """The folder of the run, if it is to have one: from here on, files are written, by nobody else."""
        if self.out is None or job.snapshot is None:
            yield
            return
        record = Record(self.out, job.snapshot, job.plan)
        with record.locked():
            check_free(self.out, ours=job.is_own_folder)
            before = read_manifest(self.out) if job.is_own_folder and is_run(self.out) else {}
            record.begin(
                {**before, **job.plan, **job.facts, "versions": versions(), "format": 1}, self.state.history
            )
            self.record = record
            if job.resumed is not None:
                record.keep_best_of(job.resumed)
            try:
                yield
            except BaseException as error:
                with suppress(CheckpointError):
                    record.end(FAILED, str(getattr(error, "message", "") or error or type(error).__name__))
                raise
            ended = INTERRUPTED if self.history.interrupted else FINISHED
            record.end(DIVERGED if self.history.diverged else ended)

    def higher_is_better(self, measure: str) -> bool:
        """Which way a measure of the running `fit` is better, for callbacks that watch one.

        Raises:
            ConfigError: it is not measured, or its values cannot be compared.
        """
        return self.measures[monitored(measure, self.measures)]

    # Using -----------------------------------------------------------------------------------------------

    def evaluate(
        self, split: Data | Split | tuple[Any, Any], batch_size: int = EVALUATION_BATCH
    ) -> dict[str, Any]:
        """The mean loss and the metrics on samples, by name: {"loss": 0.08, "accuracy": 0.97}.

        Metrics of numbers are in the units of the recorded targets, the loss in those of y.

        Args:
            split: a split or arrays (x, y); of data, the test split. Splits of other data are brought to the
                training data's labels, columns and preprocessing; arrays are what the model sees.
            batch_size: samples at a time; the result does not depend on it beyond rounding.

        Raises:
            GraphError: the model is not built yet.
            ShapeError, DtypeError, DataError: the samples do not fit the model, or its training data.
        """
        check_one_pair(batch_size, "evaluate")
        network = self.network
        split = encoded(split.test if isinstance(split, Data) else split, self.encoding)
        samples = Samples.of(split, model=network)
        target = target_spec(self.step.loss, samples.first(1).labelled(), network.dtype)
        evaluator = Evaluator(network, self.step.loss, self.metrics, target, self.encoding)
        return evaluator(samples.fitting(network, target), check_batch_size(batch_size))

    def predict(self, x: Any, batch_size: int = EVALUATION_BATCH) -> Any:
        """The model's outputs for inputs: an array; a tuple or dict where the model gives one.

        Predicted numbers are in the units of the recorded targets, `data.test.truth`, where training scaled
        them; `model(x)` gives what the model itself computes.

        Args:
            x: an array; a tuple of arrays for several inputs; or a split, brought to the training data's
                columns and preprocessing.
            batch_size: samples at a time.

        Raises:
            GraphError: the model is not built yet.
            ShapeError, DtypeError, DataError: the input does not fit the model.
        """
        return answered(self._outputs(x, batch_size), self.encoding)

    def predict_proba(self, x: Any, batch_size: int = EVALUATION_BATCH) -> np.ndarray:
        """The probability of each class for inputs, in float64: each row adds up to 1.

        (N, C) for C classes, (N, 2) for two classes that share one score, with class 1 in the second column,
        and (N, T, C) for classes of steps. A model whose last step is softmax or sigmoid gives them itself;
        otherwise the loss says how scores become probabilities.

        Args:
            x: as for `predict`.
            batch_size: samples at a time.

        Raises:
            GraphError: the model is not built yet, or gives several outputs.
            UsageError: the loss does not compare classes.
            ShapeError, DtypeError, DataError: the input does not fit the model.
        """
        outputs = self.network.trace(training=False).outputs
        if len(outputs) > 1:
            raise GraphError(
                f"the model gives {len(outputs)} outputs ({', '.join(self.network.output_names)}).",
                fix="use predict, and turn the scores you mean into probabilities.",
            )
        scores = listed(self._outputs(x, batch_size))[0]
        if not makes_probabilities(outputs[0]):
            return self.step.loss.probabilities(scores)
        chances = scores.astype(np.float64)
        return of_both(chances.reshape(len(chances))) if chances.size == len(chances) else chances

    def _outputs(self, x: Any, batch_size: int) -> Any:
        """What the model itself computes, batch by batch."""
        if isinstance(x, Split):
            x = encoded(replace(x, y=None), self.encoding).x
        network = self.network
        samples = Samples(as_inputs(x, network), None).fitting(network, None)
        size = check_batch_size(batch_size)
        parts = [listed(network(*part.inputs)) for part in samples.parts(size)]
        joined = [np.concatenate(output) for output in zip(*parts, strict=True)]
        return network.trace(training=False).form.pack(joined)

    @property
    def network(self) -> Network:
        """The built model.

        Raises:
            GraphError: it is not built yet.
        """
        if self.step.network is not None:
            return self.step.network
        return self.model if isinstance(self.model, Network) else self.model.network


def _usual_loss(model: Model | None) -> Loss:
    """The loss that suits a model.

    Raises:
        UsageError: it is none that says.
    """
    if model is None:
        raise UsageError("no loss is given.", fix='pass one, such as loss="cross_entropy".')
    return make("loss", model.usual_loss, owner=owner_of(type(model), "loss"))


def _usual_optimizer(model: Model | None) -> Optimizer:
    """The optimizer that suits a model: its own, else Adam."""
    if model is None:
        return make("optimizer", "adam", owner=CORE)
    rate = {} if model.learning_rate is None else {"learning_rate": model.learning_rate}
    return make("optimizer", {"name": model.optimizer, **rate}, owner=owner_of(type(model), "optimizer"))
