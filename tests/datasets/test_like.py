"""Data that come as a trained model met its own: by name, with nothing fitted again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data.encoding import Encoding, encoding_in
from bigmodel_core.errors import ConfigError, DataError, UsageError


@dataclasses.dataclass(frozen=True)
class Orchard(bm.Dataset):
    """A data set of a third party, whose `load` knows no `like`: it fits whatever it meets."""

    name: ClassVar[str] = "orchard"
    kinds: tuple[str, ...] = ("apple", "pear", "plum")
    columns: tuple[str, ...] = ("weight", "height")
    shift: float = 0.0

    def load(self, data_dir: Path | None = None) -> bm.Data:
        return orchard(self.kinds, self.columns, self.shift)


def raw_orchard(shift: float = 0.0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns by name in float64, and names of kinds."""
    generator = np.random.default_rng(0)
    kind = np.array(["apple", "pear", "plum"])[np.arange(60) % 3]
    weight = 100 + 30 * (kind == "pear") + generator.normal(size=60) + shift
    return {"weight": weight, "height": 7 + 2 * (kind == "plum") + 0.1 * generator.normal(size=60)}, kind


def orchard(kinds: tuple[str, ...], columns: tuple[str, ...], shift: float) -> bm.Data:
    raw, kind = raw_orchard(shift)
    rows = np.isin(kind, kinds)
    table = np.stack([raw[name] for name in columns], 1)[rows]
    steps = bm.Preprocessing(1.0, tuple(table.mean(0)), tuple(table.std(0)), "float32", (len(columns),))
    split = bm.Split(steps.apply(table), np.array([kinds.index(name) for name in kind[rows]]))
    return bm.Data("orchard", split, split, labels=kinds, preprocessing=steps, features=columns)


TRAINED = Orchard().load()


def expected(shift: float = 0.0) -> np.ndarray:
    """What the trained preprocessing makes of the raw numbers, computed in float64."""
    raw, _ = raw_orchard()
    new, _ = raw_orchard(shift)
    return np.stack([(new[name] - raw[name].mean()) / raw[name].std() for name in ("weight", "height")], 1)


def test_a_data_set_that_fits_anew_is_undone_and_brought_to_the_trained_preprocessing() -> None:
    data = Orchard(shift=100.0).load(like=TRAINED)
    np.testing.assert_allclose(data.test.x, expected(100.0), rtol=1e-5, atol=1e-5)
    assert data.encoding.numbers == TRAINED.encoding.numbers


def test_columns_and_classes_are_matched_by_name() -> None:
    data = Orchard(kinds=("plum", "apple"), columns=("height", "weight")).load(like=TRAINED)
    _, kind = raw_orchard()
    rows = kind != "pear"
    np.testing.assert_allclose(data.test.x, expected()[rows], rtol=1e-5, atol=1e-5)
    assert data.labels == TRAINED.labels
    assert [data.labels[number] for number in data.test.y] == kind[rows].tolist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("weight",), "lacks height"),
        (("weight", "height", "width"), "also has width"),
        (("weight", "depth"), "lacks height, and also has depth"),
    ],
)
def test_columns_that_are_missing_or_unknown_are_named(columns: tuple[str, ...], message: str) -> None:
    other = bm.Split(
        np.zeros((4, len(columns)), "float32"),
        np.zeros(4, "int64"),
        encoding=dataclasses.replace(TRAINED.encoding, features=columns, preprocessing=None),
    )
    with pytest.raises(DataError, match=message):
        other.like(TRAINED)


def test_an_unknown_class_is_named_only_where_a_sample_has_it() -> None:
    x, y = np.zeros((4, 2), "float32"), np.array([0, 1, 0, 1])
    labels = ("apple", "quince")
    data = bm.Data(
        "new", bm.Split(x, y), bm.Split(x, y * 0), labels=labels, preprocessing=TRAINED.preprocessing
    )
    assert data.test.like(TRAINED).y.tolist() == [0, 0, 0, 0]
    with pytest.raises(DataError, match="'quince' is not among those .*: apple, pear, plum"):
        data.train.like(TRAINED)


def test_targets_of_another_kind_are_refused() -> None:
    x = np.zeros((4, 2), "float32")
    numbers = bm.Data("new", bm.Split(x, x[:, 0]), bm.Split(x, x[:, 0]), task="regression")
    with pytest.raises(DataError, match="numbers, the model was trained for classes"):
        numbers.like(TRAINED)


