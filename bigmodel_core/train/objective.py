"""The loss on top of a model's graph: what it takes as targets, and batches as inputs of that graph."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from bigmodel_core.data.arrays import as_array
from bigmodel_core.errors import BigmodelError, DtypeError, ShapeError
from bigmodel_core.graph import Value, place
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.nn.fitting import checked, input_spec
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss, LossFunction, several_outputs
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.trace import Trace

TARGET = "~target"
"""The graph input that holds the targets; an argument of the model may be called `target`."""


def batch_inputs(network: Network, inputs: Sequence[Any], target: Any, spec: Spec) -> dict[str, Any]:
    """A batch as graph inputs.

    Raises:
        ShapeError, DtypeError, DataError: it does not fit the model, or is empty.
    """
    known: dict[str, int] = {}
    given: dict[str, Any] = dict(network.check_inputs(inputs, known))
    counts = [len(array) for array in given.values() if array.ndim]
    if 0 in counts:
        raise ShapeError("the batch is empty.", fix="pass at least one sample.")
    known.setdefault("N", counts[0] if counts else 1)
    given[TARGET] = checked("target", target, spec, known)
    return given


def loss_value(loss: Loss, trace: Trace, target: Value) -> Value:
    """The loss as a value of the trace's graph; its errors say that they come from the loss.

    Raises:
        GraphError: the model returns several outputs, and the loss takes one.
    """
    with trace.active(), trace.graph.scope("loss", type(loss).__name__):
        try:
            with _within(loss, trace):
                value = loss(trace.result, target)
            if value.shape != ():
                raise ShapeError(
                    f"the loss has shape {format_shape(value.shape)}.", fix="a loss is a scalar: its mean."
                )
        except BigmodelError as error:
            error.where = error.where or place("loss", type(loss).__name__)
            raise
        except (AttributeError, TypeError) as error:
            if trace.form.kind == "single":
                raise
            raise several_outputs(loss, trace.result, str(error)) from error
    return value


def _within(loss: Loss, trace: Trace) -> AbstractContextManager[None]:
    """Where a loss runs: a method of a layer, in that layer's call."""
    owner = getattr(loss.function, "__self__", None) if isinstance(loss, LossFunction) else None
    return trace.continued(owner) if isinstance(owner, Layer) else nullcontext()


def target_spec(loss: Loss, target: Any, dtype: str) -> Spec:
    """What targets look like to a loss.

    Raises:
        DtypeError: the loss needs integers and the target holds none.
    """
    if isinstance(target, Spec):
        return target
    array = as_array(target, "target")
    if array.ndim == 0:
        raise ShapeError("the target is a single number.", fix="pass an array with one target per sample.")
    kind = loss.target_dtype or ("int64" if array.dtype.kind in "iub" else dtype)
    if kind == "int64" and array.dtype.kind == "f":
        raise DtypeError(
            f"{type(loss).__name__} needs integer targets, got {array.dtype}.",
            fix="pass class numbers: y.astype('int64').",
            where="loss",
        )
    return input_spec(array, kind).with_dtype(kind)
