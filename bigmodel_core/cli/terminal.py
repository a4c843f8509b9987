"""What commands print: tables and lines for people, JSON for programs.

With `--json` stdout holds one JSON document and nothing else; what is meant for people goes to stderr.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from bigmodel_core.errors import visible as visible
from bigmodel_core.nn.quantities import count as count
from bigmodel_core.nn.quantities import duration as duration
from bigmodel_core.nn.quantities import size as size

if TYPE_CHECKING:
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and messages on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no hints.")]

UNLIMITED = 10_000
"""Columns of output that goes to a file or another program: nothing is wrapped there."""


class Output:
    """Where a command's results and messages go.

    Args:
        as_json: whether stdout is for one JSON document.
        quiet: whether messages are left out; results and errors are not.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet
        self._console: Console | None = None

    @property
    def console(self) -> Console:
        """The terminal, or its stand-in when output goes to a file."""
        if self._console is None:
            from rich.console import Console

            stream = sys.stderr if self.as_json else sys.stdout
            self._console = Console(
                file=stream, width=None if stream.isatty() else UNLIMITED, highlight=False, soft_wrap=False
            )
        return self._console

    def say(self, text: str = "", style: str | None = None) -> None:
        """A line for people; if nobody can read it, the command does its work all the same."""
        if not self.quiet:
            with suppress(OSError):
                self.line(text, style)

    def line(self, text: str = "", style: str | None = None) -> None:
        """A line of a result; it is printed with `--quiet`, too."""
        self.console.print(visible(text, keep="\n"), style=style, markup=False, soft_wrap=True)

    def pairs(self, values: Mapping[str, Any]) -> None:
        """Names and values, one pair a line, the values aligned."""
        grid = _grid()
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column()
        for name, value in values.items():
            if value is not None and value != "":
                grid.add_row(_text(name), _text(value))
        self._print(grid)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Sequence[str] = ()
    ) -> None:
        """A table; the columns named in `numbers` are aligned to the right."""
        grid = _grid()
        grid.show_header = True
        for name in columns:
            grid.add_column(
                _text(name), justify="right" if name in numbers else "left", no_wrap=name != columns[-1]
            )
        for row in rows:
            grid.add_row(*(_text(cell) for cell in row))
        self._print(grid)

    def matrix(self, rows: Any) -> None:
        """A metric that is an array, such as a confusion matrix."""
        for row in rows:
            cells = row if isinstance(row, list) else [row]
            self.line(
                "  " + " ".join(f"{cell:.4f}" if isinstance(cell, float) else f"{cell:>5}" for cell in cells)
            )

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Inside, what a trainer shows goes to stderr if stdout is for JSON."""
        with redirect_stdout(sys.stderr) if self.as_json else nullcontext():
            yield

    def _print(self, grid: Any) -> None:
        if self.console.is_terminal:
            self.console.print(grid)
            return
        with self.console.capture() as capture:
            self.console.print(grid)
        for line in capture.get().splitlines():  # the last column is padded, which files need not hold
            print(line.rstrip(), file=self.console.file)

    def result(self, value: Any) -> None:
        """The result for programs, if `--json` is given."""
        if self.as_json:
            text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
            print(re.sub(r"[^\x20-\x7e\n]", _json_letter, text), file=_answers or sys.stdout, flush=True)


_answers: TextIO | None = None
"""What stdout was before it was kept for the answer."""


@contextmanager
def stdout_kept_for(as_json: bool) -> Iterator[None]:
    """Inside, stdout holds the JSON document and nothing else: what plugins print goes to stderr, also where
    they or programs they start write to its file descriptor."""
    global _answers
    if not as_json:
        yield
        return
    before = _answers
    with _descriptor_kept() as _answers:
        try:
            with redirect_stdout(sys.stderr):
                yield
            _answers.flush()
        finally:
            _answers = before


@contextmanager
def _descriptor_kept() -> Iterator[TextIO]:
    """A stream to what stdout is; inside, descriptor 1 leads to stderr if it is that of stdout."""
    stream = sys.stdout
    try:
        is_own = stream.fileno() == 1
    except (OSError, ValueError, AttributeError):  # a test or a notebook has put another in its place
        is_own = False
    if not is_own:
        yield stream
        return
    stream.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with open(kept, "w", encoding=stream.encoding, errors=stream.errors, closefd=False) as answers:
            yield answers
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _grid() -> Any:
    from rich.table import Table

    return Table(box=None, pad_edge=False, show_header=False, header_style="bold", padding=(0, 2, 0, 0))


def _text(value: Any) -> Any:
    from rich.text import Text

    return Text("" if value is None else visible(str(value), keep="\n"))


def _json_letter(found: re.Match[str]) -> str:
    """A letter of a JSON document; one that cannot be printed as JSON escapes it, which means the same."""
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays, paths and tuples as JSON has them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def metric(value: Any) -> str:
    """A metric's value: four decimals, or four digits before the exponent if it is tiny or huge.

    >>> metric(0.97218), metric(3.4e-5), metric([[3, 0], [1, 2]])
    ('0.9722', '3.4000e-05', '[[3, 0], [1, 2]]')
    """
    from bigmodel_core.train.history import number

    return number(value) if isinstance(value, float) else str(value)
