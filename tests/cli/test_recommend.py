"""`bigmodel recommend`: lists for users, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import run_all, run_here

ITEMS = ("tea", "coffee", "milk", "juice", "water", "cola")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of ratings."""
    folder = tmp_path_factory.mktemp("recommend")
    lines = [
        f"{user},{item},{1 + (n + k) % 5},{(n + k) % 6}"
        for n, user in enumerate("abc")
        for k, item in enumerate(ITEMS)
    ]
    (folder / "ratings.csv").write_text("\n".join(["user,item,rating,time", *lines]) + "\n")
    train = ("train", "two-tower", "--set", "width=4", "--set", "widths=4", "--data", "ratings:target=item")
    run_all(folder, (*train, "--data-dir", "ratings.csv", "--epochs", 1, "--validation", 0))
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_a_user_gets_what_the_training_data_do_not_show_them_to_have() -> None:
    result = run_here("recommend", "two-tower-001", "a", "--json")
    (found,) = result.json
    assert (found["user"], found["known"]) == ("a", True)
    assert not {entry["item"] for entry in found["items"]} & set(ITEMS[:5])


def test_a_user_whom_training_has_not_seen_is_said_so() -> None:
    result = run_here("recommend", "two-tower-001", "eve", "--count", 2)
    assert result.code == 0
    assert "Training has not seen eve" in result.err
    assert len(result.out.splitlines()) == 3


def test_a_count_of_none_is_wrong_usage() -> None:
    assert run_here("recommend", "two-tower-001", "a", "--count", 0).code == 2
