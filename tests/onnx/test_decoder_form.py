"""Causal models of tokens as files that take the past and give the present, in the names of Optimum."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import bigmodel_core as bm
from bigmodel_onnx import Onnx

onnxruntime = pytest.importorskip("onnxruntime")

SMALL = {"vocabulary": 400, "context": 40, "layers": 2, "heads": 4, "width": 16}
MODELS = {"gpt": bm.models.build("gpt", **SMALL), "llama": bm.models.build("llama", kv_heads=2, **SMALL)}
for model in MODELS.values():
    model.build(model.input_spec())
TOKENS = np.random.default_rng(0).integers(0, 11, (3, 24))


class Decoder:
    """A file that is called with tokens and goes on from its own outputs, as its users call it."""

    def __init__(self, path: Path, batch: int) -> None:
        self.session = onnxruntime.InferenceSession(path)
        self.past = {
            item.name: np.zeros(
                [batch if size == "N" else 0 if size == "past" else size for size in item.shape], "f4"
            )
            for item in self.session.get_inputs()
            if item.name.startswith("past_key_values")
        }
        self.mask = np.zeros((batch, 0), "int64")

    def __call__(self, ids: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        self.mask = np.concatenate([self.mask, np.ones_like(ids) if mask is None else mask], 1)
        given = {"input_ids": ids, "attention_mask": self.mask, **self.past}
        logits, *present = self.session.run(None, given)
        self.past = dict(zip(self.past, present, strict=True))
        return logits


@pytest.fixture(scope="module", params=[(name, opset) for name in MODELS for opset in (17, 23)], ids=str)
def exported(request: Any, tmp_path_factory: Any) -> tuple[Any, Path]:
    name, opset = request.param
    path = tmp_path_factory.mktemp("files") / "model.onnx"
    report = Onnx(opset=opset).export(MODELS[name], path)
    assert bool(report.operators.get("Attention")) == (opset == 23)
    return MODELS[name], path


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-5)


def test_the_file_has_the_names_of_optimum(exported: tuple[Any, Path]) -> None:
    session = onnxruntime.InferenceSession(exported[1])
    past = [f"{number}.{part}" for number in (0, 1) for part in ("key", "value")]
    names = [item.name for item in session.get_inputs()]
    assert names == ["input_ids", "attention_mask", *(f"past_key_values.{name}" for name in past)]
    assert [item.name for item in session.get_outputs()] == ["logits", *(f"present.{name}" for name in past)]


def test_calls_that_follow_each_other_give_what_the_whole_gives(exported: tuple[Any, Path]) -> None:
    model, path = exported
    file = Decoder(path, 3)
    found = [file(piece) for piece in np.split(TOKENS, [7, 8, 9, 20], 1)]
    close(np.concatenate(found, 1), model(TOKENS))


def test_padded_prompts_give_what_each_gives_alone(exported: tuple[Any, Path]) -> None:
    model, path = exported
    lengths = (2, 9, 5)
    ids, mask = (
        np.full((3, 9), 4),
        np.zeros((3, 9), "int64"),
    )  # 4 is a token like others, and shown by no mask
    for row, length in enumerate(lengths):
        ids[row, 9 - length :], mask[row, 9 - length :] = TOKENS[row, :length], 1
    file = Decoder(path, 3)
    found = [file(ids, mask)[:, -1]]
    for step in range(3):
        found.append(file(np.array([[TOKENS[row, size + step]] for row, size in enumerate(lengths)]))[:, 0])
    for row, length in enumerate(lengths):
        close(
            np.stack([scores[row] for scores in found]),
            model(TOKENS[row : row + 1, : length + 3])[0, length - 1 :],
        )


def test_the_file_answers_like_any_other(exported: tuple[Any, Path]) -> None:
    model, path = exported
    padded = np.where(np.arange(24) < [[24], [10], [3]], TOKENS, -1)
    session = bm.exporters.Onnx().session(path)
    assert list(session.inputs) == ["input_ids"]
    found = session.run(padded)["logits"]
    for row, length in enumerate((24, 10, 3)):
        close(found[row, :length], model(padded)[row, :length])


def test_the_file_comes_back_as_a_model(exported: tuple[Any, Path]) -> None:
    model, path = exported
    again, file = bm.from_onnx(path), Decoder(path, 3)
    file(TOKENS[:, :7])
    found = again(TOKENS[:, 7:], np.ones((3, 24), "int64"), *file.past.values())
    close(found[0], model(TOKENS)[:, 7:])


def test_what_blocks_have_in_common_is_computed_once(exported: tuple[Any, Path]) -> None:
    graph = onnx.load(exported[1]).graph
    counts = Counter(node.op_type for node in graph.node)
    assert counts["And"] == counts["LessOrEqual"] == counts["ReduceMax"] == counts["CumSum"] == 1
    if counts["Attention"]:
        assert counts["Attention"] == 2 and not counts["Softmax"] and not counts["Concat"]


def test_a_table_that_gives_scores_is_there_once(exported: tuple[Any, Path]) -> None:
    sizes = [tuple(item.dims) for item in onnx.load(exported[1]).graph.initializer]
    wide = [size for size in sizes if set(size) == {400, 16}]
    assert len(wide) == (2 if exported[0] is MODELS["llama"] else 1)  # whose output has its own weights


def test_a_model_that_carries_more_keeps_its_own_names(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Mixed(bm.Layer):
        def __call__(self, tokens: Any) -> Any:
            _, seen = bm.layers.TokenSteps()(tokens)
            x = bm.layers.Embedding(11, 8)(tokens)
            x = bm.layers.MultiHeadAttention(2, causal=True)(x, None, seen)
            return bm.layers.Dense(11)(bm.layers.LSTM(6, carry=True)(x))

    model = Mixed()
    model.build(bm.Spec(("N", "T"), "int64"))
    bm.export(model, tmp_path / "model.onnx")
    names = [item.name for item in onnxruntime.InferenceSession(tmp_path / "model.onnx").get_inputs()]
    assert "x" in names and "multi_head_attention_1/keys" in names and "input_ids" not in names


@pytest.mark.parametrize("name", ["bert-classifier", "bert-spans"])
def test_models_that_see_both_sides_take_tokens_masks_and_segments(name: str, tmp_path: Path) -> None:
    model = bm.models.build(name, **SMALL)
    model.build(*model.input_spec())
    bm.export(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [item.name for item in session.get_inputs()] == ["input_ids", "attention_mask", "token_type_ids"]
    mask = (np.arange(24) < [[24], [10], [3]]).astype("int64")
    kinds = (np.arange(24) > np.zeros((3, 1)) + 5).astype("int64")
    given = {"input_ids": np.where(mask, TOKENS, 7), "attention_mask": mask, "token_type_ids": kinds}
    names = [item.name for item in session.get_outputs()]
    found = dict(zip(names, session.run(None, given), strict=True))
    wanted = model(np.where(mask, TOKENS, -1), np.where(mask, kinds, -1))
    wanted = wanted if isinstance(wanted, dict) else {"logits": wanted}
    assert found.keys() == wanted.keys()
    for key, array in found.items():
        close(array, wanted[key])


def test_the_tokenizer_is_beside_the_file(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    data = bm.datasets.load("text")
    model = bm.models.build("gpt", context=64, layers=1, heads=2, width=4).fitted(data)
    model.build(model.input_spec())
    report = bm.exporters.Onnx().export(model, tmp_path / "model.onnx", data=data)
    assert report.tokenizer == "model.tokenizer.json" and "with model.tokenizer.json:" in str(report)
    read = tokenizers.Tokenizer.from_file(str(tmp_path / "model.tokenizer.json"))
    ids = read.encode("It was a truth").ids
    assert "".join(data.labels[number] for number in ids) == read.decode(ids) == "It was a truth"
