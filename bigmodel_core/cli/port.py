"""What a model takes as an input, and how raw values become that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.data.encoding import UNKNOWN, Encoding
from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.errors import DtypeError


@dataclass(frozen=True)
class Port:
    """What a model takes as an input.

    Args:
        shape: of one sample; 1 for sizes that are free.
        dtype: the number type.
        encoding: how the data it was trained on became numbers.
        is_raw: whether the model itself starts with the preprocessing, and so takes raw values.
        free: which axes of a sample have a free size.
        is_batched: whether there is an axis of samples in front.
    """

    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding = UNKNOWN
    is_raw: bool = False
    free: tuple[bool, ...] = ()
    is_batched: bool = True

    @classmethod
    def of(
        cls, dims: Sequence[Any], dtype: str, encoding: Encoding = UNKNOWN, *, is_raw: bool = False
    ) -> Port:
        """The port of an input whose shape, samples included, has names or None if a size is free."""
        shape = tuple(dim if isinstance(dim, int) else 1 for dim in dims[1:])
        free = tuple(not isinstance(dim, int) for dim in dims[1:])
        return cls(shape, dtype, encoding, is_raw, free, bool(dims))

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether a sample may have a shape."""
        free = self.free or (False,) * len(self.shape)
        return len(shape) == len(self.shape) and all(
            is_free or size == wanted for is_free, size, wanted in zip(free, shape, self.shape, strict=True)
        )

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How raw values become input; None if nothing is known."""
        return self.encoding.preprocessing

    def from_raw(self, raw: np.ndarray) -> np.ndarray:
        """Input for the model from a batch of raw values."""
        if self.is_raw or self.preprocessing is None:
            return raw
        if self.preprocessing.raw_shape != self.shape:
            raw = raw.reshape(len(raw), *self.preprocessing.raw_shape)
        return self.preprocessing.apply(raw).reshape(len(raw), *self.shape)

    def from_prepared(self, x: np.ndarray) -> np.ndarray:
        """Input for the model from samples of a data set, which are preprocessed already."""
        if not self.is_raw:
            return x if self.takes(x.shape[1:]) else x.reshape(len(x), *self.shape)
        steps = self.preprocessing
        assert steps is not None
        return steps.invert(x.reshape(len(x), *steps.raw_shape)).astype(steps.raw_dtype)


def converted(x: np.ndarray, port: Port, where: str) -> np.ndarray:
    """The batch in the number type the model takes.

    Raises:
        DtypeError: the values are of a kind that it does not take.
    """
    if port.dtype == "string" and x.dtype == object:
        return x
    wanted = np.dtype(port.dtype)
    if x.dtype.kind in "fiub" and (wanted.kind == "f" or (wanted.kind in "iu" and x.dtype.kind in "iub")):
        with np.errstate(over="ignore"):
            made = x.astype(wanted)
        if wanted.kind == "f" and np.isinf(made).any() and np.isfinite(x).all():
            raise DtypeError(
                f"the values go beyond {port.dtype}: {np.abs(x).max():.3g}.",
                where=where,
                fix="scale them down.",
            )
        if wanted.kind == "f" or np.array_equal(made, x):
            return made
    raise DtypeError(
        f"the values are {x.dtype}, expected {port.dtype}.",
        where=where,
        fix="pass the values as they were recorded.",
    )