class Rows(bm.Source):
    def __init__(self, x: np.ndarray) -> None:
        self.x, self.shape, self.dtype = x, x.shape, x.dtype

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        out[...] = self.x[indices]


def test_samples_that_are_read_when_needed_are_changed_then() -> None:
    fitted = Orchard(shift=100.0).load()
    split = dataclasses.replace(fitted.test, x=Rows(fitted.test.x)).like(TRAINED)
    assert isinstance(split.x, bm.Source)
    np.testing.assert_allclose(split.x[5:9], expected(100.0)[5:9], rtol=1e-5, atol=1e-5)


def trained_model() -> bm.Trainer:
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", bm.optimizers.SGD(0.5), ["accuracy"])
    trainer.fit(TRAINED, 20, verbose=False)
    return trainer


def test_a_trainer_evaluates_fits_and_predicts_data_loaded_anew_as_its_own(tmp_path: Path) -> None:
    trainer = trained_model()
    anew = Orchard(kinds=("plum", "pear"), columns=("height", "weight"), shift=0.5).load()
    scores = trainer.network(expected(0.5)[raw_orchard()[1] != "apple"].astype("float32"))
    assert trainer.evaluate(anew.test)["accuracy"] == trainer.evaluate(anew)["accuracy"] > 0.9
    np.testing.assert_allclose(trainer.predict(anew.test), scores, rtol=1e-4, atol=1e-4)
    bm.save(trainer.network, tmp_path / "m.safetensors")
    again = bm.Trainer(bm.load(tmp_path / "m.safetensors"), "cross_entropy", metrics=["accuracy"])
    assert again.evaluate(anew.test)["accuracy"] == trainer.evaluate(anew.test)["accuracy"]
    loss = again.fit(anew, 1, verbose=False)["loss"][0]
    assert loss == pytest.approx(trainer.evaluate(anew.train)["loss"], rel=0.3)
    with pytest.raises(DataError, match="'quince'"):
        again.fit(dataclasses.replace(anew, labels=("plum", "quince")), 1, verbose=False)


def test_everything_that_knows_the_training_will_do(tmp_path: Path) -> None:
    trainer = trained_model()
    bm.save(trainer.network, tmp_path / "m.safetensors")
    model = bm.load(tmp_path / "m.safetensors")
    known = [TRAINED, TRAINED.encoding, TRAINED.test, trainer, trainer.model, trainer.network, model]
    for item in [*known, tmp_path / "m.safetensors", str(tmp_path / "m.safetensors")]:
        data = Orchard(shift=9.0).load(like=item)
        assert data.preprocessing == TRAINED.preprocessing
    with pytest.raises(UsageError, match="Dense does not say"):
        Orchard().load(like=bm.layers.Dense(2))


# What is written down -------------------------------------------------------------------------------------


def test_an_encoding_survives_json_and_a_file_s_metadata() -> None:
    import json

    encoding = dataclasses.replace(
        TRAINED.encoding, target="kind", dataset={"name": "datasets:Digits", "fields": {}}
    )
    text = json.loads(json.dumps(encoding.to_dict()))
    assert Encoding.from_dict(text) == encoding
    metadata = {key: text[key] for key in ("labels", "task", "preprocessing", "input_meaning")}
    rest = {key: text[key] for key in ("features", "target", "target_preprocessing", "dataset")}
    assert encoding_in({**metadata, "dataset": "orchard", "encoding": rest}) == encoding


@pytest.mark.parametrize(
    "values",
    [{"x": 1}, {"labels": "ab"}, {"labels": [1]}, {"task": "guess"}, {"preprocessing": []}, {"name": 3}, []],
)
def test_a_damaged_description_is_refused(values: object) -> None:
    with pytest.raises(ConfigError):
        Encoding.from_dict(values)


def test_options_left_alone_are_those_of_the_training() -> None:
    from bigmodel_datasets import Sine

    trained = Sine(length=7, samples=50).load()
    assert Sine().load(like=trained).input_shape == (7, 1)
    assert len(Sine(samples=20).load(like=trained).train) == 16
    assert bm.datasets.load("sine", like=trained).input_shape == (7, 1)
