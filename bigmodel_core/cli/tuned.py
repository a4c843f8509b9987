"""What a search came to: its best trial, the page about it, and the command that trains so."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import typer

from bigmodel_core.cli.app import STOPPED
from bigmodel_core.cli.study import Study
from bigmodel_core.cli.study_files import REPORT, experiment_asked
from bigmodel_core.cli.terminal import Output, metric
from bigmodel_core.reporting.search import search_page
from bigmodel_core.train.atomic import write_atomically


def conclude(study: Study, asked: Mapping[str, Any], output: Output, is_whole: bool) -> None:
    """Write the page, and say what was best and what to do next."""
    best, done = study.best(), study.trials()
    importance = study.importance()
    told: dict[str, Any] = {
        "monitor": study.monitor,
        "best": None if best is None else best.to_dict(),
        "importance": importance,
        "trials": [one.to_dict() for one in done],
    }
    if done:
        page = search_page(
            study.folder.name, study.monitor or "", told["trials"], told["best"], importance
        ).html()
        write_atomically(study.folder / REPORT, [page.encode()])
    typed = shlex.quote(str(study.folder))
    if not output.as_json and best is not None and best.score is not None:
        first = next((one for one in done if one.is_given and one.score is not None), None)
        than = f"; as given {metric(first.score)}" if first and first.score is not None else ""
        output.line(f"\nBest: {study.monitor} {metric(best.score)} in {best.folder}{than}", "bold")
        rows = [
            (name, text, f"{importance[name]:.2f}" if name in importance else "")
            for name, text in best.values.items()
        ]
        output.table(["Option", "Best value", "Importance"], rows, ["Importance"])
    if best is not None:
        output.say(f"\nHow the trials went: {study.folder / REPORT}. Next:")
        output.say(f"  bigmodel runs list {typed}")
        output.say(f"  {_train_command(asked, best.values)}")
        output.say(f"  bigmodel export model.onnx --run {shlex.quote(str(best.folder))}")
    output.result({"folder": str(study.folder), "report": str(study.folder / REPORT), **told})
    if not is_whole:
        output.line(f"Go on with: bigmodel tune --resume {typed}")
        raise typer.Exit(STOPPED)


def _train_command(asked: Mapping[str, Any], values: Mapping[str, str]) -> str:
    """The command that trains as a trial did."""
    words = ["bigmodel", "train", str(asked["what"])]
    kept = {key: value for key, value in asked.items() if key not in ("what", "search", "prune", "set")}
    parts: dict[str, dict[str, str]] = {"optimizer": {}, "schedule": {}, "data": {}}
    sets = list(asked.get("set") or ())
    for name, text in values.items():
        part, dot, key = name.partition(".")
        if not dot and part == "model":
            words[2] = text
        elif not dot:
            kept[part] = text
        elif part == "train":
            kept[key] = text
        elif part == "model":
            sets.append(f"{key}={text}")
        else:
            parts[part][key] = text
    for part, own in parts.items():
        if own:
            name = str(kept.get(part) or _usual(asked, part))
            kept[part] = (
                name + (":" if ":" not in name else ",") + ",".join(f"{k}={v}" for k, v in own.items())
            )
    for key, value in kept.items():
        words += [f"--{key.replace('_', '-')}", f"{value:.12g}" if isinstance(value, float) else str(value)]
    for text in sets:
        words += ["--set", text]
    return shlex.join(words)


def _usual(asked: Mapping[str, Any], part: str) -> str:
    """The name of what an experiment leaves open."""
    experiment = experiment_asked(asked)
    if part == "schedule":
        return experiment.schedule.text if experiment.schedule else "cosine"
    if part == "data":
        return experiment.data.text
    return experiment.optimizer.text if experiment.optimizer else str(experiment.model.make().optimizer)
