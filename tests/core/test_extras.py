"""Packages that may be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bigmodel_core.errors import MissingPackageError
from bigmodel_core.extras import optional


def test_what_is_missing_is_a_sentence_that_names_the_extra() -> None:
    with pytest.raises(MissingPackageError) as caught:
        optional("no_such_package.part", "plot", "plots")
    assert str(caught.value) == (
        'plots need the package no_such_package, which is not installed.\n  Fix: pip install "bigmodel[plot]"'
    )


def test_a_plain_dependency_is_named_itself() -> None:
    with pytest.raises(MissingPackageError, match="pip install no_such_package"):
        optional("no_such_package", None, "files")


def test_a_package_that_is_broken_says_so_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_inside.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        optional("broken_inside", "plot", "plots")
