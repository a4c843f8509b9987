"""Listings of plans: what is told is what runs, and follows from shapes alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import GraphError, ShapeError
from bigmodel_core.kernels import cache
from bigmodel_core.plan.listing import PlannedStep
from tests.processes import run_code

LAYERS = bm.layers


def small_cnn() -> Any:
    return bm.Sequential(
        LAYERS.Conv2d(8, 3, padding=1),
        LAYERS.BatchNorm(),
        LAYERS.Relu(),
        LAYERS.MaxPool2d(2),
        LAYERS.Conv2d(12, 3, stride=2),
        LAYERS.Flatten(),
        LAYERS.Dense(5),
    )


def built_step(model: Any, shape: tuple[int, ...]) -> Any:
    step = bm.compile(model, "cross_entropy", bm.optimizers.SGD(0.1, momentum=0.9))
    step.build([bm.Spec(("N", *shape))], bm.Spec(("N",), "int64"))
    return step


def by_path(steps: list[PlannedStep], path: str) -> list[PlannedStep]:
    return [step for step in steps if step.path == path]


def test_a_listing_compiles_nothing_and_runs_nothing() -> None:
    step = built_step(small_cnn(), (1, 14, 14))
    before, state = len(cache.compilations), step.state()
    assert step.kernels(batch_size=4096) and step.network.kernels()
    assert len(cache.compilations) == before
    assert step.programs["step"].program._plans == {}
    assert all(np.array_equal(array, step.state()[path]) for path, array in state.items())


def test_a_listing_has_the_kernels_and_chunks_of_the_plans_table() -> None:
    step = built_step(small_cnn(), (1, 14, 14))
    step(np.ones((6, 1, 14, 14), "float32"), np.zeros(6, "int64"))
    (plan,) = step.programs["step"].program._plans.values()
    listed = [kernel.chunks for planned in step.kernels(batch_size=6) for kernel in planned.kernels]
    assert listed == plan._table.rows[:, 3].tolist()
    followed = [bool(kernel.epilogue) for planned in step.kernels(batch_size=6) for kernel in planned.kernels]
    assert followed == (plan._table.rows[:, 2] != 0).tolist()


@pytest.mark.parametrize(
    ("name", "count"),
    [
        # by hand: outputs x taps x channels for each layer
        ("lenet", 784 * 6 * 25 + 100 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10),
        ("resnet20", 40_813_184),  # 0.041 billion: He et al., 2016, and everybody who counted since
    ],
)
def test_multiply_adds_of_a_prediction(name: str, count: int) -> None:
    model = bm.models.build(name)
    network = model.build(model.input_spec())
    assert sum(step.multiply_adds for step in network.kernels(batch_size=1)) == count
    assert sum(step.multiply_adds for step in network.kernels(batch_size=7)) == 7 * count


def test_a_training_step_multiplies_three_times_as_much_but_for_the_first_input() -> None:
    model = bm.Sequential(LAYERS.Conv2d(4, 3, groups=2), LAYERS.ConvTranspose2d(6, 2, stride=2))
    step = bm.compile(model, "mean_squared_error", "sgd")
    step.build([bm.Spec(("N", 2, 8, 8))], bm.Spec(("N", 6, 12, 12)))
    first, second = 36 * 4 * 9, 36 * 4 * 6 * 4
    assert sum(planned.multiply_adds for planned in step.kernels(3)) == 3 * (2 * first + 3 * second)


def test_multiply_adds_of_a_recurrent_layer_follow_batch_and_steps() -> None:
    network = LAYERS.LSTM(8).build(bm.Spec(("N", "T", 5)))
    total = sum(step.multiply_adds for step in network.kernels(3, T=7))
    assert total == 3 * 7 * 4 * 8 * (5 + 8)
    assert sum(step.multiply_adds for step in network.kernels(3)) == 3 * 3 * 4 * 8 * (5 + 8)


def test_choices_follow_the_shape() -> None:
    network = small_cnn().build(bm.Spec(("N", 1, 14, 14)))
    steps = network.kernels(batch_size=32)
    (padded,), (inside,) = by_path(steps, "conv2d_1"), by_path(steps, "conv2d_2")
    assert "direct" in padded.choice and "padded rows" in padded.choice
    assert inside.choice.endswith("in place")
    (dense,) = by_path(steps, "dense_1")
    assert dense.choice.startswith("matrix product")
    pointwise = LAYERS.Conv2d(8, 1).build(bm.Spec(("N", 4, 6, 6)))
    assert any("matrix product" in step.choice for step in pointwise.kernels())


LISTING = """
import bigmodel_core as bm
for name in ("lenet", "resnet20", "lstm-classifier"):
    model = bm.models.build(name)
    trainer = bm.Trainer(model)
    trainer.step.build([model.input_spec()], bm.Spec(("N",), "int64"))
    for step in trainer.step.kernels(batch_size=48):
        print(step)
"""


def test_choices_are_the_same_in_every_process_and_at_any_number_of_threads() -> None:
    texts = {
        run_code(LISTING, BIGMODEL_NUM_THREADS=threads, PYTHONHASHSEED=threads).stdout
        for threads in ("1", "2", "8")
    }
    assert len(texts) == 1
    assert "direct" in texts.pop()


def test_a_step_that_was_not_built_cannot_be_listed() -> None:
    with pytest.raises(GraphError, match="not built"):
        bm.compile(LAYERS.Dense(2), "cross_entropy", "sgd").kernels()


@pytest.mark.parametrize(("sizes", "text"), [({"T": 5}, "no dimension T"), ({"batch_size": 0}, "is 0")])
def test_sizes_that_make_no_sense_are_refused(sizes: dict[str, int], text: str) -> None:
    network = LAYERS.Dense(2).build(bm.Spec(("N", 3)))
    with pytest.raises(ShapeError, match=text):
        network.kernels(**sizes)


def test_normalisation_follows_the_convolution_in_a_prediction() -> None:
    network = bm.models.get("resnet20")(width=4).build(bm.Spec(("N", 3, 8, 8)))
    steps = network.kernels(batch_size=2)
    assert {step.op for step in steps if "norm" in step.path or "relu" in step.path} == {"KnownMoments"}
    followed = [
        s for s in steps if s.op == "Conv2d" and s.kernels[1].epilogue.startswith("Subtract+Multiply+Add")
    ]
    assert (
        len(followed) == 19
    )  # where two convolutions meet in a sum, the chain of both follows the later one
