"""The trainer: configures and runs training, and resumes runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bigmodel_core.accounting.privacy import Privacy
from bigmodel_core.data.augmentation import Augmentation
from bigmodel_core.data.data import Data
from bigmodel_core.data.like import encoding_held
from bigmodel_core.data.prefetch import DEFAULT_WORKERS
from bigmodel_core.data.split import Split
from bigmodel_core.errors import BigmodelWarning, NumericsError
from bigmodel_core.nn.given import check_model
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import name_of
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.nn.patterns import Patterns
from bigmodel_core.registry.config import make, make_list
from bigmodel_core.train import resume as resuming
from bigmodel_core.train.by_output import Metrics, make_metrics
from bigmodel_core.train.callback import Callback
from bigmodel_core.train.callback_services import CallbackServices
from bigmodel_core.train.checkpoint import Checkpoint
from bigmodel_core.train.divergence import is_far
from bigmodel_core.train.energy import Energy
from bigmodel_core.train.history import History, number
from bigmodel_core.train.interruption import Interruption
from bigmodel_core.train.job import Job, encoded, whole_number
from bigmodel_core.train.kept_parameters import KeptParameters
from bigmodel_core.train.loop import say_how_it_ended, tell, train_epochs
from bigmodel_core.train.metric import Metric
from bigmodel_core.train.odd_rows import keep_threshold
from bigmodel_core.train.prepare import prepared
from bigmodel_core.train.private_step import PrivateStep
from bigmodel_core.train.profile import Profile
from bigmodel_core.train.profiler import Profiler
from bigmodel_core.train.progress import Reporter, reporter
from bigmodel_core.train.record import Record, recorded
from bigmodel_core.train.run_state import RunState
from bigmodel_core.train.runs import AVERAGED, MANIFEST
from bigmodel_core.train.samples import Samples
from bigmodel_core.train.step import TrainStep
from bigmodel_core.train.usual import usual_loss, usual_metrics, usual_optimizer


class Trainer(CallbackServices):
    """Trains a model on data: `fit`, `evaluate`, `predict`.

    Args:
        model: a layer, a built model or the name of a registered model.
        loss: a loss, its name, or a function of Values; losses by output, as for `bm.compile`; a `Model`
            says which suits it.
        optimizer: an optimizer or its name; the `Model`'s own, or Adam.
        metrics: metrics or their names, measured after each epoch on the validation data, and on the training
            samples if there are none; a dict by the names of outputs, if there are several; the `Model`'s
            own, or none.
        callbacks: called at fixed points of the loop, in this order.
        seed: for the first parameters (unless the model is built), the order of the samples and dropout.
        device: "cpu" or "cuda"; that of a built model, else the CPU.
        out: the folder of the run, for its configuration, metrics and checkpoints; None writes nothing.
        accumulate: batches whose gradients are added up for one update, every sample weighted alike: like
            batches that many times larger, in the memory of one. A batch with NaN takes its update with it.
        freeze: patterns of parameters that stay as they are, such as "encoder/*" (`*` crosses `/`). A layer
            all of whose parameters are frozen computes as in inference.
        ema: also keep averages of the parameters, of which each step keeps this share and takes the rest from
            the new ones; `averaged()` gives the model with them.
        privacy: train with differential privacy (DP-SGD): gradients are clipped sample by sample, noise is
            added, and batches are Poisson samples, of which `batch_size` is the expected size.
        teacher: whose scores this model learns beside the targets: a trained model, the path of a run, or a
            `bm.Teacher`, which says how much they count and at which temperature.
        energy: how the energy of the run is counted, for its configuration; from CPU time if None.
        monitor: which measure decides the best checkpoint, such as "val_loss"; by default the first metric on
            validation data, without them the loss. Of epochs that are equally good by it, the one with the
            lowest loss is the best.

    Attributes:
        optimizer: the optimizer as it was given; `step.optimizer` has what its schedule takes from the run.
        step: the compiled training step; `step.rate_scale` multiplies the learning rate.
        state: where the run is: `state.epoch`, `state.steps`, `state.best`.
        history: the logs of all epochs.
        measures: what the running `fit` measures and can compare, with whether higher values are better.
        options: the options of the running `fit`.
        record: writes the folder of the run.
        encoding: how the data it was trained on became numbers; other data are brought to that.
        profile: where the time of a step went, once `fit(profile=True)` is done.
        stop: set it, from a callback, to end training.

    Raises:
        UnknownNameError: nothing has such a name.
        UsageError: no loss is given and the model names none.

    >>> import numpy as np
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
        loss: Any = None,
        optimizer: Optimizer | str | None = None,
        metrics: Metric | str | Sequence[Metric | str] | Mapping[str, Any] | None = None,
        *,
        callbacks: Callback | str | Sequence[Callback | str] = (),
        seed: int = 0,
        device: str | None = None,
        out: str | Path | None = None,
        monitor: str | None = None,
        accumulate: int = 1,
        freeze: Patterns = (),
        ema: float | None = None,
        privacy: Privacy | None = None,
        energy: Energy | None = None,
        teacher: Any = None,
    ) -> None:
        self.model = check_model(make("model", model) if isinstance(model, str) else model)
        layer = self.model.layer if isinstance(self.model, Network) else self.model
        own = layer if isinstance(layer, Model) else None
        self.privacy, self.energy = privacy, energy
        make_step = TrainStep if privacy is None else partial(PrivateStep, privacy=privacy)
        self.step: TrainStep = make_step(
            self.model,
            loss if loss is not None else usual_loss(own),
            optimizer if optimizer is not None else usual_optimizer(own),
            seed=seed,
            device=device or "cpu",
            freeze=freeze,
            ema=ema,
            teacher=teacher,
        )
        self.accumulate = whole_number("accumulate", accumulate)
        self.optimizer: Optimizer = self.step.optimizer
        self.metrics: Metrics = usual_metrics(own) if metrics is None else make_metrics(metrics)
        self.callbacks: list[Callback] = make_list("callback", callbacks)
        self.out = None if out is None else Path(out)
        self.stop = False
        self.state = RunState()
        self.history = History(self.state.history, run=self.out)
        self.monitor = monitor
        self.measures: dict[str, bool] = {}
        self.options: dict[str, Any] = {}
        self.record: Record | None = None
        self.resumed: Checkpoint | None = None
        self.encoding = encoding_held(self.model)
        self.begun: dict[str, Any] | None = None
        self._report = Reporter()
        self._kept = KeptParameters()
        self.profiler: Profiler | None = None
        self.profile: Profile | None = None
        self._samples: dict[str, Any] = {}
        """What the running `fit` trains on and validates with, for `examples`."""
        resuming.check_device(self.model, device)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        callbacks: Sequence[Callback | str] | None = None,
        loss: Any = None,
        teacher: Any = None,
        device: str = "cpu",
        out: str | Path | None = None,
    ) -> Trainer:
        """The trainer of a run that stopped: its `fit` continues to the same bits as if it had never stopped.

        It continues from the last checkpoint, or from the best one, with a warning, if the last one cannot
        be read. A run that has no checkpoint yet starts over, with the options of its configuration.

        Args:
            path: the folder of the run, or a checkpoint.
            callbacks: instead of those the checkpoint names.
            loss: that of the run, where it is a function, which no checkpoint can hold.
            teacher: that of the run, where it is a model, or no longer where it was.
            device: "cpu" or "cuda".
            out: another folder to write to.

        Raises:
            CheckpointError: the checkpoint is missing, damaged or none of a run.
        """
        if (begun := resuming.begun(path)) is not None:
            return cls._begin_anew(Path(path), begun, callbacks, loss, teacher, device, out)
        checkpoint = resuming.checkpoint_of_run(path)
        trainer = cls(
            checkpoint.restore(device),
            **resuming.parts(checkpoint.options, checkpoint.path, callbacks, loss, teacher),
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
        loss: Any,
        teacher: Any,
        device: str,
        out: str | Path | None,
    ) -> Trainer:
        warnings.warn(f"{path} has no checkpoint; the run starts over.", BigmodelWarning, stacklevel=3)
        trainer = cls(
            resuming.model_of(begun, path),
            **resuming.parts(begun, path / MANIFEST, callbacks, loss, teacher),
            device=device,
            out=path if out is None else out,
        )
        trainer.begun = begun
        return trainer

    def __repr__(self) -> str:
        layer = self.model.layer if isinstance(self.model, Network) else self.model
        epochs = f"{self.state.epoch} epoch{'s' * (self.state.epoch != 1)} done"
        best = f", best in epoch {self.state.best.epoch}" if self.state.best else ""
        parts = f"{name_of(self.step.loss)}, {type(self.step.optimizer).__name__}"
        return f"<Trainer of {type(layer).__name__}: {parts}, {epochs}{best}>"

    # Training --------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Data | Split | tuple[Any, ...] | Iterable[Any],
        epochs: int | None = None,
        batch_size: int | None = None,
        validation: float | Split | tuple[Any, ...] | None = None,
        *,
        verbose: bool = True,
        resume: str | Path | None = None,
        checkpoint_every: int | None = None,
        record: Mapping[str, Any] | None = None,
        augment: Sequence[Augmentation | str] | None = None,
        workers: int = DEFAULT_WORKERS,
        steps_per_epoch: int | None = None,
        profile: bool = False,
    ) -> History:
        """Train; what is wrong with the arguments is said before anything is written.

        Args:
            data: what to train on: data with its splits, one split, or arrays (x, y), or (x, y, weight)
                with what each sample counts; several inputs as a tuple of arrays, several targets as a
                tuple, or a dict by the names of outputs; or any iterable of batches (x, y), such as a
                PyTorch DataLoader, taken as they come.
            epochs: passes over the data, 1 by default; when called again, that many more. With `resume`, the
                total of the run, by default what it was started with.
            batch_size: samples per step, 64 by default; the last batch of an epoch may be smaller.
            validation: samples to measure after each epoch, or the fraction of the training samples to hold
                out for that; by default the data's own validation split, or the resumed run's fraction.
            verbose: whether progress is shown.
            resume: the folder or checkpoint of a run to continue with; needs the same data, options and seed.
            checkpoint_every: write the last checkpoint every this many steps, too; needs `out`.
            record: additional entries of the run's configuration, such as where the data came from.
            augment: augmentations or their names, applied to training samples in this order; by default
                those of the resumed run, or none.
            workers: threads that read and augment batches ahead of the step, 0 for none; the batches are the
                same for any number. Samples in memory that are not augmented need none.
            steps_per_epoch: how many batches of an iterable are an epoch, where it has no length.
            profile: whether to measure where the time of a step goes, for `profile`; one step in four is
                then timed kernel by kernel. What is learned is the same.

        Returns:
            The logs of all epochs; `interrupted` says whether Ctrl-C ended training.

        Raises:
            ConfigError, UsageError: an option makes no sense.
            ShapeError, DtypeError, DataError: the data do not fit the model or the loss.
            NumericsError: the loss is NaN or infinite; parameters and checkpoints are those from before.
            CheckpointError: a checkpoint cannot be read, does not fit, or cannot be written.
            RunInUseError: another process writes the folder of the run.
            DeviceError: kernels that are not on the CPU are to be timed.

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
            steps_per_epoch=steps_per_epoch,
        )
        is_even = job.sampling is None and isinstance(job.train, Samples)
        size = min(job.batch_size, len(job.train)) if is_even else None
        self.profiler = Profiler(size, self.accumulate, self.step.device) if profile else None
        self.profile = None
        self._take(job)
        done_before = self.step.steps
        with reporter(verbose) as report, Interruption() as interruption, self._showing(job):
            self._report = report
            if job.sampling is not None:
                report.note(job.sampling.described(metrics=bool(self.metrics and job.validation is None)))
            tell(self, "on_train_begin")
            with recorded(job, self.history, self.energy) as self.record:
                try:
                    train_epochs(self, job, report, interruption)
                except KeyboardInterrupt:
                    self.history.interrupted = True
                except NumericsError as error:
                    if error.loss is not None and is_far(error.loss, self.state.first_loss):
                        error.message = f"training diverged: {error.message}"
                    if self.record is not None:
                        error.fix = f"{error.fix} The last good checkpoint is {self.record.last}."
                    raise
                self.history.interrupted |= interruption.requested
                if self.profiler is not None:
                    self.profile, self.profiler = self.profiler.found(), None
                    if self.profile is None:
                        self.note("no profile: there were too few steps; train longer")
                tell(self, "on_train_end")
                say_how_it_ended(self, job, report, done_before)
                if isinstance(data, Data) and self.privacy is None and not self.history.interrupted:
                    keep_threshold(self, encoded(data, job.encoding).train)
                if self.record is not None and self.profile is not None:
                    self.record.profiled(self.profile.to_dict())
                if self.record is not None and self.step.ema is not None:
                    self.record.keep(AVERAGED, self.averaged().network)
        if self.history.diverged:
            first, last = number(self.state.first_loss or 0.0), number(self.history.last["loss"])
            warnings.warn(
                f"training diverged: the loss is {last}, it was {first} before the first step. A lower"
                " learning rate, or clipping the gradients (clip_norm), may help.",
                BigmodelWarning,
                stacklevel=2,
            )
        return self.history

    def _take(self, job: Job) -> None:
        """Set the state with which `fit` begins: a resumed run continues from its checkpoint."""
        self._kept.go_forward(self.network)
        if job.resumed is not None:
            resuming.restore(job.resumed, self.step, job.state)
        self.step.optimizer = job.optimizer
        if isinstance(self.step, PrivateStep) and job.sampling is not None:
            self.step.draw_as(job.sampling)
        self.encoding = self.network.encoding = job.encoding
        self.state, self.options, self.measures = job.state, job.options, job.measures
        self.history = History(self.state.history, run=job.folder)
        self.out, self.stop, self.resumed, self.begun = job.folder, False, None, None

    @property
    def epsilon(self) -> float | None:
        """What private training has spent so far, at the delta of `privacy`; None if it is not private."""
        return self.step.ledger.epsilon if isinstance(self.step, PrivateStep) else None
