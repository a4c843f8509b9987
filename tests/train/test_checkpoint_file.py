"""Files that are torn, changed or made to do harm: each is refused with an error that names the file."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save as pack

import bigmodel_core as bm
from bigmodel_core.errors import CheckpointError
from bigmodel_core.train.checkpoint_file import _digest, read_file

from .conftest import labelled


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The last checkpoint of a run."""
    out = tmp_path_factory.mktemp("run") / "run"
    model = bm.Sequential(bm.layers.Dense(4), bm.layers.Relu(), bm.layers.Dense(3))
    bm.Trainer(model, "cross_entropy", "adam", out=out).fit(labelled(), verbose=False)
    return (out / "last.safetensors").read_bytes()


def refused(raw: bytes, folder: Path, match: str | None = None) -> str:
    """The message with which a file of these bytes is refused, by all that reads checkpoints."""
    path = folder / "bad.safetensors"
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=match) as caught:
        bm.load(path)
    message = str(caught.value)
    assert str(path) in message
    with pytest.raises(CheckpointError):
        bm.Trainer.resume(path)
    return message


# Bytes ------------------------------------------------------------------------------------------------------


def test_the_good_one_is_good(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(good)
    assert bm.load(tmp_path / "good")(labelled()[0]).shape == (90, 3)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.3, 0.7, 0.999])
def test_a_file_cut_short(good: bytes, tmp_path: Path, share: float) -> None:
    refused(good[: int(len(good) * share)], tmp_path, "damaged|header")


def test_a_file_with_more_behind_it(good: bytes, tmp_path: Path) -> None:
    refused(good + b"\0" * 8, tmp_path, "damaged")


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(good: bytes, tmp_path_factory: Any, place: float, bit: int) -> None:
    raw = bytearray(good)
    raw[int(place * len(raw))] ^= 1 << bit
    refused(bytes(raw), tmp_path_factory.mktemp("flip"))


@pytest.mark.parametrize("size", [2**63, 2**64 - 1, 10**12, 200_000_000, 0])
def test_a_header_of_absurd_size_is_never_read(good: bytes, tmp_path: Path, size: int) -> None:
    refused(struct.pack("<Q", size) + good[8:], tmp_path, "header")


@pytest.mark.parametrize(
    "raw", [b"", b"PK\x03\x04 a zip file", b"\x80\x04\x95 a pickle", b"{}", bytes(range(64))], ids=repr
)
def test_other_files(raw: bytes, tmp_path: Path) -> None:
    refused(raw, tmp_path)


def test_a_pickle_is_not_executed(tmp_path: Path) -> None:
    import pickle

    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harm"),)

    refused(pickle.dumps(Harm()), tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError):
        read_file(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_what_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=name):
        bm.load(tmp_path / name)


# Headers ----------------------------------------------------------------------------------------------------


