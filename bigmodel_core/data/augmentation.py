"""The base class of augmentations: random changes to training samples that leave their labels true.

Their random numbers are keyed by (seed, epoch, sample): a sample gets the same change whatever the batch
size, the order, the number of threads or the point from which a run went on.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bigmodel_core.data.moved import is_boxes, is_masks, moved_boxes, moved_masks
from bigmodel_core.errors import DataError, DtypeError, ShapeError, UsageError
from bigmodel_core.registry.discovery import display_name

_MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], np.uint64)
_INCREMENTS = np.array([[0x9E3779B9], [0xBB67AE85]], np.uint64)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


def philox(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Four random words of 32 bits for each counter: Philox 4x32 with ten rounds (Salmon et al., 2011).

    Args:
        counters: (4, n) uint64, each below 2**32.
        key: two numbers below 2**32.

    Returns:
        (4, n) uint64, each below 2**32.
    """
    even, odd = counters[0::2], counters[1::2]
    keys = np.array([[key[0]], [key[1]]], np.uint64)
    for _ in range(10):
        product = even * _MULTIPLIERS
        even = (product >> _HALF)[::-1] ^ odd ^ keys
        odd = (product & _LOW)[::-1]
        keys = (keys + _INCREMENTS) & _LOW
    return np.stack([even[0], odd[0], even[1], odd[1]])


