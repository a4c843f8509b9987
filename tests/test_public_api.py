"""Nothing public comes, goes or changes its arguments without being meant and said."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import bigmodel_core as bm
from tests.test_docs import script

RECORDED = Path(__file__).parents[1] / "docs" / "public_api.txt"


@pytest.fixture(scope="module")
def api() -> Any:
    return script("make_api")


def test_the_public_api_is_as_recorded(api: Any) -> None:
    changes = api.changed(RECORDED.read_text(encoding="utf-8").splitlines(), api.lines())
    lines = "\n".join(line for name in changes for line in changes[name])
    assert not changes, (
        f"the public API has changed:\n{lines}\n"
        "If that is meant, say it under Unreleased in CHANGELOG.md and run `python docs/make_api.py`."
    )


def test_a_change_is_told_by_its_name(api: Any) -> None:
    before = ["bm.kernel(function)", "bm.Op.grad(*values)", "bm.load(path)"]
    after = ["bm.kernel(function, *, cost=1.0)", "bm.Op.grad(*values)", "bm.save(path)"]
    assert api.changed(before, after) == {
        "bm.kernel": ["- bm.kernel(function)", "+ bm.kernel(function, *, cost=1.0)"],
        "bm.load": ["- bm.load(path)"],
        "bm.save": ["+ bm.save(path)"],
    }


def test_a_change_that_the_changelog_does_not_mention_is_not_recorded(
    api: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changelog, target = tmp_path / "CHANGELOG.md", tmp_path / "public_api.txt"
    old = [line for line in api.lines() if not line.startswith("bm.kernel(")]
    for text, ends in (("Faster.", 1), ("`bm.kernel` has come.", 0)):
        changelog.write_text(f"# Changelog\n\n## [Unreleased]\n\n- {text}\n\n## [0.1]\n\n- kernel\n")
        target.write_text("\n".join(old) + "\n")
        api.main.__globals__.update(TARGET=target, CHANGELOG=changelog)
        assert api.main() == ends
        assert ("bm.kernel(" in target.read_text()) == (ends == 0)
    assert "+ bm.kernel(function, *, views=None" in capsys.readouterr().err


def test_members_of_classes_are_listed(api: Any) -> None:
    @dataclass(frozen=True)
    class Swish(bm.Layer):
        beta: float = 1.0

        def steep(self, by: float) -> float:
            return self.beta * by

    Swish.__module__ = "bigmodel_swish"
    found = list(api.members("bm.Swish", Swish))
    assert {"bm.Swish(beta=1.0)", "bm.Swish.steep(by)"} <= set(found)


@pytest.mark.parametrize(
    "name",
    ["kernel", "cuda_kernel", "cpu_launches", "cuda_launches", "elementwise", "register_kernel", "status"],
)
def test_help_for_authors_of_kernels_has_an_example(name: str) -> None:
    text = inspect.getdoc(getattr(bm, name)) or ""
    assert ">>> " in text or "```python" in text
    assert "see `" not in text, "help that sends to a private class"
