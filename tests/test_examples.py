"""The examples are whole: the plugin passes the conformance kit, its model trains and exports."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.processes import run_code, run_pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "bigmodel_swish"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment on top of this one, with the example plugin in it as an installer leaves it."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, system_site_packages=False, with_pip=False)
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    site = Path(
        subprocess.check_output(
            [python, "-c", "import site; print(site.getsitepackages()[0])"], text=True
        ).strip()
    )
    # Folders of this environment, read as at its own start: an editable installation is found through them.
    lines = [f"import site; site.addsitedir({path!r})" for path in sys.path if path]
    (site / "outer.pth").write_text("\n".join(lines) + "\n")
    (site / "bigmodel_swish.py").write_text((EXAMPLE / "bigmodel_swish.py").read_text())
    info = site / "bigmodel_swish-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bigmodel-swish\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[bigmodel]\nswish = bigmodel_swish\n")
    return python


def test_the_example_plugin_passes_the_conformance_kit(python: Path) -> None:
    done = run_pytest("-p", "no:xdist", EXAMPLE / "tests", cwd=EXAMPLE, executable=python)
    assert " passed" in done.stdout and "failed" not in done.stdout


TRAIN = """
import numpy as np, sys
import bigmodel_core as bm
model = bm.Sequential(bm.layers.Dense(8), bm.layers.Swish(beta=1.5), bm.layers.Dense(2))
x = np.random.default_rng(0).standard_normal((64, 4)).astype("float32")
y = (x[:, 0] > x[:, 1]).astype("int64")
step = bm.compile(model, "cross_entropy", bm.optimizers.Adam(0.05))
for _ in range(60):
    loss = step(x, y)
bm.export(model, sys.argv[1])
print(loss)
"""


def test_a_model_with_the_example_plugin_learns_and_exports(python: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    done = run_code(TRAIN, target, executable=python)
    assert float(done.stdout) < 0.1
    assert target.stat().st_size > 0
