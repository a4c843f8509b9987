"""Numba's CUDA target: loaded on demand, with clear errors, and the way from plain functions to kernels.

Kernels are plain functions; helper functions they call need no decorator. On a device `Kernel` compiles them
at the first launch. In Numba's simulator (`NUMBA_ENABLE_CUDASIM=1`), which runs them as Python, functions of
`math` are replaced by NumPy's, which keep float32 and give NaN or infinity where Python would raise.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import DeviceError, KernelError

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
        self.name = function.__name__
        module = numba_cuda()
        form = _SimulatorForm(module) if simulated() else _DeviceForm(module)
        self.prepared = form.kernel(function)
        self.dispatcher = module.jit(self.prepared)

    def bound(
        self, blocks: tuple[int, ...], threads: int, stream: Any, arguments: Sequence[Any]
    ) -> Callable[[], None]:
        """A call without arguments that launches the kernel."""
        if simulated():

            def simulate() -> None:
                with warnings.catch_warnings():
                    warnings.simplefilter(
                        "ignore", RuntimeWarning
                    )  # overflow and division by zero, silent on devices
                    self.dispatcher[blocks, threads, stream](*arguments)

            return simulate
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Numba finds grids of few blocks worth a warning
            configured = self.dispatcher[blocks, threads, stream]

        def launch() -> None:
            try:
                configured(*arguments)
            except Exception as error:
                raise self._failure(error) from error

        return launch

    def _failure(self, error: Exception) -> Exception:
        from numba.core.errors import NumbaError

        if not isinstance(error, NumbaError) and not type(error).__module__.startswith("numba"):
            return error
        return KernelError(
            f"the CUDA kernel '{self.name}' cannot be compiled or launched: {error}",
            fix="use numbers, arrays, loops, branches, `math`, `numba.cuda` and plain helper functions.",
        )


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
        share_arrays_of_blocks()
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
        return _simulated_math().get(id(value), value)


class _Current:
    """The simulated `cuda` module of the current launch."""

    namespace: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.namespace["cuda"], name)


@functools.cache
def share_arrays_of_blocks() -> None:
    """Give the threads of a simulated block one and the same shared array.

    The simulator looks an array up by the line that asks for it and makes it if there is none, in two
    steps: two threads that ask at the same moment get an array each, and never see what the other writes.
    """
    from numba.core import types as numba_types
    from numba.cuda.simulator.kernelapi import FakeCUDAShared
    from numba.np import numpy_support

    in_two_steps = FakeCUDAShared.array

    def array(self: Any, shape: Any, dtype: Any) -> np.ndarray:
        if shape == 0:  # dynamic shared memory, made with the block
            return in_two_steps(self, shape, dtype)
        asking = sys._getframe(1)
        number = numpy_support.as_dtype(dtype) if isinstance(dtype, numba_types.Type) else dtype
        line = asking.f_code.co_filename, asking.f_lineno
        return self._allocations.setdefault(line, np.empty(shape, number))

    FakeCUDAShared.array = array


@functools.cache
def _simulated_math() -> dict[int, Any]:
    return {id(getattr(math, name)): function for name, function in simulated_functions().items()}


@functools.cache
def simulated_functions() -> dict[str, Callable[..., Any]]:
    """Functions of `math` by name, that keep float32 and never raise."""

    def typed(function: Callable[[float], float]) -> Callable[[Any], Any]:
        return lambda x: np.asarray(x).dtype.type(function(float(x)))

    same: tuple[str, ...] = (
        "exp",
        "expm1",
        "log",
        "log1p",
        "log2",
        "log10",
        "sqrt",
        "sin",
        "cos",
        "tan",
        "sinh",
    )
    same += ("cosh", "tanh", "floor", "ceil", "trunc", "fabs", "fmod", "copysign")
    other = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"}
    other |= {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "pow": "power"}
    found: dict[str, Callable[..., Any]] = {
        name: getattr(np, other.get(name, name)) for name in (*same, *other)
    }
    return found | {"erf": typed(math.erf), "erfc": typed(math.erfc)}


def _is_helper(value: Any) -> bool:
    """Whether a value is a plain function of somebody's, not one that stands for an instruction in Numba."""
    return isinstance(value, types.FunctionType) and not (value.__module__ or "").startswith("numba")


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names
