"""Several outputs on a page: each by what it decides."""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core.data.tree import leaves
from bigmodel_core.nn.outputs import listed
from bigmodel_core.nn.probabilities import classified
from bigmodel_core.reporting.classes import class_sections
from bigmodel_core.reporting.numbers import residuals
from bigmodel_core.reporting.page import Facts, Section
from bigmodel_core.reporting.tested import Tested

CLASSES = 60
"""Classes up to which each is told apart."""


def of_outputs(tested: Tested) -> list[Section]:
    """What there is to see of each output that has targets."""
    outputs = listed(tested.trainer.predict(tested.split))
    names = tested.trainer.network.output_names
    targets = {path[1:]: array for path, array in leaves(tested.split.y).items()}
    if len(targets) == len(names) and not set(targets) <= set(names):  # in their order
        targets = dict(zip(names, targets.values(), strict=True))
    found: list[Section] = []
    for name, output in zip(names, outputs, strict=True):
        if name in targets:
            true = np.asarray(targets[name][np.arange(len(tested.split))])
            found += _of_output(name, np.asarray(output), true, tested.data.ignore)
    return found


def _of_output(name: str, output: np.ndarray, true: np.ndarray, ignore: int | None) -> list[Section]:
    title = f"{name[:1].upper()}{name[1:]}"
    if true.dtype.kind == "f" and output.shape == true.shape and output.ndim < 3:
        flat, wanted = (np.asarray(item, np.float64).reshape(len(item), -1) for item in (output, true))
        wide = flat.shape[1]
        columns = [name] if wide == 1 else [f"{name} {place}" for place in range(1, wide + 1)]
        return [Section(f"{title}: residuals", residuals(flat, wanted, columns))]
    if true.dtype.kind not in "iub" or output.ndim != true.ndim + 1:
        return []
    if true.ndim == 2:  # beyond the longest sample nothing counts
        steps = min(output.shape[1], true.shape[1])
        output, true = output[:, :steps], true[:, :steps]
    counts = np.ones(true.shape, bool) if ignore is None else true != ignore
    scores, labels = output[counts], true[counts].astype(np.int64)
    if not len(labels):
        return []
    predicted, chances = classified(scores)
    if chances.shape[-1] <= CLASSES:
        return class_sections(chances, labels, list(map(str, range(chances.shape[-1]))), title)
    own = chances[np.arange(len(labels)), labels]
    facts: dict[str, Any] = {
        "Most probable class is right": f"{(predicted == labels).mean():.2%}",
        "Mean probability of the true class": f"{own.mean():.4f}",
        "Classes": f"{chances.shape[-1]:,}",
    }
    return [Section(title, [Facts(facts)])]
