"""The tests bite: each fails where the check, rule or padding that it is for is taken out of the engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernels.guard_cases import CASES, arrays_of, program_of, with_kernels_of_their_own
from tests.mutants.mutants import MUTANTS, OVER_READS

Ask = Callable[[str, str], dict[str, Any]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Run a test with a mutant, in another process."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tests.mutants.server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as server:
        assert server.stdin is not None and server.stdout is not None

        def asked(name: str, test: str) -> dict[str, Any]:
            print(json.dumps((name, test)), file=server.stdin, flush=True)
            answer: dict[str, Any] = json.loads(server.stdout.readline())
            return answer

        yield asked
        server.stdin.close()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_found(name: str, ask: Ask) -> None:
    test = MUTANTS[name].test
    found = ask(name, test)
    assert found["failed"] == [test], found["printed"]
    assert found["code"] == 1


def test_nothing_fails_without_a_mutant(ask: Ask) -> None:
    found = ask("", MUTANTS["no index is checked"].test)
    assert (found["failed"], found["code"]) == ([], 0), found["printed"]


def test_every_over_read_has_a_mutant() -> None:
    declared = set()
    for case in CASES.values():
        for node in with_kernels_of_their_own(program_of(case, arrays_of(case, case.dtypes[0]))):
            specs = [value.spec.bind(dict.fromkeys(value.spec.names(), 1)) for value in node.inputs]
            module = type(node.op).__module__.rpartition(".")[2]
            declared |= {
                (module, type(node.op).__name__, at) for at in node.op.cpu.over_reads(node.op, specs)
            }
    assert sorted(declared) == sorted(OVER_READS)
