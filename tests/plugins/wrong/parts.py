"""Data sets, callbacks and exporters with one fault each."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from tests.plugins.wrong.table import fault, sound

# Data sets --------------------------------------------------------------------------------------------------


@sound()
class Rows(bm.Dataset):
    """Rows of numbers in an array file."""

    name: ClassVar[str] = "rows"
    file: str = "rows.npy"

    def load(self, data_dir: Path | None = None) -> bm.Data:
        folders = bm.files.environment_folders(self.name) if data_dir is None else [Path(data_dir)]
        if not folders or not (folders[0] / self.file).is_file():
            raise DataError(f"there is no {self.file}.", where=self.name, fix="name its folder.")
        return self.data(np.load(folders[0] / self.file))

    def data(self, rows: np.ndarray) -> bm.Data:
        train, test = (bm.Split(part[:, :-1], part[:, -1].astype("int64")) for part in (rows[:30], rows[30:]))
        return bm.Data(self.name, train, test, input_meaning="a row", source="a test")

    @classmethod
    def example(cls, folder: Path) -> None:
        rows = np.random.default_rng(0).normal(size=(40, 4))
        np.save(folder / "rows.npy", np.column_stack([rows, np.arange(40) % 2]))


@fault("a data set whose files nobody has", "loads", "There is nothing to check it on")
class Fileless(Rows):
    """Nobody has its files."""

    name: ClassVar[str] = "fileless"
    example = bm.Dataset.example


@fault("an example that writes no file", "loads", "wrote nothing there")
class Mute(Rows):
    """Its example writes nothing."""

    name: ClassVar[str] = "mute"

    @staticmethod
    def example(folder: Path) -> None:
        pass


@fault("a data set that reads no folder of BIGMODEL_DATA_DIR", "BIGMODEL_DATA_DIR", "environment_folders")
class Deaf(Rows):
    """Looks at no folder of its own."""

    name: ClassVar[str] = "deaf"

    def load(self, data_dir: Path | None = None) -> bm.Data:
        if data_dir is None:
            raise DataError("it needs a folder.", where=self.name)
        return super().load(data_dir)


@fault("a data set with other samples each time", "deterministic", "samples differ when loaded again")
class Shuffled(Rows):
    """Other samples each time."""

    name: ClassVar[str] = "shuffled"

    def data(self, rows: np.ndarray) -> bm.Data:
        return super().data(np.random.default_rng().permuted(rows[:, :4], axis=0) @ np.eye(4, 5))


@fault("a data set whose test samples are those of the training", "splits are disjoint", "share 10 of 10")
class Leaking(Rows):
    """Its test samples are those of the training."""

    name: ClassVar[str] = "leaking"

    def data(self, rows: np.ndarray) -> bm.Data:
        return super().data(np.concatenate([rows[:30], rows[:10]]))


@fault(
    "a data set that raises what NumPy raises for a missing file", "wrong folder", "raised FileNotFoundError"
)
class Careless(Rows):
    """Fails with an error of NumPy where a file is missing."""

    name: ClassVar[str] = "careless"

    def load(self, data_dir: Path | None = None) -> bm.Data:
        place = data_dir or bm.files.environment_folders(self.name)[0]
        return self.data(np.load(Path(place) / self.file))


@fault("a data set that gives a tuple", "loads", "load returned tuple")
class Pair(Rows):
    """Gives a tuple."""

    name: ClassVar[str] = "pair"

    def load(self, data_dir: Path | None = None) -> Any:
        return (np.zeros(3), np.zeros(3))


@fault("a data set whose reader ends the process", "loads", "ended the process with SIGSEGV")
class Ending(Rows):
    """Reads memory that is not there."""

    name: ClassVar[str] = "ending"

    def data(self, rows: np.ndarray) -> bm.Data:
        ctypes.string_at(0)
        return super().data(rows)


class FromFile(bm.Source):
    """Rows that are read one by one."""

    dtype = np.dtype("float32")

    def __init__(self, rows: np.ndarray, length: int) -> None:
        self.rows, self.shape = rows, (length, rows.shape[1])

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        for place, index in enumerate(indices):
            out[place] = self.rows[index]


class InFileOrder(FromFile):
    """Rows in the order of the file, whatever was asked for."""

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        super().read(np.sort(indices), out)


class Streamed(Rows):
    """Rows that are read when they are needed."""

    source: ClassVar[type[FromFile]] = FromFile
    more: ClassVar[int] = 0

    def data(self, rows: np.ndarray) -> bm.Data:
        parts = (
            bm.Split(self.source(part[:, :-1], len(part) + self.more), np.zeros(len(part) + self.more, int))
            for part in (rows[:30], rows[30:])
        )
        return bm.Data(self.name, *parts, input_meaning="a row", source="a test")


@fault("a source of more samples than its files hold", "lengths", "31 samples, but the last cannot be read")
class Promising(Streamed):
    name: ClassVar[str] = "promising"
    more = 1


@fault("a source that reads in the order of its file", "batches", "depend on which others are read")
class Ordered(Streamed):
    name: ClassVar[str] = "ordered"
    source = InFileOrder


class Misnumbered(FromFile):
    """Rows in blocks of which some are forgotten."""

    def blocks(self) -> tuple[np.ndarray, int]:
        return np.zeros(3, int), 1


@fault("a source whose blocks leave samples out", "batches", r"blocks\(\) gives")
class Blocked(Streamed):
    name: ClassVar[str] = "blocked"
    source = Misnumbered


@fault("a data set with NaN among its samples", "numbers", "a sample is not finite")
class Holed(Rows):
    name: ClassVar[str] = "holed"

    def data(self, rows: np.ndarray) -> bm.Data:
        rows[3, 1] = np.nan
        return super().data(rows)


@fault("a data set that scales anew what like= gave", "like", "samples differ with like=")
class Rescaled(Rows):
    name: ClassVar[str] = "rescaled"

    def load(self, data_dir: Path | None = None, like: Any = None) -> bm.Data:
        rows = np.load((data_dir or bm.files.environment_folders(self.name)[0]) / self.file)
        return self.data(rows if like is None else rows * [2, 2, 2, 2, 1])


@fault("data that say nothing of their source", "summary", "source or input_meaning is empty")
class Anonymous(Rows):
    name: ClassVar[str] = "anonymous"

    def data(self, rows: np.ndarray) -> bm.Data:
        return replace(super().data(rows), source="")


# Callbacks --------------------------------------------------------------------------------------------------


@sound()
class Counting(bm.Callback):
    """Counts epochs, and slows training down by what it counted."""

    def on_epoch_begin(self, trainer: Any, epoch: int) -> None:
        state = trainer.callback_state(self)
        state["epochs"] = state.get("epochs", 0) + 1
        trainer.step.rate_scale = 1 / state["epochs"]


@fault("a callback that needs the loss on validation data", "without validation", "KeyError: 'val_loss'")
class Spying(Counting):
    """Wants the loss on validation data."""

    def on_epoch_end(self, trainer: Any, epoch: int, logs: Any) -> None:
        logs["val_loss"] + 1


@fault("a callback that divides by zero", "events", "on_batch_end raised ZeroDivisionError")
class Raising(Counting):
    """Divides by zero."""

    def on_batch_end(self, trainer: Any, step: int, logs: Any) -> None:
        1 // 0


@fault(
    "a callback that remembers the last training in its class",
    "same bits when trained again",
    "keep what it needs in trainer",
)
class Global(Counting):
    """Remembers in its class what it counted."""

    seen: ClassVar[list[int]] = []

    def on_epoch_begin(self, trainer: Any, epoch: int) -> None:
        self.seen.append(epoch)
        trainer.step.rate_scale = 1 / len(self.seen)


@fault("a callback that begins anew when training is resumed", "resume", "died and was resumed")
class Forgetful(Counting):
    """Begins to count anew in each process."""

    def on_train_begin(self, trainer: Any) -> None:
        trainer.callback_state(self)["epochs"] = 0


@fault("a callback that keeps what no checkpoint holds", "state survives", "Trainer")
class Unkept(Counting):
    """Keeps what no checkpoint holds."""

    def on_epoch_end(self, trainer: Any, epoch: int, logs: Any) -> None:
        trainer.callback_state(self)["trainer"] = trainer


@fault("a callback that ends the process", "events", "ended the process with SIGSEGV")
class Fatal(Counting):
    """Reads memory that is not there."""

    def on_train_end(self, trainer: Any) -> None:
        ctypes.string_at(0)


# Exporters --------------------------------------------------------------------------------------------------


class Told:
    """A sound report."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return f"Wrote {self.path}."

    def to_dict(self) -> dict[str, Any]:
        return {"path": str(self.path)}


