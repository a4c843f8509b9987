"""The guide for plugin authors is typed as it stands, page by page, each in a fresh environment."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_reader_sees_what_the_page_says(page: Path, tmp_path: Path) -> None:
    executable = environment(tmp_path / "environment")
    pip = executable.with_name("pip")
    pip.write_text(PIP.format(python=str(executable)))
    pip.chmod(0o755)
    (work := tmp_path / "work").mkdir()
    path = os.pathsep.join([str(executable.parent), os.environ["PATH"]])
    python(pages.__file__, page, executable=executable, cwd=work, PATH=path, PYTHONWARNINGS=None, **OFFLINE)
