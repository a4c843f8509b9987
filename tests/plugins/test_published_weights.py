"""Published weights: the logits of transformers from its files, and files that it reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import CheckpointError, ConfigError

TOKENS = np.random.default_rng(0).integers(0, 61, (2, 11))
GPT2 = {"vocab_size": 61, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 3}
LLAMA = {
    "vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 16,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 50.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}  # fmt: skip


def theirs(kind: str, folder: Path, **config: Any) -> np.ndarray:
    """The logits of a random model of transformers, which is saved in a folder."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    name = {"gpt2": "GPT2", "llama": "Llama"}[kind]
    made = getattr(transformers, f"{name}Config")(**config)
    head = {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM"}[kind]
    model = getattr(transformers, head)(made).eval()
    for parameter in model.parameters():  # norms and biases that are 1 and 0 would hide a mistake
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder, max_shard_size="20KB" if kind == "llama" else "5GB")
    with torch.no_grad():
        return np.asarray(model(torch.tensor(TOKENS)).logits)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("gpt2", GPT2),
        ("gpt2", {**GPT2, "activation_function": "gelu", "n_inner": 30, "layer_norm_epsilon": 1e-3}),
        ("gpt2", {**GPT2, "tie_word_embeddings": False, "activation_function": "relu"}),
        ("llama", LLAMA),
        ("llama", {**LLAMA, "tie_word_embeddings": True, "rms_norm_eps": 1e-3, "head_dim": 10}),
        ("llama", {**LLAMA, "rope_parameters": LLAMA3}),
    ],
)
def test_logits_are_those_of_transformers(tmp_path: Path, kind: str, config: dict[str, Any]) -> None:
    wanted = theirs(kind, tmp_path, **config)
    np.testing.assert_allclose(bm.from_pretrained(tmp_path)(TOKENS), wanted, atol=1e-4)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gpt", {"activation": "gelu", "hidden": 30, "epsilon": 1e-4}),
        ("gpt", {"tied": False}),
        ("llama", {"kv_heads": 2, "hidden": 20, "rotary": 500.0}),
    ],
)
def test_transformers_reads_what_is_written(tmp_path: Path, name: str, fields: dict[str, Any]) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = bm.models.build(name, vocabulary=61, context=16, layers=2, heads=4, width=24, **fields)
    wanted = model(TOKENS)
    bm.to_pretrained(model, tmp_path, shard=10_000)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        np.testing.assert_allclose(read(torch.tensor(TOKENS)).logits, wanted, atol=1e-4)


def written(folder: Path, **fields: Any) -> Any:
    model = bm.models.build("gpt", vocabulary=61, context=16, layers=2, heads=4, width=24, **fields)
    model.build(model.input_spec())
    bm.to_pretrained(model, folder, shard=10_000)
    return model


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_there_and_back(tmp_path: Path) -> None:
    model = written(tmp_path, dropout=0.2)
    again = bm.from_pretrained(tmp_path)
    assert again == model
    for path, array in model.state().items():
        np.testing.assert_array_equal(again.state()[path], array)


def test_the_tokenizer_goes_along(tmp_path: Path) -> None:
    data = bm.datasets.load("text")
    model = bm.models.build("gpt", layers=1, heads=2, width=8).fitted(data)
    trainer = bm.Trainer(model, "cross_entropy", "adam")
    trainer.fit(data.train.take(np.arange(64)), epochs=1, verbose=False)
    bm.to_pretrained(model, tmp_path)
    again = bm.from_pretrained(tmp_path)
    wanted = bm.generate(model, "It was", max_tokens=8)
    assert len(wanted) == 8 and bm.generate(again, "It was", max_tokens=8) == wanted


