"""How long `import bigmodel_core` takes where NumPy is imported already, and what its peers take."""

from __future__ import annotations

import subprocess
import sys

from bench.workload import Run, Target, Workload

WORKLOAD = Workload(
    "import_time",
    "import, over bare NumPy",
    "ms",
    targets=(Target(limit=150.0),),
    warm_up=("ours", "torch", "jax"),
)

# A process of its own: this one has imported things that would then be free.
_CODE = """\
import numpy, time
start = time.perf_counter()
import {name}
print((time.perf_counter() - start) * 1e3)
"""


def _import(name: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _CODE.format(name=name)], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)


def ours(run: Run) -> float:
    return _import("bigmodel_core")


def torch(run: Run) -> float:
    return _import("torch")


def jax(run: Run) -> float:
    return _import("jax")
