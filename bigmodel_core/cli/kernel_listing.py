"""`bigmodel info --kernels`: the steps of a prediction and of a training step, with what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.terminal import Output, count, size

if TYPE_CHECKING:
    from bigmodel_core.nn.network import Network
    from bigmodel_core.plan.listing import PlannedStep

TRAINING_BATCH = 64
"""Samples of the training step that is listed if no number is requested, as in training."""


def show_kernels(
    network: Network, batch_size: int | None, output: Output, loss: Any = None, optimizer: Any = None
) -> dict[str, Any]:
    """Show what a model runs; returns the same as JSON-able values.

    Args:
        network: the built model.
        batch_size: samples; 1 in a prediction and 64 in a training step if it is None.
        output: where to.
        loss: that of the training step; the model's own if it is None and there is one.
        optimizer: likewise.
    """
    from bigmodel_core.errors import UsageError
    from bigmodel_core.train.objective import spec_like
    from bigmodel_core.train.trainer import Trainer

    titles = {"predict": _title("Prediction", batch_size or 1)}
    shown = {"predict": network.kernels(batch_size or 1)}
    try:
        step = Trainer(network, loss, optimizer).step
    except UsageError:  # neither the model nor the caller names a loss
        step = None
    if step is not None:
        samples = batch_size or TRAINING_BATCH
        outputs = dict(zip(network.output_names, network.outputs, strict=True))
        step.build(network.inputs, spec_like(step.loss, outputs))
        shown["train"] = step.kernels(samples)
        titles["train"] = _title("Training step", samples, type(step.loss), type(step.optimizer))
    if not output.as_json:
        for name, steps in shown.items():
            output.line()
            output.line(titles[name], "bold")
            _show(steps, output)
    found = {name: [step.to_dict() for step in steps] for name, steps in shown.items()}
    return {"kernels": found, "vector_unit": _vector_unit()}


def _vector_unit() -> str:
    from bigmodel_core.kernels.cpu.engine.target import vector_unit

    return vector_unit().name


def _title(what: str, samples: int, *parts: type) -> str:
    named = f", {', '.join(part.__name__ for part in parts)}" if parts else ""
    return f"{what} of {samples:,} sample{'s' if samples > 1 else ''}{named}"


def _show(steps: Sequence[PlannedStep], output: Output) -> None:
    from bigmodel_core.plan.listing import shortened

    rows = [
        (
            step.path or "(model)",
            shortened(step.op),
            ", ".join(_kernel(kernel) for kernel in step.kernels),
            count(step.multiply_adds) if step.multiply_adds else "",
            size(step.scratch) if step.scratch else "",
            step.choice,
        )
        for step in steps
    ]
    total = sum(step.multiply_adds for step in steps)
    rows.append(("Total", f"{len(steps)} steps", "", count(total), "", ""))
    columns = ["Layer", "Step", "Kernels x chunks", "Multiply-adds", "Scratch", "Choice"]
    output.table(columns, rows, numbers=["Multiply-adds", "Scratch"])


def _kernel(kernel: Any) -> str:
    from bigmodel_core.plan.listing import shortened

    after = f", epilogue {shortened(kernel.epilogue)}" if kernel.epilogue else ""
    return f"{kernel.name} x {kernel.chunks}{after}{', kept' if kernel.is_kept else ''}"
