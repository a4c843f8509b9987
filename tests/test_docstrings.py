"""The examples in docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [ROOT, ROOT / "plugins", ROOT / "exporters"]


def modules_with_examples() -> list[str]:
    """The names of all modules whose text holds an example."""
    found = []
    for source in SOURCES:
        for path in sorted(source.glob("bigmodel_*/**/*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                found.append(
                    ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
                )
    return found


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted > 0, "the examples are not in a docstring"
    assert failed == 0, "see the captured output"
