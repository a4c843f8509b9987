"""MNIST for the peers: the four IDX files of `BIGMODEL_DATA_DIR`, read with NumPy alone."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np

_PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def unavailable() -> str | None:
    """Why MNIST cannot be used, or None."""
    if not os.environ.get("BIGMODEL_DATA_DIR"):
        return "BIGMODEL_DATA_DIR is not set; name the folder that holds mnist/"
    absent = [part for part in _PARTS if _file(part) is None]
    return (
        f"no {', '.join(f'{part}-ubyte' for part in absent)} in BIGMODEL_DATA_DIR/mnist" if absent else None
    )


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images (60000, 784) float32 from 0 to 1 and labels (60000,) int64, and those of the test."""
    found = []
    for part in _PARTS:
        path = _file(part)
        assert path is not None
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if "images" in part:
            pixels = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 784)
            found.append(pixels.astype(np.float32) / np.float32(255))
        else:
            found.append(np.frombuffer(content, np.uint8, offset=8).astype(np.int64))
    return found[0], found[1], found[2], found[3]


def _file(part: str) -> Path | None:
    folder = Path(os.environ["BIGMODEL_DATA_DIR"]) / "mnist"
    names = (f"{part}-ubyte", f"{part.replace('-idx', '.idx')}-ubyte")
    candidates = (folder / f"{name}{ending}" for ending in ("", ".gz") for name in names)
    return next((path for path in candidates if path.is_file()), None)
