"""New plugins: each kind of package is whole, passes its checks, and is of use as it stands."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from bigmodel_core.cli.new_plugin import KINDS
from tests.environments import environment
from tests.processes import python, run_code, run_pytest

from .conftest import Command, Result, run_all, run_fresh, run_here

ROOT = Path(__file__).parents[2]
EACH_KIND = pytest.mark.parametrize("kind", KINDS)
FILES = {
    ".gitignore",
    ".github/workflows/ci.yml",
    "LICENSE",
    "README.md",
    "pyproject.toml",
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new package of each kind, and beside their code what an installer would write."""
    folder = tmp_path_factory.mktemp("new")
    run_all(folder, *(("plugins", "new", f"soft-{kind}", "--kind", kind) for kind in KINDS))
    for package in folder.iterdir():
        project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
        info = package / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        points = "\n".join(f"{key} = {value}" for key, value in project["entry-points"]["bigmodel"].items())
        (info / "entry_points.txt").write_text(f"[bigmodel]\n{points}\n")
    return folder


def with_package(package: Path, *arguments: object, cwd: Path | None = None) -> Result:
    """Run a command in a process that finds a package, too."""
    return run_fresh(*arguments, cwd=cwd, beside=[package])


# Whole ------------------------------------------------------------------------------------------------------


@EACH_KIND
def test_a_new_package_is_complete(packages: Path, kind: str) -> None:
    package = packages / f"bigmodel-soft-{kind}"
    files = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert files >= FILES | {f"bigmodel_soft_{kind}/{name}" for name in ("__init__.py", "py.typed")}
    assert any(re.fullmatch(r"tests/test_\w+\.py", file) for file in files)
    for file in files:
        text = (package / file).read_text()
        assert not re.search(r"\{\{[\w.]+\}\}", text + file), f"{file} has a placeholder"
        if file.endswith(".py"):
            assert ast.get_docstring(ast.parse(text))
            assert len(text.splitlines()) <= 120
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert KINDS[kind] in project["description"] and project["license"] == "MIT"
    assert f"bigmodel-soft-{kind}" in (package / "LICENSE").read_text()


@EACH_KIND
def test_a_new_package_runs_on_github_what_its_readme_says(packages: Path, kind: str) -> None:
    package = packages / f"bigmodel-soft-{kind}"
    steps = re.findall("- run: (.*)", (package / ".github" / "workflows" / "ci.yml").read_text())
    first = blocks(package / "README.md", "sh")[0]
    assert steps == first.splitlines()
    assert steps == ["pip install -e '.[test]'", f"bigmodel plugins check soft-{kind}", "python -m pytest"]


def test_a_new_package_is_styled(packages: Path) -> None:
    for package in packages.iterdir():
        # As if alone: this project has other settings than its plugins.
        python(
            "-m", "ruff", "check", "--no-cache", "--select", "B,C4,E,F,I,PIE,RUF,SIM,UP,W", ".", cwd=package
        )
        python("-m", "ruff", "format", "--no-cache", "--check", ".", cwd=package)


def test_a_new_package_is_typed(packages: Path) -> None:
    python(
        "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", f"--cache-dir={os.devnull}",
        *(path.parent for path in packages.rglob("__init__.py")),
        cwd=packages,
        MYPYPATH=os.pathsep.join(map(str, (ROOT, ROOT / "plugins", ROOT / "exporters"))),
    )  # fmt: skip


def test_a_new_package_imports_what_bm_offers(packages: Path) -> None:
    for file in packages.rglob("bigmodel_soft_*/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bigmodel_core"):
                assert node.module in ("bigmodel_core", "bigmodel_core.errors"), file
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("bigmodel_core.") for alias in node.names), file


def test_templates_are_installed() -> None:
    """Setuptools leaves out files whose names begin with a dot."""
    folder = ROOT / "bigmodel_core" / "cli" / "templates"
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
    assert {path.name for path in folder.iterdir()} == {"common", *KINDS}


