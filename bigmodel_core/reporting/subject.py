"""What a page is about: a run, its model, and samples to try it on, as far as they are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.data.data import Data
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.split import Split
from bigmodel_core.data.tree import leaves
from bigmodel_core.errors import BigmodelError, UsageError
from bigmodel_core.nn.network import Network
from bigmodel_core.registry import config
from bigmodel_core.reporting.tested import Tested
from bigmodel_core.train import runs
from bigmodel_core.train.checkpoint import Checkpoint, read
from bigmodel_core.train.described import loss_of, metrics_of
from bigmodel_core.train.run import Run
from bigmodel_core.train.trainer import Trainer

PART = "test"
"""The split that models are tried on."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A run to be reported.

    Args:
        run: its configuration and what it logged.
        network: the model; None if there is none.
        tested: the model on samples; None if there are none.
        left_out: why there is no model, or there are no samples.
    """

    run: Run
    network: Network | None = None
    tested: Tested | None = None
    left_out: str = ""


def subject_of(folder: Path, load: Callable[[Checkpoint], Data], *, needs_data: bool = False) -> Subject:
    """All that there is of a run.

    Args:
        folder: of the run.
        load: gives the data that its best checkpoint is tried on.
        needs_data: whether data that cannot be used are an error; else they are left out.

    Raises:
        CheckpointError: its configuration or its log is damaged.
        BigmodelError: the data cannot be used, and are needed.
    """
    run = Run.read(folder)
    try:
        content = read(folder)
        network = content.restore().network
    except BigmodelError as error:
        return Subject(run, left_out=_why(error))
    try:
        return Subject(run, network, tested_on(content, load(content)))
    except BigmodelError as error:
        if needs_data:
            raise
        return Subject(run, network, left_out=_why(error))


def _why(error: BigmodelError) -> str:
    return f"{error.where}: {error.message}" if error.where else error.message


def tested_on(content: Checkpoint, data: Data) -> Tested:
    """The model of a checkpoint, measured on the test samples of some data.

    Raises:
        UsageError: they have no targets.
    """
    split = data.splits()[PART]
    if split.y is None:
        raise UsageError("the samples have no targets to compare with.", where=f"{data.name}/{PART}")
    options = content.options
    trainer = Trainer(content.restore(), loss_of(options), metrics=metrics_of(options))
    return Tested(trainer, data, PART, trainer.evaluate(split))


def recorded_data(folder: Path, content: Checkpoint) -> Data:
    """The data of a run, found where it read them, and encoded as in its training.

    Raises:
        UsageError: the run does not say what they were.
        DataError: they are not there any more.
    """
    encoding, manifest = content.about.encoding, runs.read_manifest(folder)
    if encoding is None or encoding.dataset is None:
        raise UsageError(
            "the run does not say what it was trained on.", where=str(folder), fix="pass data to try it on."
        )
    dataset = config.from_config("dataset", encoding.dataset)
    data: Data = dataset.load(runs.data_dir_of(folder, manifest), like=encoding)
    return data


def given_data(given: Any, content: Checkpoint) -> Data:
    """What a user passes to try a model on, as data whose test split it is.

    Raises:
        UsageError: it is neither data nor a split nor a pair of arrays.
    """
    known = content.about.encoding
    if isinstance(given, Data):
        return given if known is None else given.like(known)
    if isinstance(given, tuple) and len(given) == 2:
        given = Split(*given)
    if not isinstance(given, Split):
        raise UsageError(
            f"the data are a {type(given).__name__}.", fix="pass a Data, a Split or a pair (x, y) of arrays."
        )
    split = given if known is None or given.encoding is None else given.like(known)
    known = known or split.encoding or Encoding()
    target = leaves(split.y).get("")
    is_class = target is not None and np.asarray(target[:1]).dtype.kind in "iub"
    return Data(
        known.name or "the samples",
        train=split,
        test=split,
        labels=known.labels,
        task=known.task or ("classification" if is_class else "regression"),
        preprocessing=known.preprocessing,
        target_preprocessing=known.target_preprocessing,
        features=known.features,
        target=known.target,
        tokenizer=known.tokenizer,
        target_tokenizer=known.target_tokenizer,
        ignore=known.ignore,
    )
