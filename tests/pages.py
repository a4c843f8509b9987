"""Pages whose blocks are typed one after another by a reader with an empty folder.

What a block is, a line before it says:

    `path`                  the file's text
    Below, in `path`:       more at the end of that file
    In `path`:              definitions that replace those of the same names there
    Part of `path`:         lines that the file has
    <!-- fails -->          it ends with an error

A `python` block without one runs in one scope with those before it, an `sh` block in the shell; neither may
fail. A `text` block is what the block before it prints, or lines of it in their order: `...` stands for
anything, a time such as 0.7 ms for any, and after `sh` a number with a point for any such number, and a
number of checks that passed for any.

As a script, `python pages.py PAGE` runs all blocks of a page in the current folder.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

FENCED = re.compile(r"(?:^(?P<before>[^\n]+)\n\n?)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S)
FORMS = {"write": "`{}`", "append": "Below, in `{}`:", "replace": "In `{}`:", "find": "Part of `{}`:"}
NUMBER = re.compile(r"\d+(\.\d+)+(e[+-]?\d+)?")
COUNT = re.compile(r"\d+(?= (passed|skipped|deselected)\b)")
TIME = re.compile(r"\d+\.\d+(?= (ms|s)\b)")


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Args:
        language: after the fence.
        code: its text.
        line: of the page, where it begins.
        before: the line before it.
    """

    language: str
    code: str
    line: int
    before: str

    @property
    def fails(self) -> bool:
        """Whether it has to end with an error."""
        return self.before == "<!-- fails -->"

    @property
    def file(self) -> tuple[str, str] | None:
        """What is done with a file, such as "write", and its path; None for code that is run."""
        for kind, form in FORMS.items():
            if found := re.fullmatch(form.format(r"([\w/.-]+\.\w+)"), self.before):
                return kind, found[1]
        return None


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    for found in FENCED.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 2
        yield Block(found["language"], found["code"], line, (found["before"] or "").strip())


def missing(expected: str, printed: str, *, exact: bool = True) -> str | None:
    """The first line of what was expected that was not printed after those before it; None if all were."""

    def form(line: str) -> str:
        line = " ".join(line.split())
        return TIME.sub("0.0", line) if exact else COUNT.sub("0", NUMBER.sub("0.0", line))

    rest = iter([form(line) for line in printed.splitlines()])
    for line in filter(None, map(str.strip, expected.splitlines())):
        pattern = ".*".join(map(re.escape, form(line).split("...")))
        if not any(re.fullmatch(pattern, candidate) for candidate in rest):
            return line
    return None


def replaced(text: str, definitions: str) -> str:
    """A module with other definitions under the names that some have.

    Raises:
        KeyError: the module does not have one.
    """
    lines = text.splitlines(keepends=True)
    new = {node.name: node for node in ast.parse(definitions).body if hasattr(node, "name")}
    old = {node.name: node for node in ast.parse(text).body if getattr(node, "name", None) in new}
    for name in sorted(new, key=lambda name: -old[name].lineno):
        start = min([old[name].lineno, *(mark.lineno for mark in old[name].decorator_list)])
        begin = min([new[name].lineno, *(mark.lineno for mark in new[name].decorator_list)])
        code = definitions.splitlines(keepends=True)[begin - 1 : new[name].end_lineno]
        lines[start - 1 : old[name].end_lineno] = code
    return "".join(lines)


# Running ----------------------------------------------------------------------------------------------------


class Reader:
    """Types the blocks of a page."""

    def __init__(self, name: str) -> None:
        self.module = ModuleType(name)
        sys.modules[name] = self.module
        self.printed, self.was_shell = "", False

    def do(self, block: Block) -> None:
        """One block.

        Raises:
            AssertionError: it did not do what the page says.
        """
        if block.language == "text":
            line = missing(block.code, self.printed, exact=not self.was_shell)
            assert line is None, f"this line was not printed: {line}\n\nbut:\n{self.printed}"
        elif block.file is not None:
            self.write(*block.file, block.code)
        elif block.language in ("python", "sh"):
            self.was_shell = block.language == "sh"
            self.printed, failed = self.shell(block) if self.was_shell else self.python(block)
            assert failed == block.fails, f"{'failed' if failed else 'did not fail'}:\n{self.printed}"
        else:
            raise AssertionError(f"a block of {block.language!r} says not which file it is of")

    @staticmethod
    def write(kind: str, path: str, code: str) -> None:
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        before = "" if kind == "write" else place.read_text("utf-8")
        if kind == "find":
            assert code in before, f"{path} does not have these lines"
            return
        place.write_text(
            replaced(before, code) if kind == "replace" else f"{before}\n\n{code}".lstrip(), "utf-8"
        )

    @staticmethod
    def shell(block: Block) -> tuple[str, bool]:
        done = subprocess.run(
            ["bash", "-euc", block.code],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout, done.returncode != 0

    def python(self, block: Block) -> tuple[str, bool]:
        place = Path(f".block_{block.line}.py").absolute()  # kernels are read from where they are
        place.write_text(block.code, "utf-8")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            try:
                exec(compile(block.code, str(place), "exec"), self.module.__dict__)
            except Exception as error:
                if not block.fails:
                    traceback.print_exc()
                return f"{out.getvalue()}{type(error).__name__}: {error}", True
        return out.getvalue(), False


def main(page: Path) -> None:
    """Type all blocks of a page here."""
    sys.path.insert(0, os.getcwd())
    reader = Reader(f"page_{page.stem}")  # no name that a package has
    for block in blocks(page.read_text("utf-8")):
        try:
            reader.do(block)
        except AssertionError as error:
            raise SystemExit(f"{page.name}:{block.line}: {error}") from None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
