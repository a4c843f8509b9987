"""Numba's CUDA target: loaded on demand, with clear errors, and the way from plain functions to kernels.

Kernels are plain functions; helper functions they call need no decorator. On a device `Kernel` compiles them
at the first launch. In Numba's simulator (`NUMBA_ENABLE_CUDASIM=1`), which runs them as Python, functions of
`math` are replaced by NumPy's, which keep float32 and give NaN or infinity where Python would raise.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from bigmodel_core.errors import DeviceError, is_verbose
from bigmodel_core.kernels.cuda.engine import simulator

INSTALL = "pip install 'bigmodel[cuda]'"


@functools.cache
def simulated() -> bool:
    """Whether kernels run in Numba's simulator instead of on a device."""
    from numba.core import config

    return bool(config.ENABLE_CUDASIM)


@functools.cache
def numba_cuda() -> Any:
    """The module `numba.cuda`.

    Raises:
        DeviceError: the extra `cuda` is not installed, or not whole.
    """
    if not simulated() and importlib.util.find_spec("numba_cuda") is None:
        raise DeviceError("CUDA support is not installed.", fix=f"{INSTALL}, or use device='cpu'.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Numba announces that its own CUDA target, simulator included, moves out
            from numba import cuda
    except Exception as error:  # Numba raises RuntimeErrors of its own where a library of CUDA's is missing
        raise DeviceError(
            f"CUDA support cannot be loaded: {_first_line(error)}.",
            fix=f"{INSTALL} (it brings the libraries), or use device='cpu'.",
        ) from error
    return cuda


class LazyCuda:
    """Stands for the module `numba.cuda` in the source of kernels: it costs nothing to import."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(numba_cuda(), name)


cuda = LazyCuda()
"""What kernels call `cuda`, as in `cuda.grid(1)`; compiling one puts the module itself in its place."""


def require_device() -> None:
    """Check that a device is there, or the simulator.

    Raises:
        DeviceError: there is no driver or no device.
    """
    module = numba_cuda()
    if simulated():
        return
    try:
        found = bool(module.is_available()) and len(module.gpus) > 0
        reason = "" if found or not module.cuda_error() else _first_line(module.cuda_error())
    except Exception as error:
        found, reason = False, _first_line(error)
    if not found:
        raise DeviceError(
            f"there is no CUDA device here: {reason or 'no driver or no device was found'}.",
            fix="see whether `nvidia-smi` lists a device, or use device='cpu'.",
        )


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__


class Kernel:
    """A plain function as a kernel.

    Args:
        function: in terms of arrays, numbers and `cuda.*`.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        module = numba_cuda()
        form = _SimulatorForm(module) if simulated() else _DeviceForm(module)
        self.prepared = form.kernel(function)
        self.dispatcher = module.jit(self.prepared)

    def bound(
        self, blocks: tuple[int, ...], threads: int, stream: Any, arguments: Sequence[Any]
    ) -> Callable[[], None]:
        """A call without arguments that launches the kernel."""
        if simulated():
            arguments = [simulator.plain(argument) for argument in arguments]

            def simulate() -> None:
                with warnings.catch_warnings():
                    warnings.simplefilter(
                        "ignore", RuntimeWarning
                    )  # overflow and division by zero, silent on devices
                    try:
                        self.dispatcher[blocks, threads, stream](*arguments)
                    except Exception as error:
                        from bigmodel_core.kernels.refusal import failed

                        found = failed(self.function.__name__, error, "the CUDA kernel")
                        if found is None:
                            raise
                        raise found from (error if is_verbose() else None)

            return simulate
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Numba finds grids of few blocks worth a warning
            configured = self.dispatcher[blocks, threads, stream]

        def launch() -> None:
            try:
                configured(*arguments)
            except Exception as error:
                raise self.failure(error) from (error if is_verbose() else None)

        return launch

    def failure(self, error: Exception) -> Exception:
        """What an author reads of an error of the compiler; other errors as they are."""
        from numba.core.errors import NumbaError

        from bigmodel_core.kernels.refusal import refused

        if not isinstance(error, NumbaError) and not type(error).__module__.startswith("numba"):
            return error
        return refused(self.function, error, "the CUDA kernel")


@functools.cache
def kernel(function: Callable[..., None]) -> Kernel:
    """The kernel of a function, made once."""
    return Kernel(function)


class _Form:
    """Rebuilds a function and the helpers it refers to, each once."""

    def __init__(self, module: Any) -> None:
        self.cuda = module
        self.made: dict[int, Any] = {}

    def rebuilt(self, plain: Any) -> types.FunctionType:
        """The function with what it refers to replaced by `value`."""
        namespace = dict(plain.__globals__)
        for name in _names(plain.__code__) & set(namespace):
            namespace[name] = self.value(namespace[name])
        closure = (
            tuple(types.CellType(self.value(cell.cell_contents)) for cell in plain.__closure__ or ()) or None
        )
        made = types.FunctionType(plain.__code__, namespace, plain.__name__, plain.__defaults__, closure)
        made.__module__ = plain.__module__ or __name__
        return made

    def value(self, value: Any) -> Any:
        """What stands for a global or closure variable."""
        if id(value) not in self.made:
            self.made[id(value)] = self.replacement(value)
        return self.made[id(value)]

    def replacement(self, value: Any) -> Any:
        raise NotImplementedError


class _DeviceForm(_Form):
    """For a device: plain helper functions become device functions."""

    def kernel(self, function: Any) -> types.FunctionType:
        return self.rebuilt(function)

    def replacement(self, value: Any) -> Any:
        if value is cuda:
            return self.cuda
        if _is_helper(value):
            return self.cuda.jit(device=True)(self.rebuilt(value))
        return value


class _SimulatorForm(_Form):
    """For the simulator: helpers see the thread they run in, and `math` keeps number types."""

    def kernel(self, function: Any) -> types.FunctionType:
        simulator.share_arrays_of_blocks()
        simulator.meet_without_polling()
        self.current = _Current()
        made = self.rebuilt(function)
        # At a launch Numba puts the simulated module in place of `cuda` in the kernel's globals: look there.
        made.__globals__["cuda"] = self.cuda
        self.current.namespace = made.__globals__
        return made

    def replacement(self, value: Any) -> Any:
        if value is self.cuda or value is cuda:
            return self.current
        if value is math:
            return types.SimpleNamespace(**{name: self.value(item) for name, item in vars(math).items()})
        if _is_helper(value):
            return self.rebuilt(value)
        return simulator.replacements().get(id(value), value)


class _Current:
    """The simulated `cuda` module of the current launch."""

    namespace: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.namespace["cuda"], name)


def _is_helper(value: Any) -> bool:
    """Whether a value is a plain function of somebody's, not one that stands for an instruction in Numba."""
    return isinstance(value, types.FunctionType) and not (value.__module__ or "").startswith("numba")


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names
