"""The examples are whole: the plugins pass the conformance kit, their models train and export."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.environments import environment
from tests.processes import run_code, run_pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
LAYERS = {
    "swish": "layers.Swish(beta=1.5)",
    "rms_norm": "layers.RootMeanSquareNorm()",
    "kan": "layers.KAN(4)",
    "distances": "layers.Prototypes(8)",
    "mamba": "layers.Reshape((4, 2)), bm.layers.Mamba(states=4), bm.layers.Flatten()",
}
OPTIMIZERS = {"muon": "optimizers.Muon(0.05)"}
DATASETS = {"parquet": "parquet:target=kind"}
EXPORTERS = {"c": ".c"}
PLUGINS = LAYERS | OPTIMIZERS | DATASETS | EXPORTERS
"""What each example offers: a layer, an optimizer, a data set or an exporter."""
examples = pytest.mark.parametrize("name", PLUGINS)


def modules(name: str) -> list[Path]:
    """The files of an example that are installed: one module, or those of a package."""
    folder = EXAMPLES / f"bigmodel_{name}"
    return sorted((folder / f"bigmodel_{name}").glob("*.py")) or [folder / f"bigmodel_{name}.py"]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment on top of this one, with the plugins in it as an installer leaves them."""
    python = environment(tmp_path_factory.mktemp("environment"))
    site = Path(run_code("import site; print(site.getsitepackages()[0])", executable=python).stdout.strip())
    for name in PLUGINS:
        module, dashed = f"bigmodel_{name}", name.replace("_", "-")
        for file in modules(name):
            place = site / file.relative_to(EXAMPLES / module)
            place.parent.mkdir(exist_ok=True)
            place.write_text(file.read_text())
        info = site / f"{module}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: bigmodel-{dashed}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[bigmodel]\n{dashed} = {module}\n")
    return python


def test_every_example_is_tested() -> None:
    plugins = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert plugins == {f"bigmodel_{name}" for name in PLUGINS}


@pytest.mark.slow
def test_the_plugins_pass_the_conformance_kit(python: Path) -> None:
    """All of it: on the CPU, in CUDA's simulator, after a reload, in ONNX Runtime.

    In one process: each would start Numba, ONNX Runtime, the simulator and a process to reload in.
    """
    folders = {name: f"bigmodel_{name}/tests" for name in PLUGINS}
    done = run_pytest(
        "-p", "no:xdist", "-vv", *folders.values(), cwd=EXAMPLES, executable=python, timeout=900
    )
    spared = ("however it is cut", "gradient of the gradient", "it has no kernel of", "it has no op of")
    for name, folder in folders.items():
        lines = [line for line in done.stdout.splitlines() if f"{folder}/" in line and "::" in line]
        assert any("PASSED" in line for line in lines), name
        assert any("cuda equals cpu" in line and "PASSED" in line for line in lines) or name not in LAYERS
        skipped = [line for line in lines if "SKIPPED" in line and "torch" not in line]  # it is optional
        assert all(any(words in line for words in spared) for line in skipped), skipped
        assert not skipped or name not in ("swish", "rms_norm", "distances", "mamba")  # which have kernels


@examples
def test_the_plugin_takes_of_bigmodel_what_bm_offers(name: str) -> None:
    imported = {
        module
        for file in modules(name)
        for node in ast.walk(ast.parse(file.read_text()))
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom) and node.module and not node.level
            else []
        )
    }
    own = f"bigmodel_{name}"
    found = {
        module for module in imported if module.startswith("bigmodel") and module.partition(".")[0] != own
    }
    assert found == {"bigmodel_core"}


TRAIN = """
import numpy as np, sys
import bigmodel_core as bm
model = bm.Sequential(bm.layers.Dense(8), bm.LAYER, bm.layers.Dense(2))
x = np.random.default_rng(0).standard_normal((64, 4)).astype("float32")
y = (x[:, 0] > x[:, 1]).astype("int64")
step = bm.compile(model, "cross_entropy", bm.OPTIMIZER)
for _ in range(60):
    loss = step(x, y)
bm.export(model, sys.argv[1])
print(loss)
"""


