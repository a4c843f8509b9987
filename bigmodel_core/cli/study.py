"""A search over experiments: trials that Optuna proposes, each a run in a folder of its own.

runs/tune-001/study.json      what is searched, and of which experiment
runs/tune-001/trials.log      what Optuna knows of the trials, line by line: a killed search goes on from it
runs/tune-001/trial-001/      the run of the first trial, the experiment as it is
runs/tune-001/report.html     how the trials went
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.choice import Choice
from bigmodel_core.cli.experiment import Experiment, with_changes
from bigmodel_core.cli.search_space import Dimension, applied, of_experiment
from bigmodel_core.cli.study_files import TRIALS, mend
from bigmodel_core.cli.terminal import Output
from bigmodel_core.cli.trial import Trial
from bigmodel_core.errors import BigmodelError, UsageError
from bigmodel_core.train.callback import Callback
from bigmodel_core.train.run import Run

if TYPE_CHECKING:
    from bigmodel_core.train.trainer import Trainer

PRUNED = "pruned"
"""The tag of a run that was ended early because others did better at that epoch."""
_ENOUGH = 10
"""Trials that came to their end before the importance of options can be told."""
_HOPELESS = 3
"""So many trials may fail one after the other, from the first on; then their error is the search's."""


EPOCHS = 10
"""Of a trial, where nobody says how many."""


