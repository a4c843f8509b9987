"""Layers: frozen dataclasses of hyper-parameters that compose ops when they are called on Values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import BigmodelError, ConfigError, GraphError, ShapeError
from bigmodel_core.graph import Value, place
from bigmodel_core.graph.spec import Dim, Spec, format_shape
from bigmodel_core.nn.trace import Initializer, Parameter, current_trace, is_tracing
from bigmodel_core.registry.contracts import undefined

if TYPE_CHECKING:
    from bigmodel_core.nn.network import Network
    from bigmodel_core.nn.summary import Summary


class Layer:
    """A part of a network: hyper-parameters as fields, `__call__` composes ops and other layers.

    Subclasses are frozen dataclasses. Called on Values, inside another layer, a layer adds to the graph;
    called on NumPy arrays, the outermost layer is the model: it is built at the first call and computes in
    inference mode. Called on a `Spec`, it is built (or checked) for inputs of that spec and returns the
    output's spec.

    ```python
    @dataclass(frozen=True)
    class Scale(bm.Layer):
        start: float = 1.0

        def __call__(self, x):
            return x * self.parameter("factor", x.shape[-1:], self.start)
    ```
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__call__" in cls.__dict__:
            cls.__call__ = _dispatched(cls.__dict__["__call__"])  # type: ignore[method-assign]  # every subclass's call is wrapped

    def __call__(self, *inputs: Any) -> Any:
        raise undefined(self, "layer", "__call__")

    # Inside __call__ -----------------------------------------------------------------------------------

    @property
    def training(self) -> bool:
        """Whether the graph under construction is that of training; only inside `__call__`."""
        return current_trace().training

    def parameter(
        self,
        name: str,
        shape: Sequence[Dim],
        initial: str | float | Initializer = "glorot_uniform",
        *,
        dtype: str | None = None,
        trainable: bool = True,
    ) -> Value:
        """Ask for an array that belongs to the built model; only inside `__call__`.

        Args:
            name: its name within this layer; the same name again gives the same array.
            shape: integers; a named dimension is an error, since parameters have fixed sizes.
            initial: an initializer's name (see `bigmodel_core.nn.initializers`), a number, or a function of
                (generator, shape).
            dtype: its number type; the model's by default.
            trainable: whether optimizers change it.

        Raises:
            ShapeError: the shape has a named dimension or differs from an earlier request.
        """
        trace = current_trace()
        graph = trace.graph
        path = f"{graph.path}/{name}".lstrip("/")
        free = [dim for dim in shape if not isinstance(dim, (int, np.integer))]
        if free:
            raise ShapeError(
                f"the parameter '{name}' cannot have the free dimension '{free[0]}' in its shape"
                f" {format_shape(shape)}.",
                fix="fix that dimension in the input's spec; only the batch is free.",
                where=place(graph.path, graph.layer),
            )
        spec = Spec(tuple(shape), dtype or trace.dtype)
        known = trace.parameters.get(path)
        if known is not None and known.spec != spec:
            raise ShapeError(
                f"the shared parameter '{name}' is {format_shape(known.spec.shape)} and cannot also be"
                f" {format_shape(spec.shape)}.",
                fix="a layer that is called twice needs inputs of the same width.",
                where=place(graph.path, graph.layer),
            )
        trace.parameters[path] = known or Parameter(path, spec, initial, trainable)
        if path not in trace.values:
            trace.values[path] = graph.variable(path, spec)
        return trace.updates.get(path, trace.values[path])

    def assign(self, name: str, value: Value) -> None:
        """Give a parameter that is not trainable a new value after each training step; only inside
        `__call__`."""
        trace = current_trace()
        path = f"{trace.graph.path}/{name}".lstrip("/")
        if path not in trace.parameters:
            raise GraphError(
                f"'{name}' is not a parameter of this layer.",
                where=place(trace.graph.path, trace.graph.layer),
            )
        trace.updates[path] = value

    def _argument_names(self, count: int) -> tuple[str, ...]:
        """The names of the first `count` arguments of `__call__`; "x_1", "x_2" if they have no names."""
        names = _arguments(type(self).__call__)[0]
        return names[:count] if len(names) >= count else tuple(f"x_{n + 1}" for n in range(count))

    def _input_count(self) -> int | None:
        """How many inputs the model takes; None if its definition leaves that open."""
        if self.is_built:
            return len(self.network.inputs)
        names, is_open = _arguments(type(self).__call__)
        return None if is_open else len(names)

    # As a model ------------------------------------------------------------------------------------------

    def build(self, *inputs: Any, seed: int = 0, dtype: str = "float32", device: str = "cpu") -> Network:
        """Build the model that this layer is: trace it, draw its parameters; building again draws new ones.

        Args:
            inputs: a `Spec`, shape or array for each input; the first dimension of an array becomes "N".
            seed: the parameters are a function of it and of their paths.
            dtype: "float32" or "float64".
            device: "cpu" or "cuda".

        >>> import bigmodel_core as bm
        >>> network = bm.layers.Dense(3).build(bm.Spec(("N", 4)))
        >>> sorted(network.state())
        ['bias', 'weight']
        """
        from bigmodel_core.nn.fitting import input_spec
        from bigmodel_core.nn.network import Network

        network = Network(
            self, tuple(input_spec(item, dtype) for item in inputs), seed=seed, dtype=dtype, device=device
        )
        object.__setattr__(self, "_network", network)
        return network

    @property
    def network(self) -> Network:
        """The built model.

        Raises:
            GraphError: the layer was not built yet.
        """
        found: Network | None = getattr(self, "_network", None)
        if found is None:
            raise GraphError(
                "the model is not built yet.",
                fix="call it on an array, or build it: model.build(bm.Spec(('N', 784))).",
            )
        return found

    def summary(self, batch_size: int = 1) -> Summary:
        """Print the built model's layers with shapes, parameters and multiply-adds, as `bigmodel info` does.

        Args:
            batch_size: batch size of the prediction whose memory is shown.

        Returns:
            What was printed: `str()` of it is the text, its fields are the numbers.

        Raises:
            GraphError: the layer was not built yet.

        >>> import bigmodel_core as bm
        >>> model = bm.Sequential(bm.layers.Dense(8), bm.layers.Dense(3))
        >>> network = model.build(bm.Spec(("N", 4)))
        >>> model.summary().parameters
        Layer    Type   Output  Parameters  Multiply-adds
        x        Input  (N, 4)
        dense_1  Dense  (N, 8)          40             32
        dense_2  Dense  (N, 3)          27             24
        Total                           67             56
        <BLANKLINE>
        Parameters  67
        Memory      268 bytes for parameters, 192 bytes more to predict 1 sample
        Work        56 multiply-adds per sample
        67
        """
        return self.network.summary(batch_size)

    @property
    def is_built(self) -> bool:
        """Whether parameters exist."""
        return getattr(self, "_network", None) is not None

    def state(self) -> dict[str, np.ndarray]:
        """Copies of the built model's parameters, by path."""
        return self.network.state()

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Set the built model's parameters; all of them, with their shapes, or nothing changes."""
        self.network.load_state(state)


