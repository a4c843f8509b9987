"""`bigmodel evaluate --by`: groups that a column of a table names, which the model need not see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm

from .conftest import Command, run_all

DATA = "csv:target=loan,drop=town"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of loans, and a run on it that did not see the town."""
    folder = tmp_path_factory.mktemp("loans")
    random = np.random.default_rng(0)
    rows = ["income,debt,town,loan\n"]
    for number in range(200):
        income, debt = random.normal(size=2)
        town = "north" if number % 5 else "south"
        loan = "granted" if income - debt + 0.5 * (town == "north") > 0 else "denied"
        rows.append(f"{income:.3f},{debt:.3f},{town},{loan}\n")
    (folder / "loans.csv").write_text("".join(rows))
    run_all(
        folder, ("train", "logistic-regression", "--data", DATA, "--data-dir", "loans.csv", "--out", "run")
    )
    return folder


def test_groups_of_a_column_that_the_model_does_not_see(
    bigmodel: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)
    found = bigmodel("evaluate", "run", "--by", "town", "--favourable", "granted", "--json").json
    data = bm.datasets.load(DATA, Path("loans.csv"), like="run")
    model = bm.load("run")
    assert model.about.encoding.features == ("income", "debt")
    predicted = np.asarray(model(data.test.x)).argmax(1)
    expected = bm.fairness.report(data.test.y, predicted, data.test.columns["town"], 1)
    groups = found["groups"]
    assert groups["by"] == "town" and groups["favourable"] == "granted"
    assert groups["equalised_odds_difference"] == pytest.approx(expected.equalised_odds_difference)
    assert [group["selection"] for group in groups["groups"]] == [g.selection for g in expected.groups]
    assert groups["overall"]["accuracy"] == pytest.approx(found["metrics"]["accuracy"])
    shown = bigmodel("evaluate", "run", "--by", "town", "--favourable", "granted").out
    assert "Equalised odds, difference" in shown and "south*" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--by", "city"), "no column 'city'"),
        (("--by", "town", "--favourable", "maybe"), "no class 'maybe'"),
        (("--favourable", "granted"), "there are no groups"),
    ],
)
def test_a_column_or_class_that_is_not_there_is_wrong_usage(
    bigmodel: Command, run: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(run)
    result = bigmodel("evaluate", "run", *options)
    assert result.code == 2 and message in result.err


def test_a_table_that_is_predicted_may_have_the_columns_that_training_left_out(
    bigmodel: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)
    result = bigmodel("predict", "run", "loans.csv", "--json")
    assert result.code == 0, result.err
    assert len(result.json) == 200
