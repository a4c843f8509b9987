"""Layers: frozen dataclasses of hyper-parameters that compose ops when they are called on Values."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from bigmodel_core.errors import (
    GraphError,
    ShapeError,
    UnknownParameterError,
    UsageError,
)
from bigmodel_core.graph import Value, place
from bigmodel_core.graph.spec import Dim, Spec, format_shape
from bigmodel_core.nn.calling import arguments, dispatched
from bigmodel_core.nn.parameters import Initializer, Known, LoadReport, Parameter, settings_of
from bigmodel_core.nn.parts import Part, part_of, replayed
from bigmodel_core.nn.trace import current_trace, holder_of, is_tracing
from bigmodel_core.registry.contracts import undefined

if TYPE_CHECKING:
    from bigmodel_core.nn.network import Network
    from bigmodel_core.nn.session import Session
    from bigmodel_core.nn.summary import Summary

AnyLayer = TypeVar("AnyLayer", bound="Layer")


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
            cls.__call__ = dispatched(cls.__dict__["__call__"])  # type: ignore[method-assign]  # every subclass's call is wrapped

    def __call__(self, *inputs: Any) -> Any:
        raise undefined(self, "layer", "__call__")

    # Inside __call__ -----------------------------------------------------------------------------------

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
        spec = Spec(tuple(shape), dtype or trace.dtype)
        return trace.carry(f"{trace.graph.path}/{name}".lstrip("/"), spec, initial)

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

    # As a model ------------------------------------------------------------------------------------------

    def build(
        self,
        *inputs: Any,
        seed: int | None = None,
        dtype: str | None = None,
        device: str | None = None,
    ) -> Network:
        """Build the model that this layer is: trace it, and draw the parameters that do not exist yet.

        Parameters belong to layers: those that this one, or a layer inside, has from an earlier build stay
        if their shapes fit, and are shared with every other model that uses the same layers.

        Args:
            inputs: a `Spec`, shape or array for each input; the first dimension of an array becomes "N".
            seed: draws all parameters anew, in place, as a function of it and of their paths; None draws
                missing ones with the seed 0.
            dtype: "float32" or "float64"; by default that of the parameters that exist, else "float32".
                Parameters of another type are converted: other models keep the old ones.
            device: "cpu" or "cuda"; by default that of the parameters that exist, else "cpu".

        Warns:
            BigmodelWarning: parameters of another shape were drawn anew, or a seed drew some that other
                models use, too.

        >>> import bigmodel_core as bm
        >>> network = bm.layers.Dense(3).build(bm.Spec(("N", 4)))
        >>> sorted(network.state())
        ['bias', 'weight']
        """
        return self._built(inputs, seed, dtype, device, is_explicit=True)

    def _built(
        self,
        inputs: Sequence[Any],
        seed: int | None = None,
        dtype: str | None = None,
        device: str | None = None,
        *,
        is_explicit: bool = False,
        first_seed: int = 0,
    ) -> Network:
        """Build the model; unless somebody asked for that, no parameter that exists is changed.

        Args:
            inputs, seed, dtype, device: as for `build`.
            is_explicit: whether somebody called `build`.
            first_seed: draws missing parameters where `seed` is None.
        """
        from bigmodel_core.nn.fitting import input_spec
        from bigmodel_core.nn.network import Network

        own_dtype, own_device = settings_of(self) or ("float32", "cpu")
        dtype, device = dtype or own_dtype, device or own_device
        network = Network(
            self,
            tuple(input_spec(item, dtype) for item in inputs),
            seed=first_seed if seed is None else seed,
            draws_anew=seed is not None,
            dtype=dtype,
            device=device,
            is_explicit=is_explicit,
        )
        object.__setattr__(self, "_network", network)
        return network

    @property
    def network(self) -> Network:
        """The built model; of a layer inside one, that for the inputs it gets there.

        Raises:
            GraphError: the layer was not built yet.
        """
        found: Network | None = self.__dict__.get("_network")
        known: Known | None = self.__dict__.get("_known")
        if found is None and known is not None:
            found = self._built(known.inputs)
            found.encoding = known.encoding
        if found is None:
            raise GraphError(
                "the model is not built yet.",
                fix="call it on an array, or build it: model.build(bm.Spec(('N', 784))).",
            )
        return found

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
        part = GraphPart(found)
        object.__setattr__(part, "_holder", holder_of(self).at(found.path))
        object.__setattr__(part, "_known", Known.met(found.cuts[False].inputs))
        return part

    def session(self, batch_size: int | None = None) -> Session:
        """Calls of the built model that follow each other: what layers carry is kept from one to the next.

        Args:
            batch_size: of all calls; that of the first by default.

        Raises:
            GraphError: the model is not built, or nothing in it carries state.

        >>> import numpy as np
        >>> import bigmodel_core as bm
        >>> model = bm.layers.LSTM(8, carry=True)
        >>> x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
        >>> whole, session = model(x), model.session()
        >>> steps = [session(x[:, t : t + 1]) for t in range(5)]
        >>> bool(np.allclose(np.concatenate(steps, axis=1), whole, atol=1e-6))
        True
        """
        return self.network.session(batch_size)

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
        return self.__dict__.get("_network") is not None or "_known" in self.__dict__

    def state(self) -> dict[str, np.ndarray]:
        """Copies of the built model's parameters, by path."""
        return self.network.state()

    def load_state(self, state: Mapping[str, np.ndarray], *, partial: bool = False) -> LoadReport:
        """Set the built model's parameters; all of them, with their shapes, or nothing changes.

        Args:
            state: arrays by path, as `state()` gives them.
            partial: whether to set those that fit, and leave the others as they are.

        Returns:
            What was set, and what was not.

        Raises:
            ShapeError, DtypeError, DataError: the state does not fit; with `partial`, nothing in it does.
        """
        return self.network.load_state(state, partial=partial)

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
            fix="a layer has its parameters once it is built, and inside a model once it was called there.",
        )

    # Copies: a deep copy has parameters of its own; a shallow one shares the layers inside, like `replace`.

    def __reduce__(self) -> tuple[Any, ...]:
        kept = self._attributes(without=("_network",))
        network: Network | None = self.__dict__.get("_network")
        if network is not None:
            kept["_known"] = Known(network.inputs, is_own=True, encoding=network.encoding)
        return _remade, (type(self), kept)

    def __copy__(self) -> Self:
        return _remade(type(self), self._attributes(without=("_network", "_holder", "_known")))

    def _attributes(self, without: tuple[str, ...]) -> dict[str, Any]:
        named: list[str] = [item.name for item in fields(self)] if is_dataclass(self) else []
        found = {name: getattr(self, name) for name in named if hasattr(self, name)}  # those in slots, too
        return {name: value for name, value in {**found, **self.__dict__}.items() if name not in without}


def _remade(kind: type[AnyLayer], attributes: dict[str, Any]) -> AnyLayer:
    made = object.__new__(kind)
    for name, value in attributes.items():
        object.__setattr__(made, name, value)
    return made


def clone(layer: AnyLayer) -> AnyLayer:
    """A copy of a layer with parameters of its own, equal to the layer's; `copy.deepcopy` gives the same.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> teacher = bm.layers.Dense(3)
    >>> before = teacher(np.ones((1, 2), "float32"))
    >>> student = bm.clone(teacher)
    >>> student.load_state({path: 0 * array for path, array in student.state().items()}).loaded
    ('weight', 'bias')
    >>> bool((teacher(np.ones((1, 2), "float32")) == before).all())
    True
    """
    if not isinstance(layer, Layer):
        raise UsageError(f"clone takes a layer, got {type(layer).__name__}.", fix="pass network.layer.")
    return copy.deepcopy(layer)


@dataclass(frozen=True, eq=False, repr=False)
class GraphPart(Layer):
    """What a loaded model computes under a path; `model.part(path)` makes one."""

    of: Part

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
        return len(self.of.cuts[False].inputs)
