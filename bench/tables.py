"""`python -m bench.tables`: `tabular-mlp` beside scikit-learn, on a table that is made and on bundled ones.

Ours is trained from the shell, with no option but the target. The others get the same training rows with the
same preprocessing: MLPClassifier features that are numbers, as it is and with early stopping,
HistGradientBoosting the categories as categories. Figures are accuracies, of diabetes r2, on test
rows that none has seen: means over seeds of the split.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import fmean

import numpy as np

import bigmodel_core as bm

BUNDLED = ("iris", "wine", "breast_cancer", "digits", "diabetes")
MOST_CODES = 254
"""Categories of a column that HistGradientBoosting takes, beside the one for all others."""


def made(path: Path, rows: int = 20_000) -> None:
    """Write a table of two classes, with gaps, categories (one with 300 values), dates and texts."""
    draw = np.random.default_rng(0)
    age = draw.integers(18, 90, rows).astype(float)
    income = np.exp(draw.normal(10, 1, rows))
    jobs = ["clerk", "nurse", "driver", "teacher", "cook", "farmer"]
    job = draw.choice(jobs, rows, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
    city = np.array([f"city{int(rank)}" for rank in draw.zipf(1.5, rows).clip(1, 300)])
    effect = dict(zip(sorted(set(city)), draw.normal(0, 1, 400), strict=False))
    member = draw.random(rows) < 0.4
    day = np.datetime64("2020-01-01") + draw.integers(0, 1460, rows)
    likes = draw.random(rows) < 0.5
    words = "the a of delivery box order item arrived parcel came with shop store late today again"
    telling = [["bad", "broken", "slow", "angry"], ["great", "excellent", "happy", "fast"]]
    notes = []
    for good in likes:
        note = list(draw.choice(words.split(), draw.integers(3, 8)))
        note += [str(draw.choice(telling[int(good)]))] if draw.random() < 0.7 else []
        draw.shuffle(note)
        notes.append(" ".join(note))
    month = day.astype("datetime64[M]").astype(int) % 12
    score = (
        1.2 * np.sin((age - 50) / 12)
        + 0.8 * np.log(income / np.e**10) * (job == "nurse")
        - 0.9 * (job == "cook")
        + np.array([effect[name] for name in city])
        + 1.3 * likes
        + np.cos(2 * np.pi * month / 12)
        + 0.7 * member * (age > 50)
    )
    outcome = np.where(score + draw.logistic(0, 0.6, rows) > 0.8, "good", "poor")

    def gaps(values: np.ndarray, share: float) -> list[str]:
        return ["" if draw.random() < share else str(value) for value in values]

    columns = {
        "row": [f"r{row}" for row in range(rows)],
        "age": gaps(age.astype(int), 0.05),
        "income": gaps(income.round(2), 0.1),
        "job": gaps(job, 0.05),
        "city": city,
        "member": gaps(np.where(member, "yes", "no"), 0.03),
        "joined": gaps(day, 0.02),
        "note": notes,
        "outcome": outcome,
    }
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def bundled(name: str, path: Path) -> None:
    """Write a table that scikit-learn has, with classes by name."""
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    names = getattr(found, "target_names", None) if name != "diabetes" else None
    titles = [str(title) for title in found.feature_names]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*titles, "outcome"])
        for row, target in zip(found.data.tolist(), found.target.tolist(), strict=True):
            writer.writerow([*row, target if names is None else f"kind {names[int(target)]}"])


def ours(path: Path, seed: int) -> float:
    """What a run from the shell measured on its test rows."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        given = ["--data", f"csv:target=outcome,seed={seed}", "--data-dir", str(path), "--out", str(out)]
        command = [sys.executable, "-m", "bigmodel_core.cli", "train", "tabular-mlp", *given, "--quiet"]
        subprocess.run(command, check=True, capture_output=True)
        found = json.loads((out / "run.json").read_text("utf-8"))["results"]["test"]
    return float(found["accuracy"] if "accuracy" in found else found["r2"])


def theirs(path: Path, seed: int) -> tuple[float, ...]:
    """What HistGradientBoosting, MLPClassifier and that with early stopping, or their regressors, reach."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    data = bm.datasets.load("csv", path, target="outcome", seed=seed, categories="embed")
    one_hot = bm.datasets.load("csv", path, target="outcome", seed=seed)
    of_numbers = data.task == "regression"
    trees = (HistGradientBoostingRegressor if of_numbers else HistGradientBoostingClassifier)(
        random_state=0, categorical_features=np.flatnonzero(_coded(data.train.x))
    )
    changed = counted(data)
    trees.fit(changed(data.train.x), data.train.y.ravel())
    nets = []
    for early in (False, True):
        net = (MLPRegressor if of_numbers else MLPClassifier)(random_state=0, early_stopping=early)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that 200 passes were too few
            net.fit(one_hot.train.x, one_hot.train.y.ravel())
        nets.append(net.score(one_hot.test.x, one_hot.test.y.ravel()))
    return float(trees.score(changed(data.test.x), data.test.y.ravel())), *nets


def _coded(x: object) -> np.ndarray:
    """Which columns hold codes."""
    if not isinstance(x, dict):
        return np.zeros(np.shape(x)[1], bool)
    return np.concatenate([np.full(part.shape[1], part.dtype.kind == "i") for part in x.values()])


def counted(data: bm.Data) -> object:
    """From x to a table for trees, in which the rarest of many categories are one."""
    if not isinstance(data.train.x, dict):
        return lambda x: x
    common = [np.argsort(-np.bincount(codes))[:MOST_CODES] for codes in data.train.x["categories"].T]

    def changed(x: dict[str, np.ndarray]) -> np.ndarray:
        found = [x["numbers"]] if "numbers" in x else []
        for codes, kept in zip(x["categories"].T, common, strict=True):
            number = np.zeros(max(codes.max(), kept.max()) + 1)
            number[kept] = np.arange(1, len(kept) + 1)
            found.append(number[codes][:, np.newaxis])
        return np.concatenate(found, axis=1)

    return changed


def main() -> None:
    """Print a row for each table."""
    parser = argparse.ArgumentParser(prog="python -m bench.tables", description=__doc__)
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help=f"made, {', '.join(BUNDLED)}; all by default"
    )
    parser.add_argument("--seeds", type=int, default=5, help="splits of each table (default 5)")
    options = parser.parse_args()
    names = options.tables or ["made", *BUNDLED]
    if unknown := sorted(set(names) - {"made", *BUNDLED}):
        parser.error(f"unknown table {', '.join(unknown)}")
    others = ("HistGradientBoosting", "MLPClassifier", "with early stopping")
    columns = ("table", "rows", "tabular-mlp", *others, "seconds")
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / f"{name}.csv"
            made(path) if name == "made" else bundled(name, path)
            rows = path.read_text("utf-8").count("\n") - 1
            found, seconds = [], []
            for seed in range(options.seeds):
                start = time.perf_counter()
                own = ours(path, seed)
                seconds.append(time.perf_counter() - start)
                found.append((own, *theirs(path, seed)))
            means = " | ".join(f"{fmean(column):.4f}" for column in zip(*found, strict=True))
            print(f"| {name} | {rows:,} | {means} | {fmean(seconds):.0f} |", flush=True)


if __name__ == "__main__":
    main()
