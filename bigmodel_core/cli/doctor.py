"""`bigmodel doctor`: what works on this machine, and what to do about the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import typer

from bigmodel_core.cli.app import FAILED, command_app
from bigmodel_core.cli.terminal import AsJson, Output, count, size
from bigmodel_core.errors import BigmodelError

app = command_app()

PACKAGES = ("numpy", "numba", "llvmlite", "onnx", "onnxruntime", "safetensors", "pillow")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        name: what.
        status: "ok", "missing" (something optional is not there), "warning" or "failed".
        detail: what was found.
        fix: what to do about it; empty if nothing.
        missing: the names of what is missing, which may be many.
    """

    name: str
    status: str
    detail: str
    fix: str = ""
    missing: tuple[str, ...] = ()


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show what works on this machine, and how to fix the rest.

    Fails if something that bigmodel needs does not work; a missing CUDA device is no failure.
    """
    findings: list[Finding] = []
    for look in LOOKS:
        findings += _careful(look)
    is_well = not any(item.status == "failed" for item in findings)
    output = Output(as_json)
    if not as_json:
        marks = {"ok": "ok", "missing": "-", "warning": "warning", "failed": "FAILED"}
        output.table(
            ["", "Status", "Found"], [(item.name, marks[item.status], item.detail) for item in findings]
        )
        for item in findings:
            if item.fix:
                output.line(f"\n{item.name}: {item.fix}", "red" if item.status == "failed" else None)
        output.line()
        output.line(
            "Everything that bigmodel needs works."
            if is_well
            else "Something that bigmodel needs does not work.",
            "bold green" if is_well else "bold red",
        )
    output.result({"ok": is_well, "findings": [asdict(item) for item in findings]})
    if not is_well:
        raise typer.Exit(FAILED)


def _careful(look: Callable[[], list[Finding]]) -> list[Finding]:
    """The findings of one look; whatever goes wrong in it is a finding, too."""
    name = look.__name__.strip("_")
    try:
        return look()
    except BigmodelError as error:
        return [Finding(name, "failed", error.message, error.fix or "")]
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        return [
            Finding(
                name, "failed", f"{type(error).__name__}: {text}", "install bigmodel again, or report this."
            )
        ]


def _versions() -> list[Finding]:
    from bigmodel_core import __version__

    found = {name: _version(name) for name in PACKAGES}
    missing = [name for name, version in found.items() if version is None]
    texts = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    return [
        Finding(
            "bigmodel",
            "ok",
            f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}",
        ),
        Finding(
            "packages",
            "failed" if missing else "ok",
            texts,
            f"{', '.join(missing)} missing: pip install {' '.join(missing)}" if missing else "",
        ),
    ]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> list[Finding]:
    from bigmodel_core.kernels.cpu.engine import target

    unit = target.vector_unit()
    name = target.description().split(" ", 1)[0]
    slow = unit.name == "generic" and not os.environ.get("BIGMODEL_VECTOR_UNIT")
    return [
        Finding(
            "processor",
            "warning" if slow else "ok",
            f"{name} ({platform.machine()}), {unit.name}: {unit.bits}-bit vectors",
            "kernels use only the vectors that every processor of this kind has; expect less speed."
            if slow
            else "",
        )
    ]


def _threads() -> list[Finding]:
    from bigmodel_core.kernels.cpu.engine.threads import num_threads

    said = os.environ.get("BIGMODEL_NUM_THREADS")
    source = f"BIGMODEL_NUM_THREADS={said}" if said else "one per core; BIGMODEL_NUM_THREADS changes it"
    return [Finding("threads", "ok", f"{num_threads()} ({source})")]


def _cache() -> list[Finding]:
    import warnings

    from bigmodel_core.kernels import cache

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        facts = cache.statistics()
    text = f"{facts['folder']}: {count(int(str(facts['files'])))} kernels, {size(float(str(facts['bytes'])))}"
    if not facts["usable"] or caught:
        reason = str(caught[0].message) if caught else f"{facts['folder']} cannot be used."
        return [Finding("kernel cache", "warning", reason, "set BIGMODEL_CACHE_DIR to a folder of your own.")]
    fix = "" if facts["files"] else "it is empty: `bigmodel warmup` compiles kernels ahead of time."
    return [Finding("kernel cache", "ok", text, fix)]


def _kernels() -> list[Finding]:
    """Run a small network and compare it with NumPy."""
    import numpy as np

    from bigmodel_core import registry
    from bigmodel_core.kernels import cache

    began = time.perf_counter()
    model = registry.get("layer", "dense", owner=__name__)(5, activation="relu")
    x = np.linspace(-1, 1, 21, dtype=np.float32).reshape(3, 7)
    found = model(x)
    state = model.state()
    expected = np.maximum(x.astype(np.float64) @ state["weight"] + state["bias"], 0)
    seconds = time.perf_counter() - began
    if not np.allclose(found, expected, atol=1e-5):
        return [
            Finding(
                "kernels",
                "failed",
                "a dense layer disagrees with NumPy",
                "report this, please.",
            )
        ]
    compiled = len(cache.compilations)
    how = f"{compiled} compiled" if compiled else "from the cache"
    return [Finding("kernels", "ok", f"a dense layer agrees with NumPy ({how}, {seconds:.1f} s)")]


def _plugins() -> list[Finding]:
    from bigmodel_core import registry

    found = registry.plugins()
    broken = [item for item in found if item.status == "failed"]
    others = [f"{item.name} {item.status}" for item in found if item.status in ("blocked", "skipped")]
    text = f"{sum(item.status == 'ok' for item in found)} loaded" + "".join(f", {other}" for other in others)
    if not found:
        return [Finding("plugins", "failed", "none is installed", "install bigmodel: pip install bigmodel")]
    if broken:
        reasons = "; ".join(f"{item.name} ({item.distribution}): {item.reason}" for item in broken)
        names = ",".join(item.name for item in broken)
        return [
            Finding(
                "plugins",
                "failed",
                f"{text}, {len(broken)} broken: {reasons}",
                f"update or uninstall it, or set BIGMODEL_DISABLE_PLUGINS={names}.",
            )
        ]
    return [Finding("plugins", "ok", text)]


def _runtime() -> list[Finding]:
    import onnxruntime

    providers = ", ".join(
        name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()
    )
    return [Finding("ONNX Runtime", "ok", f"{onnxruntime.__version__}, runs on {providers}")]


def _cuda() -> list[Finding]:
    from bigmodel_core.plan import device_named

    extra = _version("numba-cuda")
    if (
        extra is None
        and importlib.util.find_spec("numba_cuda") is None
        and not os.environ.get("NUMBA_ENABLE_CUDASIM")
    ):
        driver = _driver()
        has_device = f"the driver is installed ({driver}), but " if driver else ""
        fix = "to train on the GPU: pip install 'bigmodel[cuda]'" if driver else ""
        return [Finding("CUDA", "missing", f"{has_device}the extra 'cuda' is not installed", fix)]
    try:
        device_named("cuda")
    except BigmodelError as error:
        return [Finding("CUDA", "missing", error.message, error.fix or "")]
    name = _driver() or "the device works"
    return [Finding("CUDA", "ok", f"{name}, numba-cuda {extra or '(simulated)'}")]


def _cuda_kernels() -> list[Finding]:
    """Which ops run on CUDA devices: the core's, and those of plugins, which have been imported by now."""
    from bigmodel_core.plan.kernel_table import known_ops, without_kernel

    ops = known_ops()
    missing = without_kernel("cuda", ops)
    text = f"{len(ops) - len(missing)} of {len(ops)} ops"
    public = [name for name in missing if not name.rpartition(".")[2].startswith("_")]
    if missing:
        text += f"; missing: {', '.join(public)} and {len(missing) - len(public)} gradients"
    return [Finding("CUDA kernels", "missing" if missing else "ok", text, missing=tuple(missing))]


def _driver() -> str | None:
    """The NVIDIA driver's name for itself, if one is installed."""
    place = Path("/proc/driver/nvidia/version")
    if place.is_file():
        return place.read_text("utf-8").partition("\n")[0].removeprefix("NVRM version: ").strip()
    import shutil

    return "nvidia-smi" if shutil.which("nvidia-smi") else None


def _data() -> list[Finding]:
    from bigmodel_core.data.files import cache_folder

    named = os.environ.get("BIGMODEL_DATA_DIR")
    if named and not Path(named).is_dir():
        return [
            Finding(
                "data",
                "warning",
                f"BIGMODEL_DATA_DIR is {named}, which is not a folder",
                "create it, or unset it.",
            )
        ]
    place = Path(named) if named else cache_folder("x").parent
    sets = sorted(item.name for item in place.iterdir() if item.is_dir()) if place.is_dir() else []
    return [Finding("data", "ok", f"{place}: {', '.join(sets) or 'empty; digits is bundled'}")]


LOOKS = (
    *(_versions, _processor, _threads, _cache, _kernels, _plugins, _runtime, _cuda, _cuda_kernels, _data),
)
"""In this order: plugins are imported before kernels of ops are counted."""
