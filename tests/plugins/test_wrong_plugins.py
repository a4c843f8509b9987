"""For each check there is a plugin with one small fault that it finds; docs/conformance.md lists them."""

from __future__ import annotations

import re
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bigmodel_core as bm
from bigmodel_core import registry
from bigmodel_core.testing import checks_for, layer_checks, loss_checks, optimizer_checks, run_checks, worker
from bigmodel_core.testing.child import IS_POSSIBLE
from tests.plugins.wrong import kernels, parts, plugin
from tests.plugins.wrong.table import EVERYTHING, FAULTS, SECTIONS, SOUND, Fault

pytestmark = pytest.mark.skipif(not IS_POSSIBLE, reason="needs mmap, mprotect and fork")
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All classes of the table as an installed plugin, which other processes find, too."""
    site = tmp_path_factory.mktemp("site")
    info = site / "bigmodel_wrong-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bigmodel-wrong\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[bigmodel]\nwrong = {plugin.__name__}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BIGMODEL_DATA_DIR", raising=False)
        patch.setattr(sys, "path", [str(site), *sys.path])
        for process in (worker.FRESH, worker.SIMULATOR):
            process.stop()  # the next one is told where the plugin is
        registry.reset()
        yield
        for process in (worker.FRESH, worker.SIMULATOR):
            process.stop()
    registry.reset()


def reason(fault: Fault) -> str:
    """What the check says of the fault."""
    check = next(check for check in fault.checks() if check.name == fault.check)
    with pytest.raises(Exception) as raised:
        check()
    assert not isinstance(raised.value, unittest.SkipTest), f"it was skipped: {raised.value}"
    return f"{type(raised.value).__name__}: {raised.value}"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.text)
def test_the_check_finds_the_fault(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault.check != "shapes and dtypes":  # kernels of one number type are enough, and half the time
        for module in (layer_checks, loss_checks, optimizer_checks):
            monkeypatch.setattr(module, "COMPUTED_FLOATS", ("float32",))
    assert re.search(fault.says, reason(fault), re.DOTALL)


@pytest.mark.parametrize("cls", SOUND, ids=lambda cls: cls.__name__)
def test_what_is_sound_passes(cls: type[Any]) -> None:
    report = run_checks(checks_for(cls(), *SOUND[cls]))
    of_no_use = {"no kernel", "exported = False", "are not labels", "no reference"}
    for outcome in report.outcomes:
        is_right = outcome.status == "passed" or any(text in outcome.reason for text in of_no_use)
        assert is_right, (outcome.check, outcome.reason)


def test_files_that_were_named_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are wrong are a failure, not files that are missing."""

    def failed(**options: Any) -> dict[str, str]:
        found = run_checks(checks_for(parts.Fileless, **options)).outcomes
        return {outcome.check.name: outcome.reason for outcome in found if outcome.status == "failed"}

    folder = tmp_path / "fileless"
    folder.mkdir()
    parts.Rows.example(folder)
    assert not failed(data_dir=folder)
    monkeypatch.setenv("BIGMODEL_DATA_DIR", str(tmp_path))
    assert not failed()
    (folder / "rows.npy").unlink()
    assert "there is no rows.npy" in failed()["loads"]


@pytest.mark.parametrize("check", [kernels.MEMORY, kernels.CUTS])
def test_what_might_end_the_process_is_not_run_again(check: str) -> None:
    """Where kernels leave their memory nothing else is tried; other faults spoil only their own checks."""
    fault = next(item for item in FAULTS if item.check == check)
    report = run_checks(fault.checks())
    failed = {outcome.check.name: outcome.reason for outcome in report.outcomes if outcome.status == "failed"}
    assert "\n" not in failed[check]
    if check == kernels.MEMORY:
        assert list(failed) == [check]
        others = {outcome.reason for outcome in report.outcomes if outcome.check.name not in ("runs", check)}
        assert others == {f"the check '{check}' fails"}
    else:
        assert kernels.MEMORY not in failed


# The table --------------------------------------------------------------------------------------------------


def test_the_page_lists_the_faults() -> None:
    found: dict[str, list[tuple[str, str]]] = {}
    for part in PAGE.read_text().split("\n## ")[1:]:
        heading = part.partition("\n")[0]
        found[heading] = sorted(re.findall(r"^\| ([^|]*[^|\s]) +\| `(.*)` +\|$", part, re.MULTILINE))
    assert found == {
        section: sorted((item.text, item.check) for item in FAULTS if item.section == section)
        for section in SECTIONS
    }


def test_no_check_is_without_a_fault() -> None:
    """Each name of a check, of each kind of plugin, stands in the table."""
    named = {section: {item.check for item in FAULTS if item.section == section} for section in SECTIONS}
    kinds = {kind: registry.classes(kind) for kind in registry.KINDS}
    subjects: list[Any] = [cls() for cls in SOUND]
    subjects += [bm.models.Mlp(), kernels.op_of(kernels.right, kernels.right)()]
    used: dict[str, set[str]] = {section: set() for section in SECTIONS}
    for subject in subjects:
        section = next(name for name, bases in SECTIONS.items() if isinstance(subject, bases))
        for check in checks_for(subject, *SOUND.get(type(subject), ())[:1]):
            place = EVERYTHING if check.name in named[EVERYTHING] else section
            used[place].add(check.name)
    assert used == named
    seen = {registry.origin(type(item)).kind for item in subjects if registry.origin(type(item))}  # type: ignore[union-attr]  # it was asked
    assert seen == set(kinds)
