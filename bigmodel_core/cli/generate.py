"""`bigmodel generate`: what a trained language model writes after a prompt."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.terminal import AsJson, Output

app = command_app()


@app.command()
def generate(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="A run, checkpoint or published weights.  [default: the newest run]"
        ),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option("--prompt", metavar="TEXT", help="What it goes on with, - for stdin; repeatable."),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option("--strategy", metavar="NAME", help="Such as sample:temperature=0.8 or beam:width=4."),
    ] = "greedy",
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Tokens at most.")] = 100,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", metavar="TEXT", help="A text that ends it; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write on after a prompt, one token after the other.

    Stdout holds what comes after the prompt and a newline, nothing else. A run answers with its best
    checkpoint.
    """
    from bigmodel_core.cli.names import named, wrong_usage
    from bigmodel_core.cli.sources import found, is_onnx, is_published
    from bigmodel_core.errors import UsageError
    from bigmodel_core.train.checkpoint import load
    from bigmodel_core.train.generation import generate as write
    from bigmodel_core.train.pretrained import from_pretrained

    if not prompts:
        raise UsageError("expected a prompt.", fix='as in: bigmodel generate RUN --prompt "It was"')
    if prompts.count("-") > 1:
        raise UsageError("stdin is two prompts.", where="--prompt", fix="pass - once.")
    prompts = [sys.stdin.read().removesuffix("\n") if prompt == "-" else prompt for prompt in prompts]
    chosen = named("strategy", strategy)
    path = found(what)
    if is_onnx(path):
        raise UsageError(
            "an ONNX file is run by ONNX Runtime.",
            where=str(path),
            fix="name a run or a checkpoint; docs/text_models_in_onnx_runtime.md writes with the file.",
        )
    model = from_pretrained(path) if is_published(path) else load(path)
    options: dict[str, Any] = {"max_tokens": max_tokens, "stop": stop}
    with wrong_usage():
        if as_json or len(prompts) > 1:
            texts = write(model, prompts, chosen, **options)
        else:
            texts = write(model, prompts[0], chosen, stream=True, **options)
    if as_json:
        pairs = zip(prompts, texts, strict=True)
        Output(True).result([{"prompt": prompt, "text": text} for prompt, text in pairs])
    elif len(prompts) > 1:
        for text in texts:
            _say(text + "\n")
    else:
        for piece in texts:
            _say(piece)
        _say("\n")


def _say(text: str) -> None:
    """Print a piece of a text at once; on a terminal without what would steer it."""
    from bigmodel_core.cli.terminal import visible

    sys.stdout.write(visible(text, keep="\n\t") if sys.stdout.isatty() else text)
    sys.stdout.flush()
