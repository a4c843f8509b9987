"""The conformance kit on data sets, callbacks and exporters: each check finds what breaks its promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import registry
from bigmodel_core.errors import DataError
from bigmodel_core.testing import checks_for, run_checks

# Data sets --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
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


class Fileless(Rows):
    """Nobody has its files."""

    name: ClassVar[str] = "fileless"
    example = bm.Dataset.example


class Mute(Rows):
    """Its example writes nothing."""

    name: ClassVar[str] = "mute"

    @staticmethod
    def example(folder: Path) -> None:
        pass


class Deaf(Rows):
    """Looks at no folder of its own."""

    name: ClassVar[str] = "deaf"

    def load(self, data_dir: Path | None = None) -> bm.Data:
        if data_dir is None:
            raise DataError("it needs a folder.", where=self.name)
        return super().load(data_dir)


class Shuffled(Rows):
    """Other samples each time."""

    name: ClassVar[str] = "shuffled"

    def data(self, rows: np.ndarray) -> bm.Data:
        return super().data(np.random.default_rng().permuted(rows[:, :4], axis=0) @ np.eye(4, 5))


class Leaking(Rows):
    """Its test samples are those of the training."""

    name: ClassVar[str] = "leaking"

    def data(self, rows: np.ndarray) -> bm.Data:
        return super().data(np.concatenate([rows[:30], rows[:10]]))


class Careless(Rows):
    """Fails with an error of NumPy where a file is missing."""

    name: ClassVar[str] = "careless"

    def load(self, data_dir: Path | None = None) -> bm.Data:
        place = data_dir or bm.files.environment_folders(self.name)[0]
        return self.data(np.load(Path(place) / self.file))


class Pair(Rows):
    """Gives a tuple."""

    name: ClassVar[str] = "pair"

    def load(self, data_dir: Path | None = None) -> Any:
        return (np.zeros(3), np.zeros(3))


# Callbacks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counting(bm.Callback):
    """Counts epochs, and slows training down by what it counted."""

    def on_epoch_begin(self, trainer: Any, epoch: int) -> None:
        state = trainer.callback_state(self)
        state["epochs"] = state.get("epochs", 0) + 1
        trainer.step.rate_scale = 1 / state["epochs"]


class Spying(Counting):
    """Wants the loss on validation data."""

    def on_epoch_end(self, trainer: Any, epoch: int, logs: Any) -> None:
        logs["val_loss"] + 1


class Raising(Counting):
    """Divides by zero."""

    def on_batch_end(self, trainer: Any, step: int, logs: Any) -> None:
        1 // 0


class Global(Counting):
    """Remembers in its class what it counted."""

    seen: ClassVar[list[int]] = []

    def on_epoch_begin(self, trainer: Any, epoch: int) -> None:
        self.seen.append(epoch)
        trainer.step.rate_scale = 1 / len(self.seen)


class Forgetful(Counting):
    """Begins to count anew in each process."""

    def on_train_begin(self, trainer: Any) -> None:
        trainer.callback_state(self)["epochs"] = 0


class Unkept(Counting):
    """Keeps what no checkpoint holds."""

    def on_epoch_end(self, trainer: Any, epoch: int, logs: Any) -> None:
        trainer.callback_state(self)["trainer"] = trainer


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


@dataclass(frozen=True)
class Plain(bm.Exporter):
    """The bytes of all parameters."""

    suffix: ClassVar[str] = ".plain"
    report: ClassVar[Callable[[Path], Any]] = Told

    def export(self, model: Any, path: Path, **details: Any) -> Any:
        path.write_bytes(b"".join(array.tobytes() for array in model.state().values()))
        return type(self).report(path)


class Dictionary(Plain):
    """Returns a dict."""

    report: ClassVar[Any] = lambda path: {"path": str(path)}


class TooEarly(Plain):
    """Its report names the folder where the file was first."""

    report = Early


class Untold(Plain):
    """Its report is no text."""

    report = Nameless


class Empty(Plain):
    """Writes an empty file."""

    def export(self, model: Any, path: Path, **details: Any) -> Any:
        path.touch()
        return Told(path)


class Strict(Plain):
    """Knows nothing of a run."""

    def export(self, model: Any, path: Path) -> Any:
        return super().export(model, path)


class Rounding(Plain):
    """Rounds the parameters of the model itself."""

    def export(self, model: Any, path: Path, **details: Any) -> Any:
        model.load_state({name: array.round(1) for name, array in model.state().items()})
        return super().export(model, path)


class Stamped(Plain):
    """Writes random bytes, too."""

    def export(self, model: Any, path: Path, **details: Any) -> Any:
        path.write_bytes(np.random.default_rng().bytes(8))
        return Told(path)


class Pointless(Plain):
    """Its ending has no dot."""

    suffix: ClassVar[str] = "plain"


FAULTS = {
    Fileless: ("loads", "There is nothing to check it on"),
    Mute: ("loads", "wrote nothing there"),
    Pair: ("loads", "load returned tuple"),
    Deaf: ("BIGMODEL_DATA_DIR", "environment_folders"),
    Shuffled: ("deterministic", "samples differ when loaded again"),
    Leaking: ("splits are disjoint", "share 10 of 10"),
    Careless: ("wrong folder", "raised FileNotFoundError"),
    Raising: ("events", "on_batch_end raised ZeroDivisionError"),
    Spying: ("without validation", "KeyError: 'val_loss'"),
    Global: ("same bits when trained again", "keep what it needs in trainer.callback_state"),
    Forgetful: ("resume", "died and was resumed"),
    Unkept: ("state survives", "Trainer"),
    Dictionary: ("writes a file", "has no to_dict()"),
    Empty: ("writes a file", "the file is empty"),
    TooEarly: ("report", "names a folder that is gone"),
    Untold: ("report", "define __str__"),
    Strict: ("as the command line calls it", "**details"),
    Rounding: ("model unmodified", "exporting changed"),
    Stamped: ("same bytes each time", "other bytes"),
    Pointless: ("suffix", "write it with its dot"),
}
SOUND = [Rows, Counting, Plain]


class Plugin:
    """What the classes above would be in an installed package."""

    @staticmethod
    @bm.hookimpl
    def bigmodel_datasets() -> list[Any]:
        return [cls for cls in [*FAULTS, *SOUND] if issubclass(cls, bm.Dataset)]

    @staticmethod
    @bm.hookimpl
    def bigmodel_callbacks() -> list[Any]:
        return [cls for cls in [*FAULTS, *SOUND] if issubclass(cls, bm.Callback)]

    @staticmethod
    @bm.hookimpl
    def bigmodel_exporters() -> list[Any]:
        return [cls for cls in [*FAULTS, *SOUND] if issubclass(cls, bm.Exporter)]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("BIGMODEL_DATA_DIR", raising=False)
    registry.reset()
    registry.register(Plugin, "parts")
    yield
    registry.reset()


def failed(cls: type[Any], **options: Any) -> dict[str, str]:
    """The checks of a class that fail, with the reasons."""
    report = run_checks(checks_for(cls, **options))
    return {outcome.check.name: outcome.reason for outcome in report.outcomes if outcome.status == "failed"}


@pytest.mark.parametrize("cls", SOUND, ids=lambda cls: cls.__name__)
def test_what_is_sound_passes(cls: type[Any]) -> None:
    report = run_checks(checks_for(cls))
    assert report.ok and not report.count("skipped"), [item.reason for item in report.outcomes]


@pytest.mark.parametrize("cls", FAULTS, ids=lambda cls: cls.__name__)
def test_each_fault_is_caught_by_its_check(cls: type[Any]) -> None:
    check, reason = FAULTS[cls]
    found = failed(cls)
    assert check in found and reason in found[check], found


def test_files_that_were_named_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are wrong are a failure, not files that are missing."""
    (tmp_path / "fileless").mkdir()
    Rows.example(tmp_path / "fileless")
    assert not failed(Fileless, data_dir=tmp_path / "fileless")
    monkeypatch.setenv("BIGMODEL_DATA_DIR", str(tmp_path))
    assert not failed(Fileless)
    (tmp_path / "fileless" / "rows.npy").unlink()
    assert "there is no rows.npy" in failed(Fileless)["loads"]
