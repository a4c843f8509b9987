"""Models of texts, and vit, from the command line: trained, measured, asked, exported; and what stock ONNX
Runtime makes of the file."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm

from .conftest import run_here

PAIRS = "text-pairs:tokenizer=characters,length=20"
LABELS = ("--with-preprocessing",)
SMALL = ("layers=1", "heads=2", "width=8")
TEXT = "to be, or not to be: that is the question.\n" * 12


@dataclass(frozen=True)
class Case:
    """A model, what it is trained on, and what it is asked.

    Args:
        model: its name.
        data: the name of the data set, with options.
        options: of the model.
        asked: a text that a trained model is asked about.
        command: the command that asks.
        exported: options of the export.
    """

    model: str
    data: str
    options: Sequence[str] = SMALL
    asked: str = ""
    command: str = "predict"
    exported: Sequence[str] = ()


CASES = {
    "gpt": Case("gpt", "text:length=16", (*SMALL, "context=40"), "to be", "generate"),
    "llama": Case("llama", "text:length=16", (*SMALL, "context=40"), "to be", "generate"),
    "char-rnn": Case("char-rnn", "text:length=16", ("units=8",), "to be", "generate"),
    "bert": Case("bert", "masked-text:length=16,vocabulary=40"),
    "bert-without-pairs": Case("bert", "masked-text:length=16,vocabulary=40,pairs=false"),
    "bert-classifier": Case("bert-classifier", "text-classification", asked="a good film", exported=LABELS),
    "bert-classifier-of-pairs": Case(
        "bert-classifier", "text-classification:second=1,label=2", asked="a film\tso good", exported=LABELS
    ),
    "bert-tagger": Case("bert-tagger", "token-tags", asked="the dog sees", exported=LABELS),
    "bert-spans": Case("bert-spans", "question-answers", asked="Who sits?\tA cat sits here."),
    "vit": Case("vit", "digits"),
    "transformer": Case("transformer", PAIRS, asked="28"),
    "seq2seq-gru": Case("seq2seq-gru", PAIRS, ("units=8", "width=8"), "28"),
}


@dataclass(frozen=True)
class Run:
    """A run in a folder, with an exported file."""

    case: Case
    folder: Path
    data: tuple[object, ...]
    losses: dict[str, float]


@pytest.fixture(scope="module", params=CASES)
def run(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    pytest.importorskip("onnxruntime")
    case, folder = CASES[request.param], tmp_path_factory.mktemp("runs")
    name, source = case.data.partition(":")[0], folder / "data"
    if name == "text":
        source.write_text(TEXT, "utf-8")
    elif "second" in case.data:
        source.mkdir()
        (source / "pairs.tsv").write_text("text\tother\tlabel\n" + "a film\tgood\tyes\na dog\tbad\tno\n" * 12)
    elif name != "digits":
        source.mkdir()
        bm.datasets.get(name).example(source)
    where = () if name == "digits" else ("--data-dir", source)
    options = [item for option in case.options for item in ("--set", option)]
    with contextlib.chdir(folder):
        data = ("--data", case.data, *where)
        done = run_here("train", case.model, *data, *options, "--epochs", 1, "--out", "run", "--json")
        assert done.code == 0, done.err
        exported = run_here("export", "model.onnx", "--run", "run", "--quiet", *case.exported)
        assert exported.code == 0, exported.err
    return Run(case, folder, where, done.json["test"])


def test_evaluate_measures_what_training_did(run: Run) -> None:
    told = run_here("evaluate", run.folder / "run", *run.data, "--json")
    assert told.code == 0, told.err
    assert told.json["metrics"]["loss"] == pytest.approx(run.losses["loss"], abs=1e-6)


@pytest.mark.parametrize("run", [name for name, case in CASES.items() if case.asked], indirect=True)
def test_it_answers_about_a_text(run: Run) -> None:
    if run.case.command == "generate":
        told = run_here("generate", run.folder / "run", "--prompt", run.case.asked, "--max-tokens", 5)
        assert len(told.out) == 6 and set(told.out) <= set(TEXT)
        return
    of_run, of_file = (
        run_here("predict", run.folder / name, run.case.asked, "--json") for name in ("run", "model.onnx")
    )
    assert of_run.code == of_file.code == 0, of_run.err + of_file.err
    (ours,), (theirs,) = of_run.json, of_file.json
    assert set(ours) == set(theirs)
    assert all(ours.get(key) == theirs.get(key) for key in ("label", "text"))
    places = [[(part["start"], part["end"]) for part in found.get("spans") or ()] for found in (ours, theirs)]
    assert places[0] == places[1]


@pytest.mark.parametrize("run", ["gpt"], indirect=True)
def test_a_model_that_goes_on_with_texts_says_how_to_ask_it(run: Run) -> None:
    told = run_here("predict", run.folder / "run", "to be")
    assert told.code == 2 and "Fix: let it write, as in: bigmodel generate" in told.err


@pytest.mark.parametrize("run", ["bert"], indirect=True)
def test_published_weights_alone_do_not_say_how_texts_become_samples(run: Run, tmp_path: Path) -> None:
    bm.to_pretrained(bm.load(run.folder / "run" / "best"), tmp_path)
    told = run_here("predict", tmp_path, "to be")
    assert told.code == 2 and "Fix: train it on texts first" in told.err


@pytest.mark.parametrize("run", ["transformer"], indirect=True)
def test_what_is_written_is_measured(run: Run) -> None:
    by_beam = ("--strategy", "beam:width=2", "--metrics", "bleu,token_error_rate", "--json")
    measured = run_here("evaluate", run.folder / "run", *run.data, *by_beam)
    assert measured.code == 0, measured.err
    assert measured.json["metrics"].keys() == {"bleu", "token_error_rate"}
    assert measured.json["strategy"] == "beam:width=2"


def test_the_file_answers_in_stock_onnx_runtime(run: Run) -> None:
    model = bm.load(run.folder / "run" / "best")
    sizes = {"N": 2, "S": 4, "T": 6}
    given = [
        np.ones([sizes[dim] if isinstance(dim, str) else dim for dim in spec.shape], spec.dtype)
        for spec in model.network.inputs
    ]
    wanted = model(*given)
    wanted = list(wanted.values()) if isinstance(wanted, dict) else [wanted]
    if run.case.exported:
        chances = bm.probabilities.softmax(wanted[0])
        wanted = [chances.argmax(-1), chances.max(-1), chances]
    found = answers(run.folder, *given)
    for ours, theirs in zip(wanted, found, strict=False):  # behind them is what a next call goes on from
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def answers(folder: Path, *given: np.ndarray) -> list[np.ndarray]:
    """What the files in a folder give, the first time that they are called."""
    import onnxruntime

    arrays, memory = list(given), {}
    if (folder / "encoder_model.onnx").exists():
        encoder = onnxruntime.InferenceSession(folder / "encoder_model.onnx")
        source = arrays.pop(0)
        outputs = encoder.run(None, {"input_ids": source, "attention_mask": np.ones_like(source)})
        memory = {item.name: value for item, value in zip(encoder.get_outputs(), outputs, strict=True)}
    file = onnxruntime.InferenceSession(folder / "model.onnx")
    inputs: dict[str, np.ndarray] = {**memory}
    for item in file.get_inputs():
        if item.name == "attention_mask":
            inputs[item.name] = np.ones_like(inputs["input_ids"])
        elif item.name in ("input_ids", "token_type_ids", "x"):
            inputs[item.name] = arrays.pop(0)
        elif item.name not in memory:
            sizes = [{"N": 2, "past": 0}.get(size, size) for size in item.shape]
            inputs[item.name] = np.zeros(sizes, np.float32)
    return list(file.run(None, inputs))


# The page on deployment -----------------------------------------------------------------------------------


def page(name: str) -> Any:
    """A function of the page."""
    text = (Path(__file__).parents[2] / "docs" / "text_models_in_onnx_runtime.md").read_text("utf-8")
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if f"def {name}(" in code)
    assert "bigmodel" not in code
    scope: dict[str, Any] = {}
    exec(re.sub(r"\w+(?=\.onnx|\.tokenizer)", lambda found: OWN.get(found[0], found[0]), code), scope)
    return scope[name]


OWN = dict.fromkeys(("novel", "reviews"), "model")
"""What the files of the page are called here."""


@pytest.mark.parametrize("run", ["gpt", "llama"], indirect=True)
def test_the_code_of_the_page_writes_what_generate_writes(run: Run) -> None:
    with contextlib.chdir(run.folder):
        prompts = ["to be, or", "that"]
        assert page("generate")(prompts, 8) == bm.generate("run", prompts, max_tokens=8)


@pytest.mark.parametrize("run", ["transformer", "seq2seq-gru"], indirect=True)
def test_the_code_of_the_page_translates_as_generate_does(run: Run) -> None:
    with contextlib.chdir(run.folder):
        translate = page("translate")
        sources = ["28", "640", "7"]
        found = [translate(source, 8) for source in sources]
        assert found == bm.generate("run", sources, max_tokens=8)
        assert any(found)


@pytest.mark.parametrize("run", ["bert-classifier"], indirect=True)
def test_the_code_of_the_page_classifies_as_predict_does(run: Run) -> None:
    texts = ["a good film", "the worst"]
    told = run_here("predict", run.folder / "run", *texts, "--json").json
    with contextlib.chdir(run.folder):
        found = page("classify")(texts)
    assert [label for label, _ in found] == [item["label"] for item in told]
    assert [chance for _, chance in found] == pytest.approx([item["probability"] for item in told], abs=1e-5)
