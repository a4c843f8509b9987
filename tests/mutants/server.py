"""A process that runs tests with a fault in the engine, each in a copy of itself.

It has imported what they need and compiled nothing. A line of the input names a mutant; a line of the output
holds, as JSON, the tests that failed, and what pytest printed.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from typing import Any

import pytest

from tests.mutants.mutants import MUTANTS

NEEDED = (
    "bigmodel_core",
    "bigmodel_core.ops",
    "bigmodel_layers",
    "bigmodel_optimizers",
    "numba",
    "hypothesis",
)


class Failures:
    """Notes the tests that fail, or do not come to run."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.names.append(report.nodeid)


def answer(name: str, test: str) -> dict[str, Any]:
    """What the test of a mutant does in a copy of this process; of no mutant, if the name is empty."""
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile("w+") as failed:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for stream in (1, 2):
                    os.dup2(printed.fileno(), stream)
                if name:
                    MUTANTS[name].apply()
                failures = Failures()
                code = pytest.main([test, "-q", "-p", "no:cacheprovider"], plugins=[failures])
                json.dump(failures.names, failed)
                failed.flush()
            except BaseException as error:
                print(repr(error), flush=True)
            finally:
                sys.stdout.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        printed.seek(0)
        failed.seek(0)
        text = printed.read().decode(errors="replace")
        names = json.loads(failed.read() or "[]")
    return {"code": os.waitstatus_to_exitcode(status), "failed": names, "printed": text}


def serve() -> None:
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they take longer to load than a test to run
    for module in NEEDED:
        importlib.import_module(module)
    for line in sys.stdin:
        name, test = json.loads(line)
        print(json.dumps(answer(name, test)), flush=True)


if __name__ == "__main__":
    serve()