@pytest.mark.parametrize("name", LAYERS | OPTIMIZERS)
def test_a_model_with_the_plugin_learns_and_exports(name: str, python: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    layer, optimizer = LAYERS.get(name, "layers.Relu()"), OPTIMIZERS.get(name, "optimizers.Adam(0.05)")
    code = TRAIN.replace("LAYER", layer).replace("OPTIMIZER", optimizer)
    done = run_code(code, target, executable=python)
    assert float(done.stdout) < 0.1
    assert target.stat().st_size > 0


SHELL = """
import json, sys
from pathlib import Path
import bigmodel_core as bm
from bigmodel_core.cli.app import main
data = sys.argv[1]
place = Path("samples")
place.mkdir()
bm.registry.get("dataset", data.partition(":")[0]).example(place)
for line in (
    f"data info {data} --data-dir samples",
    f"train mlp --data {data} --data-dir samples --epochs 30 --out run",
    "evaluate run",
    "export model.onnx --run run",
    f"predict model.onnx --data {data} --data-dir samples --json",
):
    sys.argv[1:] = line.split()
    assert main() == 0, line
"""


@pytest.mark.parametrize("name", DATASETS)
def test_a_model_of_the_data_learns_and_predicts_in_the_shell(
    name: str, python: Path, tmp_path: Path
) -> None:
    done = run_code(SHELL, DATASETS[name], executable=python, cwd=tmp_path)
    assert json.loads(done.stdout[done.stdout.rindex("\n{") :])["accuracy"] > 0.7


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler 'cc'")
def test_a_model_is_exported_to_c_in_the_shell(python: Path, tmp_path: Path) -> None:
    """Raw values go in and probabilities come out; what stands in the way is said, and nothing is written."""
    shell = """
        import json, sys
        from bigmodel_core.cli.app import main
        for line in sys.argv.pop(1).split(";"):
            sys.argv[1:] = line.split()
            print(line, "->", main())
    """
    lines = (
        "train mlp --data digits --epochs 1 --out run --quiet",
        "export model.c --run run --with-preprocessing",
        "export other.c --run run --set compiler=no-such-cc",
        "export other.c --run run --set verify=false",
    )
    done = run_code(shell, ";".join(lines), executable=python, cwd=tmp_path, ends=None)
    assert [line.rpartition(" -> ")[2] for line in done.stdout.splitlines() if " -> " in line] == list("0010")
    assert "5 of 5 samples agree" in done.stdout and "NOT VERIFIED" in done.stdout
    assert "--set compiler=/path/to/cc" in done.stderr
    command = ["cc", "-O2", "-std=c99", "-DMODEL_MAIN", "model.c", "-o", "model", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    image = " ".join(map(str, range(16))) + " 0" * 48
    done = subprocess.run([tmp_path / "model"], input=image, capture_output=True, text=True, check=True)
    found = [float(number) for number in done.stdout.split()]
    assert len(found) == 10 and sum(found) == pytest.approx(1, abs=1e-5)


BENCHMARKS = {
    "distances": ((6, 5, 4), "training step"),
    "mamba": ((2, 5, 6, 3), "with gradients"),
    "parquet": ((400, 64, 16), "training"),
}
"""Sizes, and what is timed last."""


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_runs(name: str) -> None:
    folder, (sizes, last) = EXAMPLES / f"bigmodel_{name}", BENCHMARKS[name]
    code = f"import runpy, sys; runpy.run_path(sys.argv[1])['main']([{sizes}], 1)"
    done = run_code(code, folder / "bench.py", beside=[folder])
    rows = [[part.strip() for part in line.split("|")[1:3]] for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == 2 * [str(sizes)[1:-1]] and rows[1][1] == last


def test_selective_copying_runs(python: Path, tmp_path: Path) -> None:
    script = EXAMPLES / "bigmodel_mamba" / "selective_copying.py"
    code = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    done = run_code(code, script, "--steps", "2", cwd=tmp_path, executable=python)
    assert "step 2: loss 2." in done.stdout


OPTIONS = {"gan": [["--data", "digits"], ["--data", "digits", "--penalty"]]}
"""What scripts are run with, besides few steps."""
SCRIPTS = [
    pytest.param(script, options, id=" ".join([script.stem, *options]))
    for script in sorted(EXAMPLES.glob("*.py"))
    for options in OPTIONS.get(script.stem, [[]])
]


@pytest.mark.parametrize(("script", "options"), SCRIPTS)
def test_a_script_is_short_and_runs(script: Path, options: list[str], tmp_path: Path) -> None:
    """With few steps: it works, it does not learn much."""
    assert len(script.read_text().splitlines()) <= 60
    done = run_code(
        "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')",
        script,
        "--steps",
        "3",
        *options,
        cwd=tmp_path,
    )
    assert done.stdout.strip()


def test_a_model_with_two_losses_trains_and_is_exported(tmp_path: Path) -> None:
    run_code(
        """
        from pathlib import Path
        import onnxruntime
        import two_losses
        found = two_losses.main(63, Path("two.onnx"))
        assert found["digit_accuracy"] > 0.8, found
        assert abs(found["loss"] - found["digit_loss"] - 5 * found["ink_loss"]) < 1e-6
        session = onnxruntime.InferenceSession("two.onnx")
        assert [output.name for output in session.get_outputs()] == ["digit", "ink"]
        """,
        beside=[EXAMPLES],
        cwd=tmp_path,
    )
