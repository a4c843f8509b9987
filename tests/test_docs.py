"""The documentation is complete and its links lead somewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bigmodel_core.registry import hookspecs

ROOT = Path(__file__).parents[1]
WITH_EXAMPLES = ("adding_an_op", "data", "models", "plugins", "training")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def script(name: str) -> Any:
    """The names of a script in the folder docs."""
    return SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / f"{name}.py")))


def test_the_reference_lists_every_public_name_as_it_is_now() -> None:
    assert (ROOT / "docs" / "reference.md").read_text() == script("make_reference").text(), (
        "run `python docs/make_reference.py`"
    )


def test_files_are_as_long_as_contributors_are_told() -> None:
    sizes = script("make_sizes")
    stated, measured = sizes.stated(), sizes.measured()
    assert list(stated) == list(measured), "run `python docs/make_sizes.py`"
    for room, limits in stated.items():
        for what, limit, lines in zip(("median", "longest file"), limits, measured[room], strict=True):
            assert lines <= limit, f"{room}: the {what} has {lines} lines, at most {limit} are agreed on"
            assert limit <= lines + sizes.SLACK, f"{room}: the {what} has only {lines} lines: lower {limit}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("hook", [name for name in dir(hookspecs) if name.startswith("bigmodel_")])
def test_every_hook_is_documented(hook: str) -> None:
    assert f"`{hook}`" in (ROOT / "docs" / "plugins.md").read_text()


@pytest.mark.parametrize("marker", ["main", "tests"])
def test_the_readme_has_one_line_for_each_set_up(marker: str) -> None:
    found = re.findall(
        rf"<!-- run: {marker} -->\n```sh\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert len(found) == 1 and "\n" not in found[0]


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{page}.md" for page in WITH_EXAMPLES)])
def test_python_blocks_are_valid(name: str) -> None:
    for block in python_blocks(ROOT / name):
        compile(block, name, "exec")


def test_the_first_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(python_blocks(ROOT / "README.md")[0].replace("epochs=20", "epochs=2"), scope)
    assert (tmp_path / "model.onnx").exists()


def test_the_examples_of_the_page_on_models_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    batches = [(np.zeros((4, 784), "float32"), np.zeros(4, "int64"))]
    scope: dict[str, object] = {"batches": batches}
    blocks = python_blocks(ROOT / "docs" / "models.md")
    exec("\n".join(block for block in blocks if "load_state(state)" not in block), scope)


def test_the_examples_of_the_page_on_data_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "__main__"}
    exec("\n".join(python_blocks(ROOT / "docs" / "data.md")), scope)
    assert (tmp_path / "runs" / "augmented" / "run.json").exists()


NOTES = sorted((ROOT / "docs" / "design").glob("0*.md"))


def test_the_index_lists_every_design_note() -> None:
    index = (ROOT / "docs" / "design" / "README.md").read_text()
    assert re.findall(r"\]\((0.*?\.md)\)", index) == [note.name for note in NOTES]


@pytest.mark.parametrize("note", NOTES, ids=lambda path: path.stem)
def test_files_that_a_design_note_names_exist(note: Path) -> None:
    files = {str(path) for path in (ROOT / "bigmodel_core").rglob("*.py")}
    for named in re.findall(r"`([\w/]+\.py)`", note.read_text()):
        assert any(path.endswith(f"/{named}") for path in files), f"{note.name} names {named}"
