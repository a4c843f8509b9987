"""What RUN refers to: a run's folder or name, a checkpoint, an ONNX file, or the newest run."""

from __future__ import annotations

import io
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core.data.encoding import UNKNOWN, Encoding, encoding_in
from bigmodel_core.errors import BigmodelWarning, CheckpointError, ExportError, UsageError

if TYPE_CHECKING:
    from bigmodel_core.data.data import Data
    from bigmodel_core.data.preprocessing import Preprocessing
    from bigmodel_core.train.checkpoint import Checkpoint

RUNS = Path("runs")
"""Where runs are, unless `--out` says otherwise."""


@dataclass(frozen=True)
class Known:
    """What a trained model says about itself.

    Args:
        encoding: how the data it was trained on became numbers.
        run: the folder of the run it comes from.
    """

    encoding: Encoding = UNKNOWN
    run: Path | None = None

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names by label."""
        return self.encoding.labels

    @property
    def task(self) -> str | None:
        """What it was trained for; see `Encoding`."""
        return self.encoding.task

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How raw input becomes its input."""
        return self.encoding.preprocessing

    @property
    def data(self) -> str:
        """The name of the data set it was trained on."""
        return self.encoding.name


def is_onnx(what: str | Path) -> bool:
    """Whether a path is read as an ONNX file."""
    return Path(what).suffix.lower() == ".onnx"


def found(what: str | Path | None) -> Path:
    """The file or folder that is named; else the newest run with a usable model.

    Warns:
        BigmodelWarning: a newer run has finished no epoch.

    Raises:
        CheckpointError: there is none.
    """
    from bigmodel_core.train import runs

    if what is None:
        run, newer = runs.newest_to_use(RUNS)
        for other in newer:
            warnings.warn(
                f"{other} is newer than {run} but skipped: it finished no epoch{runs.how_it_ended(other)}.",
                BigmodelWarning,
                stacklevel=2,
            )
        return run
    path = Path(what)
    if path.exists():
        return path
    if (RUNS / path).is_dir():
        return RUNS / path
    if is_onnx(path):
        raise ExportError(
            "there is no such file.", where=str(path), fix="export one: bigmodel export model.onnx"
        )
    known = sorted(item.name for item in RUNS.iterdir() if runs.is_run(item)) if RUNS.is_dir() else []
    fix = (
        f"the runs here are {', '.join(known[-5:])}." if known else "train a model first: bigmodel train mlp"
    )
    raise CheckpointError("there is no such run or file.", where=str(path), fix=fix)


def is_published(path: Path) -> bool:
    """Whether a path is a folder with published weights."""
    from bigmodel_core.train.pretrained import CONFIG

    return (path / CONFIG).is_file()


def checkpoint(what: str | Path | None) -> Checkpoint:
    """The checkpoint that is named; of a run, its best one; of published weights, what would be saved of
    their model.

    Raises:
        CheckpointError: there is none, or it is damaged.
        ConfigError: no installed model computes what the published weights are of.
    """
    from bigmodel_core.train.checkpoint import read, save
    from bigmodel_core.train.pretrained import from_pretrained

    path = found(what)
    if not is_published(path):
        return read(path)
    with io.BytesIO() as file:
        save(from_pretrained(path), file)
        file.seek(0)
        return replace(read(file), path=path)


def run_of(path: Path) -> Path | None:
    """The run folder that a path names or is inside, or None."""
    from bigmodel_core.train import runs

    return next((place for place in (path, path.parent) if runs.is_run(place)), None)


def results_of(content: Checkpoint) -> dict[str, float]:
    """What was measured of the model in a checkpoint: in its epoch, and on the test samples of its run."""
    from bigmodel_core.train import runs
    from bigmodel_core.train.curves import ABOUT_TIME

    found = {
        key: value
        for key, value in content.about.metrics.items()
        if isinstance(value, (int, float)) and key not in ("epoch", *ABOUT_TIME)
    }
    run = run_of(content.path)
    results = (
        runs.read_manifest(run).get("results") if run is not None and content.path.name == runs.BEST else None
    )
    if isinstance(results, dict) and results.get("best_epoch") == content.about.metrics.get("epoch"):
        test = results.get("test")
        for key, value in (test if isinstance(test, dict) else {}).items():
            if isinstance(value, (int, float)):
                found[f"test_{key}"] = value
    return found


def known_of_file(metadata: Mapping[str, Any]) -> Known:
    """What an exported file says about itself."""
    return Known(encoding_in(metadata))


def known_of(content: Checkpoint) -> Known:
    """What a checkpoint and the run it is in say about the model."""
    from bigmodel_core.train import runs

    encoding = content.about.encoding or UNKNOWN
    run = run_of(content.path)
    if (
        run is not None and encoding.dataset is None
    ):  # an earlier version kept the data set with the run alone
        dataset = runs.read_manifest(run).get("dataset")
        encoding = replace(encoding, dataset=dataset if isinstance(dataset, dict) else None)
    return Known(encoding, run)


def load_data(name: str | None, data_dir: Path | None, known: Known | None = None) -> Data:
    """A named data set; for a trained model, encoded as in its training.

    Args:
        name: the data set, options after its name; None for that of the training.
        data_dir: where it is; None for where the run read it, if it is the data set of the run.
        known: what the model says about itself; None if there is none yet.

    Raises:
        UsageError: the name or an option is unknown.
        DataError: its files are missing or damaged, or do not fit the training.
    """
    from bigmodel_core.cli.names import named
    from bigmodel_core.registry import config

    data: Data
    if known is None:
        data = named("dataset", name or "").load(data_dir)
        return data
    encoding = known.encoding
    if not name and encoding.dataset is not None:
        dataset = config.from_config("dataset", encoding.dataset)
    elif name or encoding.name:
        dataset = named("dataset", name or encoding.name)
    else:
        raise UsageError("the model does not say what it was trained on.", fix="name a data set with --data.")
    if data_dir is None and type(dataset) is type(encoding.made_by()):
        data_dir = recorded_place(known.run)
    data = dataset.load(data_dir, like=encoding)
    return data


def data_typed(known: Known) -> str:
    """The options that name the training data, as typed in the current folder."""
    from bigmodel_core import registry

    dataset = known.encoding.made_by()
    if dataset is None:
        return "FILE..."
    place = recorded_place(known.run)
    where = [] if place is None else ["--data-dir", str(place)]
    return shlex.join(["--data", registry.display_name(type(dataset)), *where])


def recorded_place(run: Path | None) -> Path | None:
    """Where the data of a run were read from, as far as it is known."""
    from bigmodel_core.train import runs

    return None if run is None else runs.data_dir_of(run, runs.read_manifest(run))
