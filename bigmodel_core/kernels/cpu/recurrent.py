"""Recurrent layers on the CPU: all time steps in one native call, forward and backward.

A chunk of work is a run of rows of the batch, chosen by the shape alone, and goes through all steps: rows
never meet, so chunks need no barrier. Within a step the product with the recurrent weights is the
micro-kernel's, on panels of the weights that were packed once for all steps; the gates of a row follow
while its numbers are in the cache. Memory is time-major: the rows that meet in a step lie together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu import gemm
from bigmodel_core.kernels.cpu.launch import CpuBuffer, CpuLaunch, Scratch
from bigmodel_core.kernels.cpu.recurrent_cells import GATES
from bigmodel_core.kernels.cpu.recurrent_loops import backward_kernel, forward_kernel
from bigmodel_core.kernels.cpu.recurrent_product import add_vectors_kernel, packing, panels_for
from bigmodel_core.kernels.matrix_product import MatrixProduct

MAX_CHUNKS = 8
"""More chunks are not asked for: with few rows each, every step would read the weights once more."""
CHUNK_WORK = 2_000_000
"""Multiply-adds of all steps that make a chunk worth handing to a thread."""


@dataclass(frozen=True)
class Sequence:
    """The sizes of a recurrence.

    Args:
        cell: "tanh", "relu", "lstm" or "gru".
        steps: how long sequences are.
        batch: how many there are.
        units: the width of the state.
        dtype: "float32" or "float64".
        reverse: whether it runs from the last step to the first.
    """

    cell: str
    steps: int
    batch: int
    units: int
    dtype: str
    reverse: bool

    @property
    def width(self) -> int:
        """The width of all gates together."""
        return GATES[self.cell] * self.units

    @property
    def rows(self) -> int:
        """Rows of a chunk: whole tiles of the micro-kernel where there are enough."""
        wanted = min(MAX_CHUNKS, self.steps * self.batch * self.units * self.width // CHUNK_WORK)
        rows = -(-self.batch // max(wanted, 1))
        if rows >= self.batch:
            return max(self.batch, 1)
        fitting = [height for height in (1, 2, 4, 8) if height >= rows]
        return fitting[0] if fitting else -(-rows // 8) * 8

    @property
    def chunks(self) -> int:
        """How many chunks the batch gives."""
        return -(-self.batch // self.rows)


NEAR = 512 * 1024
"""Bytes of weights that stay in the second-level cache from step to step."""


def forward_launches(
    s: Sequence,
    x: CpuBuffer,
    features: int,
    weights: tuple[CpuBuffer, CpuBuffer],
    biases: tuple[CpuBuffer, CpuBuffer],
    gates: CpuBuffer,
    initial: tuple[CpuBuffer | None, CpuBuffer | None],
    lengths: CpuBuffer | None,
    outputs: dict[str, CpuBuffer],
    scratch: Scratch,
    status: CpuBuffer,
) -> list[CpuLaunch]:
    """The launches that run a recurrence.

    Where the weights of the inputs and of the states together stay in the second-level cache, a step is one
    product with both. Else the projections of all inputs are one product before the loop, so that the large
    weight is read once.

    Args:
        x: (T, N, features).
        weights: (features, width) for the inputs, (units, width) for the states.
        biases: (width,) each.
        gates: (T, N, width), overwritten by the activated gates.
        initial: the states before the first step, (N, units) each; None for zeros.
        lengths: (N,) int64: how many steps of each row count; None for all.
        outputs: `y` and `previous` (T, N, units), `last` (N, units); `cells` (T + 1, N, units) and
            `last_cell` for LSTM, `candidates` (T, N, units) for GRU.
        status: where a length out of range is reported.
    """
    if s.batch == 0:
        return []
    size = SIZES[s.dtype]
    launches: list[CpuLaunch] = []
    bias = biases[1]
    if s.cell != "gru":  # its reset gate multiplies the state's part alone, so the two parts stay apart
        bias = scratch(s.width * size)
        launches.append(CpuLaunch(add_vectors_kernel(s.dtype), [*biases, bias, s.width]))
    joined = s.cell != "gru" and features > 0 and (features + s.units) * s.width * size <= NEAR
    if joined:
        depth, inputs, choice = features + s.units, features, "a product a step with inputs and states"
    else:
        product = MatrixProduct(s.steps * s.batch, s.width, features, s.dtype)
        projection = biases[0] if s.cell == "gru" else bias
        launches += gemm.launches(product, x, weights[0], gates, projection, scratch)
        depth, inputs, choice = s.units, 0, "inputs before the loop, a product a step with states"
    panels = panels_for(s.dtype, depth, s.width, scratch)
    if joined:
        launches.append(packing(s.dtype, weights[0], panels, features, s.width, depth, 0))
    launches.append(packing(s.dtype, weights[1], panels, s.units, s.width, depth, inputs))
    context: list[Any] = [
        *(s.steps, s.batch, s.units, s.rows, int(s.reverse), panels, lengths or 0, status),
        *(gates, bias, scratch(s.batch * s.width * size), outputs["y"], outputs["previous"], outputs["last"]),
        *(outputs.get("cells", 0), outputs.get("last_cell", 0), outputs.get("candidates", 0)),
        *(initial[0] or 0, initial[1] or 0, x, inputs),
        scratch(s.batch * depth * size) if joined else 0,
    ]
    choice += f", {s.rows} sequences a chunk"
    return [*launches, CpuLaunch(forward_kernel(s.cell, s.dtype), context, s.chunks, choice=choice)]


def backward_launches(
    s: Sequence,
    weight: CpuBuffer,
    saved: dict[str, CpuBuffer],
    lengths: CpuBuffer | None,
    upstream: dict[str, CpuBuffer],
    outputs: dict[str, CpuBuffer],
    scratch: Scratch,
) -> list[CpuLaunch]:
    """The launches that run a recurrence backwards.

    Args:
        weight: (units, width).
        saved: `y`, `previous`, `gates`, `cells`, `candidates` of the forward run, those that the cell has.
        upstream: the gradients of `y`, `last` and `last_cell`, those that are not zero.
        outputs: `gates` (T, N, width), the gradient of the projections; `recurrent`, likewise, of the
            recurrent product, where it differs; `initial` (N, units) and for LSTM `initial_cell`.
    """
    if s.batch == 0:
        return []
    panels = panels_for(s.dtype, s.width, s.units, scratch)
    transposing = packing(s.dtype, weight, panels, s.width, s.units, s.width, 0, transposed=True)
    context: list[Any] = [
        *(s.steps, s.batch, s.units, s.rows, int(s.reverse), panels, lengths or 0),
        *(saved.get("y", 0), saved.get("previous", 0), saved.get("gates", 0), saved.get("cells", 0)),
        *(saved.get("candidates", 0), upstream.get("y", 0), upstream.get("last", 0)),
        *(upstream.get("last_cell", 0), outputs["gates"], outputs.get("recurrent", 0)),
        *(outputs["initial"], outputs.get("initial_cell", 0)),
    ]
    choice = f"all steps in one call, {s.rows} sequences a chunk"
    return [transposing, CpuLaunch(backward_kernel(s.cell, s.dtype), context, s.chunks, choice=choice)]
