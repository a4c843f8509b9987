"""`bigmodel shrink`: a smaller run of a run, and a table of both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.shrinking import measuring
from tests.cli.conftest import Command, run_here


@pytest.fixture(autouse=True, scope="module")
def short_times() -> Iterator[None]:
    """Calls of ONNX Runtime are timed a few times only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def shrunk(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result of a structured pruning, and the folder of the new run."""
    out = tmp_path_factory.mktemp("shrunk") / "small"
    run = trained / "runs" / "mlp-001"
    method = "prune:amount=0.5,structured=true"
    return run_here("shrink", run, "--method", method, "--epochs", 1, "--out", out, "--json"), out


def test_the_new_run_has_the_smaller_model(shrunk: Any, trained: Path) -> None:
    result, out = shrunk
    assert result.code == 0, result.err
    shapes = [a.shape for a in bm.load(out).state().values() if a.ndim == 2]
    before = [a.shape for a in bm.load(trained / "runs" / "mlp-001").state().values() if a.ndim == 2]
    halves = [(rows if number == 0 else rows // 2, columns) for number, (rows, columns) in enumerate(before)]
    halves = [(rows, columns if columns == 10 else columns // 2) for rows, columns in halves]
    assert shapes == halves


def test_the_numbers_are_those_of_both_models(shrunk: Any, trained: Path) -> None:
    facts = shrunk[0].json
    for part, run in (("before", trained / "runs" / "mlp-001"), ("after", shrunk[1])):
        state = bm.load(run).state()
        assert facts[part]["parameters"] == sum(array.size for array in state.values())
        assert facts[part]["multiply_adds"] == sum(a.size for a in state.values() if a.ndim == 2)
        assert facts[part]["file"] > 4 * facts[part]["parameters"] and facts[part]["one"] > 0
    found = run_here("evaluate", shrunk[1], "--json").json["metrics"]
    assert facts["after"]["test"]["accuracy"] == pytest.approx(found["accuracy"])


def test_the_new_run_says_what_it_was_made_of(shrunk: Any) -> None:
    about = bm.load(shrunk[1]).about.config
    assert about["class"] == "Mlp" and about["shrunk"][0]["amount"] == 0.5
    assert "Mlp; prune(amount=0.5, structured=True" in run_here("info", shrunk[1]).out


def test_single_weights_become_zero_while_the_run_teaches_the_others(
    bigmodel: Command, trained: Path
) -> None:
    run, method = trained / "runs" / "mlp-001", ("--method", "prune:amount=0.75")
    result = bigmodel("shrink", run, *method, "--epochs", 1, "--distill", "--out", "sparse")
    assert result.code == 0, result.err
    state = bm.load("sparse").state()
    weights = [array for array in state.values() if array.ndim == 2]
    assert [int((array == 0).sum()) for array in weights] == [int(0.75 * array.size) for array in weights]
    assert "compressed" in result.out and "Test accuracy" in result.out
    teacher = bm.Trainer.resume("sparse").step.teacher
    assert teacher is not None
    x = np.zeros((1, 1, 8, 8), "float32")
    np.testing.assert_array_equal(teacher.network(x), bm.load(run)(x))


def test_a_model_that_begins_anew_is_taught(bigmodel: Command, trained: Path) -> None:
    run = trained / "runs" / "mlp-001"
    result = bigmodel("shrink", run, "--into", "mlp:widths=8", "--epochs", 1, "--out", "taught", "--json")
    assert result.code == 0, result.err
    assert result.json["after"]["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    assert bm.Trainer.resume("taught").step.teacher is not None


def test_a_run_is_a_teacher_by_its_name_and_options_of_a_file_say_how(
    bigmodel: Command, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").symlink_to(trained / "runs")
    (tmp_path / "taught.toml").write_text(
        '[model]\nname = "mlp"\n[train]\nepochs = 1\nteacher = "mlp-001"\ntemperature = 2.0\n'
    )
    result = bigmodel("train", "taught.toml", "--teacher-weight", 0.5, "--out", "taught", "--quiet")
    assert result.code == 0, result.err
    noted = json.loads((tmp_path / "taught" / "run.json").read_text())["teacher"]
    assert (noted["run"], noted["temperature"], noted["weight"]) == ("../runs/mlp-001", 2.0, 0.5)


def test_a_teacher_that_is_not_there_is_said_before_anything_is_written(
    bigmodel: Command, tmp_path: Path
) -> None:
    result = bigmodel("train", "mlp", "--teacher", "runs/resnet20-001")
    assert result.code == 1 and "resnet20-001: there is no such run" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options, words",
    [
        ((), "--method: it was not said how"),
        (("--method", "prun"), "did you mean prune?"),
        (("--method", "prune:amount=2"), "amount is 2.0"),
        (("--method", "low-rank:energi=1"), "energy"),
        (("--method", "prune:structured=true", "--epochs", 0), "--epochs"),
        (("--method", "prune", "--into", "mlp"), "leave out --method"),
        (("--into", "mpl"), "nearest names are mlp"),
    ],
)
def test_wrong_usage_is_said_and_writes_nothing(
    bigmodel: Command, trained: Path, tmp_path: Path, options: tuple[Any, ...], words: str
) -> None:
    result = bigmodel("shrink", trained / "runs" / "mlp-001", *options)
    assert result.code == 2 and words in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_saved_model_is_no_run(bigmodel: Command, trained: Path) -> None:
    bm.save(bm.load(trained / "runs" / "mlp-001"), "model.safetensors")
    result = bigmodel("shrink", "model.safetensors", "--method", "prune")
    assert result.code == 1 and "not a run" in result.err