class Early(Told):
    """Has its text ready before the file is in its place."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.text = f"Wrote {path}."

    def __str__(self) -> str:
        return self.text


class Nameless(Told):
    """Has no text."""

    __str__ = object.__str__


@sound()
class Plain(bm.Exporter):
    """The bytes of all parameters."""

    suffix: ClassVar[str] = ".plain"
    report: ClassVar[Callable[[Path], Any]] = Told

    def export(self, model: Any, path: Path, **details: Any) -> Any:
        path.write_bytes(b"".join(array.tobytes() for array in model.state().values()))
        return type(self).report(path)


@fault("an exporter that returns a dict", "writes a file", "has no to_dict\\(\\)")
class Dictionary(Plain):
    """Returns a dict."""

    report: ClassVar[Any] = lambda path: {"path": str(path)}


@fault("a report that names the folder where the file was first", "report", "names a folder that is gone")
class TooEarly(Plain):
    """Its report names the folder where the file was first."""

    report = Early


@fault("a report without a text", "report", "define __str__")
class Untold(Plain):
    """Its report is no text."""

    report = Nameless


@fault("an exporter that ends the process", "writes a file", "ended the process with SIGSEGV")
class Crashing(Plain):
    """Reads memory that is not there."""

    def export(self, model: Any, path: Path, **details: Any) -> Any:
        return ctypes.string_at(0)


@fault("an exporter that writes an empty file", "writes a file", "the file is empty")
class Empty(Plain):
    """Writes an empty file."""

    def export(self, model: Any, path: Path, **details: Any) -> Any:
        path.touch()
        return Told(path)


@fault("an exporter that knows nothing of a run", "as the command line calls it", "\\*\\*details")
class Strict(Plain):
    """Knows nothing of a run."""

    def export(self, model: Any, path: Path) -> Any:
        return super().export(model, path)


@fault("an exporter that rounds the model itself", "model unmodified", "exporting changed")
class Rounding(Plain):
    """Rounds the parameters of the model itself."""

    def export(self, model: Any, path: Path, **details: Any) -> Any:
        model.load_state({name: array.round(1) for name, array in model.state().items()})
        return super().export(model, path)


@fault("an exporter whose files say when they were made", "same bytes each time", "other bytes")
class Stamped(Plain):
    """Writes random bytes, too."""

    def export(self, model: Any, path: Path, **details: Any) -> Any:
        path.write_bytes(np.random.default_rng().bytes(8))
        return Told(path)


@fault("a file ending without a dot", "suffix", "write it with its dot")
class Pointless(Plain):
    """Its ending has no dot."""

    suffix: ClassVar[str] = "plain"
