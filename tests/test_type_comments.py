"""Every check of types that is switched off says why, and there are few."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("bigmodel_core", "plugins", "exporters", "tests", "bench", "docs")
MARK = "type" + ": ignore"
LIMIT = 80


def _lines() -> dict[str, str]:
    return {
        f"{path.relative_to(ROOT)}:{number}": line
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MARK in line
    }


def test_each_says_which_check_and_why() -> None:
    said = re.compile(rf"# {MARK}\[[a-z-]+(,[a-z-]+)*\]  # \w")
    assert [place for place, line in _lines().items() if not said.search(line)] == []


def test_there_are_few() -> None:
    assert len(_lines()) <= LIMIT
