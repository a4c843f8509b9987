"""Models of texts from the command line: trained, measured, exported, and asked about texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.processes import run_code

PLUGIN = '''
"""Small models of texts."""
from dataclasses import dataclass
from typing import ClassVar
import bigmodel_core as bm

TOKENS = bm.Spec(("N", "T"), "int64")


@dataclass(frozen=True)
class Bag(bm.Model):
    """Classes of texts by the sum of their tokens' vectors."""
    name: ClassVar[str] = "bag"
    learning_rate: ClassVar[float] = 0.03
    vocabulary: int = 64
    classes: int = 2

    def input_spec(self):
        return TOKENS

    def __call__(self, tokens):
        vectors = bm.layers.Embedding(self.vocabulary, 16, padded=True)(tokens)
        return bm.layers.Dense(self.classes)(bm.ops.sum(vectors, 1))


@dataclass(frozen=True)
class Each(Bag):
    """Tags of tokens by their vectors."""
    name: ClassVar[str] = "each"

    def __call__(self, tokens):
        return bm.layers.Dense(self.classes)(bm.layers.Embedding(self.vocabulary, 16, padded=True)(tokens))


@dataclass(frozen=True)
class Writer(bm.Model):
    """The next token by the last one and all of the source."""
    name: ClassVar[str] = "writer"
    learning_rate: ClassVar[float] = 0.03
    vocabulary: int = 64
    target_vocabulary: int = 64

    def input_spec(self):
        return bm.Spec(("N", "S"), "int64"), TOKENS

    def __call__(self, source, target):
        own = bm.ops.sum(bm.layers.Embedding(self.vocabulary, 32, padded=True)(source), 1)
        last = bm.layers.Embedding(self.target_vocabulary, 32, padded=True)(target)
        return bm.layers.Dense(self.target_vocabulary)(bm.layers.Tanh()(last + own[:, None]))


@dataclass(frozen=True)
class Guesser(bm.Model):
    """What masked tokens are, and whether the second passage follows."""
    name: ClassVar[str] = "guesser"
    loss: ClassVar[dict] = {"masked": "cross_entropy", "next": "cross_entropy"}
    metrics: ClassVar[dict] = {"masked": "accuracy", "next": "accuracy"}
    vocabulary: int = 64

    def input_spec(self):
        return TOKENS, TOKENS

    def __call__(self, tokens, segments):
        vectors = bm.layers.Embedding(self.vocabulary, 16, padded=True)(tokens)
        near = bm.layers.Embedding(2, 16, padded=True)(segments) + bm.ops.mean(vectors, 1, keepdims=True)
        scores = bm.layers.Dense(self.vocabulary)(vectors + near)
        return {"masked": scores, "next": bm.layers.Dense(2)(bm.ops.sum(vectors, 1))}


@bm.hookimpl
def bigmodel_models():
    return [Bag, Each, Writer, Guesser]
