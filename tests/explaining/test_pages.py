"""The pages on explanations and on back-propagation are typed as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import Reader, blocks

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["backpropagation", "explain"])
def test_the_python_of_a_page_prints_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reader = Reader(f"page_{page}")
    was_python = False
    for block in blocks((DOCS / f"{page}.md").read_text("utf-8")):
        if block.language == "python" or (block.language == "text" and was_python):
            reader.do(block)
        was_python = block.language == "python"
