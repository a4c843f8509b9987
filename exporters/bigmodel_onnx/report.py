"""What an export tells its caller."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ExportReport:
    """A file that was written and proven.

    Args:
        path: the file.
        opset: the operator set.
        ir_version: the version of the file format.
        operators: how many nodes of each operator it has.
        size: bytes, with the sidecar, and the encoder.
        sidecar: the name of the file beside it that holds the weights, or None.
        runtime: the version of ONNX Runtime that ran it.
        differences: the largest difference between ONNX Runtime and the model, by the sizes they were run at.
        outputs: the names of the file's outputs.
        tokenizer: the name of the file beside it that makes tokens of texts, or None.
        encoder: the name of the file beside it with the encoder, where this one is a decoder; else None.
        encoder_sidecar: the name of the encoder's sidecar, or None.
        target_tokenizer: the name of the file beside it that makes texts of what is written, or None.
    """

    path: Path
    opset: int
    ir_version: int
    operators: dict[str, int]
    size: int
    sidecar: str | None
    runtime: str
    differences: dict[str, float]
    outputs: tuple[str, ...] = field(default=("y",))
    tokenizer: str | None = None
    encoder: str | None = None
    encoder_sidecar: str | None = None
    target_tokenizer: str | None = None

    @property
    def nodes(self) -> int:
        """How many nodes the file has."""
        return sum(self.operators.values())

    @property
    def largest_difference(self) -> float:
        """The largest difference over all runs."""
        return max(self.differences.values(), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return {**asdict(self), "path": str(self.path), "nodes": self.nodes, "outputs": list(self.outputs)}

    def __str__(self) -> str:
        operators = ", ".join(f"{count} {name}" for name, count in self.operators.items())
        runs = ", ".join(f"{value:.1e} at {sizes}" for sizes, value in self.differences.items())
        texts = ""
        if self.tokenizer is not None:
            texts = f"\nIt takes tokens, which {self.tokenizer} makes of texts: no operator of ONNX does"
        beside, files = "", (self.encoder, self.sidecar, self.encoder_sidecar)
        if others := [name for name in (*files, self.tokenizer, self.target_tokenizer) if name]:
            beside = f" with {', '.join(others[:-1])}{' and ' if others[1:] else ''}{others[-1]}"
        return (
            f"{self.path}{beside}: {_bytes(self.size)}, opset {self.opset}, IR {self.ir_version}, "
            f"{self.nodes} node{'s' * (self.nodes != 1)} ({operators})\n"
            f"ONNX Runtime {self.runtime} agrees; largest difference {runs}{texts}"
        )


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
