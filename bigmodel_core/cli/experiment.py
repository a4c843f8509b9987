"""The description of a training run before anything is created: model, data and optimizer by name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bigmodel_core.cli.choice import USUAL_SCHEDULE, Choice, make_schedule
from bigmodel_core.cli.document import Document
from bigmodel_core.cli.names import named, settings, wrong_usage
from bigmodel_core.cli.usual import own_loss
from bigmodel_core.errors import ConfigError, UsageError
from bigmodel_core.registry.askers import CORE
from bigmodel_core.registry.config import owner_of
from bigmodel_core.registry.field_limits import check_number

if TYPE_CHECKING:
    from bigmodel_core.accounting.privacy import Privacy
    from bigmodel_core.data.augmentation import Augmentation
    from bigmodel_core.data.data import Data
    from bigmodel_core.nn.loss import Loss
    from bigmodel_core.nn.model import Model
    from bigmodel_core.nn.optimizer import Optimizer
    from bigmodel_core.train.by_output import Losses, Metrics
    from bigmodel_core.train.energy import Energy


@dataclass(frozen=True)
class Train:
    """How to train: the section [train].

    Args:
        epochs: how often every sample is seen; as the model has it for so many samples if None.
        batch_size: samples of a step.
        validation: share of the training samples that is held out; 0 for none.
        seed: keys first values, order of samples and dropout.
        device: "cpu" or "cuda".
        learning_rate: in place of the optimizer's own.
        loss: a loss, options behind its name; the model's if None.
        metrics: what to report; the model's if None.
        monitor: which measure decides the best epoch; the first metric, else the loss, if None.
        augment: how training samples are changed, in this order.
        workers: threads that read and augment samples ahead of the step.
        accumulate: batches whose gradients are added up for one update.
        freeze: patterns of parameters that stay as they are.
        ema: how much of the averaged parameters each step keeps; None for no average.
        privacy: how private training is, as in "epsilon=3,delta=1e-5,clip=1"; None if it is not.
        energy: how the energy of the run is counted, as in "carbon_intensity=350,price=0.3".
        start_from: the run or checkpoint whose parameters, tokenizers and sizes it begins with; in a file it
            is called `from`.
        teacher: the run or checkpoint whose scores are learned beside the targets.
        temperature: what its scores, and those of the model, are divided by.
        teacher_weight: the share of what the teacher says.
    """

    epochs: int | None = None
    batch_size: int = 64
    validation: float = 0.1
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    learning_rate: float | None = None
    loss: str | None = None
    metrics: tuple[str, ...] | None = None
    monitor: str | None = None
    augment: tuple[str, ...] = ()
    workers: int = 1
    accumulate: int = 1
    freeze: tuple[str, ...] = ()
    ema: float | None = None
    privacy: str | None = None
    energy: str | None = None
    start_from: str | None = None
    teacher: str | None = None
    temperature: float = 4.0
    teacher_weight: float = 0.9

    def __post_init__(self) -> None:
        if self.epochs is not None:
            check_number(self, "epochs", whole=True, at_least=1)
        check_number(self, "batch_size", whole=True, at_least=1)
        check_number(self, "validation", at_least=0, below=1)
        check_number(self, "seed", whole=True, at_least=0)
        check_number(self, "workers", whole=True, at_least=0)
        check_number(self, "accumulate", whole=True, at_least=1)
        if self.ema is not None:
            check_number(self, "ema", at_least=0, below=1)
        check_number(self, "temperature", above=0)
        check_number(self, "teacher_weight", above=0, at_most=1)
        if self.learning_rate is not None:
            check_number(self, "learning_rate", at_least=0)


@dataclass(frozen=True)
class Experiment:
    """A training run before anything of it is made.

    Args:
        model: the model.
        data: the data set.
        data_dir: where its files are.
        optimizer: the optimizer; the model's if None.
        schedule: the learning rate over the steps; if None, the optimizer's own, else `USUAL_SCHEDULE`.
        callbacks: what else happens in training.
        train: how to train.
        losses, metrics: by the names of outputs; None if there is one loss, and metrics of one output.
        document: the experiment file, if there is one.
        said: the keys of [train] that come from that file.
    """

    model: Choice
    data: Choice = field(default_factory=lambda: Choice("dataset", "digits", owner=CORE))
    data_dir: Path | None = None
    optimizer: Choice | None = None
    schedule: Choice | None = None
    callbacks: tuple[Choice, ...] = ()
    train: Train = field(default_factory=Train)
    losses: Mapping[str, Any] | None = None
    metrics: Mapping[str, Any] | None = None
    document: Document | None = None
    said: frozenset[str] = frozenset()

    def make_model(
        self, data: Data, taken: Mapping[str, Any] | None = None, kept: Collection[str] = ()
    ) -> Model:
        """The model, with as many outputs as the data has classes or targets unless options say otherwise.

        Args:
            data: the data set.
            taken: options that count less than those that were chosen.
            kept: those of them that count more than what the data need.
        """
        own: Any = self.make_loss(self.model.make(taken)) if self.train.loss else None
        return fitted(self.model.make(taken), data, {*self.model.options, *kept}, own)

    def with_callback(self, name: str) -> Experiment:
        """The experiment with a callback of the project, unless it has one of that class."""
        added = Choice("callback", name, owner=CORE)
        if any(choice.cls() is added.cls() for choice in self.callbacks):
            return self
        return replace(self, callbacks=(*self.callbacks, added))

    def make_loss(self, model: Model, task: str | None = None) -> Loss | Losses:
        """The loss; that of the model, for data of a task, if none was chosen.

        Raises:
            UsageError: the name or an option is unknown, or does not fit.
        """
        from bigmodel_core.train.by_output import make_loss

        with self._placed("loss"):
            if self.losses is not None:
                with wrong_usage():
                    return make_loss(self.losses)
            chosen = self.train.loss
            loss: Loss | Losses = named("loss", chosen) if chosen else own_loss(model, task)
            return loss

    def make_metrics(self) -> Metrics | None:
        """The metrics, or None if none were chosen.

        Raises:
            UsageError: the name or an option of one is unknown, or does not fit.
        """
        from bigmodel_core.train.by_output import make_metrics

        if self.metrics is not None:
            with self._placed("metrics"), wrong_usage():
                return make_metrics(self.metrics)
        if self.train.metrics is None:
            return None
        with self._placed("metrics"):
            return [named("metric", text) for text in self.train.metrics]

    def check_monitor(self, metrics: Metrics, *, validated: bool) -> None:
        """Raise unless what is to decide the best epoch is measured.

        Raises:
            UsageError: it is not, or its values cannot be compared.
        """
        from bigmodel_core.train.job import measures, monitored

        if self.losses is not None or isinstance(metrics, dict):  # their names are known once it is built
            return
        with self._placed("monitor", "--monitor"):
            monitored(self.train.monitor, measures(metrics, validated=validated))

    def make_privacy(self) -> Privacy | None:
        """How private training is to be; None if it is not.

        Raises:
            UsageError: an option is unknown or does not fit.
        """
        from bigmodel_core.accounting.privacy import Privacy

        found: Privacy | None = self._of_options(Privacy, "privacy")
        return found

    def make_energy(self) -> Energy | None:
        """How the energy of the run is counted; None for the usual way.

        Raises:
            UsageError: an option is unknown or does not fit.
        """
        from bigmodel_core.train.energy import Energy

        found: Energy | None = self._of_options(Energy, "energy")
        return found

    def _of_options(self, cls: type[Any], key: str) -> Any:
        """What `key=value` pairs of [train], separated by commas, make of a class; None if there are none."""
        from bigmodel_core.registry import config

        text = getattr(self.train, key)
        if text is None:
            return None
        options = settings([part for part in text.split(",") if part.strip()], f"--{key}")
        with self._placed(key, f"--{key}"), wrong_usage(f"--{key}"):
            return config.build(cls, config.parse_fields(cls, options))

    def make_augmentations(self) -> list[Augmentation]:
        """The augmentations of training samples.

        Raises:
            UsageError: the name or an option of one is unknown, or does not fit.
        """
        with self._placed("augment"):
            return [named("augmentation", text) for text in self.train.augment]

    @contextmanager
    def _placed(self, key: str, option: str | None = None) -> Iterator[None]:
        """Errors inside name the line of a key of [train], if that is where the value comes from, else the
        option of the command line."""
        try:
            yield
        except UsageError as error:
            if self.document is None or key not in self.said:
                error.where = error.where or option
                raise
            section = key if key in self.document.values else "train"
            place = None if section == key else key
            raise self.document.error(error.message, section, place, fix=error.shell or error.fix) from error

    def make_optimizer(self, model: Model, steps: int) -> Optimizer:
        """The optimizer with its learning rate or schedule.

        Args:
            model: what is trained; its optimizer and learning rate are used if none were chosen.
            steps: of the whole run; what a schedule is stretched to unless it says otherwise.

        Raises:
            UsageError: an option is unknown or does not fit.
        """
        choice = self.optimizer or Choice(
            "optimizer", model.optimizer, owner=owner_of(type(model), "optimizer")
        )
        rate = self.train.learning_rate
        if rate is None and self.optimizer is None:
            rate = model.usual_rate
        if rate is not None and "learning_rate" not in choice.typed:
            choice = replace(choice, more={**choice.more, "learning_rate": repr(rate)})
        made: Optimizer = choice.make()
        start = getattr(made, "learning_rate", None)
        if not isinstance(start, (int, float)):
            if self.schedule is None:
                return made
            raise UsageError(
                f"the optimizer {choice.text} has a learning rate of its own.",
                where="schedule",
                fix="leave the schedule out, or give the optimizer a number.",
            )
        chosen = self.schedule or USUAL_SCHEDULE
        groups = {
            pattern: {
                name: make_schedule(chosen, float(option), steps)
                if name == "learning_rate" and isinstance(option, (int, float))
                else option
                for name, option in options.items()
            }
            for pattern, options in (made.groups or {}).items()
        }
        schedule = make_schedule(chosen, float(start), steps)
        return replace(made, learning_rate=schedule, groups=groups or None)  # type: ignore[call-arg]  # a field of this subclass


def fitted(model: Model, data: Data, options: Collection[str], loss: Loss | None = None) -> Model:
    """A model with the outputs a data set needs; options given by the user are kept.

    Args:
        model: as it was requested.
        data: the data set.
        options: the fields of the model that the user chose.
        loss: the loss, if the user chose one.
    """
    kept = {name: getattr(model, name) for name in options if hasattr(model, name)}
    return replace(model.fitted(data, loss), **kept)


def with_changes(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """An experiment with what the command line says besides.

    Args:
        experiment: from a file, or of a model alone.
        changes: by field of `Train`; None if nothing was said.
    """
    said = {key: value for key, value in changes.items() if value is not None}
    before = {key: getattr(experiment.train, key) for key in Train.__dataclass_fields__}
    if not said:
        return experiment
    made = build_train({**{key: value for key, value in before.items() if value is not None}, **said})
    return replace(experiment, train=made, said=experiment.said - set(said))


def build_train(values: Mapping[str, Any], document: Document | None = None) -> Train:
    """The section [train] from its values.

    Raises:
        UsageError: a key is unknown or a value does not fit.
    """
    from bigmodel_core.registry import config

    try:
        made: Train = config.build(Train, values)
        return made
    except ConfigError as error:
        said = f"{error.where or ''} {error.message}"
        key = next((key for key in values if re.search(rf"(?<![\w]){re.escape(key)}(?![\w])", said)), None)
        if document is not None:
            raise document.error(error.message, "train", key, fix=error.shell or error.fix) from error
        option = f"--{key.replace('_', '-')}" if key else None
        fix = error.shell or error.fix
        if key and fix:
            fix = fix.replace(f"pass {key}=", f"pass {option} ")
        raise UsageError(error.message, where=option, fix=fix) from error
