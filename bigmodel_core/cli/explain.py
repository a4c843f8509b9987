"""`bigmodel explain`: what of its inputs an answer of a trained model came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.data import DataDir, DataOfRun
from bigmodel_core.cli.terminal import AsJson, Output
from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    from bigmodel_core.reporting.explanation import Explained

app = command_app()

PAGE = "explanation.html"
KINDS = (".html", ".svg", ".png")
BAR = 24
"""Letters of the longest bar."""


@app.command()
def explain(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run or a checkpoint.  [default: the newest run]"),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="Such as integrated-gradients, shapley, grad-cam:layer=PATH.  [default: for a table"
            " permutation, or shapley of one sample; else integrated-gradients]",
        ),
    ] = None,
    data_name: DataOfRun = None,
    data_dir: DataDir = None,
    part: Annotated[str, typer.Option("--split", metavar="NAME", help="test, train or validation.")] = "test",
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", help="Explain this sample.  [default: 0; all of a table]"),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="Explain the answer to this text.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="CLASS",
            help="Its label or number; STEP:CLASS where each step has one.  [default: the predicted one]",
        ),
    ] = None,
    output_name: Annotated[
        str | None, typer.Option("--output", metavar="NAME", help="Which output, of a model with several.")
    ] = None,
    baseline: Annotated[
        float | None,
        typer.Option("--baseline", metavar="X", help="What counts as nothing: a number, or a token."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="NAME", help="Permutation measures it.  [default: accuracy or r2]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="A page (.html) or a picture (.svg, .png).  [default: of images explanation.html]",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what of its inputs an answer of a trained model came from.

    A table is answered by its features, an image by its pixels, a text by its tokens.
    """
    from bigmodel_core.cli.explained import Request, explained_by
    from bigmodel_core.cli.names import named

    if sample is not None and text is not None:
        raise UsageError("a sample and a text were both given.", fix="pass --sample or --text.")
    if out is not None and out.suffix.lower() not in KINDS:
        raise UsageError(
            f"a page ends in .html, a picture in .svg or .png, not in '{out.suffix}'.",
            where=f"--out {out}",
            fix="as in --out explanation.html",
        )
    explainer = None if method is None else named("explainer", method)
    wanted = target if target is None else _target(target)
    request = Request(what, explainer, data_name, data_dir, part, sample, text, wanted, output_name)
    explained, path = explained_by(request, baseline, metric)
    if out is None and explained.image is not None:
        out = (path if path.is_dir() else path.parent) / PAGE
    if out is not None:
        _write(out, explained)
    output = Output(as_json)
    if not as_json:
        _show(output, explained)
        if out is not None:
            output.say(f"\nWrote {out}")
    output.result(_document(explained, out))


def _target(text: str) -> Any:
    """What `--target` means: a class, or a step and a class."""
    step, colon, last = text.partition(":")
    if colon and step.isdigit():
        return int(step), last or None
    return text


def _write(out: Path, explained: Explained) -> None:
    """Write a page or a picture.

    Raises:
        UsageError: there is no picture of that.
    """
    import io

    from bigmodel_core import __version__
    from bigmodel_core.charts import images
    from bigmodel_core.reporting.explanation import explanation_page, feature_bars, side_by_side
    from bigmodel_core.train.atomic import write_atomically

    kind = out.suffix.lower()
    if kind == ".html":
        page = explanation_page(explained, f"Made by bigmodel {__version__}.")
        write_atomically(out, [page.html().encode()])
    elif explained.image is None and (kind == ".png" or explained.tokens):
        raise UsageError(
            "this picture is there for images alone.",
            where=f"--out {out}",
            fix="name a page: explanation.html.",
        )
    elif explained.image is None:
        write_atomically(out, [feature_bars(explained).svg.encode()])
    elif kind == ".svg":
        captions, arrays = zip(*side_by_side(explained), strict=True)
        chart = images(arrays, captions, title=explained.title, columns=3)
        write_atomically(out, [chart.svg.encode()])
    else:
        import numpy as np
        from PIL import Image

        joined = np.concatenate([array for _, array in side_by_side(explained)], 1)
        times = max(1, 256 // len(joined))
        with io.BytesIO() as file:
            Image.fromarray(joined.repeat(times, 0).repeat(times, 1)).save(file, "PNG")
            write_atomically(out, [file.getvalue()])


def _show(output: Output, explained: Explained) -> None:
    """The answer in a terminal."""
    from bigmodel_core.charts.texts import number
    from bigmodel_core.reporting.explanation import quoted

    output.line(explained.title, "bold")
    output.pairs(explained.facts)
    if explained.image is not None:
        return
    output.line()
    if explained.tokens:
        for name in explained.tokens:
            rows = explained.weighed(name)
            if len(explained.tokens) > 1:
                output.line(name, "bold")
            _coloured(output, rows)
            lines = [(quoted(token), number(value), _bar(value, rows)) for token, value in rows]
            output.table(["Token", "Value", ""], lines, ["Value"])
        output.pairs({f"{name}, in all": number(value) for name, value in explained.rest().items()})
        return
    ranked = explained.ranked()
    values = [(name, value) for name, value, _, _ in ranked]
    columns, has_spread, has_own = ["Feature", "Value"], ranked[0][2] is not None, bool(ranked[0][3])
    columns += ["±"] * has_spread + ["In the sample"] * has_own + [""]
    shown: list[tuple[str, ...]] = []
    for name, value, deviation, own in ranked:
        spread = ["" if deviation is None else number(deviation)] if has_spread else []
        shown.append((name, number(value), *spread, *([own] if has_own else []), _bar(value, values)))
    output.table(columns, shown, columns[1:-1])


def _bar(value: float, rows: list[tuple[str, float]]) -> str:
    """A bar as long as a value is large beside the largest."""
    largest = max(abs(other) for _, other in rows) or 1.0
    return ("█" if value >= 0 else "░") * round(BAR * abs(value) / largest)


def _coloured(output: Output, rows: list[tuple[str, float]]) -> None:
    """The text in a terminal, with the colours of its tokens."""
    from rich.text import Text

    from bigmodel_core.cli.terminal import visible
    from bigmodel_core.reporting.explanation import spaced

    if not output.console.is_terminal:
        return
    largest = max((abs(value) for _, value in rows), default=0.0) or 1.0
    found = Text()
    for piece, (_, value) in zip(spaced([token for token, _ in rows]), rows, strict=True):
        share = abs(value) / largest
        most = (9, 105, 218) if value >= 0 else (188, 76, 0)
        colour = ",".join(str(round(255 + share * (end - 255))) for end in most)
        found.append(visible(piece), style=f"black on rgb({colour})")
    output.console.print(found)
    output.line()


def _document(explained: Explained, out: Path | None) -> dict[str, Any]:
    """The answer for programs."""
    found = explained.found.to_dict()
    document: dict[str, Any] = {"title": explained.title, **explained.facts, **found}
    if explained.tokens:
        document["tokens"] = {
            name: [{"token": token, "value": value} for token, value in explained.weighed(name)]
            for name in explained.tokens
        }
    elif explained.image is None:
        document["features"] = [
            {"name": name, "value": value, **({} if deviation is None else {"deviation": deviation})}
            for name, value, deviation, _ in explained.ranked()
        ]
    document["file"] = None if out is None else str(out)
    return document
