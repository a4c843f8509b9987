"""Help is there at once, imports nothing it does not need, and the documentation is complete."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import typer

from bigmodel_core.cli.app import COMMANDS
from tests.processes import run_code

from .conftest import run_fresh, run_here

NAMES = [name for section in COMMANDS.values() for name in section]
HEAVY = {"llvmlite", "numba", "numpy", "onnx", "onnxruntime", "PIL", "pluggy", "rich", "safetensors"}
DOCS = Path(__file__).parents[2] / "docs" / "cli.md"

IMPORTED = """
import json, sys
from bigmodel_core.cli.app import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(name.partition(".")[0] for name in sys.modules)]))
"""


def imported_by(*arguments: str) -> set[str]:
    done = run_code(IMPORTED, *arguments, timeout=60)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    return set(modules)


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), *((name, "--help") for name in NAMES)])
def test_help_imports_nothing_heavy_and_no_plugin(arguments: tuple[str, ...]) -> None:
    found = imported_by(*arguments)
    assert not found & HEAVY
    assert not {name for name in found if name.startswith("bigmodel_")} - {"bigmodel_core"}


def test_help_comes_within_three_tenths_of_a_second_over_bare_python() -> None:
    def seconds(*command: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, *command], capture_output=True, check=True, timeout=60)
        return time.perf_counter() - began

    bare = min(seconds("-c", "pass") for _ in range(5))
    assert min(seconds("-m", "bigmodel_core.cli", "--help") for _ in range(5)) - bare < 0.3


def test_help_lists_every_command_with_what_it_is_for() -> None:
    text = run_here("--help").out
    for section, commands in COMMANDS.items():
        assert f"{section}:" in text
        for name, line in commands.items():
            assert re.search(rf"^  {name} +{re.escape(line[:40])}", text, re.MULTILINE)


def test_help_says_what_exit_codes_mean() -> None:
    assert "0 done, 1 failed, 2 wrong usage, 130 stopped" in " ".join(run_here("--help").out.split())


def test_no_command_shows_the_help_and_is_wrong_usage() -> None:
    result = run_fresh()
    assert result.code == 2
    assert "Train and deploy" in result.out + result.err


@pytest.mark.parametrize("name", NAMES)
def test_each_command_explains_itself_in_80_columns(name: str) -> None:
    result = run_here(name, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: bigmodel {name}")
    assert max(map(len, result.out.splitlines())) <= 80


def options_of(name: str) -> set[str]:
    command = typer.main.get_command(import_module(f"bigmodel_core.cli.{name}").app)
    parts = getattr(command, "commands", {}).values() or [command]
    return {
        option for part in parts for item in part.params for option in item.opts if option.startswith("--")
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_documented(name: str) -> None:
    text = DOCS.read_text()
    assert f"bigmodel {name}" in text
    missing = {option for option in options_of(name) if f"`{option}" not in text}
    assert not missing


def test_the_version_is_that_of_the_package() -> None:
    from bigmodel_core import __version__

    assert run_here("--version").out == f"bigmodel {__version__}\n"
