"""The guide for plugin authors is typed as it stands, page by page, each in a fresh environment."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests import pages
from tests.environments import environment
from tests.processes import python

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
PAGES = [path for path in sorted(GUIDE.glob("*.md")) if path.name != "README.md"]
PIP = """#!{python}
import os, sys
os.execv({python!r}, [{python!r}, "-m", "pip", *sys.argv[1:]])
"""
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # as pip reads it: no isolation
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
"""What `pip install` needs to know where there is no network."""


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_reader_sees_what_the_page_says(page: Path, tmp_path: Path) -> None:
    executable = environment(tmp_path / "environment")
    pip = executable.with_name("pip")
    pip.write_text(PIP.format(python=str(executable)))
    pip.chmod(0o755)
    (work := tmp_path / "work").mkdir()
    path = os.pathsep.join([str(executable.parent), os.environ["PATH"]])
    python(pages.__file__, page, executable=executable, cwd=work, PATH=path, PYTHONWARNINGS=None, **OFFLINE)


def test_the_index_lists_every_page() -> None:
    index = (GUIDE.parent / "README.md").read_text("utf-8")
    assert {f"guide/{page.name}" for page in PAGES} == set(re.findall(r"\]\((guide/\w+\.md)\)", index))


# What a reader would stumble over is found ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```python\n1 / 0\n```", "page.md:2: failed:"),
        ("```sh\nfalse\n```", "page.md:2: failed:"),
        ("<!-- fails -->\n```python\nprint(3)\n```", "page.md:3: did not fail:"),
        ("<!-- fails -->\n```sh\ntrue\n```", "page.md:3: did not fail:"),
        ("```python\nprint(2)\n```\n\n```text\n3\n```", "page.md:6: this line was not printed: 3"),
        ("```sh\necho b; echo a\n```\n\n```text\na\nb\n```", "page.md:6: this line was not printed: b"),
        (
            "```sh\necho 1 failed in 2.0 s\n```\n\n```text\n0 failed in 1.0 s\n```",
            "was not printed: 0 failed",
        ),
        ("<!-- fails -->\n```python\n1 / 0\n```\n\n```text\nKeyError: ...\n```", "was not printed: KeyError"),
        ("```toml\na = 1\n```", "page.md:2: a block of 'toml' says not which file it is of"),
        (
            "`a.toml`\n\n```toml\na = 1\n```\n\nPart of `a.toml`:\n\n```toml\nb = 1\n```",
            "does not have these",
        ),
    ],
    ids=lambda text: text.split("\n")[-2] if text.startswith(("`", "<")) else "",
)
def test_a_block_that_does_not_do_what_the_page_says_is_named(page: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"{page}\n")
    assert said in python(pages.__file__, "page.md", cwd=tmp_path, ends=1).stderr


def test_what_a_page_writes_is_what_later_blocks_find(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(
        "`notes.py`\n\n```python\ndef one():\n    return 0\n\n\nNUMBER = one()\n```\n\n"
        "In `notes.py`:\n\n```python\ndef one():\n    return 1\n```\n\n"
        "Below, in `notes.py`:\n\n```python\nTWO = NUMBER + 1\n```\n\n"
        "```python\nfrom notes import TWO\nimport notes\nprint(TWO, 'in 3.5 s')\n```\n\n"
        "```text\n2 in 0.1 s\n```\n"
        "```python\nassert notes.NUMBER == 1\n```\n"
    )
    python(pages.__file__, "page.md", cwd=tmp_path)
    assert (tmp_path / "notes.py").read_text().endswith("NUMBER = one()\n\n\nTWO = NUMBER + 1\n")
