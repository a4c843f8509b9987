"""TensorBoard's files, read back by its own reader."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError

from .conftest import At, Crash, crash

reader = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
)

STEPS, EPOCHS = 6, 3
"""Of an epoch, and of a whole run."""
KINDS = ("scalars", "histograms", "images", "tensors")


def images() -> bm.Data:
    """Small pictures of two classes: dark and bright ones."""
    y = np.arange(90) % 2
    x = np.random.default_rng(0).normal(size=(90, 1, 2, 2)).astype("float32") + 3 * y[:, None, None, None]
    split = bm.Split(x.astype("float32"), y)
    train, test = split.take(np.arange(72)), split.take(np.arange(72, 90))
    return bm.Data("pictures", train, test, validation=test, labels=("dark", "bright"))


def trainer(out: Path, *more: bm.Callback, **options: Any) -> bm.Trainer:
    board = bm.callbacks.TensorBoard(**{"every": 2, "samples": 4, **options})
    model = bm.Sequential(bm.layers.Flatten(), bm.layers.Dense(5), bm.layers.Relu(), bm.layers.Dense(2))
    return bm.Trainer(model, "cross_entropy", "adam", ["accuracy"], callbacks=[board, *more], out=out)


def fit(made: bm.Trainer, **options: Any) -> bm.History:
    return made.fit(images(), **{"epochs": EPOCHS, "batch_size": 12, "verbose": False, **options})


def read(folder: Path) -> Any:
    found = reader.EventAccumulator(str(folder), dict.fromkeys(KINDS, 0))
    return found.Reload()


def curve(found: Any, tag: str) -> dict[int, float]:
    """The points of a curve by their steps; no step has two."""
    points = found.Scalars(tag)
    steps = [point.step for point in points]
    assert steps == sorted(set(steps))
    return {point.step: point.value for point in points}


def text(found: Any, tag: str) -> str:
    return found.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[bm.Trainer, bm.History, Any]:
    """A training, and what the reader makes of its file."""
    made = trainer(tmp_path_factory.mktemp("board") / "run")
    history = fit(made)
    assert made.out is not None
    return made, history, read(made.out / "tensorboard")


def test_epochs_are_at_the_steps_where_they_end(run: Any) -> None:
    _, history, found = run
    wanted = dict(zip((STEPS, 2 * STEPS, 3 * STEPS), history["val_loss"], strict=True))
    assert curve(found, "epoch/val_loss") == pytest.approx(wanted, rel=1e-6)


def test_the_rate_is_there_every_so_many_steps(run: Any) -> None:
    assert curve(run[2], "step/learning_rate") == pytest.approx(dict.fromkeys(range(2, 19, 2), 1e-3))


def test_the_loss_of_a_step_is_that_of_its_batch(tmp_path: Path) -> None:
    made = trainer(tmp_path / "run", every=1)
    fit(made, epochs=1, batch_size=72)  # one step, from the first parameters
    fresh = bm.clone(made.network.layer)
    network = fresh.build(*made.network.inputs, seed=0)
    loss, _ = bm.value_and_grad(network, "cross_entropy")(images().train.x, images().train.y)
    assert curve(read(tmp_path / "run" / "tensorboard"), "step/loss")[1] == pytest.approx(loss, rel=1e-5)


def test_a_histogram_holds_all_parameters(run: Any) -> None:
    made, _, found = run
    weight = made.network.state()["dense_1/weight"]
    *_, last = found.Histograms("parameters/dense_1/weight")
    held = last.histogram_value
    counts, limits = np.histogram(weight, 30)
    assert (last.step, held.min, held.max) == (18, pytest.approx(weight.min()), pytest.approx(weight.max()))
    np.testing.assert_array_equal(held.bucket[1:], counts)
    np.testing.assert_allclose(held.bucket_limit, limits, rtol=1e-5, atol=1e-7)


def test_gradients_are_those_of_a_batch_of_training_samples(run: Any) -> None:
    made, _, found = run
    chosen = np.linspace(0, 71, 12).astype(int)
    x, y = images().train.x[chosen], images().train.y[chosen]
    gradient = bm.value_and_grad(made.network, "cross_entropy")(x, y)[1]["dense_2/bias"]
    held = found.Histograms("gradients/dense_2/bias")[-1].histogram_value
    assert held.sum_squares == pytest.approx(np.sum(gradient.astype("float64") ** 2), rel=1e-4)


def test_private_training_shows_no_gradients(tmp_path: Path) -> None:
    made = trainer(tmp_path / "run", samples=0)
    made = bm.Trainer(
        made.model,
        "cross_entropy",
        "adam",
        callbacks=made.callbacks,
        out=made.out,
        privacy=bm.Privacy(noise=1.0),
    )
    fit(made, epochs=1)
    tags = read(tmp_path / "run" / "tensorboard").Tags()["histograms"]
    assert {tag.partition("/")[0] for tag in tags} == {"parameters"}


def test_batches_that_are_made_elsewhere_have_curves_alone(tmp_path: Path) -> None:
    x, y = images().train.x, images().train.y
    batches = [(x[start : start + 12], y[start : start + 12]) for start in range(0, 72, 12)]
    trainer(tmp_path / "run").fit(
        iter(batches), steps_per_epoch=6, epochs=1, validation=images().test, verbose=False
    )
    found = read(tmp_path / "run" / "tensorboard")
    assert list(curve(found, "epoch/loss")) == [6]
    assert not [tag for tag in found.Tags()["histograms"] if tag.startswith("gradients")]


def test_the_graph_has_the_ops_of_each_layer_with_shapes(run: Any) -> None:
    nodes = {node.name: node for node in run[2].Graph().node}
    dense = nodes["dense_1/Affine"]
    shape = dense.attr["_output_shapes"].list.shape[0]
    assert [size.size for size in shape.dim] == [-1, 5]
    assert list(dense.input)[1:] == ["dense_1/weight", "dense_1/bias"]
    assert all(name.partition(":")[0] in nodes for node in nodes.values() for name in node.input)


def test_pictures_show_the_samples(run: Any) -> None:
    *_, last = run[2].Images("examples")
    picture = Image.open(BytesIO(last.encoded_image_string))
    shades = np.asarray(picture.convert("L"))[20, [20, 112, 204]]  # of samples 0, 5 and 11 of 18: 0, 1, 1
    assert (picture.width, picture.height) == (last.width, last.height)
    assert shades[0] < shades[1]


def test_predictions_are_a_table(run: Any) -> None:
    made, _, found = run
    chosen = np.linspace(0, 17, 4).astype(int)
    chances = made.predict_proba(images().test.x[chosen])
    rows = text(found, "examples").splitlines()[2:]
    for number, (row, sample) in enumerate(zip(rows, chosen, strict=True)):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        labels = ("dark", "bright")
        assert cells[:3] == [str(number), labels[images().test.y[sample]], labels[chances[number].argmax()]]
        assert cells[3].startswith(f"{chances[number].max():.3f}")


def test_the_kernels_of_a_step_are_a_table(run: Any) -> None:
    assert len(text(run[2], "kernels").splitlines()) == 2 + len(run[0].step.kernels(12))


def test_the_profile_is_a_table(tmp_path: Path) -> None:
    made = trainer(tmp_path / "run", histograms=0, samples=0)
    fit(made, profile=True)
    assert made.profile is not None
    assert text(read(tmp_path / "run" / "tensorboard"), "profile") == made.profile.to_markdown()


def test_hyper_parameters(run: Any) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = run[2].PluginTagToContent("hparams")["_hparams_/session_start_info"]
    told = HParamsPluginData.FromString(content).session_start_info.hparams
    assert told["batch_size"].number_value == 12
    assert told["optimizer"].string_value == "Adam"
    assert told["optimizer/learning_rate"].number_value == pytest.approx(1e-3)


def test_a_confusion_matrix_is_a_table(tmp_path: Path) -> None:
    made = trainer(tmp_path / "run", histograms=0, samples=0)
    made.metrics = [bm.metrics.ConfusionMatrix()]
    history = fit(made, epochs=1)
    rows = text(read(tmp_path / "run" / "tensorboard"), "epoch/val_confusion_matrix").splitlines()
    matrix = np.asarray(history.last["val_confusion_matrix"])
    assert rows[2:] == [
        f"| {name} | {a} | {b} |" for name, (a, b) in zip(("dark", "bright"), matrix, strict=True)
    ]


def test_targets_that_are_numbers_are_a_table(tmp_path: Path) -> None:
    board = bm.callbacks.TensorBoard(str(tmp_path), histograms=0, samples=2)
    x = np.arange(20, dtype="float32")[:, None]
    made = bm.Trainer(bm.layers.Dense(1), "mean_squared_error", "adam", callbacks=[board])
    made.fit((x, 2 * x), epochs=1, verbose=False)
    rows = text(read(tmp_path), "examples").splitlines()[2:]
    guesses = made.predict(x[[0, 19]])
    assert rows == [f"| 0 | 0 | {guesses[0, 0]:.4g} |", f"| 1 | 38 | {guesses[1, 0]:.4g} |"]


def test_a_resumed_run_has_each_step_once(tmp_path: Path, run: Any) -> None:
    with pytest.raises(Crash):
        fit(trainer(tmp_path / "run", At(15, crash)), checkpoint_every=5)
    assert max(curve(read(tmp_path / "run" / "tensorboard"), "step/loss")) > 12
    fit(bm.Trainer.resume(tmp_path / "run", callbacks=[bm.callbacks.TensorBoard(every=2, samples=4)]))
    found = read(tmp_path / "run" / "tensorboard")
    for tag in ("step/loss", "epoch/val_loss"):
        assert curve(found, tag) == curve(run[2], tag)
    for tag in found.Tags()["histograms"]:
        assert [event.step for event in found.Histograms(tag)] == [6, 12, 18]
    assert [event.step for event in found.Tensors("kernels/text_summary")] == [0]


def test_an_epoch_that_is_ended_again_is_there_once(tmp_path: Path) -> None:
    class Killed(bm.Callback):
        def on_epoch_end(self, trainer: bm.Trainer, epoch: int, logs: Mapping[str, Any]) -> None:
            raise Crash

    board = trainer(tmp_path / "run").callbacks[0]
    with pytest.raises(Crash):  # the checkpoint says that step 6 is done, and the epoch is not
        fit(trainer(tmp_path / "run", Killed()), checkpoint_every=6)
    assert list(curve(read(tmp_path / "run" / "tensorboard"), "epoch/val_loss")) == [6]
    fit(bm.Trainer.resume(tmp_path / "run", callbacks=[board]))
    assert list(curve(read(tmp_path / "run" / "tensorboard"), "epoch/val_loss")) == [6, 12, 18]


def test_a_file_that_is_cut_gives_all_earlier_points(run: Any, tmp_path: Path) -> None:
    (file,) = (run[0].out / "tensorboard").iterdir()
    whole, before = file.read_bytes(), 0
    for cut in np.linspace(0, len(whole), 25).astype(int):
        (tmp_path / file.name).write_bytes(whole[:cut])
        found = read(tmp_path)
        points = curve(found, "step/loss") if "step/loss" in found.Tags()["scalars"] else {}
        assert len(points) >= before
        assert points.items() <= curve(run[2], "step/loss").items()
        before = len(points)
    assert before == 9


def test_a_cut_file_is_mended_by_a_resumed_run(tmp_path: Path, run: Any) -> None:
    with pytest.raises(Crash):
        fit(trainer(tmp_path / "run", At(14, crash)))
    (file,) = (tmp_path / "run" / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    board = trainer(tmp_path / "run").callbacks[0]
    fit(bm.Trainer.resume(tmp_path / "run", callbacks=[board]))
    assert curve(read(tmp_path / "run" / "tensorboard"), "step/loss") == curve(run[2], "step/loss")


def test_files_of_others_stay(tmp_path: Path) -> None:
    other = tmp_path / "events.out.tfevents.1700000000.host"
    other.write_bytes(b"another's")
    fit(trainer(tmp_path / "run", path=str(tmp_path)), epochs=1)
    assert other.read_bytes() == b"another's"


def test_the_file_is_light(run: Any) -> None:
    (file,) = (run[0].out / "tensorboard").iterdir()
    assert file.stat().st_size < 15_000 * EPOCHS


def test_most_steps_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bigmodel_callbacks.event_file import EventFile

    written: list[int] = []
    monkeypatch.setattr(EventFile, "add", lambda self, step, **content: written.append(step))
    fit(trainer(tmp_path / "run", every=10, histograms=0, samples=0), batch_size=2)
    of_steps = [step for step in written if step % 36]  # an epoch has 36
    assert of_steps == [step for step in range(10, 109, 10) if step % 36]


def test_the_same_bits_are_learned_without_it(tmp_path: Path, run: Any) -> None:
    made = trainer(tmp_path / "run")
    made.callbacks = []
    fit(made)
    for path, array in made.network.state().items():
        np.testing.assert_array_equal(array, run[0].network.state()[path])


def test_a_place_that_cannot_be_written_to_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="TensorBoard"):
        fit(trainer(tmp_path / "run", path=str(tmp_path / "file" / "inside")))
    assert not (tmp_path / "run").exists()


def test_options_below_0_are_told() -> None:
    with pytest.raises(ConfigError, match="every"):
        bm.callbacks.TensorBoard(every=-1)
