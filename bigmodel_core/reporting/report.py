"""`bm.report`: the page of a run, written to a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from bigmodel_core.errors import BigmodelWarning, UsageError
from bigmodel_core.reporting.run import run_page
from bigmodel_core.reporting.subject import given_data, recorded_data, subject_of
from bigmodel_core.train.atomic import write_atomically
from bigmodel_core.train.run import Run

NAME = "report.html"


def report(run: str | Path | Run, out: str | Path | None = None, *, data: Any = None) -> Path:
    """Write a page about a run: one HTML file, which loads nothing and runs no script.

    Args:
        run: its folder.
        out: the file; report.html in the folder if None.
        data: what its best checkpoint is tried on: data with a test split, a split, or arrays (x, y); those
            of its training if None.

    Returns:
        Where the page is.

    Raises:
        CheckpointError: the run is damaged, or the page cannot be written.
        BigmodelError: the data given do not fit the model.

    Warns:
        BigmodelWarning: the data of the training are not there, and the parts that need them are left out.

    >>> import tempfile
    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> folder = tempfile.mkdtemp()
    >>> x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    >>> y = (x[:, 0] > 0).astype("int64")
    >>> trainer = bm.Trainer(bm.layers.Dense(2), "cross_entropy", metrics=["accuracy"], out=folder)
    >>> history = trainer.fit((x, y), epochs=2, verbose=False)
    >>> report(folder, data=(x, y)).name
    'report.html'
    """
    folder = run.folder if isinstance(run, Run) else Path(run)
    target = checked_target(folder / NAME if out is None else Path(out))
    if data is None:
        subject = subject_of(folder, lambda content: recorded_data(folder, content))
    else:
        subject = subject_of(folder, lambda content: given_data(data, content), needs_data=True)
    if subject.left_out:
        warnings.warn(
            f"the page is made without the parts that need samples: {subject.left_out}",
            BigmodelWarning,
            stacklevel=2,
        )
    write_atomically(target, [run_page(subject).html().encode()])
    return target


def checked_target(path: Path) -> Path:
    """The file that a page is written to.

    Raises:
        UsageError: it is a folder.
    """
    if path.is_dir():
        raise UsageError("this is a folder.", where=str(path), fix="name a file, such as report.html.")
    return path
