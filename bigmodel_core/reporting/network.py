"""A model on a page: its layers as a table and a picture, its kernels, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bigmodel_core.charts import bars
from bigmodel_core.errors import BigmodelError
from bigmodel_core.nn.quantities import count, duration, size
from bigmodel_core.nn.summary import COLUMNS, summarise
from bigmodel_core.plan.clock import LaunchTime
from bigmodel_core.registry.plain_values import strict_json
from bigmodel_core.reporting.layers import layers
from bigmodel_core.reporting.page import Block, Charts, Facts, Folded, Section, Table, Text
from bigmodel_core.train.profile import TITLES, Profile
from bigmodel_core.train.runs import PROFILE

if TYPE_CHECKING:
    from bigmodel_core.nn.network import Network

STEPS, LAYERS = 200, 16
"""Steps of a listing, and layers of a chart."""
SIZES = (1, 64)
"""Samples of the predictions that are timed."""


def network_section(network: Network, inputs: Sequence[np.ndarray] | None, folder: Path) -> Section:
    """The layers of a model, what a prediction runs, and where the time of a training step went.

    Args:
        network: the built model.
        inputs: samples to measure the time of predictions with, an array for each input; None for no times.
        folder: of the run.
    """
    summary = summarise(network)
    table = Table("Layers in the order of computation", COLUMNS, summary.table(), COLUMNS[3:])
    blocks: list[Block] = [Facts(summary.totals())]
    blocks += [Charts([layers(network)]), Folded("All layers in a table", [table])]
    trained = steps_of(folder)
    parts = [Section("Kernels and times", kernels(network, inputs)), *([trained] if trained else [])]
    return Section("Model", blocks, parts)


def kernels(network: Network, inputs: Sequence[np.ndarray] | None) -> list[Block]:
    """What a prediction of one sample runs, and how long predictions take."""
    blocks: list[Block] = []
    if inputs is not None and (times := _times(network, inputs)):
        columns: Sequence[str] = ("Samples", "Time", "Samples per second")
        timed = [(f"{n:,}", duration(seconds), f"{n / seconds:,.0f}") for n, seconds in times]
        blocks.append(Table("Time of a prediction, measured now on this machine", columns, timed, columns))
    try:
        steps = network.kernels(1)
    except BigmodelError as error:
        return [*blocks, Text(f"The steps of a prediction cannot be listed: {error.message}", "faint")]
    rows = [
        (
            step.path or "(model)",
            step.op,
            ", ".join(f"{kernel.name} x {kernel.chunks}" for kernel in step.kernels),
            count(step.multiply_adds) if step.multiply_adds else "",
            size(step.scratch) if step.scratch else "",
            step.choice,
        )
        for step in steps[:STEPS]
    ]
    more = f", the first {STEPS} of {len(steps)}" if len(steps) > STEPS else ""
    columns = ("Layer", "Step", "Kernels x chunks", "Multiply-adds", "Scratch", "Choice")
    table = Table(f"Steps of a prediction of one sample{more}", columns, rows, columns[3:5])
    return [*blocks, Folded("What a prediction runs", [table])]


def steps_of(folder: Path) -> Section | None:
    """Where the time of a training step went, if the run was profiled."""
    try:
        found = strict_json((folder / PROFILE).read_text("utf-8"))
        kernels = tuple(LaunchTime(**item) for item in found["kernels"])
        known = {key: found[key] for key in ("steps", "timed", "batch_size", "parts")}
        tables = (profile := Profile(**known, kernels=kernels)).tables()
        layers = {path or "(model)": 1e3 * sum(both) for path, both in profile.by_layer().items()}
        parts = {TITLES.get(name, name): 1e3 * seconds for name, seconds in profile.parts.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # there is none, or none to be read
        return None
    longest = dict(sorted(layers.items(), key=lambda item: -item[1])[:LAYERS])
    charts = [
        bars(parts, title="A training step", x_label="milliseconds"),
        bars(longest, title="Its kernels by layer", x_label="milliseconds"),
    ]
    shown = [Table(title, columns, rows, columns[1:3]) for title, (columns, rows) in tables.items()]
    return Section("Time of a training step", [Charts(charts), Folded("The profile in numbers", shown)])


def _times(network: Network, inputs: Sequence[np.ndarray]) -> list[tuple[int, float]]:
    """Samples, and the seconds that a prediction of them takes."""
    found = []
    for samples in SIZES:
        given = [np.resize(array, (samples, *array.shape[1:])) for array in inputs]
        try:
            network(*given)
            taken = [_seconds(network, given) for _ in range(5)]
        except BigmodelError:  # it takes batches of one size
            continue
        found.append((samples, median(taken)))
    return found


def _seconds(network: Network, inputs: Sequence[np.ndarray]) -> float:
    start = time.perf_counter()
    network(*inputs)
    return time.perf_counter() - start