def test_every_kind_is_documented() -> None:
    *most, last = KINDS
    said = f"{', '.join(most)} or {last}."
    assert said in " ".join(run_here("plugins", "new", "--help").out.split())
    page = (ROOT / "docs" / "plugins.md").read_text()
    section = page.partition("## A package to begin with")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(KINDS)


# Passing its checks -----------------------------------------------------------------------------------------


def test_new_packages_of_all_kinds_pass_their_own_tests(packages: Path) -> None:
    """The conformance kit and more, all packages being installed at once."""
    found = sorted(packages.iterdir())
    done = run_pytest("-vv", *(package / "tests" for package in found), cwd=packages, beside=found)
    for kind in KINDS:
        conformance = rf"^\S*test_\w+\.py::test_conformance\[soft[-_]{kind}-.* PASSED"
        assert len(re.findall(conformance, done.stdout, re.MULTILINE)) >= 3, kind
    assert "cuda equals cpu" in done.stdout


def test_check_takes_the_name_of_the_distribution_too(packages: Path) -> None:
    result = with_package(
        packages / "bigmodel-soft-metric", "plugins", "check", "bigmodel_soft-metric", "--json"
    )
    assert result.code == 0, result.out + result.err
    assert {item["subject"] for item in result.json["checks"]} == {"soft_metric"}


def test_a_model_whose_plugin_is_gone_says_which_package_brings_it(packages: Path, tmp_path: Path) -> None:
    site = packages / "bigmodel-soft-layer"
    run = tmp_path / "run"
    command = ("train", "mlp", "--set", "activation=soft-layer", "--epochs", 1, "--out", run, "-q")
    made = with_package(site, *command)
    assert made.code == 0, made.err
    result = run_fresh("evaluate", run)
    assert result.code == 1
    assert "bigmodel-soft-layer" in result.err and "Traceback" not in result.err


def test_a_file_that_only_its_exporter_knows_is_not_said_to_be_read(packages: Path, trained: Path) -> None:
    site = packages / "bigmodel-soft-exporter"
    place = packages / "model.json"
    result = with_package(site, "export", place, cwd=trained)
    assert result.code == 0, result.err
    assert f"Wrote {place}" in result.out and "Next" not in result.out
    assert json.loads(place.read_text())["model"] == "mlp"
    place.unlink()


# Its name and kind ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wave", "bigmodel-wave", "bigmodel_wave"])
def test_a_plugin_is_named_without_the_prefix(bigmodel: Command, tmp_path: Path, name: str) -> None:
    result = bigmodel("plugins", "new", name, "--json")
    assert result.code == 0, result.err
    assert result.json["name"] == "wave" and result.json["folder"] == "bigmodel-wave"
    project = tomllib.loads((tmp_path / "bigmodel-wave" / "pyproject.toml").read_text())["project"]
    assert project["name"] == "bigmodel-wave"
    assert project["entry-points"]["bigmodel"] == {"wave": "bigmodel_wave"}


def test_new_says_what_to_do_next(bigmodel: Command) -> None:
    out = bigmodel("plugins", "new", "bigmodel-wave").out
    assert "pip install -e bigmodel-wave" in out and "bigmodel plugins check wave" in out


@pytest.mark.parametrize(
    ("kind", "said"),
    [("optimiser", "Did you mean optimizer?"), ("data-set", "Did you mean dataset?"), ("qqq", "layer, op,")],
)
def test_a_wrong_kind_names_the_nearest(bigmodel: Command, tmp_path: Path, kind: str, said: str) -> None:
    result = bigmodel("plugins", "new", "wave", "--kind", kind)
    assert result.code == 2
    assert said in result.err and "layer, op, optimizer, dataset, model" in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Wave", "layer"),
        ("2d", "layer"),
        ("lambda", "layer"),
        ("bigmodel-", "layer"),
        ("relu", "layer"),
        ("layers", "optimizer"),
        ("adam", "optimizer"),
        ("none", "layer"),
        ("any", "layer"),
        ("value-error", "metric"),
        ("report", "exporter"),
        ("forward", "op"),
        ("sin", "op"),
        ("abs", "op"),
        ("reference", "op"),
    ],
)
def test_a_name_that_would_break_the_package_is_refused(
    bigmodel: Command, tmp_path: Path, name: str, kind: str
) -> None:
    result = bigmodel("plugins", "new", name, "--kind", kind)
    assert result.code == 2 and "Fix:" in result.err
    assert not list(tmp_path.iterdir())


