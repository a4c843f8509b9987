"""Every error the project raises derives from `BigmodelError`.

A message states the place (layer path, file), what came in, what was expected, and the fix:

    classifier/dense_2 (Dense): cannot multiply input (N, 400) by weight (256, 10): expected 256 input
    features, got 400.
      Fix: build the model with inputs of 256 features, or let Dense infer its input width.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import ClassVar

_PYTHON = re.compile(r"\w\(|\bbm\.|\bx\[|\bout=|=\.\.\.")
"""What a fix holds that is Python and nothing to type at a shell: a call, an index, a keyword."""


def visible(text: str, keep: str = "") -> str:
    r"""A text in which what cannot be printed is written as in source code.

    File names, labels and options come from anywhere: as they are, escape characters among them would write
    over the reader's terminal.

    Args:
        text: any text.
        keep: characters that stay as they are, such as a line break.

    >>> visible("one\ntwo"), visible("\x1b[2J")
    ('one\\ntwo', '\\x1b[2J')
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in text
    )


def short(value: object) -> str:
    """A value for a message: as it is written in Python, on one line and cut off where that is long.

    >>> short([1, 2]), len(short(list(range(100))))
    ('[1, 2]', 80)
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def close_matches(name: str, known: Iterable[str], n: int = 1, cutoff: float = 0.6) -> list[str]:
    """The names that a misspelt one may stand for, the nearest first.

    Args:
        name: what was written.
        known: what there is.
        n: the most names to return.
        cutoff: from 0, which takes all names, to 1, which takes equal ones alone.

    >>> close_matches("dens", ["conv2d", "dense"])
    ['dense']
    """
    import difflib  # at the first mistake: many a process makes none

    return difflib.get_close_matches(name, list(known), n, cutoff)


_MORE = "with BIGMODEL_VERBOSE=1, or `bigmodel --verbose`."


def is_verbose() -> bool:
    """Whether errors tell all that they know: `BIGMODEL_VERBOSE=1`, or `bigmodel --verbose`."""
    return os.environ.get("BIGMODEL_VERBOSE", "") not in ("", "0")


class BigmodelError(Exception):
    """The root of all errors of this project.

    Args:
        message: what happened and what was expected, one or two sentences.
        fix: what the user can do about it; printed on its own line.
        where: the layer path, op or file the error belongs to; printed in front.
        shell: what a user of the command line can do, where `fix` speaks of Python.

    >>> print(BigmodelError("batch size is 0.", fix="pass a positive batch size."))
    batch size is 0.
      Fix: pass a positive batch size.
    """

    details: str = ""
    """More than most readers want, such as all that a compiler says; shown if `is_verbose()`."""

    usual_at_shell: ClassVar[str | None] = None
    """What helps at the command line against most errors of a class."""

    def __init__(
        self, message: str, *, fix: str | None = None, where: str | None = None, shell: str | None = None
    ) -> None:
        self.message, self.fix, self.where, self.shell = message, fix, where, shell
        super().__init__(message)

    def __str__(self) -> str:
        return self._told(self.fix)

    def for_shell(self) -> str:
        """The text for the command line, with its fix for the shell, if there is one.

        Without one, a fix in Python gives way to `usual_at_shell`.

        >>> print(BigmodelError("no folder.", fix="pass out=...", shell="pass --out.").for_shell())
        no folder.
          Fix: pass --out.
        """
        if self.shell is not None:
            return self._told(self.shell)
        is_python = self.fix is not None and _PYTHON.search(self.fix) is not None
        return self._told(self.usual_at_shell if is_python and self.usual_at_shell else self.fix)

    def _told(self, fix: str | None) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        text += f"\n  Fix: {fix}" if fix else ""
        if self.details:
            text += f"\n\n{self.details}" if is_verbose() else f"\n  More: {_MORE}"
        return visible(text, keep="\n")


class BigmodelWarning(UserWarning):
    """Something that went on, though not as one would expect; the command line shows it on stderr."""

    def __str__(self) -> str:
        return visible(super().__str__(), keep="\n")


_FITTING = (
    "choose a model and a data set that fit each other; `bigmodel info MODEL` and `bigmodel data info NAME`"
    " show what they take and give."
)


class ShapeError(BigmodelError):
    """Shapes do not fit together."""

    usual_at_shell = _FITTING


class DtypeError(BigmodelError):
    """A number type that an op, layer or model cannot take."""

    usual_at_shell = _FITTING


class GraphError(BigmodelError):
    """A graph that cannot be built, differentiated or planned."""


class ConfigError(BigmodelError):
    """A hyper-parameter, option or configuration file with a value that makes no sense."""


class UsageError(ConfigError):
    """A call or command line that is wrong in itself; the command line exits with 2."""


class UnknownNameError(BigmodelError):
    """A name the registry does not know; the message lists the nearest ones."""


class UnknownParameterError(BigmodelError, AttributeError):
    """An attribute of a layer that is neither a field nor a parameter."""


class PluginError(BigmodelError):
    """A plugin that cannot be imported, registered or used."""


class DataError(BigmodelError):
    """A data set or file of data that is missing, empty, corrupt or does not fit the model."""


class EstimatorError(DataError, ValueError):
    """Samples or targets that an estimator cannot learn from; a ValueError, too, as in scikit-learn."""


class CheckpointError(BigmodelError):
    """A checkpoint that is missing, torn, tampered with or does not fit the model."""


class RunInUseError(CheckpointError):
    """A run whose folder another process is writing."""


class ExportError(BigmodelError):
    """A model that cannot be exported, or an exported file that does not compute the same."""


class DeviceError(BigmodelError):
    """A device that is not there or cannot be used."""


class MissingPackageError(BigmodelError):
    """A package that something optional needs and that is not installed."""


class OutOfMemoryError(BigmodelError):
    """Something that needs more memory than the machine or the device has."""


class NumericsError(BigmodelError):
    """A loss, a gradient or an update that is NaN or infinite."""

    is_written = False
    """Whether variables hold such numbers now; nothing was changed otherwise."""

    loss: float | None = None
    """The loss of the step, if it was computed."""


class KernelError(BigmodelError):
    """A kernel that cannot be compiled or reported a failure."""
