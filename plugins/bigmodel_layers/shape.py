"""Layers that see the numbers of each sample in another shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class Flatten(bm.Layer):
    """Joins all axes from `start` on: (N, C, H, W) becomes (N, C * H * W).

    Args:
        start: the first axis that is merged; 1 keeps the batch.

    Raises:
        ShapeError: the input has fewer axes than `start`.

    >>> import bigmodel_core as bm
    >>> Flatten()(bm.Spec(("N", 1, 28, 28)))
    Spec((N, 784), float32)
    """

    start: int = 1

    def __post_init__(self) -> None:
        bm.check_number(self, "start", whole=True, at_least=0)

    def __call__(self, x: Any) -> Any:
        if x.ndim < self.start:
            raise ShapeError(
                f"cannot flatten {bm.format_shape(x.shape)} from axis {self.start} on.",
                fix=f"use a start of at most {x.ndim}.",
            )
        return ops.flatten(x, self.start)


@dataclass(frozen=True)
class Reshape(bm.Layer):
    """Each sample in another shape: (N, ...) becomes (N, *shape).

    Args:
        shape: the new shape without the batch; one dimension may be -1 and is inferred.

    Raises:
        ConfigError: a dimension is no integer or below -1, or several are -1.
        ShapeError: the number of elements differs.

    >>> import bigmodel_core as bm
    >>> Reshape((1, 28, -1))(bm.Spec(("N", 784)))
    Spec((N, 1, 28, 28), float32)
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        given: Any = self.shape
        dims = (given,) if isinstance(given, int) else tuple(given)
        whole = all(isinstance(dim, int) and not isinstance(dim, bool) and dim >= -1 for dim in dims)
        if not whole or dims.count(-1) > 1:
            raise ConfigError(
                f"shape is {self.shape!r}, expected integers, at most one of them -1.",
                where="Reshape",
                fix="pass the shape of one sample, without the batch: shape=(1, 28, 28).",
            )
        object.__setattr__(self, "shape", dims)

    def __call__(self, x: Any) -> Any:
        if x.ndim < 1:
            raise ShapeError("the input is a single number.", fix="pass a batch of samples.")
        return ops.reshape(x, (x.shape[0], *self.shape))
