"""Files from anywhere: whatever stands in them, the error is ours, and shows what cannot be printed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError, CheckpointError
from bigmodel_core.train import runs
from bigmodel_core.train.checkpoint_file import write_file

from .conftest import Command

DEEP = "[" * 3000 + "]" * 3000
ESCAPE = "\x1b[2J\x00\x9b"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = bm.layers.Dense(2)
    model.build(bm.Spec(("N", 3)))
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    bm.save(model, path)
    return path


def with_header(saved: Path, path: Path, change: Any) -> Path:
    """The checkpoint with another header."""
    raw = saved.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    text = change(header) or json.dumps(header)
    path.write_bytes(len(text.encode()).to_bytes(8, "little") + text.encode() + raw[end:])
    return path


def set_entry(**changes: Any) -> Any:
    return lambda header: header["weight"].update(changes)


@pytest.mark.parametrize(
    "change",
    [
        set_entry(dtype=[]),
        set_entry(dtype={}),
        set_entry(dtype=None),
        set_entry(shape={}),
        set_entry(shape=[10**30]),
        set_entry(data_offsets=[0, 10**30]),
        set_entry(data_offsets=[[], {}]),
        lambda header: header.update(weight=[]),
        lambda header: header.update({"\ud800": header.pop("weight")}),
        lambda header: header["__metadata__"].update({"model": "\ud800"}),
        lambda header: header.update(__metadata__=[]),
        lambda header: DEEP,
        lambda header: '{"a":' * 500 + "1" + "}" * 500,
        lambda header: '{"a": ' + "9" * 5000 + "}",
    ],
)
def test_headers_of_any_kind(saved: Path, tmp_path: Path, change: Any) -> None:
    with pytest.raises(CheckpointError):
        bm.load(with_header(saved, tmp_path / "m.safetensors", change))


@pytest.mark.parametrize("deep", [DEEP, '{"a":' * 900 + "1" + "}" * 900])
@pytest.mark.parametrize("part", ["model", "about", "training"])
def test_texts_that_are_nested_too_deeply(saved: Path, tmp_path: Path, part: str, deep: str) -> None:
    from bigmodel_core.train.checkpoint_file import read_file

    texts, arrays = read_file(saved)
    write_file(tmp_path / "m.safetensors", {**texts, part: f'{{"a": {deep}}}'}, arrays)
    with pytest.raises(CheckpointError, match="deeply"):
        bm.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("text", [DEEP, '{"a":' * 900 + "1" + "}" * 900, '{"a": "\\ud800"}', '{"a": 1e999}'])
def test_configurations_of_runs(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / runs.MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        runs.read_manifest(tmp_path / "a")
    assert runs.newest(tmp_path).name == "a"


DEEP_TOML = [
    "x = " + DEEP,
    "[" + ".".join(["a"] * 3000) + "]\nb = 1",
    ".".join(["a"] * 900) + " = 1",
    "x = " + "[" * 400 + "]" * 400,
]


@pytest.mark.parametrize("text", DEEP_TOML)
def test_experiments_that_are_nested_too_deeply(bigmodel: Command, tmp_path: Path, text: str) -> None:
    (tmp_path / "e.toml").write_text(f'[model]\nname = "mlp"\n[train]\n{text}\n')
    result = bigmodel("train", "e.toml")
    assert result.code == 2
    assert "e.toml: it is nested too deeply" in result.err


# What cannot be printed ----------------------------------------------------------------------------------


def is_clean(text: str) -> bool:
    return all(letter.isprintable() or letter == "\n" for letter in text)


def test_errors_show_what_cannot_be_printed() -> None:
    error = BigmodelError(f"no {ESCAPE}.", where=f"a{ESCAPE}", fix=f"do {ESCAPE}\u202e.")
    assert is_clean(str(error)) and is_clean(error.for_shell())
    assert str(error).count(r"\x1b[2J\x00\x9b") == 3 and str(error).count("\n") == 1


EXPERIMENTS = [
    '[model]\nname = "m\\u001b[2J\\u0000"\n',
    '["\\u001b[2J"]\nname = "mlp"\n',
    '[model]\nname = "mlp"\n[train]\nloss = "\\u001b[2J"\n',
    '[model]\nname = "mlp"\n[train]\ndevice = "\\u001b[2J"\n',
    '[model]\nname = "mlp"\n[data]\nname = "csv"\ndata_dir = "a\\u001b[2J"\n',
    '[model]\nname = "mlp"\n[data]\nname = "csv"\ndata_dir = "a\\u0000b"\n',
    '[model]\nname = "mlp"\n[data]\nname = "image-folder"\ndata_dir = "a\\u0000b"\n',
    '[model]\nname = "mlp"\n[[callbacks]]\nname = "csv-logger"\npath = "a\\u0000b"\n[train]\nepochs = 1\n',
]


@pytest.mark.parametrize("text", EXPERIMENTS)
def test_experiments_with_escapes(bigmodel: Command, tmp_path: Path, text: str) -> None:
    (tmp_path / "e.toml").write_text(text)
    result = bigmodel("train", "e.toml")
    assert result.code in (1, 2), result.out
    assert is_clean(result.err) and is_clean(result.out)


def test_tables_with_escapes(bigmodel: Command, tmp_path: Path) -> None:
    rows = "".join(f"{n},{n % 3},{'ab'[n % 2]}{ESCAPE[:4]}\n" for n in range(40))
    (tmp_path / "t.csv").write_text(f"a{ESCAPE[:4]},b,kind\n{rows}")
    commands = [
        ("train", "mlp", "--data", "csv", "--data-dir", "t.csv", "--epochs", 1),
        ("evaluate",),
        ("evaluate", "--metrics", "confusion_matrix"),
        ("export", "m.onnx"),
        ("predict", "m.onnx", "t.csv"),
        ("predict", "m.onnx", "t.csv", "--json"),
        ("info",),
        ("info", "m.onnx"),
        ("data", "info", "csv", "--data-dir", "t.csv"),
    ]
    for command in commands:
        result = bigmodel(*command)
        assert is_clean(result.out) and is_clean(result.err), command
    assert json.loads(bigmodel("predict", "m.onnx", "t.csv", "--json").out)


def test_runs_with_escapes(bigmodel: Command, tmp_path: Path) -> None:
    run = tmp_path / "runs" / f"mlp{ESCAPE[:4]}"
    run.mkdir(parents=True)
    runs.write_manifest(run, {"status": "failed", "error": f"no {ESCAPE}", "dataset": {"name": ESCAPE}})
    for command in (("info",), ("export", "m.onnx"), ("evaluate",), ("train", "--resume")):
        result = bigmodel(*command)
        assert result.code == 1 and is_clean(result.err) and is_clean(result.out)


def test_checkpoints_with_escapes(bigmodel: Command, saved: Path, tmp_path: Path) -> None:
    from bigmodel_core.train.checkpoint_file import read_file

    texts, arrays = read_file(saved)
    about = {**json.loads(texts["about"]), "data": ESCAPE, "input_meaning": ESCAPE}
    write_file(tmp_path / "m.safetensors", {**texts, "about": json.dumps(about)}, arrays)
    np.save(tmp_path / "x.npy", np.zeros((1, 3), "float32"))
    for command in (
        ("info", "m.safetensors"),
        ("evaluate", "m.safetensors"),
        ("predict", "m.safetensors", "x.npy"),
    ):
        result = bigmodel(*command)
        assert is_clean(result.err) and is_clean(result.out), command


def test_progress_shows_what_cannot_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    from bigmodel_core.train.progress import Lines

    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    Lines().note(f"a{ESCAPE}")
    assert is_clean(out.getvalue())
