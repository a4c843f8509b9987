"""The primitives of the graph, as functions on Values.

Each op is a class in one file of this folder with its shape rule, gradient and ONNX lowering; its kernels
are in files of the same name in `kernels/cpu` and `kernels/cuda`. Functions check arguments and apply ops;
those that a file lists in `__all__` are public here, and take
arrays and numbers where they say Value.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import GraphError
from bigmodel_core.ops.operands import public

if TYPE_CHECKING:  # the types of names that are collected below
    from bigmodel_core.ops.activations import *
    from bigmodel_core.ops.arithmetic import *
    from bigmodel_core.ops.attention import *
    from bigmodel_core.ops.batch_normalization import *
    from bigmodel_core.ops.comparison import *
    from bigmodel_core.ops.concatenation import *
    from bigmodel_core.ops.convolution import *
    from bigmodel_core.ops.creation import *
    from bigmodel_core.ops.ctc import *
    from bigmodel_core.ops.cumsum import *
    from bigmodel_core.ops.detection import *
    from bigmodel_core.ops.differentiation import *
    from bigmodel_core.ops.division import *
    from bigmodel_core.ops.dropout import *
    from bigmodel_core.ops.einsum import *
    from bigmodel_core.ops.functions import *
    from bigmodel_core.ops.gelu import *
    from bigmodel_core.ops.indexing import *
    from bigmodel_core.ops.linear import *
    from bigmodel_core.ops.local_response import *
    from bigmodel_core.ops.losses import *
    from bigmodel_core.ops.normalization import *
    from bigmodel_core.ops.padding import *
    from bigmodel_core.ops.pooling import *
    from bigmodel_core.ops.positions import *
    from bigmodel_core.ops.products import *
    from bigmodel_core.ops.random import *
    from bigmodel_core.ops.rearranging import *
    from bigmodel_core.ops.recurrent import *
    from bigmodel_core.ops.reduce import *
    from bigmodel_core.ops.resizing import *
    from bigmodel_core.ops.rolling import *
    from bigmodel_core.ops.rotary import *
    from bigmodel_core.ops.scan import *
    from bigmodel_core.ops.scatter import *
    from bigmodel_core.ops.shape import *
    from bigmodel_core.ops.sizes import *
    from bigmodel_core.ops.slicing import *
    from bigmodel_core.ops.softmax import *
    from bigmodel_core.ops.sorting import *
    from bigmodel_core.ops.special import *
    from bigmodel_core.ops.statistics import *
    from bigmodel_core.ops.updates import *

    def __getattr__(name: str) -> Any:
        """Public names of other files of this folder."""


def collected(modules: Iterable[ModuleType]) -> dict[str, Any]:
    """What modules list in `__all__`, by name, as it is offered: see `public`.

    Raises:
        GraphError: two of them list one name.
    """
    found: dict[str, Any] = {}
    homes: dict[str, str] = {}
    for module in modules:
        for name in getattr(module, "__all__", ()):
            if name in found:
                raise GraphError(
                    f"{homes[name]} and {module.__name__} both have an op '{name}'.",
                    fix="rename one of them.",
                )
            found[name], homes[name] = public(getattr(module, name), name), module.__name__
    return found


_PUBLIC = collected(
    [importlib.import_module(f"{__name__}.{file.name}") for file in pkgutil.iter_modules(__path__)]
)
globals().update(_PUBLIC)

__all__ = sorted(_PUBLIC)


def __dir__() -> list[str]:
    return __all__
