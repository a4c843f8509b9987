"""The commands about plugins: broken ones are isolated and shown, checks run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bigmodel_core.cli.app import main
from bigmodel_core.errors import is_verbose
from tests.processes import run_code

from .conftest import Command, Result, run_fresh


def install(site: Path, distribution: str, plugin: str, module: str, source: str) -> None:
    """Leave a package with one module as an installer does."""
    info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[bigmodel]\n{plugin} = {module}\n")
    (site / f"{module}.py").write_text(source)


def with_site(site: Path, *arguments: object, cwd: Path | None = None) -> Result:
    """Run a command in a process that finds the packages in a folder, too."""
    return run_fresh(*arguments, cwd=cwd, beside=[site])


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin that fails when it is imported."""
    site = tmp_path_factory.mktemp("broken")
    install(site, "bigmodel-broken", "broken", "broken_plugin", "import a_package_nobody_has\n")
    return site


def test_a_broken_plugin_is_listed_with_its_reason_and_breaks_nothing(broken: Path) -> None:
    result = with_site(broken, "plugins", "list", "--json")
    assert result.code == 0
    found = {item["name"]: item for item in result.json}
    assert found["broken"]["status"] == "failed" and "a_package_nobody_has" in found["broken"]["reason"]
    assert found["broken"]["distribution"] == "bigmodel-broken" and found["broken"]["version"] == "1.0"
    assert found["layers"]["status"] == "ok" and "dense" in found["layers"]["contents"]["layer"]
    assert with_site(broken, "info", "mlp").code == 0


def test_a_broken_plugin_is_an_error_where_asked_for(broken: Path) -> None:
    result = with_site(broken, "--strict-plugins", "info", "mlp")
    assert result.code == 1
    assert "bigmodel-broken 1.0" in result.err and "a_package_nobody_has" in result.err
    listed = with_site(broken, "--strict-plugins", "plugins", "list")
    assert listed.code == 1 and "failed" in listed.out


def test_a_broken_plugin_shows_its_traceback_to_its_author(broken: Path) -> None:
    result = with_site(broken, "plugins", "info", "broken")
    assert result.code == 0
    assert "Traceback" in result.out and "broken_plugin.py" in result.out


def test_a_broken_plugin_fails_its_checks(broken: Path) -> None:
    result = with_site(broken, "plugins", "check", "broken")
    assert result.code == 1 and "a_package_nobody_has" in result.err


def test_doctor_says_what_is_broken(broken: Path) -> None:
    result = with_site(broken, "doctor", "--json")
    assert result.code == 1
    finding = next(item for item in result.json["findings"] if item["name"] == "plugins")
    assert finding["status"] == "failed" and "BIGMODEL_DISABLE_PLUGINS=broken" in finding["fix"]


def test_a_plugin_that_is_switched_off_is_not_imported(tmp_path: Path) -> None:
    source = f"open({str(tmp_path / 'imported')!r}, 'w').close()\n"
    install(tmp_path / "site", "bigmodel-loud", "loud", "loud_plugin", source)
    result = with_site(tmp_path / "site", "--disable-plugin", "loud", "plugins", "list", "--json")
    assert {item["name"]: item["status"] for item in result.json}["loud"] == "blocked"
    assert not (tmp_path / "imported").exists()
    with_site(tmp_path / "site", "plugins", "list")
    assert (tmp_path / "imported").exists()


def test_two_plugins_of_one_name_are_told_apart(tmp_path: Path) -> None:
    source = (
        "from dataclasses import dataclass\nimport bigmodel_core as bm\n"
        "@dataclass(frozen=True)\nclass Relu(bm.Layer):\n    '''Another.'''\n"
        "    def __call__(self, x):\n        return x\n"
        "@bm.hookimpl\ndef bigmodel_layers():\n    return [Relu]\n"
    )
    install(tmp_path, "bigmodel-other", "other", "other_plugin", source)
    result = with_site(tmp_path, "plugins", "info", "relu")
    assert result.code == 2
    assert "bigmodel-other" in result.err and "other:Relu" in result.err and "layers:Relu" in result.err
    assert "Another." in with_site(tmp_path, "plugins", "info", "other:Relu").out


def test_info_shows_options_with_their_defaults(bigmodel: Command) -> None:
    (found,) = bigmodel("plugins", "info", "adam", "--json").json
    options = {option["name"]: option for option in found["options"]}
    assert found["kind"] == "optimizer" and found["qualified_name"] == "optimizers:Adam"
    assert options["beta1"]["default"] == 0.9 and options["beta1"]["takes"] == "a number"
    text = bigmodel("plugins", "info", "dense").out
    assert "(needed)" in text and "units" in text


