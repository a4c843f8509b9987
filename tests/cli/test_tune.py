"""`bigmodel tune`: trials are runs, the first is the experiment as it is; killed searches go on; finders."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.cli.choice import Choice
from bigmodel_core.cli.experiment import Experiment
from bigmodel_core.cli.search_space import (
    Dimension,
    applied,
    check_space,
    dimension,
    of_experiment,
    usual_space,
)
from bigmodel_core.errors import OutOfMemoryError, UsageError
from bigmodel_core.train import batch_size_finder
from tests.cli.conftest import Command, run_here

optuna = pytest.importorskip("optuna", reason="needs the extra tune")
MLP = Experiment(Choice("model", "mlp"))
SHORT = (
    "--epochs",
    2,
    "--set",
    "widths=16,16",
    "--search",
    "learning_rate=1e-4..1e-1",
    "--search",
    "batch_size=32|64",
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with a search of four trials, and what it printed as JSON."""
    folder = tmp_path_factory.mktemp("searched")
    with contextlib.chdir(folder):
        result = run_here("tune", "mlp", *SHORT, "--trials", 4, "--json")
    assert result.code == 0, result.err
    return folder, result.json


def test_the_first_trial_is_the_experiment_as_it_is(searched: tuple[Path, Any]) -> None:
    first = searched[1]["trials"][0]
    assert first["as_given"] and first["values"] == {"train.learning_rate": "0.002", "train.batch_size": "64"}


def test_each_trial_is_a_run_with_its_options(searched: tuple[Path, Any]) -> None:
    folder, told = searched
    for trial in told["trials"]:
        run = bm.Run.read(folder / trial["folder"])
        assert run.options["batch_size"] == int(trial["values"]["train.batch_size"])
        assert run.options["optimizer.learning_rate.rate"] == float(trial["values"]["train.learning_rate"])
        assert math.isclose(run.best["val_accuracy"], trial["score"])
        assert len(run.history) == trial["epochs"]
        assert ("pruned" in run.tags) == trial["pruned"]


def test_the_best_is_the_one_with_the_highest_accuracy(searched: tuple[Path, Any]) -> None:
    told = searched[1]
    whole = [trial for trial in told["trials"] if not trial["pruned"]]
    assert told["monitor"] == "val_accuracy"
    assert told["best"]["score"] == max(trial["score"] for trial in whole)


