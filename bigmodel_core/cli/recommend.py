"""`bigmodel recommend`: what users may like, by a model that was trained on ratings."""

from __future__ import annotations

import warnings
from typing import Annotated

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.data import DataDir
from bigmodel_core.cli.terminal import AsJson, Output, visible
from bigmodel_core.errors import BigmodelWarning

app = command_app()


@app.command()
def recommend(
    what: Annotated[str, typer.Argument(metavar="RUN", help="A run or checkpoint.")],
    users: Annotated[list[str], typer.Argument(metavar="USER...", help="Names of users.")],
    number: Annotated[int, typer.Option("--count", min=1, help="Items for each user.")] = 10,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the items that users may like best, without those that they have in the training split.

    A user whom training has not seen gets what is usual. A run answers with its best checkpoint.
    """
    from bigmodel_core.cli.sources import checkpoint, known_of, load_data
    from bigmodel_core.train.recommending import check_names
    from bigmodel_core.train.recommending import recommend as listed

    content = checkpoint(what)
    model = content.restore("cpu")
    known = check_names(model)[0]
    data = load_data(None, data_dir, known_of(content))
    output = Output(as_json)
    records, lines = [], []
    for user in users:
        best = listed(model, user, number, data=data)
        records.append(
            {
                "user": user,
                "known": user in known,
                "items": [{"item": item, "score": score} for item, score in best],
            }
        )
        lines += [[user, item, f"{score:.3f}"] for item, score in best]
        if user not in known:
            warnings.warn(
                f"Training has not seen {visible(user)}, who gets what is usual.",
                BigmodelWarning,
                stacklevel=2,
            )
    if not as_json:
        output.table(["User", "Item", "Score"], lines, numbers=["Score"])
    output.result(records)
