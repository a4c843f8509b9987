"""warmup and doctor: what they say about this machine is true."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.processes import run_code

from .conftest import run_fresh


def test_warmup_compiles_once_and_then_nothing(tmp_path: Path) -> None:
    cache = {"BIGMODEL_CACHE_DIR": str(tmp_path / "cache")}
    warmup = ("warmup", "linear-regression", "--optimizer", "sgd", "--optimizer", "adagrad")
    first = run_fresh(*warmup, "--processes", 2, "--json", **cache)
    assert first.code == 0, first.out + first.err
    assert first.json["compiled"] > 0 and first.json["problems"] == []
    assert len(list((tmp_path / "cache" / "kernels").glob("*.o"))) == first.json["cache"]["files"]
    second = run_fresh(*warmup, **cache)
    assert second.code == 0
    assert second.out.startswith("Compiled 0 kernels")
    code = (
        "from bigmodel_core.cli.app import main; from bigmodel_core.kernels import cache; import sys;"
        "main(sys.argv[1:]); print('compiled', len(cache.compilations))"
    )
    (tmp_path / "t.csv").write_text("\n".join(f"{n},{n / 2 + 0.25}" for n in range(40)))

    train = "train linear-regression --data csv:header=false --data-dir t.csv --epochs 1 -q"
    done = run_code(code, *train.split(), cwd=tmp_path, **cache)
    assert done.stdout.splitlines()[-1] == "compiled 0", done.stdout + done.stderr


def test_warmup_refuses_unknown_models() -> None:
    result = run_fresh("warmup", "mpl")
    assert result.code == 2 and "mlp" in result.err


@pytest.mark.skipif(not hasattr(os, "geteuid") or not Path("/proc").is_dir(), reason="needs /proc")
def test_warmup_that_cannot_keep_anything_fails() -> None:
    warmup = ("warmup", "linear-regression", "--optimizer", "sgd", "--processes", 1)
    result = run_fresh(*warmup, BIGMODEL_CACHE_DIR="/proc/no-cache")
    assert result.code == 1
    assert "BIGMODEL_CACHE_DIR" in result.out
    assert result.out.startswith("Compiled 0 kernels")  # it is said before work that would be lost


def test_doctor_finds_what_is_there() -> None:
    import onnxruntime

    from bigmodel_core import __version__

    result = run_fresh("doctor", "--json", BIGMODEL_NUM_THREADS="3")
    assert result.code == 0, result.out
    findings = {item["name"]: item for item in result.json["findings"]}
    assert __version__ in findings["bigmodel"]["detail"]
    assert findings["threads"]["detail"].startswith("3 ")
    assert onnxruntime.__version__ in findings["ONNX Runtime"]["detail"]
    assert findings["kernels"]["status"] == "ok" and "NumPy" in findings["kernels"]["detail"]
    ops = findings["CUDA kernels"]
    assert ops["status"] == "ok" and ops["missing"] == []
    assert re.fullmatch(r"(\d+) of \1 ops", ops["detail"]), ops["detail"]
    assert result.json["ok"] is True


def test_doctor_says_what_to_do(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "kernels"
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    result = run_fresh(
        "doctor", BIGMODEL_CACHE_DIR=str(tmp_path / "cache"), BIGMODEL_DATA_DIR="/no/such/folder"
    )
    assert result.code == 0
    assert "chmod 700" in result.out and "/no/such/folder" in result.out
    assert "Everything that bigmodel needs works." in result.out


def test_a_wrong_setting_of_the_environment_is_found() -> None:
    result = run_fresh("doctor", BIGMODEL_NUM_THREADS="many")
    assert result.code == 1
    assert "BIGMODEL_NUM_THREADS is 'many'" in result.out
