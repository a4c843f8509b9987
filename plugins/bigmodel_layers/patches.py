"""Images as sequences of patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ShapeError


@dataclass(frozen=True)
class PatchEmbedding(bm.Layer):
    """Patches of images as vectors (Dosovitskiy et al., 2021): (N, C, H, W) becomes (N, tokens, width), the
    patches of an image row by row.

    Parameters: those of `projection`, a dense layer over the numbers of a patch, channel by channel and row
    by row; `class_token` (width,), which starts normal with a deviation of 0.02, and `position` (tokens,
    width), normal with a deviation of `deviation`.

    Args:
        patch: the sides of a patch, which divide those of the image.
        width: of the vectors.
        class_token: whether a learned vector is put in front, of no patch.
        positions: whether each token has a learned vector added.
        grid: for how many rows and columns of patches there are learned vectors; as the image has if None.
            Those of another grid are interpolated, bicubically.
        deviation: of the first values of these vectors.
        initial: how the first weights are drawn, a name of `bigmodel_core.nn.initializers`.

    Raises:
        ShapeError: the input is no (N, C, H, W) with fixed C, H and W, or patches do not divide H and W.

    >>> import bigmodel_core as bm
    >>> PatchEmbedding(4, 16, class_token=True)(bm.Spec(("N", 1, 28, 28)))
    Spec((N, 50, 16), float32)
    """

    patch: int
    width: int
    class_token: bool = False
    positions: bool = False
    grid: tuple[int, int] | None = None
    deviation: float = 0.02
    initial: str = "glorot_uniform"

    def __post_init__(self) -> None:
        for name in ("patch", "width"):
            bm.check_number(self, name, whole=True, at_least=1)
        bm.check_number(self, "deviation", at_least=0)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[tuple[int, ...]]]]:
        """What the conformance kit runs."""
        more = {"class_token": True, "positions": True, "grid": (1, 2)}
        return [({"patch": 2, "width": 3}, [(2, 2, 2, 4)]), ({"patch": 1, "width": 2} | more, [(2, 1, 2, 3)])]

    def __call__(self, x: Any) -> Any:
        size = x.shape[1:]
        if x.ndim != 4 or not all(isinstance(dim, int) for dim in size):
            raise ShapeError(
                f"the input is {bm.format_shape(x.shape)}, expected (N, C, H, W) with fixed C, H and W.",
                fix="pass images, and build for a size.",
            )
        channels, height, width = size
        if height % self.patch or width % self.patch:
            raise ShapeError(
                f"images of {height} x {width} cannot be cut into patches of {self.patch} x {self.patch}.",
                fix="resize or crop the images, or let patch divide both sides.",
            )
        rows, columns = height // self.patch, width // self.patch
        x = ops.reshape(x, (x.shape[0], channels, rows, self.patch, columns, self.patch))
        x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
        x = ops.reshape(x, (x.shape[0], rows * columns, channels * self.patch**2))
        x = bm.layers.Dense(self.width, initial=self.initial).named("projection")(x)
        if self.class_token:
            token = self.parameter("class_token", (self.width,), "normal")
            first = ops.broadcast_to(ops.reshape(token, (1, 1, self.width)), (x.shape[0], 1, self.width))
            x = ops.concatenate([first, x], 1)
        return x + self._positions(rows, columns) if self.positions else x

    def _positions(self, rows: int, columns: int) -> Any:
        """The vectors of all tokens, (tokens, width)."""
        known = (rows, columns) if self.grid is None else self.grid
        first = int(self.class_token)
        table = self.parameter(
            "position",
            (first + known[0] * known[1], self.width),
            lambda generator, shape: generator.normal(0, self.deviation, shape),
        )
        if known == (rows, columns):
            return table
        grid = ops.reshape(table[first:], (1, *known, self.width))
        grid = ops.resize(ops.transpose(grid, (0, 3, 1, 2)), (rows, columns), "bicubic")
        grid = ops.reshape(ops.transpose(grid, (0, 2, 3, 1)), (rows * columns, self.width))
        return ops.concatenate([table[:1], grid], 0) if first else grid