'''

RUN = """
import contextlib, io, json, sys
from pathlib import Path
from bigmodel_core.cli.app import main

for command in json.loads(Path(sys.argv[1]).read_text()):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(command)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def commands_of(folder: Path) -> dict[str, list[str]]:
    """What is typed, by a name for each."""
    reviews = ["text,label", *(f"a {w} film {n},{w}" for n in range(30) for w in ("good", "bad"))]
    (folder / "reviews.csv").write_text("\n".join(reviews))
    tags = {"the": "DET", "dog": "NOUN", "cat": "NOUN", "sees": "VERB", ".": "END"}
    sentences = [["the", "dog", "sees", "the", "cat", "."], ["dog", "sees", "cat", "."], ["the", "cat"]] * 20
    lines = ["\n".join(f"{word} {tags[word]}" for word in words) for words in sentences]
    (folder / "tags.conll").write_text("\n\n".join(lines))
    words = {"1": "one", "2": "two", "6": "six"}
    pairs = [f"{a}{letter}\t{words[a]}" for a in words for letter in "abcdefghijklmnopqrstuv"]
    (folder / "pairs.tsv").write_text("\n".join(["digit\tword", *pairs]))
    (folder / "lines.txt").write_text("a good film\n\na bad film\n")
    data = {
        "bag": ("text-classification", "reviews.csv"),
        "each": ("token-tags:tokenizer=words", "tags.conll"),
        "writer": ("text-pairs:tokenizer=characters,target_tokenizer=characters", "pairs.tsv"),
    }
    found: dict[str, list[str]] = {}
    for model, (name, file) in data.items():
        onnx = f"{model}.onnx"
        options = ["--data", name, "--data-dir", file, "--epochs", "30", "--batch-size", "8", "--json"]
        found[f"train {model}"] = ["train", model, *options]
        found[f"export {model}"] = ["export", onnx, "--run", f"runs/{model}-001", "--quiet"]
        for place in (f"runs/{model}-001", onnx):
            kind = "file" if place == onnx else "run"
            found[f"evaluate {model} {kind}"] = ["evaluate", place, "--data-dir", file, "--json"]
            found[f"test {model} {kind}"] = ["predict", place, "--data", name, "--data-dir", file, "--json"]
    for place, kind in (("runs/bag-001", "run"), ("bag.onnx", "file")):
        found[f"predict bag {kind}"] = ["predict", place, "a good film 999", "lines.txt", "--json"]
    for place, kind in (("runs/each-001", "run"), ("each.onnx", "file")):
        found[f"predict each {kind}"] = ["predict", place, "the  dog sees .", "--json"]
    for place, kind in (("runs/writer-001", "run"), ("writer.onnx", "file")):
        found[f"predict writer {kind}"] = ["predict", place, "2a", "6bc", "--json"]
    (folder / "novel.txt").write_text(" ".join(f"The {n} dogs see {n * 7 % 11} cats." for n in range(300)))
    masked = ["--data", "masked-text:length=32,vocabulary=80", "--data-dir", "novel.txt"]
    found["train guesser"] = ["train", "guesser", *masked, "--epochs", "3", "--json"]
    found["evaluate guesser"] = ["evaluate", "runs/guesser-001", "--json"]
    found["predict guesser"] = ["predict", "runs/guesser-001", *masked]
    found["show bag"] = ["predict", "bag.onnx", "lines.txt"]
    found["show each"] = ["predict", "each.onnx", "the dog"]
    found["table each"] = ["predict", "each.onnx", "the dog", "--out", "found.csv"]
    found["show writer"] = ["predict", "runs/writer-001", "2a"]
    found["out each"] = ["predict", "each.onnx", "the dog", "--out", "found.jsonl"]
    found["empty"] = ["predict", "bag.onnx", " "]
    found["no file"] = ["predict", "bag.onnx", "none.txt"]
    found["unknown"] = ["predict", "writer.onnx", "x9"]
    found["info"] = ["info", "writer", "--data", data["writer"][0], "--data-dir", "pairs.tsv", "--json"]
    found["data info"] = ["data", "info", "text-pairs", "--data-dir", "pairs.tsv"]
    found["resume"] = ["train", "--resume", "runs/each-001", "--epochs", "30", "--json"]
    return found


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command answered, in one process of its own that has the models as a plugin."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "site").mkdir()
    (folder / "site" / "bigmodel_small.py").write_text(PLUGIN)
    info = folder / "site" / "bigmodel_small-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bigmodel-small\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bigmodel]\nsmall = bigmodel_small\n")
    commands = commands_of(folder)
    (folder / "commands.json").write_text(json.dumps(list(commands.values())))
    done = run_code(RUN, "commands.json", cwd=folder, beside=[folder / "site"])
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    found: dict[str, Any] = dict(zip(commands, answers, strict=True))
    found["folder"] = folder
    return found


def result(said: dict[str, Any], name: str) -> Any:
    code, out, err = said[name]
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize("model", ["bag", "each"])
def test_training_reaches_what_can_be_learned(model: str, said: dict[str, Any]) -> None:
    assert result(said, f"train {model}")["test"]["accuracy"] == 1


@pytest.mark.parametrize("model", ["bag", "each", "writer"])
def test_a_file_is_as_accurate_as_its_run(model: str, said: dict[str, Any]) -> None:
    wanted = result(said, f"train {model}")["test"]["accuracy"]
    for kind in ("run", "file"):
        assert result(said, f"evaluate {model} {kind}")["metrics"]["accuracy"] == pytest.approx(wanted)
        assert result(said, f"test {model} {kind}")["accuracy"] == pytest.approx(wanted)


def test_losses_and_metrics_of_two_outputs_are_those_of_the_model(said: dict[str, Any]) -> None:
    found = result(said, "evaluate guesser")["metrics"]
    assert set(found) == {"loss", "masked_loss", "next_loss", "masked_accuracy", "next_accuracy"}
    assert found == pytest.approx(result(said, "train guesser")["test"])
    code, _, err = said["predict guesser"]
    assert code == 2 and "several targets (masked, next)" in err


@pytest.mark.parametrize("kind", ["run", "file"])
def test_texts_and_lines_of_a_file_get_a_class(kind: str, said: dict[str, Any]) -> None:
    found = result(said, f"predict bag {kind}")
    assert [(item["input"], item["label"]) for item in found] == [
        ("a good film 999", "good"),
        ("lines.txt:1", "good"),
        ("lines.txt:3", "bad"),
    ]


@pytest.mark.parametrize("kind", ["run", "file"])
def test_words_get_tags_with_their_places(kind: str, said: dict[str, Any]) -> None:
    (found,) = result(said, f"predict each {kind}")
    parts = [(span["text"], span["start"], span["end"], span["label"]) for span in found["spans"]]
    assert parts == [
        ("the", 0, 3, "DET"),
        ("dog", 5, 8, "NOUN"),
        ("sees", 9, 13, "VERB"),
        (".", 14, 15, "END"),
    ]


@pytest.mark.parametrize("kind", ["run", "file"])
def test_a_model_of_pairs_writes_a_text(kind: str, said: dict[str, Any]) -> None:
    assert result(said, f"predict writer {kind}") == [
        {"input": "2a", "text": "two"},
        {"input": "6bc", "text": "six"},
    ]


def test_predictions_are_shown_as_text(said: dict[str, Any]) -> None:
    assert "lines.txt:3" in said["show bag"][1] and "bad" in said["show bag"][1]
    assert "the/DET dog/NOUN" in said["show each"][1]
    assert [line.split() for line in said["show writer"][1].splitlines()] == [
        ["Input", "Text"],
        ["2a", "two"],
    ]


def test_spans_are_written_to_a_file(said: dict[str, Any]) -> None:
    (_, row) = (said["folder"] / "found.csv").read_text().splitlines()
    assert row.startswith("the dog,the/DET dog/NOUN,")
    (line,) = (said["folder"] / "found.jsonl").read_text().splitlines()
    assert [span["label"] for span in json.loads(line)["spans"]] == ["DET", "NOUN"]


@pytest.mark.parametrize(
    ("name", "code", "match"),
    [("empty", 1, "text 1 is empty"), ("no file", 1, "none.txt: there is no such file")],
)
def test_mistakes_are_named(name: str, code: int, match: str, said: dict[str, Any]) -> None:
    assert said[name][0] == code and match in said[name][2]


def test_what_was_never_met_is_no_error_where_a_token_stands_for_it(said: dict[str, Any]) -> None:
    assert len(result_of_text(said)) == 1


def result_of_text(said: dict[str, Any]) -> list[str]:
    code, out, err = said["unknown"]
    assert code == 0, err
    return [line for line in out.splitlines() if "x9" in line]


def test_info_builds_for_several_inputs_of_any_length(said: dict[str, Any]) -> None:
    assert [layer["output"][:2] for layer in result(said, "info")["layers"][:2]] == [["N", "S"], ["N", "T"]]


def test_the_shapes_of_several_inputs_are_shown(said: dict[str, Any]) -> None:
    assert "S int64; T int64" in said["data info"][1]


def test_a_run_that_is_done_goes_on_without_another_step(said: dict[str, Any]) -> None:
    assert result(said, "resume")["test"] == result(said, "train each")["test"]
