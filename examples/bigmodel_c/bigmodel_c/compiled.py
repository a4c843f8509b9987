"""A C file is compiled and run beside the model before it counts as written."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import bigmodel_core as bm
from bigmodel_c.document import Document

FLAGS = ("-O2", "-std=c99", "-Wall", "-Wextra", "-Werror")
NAMES = ("cc", "gcc", "clang")


def compiler_named(text: str) -> list[str]:
    """The command of a C compiler: the one that is named, that of the environment variable CC, or one that is
    installed.

    Raises:
        ExportError: there is none.
    """
    wanted = text or os.environ.get("CC", "")
    for command in [shlex.split(wanted)] if wanted else [[name] for name in NAMES]:
        if command and shutil.which(command[0]):
            return command
    raise bm.errors.ExportError(
        f"there is no C compiler ({wanted or ', '.join(NAMES)}) to prove that the file computes the same.",
        fix="install one or name it, compiler='/path/to/cc'; or pass verify=False, for a file nobody ran.",
        shell="install one or name it, --set compiler=/path/to/cc; or pass --set verify=false for a file that"
        " nobody ran.",
    )


def run(
    document: Document, command: Sequence[str], flags: Sequence[str], samples: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """What the program that a file contains gives for samples, one array an output.

    Args:
        document: the file.
        command: the compiler.
        flags: what it is run with.
        samples: by input in the file, (n, ...).

    Raises:
        ExportError: it cannot be compiled, or stops with an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / f"{document.name}.c", Path(folder) / "program"
        source.write_text(document.text, encoding="ascii")
        define = f"-D{document.name.upper()}_MAIN"
        _done([*command, *flags, define, str(source), "-o", str(program), "-lm"], "", "compiled")
        counted = list(samples.values())
        text = "\n".join(
            " ".join(map(repr, array[row].reshape(-1).tolist()))
            for row in range(len(counted[0]))
            for array in counted
        )
        lines = _done([str(program)], text, "run").split("\n")
    rows = [line.split() for line in lines[:-1]]
    found, at = [], 0
    for array in document.outputs.values():
        part = [row[at : at + array.size] for row in rows]
        numbers = np.array(part, dtype=np.float64 if bm.dtypes.DTYPES[array.dtype].is_float else np.int64)
        found.append(numbers.reshape(len(rows), *array.shape))
        at += array.size
    return found


def _done(command: Sequence[str], text: str, word: str) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr.strip() or f"it ended with {done.returncode}").splitlines()
    raise bm.errors.ExportError(
        f"the file could not be {word}: {'; '.join(said[:4])}",
        fix="this is a fault of bigmodel-c, or of an op's method `c`; no file was written.",
    )


@dataclass(frozen=True)
class Agreement:
    """How what a file computes agrees with the model.

    Args:
        samples: how many samples were compared.
        difference: the largest difference, relative to the largest number.
        compiler: which compiler, with its version.
        flags: what it was run with.
    """

    samples: int
    difference: float
    compiler: str
    flags: str


def version(command: Sequence[str]) -> str:
    """What a compiler calls itself, in a line."""
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or [command[0]])[0]


def agreement(
    found: Sequence[np.ndarray],
    wanted: Sequence[np.ndarray],
    names: Sequence[str],
    tolerances: Sequence[float],
) -> float:
    """The largest difference relative to the largest number of an output.

    Raises:
        ExportError: it is more than is allowed, with the output and how many samples agree.
    """
    largest = 0.0
    for got, expected, name, tolerance in zip(found, wanted, names, tolerances, strict=True):
        if not got.size:
            continue
        expected = expected.astype(got.dtype)
        scale = max(float(np.nanmax(np.abs(np.where(np.isfinite(expected), expected, 0)))), 1e-30)
        same = (got == expected) | (np.isnan(got) & np.isnan(expected))
        with np.errstate(invalid="ignore"):
            apart = np.where(same, 0, np.abs(got - expected) / scale)
        each = np.nan_to_num(apart, nan=np.inf).reshape(len(got), -1).max(1)
        good = int((each <= tolerance).sum())
        if good < len(each):
            raise bm.errors.ExportError(
                f"the output '{name}' differs from the model's: {good} of {len(each)} samples are within"
                f" {tolerance:g} of it, and the largest difference is {each.max():.2g} of the largest.",
                fix="pass real samples=..., or a tolerance=...; no file was written. A model whose samples"
                " depend on each other cannot be written.",
            )
        largest = max(largest, float(each.max()))
    return largest
