"""Times samples that are read from Parquet beside the same in memory: `python bench.py`.

Both run in one process, in turns; a figure is the median of the rounds, in thousands of rows a second.
`python bench.py large` writes 3.4 GB, loads them, reads a shuffled epoch, and prints rates and peak memory.
"""

from __future__ import annotations

import itertools
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import bigmodel_core as bm
from bigmodel_parquet import Parquet

SIZES = [(4_000_000, 262_144, 256), (4_000_000, 262_144, 4096), (4_000_000, 65_536, 256)]
"""Rows, rows in a row group, rows in a batch."""
COLUMNS = 20


def write(folder: Path, rows: int, group: int, files: int = 1) -> None:
    """Write random numbers, which do not compress, and a target that follows from them."""
    random = np.random.default_rng(0)
    weights = random.standard_normal(COLUMNS, dtype="float32")
    schema = pa.schema([(f"c{column}", pa.float32()) for column in range(COLUMNS)] + [("y", pa.float32())])
    for file in range(files):
        path = folder / f"part-{file}.parquet"
        with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
            for start in range(0, rows // files, group):
                count = min(group, rows // files - start)
                x = random.standard_normal((count, COLUMNS), dtype="float32")
                writer.write_table(pa.table([*x.T, x @ weights], schema), row_group_size=group)


def read(split: bm.Split, batch: int, most: int | None = None) -> float:
    """The rows a second of shuffled batches, without the time that the order takes."""
    batches = itertools.islice(iter(bm.Loader(split, batch, shuffle_seed=0)), most)
    next(batches)
    start = time.perf_counter()
    rows = sum(len(x) for x, _ in batches)
    return rows / (time.perf_counter() - start)


def train(split: bm.Split, batch: int) -> float:
    """The rows a second of an epoch of training, all in all."""
    trainer = bm.Trainer(bm.models.build("mlp", classes=1), "mean_squared_error", metrics=[])
    trainer.fit((np.asarray(split.x[:batch]), split.y[:batch]), batch_size=batch, epochs=1, verbose=False)
    start = time.perf_counter()
    trainer.fit(split, batch_size=batch, epochs=1, verbose=False)
    return len(split) / (time.perf_counter() - start)


def main(sizes: list[tuple[int, int, int]] = SIZES, rounds: int = 3) -> None:
    """Print a table in Markdown."""
    print("| rows, row group, batch | | in memory | streamed | without blocks |")
    print("| --- | --- | --- | --- | --- |")
    for rows, group, batch in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), rows, group)
            streamed = Parquet(cache=128).load(Path(folder)).train
            whole = bm.Split(np.asarray(streamed.x), streamed.y)
            unordered = bm.Split(bm.conforming.Changed(streamed.x, np.asarray, streamed.x.shape), streamed.y)
            unordered.x.blocks = lambda: None
            works: dict[str, list[Callable[[], float]]] = {
                "batches": [partial(read, split, batch) for split in (whole, streamed)]
                + [partial(read, unordered, batch, 4)],
                "training": [partial(train, split, batch) for split in (whole, streamed)],
            }
            for name, calls in works.items():
                found = [[call() for call in calls] for _ in range(rounds)]
                rates = [f"{statistics.median(each) / 1e3:,.1f}" for each in zip(*found, strict=True)]
                cells = " | ".join([*rates, ""][:3])
                print(f"| {rows}, {group}, {batch} | {name} | {cells} |", flush=True)


def large(rows: int = 40 << 20, group: int = 1 << 18, batch: int = 1024) -> None:
    """Print what a data set much larger than the cache takes."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        write(Path(folder), rows, group, files=4)
        start = time.perf_counter()
        data = Parquet().load(Path(folder))
        loaded = time.perf_counter() - start
        rate = read(data.train, batch)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{rows:,} rows of {COLUMNS} columns, {rows * COLUMNS * 4 / 2**30:.1f} GiB; {data.notes[-1]}")
        print(f"loaded in {loaded:.0f} s, {rate / 1e3:,.0f} thousand rows a second, peak {peak:.1f} GiB")


if __name__ == "__main__":
    large() if sys.argv[1:] == ["large"] else main()
