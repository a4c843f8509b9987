"""What the engine may ask of a kernel, whatever the device: traits, each with a default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from bigmodel_core.graph.spec import Spec

ANY_DEVICE = "any"
"""The device of kernels that every device can run."""


class Kernel:
    """The implementation of one op on a device.

    Subclasses define `launches`; the other traits describe kernels that do more than read their inputs and
    write their outputs.
    """

    device: ClassVar[str]
    """The device that the kernel is for: "cpu", "cuda", or "any"."""

    @property
    def is_elementwise(self) -> bool:
        """Whether each number of the output depends on the numbers at its own position alone; the engine
        then fuses it with its neighbours."""
        return False

    @property
    def uses_index(self) -> bool:
        """Whether an elementwise kernel is given the position of each number: its arrays must not be laid
        out in another order."""
        return False

    @property
    def writes_tiles(self) -> bool:
        """Whether the output is finished tile by tile, so that other kernels can run on each tile."""
        return False

    @property
    def follows(self) -> int | None:
        """The position of the input on whose tiles the kernel can run as an epilogue of the kernel that
        writes them; None if it cannot."""
        return None

    @property
    def in_place(self) -> int | None:
        """The position of the input whose memory the output may be given: the kernel then changes some
        numbers there, where it would copy all of them otherwise. None if the two must be apart."""
        return None

    def over_reads(self, op: Any, inputs: Sequence[Spec]) -> tuple[int, ...]:
        """The positions of inputs behind whose end the kernel reads some bytes, without using them.

        Arrays of a plan have room for that; those that a caller passes are copied first.

        Args:
            op: what is computed.
            inputs: the specs of its inputs, all sizes known.
        """
        return ()

    def launches(self, call: Any) -> Sequence[Any]:
        """The launches of one application of the op.

        Args:
            call: the op, specs and memory of its inputs and outputs, scratch memory.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define launches")

    def epilogue(self, call: Any, tile: tuple[int, int]) -> Sequence[Any] | None:
        """The launches of one application, of which the first runs on each tile of the input that `follows`
        names; None if the sizes do not allow it.

        Args:
            call: as for `launches`.
            tile: (rows, columns) of a tile.
        """
        return None
