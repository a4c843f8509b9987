"""Models of source and target as the file of a decoder, and that of its encoder beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ExportError
from bigmodel_onnx import Onnx
from bigmodel_onnx.emit import Emitter
from bigmodel_onnx.pair import Halves

onnxruntime = pytest.importorskip("onnxruntime")

TABLES = {"vocabulary": 11, "target_vocabulary": 9}
MODELS = {
    "transformer": bm.models.build("transformer", layers=2, heads=4, width=16, **TABLES),
    "seq2seq-gru": bm.models.build("seq2seq-gru", units=12, width=8, layers=2, **TABLES),
}
for model in MODELS.values():
    model.build(*model.input_spec())
SOURCES = np.where(np.arange(7) < [[7], [4], [6]], np.random.default_rng(0).integers(0, 11, (3, 7)), -1)


@pytest.fixture(
    scope="module", params=[("transformer", 17), ("transformer", 23), ("seq2seq-gru", 17)], ids=str
)
def exported(request: Any, tmp_path_factory: Any) -> tuple[Any, Path]:
    name, opset = request.param
    folder = tmp_path_factory.mktemp("files")
    Onnx(opset=opset).export(MODELS[name], folder / "model.onnx")
    return MODELS[name], folder


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def begin(decoder: Any, memory: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
    """What the decoder takes besides tokens, before the first of them."""
    past = {
        item.name: np.zeros([{"N": batch, "past": 0}.get(dim, dim) for dim in item.shape], "f4")
        for item in decoder.get_inputs()
        if item.name not in memory and item.name != "input_ids"
    }
    return {**memory, **past}


def remember(encoder: Any, sources: np.ndarray) -> dict[str, np.ndarray]:
    given = {"input_ids": np.maximum(sources, 0), "attention_mask": (sources >= 0).astype("int64")}
    return dict(zip([item.name for item in encoder.get_outputs()], encoder.run(None, given), strict=True))


def test_they_write_what_the_model_writes_piece_by_piece(exported: tuple[Any, Path]) -> None:
    model, folder = exported
    decoder = session(folder / "model.onnx")
    memory = remember(session(folder / "encoder_model.onnx"), SOURCES)
    given = begin(decoder, memory, 3)
    past = [name for name in given if name not in memory]
    target = np.random.default_rng(1).integers(0, 9, (3, 6))
    found = []
    for piece in np.split(target, [3, 4, 5], 1):
        logits, *present = decoder.run(None, {"input_ids": piece, **given})
        given.update(zip(past, present, strict=True))
        found.append(logits)
    np.testing.assert_allclose(np.concatenate(found, 1), model(SOURCES, target), atol=1e-5, rtol=1e-5)


def test_names_are_those_of_optimum(exported: tuple[Any, Path]) -> None:
    model, folder = exported
    encoder, decoder = session(folder / "encoder_model.onnx"), session(folder / "model.onnx")
    assert [item.name for item in encoder.get_inputs()] == ["input_ids", "attention_mask"]
    given, made = ({item.name for item in ports} for ports in (decoder.get_inputs(), decoder.get_outputs()))
    assert {item.name for item in encoder.get_outputs()} < given
    assert "logits" in made and "past_key_values.0.encoder.key" in given
    if model is MODELS["transformer"]:
        assert {"past_key_values.1.decoder.value", "past_key_values.1.encoder.value"} <= given
        assert "present.1.decoder.value" in made


def test_the_decoder_has_no_weights_for_what_depends_on_the_source_alone(exported: tuple[Any, Path]) -> None:
    """A projection of keys would be computed anew for each token."""
    files = (onnx.load(exported[1] / name).graph for name in ("encoder_model.onnx", "model.onnx"))
    encoder, decoder = ({item.name for item in graph.initializer} for graph in files)
    assert not encoder & decoder - {name for name in encoder if name.startswith("constant_")}
    ours = {name for name in encoder if "attention/key/" in name or "attention/value/" in name}
    assert any(name.startswith("decoder/") for name in ours)


def test_both_files_answer_as_one(exported: tuple[Any, Path]) -> None:
    model, folder = exported
    files = bm.exporters.Onnx().session(folder / "model.onnx")
    target = np.array([[1, 2, 3]] * 3)
    np.testing.assert_allclose(
        files.run(SOURCES, target)["logits"], model(SOURCES, target), atol=1e-5, rtol=1e-5
    )


def test_a_missing_encoder_is_named(exported: tuple[Any, Path], tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes((exported[1] / "model.onnx").read_bytes())
    with pytest.raises(ExportError, match=r"encoder_model\.onnx"):
        bm.exporters.Onnx().session(tmp_path / "model.onnx")


def test_an_encoder_elsewhere_is_not_read(exported: tuple[Any, Path], tmp_path: Path) -> None:
    found = onnx.load(exported[1] / "model.onnx")
    entry = next(item for item in found.metadata_props if item.key == "encoder")
    entry.value = "../encoder_model.onnx"
    onnx.save(found, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="no file beside it"):
        bm.exporters.Onnx().session(tmp_path / "model.onnx")


def test_files_that_write_something_else_do_not_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Halves.of

    def exchanged(whole: Emitter) -> Halves:
        """The files, where the encoder gives the values of one block for those of the other."""
        halves = made(whole)
        first, second = (f"past_key_values.{block}.encoder.value" for block in (0, 1))
        for node in halves.encoder.operations:
            node.rename({first: second, second: first})
        return halves

    monkeypatch.setattr(Halves, "of", exchanged)
    with pytest.raises(ExportError, match="do not write what the model writes: at token 1"):
        Onnx().export(MODELS["transformer"], tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_decoder_may_be_named_as_optimum_does(tmp_path: Path) -> None:
    report = bm.export(MODELS["seq2seq-gru"], tmp_path / "decoder_model.onnx")
    assert {item.name for item in tmp_path.iterdir()} == {"decoder_model.onnx", "encoder_model.onnx"}
    assert report.encoder == "encoder_model.onnx"
