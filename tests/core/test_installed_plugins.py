"""What the host promises, with packages that pip has installed, good and bad ones at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.environments import environment
from tests.processes import Done, python, run_code

pytestmark = pytest.mark.slow

PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "bigmodel-{name}"
version = "1.0"
[project.entry-points.bigmodel]
{name} = "bigmodel_{name}"
[tool.setuptools]
py-modules = ["bigmodel_{name}"]
"""
HEAD = """
import os
from dataclasses import dataclass
import bigmodel_core as bm
if "IMPORTED" in os.environ:
    open(os.environ["IMPORTED"], "a").write(__name__ + "\\n")
"""
LAYER = (
    HEAD
    + """
def double(x):
    return 2 * x

@dataclass(frozen=True)
class {cls}Op(bm.Op):
    cpu, cuda = bm.elementwise(double)

@dataclass(frozen=True)
class {cls}(bm.Layer):
    "Twice its input."
    def __call__(self, x):
        return {cls}Op()(x)

@bm.hookimpl
def bigmodel_layers():
    return [{cls}]
"""
)
CALLBACK = (
    HEAD
    + """
@dataclass(frozen=True)
class Bell(bm.Callback):
    "Rings."
    def on_epoch_finish(self, trainer, epoch, logs):
        print("ring")

@bm.hookimpl
def bigmodel_callbacks():
    return [Bell]
"""
)
PACKAGES = {
    "polite": LAYER.format(cls="Polite"),
    "loud": "print('I am here')\n" + LAYER.format(cls="Loud"),
    "namesake": LAYER.format(cls="Dense"),
    "left": LAYER.format(cls="Twin"),
    "right": LAYER.format(cls="Twin"),
    "broken": "import a_package_nobody_has\n",
    "older": "bigmodel_api = '<1'\n" + LAYER.format(cls="Older"),
    "bell": CALLBACK,
}


def package(folder: Path, name: str) -> Path:
    """The project of a plugin."""
    home = folder / name
    home.mkdir(parents=True)
    (home / "pyproject.toml").write_text(PROJECT.format(name=name))
    (home / f"bigmodel_{name}.py").write_text(PACKAGES[name])
    return home


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with all packages."""
    folder = tmp_path_factory.mktemp("installed")
    return environment(folder / "environment", *(package(folder / "projects", name) for name in PACKAGES))


def bigmodel(executable: Path, *arguments: object, **more: object) -> Done:
    """Run a command in an environment, whatever its exit code."""
    return python("-m", "bigmodel_core.cli", *arguments, ends=None, executable=executable, **more)


def test_nothing_is_imported_before_it_is_used(installed: Path, tmp_path: Path) -> None:
    marks = tmp_path / "imported"
    assert bigmodel(installed, "--help", IMPORTED=str(marks)).returncode == 0
    run_code("import bigmodel_core as bm; bm.Sequential, bm.Op", executable=installed, IMPORTED=str(marks))
    assert not marks.exists()
    assert bigmodel(installed, "plugins", "info", "polite", IMPORTED=str(marks)).returncode == 0
    assert "bigmodel_polite" in marks.read_text().split()


def test_each_plugin_is_listed_as_it_is(installed: Path) -> None:
    """Bad ones with the reason, what they print apart from the JSON."""
    done = bigmodel(installed, "plugins", "list", "--json")
    assert done.returncode == 0 and "I am here" in done.stderr
    found = {item["name"]: item for item in json.loads(done.stdout)}
    status = {name: found[name]["status"] for name in PACKAGES}
    assert status == {
        **dict.fromkeys(("polite", "loud", "namesake", "left", "right"), "ok"),
        "broken": "failed",
        "bell": "failed",
        "older": "skipped",
    }
    assert "a_package_nobody_has" in found["broken"]["reason"]
    assert "on_epoch_finish" in found["bell"]["reason"] and "on_epoch_end" in found["bell"]["reason"]
    assert "<1" in found["older"]["reason"]
    assert {(found[name]["distribution"], found[name]["version"]) for name in PACKAGES} == {
        (f"bigmodel-{name}", "1.0") for name in PACKAGES
    }


def test_a_bad_plugin_is_an_error_only_where_asked_for(installed: Path) -> None:
    assert bigmodel(installed, "plugins", "info", "polite").returncode == 0
    strict = bigmodel(installed, "--strict-plugins", "plugins", "info", "polite")
    assert strict.returncode == 1 and "bigmodel-be" in strict.stderr + strict.stdout


def test_names_are_told_apart(installed: Path) -> None:
    """Only a user's own look-up is ambiguous; built-in models have the layers of their own package."""
    twin = bigmodel(installed, "plugins", "info", "twin")
    assert twin.returncode == 2
    assert all(name in twin.stderr for name in ("bigmodel-left", "bigmodel-right", "left:Twin", "right:Twin"))
    assert bigmodel(installed, "plugins", "info", "left:Twin").returncode == 0
    done = run_code(
        """
        import numpy as np
        import bigmodel_core as bm
        print(bm.models.Mlp(widths=(4,), classes=3)(np.ones((2, 5), "float32")).shape)
        print(bm.layers["namesake:Dense"]()(np.ones(2, "float32")))
        """,
        executable=installed,
    )
    assert done.stdout.split("\n")[:2] == ["(2, 3)", "[2. 2.]"]


@pytest.mark.parametrize(
    "switch",
    [{"BIGMODEL_DISABLE_PLUGINS": "bigmodel-polite"}, {"BIGMODEL_PLUGINS": "layers, left"}],
    ids=list,
)
def test_what_is_switched_off_is_not_imported(
    installed: Path, tmp_path: Path, switch: dict[str, str]
) -> None:
    marks = tmp_path / "imported"
    done = bigmodel(installed, "plugins", "list", "--json", IMPORTED=str(marks), **switch)
    assert {item["name"]: item["status"] for item in json.loads(done.stdout)}["polite"] == "blocked"
    imported = marks.read_text().split()
    assert "bigmodel_left" in imported and "bigmodel_polite" not in imported


def test_a_run_names_the_package_that_was_uninstalled(tmp_path: Path) -> None:
    project = package(tmp_path, "polite")
    executable = environment(tmp_path / "environment", project)
    command = ("train", "mlp", "--set", "activation=polite", "--epochs", 1, "--out", "run", "-q")
    assert bigmodel(executable, *command, cwd=tmp_path).returncode == 0
    assert bigmodel(executable, "evaluate", "run", cwd=tmp_path).returncode == 0
    python("-m", "pip", "uninstall", "-q", "-y", "bigmodel-polite", executable=executable)
    done = bigmodel(executable, "evaluate", "run", cwd=tmp_path)
    assert done.returncode == 1
    assert "bigmodel-polite" in done.stderr and "Traceback" not in done.stderr
