"""What docs/adding_an_op.md says is so: its files make an op for every device of a copy of the packages."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.processes import run_code, run_pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adding_an_op.md").read_text("utf-8")
FILES = dict(re.findall(r"^`([\w/]+\.py)`\n\n```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
"""The files of the page, by path."""
IMPORT = "from bigmodel_layers.cumulative import CumulativeSum"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages, the files of the page, and the layer in the list of its package."""
    folder = tmp_path_factory.mktemp("site")
    for package in (
        ROOT / "bigmodel_core",
        *ROOT.glob("plugins/bigmodel_*"),
        *ROOT.glob("exporters/bigmodel_*"),
    ):
        if package.suffix != ".egg-info":
            shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in FILES.items():
        target = folder / path.removeprefix("plugins/")
        assert not target.exists(), f"{path} is there already"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    layers = folder / "bigmodel_layers" / "__init__.py"
    text = layers.read_text("utf-8")
    text = text.replace("from bigmodel_layers.dense", f"{IMPORT}\nfrom bigmodel_layers.dense")
    layers.write_text(text.replace("    return [\n", "    return [\n        CumulativeSum,\n"), "utf-8")
    return folder


def test_the_files_are_those_that_an_op_needs() -> None:
    assert list(FILES) == [
        "bigmodel_core/kernels/cpu/cumulative.py",
        "bigmodel_core/kernels/cuda/cumulative.py",
        "bigmodel_core/ops/cumulative.py",
        "plugins/bigmodel_layers/cumulative.py",
        "tests/ops/test_cumulative.py",
    ]


def test_the_op_passes_its_tests_on_every_device_and_through_export(site: Path) -> None:
    done = run_pytest("-p", "no:xdist", "-vv", site / "tests", cwd=site, beside=[site])
    for check in ("cuda equals cpu", "onnx", "save and reload", "gradient"):
        assert re.search(rf"-{check}\] PASSED", done.stdout), done.stdout
    skipped = [line for line in done.stdout.splitlines() if "SKIPPED" in line]
    without = (
        "however it is cut",
        "no kernel of its own",
        "gradient of the gradient",
    )  # it is linear, of the core
    assert all(any(words in line for words in without) for line in skipped), skipped


def test_nothing_else_has_to_know_it(site: Path) -> None:
    code = """
    import bigmodel_core as bm
    from bigmodel_core.plan.kernel_table import known_ops, without_kernel
    op = next(op for op in known_ops() if op.__name__ == "CumulativeSum")
    missing = [without_kernel(device, [op]) for device in ("cpu", "cuda")]
    print(bm.__file__, "cumulative_sum" in dir(bm.ops), missing)
    """
    home = site / "bigmodel_core" / "__init__.py"
    assert run_code(code, cwd=site, beside=[site]).stdout.strip() == f"{home} True [[], []]"
