"""`bigmodel generate`: texts on stdout and nothing else, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import bigmodel_core as bm

from .conftest import Result, run_here

TEXT = "to be or not to be. " * 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gpt that has learnt a sentence by heart."""
    folder = tmp_path_factory.mktemp("generate")
    (folder / "lines.txt").write_text(TEXT, "utf-8")
    sizes = ("--set", "width=32", "--set", "layers=1", "--set", "heads=2", "--set", "context=48")
    data = ("--data", "text:length=40", "--data-dir", folder / "lines.txt")
    learning = ("--epochs", 20, "--batch-size", 8, "--learning-rate", 0.01)
    done = run_here("train", "gpt", *data, *sizes, *learning, "--out", folder / "run")
    assert done.code == 0, done.err
    (folder / "printed").write_text(done.out)
    return folder / "run"


def generated(run: Path, *options: object) -> Result:
    result = run_here("generate", run, *options)
    assert result.code == 0, result.err
    return result


def test_stdout_holds_the_text_alone(run: Path) -> None:
    result = generated(run, "--prompt", "to be or", "--max-tokens", 12)
    assert result.out == " not to be. \n"


def test_training_says_how_to_let_it_write(run: Path) -> None:
    assert f'  bigmodel generate {run} --prompt "..."\n' in (run.parent / "printed").read_text()


def test_several_prompts_get_a_line_each(run: Path) -> None:
    result = generated(run, "--prompt", "to be or n", "--prompt", "to be or not", "--max-tokens", 4)
    assert result.out.splitlines() == ["ot t", " to "]


def test_json_names_the_prompts(run: Path) -> None:
    found = generated(
        run, "--prompt", "to be or not", "--max-tokens", 3, "--strategy", "beam:width=2", "--json"
    ).json
    assert found == [{"prompt": "to be or not", "text": " to"}]


def test_a_stop_ends_it(run: Path) -> None:
    assert generated(run, "--prompt", "to be or not", "--stop", "be").out == " to \n"


def test_a_prompt_comes_from_stdin(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("to be or\n"))
    assert generated(run, "--prompt", "-", "--max-tokens", 12).out == " not to be. \n"


def test_python_gives_the_same(run: Path) -> None:
    assert bm.generate(run, "to be or", max_tokens=12) == " not to be. "


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ((), 2, "expected a prompt"),
        (("--prompt", ""), 1, "the prompt is empty"),
        (("--prompt", "x"), 1, "the character 'x' is not among"),
        (("--prompt", "x"), 1, "as in --data text:unknown=?"),
        (("--prompt", "to be " * 9), 1, "has 54 tokens, but the model's context is 48"),
        (("--prompt", "to", "--strategy", "beem"), 2, "there is no strategy 'beem'"),
        (("--prompt", "to", "--strategy", "beam:width=0"), 2, "width"),
        (("--prompt", "-", "--prompt", "-"), 2, "stdin is two prompts"),
        (("--prompt", "to", "--stop", ""), 2, "stop has an empty text"),
    ],
)
def test_bad_input_is_refused(run: Path, options: tuple[str, ...], code: int, says: str) -> None:
    result = run_here("generate", run, *options)
    assert (result.code, result.out) == (code, "")
    assert says in result.err


def test_a_model_that_writes_nothing_is_refused(tmp_path: Path) -> None:
    model = bm.models.build("mlp")
    bm.save(model.build(model.input_spec()), tmp_path / "model.ckpt")
    result = run_here("generate", tmp_path / "model.ckpt", "--prompt", "a")
    assert result.code == 2
    assert "does not write texts" in result.err
