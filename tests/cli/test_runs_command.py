"""`bigmodel runs`: lists, filters, orders, compares, tags and deletes; `bm.runs` gives the same in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import bigmodel_core as bm
from bigmodel_core.train.lock import RunLock
from bigmodel_core.train.run_filter import Condition, chosen, ordered
from tests.cli.conftest import Command

EPOCHS = [
    {"epoch": n, "loss": 1.0 / n, "val_loss": 1.2 / n, "val_accuracy": 0.5 + n / 10, "seconds": 2.0}
    for n in (1, 2, 3)
]


def make_run(folder: Path, *, epochs: list[dict[str, Any]] = EPOCHS, **more: Any) -> Path:
    """A run's folder without the training."""
    folder.mkdir(parents=True)
    model = {"kind": "model", "name": "models:Mlp", "fields": {"widths": [128], "dropout": 0.1}}
    config = {
        "model": model,
        "data": {"name": "digits"},
        "epochs": 3,
        "seed": 0,
        "monitor": "val_accuracy",
        "status": "finished",
        "started": "2026-01-02T03:04:05.000000+00:00",
        **more,
    }
    (folder / "run.json").write_text(json.dumps(config), "utf-8")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(logs) + "\n" for logs in epochs), "utf-8")
    return folder


@pytest.fixture
def three(bigmodel: Command) -> Command:
    """A current folder with runs a, b and c, started in this order."""
    wider = {"kind": "model", "name": "models:Mlp", "fields": {"widths": [256, 128], "dropout": 0.1}}
    worse = [{**logs, "val_accuracy": logs["val_accuracy"] - 0.2} for logs in EPOCHS[:2]]
    make_run(Path("runs/a"), results={"best_epoch": 3, "test": {"accuracy": 0.79}})
    make_run(Path("runs/b"), model=wider, seed=7, started="2026-01-03T00:00:00+00:00", epochs=worse)
    make_run(Path("runs/c"), started="2026-01-04T00:00:00+00:00", status="failed", epochs=[])
    return bigmodel


def names(result: Any) -> list[str]:
    return [run["name"] for run in result.json]


def test_runs_alone_lists_the_newest_first(three: Command) -> None:
    result = three("runs")
    rows = [line.split() for line in result.out.splitlines()]
    assert [row[0] for row in rows] == ["Run", "c", "b", "a"]
    assert rows[3][1:8] == ["finished", "mlp", "digits", "3/3", "val_accuracy", "0.8000", "(3)"]


def test_json_holds_what_a_list_tells(three: Command) -> None:
    first = three("runs", "list", "--json").json[-1]
    assert first["measures"] == {
        **{k: v for k, v in EPOCHS[2].items() if k not in ("epoch", "seconds")},
        "test_accuracy": 0.79,
    }
    assert (first["seconds"], first["best_epoch"], first["tags"]) == (6.0, 3, [])


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("val_accuracy>0.75", ["a"]),
        ("val_accuracy<=0.8", ["b", "a"]),
        ("val_accuracy!=0.8", ["c", "b"]),
        ("status=failed", ["c"]),
        ("model.widths=256,128", ["b"]),
        ("seed=7.0", ["b"]),
        ("name~B", ["b"]),
        ("started>=2026-01-03", ["c", "b"]),
        ("epochs<3", ["c", "b"]),
        ("tag=best", []),
    ],
)
def test_where_keeps_the_runs_for_which_it_holds(three: Command, condition: str, kept: list[str]) -> None:
    assert names(three("runs", "list", "--where", condition, "--json")) == kept


def test_conditions_hold_together(three: Command) -> None:
    assert names(three("runs", "list", "--where", "epochs<3", "--where", "status=finished", "--json")) == [
        "b"
    ]