def test_a_new_package_overwrites_nothing(bigmodel: Command, tmp_path: Path) -> None:
    (tmp_path / "bigmodel-wave").mkdir()
    result = bigmodel("plugins", "new", "wave")
    assert result.code == 2 and "already exists" in result.err
    assert not list((tmp_path / "bigmodel-wave").iterdir())


# Installed --------------------------------------------------------------------------------------------------


def blocks(readme: Path, language: str) -> list[str]:
    """The blocks of a language in a README."""
    return re.findall(rf"```{language}\n(.*?)\n```", readme.read_text(), re.DOTALL)


def shell(text: str, executable: Path, cwd: Path) -> str:
    """Run commands as a user types them, in an environment; none may fail."""
    path = os.pathsep.join([str(executable.parent), os.environ["PATH"]])
    environ = {**os.environ, "PATH": path, "PYTHONWARNINGS": ""}
    done = subprocess.run(
        ["bash", "-euxc", text],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


USES = """
import json, os, shlex, sys
from bigmodel_core.cli.app import main
for folder, shell, python in json.loads(sys.argv.pop(1)):
    os.chdir(folder)
    for line in shell:
        command, *arguments = shlex.split(line)
        if command == "bigmodel":
            sys.argv[1:] = arguments
            assert main() == 0, line
        else:
            assert [command, arguments[0]] == ["python", "-c"], line
            exec(arguments[1], {})
    for text in python:
        exec(text, {})
"""
"""Does what READMEs say. One process starts once; a package that pip installs is seen below."""


@pytest.mark.slow
def test_new_packages_do_what_their_readmes_say(packages: Path, tmp_path: Path) -> None:
    """With all of them at once: every line of each README after the installation, from an empty folder."""
    found, uses = [packages / f"bigmodel-soft-{kind}" for kind in KINDS], []
    for package in found:
        (work := tmp_path / package.name).mkdir()
        _, *shells = blocks(package / "README.md", "sh")
        assert shells
        lines = [line for text in shells for line in text.splitlines()]
        uses.append((str(work), lines, blocks(package / "README.md", "python")))
    run_code(USES, json.dumps(uses), beside=found)


@pytest.mark.slow
def test_a_plugin_begins_works_and_is_deployed_within_two_minutes(tmp_path: Path) -> None:
    """From an empty folder, without an edit, kernels being compiled anew."""
    began = time.monotonic()
    assert run_fresh("plugins", "new", "wobble", cwd=tmp_path).code == 0
    executable = environment(tmp_path / "environment", tmp_path / "bigmodel-wobble")
    out = shell(
        f"""
        export BIGMODEL_CACHE_DIR={tmp_path / "cache"}
        bigmodel plugins check wobble
        bigmodel train mlp --set activation=wobble
        bigmodel export model.onnx
        """,
        executable,
        tmp_path,
    )
    assert "0 failed" in out
    found = run_code(
        """
        import numpy as np, onnxruntime
        import bigmodel_core as bm
        data = bm.datasets.load("digits")
        session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
        (scores,) = session.run(None, {session.get_inputs()[0].name: data.test.x})
        print(np.mean(scores.argmax(-1) == data.test.y))
        """,
        cwd=tmp_path,
    )
    assert float(found.stdout) > 0.9
    assert time.monotonic() - began < 120