def test_info_shows_what_a_plugin_offers(bigmodel: Command) -> None:
    found = bigmodel("plugins", "info", "metrics", "--json").json
    assert "metrics:Accuracy" in {item["qualified_name"] for item in found["classes"]}
    assert "confusion_matrix" in bigmodel("plugins", "info", "metrics").out


def test_check_counts_what_ran(bigmodel: Command) -> None:
    result = bigmodel("plugins", "check", "tanh", "--json")
    assert result.code == 0
    assert result.json["ok"] and result.json["failed"] == 0 and result.json["passed"] > 5
    names = {item["check"] for item in result.json["checks"] if item["status"] == "passed"}
    assert {"gradient", "onnx"} <= {name.split()[0] for name in names} | names


WRONG_GRADIENT = '''
from dataclasses import dataclass
import bigmodel_core as bm

def double(x):
    return 2 * x

@dataclass(frozen=True)
class DoubleOp(bm.Op):
    cpu, cuda = bm.elementwise(double)
    def infer(self, x): return x
    def grad(self, dy, y, x): return (dy,)
    def onnx(self, emit, x): return emit.Mul(x, emit.const(2.0))

@dataclass(frozen=True)
class Double(bm.Layer):
    """Twice x, with a gradient that is wrong."""
    def __call__(self, x): return DoubleOp()(x)

@bm.hookimpl
def bigmodel_layers(): return [Double]
'''


def test_check_finds_a_wrong_gradient(tmp_path: Path) -> None:
    install(tmp_path, "bigmodel-double", "double", "double_plugin", WRONG_GRADIENT)
    result = with_site(tmp_path, "plugins", "check", "double", "--skip", "cuda*")
    assert result.code == 1
    assert "failed  gradient" in result.out and "finite differences" in result.out


def test_check_of_nothing_is_a_failure(tmp_path: Path) -> None:
    install(tmp_path, "bigmodel-empty", "empty", "empty_plugin", "")
    result = with_site(tmp_path, "plugins", "check", "empty")
    assert result.code == 1 and "Nothing was checked" in result.out


def test_list_shows_names_and_whose_they_are(bigmodel: Command, tmp_path: Path) -> None:
    out = bigmodel("plugins", "list").out
    for name in (
        "dense",
        "cross_entropy",
        "early_stopping",
        "cosine",
        "image-folder",
        "random-crop",
        "vgg16",
    ):
        assert name in out
    source = (
        "from dataclasses import dataclass\nimport bigmodel_core as bm\n"
        "@dataclass(frozen=True)\nclass Relu(bm.Layer):\n    '''Another.'''\n"
        "@bm.hookimpl\ndef bigmodel_layers():\n    return [Relu]\n"
    )
    install(tmp_path, "bigmodel-other", "other", "other_plugin", source)
    both = with_site(tmp_path, "plugins", "list").out
    assert "other:relu" in both and "layers:relu" in both and "layers:dense" not in both


