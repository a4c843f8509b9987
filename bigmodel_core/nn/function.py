"""Functions of arrays and models, compiled: `@bm.function`."""

from __future__ import annotations

import functools
import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.data.arrays import as_array
from bigmodel_core.errors import UsageError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.parameters import holder_of
from bigmodel_core.nn.trace import is_tracing

MOST_FORMS = 64
"""Forms of arguments that a function keeps compiled; the one that was used longest ago goes first."""

Call = Callable[..., Any]


@dataclass(frozen=True, eq=False, repr=False)
class _Traced(Layer):
    """A function as a layer: the models that it calls are its parts, with their own parameters."""

    function: Call
    names: tuple[str, ...] = ()

    def __call__(self, *inputs: Any) -> Any:
        return self.function(dict(zip(self.names, inputs, strict=True)))

    def _argument_names(self, count: int) -> tuple[str, ...]:
        return self.names


class Function:
    """A compiled function; `bm.function` makes it.

    Args:
        function: composes ops and models of its arguments.
        dtype: the number type of floats, "float32" or "float64".
        device: "cpu" or "cuda".
    """

    def __init__(self, function: Call, dtype: str = "float32", device: str = "cpu") -> None:
        functools.update_wrapper(self, function)
        self._function, self._dtype, self._device = function, dtype, device
        self._signature = inspect.signature(function)
        self._kind: type[_Traced] = type(getattr(function, "__name__", "function"), (_Traced,), {})
        """Messages name a layer by its kind, and so the function."""
        self._holder = holder_of(_Traced(function))
        """What layers own that the function makes on the spot, whatever the form of its arguments."""
        self._networks: OrderedDict[Hashable, tuple[Network, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<bm.function {getattr(self._function, '__qualname__', self._function)}>"

    def __get__(self, owner: Any, kind: type[Any] | None = None) -> Any:
        return self if owner is None else functools.partial(self, owner)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """The result for arrays, as arrays; inside another function or a layer, as Values.

        Raises:
            UsageError: an argument is neither an array nor something that can be told from others.
            ShapeError, DtypeError: as the ops say.
        """
        if is_tracing():
            return self._function(*arguments, **options)
        try:
            given = self._signature.bind(*arguments, **options).arguments
        except TypeError as error:
            raise TypeError(f"{self._kind.__name__}(): {error}") from None
        arrays: dict[str, np.ndarray] = {}
        fixed: dict[str, Any] = {}
        for name, value in self._flat(given):
            if _is_array(value):
                arrays[name] = as_array(value, f"argument '{name}'")
            else:
                fixed[name] = value
        specs = {name: self._spec(array) for name, array in arrays.items()}
        key = (tuple(specs.items()), tuple((name, _identity(name, value)) for name, value in fixed.items()))
        return self._network(key, given, specs, fixed)(*arrays.values())

    def _flat(self, given: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """The arguments by name, those of *args and **options each by its own."""
        found: list[tuple[str, Any]] = []
        for name, value in given.items():
            kind = self._signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                found.extend((f"{name}_{number}", item) for number, item in enumerate(value))
            elif kind is inspect.Parameter.VAR_KEYWORD:
                found.extend(value.items())
            else:
                found.append((name, value))
        return found

    def _spec(self, array: np.ndarray) -> Spec:
        kind = array.dtype.kind
        return Spec(
            array.shape, self._dtype if kind == "f" else "int64" if kind in "iu" else array.dtype.name
        )

    def _network(
        self, key: Hashable, given: Mapping[str, Any], specs: Mapping[str, Spec], fixed: Mapping[str, Any]
    ) -> Network:
        with self._lock:
            if key not in self._networks:
                if not specs:
                    raise UsageError(
                        f"{self!r} was called without an array.",
                        fix="pass at least one; np.float32(2.0) is a number as an array.",
                    )
                layer = self._kind(self._bound(given, fixed), tuple(specs))
                object.__setattr__(layer, "_holder", self._holder)
                network = Network(
                    layer,
                    tuple(specs.values()),
                    dtype=self._dtype,
                    device=self._device,
                    is_explicit=False,
                )
                self._networks[key] = network, dict(fixed)  # an id may be used again once its object is gone
                while len(self._networks) > MOST_FORMS:
                    self._networks.popitem(last=False)
            self._networks.move_to_end(key)
            return self._networks[key][0]

    def _bound(self, given: Mapping[str, Any], fixed: Mapping[str, Any]) -> Call:
        """The function of the arrays alone, which it takes by name."""
        places: list[tuple[str, Any]] = []
        for name, value in given.items():
            kind = self._signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                places.extend((f"{name}_{number}", None) for number in range(len(value)))
            elif kind is inspect.Parameter.VAR_KEYWORD:
                places.extend((key, key) for key in value)
            else:
                places.append((name, name if kind is inspect.Parameter.KEYWORD_ONLY else None))

        def call(inputs: Mapping[str, Value]) -> Any:
            known = {**fixed, **inputs}
            arguments = [known[name] for name, keyword in places if keyword is None]
            options = {keyword: known[name] for name, keyword in places if keyword is not None}
            return self._function(*arguments, **options)

        return call


def _is_array(value: Any) -> bool:
    """Whether an argument is an array, and not a part of what is compiled."""
    return isinstance(value, (np.ndarray, np.generic, list)) or hasattr(value, "__array__")


def _identity(name: str, value: Any) -> Hashable:
    """What tells a fixed argument from others: its value, or which object it is."""
    if isinstance(value, Layer):
        return id(value)
    try:
        hash(value)
    except TypeError:
        raise UsageError(
            f"the argument '{name}' is a {type(value).__name__}.",
            fix="pass arrays one by one, and other arguments as numbers, texts, tuples of them, or models.",
        ) from None
    return type(value), value


def function(
    call: Call | None = None, *, dtype: str = "float32", device: str = "cpu"
) -> Function | Callable[[Call], Function]:
    """Compile a Python function of arrays and models that composes ops.

    It takes arrays and gives arrays. It is traced once for each form of its arguments (the shapes and types
    of arrays, the values of numbers and texts, which models), then runs as one native call. Models compute as
    in inference, with the parameters that they have at the call. Inside a layer or another such function it
    is what it was before.

    Args:
        call: the function; without it, what comes back is a decorator.
        dtype: the number type of floats, "float32" or "float64"; arrays are converted.
        device: "cpu" or "cuda".

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> @bm.function
    ... def distance(x, y, power=2):
    ...     return bm.ops.sum((x - y) ** power, axis=-1)
    >>> distance(np.ones((2, 3)), np.zeros(3))
    array([3., 3.], dtype=float32)
    """
    if call is None:
        return lambda given: Function(given, dtype, device)
    if not callable(call):
        raise UsageError(
            f"function takes a function, got a {type(call).__name__}.", fix="write @bm.function."
        )
    return Function(call, dtype, device)
