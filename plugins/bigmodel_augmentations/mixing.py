"""Samples mixed with others of their batch; their targets become shares of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DtypeError, ShapeError


def _shares(draws: bm.Draws, alpha: float) -> np.ndarray:
    """Numbers from 0 to 1, one a sample, distributed as Beta(alpha, alpha) (Joehnk, 1964)."""
    found, is_open = np.empty(len(draws)), np.ones(len(draws), bool)
    while is_open.any():
        x, y = np.log(draws.uniform(2).T + 2.0**-33) / alpha
        total = np.logaddexp(x, y)
        taken = is_open & (total <= 0)
        found[taken] = np.exp(x - total)[taken]
        is_open &= ~taken
    return found


def _partners(draws: bm.Draws) -> np.ndarray:
    """For each sample another one of the batch, in one random ring."""
    ring = np.argsort(draws.uniform(), kind="stable")
    found = np.empty(len(ring), np.int64)
    found[ring] = np.roll(ring, -1)
    return found


def _between(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """share * a + (1 - share) * b, sample by sample."""
    if a.dtype.kind != "f":
        raise DtypeError(f"numbers of type {a.dtype} cannot be mixed.", fix="use it with samples of floats.")
    spread = share.reshape(-1, *(1,) * (a.ndim - 1)).astype(a.dtype)
    return a * spread + b * (1 - spread)


@dataclass(frozen=True)
class Mixup(bm.Mixing):
    """Each sample becomes a mean of itself and another one, its target likewise (Zhang et al., 2018).

    Args:
        alpha: of the distribution Beta(alpha, alpha) of the shares; small values mix little.
    """

    name: ClassVar[str] = "mixup"
    alpha: float = 0.2

    def __post_init__(self) -> None:
        bm.check_number(self, "alpha", above=0, at_most=4)

    def mixed(self, x: np.ndarray, y: np.ndarray, draws: bm.Draws) -> tuple[np.ndarray, np.ndarray]:
        share, other = _shares(draws, self.alpha), _partners(draws)
        return _between(x, x[other], share), _between(y, y[other], share)


@dataclass(frozen=True)
class CutMix(bm.Mixing):
    """A box of each image comes from another one; the target is shared by area (Yun et al., 2019).

    Of masks, shares (n, H, W, C), the same box comes from the other one.

    Args:
        alpha: of the distribution Beta(alpha, alpha) of the share that an image keeps; 1 makes all alike.
    """

    name: ClassVar[str] = "cutmix"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        bm.check_number(self, "alpha", above=0, at_most=4)

    def mixed(self, x: np.ndarray, y: np.ndarray, draws: bm.Draws) -> tuple[np.ndarray, np.ndarray]:
        if x.ndim != 4:
            raise ShapeError(
                f"samples have shape {x.shape[1:]}, expected images (C, H, W).",
                where=type(self).__name__,
                fix="use it with a data set of images, or mixup.",
            )
        edge, other = np.sqrt(1 - _shares(draws, self.alpha)), _partners(draws)
        inside = np.ones((len(x), 1, *x.shape[2:]), bool)
        for axis, size in ((2, x.shape[2]), (3, x.shape[3])):
            middle, half = draws.integers(size), np.floor(size * edge / 2).astype(np.int64)
            places = np.arange(size) - middle[:, np.newaxis]
            is_in = (places >= -half[:, np.newaxis]) & (places < half[:, np.newaxis])
            inside &= is_in.reshape(len(x), 1, *((size, 1) if axis == 2 else (1, size)))
        if y.ndim == 4 and y.shape[1:3] == x.shape[2:]:
            return np.where(inside, x[other], x), np.where(inside[:, 0, :, :, np.newaxis], y[other], y)
        share = 1 - inside.mean(axis=(1, 2, 3)) if len(x) else np.ones(0)
        return np.where(inside, x[other], x), _between(y, y[other], share)
