"""The page on series is typed as it stands."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.pages import Reader, blocks

from .conftest import run_here

PAGE = Path(__file__).parents[2] / "docs" / "series.md"


def test_the_page_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = Reader(PAGE.name)
    for block in blocks(PAGE.read_text("utf-8")):
        if block.language != "sh":
            reader.do(block)
        elif "pip download" not in block.code:  # real data are not there
            lines = block.code.splitlines()
            typed = [line for line in lines if line.startswith("bigmodel ")]
            others = "\n".join(line for line in lines if line not in typed)
            subprocess.run(["bash", "-c", others], check=True, timeout=60)
            for line in typed:
                result = run_here(*shlex.split(line)[1:])
                assert result.code == 0, f"{line}\n{result.err}"
