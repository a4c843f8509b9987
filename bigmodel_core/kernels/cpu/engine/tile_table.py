"""Tiles that several kernels share: compiled once, and called through a table of their addresses.

Compiling a family of tiles takes longer than the rest of a kernel. So the family is compiled separately; a
kernel finds the table's address in its context, like that of a buffer, and jumps to the tile it needs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bigmodel_core.kernels.cpu.engine.instructions import own_function
from bigmodel_core.kernels.cpu.engine.native import Intrinsic, NativeFunction


class TileTable:
    """The addresses of a family of tiles, by shape.

    Args:
        name: of the family, among all.
        arguments: how many integers a tile takes; the last two are its rows and columns.
        lanes: numbers of a vector.
        shapes: rows and vectors of each tile there is.
        body: `body(function, rows, vectors)` fills in a tile's instructions.
    """

    def __init__(
        self,
        name: str,
        arguments: int,
        lanes: int,
        shapes: Sequence[tuple[int, int]],
        body: Callable[[Any, int, int], None],
    ) -> None:
        self.most = most = 1 + max(vectors for _, vectors in shapes)
        self.length = most * (1 + max(rows for rows, _ in shapes))
        self._memory: np.ndarray | None = None

        def write(builder: Any, table: Any) -> None:
            from llvmlite import ir

            integer = ir.IntType(64)
            for rows, vectors in shapes:
                function, fresh = own_function(builder.module, f"{name}_{rows}_{vectors}", arguments)
                if fresh:
                    body(function, rows, vectors)
                place = builder.add(table, integer((rows * most + vectors) * 8))
                address = builder.ptrtoint(function, integer)
                builder.store(address, builder.inttoptr(place, integer.as_pointer()))

        def call(builder: Any, table: Any, *given: Any) -> None:
            from llvmlite import ir

            integer = ir.IntType(64)
            rows, columns = given[-2:]
            vectors = builder.sdiv(builder.add(columns, integer(lanes - 1)), integer(lanes))
            index = builder.add(builder.mul(rows, integer(most)), vectors)
            place = builder.add(table, builder.mul(index, integer(8)))
            address = builder.load(builder.inttoptr(place, integer.as_pointer()))
            kind = ir.FunctionType(ir.VoidType(), [integer] * arguments)
            builder.call(builder.inttoptr(address, kind.as_pointer()), given)

        write.__name__, call.__name__ = f"write_{name}", name
        write_addresses = Intrinsic("void(intp)", write)
        self.call = Intrinsic(f"void({', '.join(['intp'] * (arguments + 1))})", call)
        """Calls the tile for (rows, columns): takes the table's address, then the arguments of a tile."""

        def fill_tile_table(table):
            write_addresses(table)

        self.fill = NativeFunction(fill_tile_table, "void(intp)")

    @property
    def address(self) -> int:
        """Where the table lies; compiles or loads the tiles at the first call."""
        if self._memory is None:
            memory = np.zeros(self.length, np.int64)
            kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t)
            result, failure = (ctypes.c_ssize_t * 1)(), (ctypes.c_void_p * 1)()
            kind(self.fill.address)(ctypes.addressof(result), ctypes.addressof(failure), memory.ctypes.data)
            self._memory = memory
        return int(self._memory.ctypes.data)
