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
WITH_EXAMPLES = (
    "adding_an_op",
    "data",
    "explain",
    "from_keras",
    "from_pytorch",
    "generate",
    "models",
    "onnx",
    "plugins",
    "reports",
    "scikit_learn",
    "shrinking",
    "training",
)
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


def run_each(pieces: list[str], **scope: object) -> None:
    """Run pieces of code in one scope; if one fails, the error shows it."""
    for code in pieces:
        try:
            exec(code, scope)
        except Exception as error:
            error.add_note(code)
            raise


def test_the_first_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(python_blocks(ROOT / "README.md")[0].replace("epochs=20", "epochs=2"), scope)
    assert (tmp_path / "model.onnx").exists()


def test_the_examples_of_the_page_on_models_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_each(python_blocks(ROOT / "docs" / "models.md"))


def test_the_examples_of_the_page_on_data_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_each(python_blocks(ROOT / "docs" / "data.md"), __name__="__main__")
    assert (tmp_path / "runs" / "augmented" / "run.json").exists()


def test_the_examples_of_the_page_on_tables_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_each([code.replace("epochs=40", "epochs=2") for code in python_blocks(ROOT / "docs" / "tables.md")])


def test_the_examples_of_the_page_on_recommenders_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_each(python_blocks(ROOT / "docs" / "recommenders.md"))


def test_the_examples_of_the_page_on_training_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_each([code.replace("epochs=40", "epochs=2") for code in python_blocks(ROOT / "docs" / "training.md")])


def test_the_examples_of_the_page_on_generating_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_each(python_blocks(ROOT / "docs" / "generate.md"))


def test_the_examples_of_the_page_on_reports_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_each(python_blocks(ROOT / "docs" / "reports.md"))


def test_the_examples_of_the_page_on_scikit_learn_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_each(python_blocks(ROOT / "docs" / "scikit_learn.md"))
    assert (tmp_path / "model.onnx").exists()


def test_the_examples_of_the_page_on_privacy_run() -> None:
    run_each(python_blocks(ROOT / "docs" / "privacy.md"))


def test_the_examples_of_the_page_on_fairness_run() -> None:
    run_each(python_blocks(ROOT / "docs" / "fairness.md"))


def test_the_examples_of_the_page_on_onnx_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_each(python_blocks(ROOT / "docs" / "onnx.md"))
    assert {path.name for path in tmp_path.iterdir()} >= {"model.onnx", "digits.onnx", "forecaster.onnx"}


def test_the_examples_of_the_page_on_smaller_models_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_each(python_blocks(ROOT / "docs" / "shrinking.md"))


def beside_each_other(page: str, *columns: str) -> list[str]:
    """The code of a page that sets two columns side by side, in its order.

    Args:
        page: its name.
        columns: of tables, as their heads say; of a cell, the code that it begins with. Blocks of Python are
            ours, and `py` is theirs, taken if there is more than one column.
    """
    found: list[str] = []
    position = None
    for part in re.split(r"(```\w+\n.*?```)", (ROOT / "docs" / f"{page}.md").read_text(), flags=re.DOTALL):
        if part.startswith("```"):
            language, _, code = part.strip("`").partition("\n")
            found += [code] * (language == "python" or (language == "py" and len(columns) > 1))
            continue
        for line in part.splitlines():
            cells = [cell.strip() for cell in line.split("|")][1:-1]
            if set(columns) & set(cells):
                position = [cells.index(column) for column in columns if column in cells]
            elif not cells:
                position = None
            for index in position or []:
                if code_first := re.match("`([^`]+)`", cells[index]):
                    found.append(code_first[1])
    return found


@pytest.mark.parametrize("page", ["from_keras", "from_pytorch"])
def test_our_side_of_pages_for_newcomers_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_each(beside_each_other(page, "bigmodel"))


@pytest.mark.filterwarnings("ignore")
def test_both_sides_of_the_page_for_users_of_pytorch_run(
    torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_each(beside_each_other("from_pytorch", "PyTorch", "bigmodel"))


def test_ops_do_what_stands_beside_them_on_the_page_for_users_of_pytorch(torch: Any) -> None:
    import numpy as np

    import bigmodel_core as bm

    generator = np.random.default_rng(0)
    names = ("x", "a", "b", "table", "tokens")
    arrays = [generator.normal(size=(3, 20)).round().astype("float32") for _ in range(4)]
    arrays.append(np.array([2, 0, 2]))
    tensors = {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}
    rows = re.findall(
        r"^\| `(.*)` \| `(.*)` \|$", (ROOT / "docs" / "from_pytorch.md").read_text(), re.MULTILINE
    )
    pairs = [
        pair
        for theirs, ours in rows
        if "`, `" in theirs
        for pair in zip(theirs.split("`, `"), ours.split("`, `"), strict=True)
    ]
    assert len(pairs) == 13
    for theirs, ours in pairs:
        expected = eval(theirs, {"torch": torch, "F": torch.nn.functional, **tensors})

        def computed(*values: bm.Value, code: str = ours) -> bm.Value:
            return eval(code, {"bm": bm, **dict(zip(names, values, strict=True))})

        np.testing.assert_allclose(bm.testing.compute(computed, *arrays), expected, atol=1e-6, err_msg=ours)


NOTES = sorted((ROOT / "docs" / "design").glob("0*.md"))


def test_the_index_lists_every_design_note() -> None:
    index = (ROOT / "docs" / "design" / "README.md").read_text()
    assert re.findall(r"\]\((0.*?\.md)\)", index) == [note.name for note in NOTES]


@pytest.mark.parametrize("note", NOTES, ids=lambda path: path.stem)
def test_files_that_a_design_note_names_exist(note: Path) -> None:
    files = {str(path) for path in (ROOT / "bigmodel_core").rglob("*.py")}
    for named in re.findall(r"`([\w/]+\.py)`", note.read_text()):
        assert any(path.endswith(f"/{named}") for path in files), f"{note.name} names {named}"
