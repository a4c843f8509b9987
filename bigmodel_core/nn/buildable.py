"""What a layer does as a model: it is built, called by sessions, saved, copied."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from bigmodel_core.errors import DtypeError, GraphError, UsageError
from bigmodel_core.nn.fitting import explain_types, freed, input_spec
from bigmodel_core.nn.parameters import KnownInputs, settings_of
from bigmodel_core.nn.states import LoadReport

if TYPE_CHECKING:
    from bigmodel_core.data.encoding import Encoding
    from bigmodel_core.graph.spec import Spec
    from bigmodel_core.nn.network import Network
    from bigmodel_core.nn.session import Session
    from bigmodel_core.nn.summary import Summary

AnyModel = TypeVar("AnyModel", bound="Buildable")


class Buildable:
    """A layer as a model: built for inputs of some specs, with parameters of its own."""

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
        from bigmodel_core.nn.network import Network

        layer: Any = self
        own_dtype, own_device = settings_of(self) or ("float32", "cpu")
        dtype, device = dtype or own_dtype, device or own_device
        specs = self._freed(inputs, tuple(input_spec(item, dtype) for item in inputs))
        try:
            network = Network(
                layer,
                specs,
                seed=first_seed if seed is None else seed,
                draws_anew=seed is not None,
                dtype=dtype,
                device=device,
                is_explicit=is_explicit,
            )
        except DtypeError as error:
            explain_types(error, inputs, specs, dtype)
            raise
        before = self.__dict__.get("_network") or self.__dict__.get("_known_inputs")
        if before is not None and seed is None:  # what it has learned, it has learned from the same data
            network.encoding = _for_sizes(before.encoding, network.inputs)
        object.__setattr__(self, "_network", network)
        return network

    def _freed(self, inputs: Sequence[Any], specs: tuple[Spec, ...]) -> tuple[Spec, ...]:
        """What the inputs look like; a model that leaves sizes free, or one inside a layer that wraps it,
        leaves them so."""
        inner = self.__dict__.get("inner")
        if isinstance(inner, Buildable):
            return inner._freed(inputs, specs)
        known: Network | KnownInputs | None = self.__dict__.get("_network") or self.__dict__.get(
            "_known_inputs"
        )
        return specs if known is None else freed(specs, inputs, known.inputs)

    @property
    def network(self) -> Network:
        """The built model; of a layer inside one, that for the inputs it gets there.

        Raises:
            GraphError: the layer was not built yet.
        """
        found: Network | None = self.__dict__.get("_network")
        known: KnownInputs | None = self.__dict__.get("_known_inputs")
        if found is None and known is not None:
            found = self._built(known.inputs)
            found.encoding = known.encoding
        if found is None:
            raise GraphError(
                "the model is not built yet.",
                fix="call it on an array, or build it: model.build(bm.Spec(('N', 784))).",
            )
        return found

    def session(
        self, batch_size: int | None = None, capacity: int | None = None, fixed: Sequence[Any] = ()
    ) -> Session:
        """Calls of the built model that follow each other: what layers carry is kept from one to the next.

        Args:
            batch_size: of all calls; that of the first by default.
            capacity: how many steps causal attention can look back on, for which memory is taken at once; by
                default it grows with what is needed.
            fixed: arrays for the last inputs, which stay the same in all calls and are not passed to them, as
                what a decoder sees of its source; what depends on them alone is computed once.

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
        return self.network.session(batch_size, capacity, fixed)

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
        return self.__dict__.get("_network") is not None or "_known_inputs" in self.__dict__

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

    # Copies: a deep copy has parameters of its own; a shallow one shares the layers inside, like `replace`.

    def __reduce__(self) -> tuple[Any, ...]:
        kept = self._attributes(without=("_network",))
        network: Network | None = self.__dict__.get("_network")
        if network is not None:
            kept["_known_inputs"] = KnownInputs(network.inputs, is_own=True, encoding=network.encoding)
        return _remade, (type(self), kept)

    def __copy__(self) -> Self:
        return _remade(type(self), self._attributes(without=("_network", "_holder", "_known_inputs")))

    def _attributes(self, without: tuple[str, ...]) -> dict[str, Any]:
        named: list[str] = [item.name for item in fields(self)] if is_dataclass(self) else []
        found = {name: getattr(self, name) for name in named if hasattr(self, name)}  # those in slots, too
        return {name: value for name, value in {**found, **self.__dict__}.items() if name not in without}


def _for_sizes(encoding: Encoding | None, inputs: Sequence[Spec]) -> Encoding | None:
    """An encoding whose raw samples are of the size of an input, such as larger images than before."""
    steps = None if encoding is None else encoding.preprocessing
    sizes = tuple(size for size in inputs[0].shape[1:] if isinstance(size, int))
    if encoding is None or steps is None or len(inputs) > 1 or not len(sizes) == len(steps.raw_shape) > 1:
        return encoding
    return replace(encoding, preprocessing=replace(steps, raw_shape=sizes))


def _remade(kind: type[AnyModel], attributes: dict[str, Any]) -> AnyModel:
    made = object.__new__(kind)
    for name, value in attributes.items():
        object.__setattr__(made, name, value)
    return made


def clone(layer: AnyModel) -> AnyModel:
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
    if not isinstance(layer, Buildable):
        raise UsageError(f"clone takes a layer, got {type(layer).__name__}.", fix="pass network.layer.")
    return copy.deepcopy(layer)
