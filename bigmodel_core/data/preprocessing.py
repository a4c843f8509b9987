"""How raw input becomes model input; an exported model can carry the same steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, DtypeError, ShapeError
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS


def shape_along(count: int, raw_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which some numbers meet a sample: all of it, its first axis, or each value.

    >>> shape_along(1, (3, 4)), shape_along(3, (3, 4)), shape_along(12, (3, 4))
    ((), (3, 1), (3, 4))
    """
    if count == 1:
        return ()
    return (count,) + (1,) * (len(raw_shape) - 1) if count == raw_shape[0] else raw_shape


@dataclass(frozen=True)
class Preprocessing:
    """How raw input becomes model input: `(raw * scale - mean) / std`, in float64 and then cast to float32.

    Integers of 8 and 16 bits, such as pixels, are exact in float32 and take each step there.

    Args:
        scale: factor on the raw values, such as 1 / 255.
        mean, std: one number for all values, or one for each entry of the first axis of `raw_shape`: each
            channel of (C, H, W), each feature of (k,); or one for each value of a sample, in their order.
        raw_dtype: number type of raw input: an integer type such as "uint8", or "float32" or "float64". It is
            float64 if float32 cannot distinguish the values, as for timestamps.
        raw_shape: shape of one raw sample, without the sample axis. Model input has the same shape.

    Raises:
        ConfigError: a value that makes no sense, such as a std of 0.

    >>> preprocessing = Preprocessing(1 / 255, mean=(0.5,), std=(0.25,), raw_dtype="uint8", raw_shape=(2,))
    >>> preprocessing.apply(np.array([[0, 255]], np.uint8)).tolist()
    [[-2.0, 2.0]]
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    raw_dtype: str = "float32"
    raw_shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", float(self.scale))
        for field in ("mean", "std"):
            values = tuple(float(value) for value in np.atleast_1d(getattr(self, field)))
            object.__setattr__(self, field, values)
            if len(values) not in {1, *self.raw_shape[:1], math.prod(self.raw_shape)}:
                raise ConfigError(
                    f"{field} has {len(values)} values, expected 1, as many as the first axis of "
                    f"raw_shape {tuple(self.raw_shape)}, or one for each value.",
                    where="Preprocessing",
                )
        object.__setattr__(self, "raw_shape", tuple(int(size) for size in self.raw_shape))
        with np.errstate(over="ignore"):
            as_used = np.array([self.scale, *self.mean, *self.std], np.float32)
        if not np.isfinite(as_used).all() or as_used[-len(self.std) :].min() <= 0:
            raise ConfigError(
                "scale, mean and std must be finite and std positive, as float32 too.",
                where="Preprocessing",
                fix="for a constant feature use a std of 1.",
            )
        if not self.raw_dtype.startswith(("uint", "int")) and self.raw_dtype not in COMPUTED_FLOATS:
            raise ConfigError(
                f"raw_dtype is {self.raw_dtype!r}, expected an integer type, {' or '.join(COMPUTED_FLOATS)}.",
                where="Preprocessing",
            )

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Model input for a batch of raw input.

        Args:
            raw: (n, *raw_shape). Integers if `raw_dtype` is an integer type, else any real numbers.

        Returns:
            (n, *raw_shape) float32, C-contiguous.

        Raises:
            ShapeError: a sample has another shape than `raw_shape`.
            DtypeError: values that `raw_dtype` cannot hold, such as scaled floats where uint8 is expected, or
                a result beyond float32.
        """
        raw = np.asarray(raw)
        if raw.shape[1:] != self.raw_shape or raw.ndim == 0:
            raise ShapeError(
                f"raw input has shape {raw.shape}, expected (n, {', '.join(map(str, self.raw_shape))}).",
                where="Preprocessing",
                fix="reshape the input; the first axis counts samples.",
            )
        self._check_dtype(raw)
        number = np.dtype(np.float32 if self.is_narrow else np.float64)
        scale, mean, std = self._steps(number)
        shifted = bool(mean.any() or (std != 1).any())
        out = np.empty(raw.shape, np.float32)
        # A few hundred samples at a time, so that the three steps find their values in the processor's cache.
        for start in range(0, len(raw), 256):
            part = out[start : start + 256]
            block = part if self.is_narrow else np.empty(part.shape, number)
            block[...] = raw[start : start + 256]
            block *= scale
            if shifted:
                block -= mean
                block /= std
            if block is not part:
                with np.errstate(over="ignore"):
                    part[...] = block
                if np.isinf(part).any() and np.isfinite(block).all():
                    raise DtypeError(
                        f"a value becomes {np.abs(block).max():.3g}, which float32 cannot hold.",
                        where="Preprocessing",
                        fix="check the raw values, or scale them down.",
                    )
        return out

    def invert(self, x: np.ndarray) -> np.ndarray:
        """The raw values that became x.

        Args:
            x: (n, *raw_shape) model input.

        Returns:
            (n, *raw_shape) of `raw_dtype` if that is an integer type, else float64.

        Raises:
            ShapeError: a sample has another shape than `raw_shape`.
            DtypeError: x comes from no values of an integer `raw_dtype`.

        >>> steps = Preprocessing(1 / 16, (0.5,), (0.25,), "uint8", (2,))
        >>> steps.invert(steps.apply(np.array([[0, 16]], np.uint8))).tolist()
        [[0, 16]]
        """
        x = np.asarray(x)
        if x.ndim == 0 or x.shape[1:] != self.raw_shape:
            raise ShapeError(
                f"x has shape {x.shape}, expected (n, {', '.join(map(str, self.raw_shape))}).",
                where="Preprocessing",
            )
        scale, mean, std = self._steps(np.dtype(np.float64))
        raw = np.asarray((x * std + mean) / scale)
        kind = np.dtype(self.raw_dtype)
        if kind.kind == "f":
            return raw
        whole, limits = np.rint(raw), np.iinfo(kind)
        if whole.size and not (whole.min() >= limits.min and whole.max() <= limits.max):
            raise DtypeError(f"x comes from no {kind} values.", where="Preprocessing")
        return whole.astype(kind)

    def of_each(self, count: int) -> Preprocessing:
        """The same steps for several numbers in place of each, such as its quantiles.

        >>> Preprocessing(1.0, (0.0, 5.0), (1.0, 2.0), raw_shape=(2,)).of_each(3).raw_shape
        (2, 3)
        """

        def spread(values: tuple[float, ...]) -> tuple[float, ...]:
            if len(values) in {1, *self.raw_shape[:1]}:
                return values
            return tuple(np.repeat(values, count).tolist())

        return replace(self, mean=spread(self.mean), std=spread(self.std), raw_shape=(*self.raw_shape, count))

    def standard(self, raw: np.ndarray) -> np.ndarray:
        """The same as `apply` in float64, and without its checks."""
        scale, mean, std = self._steps(np.dtype(np.float64))
        return np.asarray((np.asarray(raw, np.float64) * scale - mean) / std)

    @property
    def is_narrow(self) -> bool:
        """Whether float32 holds every raw value and every rounding of the steps is harmless."""
        kind = np.dtype(self.raw_dtype)
        return kind.kind in "iu" and kind.itemsize <= 2

    def _steps(self, number: np.dtype[Any]) -> tuple[Any, np.ndarray, np.ndarray]:
        """Scale, mean and std, the latter two shaped to meet the axis they belong to."""
        mean, std = (
            np.array(values, number).reshape(shape_along(len(values), self.raw_shape) or (1,))
            for values in (self.mean, self.std)
        )
        return number.type(self.scale), mean, std

    def _check_dtype(self, raw: np.ndarray) -> None:
        expected = np.dtype(self.raw_dtype)
        if raw.dtype == expected:
            return
        if expected.kind == "f" and raw.dtype.kind in "fiu":
            return
        if expected.kind in "iu" and raw.dtype.kind in "iu":
            limits = np.iinfo(expected)
            if raw.size == 0 or (raw.min() >= limits.min and raw.max() <= limits.max):
                return
        raise DtypeError(
            f"raw input is {raw.dtype}, expected values that fit {self.raw_dtype}.",
            where="Preprocessing",
            fix="pass the raw values as they were recorded, before any scaling.",
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-able values; `from_dict` reverses it."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The object that `to_dict` described.

        Raises:
            ConfigError: an unknown field or a value of the wrong kind.
        """
        try:
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**fields)
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigError(
                f"cannot read the description of the preprocessing: {error}.",
                where="Preprocessing",
                fix="use what Preprocessing.to_dict() returned.",
            ) from error
