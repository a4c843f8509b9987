"""Ratings: codes of users and items, what is held out, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError, DataError

LINES = [
    "user,item,rating,time",
    "ann,tea,5,3",
    "ann,milk,1,1",
    "ann,soup,4,2",
    "bob,milk,2,9",
    "bob,tea,3,8",
]


def written(folder: Path, lines: list[str], name: str = "ratings.csv") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def test_the_last_ratings_of_each_user_by_time_are_held_out(tmp_path: Path) -> None:
    data = bm.datasets.load("ratings", written(tmp_path, LINES))
    made = data.made_by
    assert isinstance(made, bm.datasets.Ratings)
    assert (made.users, made.items) == (("ann", "bob"), ("milk", "soup", "tea"))
    assert data.categories == (3, 4)
    assert data.train.x.tolist() == [[1, 1], [1, 2], [2, 3]]
    assert data.test.x.tolist() == [[1, 3], [2, 1]]
    np.testing.assert_allclose(data.test.truth, [[5], [2]], rtol=1e-6)


def test_an_item_that_training_has_not_seen_is_code_0(tmp_path: Path) -> None:
    data = bm.datasets.load("ratings", written(tmp_path, [*LINES, "bob,wine,3,10"]))
    assert data.test.x.tolist() == [[1, 3], [2, 0]]


def test_later_files_have_the_codes_of_training(tmp_path: Path) -> None:
    known = bm.datasets.load("ratings", written(tmp_path, LINES))
    later = written(
        tmp_path,
        ["item\tuser\trating", "tea\tbob\t3", "pie\tbob\t4", "tea\teve\t1", "soup\teve\t1"],
        "new.tsv",
    )
    data = bm.datasets.load("ratings", later, like=known)
    found = np.concatenate([data.train.x, data.test.x])
    assert sorted(found.tolist()) == [[0, 2], [0, 3], [2, 0], [2, 3]]
    assert data.target_preprocessing == known.target_preprocessing


def test_items_can_be_the_target(tmp_path: Path) -> None:
    data = bm.datasets.load("ratings", written(tmp_path, [*LINES, "bob,wine,3,10"]), target="item")
    assert data.labels == ("(unknown)", "milk", "soup", "tea")
    assert (data.train.x.tolist(), data.train.y.tolist()) == ([[1], [1], [2], [2]], [1, 2, 1, 3])
    assert (data.test.x.tolist(), data.test.y.tolist()) == ([[1]], [3])
    assert "1 test samples of items that training has not seen are left out" in data.notes[1]


def test_items_of_which_training_has_seen_none_cannot_be_the_target(tmp_path: Path) -> None:
    lines = ["user,item,rating,time", "ann,tea,5,1", "ann,milk,1,2", "bob,tea,2,1", "bob,milk,2,2"]
    with pytest.raises(DataError, match="no rating of the test split is of an item that training has seen"):
        bm.datasets.load("ratings", written(tmp_path, lines), target="item")


def test_without_times_the_seed_chooses(tmp_path: Path) -> None:
    lines = ["user,item,rating"] + [f"ann,{n},3" for n in range(40)]
    path = written(tmp_path, lines)
    held = [set(bm.datasets.load("ratings", path, seed=seed).test.x[:, 1]) for seed in (1, 1, 2)]
    assert held[0] == held[1]
    assert bm.datasets.load("ratings", path, seed=1).train.x.shape == (32, 2)
    assert {len(bm.datasets.load("ratings", path, seed=seed).test) for seed in (1, 2)} == {8}


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["user,item,stars", "a,b,3"], "there is no column 'rating'; the first line has user, item, stars"),
        (["user,item,rating", "a,b,good"], "line 2: 'good' in the column 'rating' is no number"),
        (["user,item,rating", "a,b,nan"], "'nan' in the column 'rating' is no number"),
        (["user,item,rating,date", "a,b,3,soon"], "'soon' in the column 'date' is no time"),
        (["user,item,rating", "a,b,3", "a,b,4"], "line 3: user 'a' has rated item 'b' before"),
        (["user,item,rating", "a,,3"], "the user or the item is empty"),
        (["user,item,rating", "a,b"], "it has 2 cells, expected 3"),
        (["user,item,rating"], "it has no ratings"),
        (["user,item,rating", "a,b,3", "c,b,3"], "every user has one rating only"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, lines: list[str], text: str) -> None:
    with pytest.raises(DataError, match=text):
        bm.datasets.load("ratings", written(tmp_path, lines))


@pytest.mark.parametrize(
    ("options", "text"),
    [({"target": "user"}, "target is 'user'"), ({"delimiter": ";;"}, "delimiter is ';;'")],
)
def test_options_out_of_range_are_named(options: Any, text: str) -> None:
    with pytest.raises(BigmodelError, match=text):
        bm.datasets.Ratings(**options)