def test_a_lost_shard_is_named(tmp_path: Path) -> None:
    written(tmp_path)
    lost = sorted(tmp_path.glob("*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(CheckpointError, match=rf"files are missing: {lost.name}"):
        bm.from_pretrained(tmp_path)


def test_missing_misshapen_and_superfluous_arrays_are_listed(tmp_path: Path) -> None:
    written(tmp_path)
    changed(tmp_path / "config.json", n_layer=3)
    with pytest.raises(
        CheckpointError,
        match=r"missing: transformer.h.2.attn.c_attn.bias, transformer.h.2",
    ):
        bm.from_pretrained(tmp_path)
    changed(tmp_path / "config.json", n_layer=1)
    with pytest.raises(CheckpointError, match=r"superfluous: transformer.h.1.attn.c_attn.bias"):
        bm.from_pretrained(tmp_path)
    changed(tmp_path / "config.json", n_layer=2, n_positions=20, vocab_size=70)
    with pytest.raises(
        CheckpointError, match=r"of another shape: transformer.wpe.weight is \(16, 24\), expected \(20, 24\)"
    ):
        bm.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"window": 3}, "keys that are not known here: window"),
        ({"activation_function": "mish"}, "the activation is 'mish'"),
        (
            {"model_type": "bloom", "architectures": ["BloomForCausalLM"]},
            "known families are albert, bert, distilbert, gpt2, llama, roberta, vit",
        ),
        ({"architectures": ["GPT2ForTokenClassification"]}, "GPT2LMHeadModel"),
    ],
)
def test_what_is_not_computed_here_is_refused(tmp_path: Path, values: dict[str, Any], text: str) -> None:
    written(tmp_path)
    changed(tmp_path / "config.json", **values)
    with pytest.raises(ConfigError, match=text):
        bm.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ("../elsewhere.safetensors", "/etc/passwd", "sub/model.safetensors"))
def test_an_index_names_files_of_its_folder_alone(tmp_path: Path, name: str) -> None:
    written(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    changed(index, weight_map={**places, "more": name})
    with pytest.raises(CheckpointError, match="not one of its own folder"):
        bm.from_pretrained(tmp_path)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    written(folder)
    shard = sorted(folder.glob("*.safetensors"))[0]
    shard.rename(tmp_path / "outside")
    shard.symlink_to(tmp_path / "outside")
    with pytest.raises(CheckpointError, match="not one of its own folder"):
        bm.from_pretrained(folder)


@pytest.mark.parametrize("name", ("pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt"))
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    written(tmp_path)
    for file in tmp_path.glob("model*"):
        file.unlink()
    (tmp_path / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(CheckpointError, match=rf"(?s)pickled \({name}\).*save_pretrained"):
        bm.from_pretrained(tmp_path)


def test_a_configuration_without_a_key_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["n_layer"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="the configuration has no n_layer"):
        bm.from_pretrained(tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    shard = sorted(tmp_path.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=shard.name):
        bm.from_pretrained(tmp_path)


def test_a_tokenizer_of_more_tokens_than_the_model_has_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    text = "".join(map(chr, range(33, 126)))
    bm.Tokenizer.train([text], kind="characters").save(tmp_path)
    with pytest.raises(CheckpointError, match="the tokenizer has 93 tokens, and the model 61"):
        bm.from_pretrained(tmp_path)


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    import ml_dtypes
    from safetensors.numpy import load_file, save_file

    model = written(tmp_path / "a")
    bm.to_pretrained(model, tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: array.astype("float16") for name, array in arrays.items()}, tmp_path / "model.safetensors"
    )
    found = bm.from_pretrained(tmp_path).state()["embedding/weight"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, model.state()["embedding/weight"], atol=1e-3)
    assert ml_dtypes.bfloat16(1.0) == 1


def test_frequencies_of_long_texts_are_those_of_the_formula() -> None:
    from bigmodel_models.published import frequencies

    plain = [50.0 ** (-2 * pair / 8) for pair in range(4)]
    found = frequencies(LLAMA3, 8)
    assert found is not None
    for speed, scaled in zip(plain, found, strict=True):
        length = 2 * math.pi / speed
        if length < 8 / 4:
            assert scaled == pytest.approx(speed)
        elif length > 8 / 1:
            assert scaled == pytest.approx(speed / 4)
        else:
            assert speed / 4 < scaled < speed
