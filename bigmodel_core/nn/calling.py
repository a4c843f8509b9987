"""What a call of a layer means: a part of a model on Values, the model on arrays, its output on Specs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import BigmodelError, ConfigError, ShapeError
from bigmodel_core.graph import Value, place
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.parameters import KnownInputs
from bigmodel_core.nn.trace import current_trace, is_tracing

if TYPE_CHECKING:
    from bigmodel_core.nn.layer import Layer


def dispatched(call: Callable[..., Any]) -> Callable[..., Any]:
    """The `__call__` of a layer that does what the kind of its arguments asks for."""
    if getattr(call, "_dispatched", False):
        return call

    @functools.wraps(call)
    def called(self: Layer, *inputs: Any, **options: Any) -> Any:
        if is_tracing() and not any(isinstance(item, (np.ndarray, Spec)) for item in inputs):
            with current_trace().entered(self, inputs, is_plain=not options):
                try:
                    result = call(self, *inputs, **options)
                    current_trace().returned(result)
                    return result
                except BigmodelError as error:
                    if error.where is None:
                        error.where = place(current_trace().graph.path, type(self).__name__)
                    raise
        if any(isinstance(item, Value) for item in (*inputs, *options.values())):
            return call(self, *inputs, **options)
        if options:
            inputs = _in_order(self, inputs, options)
        if not inputs:
            return call(self)
        known: KnownInputs | None = self.__dict__.get("_known_inputs")
        if self.__dict__.get("_network") is None and not (known is not None and known.is_own):
            self._built(inputs)
        if any(isinstance(item, Spec) for item in inputs):
            return self.network.output_spec(*inputs)
        return self.network(*inputs)

    called._dispatched = True  # type: ignore[attr-defined]  # a mark on a function
    return called


def _in_order(layer: Layer, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
    """The inputs of a model, some of which were given by the names of its arguments.

    Raises:
        ConfigError: an argument has no such name, or cannot be an input.
    """
    names = arguments(type(layer).__call__)[0] or layer._argument_names(layer._input_count() or 0)
    further = names[len(inputs) : len(inputs) + len(named)]
    if set(further) != set(named):
        odd = next(name for name in named if name not in further)
        raise ConfigError(
            f"{type(layer).__name__} has no input '{odd}' when it is called as a model.",
            fix=f"its inputs are {', '.join(names)}, and it computes as in inference.",
        )
    return (*inputs, *(named[name] for name in further))


def check_count(layer: Layer, count: int) -> None:
    """Raise unless a layer can be called with this number of inputs.

    Raises:
        ShapeError: it cannot.
    """
    try:
        _signature(type(layer).__call__).bind(layer, *range(count))
    except TypeError as error:
        names = layer._argument_names(layer._input_count() or 0)
        wanted = f"; it takes {', '.join(names)}" if names else ""
        raise ShapeError(
            f"the model cannot be called on {count} input{'s' * (count != 1)}: {error}{wanted}.",
            fix="pass an array, or a Spec, for each argument of its __call__.",
            where=type(layer).__name__,
        ) from None


def wrong_count(layer: Layer, inputs: Sequence[str], count: int) -> ShapeError:
    """The error about a number of arrays that a model was not built for.

    Args:
        layer: the model.
        inputs: the names of those that it was built for.
        count: how many there are.
    """
    taken = "1 input" if len(inputs) == 1 else f"{len(inputs)} inputs"
    names, is_open = arguments(type(layer).__call__)
    if is_open and 0 < count <= len(names):
        return ShapeError(
            f"the model was built for {taken}, got {count}.",
            fix=f"build it for {', '.join(names[:count])}, and its parameters stay: model.build(...), with a"
            " bm.Spec for each.",
        )
    return ShapeError(
        f"the model takes {taken}, got {count}.",
        fix="pass one array; a tuple stands for several inputs."
        if len(inputs) == 1
        else f"pass a tuple of arrays: ({', '.join(inputs)}).",
    )


@functools.cache
def arguments(call: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """The names of the positional arguments of a layer's `__call__`, and whether there may be more or fewer
    of them."""
    given = list(_signature(call).parameters.values())[1:]
    named = [item for item in given if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    is_open = any(item.kind is item.VAR_POSITIONAL or item.default is not item.empty for item in given)
    return tuple(item.name for item in named), is_open


@functools.cache
def _signature(call: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(call)
