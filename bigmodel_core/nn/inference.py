"""How a built model predicts: its program, and a short way for arrays shaped as in the call before."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bigmodel_core.errors import UsageError
from bigmodel_core.graph import Value
from bigmodel_core.nn.trace import is_tracing
from bigmodel_core.ops.random import SEED

if TYPE_CHECKING:
    from bigmodel_core.nn.network import Network
    from bigmodel_core.plan.device import Plan


class _Before(NamedTuple):
    """What a call found out that holds for the next one, if its arrays are alike."""

    shapes: list[tuple[int, ...]]
    plan: weakref.ref[Plan]


class Inference:
    """The outputs of a model in inference mode, for arrays.

    Args:
        network: the model.
    """

    def __init__(self, network: Network) -> None:
        from bigmodel_core.plan import Program

        trace = network.trace(training=False)
        self._network, self._pack = weakref.ref(network), trace.form.pack
        self.program = Program(trace.graph, trace.outputs, device=network.device, keeps=True)
        self._names, self._dtypes = network.input_names, [np.dtype(spec.dtype) for spec in network.inputs]
        self._before: _Before | None = None

    def __call__(self, arrays: Sequence[Any]) -> Any:
        """The outputs for a batch, in the form that the model returns them.

        Raises:
            ShapeError, DtypeError, DataError: an array does not fit the input.
            UsageError: it is called inside another model.
        """
        before = self._before
        plan = before.plan() if before is not None and self._are_alike(arrays, before.shapes) else None
        if plan is not None:
            return self._pack(plan.run(dict(zip(self._names, arrays, strict=True))))
        if is_tracing() and any(isinstance(item, Value) for item in arrays):
            raise UsageError(
                "a built model was called on Values, inside a layer or a function.",
                fix="call the layer that it was built from: network.layer(x).",
            )
        network = self._network()
        assert network is not None
        given = network.check_inputs(arrays)
        program, drawing = self.program, network.drawing(self.program)
        plan = program.plan(network.variables, program.sizes({**given, **drawing}))
        if SEED not in program.inputs:
            self._before = _Before([given[name].shape for name in self._names], weakref.ref(plan))
        return self._pack(plan.run({**given, **drawing}))

    def _are_alike(self, arrays: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> bool:
        """Whether arrays need no conversion, and have these shapes."""
        if len(arrays) != len(shapes):
            return False
        for number, array in enumerate(arrays):
            if type(array) is not np.ndarray or array.dtype is not self._dtypes[number]:
                return False
            if array.shape != shapes[number]:
                return False
        return True
