"""Published weights of the encoders of BERT's kind and of vision Transformers: numbers of transformers."""

from __future__ import annotations

import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import (
    BigmodelError,
    BigmodelWarning,
    CheckpointError,
    ConfigError,
    ShapeError,
    UsageError,
)

from .test_encoders import count

TOKENS = np.array([[5, 9, 2, 30, 17, 3], [8, 4, 22, 7, -1, -1]])
SEGMENTS = np.array([[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, -1, -1]])
SIZES = {
    "vocab_size": 31, "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2,
    "intermediate_size": 12, "max_position_embeddings": 10, "initializer_range": 0.5, "num_labels": 3,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "Bert": {**SIZES, "hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
    "Roberta": {**SIZES, "pad_token_id": 1, "type_vocab_size": 1},
    "Albert": {**SIZES, "num_hidden_layers": 4, "num_hidden_groups": 2, "embedding_size": 6},
    "DistilBert": {
        "vocab_size": 31, "n_layers": 2, "dim": 8, "n_heads": 2, "hidden_dim": 12, "initializer_range": 0.5,
        "max_position_embeddings": 10, "num_labels": 3,
    },
}  # fmt: skip
HEADS = {
    "bert-encoder": "Model",
    "bert": "ForMaskedLM",
    "bert-classifier": "ForSequenceClassification",
    "bert-tagger": "ForTokenClassification",
    "bert-spans": "ForQuestionAnswering",
}
RANDOM = np.random.default_rng(0)
VIT = {
    "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 12,
    "image_size": 12, "patch_size": 4, "num_channels": 1, "num_labels": 5, "initializer_range": 0.5,
}  # fmt: skip
SMALL = {"layers": 2, "heads": 2, "width": 8, "vocabulary": 31, "context": 10}
OPTIONS: dict[str, dict[str, Any]] = {
    "Bert": {"activation": "gelu_tanh", "hidden": 12, "epsilon": 1e-3},
    "Roberta": {"first_position": 2, "segments": 1},
    "Albert": {"embedding_width": 6, "groups": 1},
    "DistilBert": {"segments": 0, "pooling": "relu", "activation": "relu"},
}


def made(name: str, config: dict[str, Any]) -> Any:
    """A random model of transformers."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    family = re.sub("(For|Model).*", "", name)
    model = getattr(transformers, name)(getattr(transformers, f"{family}Config")(**config)).eval()
    for parameter in model.parameters():  # norms and biases that are 1 and 0 would hide a mistake
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def outputs(model: Any, has_segments: bool) -> list[np.ndarray]:
    """What a model of transformers gives for the tokens."""
    import torch

    inputs = {"input_ids": np.maximum(TOKENS, 0), "attention_mask": (TOKENS >= 0).astype(int)}
    if has_segments:
        inputs["token_type_ids"] = np.maximum(SEGMENTS, 0)
    if "roberta" in model.config.model_type:
        inputs["input_ids"] = np.where(TOKENS < 0, 1, TOKENS)
    with torch.no_grad():
        found = model(**{name: torch.tensor(array) for name, array in inputs.items()})
    names = ("logits", "prediction_logits", "seq_relationship_logits", "sop_logits", "last_hidden_state")
    return [np.asarray(found[name]) for name in (*names, "start_logits", "end_logits") if name in found]


def same(found: Any, wanted: list[np.ndarray]) -> None:
    parts = list(found.values()) if isinstance(found, dict) else [found]
    for ours, theirs in zip(parts, wanted, strict=True):
        seen = TOKENS >= 0 if theirs.shape[:2] == TOKENS.shape else ...
        np.testing.assert_allclose(ours[seen], theirs[seen], atol=1e-4)


def asked(model: Any) -> Any:
    """What a model of ours gives for the tokens."""
    return model(TOKENS, SEGMENTS) if model.segments > 1 else model(TOKENS)


@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", HEADS)
def test_encoders_give_the_numbers_of_transformers(tmp_path: Path, family: str, name: str) -> None:
    more = {"num_labels": 2} if name == "bert-spans" else {}
    theirs = made(family + HEADS[name], {**FAMILIES[family], **more})
    theirs.save_pretrained(tmp_path)
    model = bm.from_pretrained(tmp_path)
    assert bm.registry.display_name(type(model)) == name
    same(asked(model), outputs(theirs, model.segments > 1))


@pytest.mark.torch
@pytest.mark.parametrize("family", ("Bert", "Albert"))
def test_the_heads_of_pre_training_are_read(tmp_path: Path, family: str) -> None:
    theirs = made(f"{family}ForPreTraining", {**FAMILIES[family], "num_labels": 2})
    theirs.save_pretrained(tmp_path)
    same(bm.from_pretrained(tmp_path)(TOKENS, SEGMENTS), outputs(theirs, True))


@pytest.mark.torch
@pytest.mark.parametrize("family", OPTIONS)
@pytest.mark.parametrize("name", ("bert", "bert-classifier"))
def test_transformers_reads_encoders_that_are_written(tmp_path: Path, family: str, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    head: dict[str, Any] = {"pairs": False} if name == "bert" else {"classes": 3}
    model = bm.models.build(name, **SMALL, **OPTIONS[family], **head)
    wanted = asked(model)
    bm.to_pretrained(model, tmp_path)
    theirs = getattr(transformers, family + HEADS[name]).from_pretrained(tmp_path).eval()
    same(wanted, outputs(theirs, model.segments > 1))


def test_a_loaded_run_is_written_as_its_class_would_be(tmp_path: Path) -> None:
    model = bm.models.build("bert-classifier", **SMALL)
    wanted = model(TOKENS, SEGMENTS)
    bm.save(model, tmp_path / "run.safetensors")
    bm.to_pretrained(bm.load(tmp_path / "run.safetensors"), tmp_path)
    again = bm.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(TOKENS, SEGMENTS), wanted)


def test_a_model_of_two_inputs_says_how_it_takes_one(tmp_path: Path) -> None:
    pretrained_bert(tmp_path)
    model = bm.from_pretrained(tmp_path)
    with pytest.raises(ShapeError, match=r"built for 2 inputs, got 1(?s:.*)build it for tokens, and"):
        model(TOKENS)
    wanted = model(TOKENS, np.minimum(TOKENS, 0))
    model.build(bm.Spec(("N", "T"), "int64"))
    np.testing.assert_array_equal(model(TOKENS)["next"], wanted["next"])


def test_one_that_no_published_family_computes_is_not_written(tmp_path: Path) -> None:
    model = bm.models.build("bert-encoder", **SMALL, embedding_width=6, segments=0)
    model(TOKENS)
    with pytest.raises(UsageError, match=r"bert has segments=1, embedding_width=None.*albert has segments=1"):
        bm.to_pretrained(model, tmp_path)


@pytest.mark.parametrize(
    ("fields", "published"),
    [
        ({"first_position": 2, "segments": 1, "vocabulary": 50265}, 124_697_433),
        ({"embedding_width": 128, "groups": 1, "vocabulary": 30000}, 11_221_680),
        ({"segments": 0, "layers": 6, "vocabulary": 30522}, 66_985_530),
    ],
    ids=("roberta-base", "albert-base-v2", "distilbert-base"),
)
def test_families_have_the_published_number_of_parameters(fields: dict[str, Any], published: int) -> None:
    assert count(bm.models.Bert(size="base", pairs=False, **fields)) == published


def pretrained_bert(folder: Path) -> Any:
    """A model of ours, which is written into a folder."""
    model = bm.models.build("bert", **SMALL)
    model.build(*model.input_spec())
    bm.to_pretrained(model, folder)
    return model


def test_another_task_begins_with_what_fits(tmp_path: Path) -> None:
    before = pretrained_bert(tmp_path).state()
    with pytest.warns(BigmodelWarning, match="new, so to be trained: output/"):
        model = bm.from_pretrained(tmp_path, "bert-classifier", classes=4)
    assert model.classes == 4 and model(TOKENS, SEGMENTS).shape == (2, 4)
    for path in ("pooler/weight", "block_2/attention/key/bias", "segment/weight"):
        np.testing.assert_array_equal(model.state()[path], before[path])


def test_another_number_of_classes_begins_a_head_anew(tmp_path: Path) -> None:
    model = bm.models.build("bert-tagger", **SMALL, classes=3)
    model(TOKENS, SEGMENTS)
    bm.to_pretrained(model, tmp_path)
    with pytest.warns(BigmodelWarning, match="new, so to be trained: output/"):
        again = bm.from_pretrained(tmp_path, classes=5)
    assert again(TOKENS, SEGMENTS).shape == (2, 6, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bm.from_pretrained(tmp_path, classes=3)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"model": "vit"}, "which vit does not compute(?s:.*)bert-classifier, bert-encoder, bert-spans"),
        ({"layers": 1}, "superfluous: bert.encoder.layer.1"),
        ({"layer": 1}, "layer"),
        ({"model": "bert-classifer"}, "bert-classifier"),
    ],
)
def test_what_does_not_fit_the_family_is_refused(tmp_path: Path, asked: dict[str, Any], text: str) -> None:
    pretrained_bert(tmp_path)
    with pytest.raises(BigmodelError, match=text):
        bm.from_pretrained(tmp_path, **asked)


def test_names_of_the_oldest_files_are_known(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    before = pretrained_bert(tmp_path)
    file = tmp_path / "model.safetensors"
    older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    arrays = {
        name.replace(new, old) if name.endswith(new) else name: array
        for name, array in load_file(file).items()
        for new, old in [next((pair for pair in older.items() if name.endswith(pair[0])), ("", ""))]
    }
    assert any(name.endswith("gamma") for name in arrays)
    save_file(arrays, file)
    after = bm.from_pretrained(tmp_path)
    np.testing.assert_array_equal(after(TOKENS, SEGMENTS)["next"], before(TOKENS, SEGMENTS)["next"])


def test_names_of_classes_go_along(tmp_path: Path) -> None:
    model = bm.models.build("vit", layers=1, heads=2, width=8, classes=2, patch=4)
    model(RANDOM.normal(size=(1, 1, 8, 8)).astype("float32"))
    model.network.encoding = bm.Encoding("pets", "classification", ("cat", "dog"))
    bm.to_pretrained(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["id2label"] == {"0": "cat", "1": "dog"}
    assert bm.from_pretrained(tmp_path).network.encoding.labels == ("cat", "dog")


def test_a_vision_transformer_without_a_head_gets_one(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    images = RANDOM.normal(size=(2, 1, 8, 8)).astype("float32")
    model = bm.models.build("vit", layers=1, heads=2, width=8, patch=4)
    model(images)
    bm.to_pretrained(model, tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    plain = {name.removeprefix("vit."): array for name, array in arrays.items() if name.startswith("vit.")}
    save_file(plain, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["ViTModel"]}))
    with pytest.raises(ConfigError, match=r"ViTModel(?s:.*)vit \(ViTForImageClassification\)(?s:.*)model="):
        bm.from_pretrained(tmp_path)
    with pytest.warns(BigmodelWarning, match="new, so to be trained: output/"):
        again = bm.from_pretrained(tmp_path, "vit", classes=3)
    assert again(images).shape == (2, 3)
    for path in ("embedding/position", "norm/scale", "block_1/feed_forward/up/weight"):
        np.testing.assert_array_equal(again.state()[path], model.state()[path])


def test_how_pixels_become_input_goes_along(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (2, 3, 8, 8)).astype("uint8")
    model = bm.models.build("vit", layers=1, heads=2, width=8, patch=4)
    model(pixels.astype("float32"))
    bm.to_pretrained(model, tmp_path)
    assert bm.from_pretrained(tmp_path).network.encoding.preprocessing is None
    said = {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.2, 0.1], "size": 8}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    again = bm.from_pretrained(tmp_path)
    mean, std = (np.array(said[f"image_{key}"]).reshape(3, 1, 1) for key in ("mean", "std"))
    bm.to_pretrained(again, tmp_path / "second")
    for one in (again, bm.from_pretrained(tmp_path / "second")):
        found = one.network.encoding.preprocessing.apply(pixels)
        np.testing.assert_allclose(found, (pixels / 255 - mean) / std, rtol=1e-5, atol=1e-6)
    again.build(bm.Spec(("N", 3, 12, 8)))
    assert again.network.encoding.preprocessing.raw_shape == (3, 12, 8)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.5]}))
    with pytest.raises(CheckpointError, match="does not fit images of 3 channels"):
        bm.from_pretrained(tmp_path)


def test_a_vocabulary_beside_the_weights_is_the_tokenizer(tmp_path: Path) -> None:
    pretrained_bert(tmp_path)
    (tmp_path / "vocab.txt").write_text("[UNK] [CLS] [SEP] [MASK] a b".replace(" ", "\n"))
    model = bm.from_pretrained(tmp_path)
    assert model.network.encoding.tokenizer.encode("a b").ids.tolist() == [4, 5]
    model.build(bm.Spec(("N", "T"), "int64"))
    bm.save(model, tmp_path / "saved.safetensors")
    assert bm.load(tmp_path / "saved.safetensors").about.encoding.tokenizer.size == 6


NAMES = {
    "Bert": "bert.embeddings.token_type_embeddings.weight bert.encoder.layer.1.attention.self.query.bias "
    "bert.encoder.layer.0.attention.output.LayerNorm.weight bert.encoder.layer.0.intermediate.dense.weight "
    "bert.pooler.dense.weight classifier.weight",
    "Roberta": "roberta.embeddings.position_embeddings.weight roberta.encoder.layer.1.output.LayerNorm.bias "
    "roberta.encoder.layer.0.attention.self.value.weight classifier.dense.weight classifier.out_proj.bias",
    "Albert": "albert.encoder.embedding_hidden_mapping_in.weight albert.pooler.bias classifier.bias "
    "albert.encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm.weight "
    "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output.weight",
    "DistilBert": "distilbert.transformer.layer.1.sa_layer_norm.bias pre_classifier.weight classifier.bias "
    "distilbert.transformer.layer.0.attention.out_lin.weight distilbert.transformer.layer.0.ffn.lin1.bias",
}


@pytest.mark.parametrize("family", OPTIONS)
def test_there_and_back_under_published_names(tmp_path: Path, family: str) -> None:
    from safetensors.numpy import load_file

    model = bm.models.build("bert-classifier", **SMALL, **OPTIONS[family])
    wanted = asked(model)
    bm.to_pretrained(model, tmp_path)
    assert set(NAMES[family].split()) < set(load_file(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(asked(bm.from_pretrained(tmp_path)), wanted)


ALBERT = Path(os.environ.get("BIGMODEL_DATA_DIR", ""), "albert")


@pytest.mark.torch
@pytest.mark.skipif(not (ALBERT / "model.safetensors").is_file(), reason="BIGMODEL_DATA_DIR has no albert")
def test_a_trained_albert_gives_the_numbers_of_transformers() -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    numbers = {token: row for row, token in enumerate((ALBERT / "vocab.txt").read_text().split("\n"))}
    pattern = (ALBERT / "token-pattern.txt").read_text().strip()
    parts = re.findall(pattern, "CC(=O)O.OCC>>CC(=O)OCC")
    tokens = np.array([[numbers[token] for token in ("[CLS]", *parts, "[SEP]")]])
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(ALBERT).eval()
    with torch.no_grad():
        wanted = theirs(torch.tensor(tokens)).logits.numpy()
    found = bm.from_pretrained(ALBERT)(tokens, 0 * tokens)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.torch
@pytest.mark.parametrize("size", [(12, 12), (20, 8)], ids=("its size", "another, not square"))
def test_vision_transformers_give_the_numbers_of_transformers(tmp_path: Path, size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    theirs = made("ViTForImageClassification", VIT)
    theirs.save_pretrained(tmp_path)
    model, images = bm.from_pretrained(tmp_path), RANDOM.normal(size=(2, 1, *size)).astype("float32")
    if size != (12, 12):
        with pytest.raises(ShapeError, match=r"(?s)expected.*model.build\(bm.Spec\(\('N', 1, 20, 8\)\)\)"):
            model(images)
        model.build(bm.Spec(("N", 1, *size)))
    with torch.no_grad():
        wanted = theirs(torch.tensor(images), interpolate_pos_encoding=True).logits.numpy()
    np.testing.assert_allclose(model(images), wanted, atol=1e-4)


@pytest.mark.torch
def test_transformers_reads_a_vision_transformer_that_is_written(tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    images = RANDOM.normal(size=(2, 2, 8, 12)).astype("float32")
    model = bm.models.build("vit", layers=1, heads=2, width=8, classes=3, patch=4, activation="relu")
    wanted = model(images)
    bm.to_pretrained(model, tmp_path)
    theirs = transformers.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        np.testing.assert_allclose(theirs(torch.tensor(images)).logits, wanted, atol=1e-4)
