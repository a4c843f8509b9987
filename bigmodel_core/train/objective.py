"""What a loss takes besides a model's inputs: targets and weights, and batches as inputs of its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.data.arrays import as_array
from bigmodel_core.data.source import Source
from bigmodel_core.data.tree import arrays_of, filled, leaves
from bigmodel_core.errors import DataError, DtypeError, ShapeError
from bigmodel_core.graph.spec import Dim, Spec, dim_names, dim_value, match
from bigmodel_core.nn.fitting import check_fits, checked
from bigmodel_core.nn.loss import Loss, name_of
from bigmodel_core.nn.network import Network
from bigmodel_core.train.by_output import Losses, check_outputs

TARGET = "~target"
"""The graph input that holds the targets, or what the names of several start with; an argument of the model
may be called `target`."""
WEIGHTS = "~weights"
"""Likewise for the weights of samples."""


@dataclass(frozen=True)
class Goal:
    """What a batch has for a loss, besides the inputs of the model, as trees of specs.

    Args:
        target: the targets; where losses belong to outputs, a dict by the names of those.
        weight: the weights of samples, likewise; None if they are not weighted.
        mixed: whether augmentations mix the targets.
    """

    target: Any
    weight: Any = None
    mixed: bool = False

    def names(self) -> list[str]:
        """The graph inputs."""
        return [*(TARGET + path for path in leaves(self.target)), *(WEIGHTS + p for p in leaves(self.weight))]


def goal_of(
    loss: Loss | Losses,
    network: Network,
    inputs: Sequence[Any],
    target: Any,
    weight: Any = None,
    *,
    mixed: bool = False,
) -> Goal:
    """What targets and weights look like.

    Args:
        loss: what is minimised.
        network: the model.
        inputs: an array, a source or a Spec for each input of the model.
        target: arrays, or Specs.
        weight: likewise, or None.
        mixed: whether augmentations mix the target.

    Raises:
        DtypeError: a loss needs integers and its target holds none.
        DataError, UnknownNameError: targets or weights do not match the losses.
    """
    known: dict[str, int] = {}
    for spec, item in zip(network.inputs, inputs, strict=False):
        if not isinstance(item, Spec):
            match(spec.shape, np.shape(item), known)
    outputs = dict(zip(network.output_names, network.outputs, strict=True))
    losses, like = _losses_by_target(loss, outputs)
    targets = by_output(loss, network, target, "targets")
    weights = None if weight is None else by_output(loss, network, weight, "weights")

    def spec_of(path: str, item: Any, kind: str | None) -> Spec:
        if isinstance(item, Spec):
            return item
        output = like.get(path, like[""])
        found = _named_sizes(item.shape, output, network, known)
        return Spec(
            found, kind or _target_type(losses.get(path, losses.get("", loss)), item, output, network)
        )

    return Goal(
        filled(targets, [spec_of(path, item, None) for path, item in leaves(targets).items()]),
        None
        if weights is None
        else filled(weights, [spec_of(path, item, network.dtype) for path, item in leaves(weights).items()]),
        mixed,
    )


def _losses_by_target(
    loss: Loss | Losses, outputs: Mapping[str, Spec]
) -> tuple[dict[str, Any], dict[str, Spec]]:
    """By the path of a target, the loss and the output that it belongs to; "" for all others."""
    first = next(iter(outputs.values()))
    if not isinstance(loss, Losses):
        return {"": loss}, {"": first}
    placed = loss.placed(list(outputs))
    return (
        {f"/{term.output}": term.loss for _, term in reversed(placed)},
        {"": first, **{f"/{name}": spec for name, spec in outputs.items()}},
    )


def _named_sizes(
    shape: Sequence[int], output: Spec, network: Network, known: Mapping[str, int]
) -> tuple[Dim, ...]:
    """The shape of targets or weights, with the free sizes of the output that they belong to."""
    own = next((spec.shape[0] for spec in network.inputs if spec.ndim), "N")
    found: list[Dim] = [own, *shape[1:]]
    for place_, size in enumerate(shape[: output.ndim]):
        dim = output.shape[place_]
        names = dim_names(dim)
        if names and names <= set(known) and dim_value(dim, known) == size:
            found[place_] = dim
    return tuple(found)


def _target_type(loss: Any, array: Any, output: Spec, network: Network) -> str:
    kind = array.dtype.kind
    takes_labels = loss.target_dtype == "int64"
    if takes_labels and kind == "f":
        if loss.soft_targets and array.ndim == output.ndim:
            return network.dtype
        raise DtypeError(
            f"{name_of(loss)} needs integer targets, got {array.dtype}.",
            fix="pass class numbers: y.astype('int64')."
            + (" A share of each class has the shape of the scores." if loss.soft_targets else ""),
            where="loss",
        )
    return str(loss.target_dtype or ("int64" if kind in "iub" else network.dtype))


def by_output(loss: Loss | Losses, network: Network, tree: Any, what: str) -> Any:
    """Targets or weights in the form in which a loss takes them.

    Args:
        loss: what is minimised.
        network: the model.
        tree: arrays or Specs: one, a tuple, or a dict.
        what: "targets" or "weights".

    Returns:
        A dict by the names of outputs for losses of outputs; else the tree as it is.

    Raises:
        DataError, UnknownNameError: it does not match the losses.
    """
    names = network.output_names
    if _is_spec(tree):
        found = dict(tree) if isinstance(tree, Mapping) else tree
    else:
        found = arrays_of(tree, what.removesuffix("s"))
    if not isinstance(loss, Losses):
        if what == "weights" and leaves(found).keys() != {""}:
            raise DataError(
                f"the weights are a {type(found).__name__}, and one loss takes all outputs.",
                fix="pass one array of weights, or a loss for each output.",
            )
        return found
    wanted = list(dict.fromkeys(str(term.output) for _, term in loss.placed(names)))
    if isinstance(found, tuple):
        if len(found) != len(names):
            raise DataError(
                f"there are {len(found)} {what}, and the model returns {len(names)} outputs"
                f" ({', '.join(names)}).",
                fix="pass one for each output, in their order, or a dict by their names.",
            )
        found = dict(zip(names, found, strict=True))
    if isinstance(found, Mapping):
        check_outputs(found, names, what)
    elif what == "weights" or len(wanted) == 1:
        found = dict.fromkeys(wanted, found)
    else:
        raise DataError(
            f"the {what} are one array, and there are losses of {', '.join(wanted)}.",
            fix=f'pass a dict: {{"{wanted[0]}": ..., "{wanted[1]}": ...}}.',
        )
    missing = [name for name in wanted if name not in found]
    if missing and what == "targets":
        raise DataError(
            f"the targets have no '{missing[0]}', which has a loss.",
            fix=f"they need {', '.join(wanted)}; got {', '.join(found)}.",
        )
    return {name: found[name] for name in wanted if name in found}


def _is_spec(tree: Any) -> bool:
    return all(isinstance(item, Spec) for item in leaves(tree).values())


def batch_inputs(
    network: Network,
    loss: Loss | Losses,
    goal: Goal,
    inputs: Sequence[Any],
    target: Any,
    weight: Any = None,
) -> dict[str, Any]:
    """A batch as graph inputs.

    Raises:
        ShapeError, DtypeError, DataError: it does not fit the model, or is empty.
    """
    known: dict[str, int] = {}
    given: dict[str, Any] = dict(network.check_inputs(inputs, known))
    counts = [len(array) for array in given.values() if array.ndim]
    if 0 in counts:
        raise ShapeError("the batch is empty.", fix="pass at least one sample.")
    count = counts[0] if counts else 1
    known.setdefault("N", count)
    given.update(goal_inputs(network, loss, goal, target, weight, known))
    return given


def samples_in(given: Mapping[str, np.ndarray]) -> int:
    """How many samples a batch has, as graph inputs."""
    return len(next(array for name, array in given.items() if name.startswith(TARGET)))


def goal_inputs(
    network: Network, loss: Loss | Losses, goal: Goal, target: Any, weight: Any, known: dict[str, int]
) -> dict[str, Any]:
    """Targets and weights of a batch, or of all samples, as graph inputs.

    Raises:
        ShapeError, DtypeError, DataError: they do not fit.
    """
    found = leaves(by_output(loss, network, target, "targets"))
    expected = leaves(goal.target)
    if found.keys() != expected.keys():
        raise DataError(
            f"the targets are {_listed(found)}, expected {_listed(expected)}.",
            fix="give every batch the same targets.",
        )
    given = {
        TARGET + path: _fitted(f"target{_quoted(path)}", found[path], spec, known)
        for path, spec in expected.items()
    }
    weights = {} if weight is None else leaves(by_output(loss, network, weight, "weights"))
    if goal.weight is None and weights:
        raise DataError(
            "the batch has weights, and the first one had none.",
            fix="pass weights with every batch, or make another step.",
        )
    for path, spec in leaves(goal.weight).items():
        if path not in weights:
            weights[path] = np.ones([dim_value(dim, known) for dim in spec.shape], spec.dtype)
        given[WEIGHTS + path] = _fitted_weight(f"weight{_quoted(path)}", weights[path], spec, known)
    return given


def _fitted(name: str, array: Any, spec: Spec, known: dict[str, int]) -> Any:
    if isinstance(array, Source):
        check_fits(name, array, spec, known)
        return array if array.dtype == spec.dtype else array.astype(spec.dtype)
    return checked(name, array, spec, known)


def _fitted_weight(name: str, array: Any, spec: Spec, known: dict[str, int]) -> np.ndarray | Source:
    if isinstance(array, Source):
        check_fits(name, array, spec, known)
        for start in range(0, len(array), 1024):
            _check_weight(name, array[start : start + 1024])
        return array if array.dtype == spec.dtype else array.astype(spec.dtype)
    found = as_array(np.asarray(array), name)
    found = _fitted(name, found.astype(spec.dtype) if found.dtype.kind in "iub" else found, spec, known)
    _check_weight(name, found)
    return found


def _check_weight(name: str, found: np.ndarray) -> None:
    if not (found >= 0).all() or np.isinf(found).any():
        raise DataError(
            f"the {name} has a negative number, or one that is not finite.", fix="weights are 0 or more."
        )


def _quoted(path: str) -> str:
    return f" '{path[1:]}'" if path else ""


def _listed(tree: Mapping[str, Any]) -> str:
    return "one array" if "" in tree else ", ".join(path[1:] for path in tree)


def spec_like(loss: Loss | Losses, outputs: Mapping[str, Spec]) -> Any:
    """Targets as a loss takes them, if nobody has some: a class for each row of scores, or numbers like the
    output."""

    def of(loss: Loss, output: Spec) -> Spec:
        is_label = loss.target_dtype == "int64"
        return output.with_shape(output.shape[:-1]).with_dtype("int64") if is_label else output

    if not isinstance(loss, Losses):
        return of(loss, next(iter(outputs.values())))
    return {
        str(term.output): of(term.loss, outputs[str(term.output)]) for _, term in loss.placed(list(outputs))
    }
