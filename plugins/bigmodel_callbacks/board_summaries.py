"""The messages of TensorBoard's files, by what they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, cast

import numpy as np

import bigmodel_core as bm
from bigmodel_callbacks.board_graph import graph_of
from bigmodel_callbacks.board_samples import markdown
from bigmodel_core.errors import BigmodelError

BINS = 30
"""Bars of a histogram: as many as TensorBoard draws."""


def scalars(group: str, values: Mapping[str, Any]) -> Any:
    """Numbers, each a curve of its own."""
    from tensorboardX.proto.summary_pb2 import Summary

    return Summary(
        value=[
            Summary.Value(tag=f"{group}/{name}", simple_value=value)
            for name, value in values.items()
            if isinstance(value, (int, float))
        ]
    )


def text(tag: str, markdown: str) -> Any:
    """A text in Markdown."""
    from tensorboardX import summary

    return summary.text(tag, markdown)


def image(tag: str, png: bytes, width: int, height: int) -> Any:
    """A picture."""
    from tensorboardX.proto.summary_pb2 import Summary

    held = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=held)])


def histogram(tag: str, array: np.ndarray) -> Any:
    """How the numbers of an array are distributed; those that are not finite are left out."""
    from tensorboardX import summary

    values = np.ravel(array).astype(np.float64)
    values = values[np.isfinite(values)]
    counts, limits = np.histogram(values, BINS)
    return summary.histogram_raw(
        tag,
        min=values.min(initial=limits[-1]),
        max=values.max(initial=limits[0]),
        num=values.size,
        sum=values.sum(),
        sum_squares=values @ values,
        # A bar has its upper end alone: an empty one in front gives the first its lower end.
        bucket_limits=limits.tolist(),
        bucket_counts=[0, *counts.tolist()],
    )


def joined(summaries: Sequence[Any]) -> Any:
    """Several messages as one."""
    from tensorboardX.proto.summary_pb2 import Summary

    return Summary(value=[value for item in summaries for value in item.value])


def once(trainer: bm.Trainer) -> Iterator[dict[str, Any]]:
    """What a run says once, at its beginning: its hyper-parameters, the graph, the kernels of a step."""
    from tensorboardX import summary

    told = {**_model(trainer.network.layer), **_told(trainer.options)}
    for held in summary.hparams(told, {f"epoch/{name}": 0.0 for name in trainer.measures})[:2]:
        yield {"summary": held}
    together = {
        name: ["Multiline", [f"^epoch/(val_)?{name}$"]]
        for name in trainer.measures
        if f"val_{name}" in trainer.measures
    }
    if together:
        yield {"summary": summary.custom_scalars({"training and validation": together})}
    yield {"graph_def": graph_of(trainer.network)}
    try:
        kernels = _kernels(trainer)
    except BigmodelError:  # kernels of another device are not listed
        kernels = None
    if kernels:
        yield {"summary": text("kernels", kernels)}


def _model(layer: bm.Layer) -> dict[str, Any]:
    """A model's class and its options; what its layers are, the graph shows."""
    options = {item.name: getattr(layer, item.name) for item in fields(cast(Any, layer))}
    kinds = {name: value for name, value in options.items() if not isinstance(value, bm.Layer)}
    return _told({"model": {"name": type(layer).__name__, "fields": kinds}})


def _told(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The options of a run as hyper-parameters: plain values by name, as in "optimizer/learning_rate"."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if not prefix and name in ("callbacks", "data", "validation", "metrics", "monitor"):
            continue
        if isinstance(value, Mapping) and "fields" in value:
            found[prefix + name] = str(value.get("name", "")).rpartition(":")[2]
            found.update(_told(value["fields"], f"{prefix}{name}/"))
        elif isinstance(value, (bool, int, float, str)):
            found[prefix + name] = value
        elif value:
            found[prefix + name] = str(value)
    return found


def _kernels(trainer: bm.Trainer) -> str | None:
    """The kernels of a training step as a table; None where steps have several sizes, or several parts."""
    free = [size for spec in trainer.network.inputs for size in spec.shape[1:] if not isinstance(size, int)]
    if free or trainer.accumulate > 1:
        return None
    rows = [
        (
            step.path or "(model)",
            step.op,
            ", ".join(f"{kernel.name} x {kernel.chunks}" for kernel in step.kernels),
            f"{step.multiply_adds:,}",
            step.choice,
        )
        for step in trainer.step.kernels(trainer.options["batch_size"])
    ]
    return markdown(["layer", "step", "kernels x chunks", "multiply-adds", "choice"], rows)