def test_a_measure_orders_the_best_first_and_those_without_it_last(three: Command) -> None:
    assert names(three("runs", "list", "--sort", "val_accuracy", "--json")) == ["a", "b", "c"]
    assert names(three("runs", "list", "--sort", "val_loss", "--json")) == ["a", "b", "c"]
    assert names(three("runs", "list", "--sort", "val_loss", "--reverse", "--json")) == ["b", "a", "c"]
    assert names(three("runs", "list", "--sort", "seed", "--limit", 2, "--json")) == ["c", "a"]


def test_perplexity_is_best_where_it_is_lowest(tmp_path: Path) -> None:
    logs = [{"epoch": 1, "val_perplexity": 3.0}, {"epoch": 2, "val_perplexity": 9.0}]
    runs = [
        bm.Run.read(make_run(tmp_path / str(n), epochs=[log], monitor="val_perplexity"))
        for n, log in enumerate(logs)
    ]
    assert [run.name for run in ordered(runs, "val_perplexity")] == ["0", "1"]
    history = bm.Run.read(make_run(tmp_path / "both", epochs=logs, monitor="val_perplexity")).history
    assert history.best("val_perplexity")["epoch"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--where", "vla_accuracy>0.7"), "did you mean val_accuracy"),
        (("--where", "accuracy"), "is no condition"),
        (("--sort", "vla_loss"), "did you mean val_loss"),
        (("nowhere",), "nowhere: there is no such folder"),
    ],
)
def test_a_wrong_list_is_wrong_usage(three: Command, arguments: tuple[str, ...], said: str) -> None:
    result = three("runs", "list", *arguments)
    assert result.code == 2 and said in result.err


def test_no_run_at_all_is_no_error(bigmodel: Command) -> None:
    result = bigmodel("runs")
    assert result.code == 0 and "There is no run in runs." in result.out
    assert bigmodel("runs", "list", "--json").json == []


def test_a_run_whose_process_is_gone_was_killed(three: Command) -> None:
    make_run(Path("runs/d"), status="running")
    assert bm.Run.read("runs/d").status == "killed"
    lock = RunLock(Path("runs/d"))
    lock.acquire()
    try:
        assert bm.Run.read("runs/d").status == "running"
    finally:
        lock.release()