@dataclass
class Study:
    """A search in its folder.

    Args:
        folder: where.
        experiment: what is varied.
        space: the options that are varied.
        monitor: the measure that decides; the experiment's, or what its first trial monitors, if None.
        prune: whether trials that do worse than half of the others are ended early.
    """

    folder: Path
    experiment: Experiment
    space: Sequence[Dimension]
    monitor: str | None = None
    prune: bool = True
    _optuna: Any = field(init=False, repr=False)
    _study: Any = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        self._optuna = optuna_package()

    # What Optuna does ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the study, or go on with the one in the folder: trials that were killed are tried again."""
        optuna = self._optuna
        mend(self.folder / TRIALS)
        backend = optuna.storages.journal.JournalFileBackend(str(self.folder / TRIALS))
        storage = optuna.storages.JournalStorage(backend)
        known = optuna.get_all_study_names(storage)
        done = len(optuna.load_study(study_name=known[0], storage=storage).trials) if known else 0
        # A search that goes on draws other numbers than those it began with.
        seed = self.experiment.train.seed + done
        study = optuna.create_study(
            study_name="bigmodel",
            storage=storage,
            load_if_exists=True,
            direction="minimize",
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=8, multivariate=True),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=self._warm_up())
            if self.prune
            else optuna.pruners.NopPruner(),
        )
        self._study = study
        states = optuna.trial.TrialState
        for trial in study.get_trials(deepcopy=False):
            if trial.state == states.RUNNING:  # its process is gone
                study.tell(trial.number, state=states.FAIL)
                self._again(trial)
        for one in study.get_trials(deepcopy=False):
            self.monitor = self.monitor or one.user_attrs.get("monitor")
        if not study.trials:
            study.enqueue_trial(self._first(), user_attrs={"as_given": True})

    def _again(self, trial: Any) -> None:
        """Have a trial that was not finished tried once more."""
        given = {"as_given": True} if trial.user_attrs.get("as_given") else {}
        self._study.enqueue_trial(trial.params, user_attrs=given)

    @property
    def _epochs(self) -> int:
        """Of each trial: all are compared after as many."""
        return self.experiment.train.epochs or EPOCHS

    def _warm_up(self) -> int:
        return max(1, self._epochs // 5)

    def _first(self) -> dict[str, Any]:
        """The experiment as it is, as far as it lies in what is searched."""
        given = of_experiment(self.experiment, self.space)
        return {
            one.name: given[one.name] if one.choices else float(given[one.name])
            for one in self.space
            if one.name in given
        }

    def _asked(self) -> tuple[Any, dict[str, str]]:
        """The next trial, and its options as typed."""
        trial = self._study.ask()
        values = {}
        for one in self.space:
            if one.choices:
                found: Any = trial.suggest_categorical(one.name, list(one.choices))
            elif one.whole:
                assert one.low is not None and one.high is not None
                found = trial.suggest_int(one.name, int(one.low), int(one.high), log=one.by_logarithm)
            else:
                found = trial.suggest_float(one.name, one.low, one.high, log=one.by_logarithm)
            values[one.name] = one.typed(found)
        return trial, values

    # Trials ----------------------------------------------------------------------------------------------

    def run(self, trials: int, minutes: float | None, told: Callable[[Trial, int], None]) -> bool:
        """Run trials until there are as many as wanted, or the time is over.

        Args:
            trials: how many there are to be in all, those of earlier calls included.
            minutes: how long new ones are begun; None for no limit.
            told: called after each with what it was, and how many are done.

        Returns:
            Whether it came to its end; False after Ctrl-C.

        Raises:
            BigmodelError: the first trials all failed: what the last of them said.
        """
        end = None if minutes is None else time.monotonic() + 60 * minutes
        while len(done := self.trials()) < trials and (end is None or time.monotonic() < end):
            trial, values = self._asked()
            try:
                found = self._tried(trial, values)
            except KeyboardInterrupt:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
                self._again(trial)
                return False
            told(found, len(done) + 1)
            failed = [one for one in self.trials() if one.error]
            if found.error and len(failed) == len(done) + 1 >= min(_HOPELESS, trials):
                raise UsageError(f"all trials failed; the last one: {found.error}", where=str(self.folder))
        return True

    def _tried(self, trial: Any, values: Mapping[str, str]) -> Trial:
        """Run one trial.

        Raises:
            KeyboardInterrupt: Ctrl-C ended it.
        """
        from typer import Exit

        from bigmodel_core.cli.start import start

        states = self._optuna.trial.TrialState
        folder = self.folder / f"trial-{trial.number + 1:03}"
        pruning = Pruning(trial, self)
        experiment = with_changes(applied(self.experiment, values), {"epochs": self._epochs})
        watching = _Given("callback", "pruning", callback=pruning)
        experiment = replace(experiment, callbacks=(*experiment.callbacks, watching))
        error = ""
        try:
            start(experiment, folder, None, False, _Silent(quiet=True))
        except Exit:
            raise KeyboardInterrupt from None
        except BigmodelError as found:
            error = found.message
        score = pruning.best
        for name, value in (("typed", dict(values)), ("error", error), ("monitor", self.monitor)):
            trial.set_user_attr(name, value)
        if error or score is None or score != score:
            self._study.tell(trial, state=states.FAIL)
            return self._trial(trial.number, error or f"{self.monitor} was never a number")
        trial.set_user_attr("score", score)
        trial.set_user_attr("epochs", pruning.epochs)
        if pruning.is_pruned:
            Run.read(folder).add_tags(PRUNED)
            self._study.tell(trial, state=states.PRUNED)
        else:
            self._study.tell(trial, -score if pruning.is_high_better else score)
        return self._trial(trial.number)

    def _trial(self, number: int, error: str = "") -> Trial:
        return next(one for one in self._all() if one.number == number + 1)

    def _all(self) -> list[Trial]:
        states = self._optuna.trial.TrialState
        found = []
        for trial in self._study.get_trials(deepcopy=False):
            known = trial.user_attrs
            if trial.state in (states.COMPLETE, states.PRUNED, states.FAIL) and "typed" in known:
                found.append(
                    Trial(
                        trial.number + 1,
                        self.folder / f"trial-{trial.number + 1:03}",
                        known["typed"],
                        known.get("score"),
                        known.get("epochs", 0),
                        trial.state == states.PRUNED,
                        bool(known.get("as_given")),
                        known["error"] or ("" if "score" in known else "no measure"),
                    )
                )
        return found

    def trials(self) -> list[Trial]:
        """The trials that are done, in their order."""
        return self._all()

    def best(self) -> Trial | None:
        """The best of them, unless none came to its end."""
        from bigmodel_core.train.history import is_better_high

        whole = [one for one in self.trials() if one.score is not None and not one.is_pruned]
        if not whole:
            return None
        sign = -1.0 if is_better_high(self.monitor or "") else 1.0
        return min(whole, key=lambda one: (sign * (one.score or 0.0), one.number))

    def importance(self) -> dict[str, float]:
        """How much of the differences between trials each option explains, from 0 to 1 (PED-ANOVA, Watanabe
        et al., 2023); empty where there are too few."""
        optuna = self._optuna
        if len([one for one in self.trials() if one.score is not None and not one.is_pruned]) < _ENOUGH:
            return {}
        try:
            found = optuna.importance.get_param_importances(
                self._study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
        except (RuntimeError, ValueError):  # all trials alike
            return {}
        return {name: float(value) for name, value in found.items() if value == value}


class Pruning(Callback):
    """Tells Optuna how a trial goes, and ends it where Optuna says so; notes the best value.

    Args:
        trial: of Optuna.
        study: the search.
    """

    def __init__(self, trial: Any, study: Study) -> None:
        self.trial, self.study = trial, study
        self.best: float | None = None
        self.epochs = 0
        self.is_pruned = self.is_high_better = False

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, Any]) -> None:
        """Tell the monitored value of an epoch."""
        name = self.study.monitor = self.study.monitor or _monitored(trainer)
        self.epochs = epoch + 1
        value = logs.get(name)
        if not isinstance(value, (int, float)) or value != value:
            return
        self.is_high_better = trainer.higher_is_better(name)
        if self.best is None or (value > self.best if self.is_high_better else value < self.best):
            self.best = float(value)
        self.trial.report(-value if self.is_high_better else value, epoch)
        if self.study.prune and epoch + 1 < self.study._epochs and self.trial.should_prune():
            self.is_pruned = trainer.stop = True


def _monitored(trainer: Trainer) -> str:
    from bigmodel_core.train.job import monitored

    return monitored(trainer.monitor, trainer.measures)


@dataclass(frozen=True)
class _Given(Choice):
    """A callback that is there already, where an experiment has one by its name."""

    callback: Callback | None = None

    def cls(self) -> type[Any]:
        """Its class."""
        return type(self.callback)

    def make(self, more: Mapping[str, Any] | None = None) -> Any:
        """The callback."""
        return self.callback


class _Silent(Output):
    """Says nothing: what trials print is not what a search shows."""

    def line(self, text: str = "", style: str | None = None) -> None:
        """Nothing."""

    def matrix(self, rows: Any) -> None:
        """Nothing."""

    def result(self, value: Any) -> None:
        """Nothing."""


def optuna_package() -> Any:
    """The package, told to be silent.

    Raises:
        MissingPackageError: it is not installed.
    """
    from bigmodel_core.extras import optional

    found = optional("optuna", "tune", "searches")
    optional("optuna.storages.journal", "tune", "searches")
    found.logging.set_verbosity(found.logging.ERROR)
    return found
