"""`bigmodel train --from`: a model begins with what another one learned."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm

from .conftest import Command, run_all

SMALL = ("--set", "layers=1", "--set", "heads=2", "--set", "width=8", "--epochs", 1)
STILL = ("--learning-rate", 0, "--epochs", 1)
REVIEWS = ("--data", "text-classification", "--data-dir", "text-classification")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of bert, and examples of reviews."""
    folder = tmp_path_factory.mktemp("pretrained")
    for name in ("masked-text", "text-classification"):
        (folder / name).mkdir()
        bm.datasets.get(name).example(folder / name)
    data = ("--data", "masked-text:length=16,vocabulary=40", "--data-dir", "masked-text")
    run_all(folder, ("train", "bert", *data, *SMALL, "--out", "first"))
    return folder


@pytest.fixture
def here(pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with all of that."""
    shutil.copytree(pretrained, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    return tmp_path / "own"


def test_encoder_tokenizer_and_sizes_are_taken_and_the_head_is_new(bigmodel: Command, here: Path) -> None:
    result = bigmodel("train", "bert-classifier", *REVIEWS, *STILL, "--from", "first", "--out", "second")
    assert result.code == 0, result.err
    said = " ".join(result.out.split())
    assert "from first" in said
    assert "new: output/bias, output/weight; not used: masked/bias" in said
    first, second = bm.load("first"), bm.load("second")
    before, after = first.state(), second.state()
    assert set(after) - set(before) == {"output/weight", "output/bias"}
    for path in set(after) & set(before):
        np.testing.assert_array_equal(after[path], before[path], err_msg=path)
    assert after["embedding/weight"].shape[1] == 8
    assert second.about.encoding.tokenizer == first.about.encoding.tokenizer
    assert second.about.encoding.labels == ("bad", "good")


def test_training_goes_on_from_there(bigmodel: Command, here: Path) -> None:
    result = bigmodel(
        "train", "bert-classifier", *REVIEWS, "--epochs", 1, "--from", "first", "--freeze", "block_*"
    )
    assert result.code == 0, result.err
    before, after = bm.load("first").state(), bm.load("runs/bert-classifier-001").state()
    assert not np.array_equal(after["embedding/weight"], before["embedding/weight"])
    np.testing.assert_array_equal(
        after["block_1/attention/query/weight"], before["block_1/attention/query/weight"]
    )


def test_an_experiment_file_names_it(bigmodel: Command, here: Path) -> None:
    Path("tune.toml").write_text(
        '[model]\nname = "bert-classifier"\n'
        '[data]\nname = "text-classification"\ndata_dir = "text-classification"\n'
        '[train]\nfrom = "first"\nepochs = 1\nlearning_rate = 0\n'
    )
    assert bigmodel("train", "tune.toml", "--out", "second").code == 0
    before, after = bm.load("first").state(), bm.load("second").state()
    np.testing.assert_array_equal(after["embedding/weight"], before["embedding/weight"])


def test_a_run_without_a_checkpoint_starts_over_from_there(bigmodel: Command, here: Path) -> None:
    options = (*REVIEWS, *STILL, "--from", "first", "--out", "second")
    assert bigmodel("train", "bert-classifier", *options).code == 0
    before = bm.load("second").state()
    for name in ("last", "best"):
        Path("second", f"{name}.safetensors").unlink()
    result = bigmodel("train", "--resume", "second")
    assert result.code == 0
    assert "starts over" in result.err
    after = bm.load("second").state()
    for path, array in before.items():
        np.testing.assert_array_equal(after[path], array, err_msg=path)


def test_other_sizes_are_refused(bigmodel: Command, here: Path) -> None:
    result = bigmodel(
        "train",
        "bert-classifier",
        *REVIEWS,
        *STILL,
        "--from",
        "first",
        "--set",
        "width=6",
        "--set",
        "layers=2",
    )
    assert result.code == 1
    assert "nothing in the state fits the model" in result.err and "--set" in result.err


def test_a_run_that_is_not_there_is_refused(bigmodel: Command) -> None:
    result = bigmodel("train", "mlp", "--from", "runs/none")
    assert result.code == 1
    assert "there is no such run" in result.err


def test_a_resumed_run_takes_no_other_beginning(bigmodel: Command) -> None:
    result = bigmodel("train", "--resume", "runs/mlp-001", "--from", "runs/none")
    assert result.code == 2
    assert "--from cannot change in a resumed run" in result.err


def test_published_weights_are_fine_tuned(bigmodel: Command, here: Path) -> None:
    before = bm.models.build("bert", vocabulary=60, context=128, layers=1, heads=2, width=8)
    before.build(*before.input_spec())
    bm.to_pretrained(before, "published")
    words = Path("text-classification/example.csv").read_text().replace(",", " ").split()
    tokenizer = bm.Tokenizer.train(words, "wordpiece", 50)
    Path("published/vocab.txt").write_text("\n".join(tokenizer.tokens))
    result = bigmodel("train", "bert-classifier", *REVIEWS, *STILL, "--from", "published", "--out", "tuned")
    assert result.code == 0, result.err
    assert "new: output/bias, output/weight." in " ".join(result.out.split())
    tuned = bm.load("tuned")
    assert tuned.about.encoding.tokenizer.tokens == tokenizer.tokens
    for path in ("embedding/weight", "pooler/weight", "block_1/feed_forward/up/weight"):
        np.testing.assert_array_equal(tuned.state()[path], before.state()[path], err_msg=path)
    assert bigmodel("evaluate", "tuned", "--json").json["samples"] > 0
    assert bigmodel("export", "tuned.onnx", "--run", "tuned").code == 0
    (one,), (other,) = (
        bigmodel("predict", what, "a fine film", "--json").json for what in ("tuned", "tuned.onnx")
    )
    assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_published_weights_write_and_are_exported(bigmodel: Command) -> None:
    model = bm.models.build("gpt", vocabulary=300, context=16, layers=1, heads=2, width=8)
    model.build(model.input_spec())
    bm.to_pretrained(model, "published")
    bm.Tokenizer.train(["it was the best of times"], "bpe").save("published")
    result = bigmodel("generate", "published", "--prompt", "it was", "--max-tokens", 3)
    assert result.code == 0, result.err
    assert result.out == bm.generate(bm.from_pretrained("published"), "it was", max_tokens=3) + "\n"
    assert bigmodel("export", "model.onnx", "--run", "published").code == 0
    assert Path("model.tokenizer.json").is_file()