def header_of(raw: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def file_of(header: dict[str, Any] | str, body: bytes) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda header: change(header["dense_1/weight"])


def set_to(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda item: item.__setitem__(key, value)


HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a shape that needs a terabyte": entry(set_to("shape", [10**6, 10**6])),
    "a shape that overflows": entry(set_to("shape", [2**62, 2**62, 0])),
    "a negative size": entry(set_to("shape", [-5, -4])),
    "a size of truth": entry(set_to("shape", [True, 20])),
    "a shape of text": entry(set_to("shape", "5x4")),
    "an endless shape": entry(set_to("shape", [1] * 40)),
    "an unknown type": entry(set_to("dtype", "F8_E4M3")),
    "a type that is a list": entry(set_to("dtype", [])),
    "a type of code": entry(set_to("dtype", "O")),
    "offsets outside": entry(set_to("data_offsets", [10**9, 10**9 + 80])),
    "offsets backwards": entry(set_to("data_offsets", [80, 0])),
    "one offset": entry(set_to("data_offsets", [0])),
    "an entry without type": entry(lambda item: item.pop("dtype")),
    "an entry with more": entry(set_to("callable", "os:system")),
    "two arrays in one place": lambda h: h.__setitem__(
        "dense_1/bias", {**h["dense_1/bias"], "data_offsets": h["dense_2/bias"]["data_offsets"]}
    ),
    "no metadata": lambda h: h.pop("__metadata__"),
    "metadata that is no mapping": set_to("__metadata__", ["format"]),
    "metadata that is no text": lambda h: h["__metadata__"].__setitem__("model", {}),
    "another format": lambda h: h["__metadata__"].__setitem__("format", "pt"),
    "a newer version": lambda h: h["__metadata__"].__setitem__("version", "2"),
    "no digest": lambda h: h["__metadata__"].pop("sha256"),
    "a digest of something else": lambda h: h["__metadata__"].__setitem__("sha256", "0" * 64),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_headers(good: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    header, body = header_of(good)
    change(header)
    refused(file_of(header, body), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": 1, "a": 2}',
        '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a": ' + "9" * 10_000 + "}",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
    ids=["list", "null", "NaN", "infinite", "twice", "deep", "long", "no text"],
)
def test_headers_that_are_no_json_of_ours(tmp_path: Path, text: str) -> None:
    refused(file_of(text, b""), tmp_path)


# Content, with a digest that fits: whoever changes a file on purpose can compute it -------------------------

Parts = dict[str, Any]


def rebuilt(raw: bytes, change: Callable[[Parts, dict[str, np.ndarray]], Any], folder: Path) -> bytes:
    """The file with other content and a digest that fits it."""
    path = folder / "source"
    path.write_bytes(raw)
    texts, arrays = read_file(path)
    parts = {name: json.loads(text) for name, text in texts.items()}
    change(parts, arrays)
    texts = {name: json.dumps(part) for name, part in parts.items()}
    marks = {"format": "bigmodel checkpoint", "version": "1", "sha256": _digest(texts, arrays)}
    return pack(arrays, {**marks, **texts})


def node(parts: Parts, op: str = "core:Affine") -> dict[str, Any]:
    return next(item for item in parts["model"]["graphs"]["inference"]["nodes"] if item.get("op") == op)


def nodes(parts: Parts) -> list[dict[str, Any]]:
    return parts["model"]["graphs"]["inference"]["nodes"]


CONTENT: dict[str, tuple[Callable[[Parts, dict[str, np.ndarray]], Any], str]] = {
    "an op nobody has": (lambda p, a: node(p).__setitem__("op", "core:Teleport"), "Teleport"),
    "an op of a module": (lambda p, a: node(p).__setitem__("op", "os:system"), "plugin 'os'"),
    "an op of a path": (lambda p, a: node(p).__setitem__("op", "../../evil:Op"), "evil"),
    "a base class for an op": (lambda p, a: node(p).__setitem__("op", "core:Op"), "no op"),
    "a leaf for an op": (lambda p, a: node(p).__setitem__("op", "core:Constant"), "no op"),
    "a layer for an op": (lambda p, a: node(p).__setitem__("op", "layers:Dense"), "Dense"),
    "an op without a name": (lambda p, a: node(p).__setitem__("op", ""), "no op"),
    "an op that is a number": (lambda p, a: node(p).__setitem__("op", 7), "expected str"),
    "a field too many": (lambda p, a: node(p)["fields"].__setitem__("cpu", "os:system"), "'cpu'"),
    "a node with more": (lambda p, a: node(p).__setitem__("module", "os"), "'module'"),
    "inputs from the future": (lambda p, a: node(p).__setitem__("inputs", [[999, 0]]), "does not refer to"),
    "inputs from before": (lambda p, a: node(p).__setitem__("inputs", [[-1, 0]]), "does not refer to"),
    "inputs of truth": (lambda p, a: node(p).__setitem__("inputs", [[False, 0]]), "does not refer to"),
    "an output nobody has": (
        lambda p, a: node(p)["inputs"][0].__setitem__(1, 5),
        "outputs, but no output 5",
    ),
    "too few inputs": (lambda p, a: node(p)["inputs"].pop(), "TypeError"),
    "a variable nobody has": (lambda p, a: nodes(p).insert(0, {"variable": "secret"}), "'secret'"),
    "a constant nobody has": (lambda p, a: nodes(p).insert(0, {"constant": "/etc/passwd"}), "passwd"),
    "an input nobody has": (lambda p, a: nodes(p).insert(0, {"input": "y"}), "no input 'y'"),
    "a node of two kinds": (
        lambda p, a: nodes(p)[0].__setitem__("constant", "x"),
        "expected an op, an input",
    ),
    "a node that is a list": (lambda p, a: nodes(p).insert(0, []), "expected dict"),
    "no nodes": (lambda p, a: p["model"]["graphs"]["inference"].pop("nodes"), "nodes: expected list"),
    "no graph": (lambda p, a: p["model"]["graphs"].pop("training"), "graph: expected dict"),
    "no outputs": (lambda p, a: p["model"]["graphs"]["inference"].__setitem__("outputs", []), "outputs"),
    "states of nothing": (
        lambda p, a: p["model"]["graphs"]["inference"]["carried_updates"].__setitem__("other", [0, 0]),
        "there is no state 'other'",
    ),
    "updates of nothing": (
        lambda p, a: p["model"]["graphs"]["training"]["updates"].__setitem__("other", [0, 0]),
        "'other'",
    ),
    "other outputs than saved": (
        lambda p, a: p["model"]["outputs"][0].__setitem__("shape", ["N", 9]),
        "shapes",
    ),
    "a parameter without array": (lambda p, a: a.pop("dense_1/bias"), "dense_1/bias"),
    "an array without parameter": (
        lambda p, a: a.__setitem__("extra", np.zeros(3, "float32")),
        "'extra'",
    ),
    "an array of another kind": (
        lambda p, a: a.__setitem__("~secret/x", np.zeros(3, "float32")),
        "does not belong",
    ),
    "weights of another shape": (
        lambda p, a: a.__setitem__("dense_1/weight", np.zeros((9, 4), "float32")),
        "multiply",
    ),
    "weights of another type": (
        lambda p, a: a.__setitem__("dense_1/weight", np.zeros((5, 4), "int64")),
        "float type",
    ),
    "a seed of text": (lambda p, a: p["model"].__setitem__("seed", "0"), "seed"),
    "a type nobody has": (lambda p, a: p["model"].__setitem__("dtype", "float7"), "float7"),
    "an input without shape": (lambda p, a: p["model"]["inputs"][0].pop("shape"), "shape"),
    "an input of a nested shape": (lambda p, a: p["model"]["inputs"][0].__setitem__("shape", [[5]]), "shape"),
    "a shape that is a formula": (
        lambda p, a: p["model"]["inputs"][0].__setitem__("shape", ["N", "__import__('os')"]),
        "not a dimension",
    ),
    "no inputs": (lambda p, a: p["model"].__setitem__("inputs", []), "input"),
    "plugins of text": (lambda p, a: p["model"].__setitem__("plugins", "os"), "plugins"),
    "labels that are numbers": (lambda p, a: p["about"].__setitem__("labels", [1, 2]), "label"),
    "a preprocessing of code": (
        lambda p, a: p["about"].__setitem__("preprocessing", {"apply": "os.system"}),
        "preprocessing",
    ),
    "a part too many": (lambda p, a: p.__setitem__("code", {"run": "rm"}), "expected the parts"),
    "a part that is a list": (lambda p, a: p.__setitem__("about", []), "about"),
    "a part too few": (lambda p, a: p.pop("model"), "expected the parts"),
}


@pytest.mark.parametrize(("change", "match"), CONTENT.values(), ids=CONTENT)
def test_content(
    good: bytes, tmp_path: Path, change: Callable[[Parts, dict[str, np.ndarray]], Any], match: str
) -> None:
    refused(rebuilt(good, change, tmp_path), tmp_path, match)


TRAINING: dict[str, Callable[[Parts], Any]] = {
    "no state": lambda t: t.pop("state"),
    "a part too many": lambda t: t.__setitem__("hook", "os:system"),
    "a negative step": lambda t: t["state"].__setitem__("steps", -1),
    "a step of text": lambda t: t["state"].__setitem__("steps", "7"),
    "half an epoch": lambda t: t["state"].__setitem__("epoch", 0.5),
    "a best without value": lambda t: t["state"].__setitem__("best", {"epoch": 1}),
    "a history that is a mapping": lambda t: t["state"].__setitem__("history", {}),
    "an optimizer of a module": lambda t: t["plan"]["optimizer"].__setitem__("name", "os:system"),
    "an optimizer that is a layer": lambda t: t["plan"].__setitem__(
        "optimizer", {"kind": "layer", "name": "layers:Relu", "fields": {}}
    ),
    "an optimizer with a wrong field": lambda t: t["plan"]["optimizer"]["fields"].__setitem__("beta1", "x"),
    "no loss": lambda t: t["plan"].pop("loss"),
    "a seed of text": lambda t: t["plan"].__setitem__("seed", "x"),
}


@pytest.mark.parametrize("change", TRAINING.values(), ids=TRAINING)
def test_runs_with_bad_records(good: bytes, tmp_path: Path, change: Callable[[Parts], Any]) -> None:
    path = tmp_path / "bad"
    path.write_bytes(rebuilt(good, lambda p, a: change(p["training"]), tmp_path))
    with pytest.raises(CheckpointError) as caught:
        bm.Trainer.resume(path).fit(labelled(), epochs=2, verbose=False)
    assert str(path) in str(caught.value)


def test_optimizer_state_that_does_not_fit(good: bytes, tmp_path: Path) -> None:
    def change(parts: Parts, arrays: dict[str, np.ndarray]) -> None:
        name = next(name for name in arrays if name.startswith("~optimizer/"))
        arrays[name] = np.zeros((2, 2), "float32")

    path = tmp_path / "bad"
    path.write_bytes(rebuilt(good, change, tmp_path))
    resumed = bm.Trainer.resume(path)
    before = resumed.model.state()
    with pytest.raises(CheckpointError, match="does not fit"):
        resumed.fit(labelled(), epochs=2, verbose=False)
    after = resumed.model.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)
