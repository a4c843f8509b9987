"""Importing the package is free: nothing heavy and no plugin comes with it."""

from __future__ import annotations

import json

import pytest

import bigmodel_core as bm
from tests.processes import run_code

HEAVY = ("llvmlite", "numba", "onnx", "onnxruntime", "PIL", "pluggy", "rich", "safetensors", "typer")
PLUGINS = (
    "bigmodel_augmentations",
    "bigmodel_callbacks",
    "bigmodel_datasets",
    "bigmodel_layers",
    "bigmodel_losses",
    "bigmodel_metrics",
    "bigmodel_models",
    "bigmodel_onnx",
    "bigmodel_optimizers",
    "bigmodel_strategies",
)

IMPORTED = """
import json, sys
{action}
print(json.dumps(sorted(name.partition(".")[0] for name in sys.modules)))
"""


def imported_by(action: str) -> set[str]:
    return set(json.loads(run_code(IMPORTED.format(action=action)).stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "action",
    [
        "import bigmodel_core",
        "import bigmodel_core as bm; dir(bm); bm.layers; bm.datasets",
        "import bigmodel_core as bm; bm.Layer, bm.Spec, bm.Op, bm.elementwise",
    ],
)
def test_import_brings_nothing_heavy_and_no_plugin(action: str) -> None:
    found = imported_by(action)
    assert not found & {*HEAVY, *PLUGINS}


def test_a_name_brings_its_plugin_alone() -> None:
    found = imported_by("import bigmodel_core as bm; bm.layers.Dense(3)")
    assert "bigmodel_layers" in found
    assert not found & {"numba", "llvmlite", "onnx", "onnxruntime"}


def test_tracing_a_model_compiles_nothing() -> None:
    found = imported_by(
        "import bigmodel_core as bm; bm.layers.Dense(3).build(bm.Spec(('N', 4))).trace(training=True)"
    )
    assert not found & {"numba", "llvmlite", "onnx", "onnxruntime"}


@pytest.mark.parametrize(("path", "error"), [("runs/mlp-001", "CheckpointError"), ("m.onnx", "ExportError")])
def test_files_of_models_are_read_by_whoever_imports_the_data_alone(path: str, error: str) -> None:
    code = f"""
from bigmodel_core.data.like import encoding_of
try:
    encoding_of({path!r})
except Exception as error:
    print(type(error).__name__)
"""
    assert run_code(code).stdout.split() == [error]


def test_the_package_offers_what_it_lists() -> None:
    import bigmodel_core as bm

    for name in bm.__all__:
        assert getattr(bm, name) is not None


def test_a_name_that_was_replaced_works_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bm._RENAMED, "Unit", "Layer")
    for _ in range(2):
        with pytest.warns(DeprecationWarning, match=r"bm\.Unit is called bm\.Layer now") as caught:
            assert bm.Unit is bm.Layer
        assert caught[0].filename == __file__
    assert "Unit" not in dir(bm)


def test_an_unknown_name_is_an_attribute_error() -> None:
    import bigmodel_core as bm

    with pytest.raises(AttributeError, match="no_such_name"):
        bm.no_such_name
