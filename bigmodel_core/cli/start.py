"""A run begins: everything that an experiment names is made and checked, then trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.earlier import Earlier
from bigmodel_core.cli.experiment import Experiment, Train
from bigmodel_core.cli.finish import finish
from bigmodel_core.cli.sources import RUNS
from bigmodel_core.cli.terminal import Output
from bigmodel_core.cli.usual import metrics_for, own_metrics
from bigmodel_core.errors import DataError, UsageError

if TYPE_CHECKING:
    from bigmodel_core.data.data import Data
    from bigmodel_core.train.teacher import Teacher
    from bigmodel_core.train.trainer import Trainer


def start(
    experiment: Experiment, out: Path | None, checkpoint_every: int | None, profile: bool, output: Output
) -> None:
    """Make everything the experiment names, then train."""
    ready = Ready.of(experiment, output)
    data, how = ready.data, experiment.train
    fraction = how.validation if how.validation and data.validation is None else None
    ready.check_monitor(validated=bool(fraction) or data.validation is not None)
    with folder_for(out, ready.title) as folder:
        trainer = ready.train(
            data, folder, output, fraction=fraction, checkpoint_every=checkpoint_every, profile=profile
        )
    finish(trainer, trainer.history, data, folder, output)


@dataclass(frozen=True)
class Ready:
    """An experiment whose names are all looked up and whose data are read.

    Args:
        experiment: what is to be trained, and how.
        data: the data set.
        title: what the model is called.
        earlier: what its parameters begin with, if that is a trained model.
        taken: the fields that the model takes from that.
        teacher: whose scores are learned, too.
    """

    experiment: Experiment
    data: Data
    title: str
    earlier: Earlier | None
    taken: dict[str, Any] | None
    teacher: Teacher | None

    @classmethod
    def of(cls, experiment: Experiment, output: Output) -> Ready:
        """Look up every name, before the data are read, so that mistakes are reported at once."""
        from bigmodel_core import registry
        from bigmodel_core.nn.loss import Loss

        how = experiment.train
        model_class, dataset = experiment.model.cls(), experiment.data.make()
        dataset = dataset.suited(model_class)
        for choice in experiment.callbacks:
            choice.make()
        teacher = None if how.teacher is None else _teacher(how)
        earlier = None if how.start_from is None else Earlier.read(how.start_from, model_class)
        taken = None if earlier is None else earlier.fields_for(experiment.model)
        sketch = experiment.model.make(taken)
        loss = experiment.make_loss(sketch)
        experiment.make_metrics()
        experiment.make_augmentations()
        experiment.make_privacy()
        experiment.make_energy()
        experiment.make_optimizer(sketch, 1)
        data: Data = (
            dataset.load(experiment.data_dir)
            if earlier is None
            else earlier.load(dataset, experiment.data, experiment.data_dir)
        )
        for note in data.notes:  # how the target was read may be what is wrong with it
            output.say(note, "dim")
        if how.loss is None:  # that of a model for these data
            kept = () if earlier is None else earlier.kept(data)
            loss = experiment.make_loss(experiment.make_model(data, taken, kept), data.task)
        if isinstance(loss, Loss):
            _check_loss(loss, data)
        title = registry.display_name(model_class).replace("_", "-")
        return cls(experiment, data, title, earlier, taken, teacher)

    def check_monitor(self, *, validated: bool) -> None:
        """Raise unless what decides which epoch is best is measured; `validated` if samples are held out."""
        self.experiment.check_monitor(self._measured(self.data)[1], validated=validated)

    def _measured(self, data: Data) -> tuple[Any, Any]:
        """The model, with sizes for some data, and its metrics."""
        kept = () if self.earlier is None else self.earlier.kept(data)
        model = self.experiment.make_model(data, self.taken, kept)
        metrics = self.experiment.make_metrics()
        if metrics is None:
            is_own = self.experiment.train.loss is None and data.task != "multilabel"
            metrics = own_metrics(model) if is_own else metrics_for(data)
        return model, metrics

    def train(
        self,
        data: Data,
        folder: Path,
        output: Output,
        *,
        fraction: float | None = None,
        checkpoint_every: int | None = None,
        profile: bool = False,
        record: Mapping[str, Any] | None = None,
    ) -> Trainer:
        """Train a new model.

        Args:
            data: what on: the data set, or a fold of it.
            folder: of the run.
            output: where messages go.
            fraction: of the training samples, which is held out.
            checkpoint_every: steps between checkpoints within an epoch.
            profile: whether to measure where the time of a step goes.
            record: what the configuration of the run says besides.
        """
        from bigmodel_core.data.sampling import without_single
        from bigmodel_core.train.trainer import Trainer

        experiment, earlier, how = self.experiment, self.earlier, self.experiment.train
        model, metrics = self._measured(data)
        kept, aside = parted(data, fraction)
        size = how.batch_size if how.privacy is not None else without_single(how.batch_size, kept)
        epochs = how.epochs or model.usual_epochs(kept)
        steps = epochs * -(-kept // (size * how.accumulate))
        trainer = Trainer(
            model,
            experiment.make_loss(model, data.task),
            experiment.make_optimizer(model, steps),
            metrics,
            callbacks=[choice.make() for choice in experiment.callbacks],
            seed=how.seed,
            device=how.device,
            out=folder,
            monitor=how.monitor,
            accumulate=how.accumulate,
            freeze=how.freeze,
            ema=how.ema,
            privacy=experiment.make_privacy(),
            energy=experiment.make_energy(),
            teacher=self.teacher,
        )
        if earlier is not None:
            output.say(earlier.put_into(model, data, how.seed, how.device), "dim")
        about = f"{self.title} on {data.name}: {len(data.train):,} samples{aside}"
        output.say(f"{about}, {len(data.test):,} to test.", "dim")
        if size != how.batch_size:
            output.say(f"Batches have {size} samples: with {how.batch_size} the last would have one.", "dim")
        with output.progress():
            trainer.fit(
                data,
                epochs,
                size,
                fraction,
                verbose=not output.quiet,
                checkpoint_every=checkpoint_every,
                record={
                    "validation_fraction": fraction,
                    **({} if earlier is None else {"from": str(earlier.path.resolve())}),
                    **(record or {}),
                },
                augment=experiment.make_augmentations(),
                workers=how.workers,
                profile=profile,
            )
        return trainer


def parted(data: Data, fraction: float | None) -> tuple[int, str]:
    """How many samples are trained on when a fraction is held out, and what is said of the others."""
    from bigmodel_core.data.sampling import split_indices

    if not fraction:
        return len(data.train), ""
    kept, held_out = split_indices(len(data.train), fraction, 0, reach=data.train.reach)
    between = len(data.train) - len(kept) - len(held_out)
    overlapping = f", {between:,} that overlap those left out" if between else ""
    return len(kept), f", {len(held_out):,} of them held out for validation{overlapping}"


def _teacher(how: Train) -> Teacher:
    """The model whose scores are learned, too; a run by its name as well as by its path.

    Raises:
        CheckpointError: there is no such run, or it cannot be used.
    """
    from bigmodel_core.cli.sources import found
    from bigmodel_core.train.teacher import Teacher

    made = Teacher(found(how.teacher), how.temperature, how.teacher_weight)
    _ = made.network  # what is wrong with it is said before the data are read
    return made


def _check_loss(loss: Any, data: Data) -> None:
    """Say that a loss and a data set are made for different targets, before shapes say it less clearly."""
    from bigmodel_core import registry

    name = registry.display_name(type(loss))
    if data.task == "regression" and loss.target_dtype == "int64":
        raise DataError(
            f"its targets are numbers, and the loss {name} needs class labels.",
            where=data.name,
            fix="train linear-regression, or pass --loss mean_squared_error and as many outputs as targets.",
        )
    takes_labels = loss.target_dtype == "int64" or (loss.one_score and data.classes == 2)
    if data.task == "multilabel" and loss.target_dtype == "int64":
        raise DataError(
            f"its samples have several labels, and the loss {name} needs one class of each.",
            where=data.name,
            fix="choose --loss binary_cross_entropy, or leave --loss out.",
        )
    if data.task == "classification" and not takes_labels:
        raise DataError(
            f"its targets are class labels, and the loss {name} needs numbers.",
            where=data.name,
            fix="train a classifier such as logistic-regression, or choose a data set for regression.",
        )


@contextlib.contextmanager
def folder_for(out: Path | None, title: str) -> Iterator[Path]:
    """The folder of the run; it is removed again if nothing was written to it."""
    from bigmodel_core.train.lock import check_unused
    from bigmodel_core.train.runs import is_blank, is_run, new_run_folder

    if out is not None:
        check_unused(out)
    if out is not None and ((is_run(out) and not is_blank(out)) or (out.exists() and not out.is_dir())):
        what = "the folder holds another run." if out.is_dir() else "there is a file of this name."
        raise UsageError(what, where=str(out), fix="name another folder, or continue that run: --resume.")
    folder = out if out is not None else new_run_folder(RUNS, title)
    try:
        yield folder
    except BaseException:
        if out is None and not is_run(folder):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
