"""What a trainer does for its callbacks: state of their own, samples, notes, earlier parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bigmodel_core.errors import UsageError
from bigmodel_core.train.callback import Callback
from bigmodel_core.train.job import Job, monitored, whole_number
from bigmodel_core.train.kept_parameters import KeptParameters
from bigmodel_core.train.progress import Reporter
from bigmodel_core.train.record import Record
from bigmodel_core.train.run_state import RunState
from bigmodel_core.train.samples import Samples
from bigmodel_core.train.trained_model import TrainedModel


class CallbackServices(TrainedModel):
    """A model that is trained, as its callbacks see it; `Trainer` trains it.

    Attributes:
        callbacks: called at fixed points of the loop, in this order.
        state: where the run is.
        measures: what the running `fit` measures and can compare, with whether higher values are better.
        out: the folder of the run; None if it writes nothing.
        record: writes that folder, while it is trained.
    """

    callbacks: list[Callback]
    state: RunState
    measures: dict[str, bool]
    out: Path | None
    record: Record | None
    _report: Reporter
    _kept: KeptParameters
    _samples: dict[str, Any]

    @contextlib.contextmanager
    def _showing(self, job: Job) -> Iterator[None]:
        """Inside, `examples` has samples to give."""
        self._samples = {"training": job.train, "validation": job.validation}
        try:
            yield
        finally:
            self._samples = {}

    def callback_state(self, callback: Callback) -> dict[str, Any]:
        """What a callback keeps across checkpoints, its own to change: a dict of JSON values and arrays."""
        return self.state.callbacks.setdefault(self._key(callback), {})

    def _key(self, callback: Callback) -> str:
        same = [item for item in self.callbacks if type(item) is type(callback)]
        number = next((number for number, item in enumerate(same) if item is callback), 0)
        return f"{type(callback).__name__}_{number + 1}"

    def examples(self, count: int, split: str = "validation") -> tuple[Any, Any, Any] | None:
        """Some samples of the running `fit`, as the model sees them: (x, y, weight), for callbacks.

        They lie at even distances among all, so they are the same in each epoch, and are not augmented. With
        several inputs x is a tuple; the weight is None if samples are not weighted.

        Args:
            count: how many; fewer if there are fewer.
            split: "validation" or "training"; training samples stand in for validation data that are not
                there.

        Returns:
            None outside of `fit`, and for batches that are made elsewhere.

        Raises:
            UsageError: there is no such split.
        """
        if split not in ("training", "validation"):
            raise UsageError(f"there is no split {split!r}.", fix='use "training" or "validation".')
        found = self._samples.get(split) or self._samples.get("training")
        return found.some(whole_number("count", count)) if isinstance(found, Samples) else None

    def note(self, text: str) -> None:
        """Tell the user something, in a line among those of the epochs; `verbose=False` leaves it out."""
        self._report.note(text)

    # Parameters of an earlier epoch ----------------------------------------------------------------------

    def keep_parameters(self, callback: Callback) -> None:
        """Keep the parameters as they are now, for the callback to bring back with `restore_parameters`.

        Each callback has one place. It is in memory and, if the run has a folder, in a file there, so that
        it survives a resume.

        Raises:
            CheckpointError: the file cannot be written.
        """
        self._kept.keep(self._key(callback), self.network, self.record)

    def restore_parameters(self, callback: Callback) -> None:
        """Bring back the parameters that a callback kept; a further `fit` continues from those of now.

        Raises:
            CheckpointError: it kept none, or its file is missing or damaged.
        """
        self._kept.restore(self._key(callback), self.network, self.out)

    def higher_is_better(self, measure: str) -> bool:
        """Which way a measure of the running `fit` is better, for callbacks that watch one.

        Raises:
            ConfigError: it is not measured, or its values cannot be compared.
        """
        return self.measures[monitored(measure, self.measures)]
