"""Parameters as layers own them: the arrays of a layer go with it into every model that uses it."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import BigmodelWarning, DeviceError, DtypeError, GraphError, ShapeError
from bigmodel_core.graph.spec import Dim, Spec, format_shape

if TYPE_CHECKING:
    from bigmodel_core.data.encoding import Encoding
    from bigmodel_core.nn.network import Network
    from bigmodel_core.plan.device import Device
    from bigmodel_core.plan.variables import StoredArray

Initializer = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""Draws the first values of a parameter from a generator and a shape."""


@dataclass(frozen=True)
class Parameter:
    """An array that belongs to a built model.

    Args:
        path: the path of the layer that requested it, and its name there.
        spec: shape (integers only) and number type.
        initial: how its first values are drawn: the name of an initializer, a number, or a function.
        trainable: whether optimizers change it; what is not trainable changes by `Layer.assign` alone.
    """

    path: str
    spec: Spec
    initial: str | float | Initializer
    trainable: bool = True


class Owned:
    """A parameter as its layer owns it; its memory is taken, and filled, when it is first asked for.

    Args:
        parameter: what the layer asked for.
        draw: gives the first values.
        device: where it lives.
        model_dtype: the number type of the model that it was first built in.
    """

    def __init__(
        self, parameter: Parameter, draw: Callable[[], np.ndarray], device: Device, model_dtype: str
    ) -> None:
        self.parameter, self.device, self.model_dtype = parameter, device, model_dtype
        self.networks: weakref.WeakSet[Network] = weakref.WeakSet()
        """The built models that compute with it."""
        self._draw: Callable[[], np.ndarray] = draw
        self._stored: StoredArray | None = None
        self._lock = threading.Lock()

    @property
    def spec(self) -> Spec:
        return self.parameter.spec

    @property
    def is_stored(self) -> bool:
        return self._stored is not None

    def stored(self) -> StoredArray:
        """Its memory, which stays where it is from then on."""
        if self._stored is None:
            from bigmodel_core.plan.variables import StoredArray

            with self._lock:
                if self._stored is None:
                    self._stored = StoredArray(self.device, self._draw())
        return self._stored

    def read(self) -> np.ndarray:
        """A copy of its numbers."""
        return self.stored().read()

    def draw_anew(self, draw: Callable[[], np.ndarray]) -> None:
        """Give it other first values, in place."""
        self._draw = draw
        if self._stored is not None:
            self._stored.write(draw())

    # A copy has numbers of its own, and says nothing of how they were drawn.

    def __getstate__(self) -> dict[str, Any]:
        array, own = self.read(), self.parameter
        return {
            "parameter": (own.path, own.spec, own.trainable),
            "array": array,
            "device": self.device.name,
            "model_dtype": self.model_dtype,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        from bigmodel_core.plan import device_named

        path, spec, trainable = state["parameter"]
        array = state["array"]
        Owned.__init__(
            self,
            Parameter(path, spec, 0.0, trainable),
            lambda: array,
            device_named(state["device"]),
            state["model_dtype"],
        )


@dataclass(eq=False)
class Holder:
    """What a layer owns.

    Args:
        own: its parameters, by name.
        parts: what the layers inside own, by the name of each: those it holds, and those it makes in its
            `__call__`, which are other objects each time.
    """

    own: dict[str, Owned] = field(default_factory=dict)
    parts: dict[str, Holder] = field(default_factory=dict)

    def at(self, path: str) -> Holder:
        """What the layer at a path inside owns."""
        found = self
        for name in filter(None, path.split("/")):
            found = found.parts.setdefault(name, Holder())
        return found

    def lend(self, path: str, other: Holder) -> None:
        """Let the layer at a path inside own what another layer owns.

        Raises:
            GraphError: there is a layer of this path inside.
        """
        above, _, name = path.rpartition("/")
        if self.at(above).parts.setdefault(name, other) is not other:
            raise GraphError(
                f"the part uses parameters of '{path}' elsewhere, and has a layer of that path itself.",
                fix="take the larger part that has both.",
            )

    def all(self) -> Iterator[Owned]:
        """Its parameters and those of the layers inside."""
        yield from self.own.values()
        for part in self.parts.values():
            yield from part.all()


@dataclass(frozen=True)
class KnownInputs:
    """For what a layer can be built that is not: a copy of a built one, or a layer inside one.

    Args:
        inputs: the specs of its inputs.
        is_own: whether it was built for them itself, and not met inside another; then it takes no others.
        encoding: how the data it was trained on became numbers.
    """

    inputs: tuple[Spec, ...]
    is_own: bool = False
    encoding: Encoding | None = None

    @classmethod
    def met(cls, values: Iterable[Any]) -> KnownInputs:
        """For values (or specs) inside a model; dimensions that are made of others get names."""
        specs = [item if isinstance(item, Spec) else item.spec for item in values]
        names: dict[Dim, Dim] = {}
        for dim in (dim for spec in specs for dim in spec.shape):
            if isinstance(dim, str) and not dim.isidentifier():
                names.setdefault(dim, f"dim_{len(names) + 1}")
        if names:
            specs = [spec.with_shape([names.get(dim, dim) for dim in spec.shape]) for spec in specs]
        return cls(tuple(specs))


def holder_of(layer: Any) -> Holder:
    """What a layer owns; nothing yet if it was never built."""
    found: Holder | None = layer.__dict__.get("_holder")
    if found is None:
        found = Holder()
        object.__setattr__(layer, "_holder", found)
    return found


def settings_of(layer: Any) -> tuple[str, str] | None:
    """The number type and the device of the parameters that a layer, or one in its fields, has; None if there
    are none."""
    holder: Holder | None = getattr(layer, "__dict__", {}).get("_holder")
    for owned in holder.all() if holder is not None else ():
        return owned.model_dtype, owned.device.name
    if isinstance(layer, (tuple, list)):
        inside: list[Any] = list(layer)
    elif isinstance(layer, dict):
        inside = list(layer.values())
    elif is_dataclass(layer) and hasattr(layer, "parameter"):
        inside = [getattr(layer, item.name, None) for item in fields(layer)]
    else:
        return None
    return next((found for item in inside if (found := settings_of(item)) is not None), None)


def claimed(
    network: Network,
    wanted: Mapping[str, tuple[Holder, str, Parameter]],
    draw: Callable[[Parameter, int], np.ndarray],
    *,
    draws_anew: bool,
    is_explicit: bool,
) -> dict[str, Owned]:
    """The parameters of a model that is being built, by path: those its layers own already, and new ones.

    Args:
        network: the model.
        wanted: what its layers ask for, by path: the layer's holder, the name there, the parameter.
        draw: gives the first values of a parameter for a seed.
        draws_anew: whether the model's seed draws all of them, and not only those that are missing.
        is_explicit: whether somebody called `build`, which converts owned parameters to the number type and
            the device, and draws those of other shapes anew; a model that is built on its way refuses.

    Raises:
        ShapeError, DtypeError, DeviceError: a layer owns a parameter that does not fit.
    """
    if not is_explicit:
        for path, (holder, name, parameter) in wanted.items():
            if name in holder.own:
                _check_fits(path, holder.own[name], parameter, network.device)
    found: dict[str, Owned] = {}
    misfits: list[str] = []
    touched: list[str] = []
    for path, (holder, name, parameter) in wanted.items():
        known = holder.own.get(name)

        def drawn(parameter: Parameter = parameter) -> np.ndarray:
            return draw(parameter, network.seed)

        if known is not None and known.spec == parameter.spec and known.device is network.device:
            known.parameter = parameter
            if draws_anew:
                known.draw_anew(drawn)
                if any(other.layer is not network.layer for other in known.networks):
                    touched.append(path)
            found[path] = known
            continue
        first: Callable[[], np.ndarray] = drawn
        if known is not None and not draws_anew:
            if known.spec.shape == parameter.spec.shape:
                first = _converted(known, parameter.spec)
            else:
                misfits.append(path)
        found[path] = holder.own[name] = Owned(parameter, first, network.device, network.dtype)
    for owned in found.values():
        owned.networks.add(network)
    if misfits:
        _warn(f"{_listed(misfits)} did not fit in shape, and will be drawn anew.")
    if touched:
        _warn(f"seed={network.seed} drew {_listed(touched)} anew, which other built models use, too.")
    return found


def _converted(known: Owned, spec: Spec) -> Callable[[], np.ndarray]:
    """The numbers as they are now; those that were never drawn may wait."""
    if known.is_stored:
        array = known.read().astype(spec.dtype)
        return lambda: array
    return lambda: known.read().astype(spec.dtype)


def _check_fits(path: str, known: Owned, parameter: Parameter, device: Device) -> None:
    have, want = known.spec, parameter.spec
    if have.shape != want.shape:
        raise ShapeError(
            f"the layer has a parameter of shape {format_shape(have.shape)} and would need"
            f" {format_shape(want.shape)} here.",
            fix="use inputs of the width it was built for; model.build(spec) draws it anew for another.",
            where=path,
        )
    if have.dtype != want.dtype:
        raise DtypeError(
            f"the layer has a parameter of {have.dtype} and would need {want.dtype} here.",
            fix="build the model, which converts it: model.build(spec, dtype=...).",
            where=path,
        )
    if known.device is not device:
        raise DeviceError(
            f"the layer's parameter is on '{known.device.name}', the model on '{device.name}'.",
            fix="build the model, which moves it: model.build(spec, device=...).",
            where=path,
        )


def _listed(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _warn(text: str) -> None:
    warnings.warn(text, BigmodelWarning, stacklevel=6)  # the line that calls `build`
