"""The vision Transformer: patches of images as the steps of a sequence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError
from bigmodel_models.published_images import VIT
from bigmodel_models.sizes import check_heads, fill

SIZES: dict[str, dict[str, int]] = {
    "nano": {"layers": 6, "heads": 4, "width": 64},
    "tiny": {"layers": 12, "heads": 3, "width": 192, "patch": 16},
    "small": {"layers": 12, "heads": 6, "width": 384, "patch": 16},
    "base": {"layers": 12, "heads": 12, "width": 768, "patch": 16},
    "large": {"layers": 24, "heads": 16, "width": 1024, "patch": 16},
    "huge": {"layers": 32, "heads": 16, "width": 1280, "patch": 14},
}
DEVIATION = 0.3
"""Of the first positions: as large as what patches give. With the usual 0.02 a small model learns slowly
where patches are (10 epochs of the bundled digits: 0.83 of the test images right, and 0.97 with 0.3)."""


@dataclass(frozen=True)
class Vit(bm.Model):
    """The vision Transformer (Dosovitskiy et al., 2021): an image's patches see each other; scores of classes
    from a token that is put in front of them.

    Takes images (N, C, H, W) whose sides are multiples of the patch, 224 x 224 by design. Published weights
    are read by `bm.from_pretrained`.

    Args:
        size: "nano", "tiny", "small", "base", "large" or "huge": what the following are if not given.
        patch: the sides of a patch; of "nano" what cuts the shorter side of the image in at least 7
            parts, else 2.
        layers: how many blocks are stacked.
        heads: how many heads attend side by side.
        width: of a patch's vector.
        classes: how many classes there are.
        image: the height and width of the images whose positions are learned; those it is built for if None.
            Positions in images of another size are interpolated, bicubically.
        dropout: in training, the probability of zeroing numbers of the embedding and of what blocks add.
        epsilon: of the normalisation.
        recompute: whether training keeps less of each block and computes it again; see `Recompute`.
        hidden: the width inside of the feed-forward networks; four times `width` if None.
        activation: in them: "gelu", "gelu_tanh" or "relu".

    >>> import bigmodel_core as bm
    >>> Vit()(bm.Spec(("N", 1, 28, 28)))
    Spec((N, 10), float32)
    """

    name: ClassVar[str] = "vit"
    pretrained: ClassVar[tuple[bm.Pretrained, ...]] = (VIT,)
    optimizer: ClassVar[str] = "adamw"
    learning_rate: ClassVar[float | None] = 1e-3
    size: str = "nano"
    patch: int | None = None
    layers: int | None = None
    heads: int | None = None
    width: int | None = None
    classes: int = 10
    image: tuple[int, int] | None = None
    dropout: float = 0.0
    epsilon: float = 1e-6
    recompute: bool = False
    hidden: int | None = None
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"

    def __post_init__(self) -> None:
        fill(self, SIZES)
        check_heads(self)
        bm.check_number(self, "classes", whole=True, at_least=1)
        if self.patch is not None:
            bm.check_number(self, "patch", whole=True, at_least=1)
        if self.hidden is not None:
            bm.check_number(self, "hidden", whole=True, at_least=1)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[tuple[int, ...]]]]:
        """What the conformance kit runs."""
        small = {"layers": 1, "heads": 2, "width": 4, "classes": 3, "patch": 2, "image": (4, 4)}
        return [(small, [(2, 1, 4, 6)])]

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 3, *(self.image or (224, 224))))

    def __call__(self, x: Any) -> Any:
        own: Any = self  # whose sizes are filled in
        patch = own.patch or _patch(x)
        grid = None if self.image is None else (self.image[0] // patch, self.image[1] // patch)
        embedding = bm.layers.PatchEmbedding(
            patch, own.width, class_token=True, positions=True, grid=grid, deviation=DEVIATION
        )
        x = bm.layers.Dropout(own.dropout)(embedding.named("embedding")(x))
        is_tanh = own.activation == "gelu_tanh"
        for number in range(own.layers):
            block = bm.layers.TransformerBlock(
                own.heads,
                own.hidden,
                activation=bm.layers.Gelu(approximate=True) if is_tanh else own.activation,
                epsilon=own.epsilon,
                dropout=own.dropout,
                attention_dropout=own.dropout,
                recompute=own.recompute,
            )
            x = block.named(f"block_{number + 1}")(x)
        x = bm.layers.LayerNorm(own.epsilon).named("norm")(x[:, 0])
        return bm.layers.Dense(own.classes).named("output")(x)


def _patch(x: Any) -> int:
    """The largest divisor of both sides of images that cuts the shorter one in at least 7 parts, else 2 or 1.

    Raises:
        ShapeError: these are no images of a fixed size.
    """
    sides = x.shape[2:]
    if x.ndim != 4 or not all(isinstance(side, int) for side in sides):
        raise ShapeError(
            f"the input is {bm.format_shape(x.shape)}, expected images (N, C, H, W) of a fixed size.",
            fix="build for a size, as in bm.Spec(('N', 3, 224, 224)).",
        )
    both = math.gcd(*sides)
    most = max(2, min(sides) // 7)
    return max(side for side in range(1, most + 1) if both % side == 0)