class Draws:
    """Random numbers for each sample of a batch; each call draws the next ones.

    Args:
        samples: (n,) numbers of the samples.
        seed, epoch, stream: the rest of the key.

    >>> draws = Draws(np.array([7, 9]), seed=0, epoch=1, stream=0)
    >>> again = Draws(np.array([9]), seed=0, epoch=1, stream=0)
    >>> bool(draws.uniform()[1] == again.uniform()[0])
    True
    """

    def __init__(self, samples: np.ndarray, seed: int, epoch: int, stream: int) -> None:
        text = f"augment\x1f{seed}\x1f{stream}"
        words = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=8).digest(), "<u4")
        self._key = (int(words[0]), int(words[1]))
        self._samples = np.asarray(samples, np.uint64)
        self._epoch, self._done = int(epoch), 0

    def __len__(self) -> int:
        return len(self._samples)

    def words(self, count: int) -> np.ndarray:
        """Random words of 32 bits, (n, count) uint64."""
        n, blocks = len(self._samples), -(-count // 4)
        counters = np.empty((4, n, blocks), np.uint64)
        counters[0] = (self._samples & _LOW)[:, np.newaxis]
        counters[1] = (self._samples >> _HALF)[:, np.newaxis]
        counters[2] = self._epoch & 0xFFFFFFFF
        counters[3] = np.arange(self._done, self._done + blocks, dtype=np.uint64)
        self._done += blocks
        found = philox(counters.reshape(4, -1), self._key).reshape(4, n, blocks)
        return found.transpose(1, 2, 0).reshape(n, 4 * blocks)[:, :count]

    def uniform(self, count: int | None = None) -> np.ndarray:
        """Numbers from 0 to below 1: float64 (n,), or (n, count)."""
        found = self.words(1 if count is None else count) * 2.0**-32
        return found[:, 0] if count is None else found

    def integers(self, below: int, count: int | None = None) -> np.ndarray:
        """Whole numbers from 0 to below `below`: int64 (n,), or (n, count)."""
        return (self.uniform(count) * below).astype(np.int64)


@dataclass(frozen=True)
class Augmentation(ABC):
    """A random change to training samples, such as flipping images.

    Subclasses are frozen dataclasses. They see batches of model input, after preprocessing, in training
    alone; what holds for all input, such as normalisation, is `Preprocessing`, which exported files carry.
    """

    moves: ClassVar[bool | None] = None
    """Whether it moves the pixels of images. Where targets are masks or boxes, it is then called with them,
    too, as masks of whole numbers (n, C, H, W) and with the same draws. None if nobody said; then it is not
    used with such."""

    @abstractmethod
    def __call__(self, x: np.ndarray, draws: Draws) -> np.ndarray:
        """The changed batch, of the same shape and number type; x itself stays as it is.

        Args:
            x: (n, ...) samples; images are (n, C, H, W).
            draws: random numbers for each of the samples. All chance has to come from here, and what happens
                to a sample may depend on no other.

        Raises:
            ShapeError: it is made for samples of another shape.
        """


class Mixing(Augmentation):
    """A random change to samples together with their targets, which may mix those of a batch, such as Mixup.

    Subclasses are frozen dataclasses that define `mixed`. Class labels arrive as shares of each class, (n, C)
    floats, where the loss takes such; other targets as floats.
    """

    @abstractmethod
    def mixed(self, x: np.ndarray, y: np.ndarray, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
        """The changed samples and targets, of the same shapes and number types; x and y stay as they are.

        Args:
            x: (n, ...) samples.
            y: (n, ...) targets, floats.
            draws: random numbers for each of the samples; all chance has to come from here.
        """

    def __call__(self, x: np.ndarray, draws: Draws) -> np.ndarray:
        return self.mixed(x, np.zeros((len(x), 1), np.float32), draws)[0]


def mixes(augment: Sequence[Augmentation]) -> bool:
    """Whether augmentations change targets, too."""
    return any(isinstance(change, Mixing) for change in augment)


def mixable(y: np.ndarray, classes: int | None) -> np.ndarray:
    """Targets that can be mixed: floats as they are, labels as a share of each class, (n, C) float32.

    Args:
        y: the targets.
        classes: how many classes labels have; None makes labels floats.

    Raises:
        DataError: a label is out of range.
    """
    if y.dtype.kind == "f":
        return y
    if classes is None:
        return y.astype(np.float32)
    if (wrong := y[(y < 0) | (y >= classes)]).size:
        raise DataError(
            f"a label that is to be mixed is {wrong[0]}, expected 0 to {classes - 1}.",
            fix="leave samples of other labels out, those that the loss ignores included; or do not mix.",
        )
    return (y[..., np.newaxis] == np.arange(classes)).astype(np.float32)


def augmented_pair(
    x: np.ndarray,
    y: np.ndarray | None,
    augment: Sequence[Augmentation],
    seed: int,
    epoch: int,
    samples: np.ndarray,
    classes: int | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """A batch and its targets after some augmentations.

    Args:
        x, augment, seed, epoch, samples: as for `augmented`.
        y: the targets; None if there are none.
        classes: as for `mixable`.

    Raises:
        UsageError: an augmentation mixes targets, and there are none, or several.
        ShapeError, DtypeError: as `augmented`.
    """
    is_mask = isinstance(y, np.ndarray) and is_masks(x, y)
    is_placed = is_mask or (isinstance(y, np.ndarray) and is_boxes(x, y))
    if not mixes(augment) and not is_placed:
        return augmented(x, augment, seed, epoch, samples), y
    if not isinstance(y, np.ndarray):
        raise UsageError(
            "an augmentation mixes samples with their targets, which are not one array.",
            fix="leave it out, or pass one target for each sample.",
        )
    is_mixed = False
    for stream, change in enumerate(augment):
        if isinstance(change, Mixing):
            y, is_mixed = y if is_mixed else mixable(y, classes), True
            found, target = change.mixed(x, y, Draws(samples, seed, epoch, stream))
            x, y = _kept(change, found, x), _kept(change, target, y)
            continue
        if is_placed and _moves(change, is_mixed):

            def move(mask: np.ndarray, change: Augmentation = change, stream: int = stream) -> np.ndarray:
                return _kept(change, change(mask, Draws(samples, seed, epoch, stream)), mask)

            y = moved_masks(y, move) if is_mask else moved_boxes(y, x.shape[2:], move)
        x = _kept(change, change(x, Draws(samples, seed, epoch, stream)), x)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def _moves(change: Augmentation, is_mixed: bool) -> bool:
    """Whether an augmentation moves pixels, so that masks and boxes have to follow.

    Raises:
        UsageError: nobody knows, or the targets are mixed already.
    """
    name = display_name(type(change))
    if change.moves is None:
        raise UsageError(
            f"the targets are masks or boxes, and nothing says whether {name} moves pixels.",
            where=name,
            fix=f"set {type(change).__name__}.moves = False; or True, and let it take masks (n, C, H, W) of"
            " whole numbers, too.",
        )
    if change.moves and is_mixed:
        raise UsageError(
            f"{name} moves targets that are mixed already.", where=name, fix="mix after everything else."
        )
    return change.moves


def augmented(
    x: np.ndarray, augment: Sequence[Augmentation], seed: int, epoch: int, samples: np.ndarray
) -> np.ndarray:
    """A batch after some augmentations.

    Args:
        x: (n, ...) samples.
        augment: in the order in which they are applied.
        seed, epoch: the key of the random numbers, together with
        samples: (n,) the numbers of the samples in the training split.

    Raises:
        ShapeError, DtypeError: one does not suit the samples, or does not keep their shape or type.
    """
    for stream, change in enumerate(augment):
        x = _kept(change, change(x, Draws(samples, seed, epoch, stream)), x)
    return np.ascontiguousarray(x)


def _kept(change: Augmentation, found: Any, x: np.ndarray) -> np.ndarray:
    """What an augmentation made of a batch, known to be of its shape and type."""
    if not isinstance(found, np.ndarray) or found.shape != x.shape:
        raise ShapeError(
            f"it made {getattr(found, 'shape', type(found).__name__)} of a batch {x.shape}.",
            where=display_name(type(change)),
            fix="an augmentation must keep the shape of the batch.",
        )
    if found.dtype != x.dtype:
        raise DtypeError(
            f"it made {found.dtype} of a batch of {x.dtype}.",
            where=display_name(type(change)),
            fix="an augmentation must keep the number type.",
        )
    return found
