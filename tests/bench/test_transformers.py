"""The Transformers of the benchmark are the same networks on both sides."""

from __future__ import annotations

from typing import Any

import pytest

import bigmodel_core as bm
from bench import transformers

SMALL: dict[str, Any] = {"layers": 2, "heads": 2, "width": 8, "batch": 2, "steps": 3, "outputs": 5}
TASKS = [
    transformers.Task("gpt", **SMALL),
    transformers.Task("bert", **SMALL, scored=0.5),
    transformers.Task("vit", **SMALL, features=4),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_both_sides_have_as_many_parameters(task: transformers.Task, torch: Any) -> None:
    x, _ = task.arrays()
    ours = transformers.our_model(task).build(bm.Spec(("N", *x.shape[1:]), x.dtype.name))
    theirs, _ = transformers.torch_model(task)
    sizes = sum(array.size for array in ours.state().values())
    assert sizes == sum(parameter.numel() for parameter in theirs)
