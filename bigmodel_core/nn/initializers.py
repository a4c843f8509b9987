"""How parameters get their initial values; each name is a function of (generator, shape)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, ShapeError, UnknownNameError, short
from bigmodel_core.graph.spec import format_shape
from bigmodel_core.nn.parameters import Parameter


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs and outputs a weight connects: (in, out) for a matrix, (out, in, *kernel) for a
    convolution."""
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    if len(shape) == 2:
        return shape[0], shape[1]
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def glorot_uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform within sqrt(6 / (in + out)) (Glorot and Bengio, 2010)."""
    limit = math.sqrt(6 / max(sum(fans(shape)), 1))
    return generator.uniform(-limit, limit, shape)


def glorot_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal with deviation sqrt(2 / (in + out)) (Glorot and Bengio, 2010)."""
    return generator.normal(0, math.sqrt(2 / max(sum(fans(shape)), 1)), shape)


def he_uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform within sqrt(6 / in), for layers followed by a rectifier (He et al., 2015)."""
    limit = math.sqrt(6 / max(fans(shape)[0], 1))
    return generator.uniform(-limit, limit, shape)


def he_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal with deviation sqrt(2 / in), for layers followed by a rectifier (He et al., 2015)."""
    return generator.normal(0, math.sqrt(2 / max(fans(shape)[0], 1)), shape)


def lecun_uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform within sqrt(3 / in) (LeCun et al., 1998)."""
    limit = math.sqrt(3 / max(fans(shape)[0], 1))
    return generator.uniform(-limit, limit, shape)


def lecun_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal with deviation sqrt(1 / in) (LeCun et al., 1998)."""
    return generator.normal(0, math.sqrt(1 / max(fans(shape)[0], 1)), shape)


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal with deviation 0.02, as transformers start (Radford et al., 2018)."""
    return generator.normal(0, 0.02, shape)


def zeros(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """All zeros."""
    return np.zeros(shape)


def ones(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """All ones."""
    return np.ones(shape)


NAMED: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    function.__name__: function
    for function in (
        glorot_uniform,
        glorot_normal,
        he_uniform,
        he_normal,
        lecun_uniform,
        lecun_normal,
        normal,
        zeros,
        ones,
    )
}


def check_seed(seed: Any) -> int:
    """A seed.

    Raises:
        ConfigError: it is no whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ConfigError(f"the seed is {short(seed)}, expected an integer.", fix="pass seed=0.")
    return int(seed)


def draw(parameter: Parameter, seed: int) -> np.ndarray:
    """The first values of a parameter: a function of the seed and its path, whatever else the model holds.

    Raises:
        UnknownNameError: the parameter names an initializer that does not exist.
        ConfigError: its initial value is neither a name nor a number nor a function.
        ShapeError: the function gives an array of another shape.
    """
    shape = tuple(int(size) for size in parameter.spec.shape)
    if isinstance(parameter.initial, (int, float, np.number)):
        return np.full(shape, parameter.initial, parameter.spec.dtype)
    if isinstance(parameter.initial, str):
        if parameter.initial not in NAMED:
            raise UnknownNameError(
                f"unknown initializer '{parameter.initial}'.",
                fix=f"use one of {', '.join(NAMED)}.",
                where=parameter.path,
            )
        function = NAMED[parameter.initial]
    elif callable(parameter.initial):
        function = parameter.initial
    else:
        raise ConfigError(
            f"the initial value is {short(parameter.initial)}.",
            fix="pass the name of an initializer, a number, or a function of (generator, shape).",
            where=parameter.path,
        )
    key = int.from_bytes(hashlib.sha256(f"{seed}:{parameter.path}".encode()).digest()[:16], "little")
    generator = np.random.Generator(np.random.Philox(key=key))
    found = np.asarray(function(generator, shape), parameter.spec.dtype)
    if found.shape != shape:
        raise ShapeError(
            f"the initial value is {format_shape(found.shape)}, expected {format_shape(shape)}.",
            fix="let the function (generator, shape) return an array of that shape.",
            where=parameter.path,
        )
    return found