def test_the_command_that_is_named_trains_the_same(
    searched: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, told = searched
    monkeypatch.chdir(folder)
    shown = run_here("tune", "--resume", "--trials", 4).out
    (line,) = (line.strip() for line in shown.splitlines() if line.strip().startswith("bigmodel train"))
    result = run_here(*shlex.split(line)[1:], "--out", tmp_path / "again", "--json")
    assert math.isclose(max(logs["val_accuracy"] for logs in result.json["epochs"]), told["best"]["score"])


def test_a_killed_search_goes_on(
    searched: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial was running, and a line half written; the trial is tried again under a new number."""
    import shutil

    from bigmodel_core.cli.study import Study

    folder = tmp_path / "runs/tune-001"
    shutil.copytree(searched[0] / "runs/tune-001", folder)
    monkeypatch.chdir(tmp_path)
    space = [dimension("learning_rate", "1e-4..1e-1"), dimension("batch_size", "32|64")]
    study = Study(folder, MLP, space)
    study.open()
    values = study._asked()[1]
    log = folder / "trials.log"
    log.write_bytes(log.read_bytes() + b'{"op_code": 4, "wor')
    Path(f"{log}.lock").symlink_to(log)  # what the package that writes the file leaves behind
    result = run_here("tune", "--resume", "--trials", 5, "--json")
    assert result.code == 0, result.err
    assert [trial["number"] for trial in result.json["trials"]] == [1, 2, 3, 4, 6]
    assert result.json["trials"][-1]["values"] == values
    assert result.json["monitor"] == "val_accuracy"


def test_a_finished_search_has_nothing_left_to_do(
    searched: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched[0])
    again = run_here("tune", "--resume", "runs/tune-001", "--trials", 4, "--json").json
    assert again["best"] == searched[1]["best"] and len(again["trials"]) == 4


def test_a_damaged_line_inside_is_named(searched: tuple[Path, Any], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "damaged"
    shutil.copytree(searched[0] / "runs/tune-001", folder)
    lines = (folder / "trials.log").read_text("utf-8").splitlines()
    (folder / "trials.log").write_text("\n".join([lines[0], "{", *lines[1:]]) + "\n", "utf-8")
    result = run_here("tune", "--resume", folder)
    assert result.code == 1 and "line 2 is damaged" in result.err


def test_a_trial_that_fails_is_told_and_the_search_goes_on(bigmodel: Command) -> None:
    found = bigmodel(
        "tune", "mlp", "--epochs", 1, "--set", "widths=8", "--search", "learning_rate=1e-3|1e30",
        "--trials", 4, "--json",
    ).json  # fmt: skip
    failed = [trial for trial in found["trials"] if trial["error"]]
    assert failed and all(trial["values"]["train.learning_rate"] == "1e30" for trial in failed)
    assert found["best"]["values"]["train.learning_rate"] == "1e-3"


def test_a_search_in_which_all_fails_is_an_error(bigmodel: Command) -> None:
    result = bigmodel("tune", "mlp", "--epochs", 1, "--search", "learning_rate=1e29|1e30", "--trials", 9)
    assert result.code == 2 and "all trials failed" in result.err
    assert len(list(Path("runs/tune-001").glob("trial-*"))) == 3


def test_an_experiment_file_says_what_is_searched(bigmodel: Command) -> None:
    Path("a.toml").write_text(
        '[model]\nname = "mlp"\nwidths = [8]\n[train]\nepochs = 1\n[search]\nlearning_rate = "0.001..0.01"\n'
        '"model.widths" = [[8], [16, 16]]\noptimizer = ["adam", "sgd:momentum=0.9"]\n',
        "utf-8",
    )
    found = bigmodel("tune", "a.toml", "--trials", 2, "--json").json
    assert found["trials"][0]["values"]["model.widths"] == "8"
    assert set(found["trials"][1]["values"]) == {"train.learning_rate", "model.widths", "optimizer"}
    assert bigmodel("train", "a.toml", "--out", "run").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to tune"),
        (("mlp", "--search", "epochs=1..2"), "epochs is the same in all trials"),
        (("mlp", "--search", "model.width=1|2"), "there is no option 'width'"),
        (("mlp", "--search", "optimizer=adam|sgdd"), "optimizer=sgdd: there is no optimizer 'sgdd'"),
        (("mlp", "--search", "learning_rate=1..0.1"), "not above 1"),
        (("mlp", "--search", "batch_size=64"), "nothing to search"),
        (("mlp", "--search", "batch_size=0..64"), "train.batch_size=0"),
        (("mlp", "--search", "learning_rat=1..2"), "did you mean learning_rate"),
        (("mlp", "--find", "happiness"), "cannot be found"),
        (("--resume", "nowhere"), "no search to resume"),
        (("--resume",), "there is no search"),
        (("--resume", "--epochs", 3), "--epochs cannot be changed"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    bigmodel: Command, arguments: tuple[str, ...], said: str
) -> None:
    result = bigmodel("tune", *arguments)
    assert result.code in (1, 2) and said in result.err
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_a_missing_package_is_a_sentence(bigmodel: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    result = bigmodel("tune", "mlp")
    assert result.code == 1 and 'pip install "bigmodel[tune]"' in result.err
    assert not Path("runs").exists()


# The space ----------------------------------------------------------------------------------------------


def test_ranges_know_their_scale_and_their_numbers() -> None:
    assert dimension("learning_rate", "1e-4..1e-1").by_logarithm
    assert not dimension("model.dropout", "0..0.5").by_logarithm
    assert dimension("batch_size", "16..128").whole
    assert not dimension("learning_rate", "0..1").whole
    assert dimension("optimizer", "adam | sgd").choices == ("adam", "sgd")


def test_values_take_the_place_of_those_of_the_experiment() -> None:
    values = {"optimizer.beta1": "0.8", "optimizer": "adam", "train.batch_size": "7", "schedule.final": "0.1"}
    made = applied(MLP, values)
    optimizer: Any = made.make_optimizer(made.model.make(), 100)
    assert (type(optimizer).__name__, optimizer.beta1, made.train.batch_size) == ("Adam", 0.8, 7)
    assert optimizer.learning_rate.final == 0.1


def test_the_usual_space_holds_the_experiment_and_can_be_made() -> None:
    space = usual_space(MLP)
    check_space(MLP, space)
    assert of_experiment(MLP, space) == {
        "train.learning_rate": "0.002",
        "train.batch_size": "64",
        "model.widths": "64,64",
        "model.dropout": "0",
    }


def test_one_option_is_searched_once() -> None:
    with pytest.raises(UsageError, match="twice"):
        check_space(MLP, [Dimension("train.batch_size", choices=("1", "2")), dimension("batch_size", "1..9")])


# Finders ------------------------------------------------------------------------------------------------


def parabola(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A regression whose largest stable rate is known: x is white, so SGD is stable below 1."""
    x = rng.normal(size=(512, 1)).astype("float32")
    return x, 3 * x


def test_the_suggested_rate_is_stable_and_not_timid() -> None:
    found = bm.find_learning_rate(
        bm.layers.Dense(1, use_bias=False),
        parabola(np.random.default_rng(0)),
        "mean_squared_error",
        "sgd",
        steps=60,
    )
    assert 0.005 < found.suggestion < 1
    assert found.losses[: len(found.rates) // 2].std() < 0.5 * found.losses[0]
    assert "svg" in found._repr_html_() and len(found.to_dict()["losses"]) == len(found.rates)


def test_schedules_take_no_part_in_the_search() -> None:
    data = parabola(np.random.default_rng(0))

    def losses(optimizer: Any) -> list[float]:
        model = bm.layers.Dense(1, use_bias=False)
        found = bm.find_learning_rate(model, data, "mean_squared_error", optimizer, steps=20, high=0.1)
        return list(found.losses)

    expected = losses("sgd")
    for rate in (bm.schedules.Cosine(0.1), bm.schedules.Cosine(0.1, steps=5), bm.schedules.WarmUp(9, 0.1)):
        assert losses(bm.optimizers.SGD(rate)) == expected


def test_a_plot_shows_the_losses_and_the_suggestion() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    found = bm.find_learning_rate(
        bm.layers.Dense(1), parabola(np.random.default_rng(3)), "mean_squared_error", "sgd", steps=20
    )
    curve, mark = found.plot().lines
    assert np.allclose(curve.get_xdata(), found.rates) and np.allclose(curve.get_ydata(), found.smooth)
    assert mark.get_xdata()[0] == found.suggestion


def test_finding_a_rate_leaves_the_model_as_it_is() -> None:
    model = bm.layers.Dense(1)
    x, y = parabola(np.random.default_rng(1))
    before = model(x[:4])
    bm.find_learning_rate(model, (x, y), "mean_squared_error", "sgd", steps=20)
    assert np.array_equal(model(x[:4]), before)


@pytest.mark.parametrize("wrong", [{"low": 0.0}, {"low": 2.0, "high": 1.0}, {"steps": 3}])
def test_a_range_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="nothing lies"):
        bm.find_learning_rate(
            bm.layers.Dense(1), parabola(np.random.default_rng(2)), "mean_squared_error", "sgd", **wrong
        )


def test_batch_sizes_end_where_memory_does() -> None:
    x, y = np.zeros((256, 64), "float32"), np.zeros(256, "int64")

    def found(**more: Any) -> Any:
        return bm.find_batch_size(bm.layers.Dense(4), (x, y), "cross_entropy", "sgd", seconds=0.01, **more)

    sizes = [one.size for one in found().measured]
    assert sizes == [8 * 2**k for k in range(len(sizes))] and sizes[-1] <= 256 and found().suggestion in sizes
    limit = found().measured[1].memory
    assert [one.size for one in found(memory=limit).measured] == [8, 16]
    with pytest.raises(OutOfMemoryError, match="a step of 8 samples"):
        found(memory=100)


def test_finders_answer_in_the_shell(bigmodel: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = batch_size_finder.find_batch_size.__kwdefaults__
    rates = bigmodel("tune", "mlp", "--set", "widths=8", "--find", "learning-rate", "--json").json
    assert 1e-5 < rates["suggestion"] < 1
    assert "Suggested: " in bigmodel("tune", "mlp", "--set", "widths=8", "--find", "learning-rate").out
    monkeypatch.setattr(batch_size_finder.find_batch_size, "__kwdefaults__", {**defaults, "seconds": 0.01})
    sizes = json.loads(bigmodel("tune", "mlp", "--set", "widths=8", "--find", "batch-size", "--json").out)
    assert sizes["suggestion"] in [row["batch_size"] for row in sizes["sizes"]]
    assert not Path("runs").exists()


def test_the_page_of_a_search_shows_each_trial(searched: tuple[Path, Any]) -> None:
    page = (searched[0] / "runs/tune-001/report.html").read_text("utf-8")
    for trial in searched[1]["trials"]:
        assert trial["values"]["train.learning_rate"] in page
    assert "val_accuracy by trial" in page and len(page) < 100_000
