"""Language models have the published numbers of parameters, and see what comes before alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError

COUNTS = {
    ("gpt", "gpt2"): 124_439_808,
    ("gpt", "gpt2-medium"): 354_823_168,
    ("gpt", "gpt2-large"): 774_030_080,
    ("gpt", "gpt2-xl"): 1_557_611_200,
    ("llama", "tinyllama"): 1_100_048_384,
    ("llama", "llama2-7b"): 6_738_415_616,
    ("llama", "llama2-13b"): 13_015_864_320,
    ("llama", "llama3-8b"): 8_030_261_248,
    ("llama", "llama3-70b"): 70_553_706_496,
}
"""As Hugging Face counts those of the published weights."""
SMALL = {"vocabulary": 7, "context": 9, "layers": 2, "heads": 2, "width": 8}


@pytest.mark.parametrize(("name", "size"), COUNTS)
def test_named_sizes_have_the_published_number_of_parameters(name: str, size: str) -> None:
    model = bm.models.build(name, size=size)
    network = model.build(model.input_spec())  # which allocates none of them
    assert sum(math.prod(item.spec.shape) for item in network.parameters.values()) == COUNTS[name, size]


@pytest.mark.parametrize("name", ("gpt", "llama"))
def test_a_step_sees_those_before_it_alone(name: str) -> None:
    model, tokens = bm.models.build(name, **SMALL), np.array([[1, 2, 3, 4, 5]])
    scores = model(tokens)
    changed = model(np.array([[1, 2, 3, 6, -1]]))
    np.testing.assert_array_equal(changed[:, :3], scores[:, :3])
    assert np.abs(changed[:, 3] - scores[:, 3]).max() > 1e-4


@pytest.mark.parametrize("name", ("gpt", "llama"))
def test_a_model_takes_its_vocabulary_from_the_data(name: str) -> None:
    data = bm.datasets.load("text")
    assert bm.models.build(name).fitted(data).vocabulary == 75


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"size": "huge"}, "there is no size 'huge'"),
        ({"width": 10, "heads": 4}, "width of 10 cannot be split into 4 heads"),
        ({"layers": 0}, "layers is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_what_does_not_fit_is_named(fields: dict[str, Any], text: str) -> None:
    for name in ("gpt", "llama"):
        with pytest.raises(ConfigError, match=text):
            bm.models.build(name, **fields)
    with pytest.raises(ConfigError, match="4 heads cannot share 3"):
        bm.models.build("llama", kv_heads=3)