def _dispatched(call: Callable[..., Any]) -> Callable[..., Any]:
    if getattr(call, "_dispatched", False):
        return call

    @functools.wraps(call)
    def dispatched(self: Layer, *inputs: Any, **options: Any) -> Any:
        if is_tracing() and not any(isinstance(item, (np.ndarray, Spec)) for item in inputs):
            with current_trace().entered(self):
                try:
                    return call(self, *inputs, **options)
                except BigmodelError as error:
                    if error.where is None:
                        error.where = place(current_trace().graph.path, type(self).__name__)
                    raise
        if not inputs or any(isinstance(item, Value) for item in inputs):
            return call(self, *inputs, **options)
        if options:
            raise ConfigError(f"{type(self).__name__} takes no options when it is called as a model.")
        if not self.is_built:
            self.build(*inputs)
        if any(isinstance(item, Spec) for item in inputs):
            return self.network.output_spec(*inputs)
        return self.network(*inputs)

    dispatched._dispatched = True  # type: ignore[attr-defined]  # a mark on a function
    return dispatched


@functools.cache
def _arguments(call: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """The names of the positional arguments of a layer's `__call__`, and whether there may be more or fewer
    of them."""
    given = list(inspect.signature(call).parameters.values())[1:]
    named = [item for item in given if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    is_open = any(item.kind is item.VAR_POSITIONAL or item.default is not item.empty for item in given)
    return tuple(item.name for item in named), is_open
