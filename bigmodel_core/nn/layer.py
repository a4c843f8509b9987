"""Layers: frozen dataclasses of hyper-parameters that compose ops when they are called on Values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from bigmodel_core.errors import ConfigError, GraphError, ShapeError, UnknownParameterError
from bigmodel_core.graph import Value, place
from bigmodel_core.graph.spec import Dim, Spec, format_shape
from bigmodel_core.nn.buildable import Buildable
from bigmodel_core.nn.calling import arguments, dispatched
from bigmodel_core.nn.habits import ADVICE
from bigmodel_core.nn.parameters import Initializer, KnownInputs, Parameter, holder_of
from bigmodel_core.nn.parts import ModelPart, part_of, replayed
from bigmodel_core.nn.trace import current_trace, is_tracing
from bigmodel_core.ops.axes import normal_axis
from bigmodel_core.ops.carried import PAST
from bigmodel_core.ops.concatenation import concatenate
from bigmodel_core.registry.contracts import undefined


class Layer(Buildable):
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
            cls.__call__ = dispatched(cls.__dict__["__call__"])  # type: ignore[method-assign]  # every subclass's call is wrapped

    def __call__(self, *inputs: Any) -> Any:
        raise undefined(self, "layer", "__call__")

    @property
    def training(self) -> bool:
        """Whether to compute as in training: the graph under construction is that of training, and the layer
        is not frozen; only inside `__call__`."""
        trace = current_trace()
        return trace.training and not trace.is_frozen

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
        _check_shape(name, shape)
        free = [dim for dim in shape if not isinstance(dim, (int, np.integer))]
        if free:
            raise ShapeError(
                f"the parameter '{name}' cannot have the free dimension '{free[0]}' in its shape"
                f" {format_shape(shape)}.",
                fix="fix that dimension in the input's spec; only the batch is free.",
                where=place(graph.path, graph.layer),
            )
        spec, trainable = Spec(tuple(shape), dtype or trace.dtype), trainable and not trace.is_frozen
        return trace.request(Parameter(path, spec, initial, trainable))

    def carried(
        self,
        name: str,
        shape: Sequence[Dim],
        dtype: str | None = None,
        initial: float | np.ndarray | Value = 0.0,
    ) -> Value:
        """Ask for a state that a session keeps from call to call (`model.session()`); only inside
        `__call__`, where `assign` says what it is for the next call.

        Outside a session, in training too, each call begins with the initial value, and nothing is kept.

        Args:
            name: its name within this layer; the same name again gives its value so far.
            shape: with the batch as a free dimension: (x.shape[0], 16).
            dtype: its number type; the model's by default.
            initial: what it begins with, broadcast to its shape: a number, an array, or a Value that does
                not depend on the input, such as a parameter.

        Raises:
            ShapeError: the state differs from an earlier request, or the initial value does not fit.
            DtypeError: the initial value is of another kind.
            GraphError: a parameter of the layer has this name.

        ```python
        @dataclass(frozen=True)
        class RunningSum(bm.Layer):
            def __call__(self, x):
                total = self.carried("total", x.shape) + x
                self.assign("total", total)
                return total
        ```
        """
        trace = current_trace()
        _check_shape(name, shape)
        spec = Spec(tuple(shape), dtype or trace.dtype)
        return trace.carry(f"{trace.graph.path}/{name}".lstrip("/"), spec, initial)

    def remembered(self, name: str, value: Value, axis: int) -> Value:
        """A value behind those of earlier calls of a session along an axis, as causal attention sees the keys
        and values of earlier steps; only inside `__call__`.

        Outside a session there are no earlier calls, and in training it is the value itself. What floats are
        remembered is for `bm.ops.attention` alone, which knows how many of them there are yet.

        Args:
            name: its name within this layer, once for each call of the layer.
            value: what this call adds.
            axis: along which it is added; as many steps for all that a model remembers.

        Returns:
            What there is now: as the value, with a longer axis.

        Raises:
            GraphError: the layer already remembers something under this name.
        """
        trace = current_trace()
        if trace.training:
            return value
        axis = normal_axis(axis, value.ndim)
        path = f"{trace.graph.path}/{name}".lstrip("/")
        if path in trace.carried:
            raise GraphError(
                f"'{name}' is remembered twice in a call of the model.",
                fix="a layer that remembers can be called once only; make another one.",
                where=place(trace.graph.path, trace.graph.layer),
            )
        shape = tuple(PAST if along == axis else dim for along, dim in enumerate(value.shape))
        past = trace.carry(path, value.spec.with_shape(shape), 0)
        found = concatenate([past, value], axis)
        trace.reassign(path, found)
        return found

    def named(self, name: str) -> Self:
        """The layer itself, with a name in the paths of parameters in place of its kind and number.

        For layers that another layer makes in its `__call__`; those in its fields have the fields' names.

        Args:
            name: a Python name, such as "query".

        Raises:
            ConfigError: it is none.
            GraphError: no layer is being called.

        ```python
        @dataclass(frozen=True)
        class Pair(bm.Layer):
            def __call__(self, x):
                return bm.layers.Dense(3).named("left")(x) * bm.layers.Dense(3).named("right")(x)
        ```
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"{name!r} cannot be the name of a layer.", fix='use a Python name, "query".')
        if not is_tracing():
            raise GraphError(
                f"the layer is named '{name}' where no layer is being called.",
                fix="name layers that a layer makes in its __call__; those in fields have the fields' names.",
            )
        object.__setattr__(self, "_name", name)
        return self

    def assign(self, name: str, value: Value) -> None:
        """Give a state that is carried its value for the next call, or a parameter that is not trainable one
        after each training step; only inside `__call__`.

        Raises:
            GraphError: the layer has asked for neither under this name.
            ShapeError: the value has another shape or number type.
        """
        trace = current_trace()
        trace.assign(f"{trace.graph.path}/{name}".lstrip("/"), value)

    def _argument_names(self, count: int) -> tuple[str, ...]:
        """The names of the first `count` arguments of `__call__`; "x_1", "x_2" if they have no names."""
        names = arguments(type(self).__call__)[0]
        return names[:count] if len(names) >= count else tuple(f"x_{n + 1}" for n in range(count))

    def _input_count(self) -> int | None:
        """How many inputs the model takes; None if its definition leaves that open."""
        if self.is_built:
            return len(self.network.inputs)
        names, is_open = arguments(type(self).__call__)
        return None if is_open else len(names)

    def part(self, path: str) -> Layer:
        """A layer inside the built model, as a model of its own with the same parameters.

        Args:
            path: where it is, as in the paths of parameters: "encoder", "block_1/dense_2".

        Returns:
            The layer itself; of a loaded model, in which there are no layers, one that computes what is
            computed there.

        Raises:
            UnknownNameError: there is no such part; the message lists the nearest.
            GraphError: the model is not built.

        >>> import numpy as np
        >>> import bigmodel_core as bm
        >>> model = bm.Sequential(bm.layers.Dense(8), bm.layers.Tanh(), bm.layers.Dense(3))
        >>> x = np.ones((2, 4), "float32")
        >>> y = model(x)
        >>> hidden = model.part("dense_1")(x)
        >>> bool(np.allclose(model.part("dense_2")(np.tanh(hidden)), y))
        True
        """
        network = self.network
        found = part_of(network, path)
        if isinstance(found, Layer):
            return found
        part, whole = GraphPart(found), holder_of(self)
        holder = whole.at(found.path)
        for layer in found.borrowed():
            holder.lend(layer, whole.at(layer))
        object.__setattr__(part, "_holder", holder)
        object.__setattr__(part, "_known_inputs", KnownInputs.met(found.subgraphs[False].inputs))
        return part

    def __getattr__(self, name: str) -> Any:
        """A parameter by its name: inside another layer's `__call__` the value, else a copy of the array.

        So a parent ties weights: `x @ ops.transpose(self.embedding.weight)`.
        """
        if name.startswith("_"):  # what Python and libraries look for
            raise AttributeError(name)
        if is_tracing():
            found: Any = current_trace().parameter_of(self, name)
        else:
            holder = self.__dict__.get("_holder")
            found = holder.own[name].read() if holder is not None and name in holder.own else None
        if found is not None:
            return found
        raise UnknownParameterError(
            f"{type(self).__name__} has no attribute and no parameter '{name}'.",
            fix=ADVICE.get(name)
            or "a layer has its parameters once it is built, and inside a model once it was called there.",
        )


def _check_shape(name: str, shape: Any) -> None:
    if isinstance(shape, (int, str, np.integer)):
        raise ShapeError(f"the shape of '{name}' is {shape}.", fix=f"pass a tuple: ({shape},).")


@dataclass(frozen=True, eq=False, repr=False)
class GraphPart(Layer):
    """What a loaded model computes under a path; `model.part(path)` makes one."""

    of: ModelPart

    def __repr__(self) -> str:
        return f"<GraphPart {self.of.path}>"

    def __call__(self, *inputs: Any) -> Any:
        return replayed(self.of, self._request, inputs)

    def _request(self, wanted: Parameter) -> Value:
        graph = current_trace().graph
        above, _, name = wanted.path.rpartition("/")
        with graph.scope(f"{graph.path}/{above}".strip("/"), type(self).__name__):
            spec = wanted.spec
            return self.parameter(
                name, spec.shape, wanted.initial, dtype=spec.dtype, trainable=wanted.trainable
            )

    def _argument_names(self, count: int) -> tuple[str, ...]:
        return ("x",) if count == 1 else tuple(f"x_{number + 1}" for number in range(count))

    def _input_count(self) -> int | None:
        return len(self.of.subgraphs[False].inputs)
