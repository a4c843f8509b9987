"""Python in processes of its own: code, modules, pytest; and threads that begin together."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

Done = subprocess.CompletedProcess[str]


def python(
    *arguments: object,
    ends: int | None = 0,
    beside: Iterable[Path] = (),
    cwd: Path | None = None,
    timeout: float = 300,
    executable: str | Path = sys.executable,
    **variables: str | None,
) -> Done:
    """Run `python ARGUMENTS` in a fresh process; fails the test unless it ends with the exit code `ends`.

    Args:
        ends: None for any.
        beside: folders whose packages are found, before those that this process finds.
        variables: of the environment; None takes one away.
    """
    folders = [*map(str, beside)]
    if folders:
        variables["PYTHONPATH"] = os.pathsep.join([*folders, *filter(None, sys.path)])
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [str(executable), *map(str, arguments)],
        cwd=cwd,
        env={name: text for name, text in environment.items() if text is not None},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if ends is not None:
        assert done.returncode == ends, (
            f"exit code {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        )
    return done


def run_code(code: str, *arguments: object, ends: int | None = 0, **more: object) -> Done:
    """Run a piece of Python, which may be indented, as `python` does."""
    return python("-c", textwrap.dedent(code), *arguments, ends=ends, **more)


def run_pytest(*arguments: object, ends: int | None = 0, **more: object) -> Done:
    """Run pytest as `python` does; it leaves no cache behind."""
    return python("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, ends=ends, **more)


def run_in_threads(count: int, work: Callable[[int], object]) -> None:
    """Call `work` with the numbers 0, 1, ... in as many threads at once."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