def test_an_epoch_that_is_being_written_is_left_out(three: Command) -> None:
    with open("runs/a/metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"epoch": 4, "lo')
    assert len(bm.Run.read("runs/a").history) == 3
    with open("runs/a/metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('\n{"epoch": 5}\n')
    with pytest.raises(bm.errors.CheckpointError, match="line 4 is damaged"):
        bm.Run.read("runs/a")
    assert [run.name for run in bm.runs()] == ["c", "b"]  # the others are listed all the same


def test_compare_shows_measures_the_options_that_differ_and_curves(three: Command) -> None:
    result = three("runs", "compare", "a", "runs/b")
    lines = {line.split("  ")[0]: line for line in result.out.partition("Curves")[0].splitlines()}
    assert lines["val_accuracy"].split() == ["val_accuracy", "0.8000", "*", "0.5000"]
    assert lines["model.widths"].split() == ["model.widths", "128", "256,128"]
    assert lines["seed"].split() == ["seed", "0", "7"]
    assert "model.dropout" not in result.out
    assert "model.dropout" in three("runs", "compare", "a", "b", "--all").out


def test_compared_curves_are_on_one_scale(three: Command) -> None:
    out = three("runs", "compare", "a", "b").out
    (curve,) = (
        line.split() for line in out.partition("Curves")[2].splitlines() if line.startswith("val_accuracy")
    )
    assert curve[1:] == ["▄▆█", "▁▃"]  # 0.6, 0.7, 0.8 and 0.4, 0.5


def test_compare_as_json_names_the_best(three: Command) -> None:
    found = three("runs", "compare", "a", "b", "--json").json
    assert found["best"]["val_accuracy"] == ["a"] and found["options"]["seed"] == [0, 7]
    assert [logs["epoch"] for logs in found["curves"][0]] == [1, 2, 3]


@pytest.mark.parametrize(("runs", "said"), [(("a",), "one run was named"), (("a", "runs/a"), "named twice")])
def test_fewer_than_two_runs_cannot_be_compared(three: Command, runs: tuple[str, ...], said: str) -> None:
    result = three("runs", "compare", *runs)
    assert result.code == 2 and said in result.err


def test_tags_stay_and_find_runs(three: Command) -> None:
    assert three("runs", "tag", "a", "b", "--add", "good", "--add", "für später").code == 0
    assert three("runs", "tag", "b", "--remove", "good").out == "b: für später\n"
    assert names(three("runs", "list", "--where", "tag=good", "--json")) == ["a"]
    assert bm.Run.read("runs/a").tags == ("für später", "good")


@pytest.mark.parametrize("tag", ["", " ", "a,b", "x\x1b[2J", "x" * 61])
def test_what_cannot_be_shown_is_no_tag(three: Command, tag: str) -> None:
    result = three("runs", "tag", "a", "--add", tag)
    assert result.code == 2 and "cannot be a tag" in result.err
    assert not Path("runs/a/tags.json").exists()


def test_delete_asks_first(three: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    result = three("runs", "delete", "a")
    assert result.code == 2 and "--yes" in result.err and Path("runs/a").exists()


def test_delete_removes_the_folders_named_and_no_other(three: Command) -> None:
    Path("runs/a/tensorboard").mkdir()
    assert three("runs", "delete", "a", "runs/c", "--yes").code == 0
    assert [path.name for path in Path("runs").iterdir()] == ["b"]


def test_a_run_that_trains_is_not_deleted(three: Command) -> None:
    lock = RunLock(Path("runs/b"))
    lock.acquire()
    try:
        result = three("runs", "delete", "a", "b", "--yes")
    finally:
        lock.release()
    assert result.code == 1 and "in use" in result.err
    assert Path("runs/a/run.json").exists() and Path("runs/b/run.json").exists()


def test_a_folder_with_another_run_in_it_is_not_deleted(three: Command) -> None:
    make_run(Path("runs/a/inner"))
    result = three("runs", "delete", "a", "--yes")
    assert result.code == 2 and "another run" in result.err and Path("runs/a/inner/run.json").exists()


def test_what_is_no_run_is_not_deleted(three: Command) -> None:
    Path("papers").mkdir()
    result = three("runs", "delete", "papers", "--yes")
    assert result.code == 1 and Path("papers").exists()


def test_options_have_dotted_names(tmp_path: Path) -> None:
    schedule = {"kind": "schedule", "name": "optimizers:Cosine", "fields": {"steps": 9}}
    adam = {"kind": "optimizer", "name": "optimizers:AdamW", "fields": {"learning_rate": schedule}}
    run = bm.Run.read(
        make_run(tmp_path / "run", optimizer=adam, metrics=[{"name": "metrics:Accuracy", "fields": {}}])
    )
    assert run.options["optimizer"] == "adam-w"
    assert run.options["optimizer.learning_rate.steps"] == 9
    assert run.options["metrics"] == ["accuracy"]
    assert chosen([run], [Condition.parse("optimizer.learning_rate=cosine")]) == [run]


def test_a_comparison_is_written_as_a_page(three: Command) -> None:
    assert three("runs", "compare", "a", "b", "--out", "both.html").code == 0
    page = Path("both.html").read_text("utf-8")
    assert page.count("<svg") == 3 and "0.8 (best)" in page and "model.widths" in page
    assert three("runs", "compare", "a", "b", "--out", "runs").code == 2


def test_numbers_beyond_all_measure_are_none(three: Command) -> None:
    odd = [{"epoch": 1, "loss": 10**400, "val_accuracy": 0.5, "seconds": 10**400}]
    make_run(Path("runs/odd"), epochs=odd)
    found = bm.Run.read("runs/odd")
    assert (found.seconds, found.measures) == (0.0, {"val_accuracy": 0.5})
    assert three("runs").code == 0 and three("runs", "list", "--where", "loss>1", "--json").code == 0