def test_check_takes_options_shapes_and_names_of_checks(bigmodel: Command) -> None:
    done = bigmodel(
        "plugins", "check", "leaky_relu:slope=0.3", "--input", "2x3", "--only", "grad*,unknown", "--json"
    )
    assert done.code == 0, done.err
    assert [item["check"] for item in done.json["checks"]] == [
        "gradient",
        "gradient of the gradient",
        "unknown options",
    ]
    assert all(item["seconds"] >= 0 for item in done.json["checks"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["csv", "--set", "delimeter=x"], "did you mean delimiter?"),
        (["csv", "--set", "test_fraction=2"], "test_fraction is 2.0"),
        (["tanh", "--only", "gradeint"], "did you mean 'gradient'?"),
        (["tanh", "--skip", "cudda"], "there is no check 'cudda'"),
        (["tanh", "--input", "2x"], "'2x' is not a shape"),
        (["tanh", "--input", "2x3:int33"], "no number type 'int33'"),
        (["tanh", "--data-dir", "."], "tanh offers no data set"),
        (["digits", "--input", "2x3"], "digits offers no layer, model, loss"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_check_refuses_what_would_reach_nothing(bigmodel: Command, arguments: list[str], said: str) -> None:
    done = bigmodel("plugins", "check", *arguments)
    assert done.code == 2 and said in done.err


def test_check_of_a_data_set_without_files_is_a_failure(bigmodel: Command, tmp_path: Path) -> None:
    done = bigmodel("plugins", "check", "csv", "--data-dir", tmp_path / "none")
    assert done.code == 1 and "no such file or folder" in done.out
    (tmp_path / "table.csv").write_text("a,b\n" + "".join(f"{n},{'xy'[n % 2]}\n" for n in range(20)))
    assert bigmodel("plugins", "check", "csv", "--data-dir", tmp_path).code == 0
    done = bigmodel("plugins", "check", "csv", "--data-dir", tmp_path, "--set", "target=c", "--json")
    assert done.code == 1
    (error,) = done.json["errors"]
    assert error["checks"] == ["loads"] and "no column is called 'c'" in error["reason"]


UNPROVEN = """
from dataclasses import dataclass
import bigmodel_core as bm

@dataclass(frozen=True)
class Named(bm.Layer):
    "Wants a name."
    name: str
    def __call__(self, x): return x

@bm.hookimpl
def bigmodel_layers(): return [Named]
"""


def test_check_of_a_class_of_which_nothing_ran_is_a_failure(tmp_path: Path) -> None:
    install(tmp_path, "bigmodel-named", "named", "named_plugin", UNPROVEN)
    result = with_site(tmp_path, "plugins", "check", "bigmodel-named")
    assert result.code == 1 and "Nothing that layer named does was checked" in result.out


SLOW = """
import time
import bigmodel_core as bm
bigmodel_api = ">=1,<2"
time.sleep(0.3)
@bm.hookimpl
def bigmodel_layers(): return []
"""


def test_list_and_info_show_load_times_and_declared_versions(tmp_path: Path) -> None:
    install(tmp_path, "bigmodel-slow", "slow", "slow_plugin", SLOW)
    install(tmp_path, "bigmodel-none", "none", "none_plugin", SLOW.replace("return []", "[]"))
    waits = "import sys\nif 'bigmodel_core.nn.layer' not in sys.modules: raise OSError('too early')\n"
    install(tmp_path, "bigmodel-a", "a", "a_plugin", waits)
    install(tmp_path, "bigmodel-old", "old", "old_plugin", SLOW.replace("<2", "<1"))
    listed = with_site(tmp_path, "plugins", "list", "--json").json
    found = {item["name"]: item for item in listed}
    assert found["slow"]["seconds"] >= 0.3 and found["slow"]["api"] == ">=1,<2"
    assert found["none"]["status"] == "failed" and "bigmodel_layers returned None" in found["none"]["reason"]
    assert found["a"]["status"] == "ok", "what the host imports counts as the time of the first plugin"
    assert found["old"]["status"] == "skipped" and found["old"]["api"] == ">=1,<1"
    shown = with_site(tmp_path, "plugins", "info", "bigmodel-slow").out
    assert ">=1,<2 (this version has 1.0)" in shown and re.search(r"Load time +0\.[3-9]\d s", shown)


def test_fifty_plugins_cost_help_nothing(tmp_path: Path) -> None:
    """Not even the files that say what is installed are opened."""
    for number in range(50):
        install(tmp_path, f"bigmodel-p{number}", f"p{number}", f"plugin_{number}", "raise OSError")
    code = f"""
        import sys
        opened = []
        sys.addaudithook(lambda event, given: event == "open" and opened.append(str(given[0])))
        from bigmodel_core.cli.app import main
        assert main(["--help"]) == 0
        print([path for path in opened if path.startswith({str(tmp_path)!r})])
        from bigmodel_core import registry
        print(sum(item.status == "failed" for item in registry.plugins()))
    """
    lines = run_code(code, beside=[tmp_path]).stdout.splitlines()
    assert lines[-2:] == ["[]", "50"]


def test_an_unknown_name_lists_all_where_they_are_few(bigmodel: Command) -> None:
    said = bigmodel("train", "mlp", "--optimizer", "adamm").err
    assert "nearest names are adam" in said
    for name in ("adagrad", "adam", "adamw", "rmsprop", "sgd"):
        assert name in said.split("Fix:")[1]


UNCOMPILABLE = """
from dataclasses import dataclass
import numpy as np
import bigmodel_core as bm

def odd(out, x, start, stop):
    out[0] = np.zeros(4)[0]

@dataclass(frozen=True)
class OddOp(bm.Op):
    cpu = bm.kernel(odd)
    def infer(self, x): return x
    def grad(self, dy, y, x): return (dy,)
    def onnx(self, emit, x): return emit.Identity(x)

@dataclass(frozen=True)
class Odd(bm.Layer):
    def __call__(self, x): return OddOp()(x)

@bm.hookimpl
def bigmodel_layers(): return [Odd]
"""


def test_a_kernel_that_cannot_be_compiled_is_a_few_lines(tmp_path: Path) -> None:
    install(tmp_path / "site", "bigmodel-odd", "odd", "odd_plugin", UNCOMPILABLE)
    train = ("train", "mlp", "--set", "activation=odd", "--epochs", 1)
    result = with_site(tmp_path / "site", *train, cwd=tmp_path)
    assert result.code == 1
    assert f"{tmp_path / 'site' / 'odd_plugin.py'}, line 7 makes an array" in result.err
    assert len(result.err[result.err.index("Error:") :].splitlines()) <= 8


def test_the_shell_can_ask_for_all_that_errors_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGMODEL_VERBOSE", "0")
    assert not is_verbose()
    assert main(["--verbose", "info", "mlp"]) == 0 and is_verbose()
