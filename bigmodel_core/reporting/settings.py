"""What a run was told, with what it ran, how it ended, and what it cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bigmodel_core.charts.texts import number
from bigmodel_core.nn.quantities import count, duration
from bigmodel_core.reporting.page import Block, Code, Facts, Folded, Section, Text
from bigmodel_core.train import runs
from bigmodel_core.train.run import KILLED, Run

STATES = {
    runs.FINISHED: "It finished.",
    runs.INTERRUPTED: "It was interrupted.",
    runs.FAILED: "It failed.",
    runs.DIVERGED: "It ended, but diverged: its loss is far above that of a model that knows nothing.",
    runs.RUNNING: "It is being trained now.",
    KILLED: "It did not end: its process was killed.",
}


def described(config: Any) -> str:
    """A thing of the registry as a run wrote it down: its name, with its options.

    >>> described({"name": "optimizers:Adam", "fields": {"beta1": 0.9, "groups": None}})
    'Adam(beta1=0.9)'
    """
    if isinstance(config, Mapping) and isinstance(config.get("name"), str):
        fields = config.get("fields")
        given = [
            f"{key}={described(value)}"
            for key, value in (fields.items() if isinstance(fields, Mapping) else ())
            if value is not None
        ]
        return f"{config['name'].rpartition(':')[2]}({', '.join(given)})"
    if isinstance(config, Mapping):
        return ", ".join(f"{key}: {described(value)}" for key, value in config.items())
    if isinstance(config, (list, tuple)):
        return ", ".join(map(described, config))
    return number(config) if isinstance(config, float) else str(config)


def ending(run: Run) -> Section:
    """How a run ended, and its results."""
    manifest, epochs, results = run.config, run.history.epochs, run.config.get("results")
    kind = "" if run.status == runs.FINISHED else "warning"
    blocks: list[Block] = [Text(STATES.get(run.status, "It does not say how it ended."), kind)]
    if isinstance(manifest.get("error"), str) and manifest["error"]:
        blocks.append(Code(manifest["error"], "The error"))
    best = results.get("best_epoch") if isinstance(results, Mapping) else None
    facts = {
        "Started": _moment(manifest.get("started")),
        "Epochs": f"{len(epochs):,} of {manifest['epochs']:,}"
        if isinstance(manifest.get("epochs"), int)
        else f"{len(epochs):,}",
        "Best epoch": f"{best}, by {manifest.get('monitor', 'its loss')}" if best else "",
        "Time of the epochs": duration(run.seconds) if epochs else "",
        "Device": manifest.get("device") or "",
    }
    return Section("How it ended", [*blocks, Facts({key: value for key, value in facts.items() if value})])


def _moment(text: Any) -> str:
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"
    except (TypeError, ValueError):
        return ""


def settings(manifest: Mapping[str, Any]) -> Section:
    """The configuration and the versions of a run."""
    data = manifest.get("data") if isinstance(manifest.get("data"), Mapping) else {}
    assert isinstance(data, Mapping)
    samples = data.get("samples")
    versions = manifest.get("versions")
    facts = {
        "Model": described(manifest["model"]) if manifest.get("model") else "",
        "Data": data.get("name") or "",
        "Samples": ", ".join(f"{count(n) if isinstance(n, int) else n} {part}" for part, n in samples.items())
        if isinstance(samples, Mapping)
        else "",
        "What a sample is": data.get("input_meaning") or "",
        "Source": data.get("source") or "",
        "Loss": described(manifest["loss"]) if manifest.get("loss") else "",
        "Optimizer": described(manifest["optimizer"]) if manifest.get("optimizer") else "",
        "Metrics": described(manifest["metrics"]) if manifest.get("metrics") else "",
        "Augmentation": described(manifest["augment"]) if manifest.get("augment") else "",
        "Callbacks": described(manifest["callbacks"]) if manifest.get("callbacks") else "",
        "Batch size": manifest.get("batch_size") or "",
        "Seed": manifest.get("seed", ""),
        "Versions": ", ".join(f"{key} {value}" for key, value in versions.items())
        if isinstance(versions, Mapping)
        else "",
    }
    written = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
    written = written if len(written) <= 100_000 else f"{written[:100_000]}\n... (run.json has the rest)"
    return Section(
        "Configuration",
        [
            Facts({key: value for key, value in facts.items() if value != ""}),
            Folded("The whole configuration, run.json", [Code(written, "run.json")]),
        ],
    )


def cost(manifest: Mapping[str, Any]) -> Section | None:
    """What a run used and spent, if it says so: energy, carbon dioxide, money; privacy."""
    used, spent = _mapping(manifest, "energy"), _mapping(manifest, "spent")
    if not used and not spent:
        return None
    facts = {
        "Energy": _amount(used.get("kwh"), 1000, "Wh"),
        "Carbon dioxide": _amount(used.get("co2_kg"), 1000, "g"),
        "Cost": _amount(used.get("cost"), 1, ""),
        "CPU time": _amount(used.get("cpu_seconds"), 1, "s"),
        "Epsilon": _amount(spent.get("epsilon"), 1, ""),
        "Delta": _amount(spent.get("delta"), 1, ""),
    }
    left = f", without {used['leaves_out']}" if used.get("leaves_out") else ""
    how = {
        "estimate": Text(f"The energy is an estimate from CPU time{left}, not a measurement.", "warning"),
        "codecarbon": Text("The energy was measured by codecarbon."),
    }.get(str(used.get("how")))
    told = Facts({key: value for key, value in facts.items() if value})
    return Section("Energy and cost" if used else "Privacy", [*([how] if how else []), told])


def _mapping(manifest: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = manifest.get(key)
    return found if isinstance(found, Mapping) else {}


def _amount(value: Any, factor: float, unit: str) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{number(float(value * factor))} {unit}".strip() if is_number else ""
