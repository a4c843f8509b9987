"""Programs: the steps that compute some values of a graph, fused and in order, whatever the sizes and the
device."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from bigmodel_core.errors import GraphError, ShapeError
from bigmodel_core.graph import Constant, Graph, Input, Value, Variable, needed
from bigmodel_core.graph.spec import match
from bigmodel_core.plan.changes import Writer
from bigmodel_core.plan.device import USUAL_DEVICE, Device, Plan, check_dtypes
from bigmodel_core.plan.devices import device_named
from bigmodel_core.plan.growth import without_past
from bigmodel_core.plan.listing import PlannedStep
from bigmodel_core.plan.passes import Computation
from bigmodel_core.plan.results import kept, made_apart
from bigmodel_core.plan.schedule import ordered
from bigmodel_core.plan.values import root_of, unchanging
from bigmodel_core.plan.variables import Variables

MOST_PLANS = 64
"""Plans that a program keeps; of those for other sizes, the one that was used longest ago goes first."""


class Program:
    """The steps that compute outputs of a graph and new values of variables.

    Args:
        graph: the graph.
        outputs: values to read out.
        updates: new values of variables, by path; all are written after every read of the old values.
        guards: floats that must be finite, or the run stops before any variable changes.
        device: where it runs, or its name.
        is_exact: whether guards are looked at one by one, and new values of variables too; see `exact`.
        apart: whether each output has memory of its own, which is not that of an input.
        keeps: whether what depends on variables alone is computed anew only after one of them has changed,
            where the device can.
        settled: the names of free dimensions that are the same in all runs, since variables have them.

    Attributes:
        bodies: by the index of a node whose op runs a graph of its own, the program of that.
        read: the ids of the values that something reads; an op may have outputs beside them.
        dimensions: the names of the free dimensions of its inputs, in alphabetical order.
    """

    def __init__(
        self,
        graph: Graph,
        outputs: Sequence[Value],
        updates: Mapping[str, Value] | None = None,
        guards: Sequence[Value] = (),
        device: str | Device = USUAL_DEVICE,
        is_exact: bool = False,
        apart: bool = False,
        keeps: bool = False,
        settled: Collection[str] = (),
    ) -> None:
        self.device, self.is_exact, self.keeps = device_named(device), is_exact, keeps
        updates = dict(updates or {})
        for value in (*outputs, *updates.values(), *guards):
            graph.here(value)
        self._asked = graph, list(outputs), updates, list(guards)
        self._exact: Program | None = None
        if is_exact:
            guards = [*guards, *(value for value in updates.values() if value.spec.is_float)]
        asked = without_past(Computation(graph, list(outputs), updates, list(guards)))
        found = self.device.passes.rewritten(asked, self.device)
        self.graph, self.guards = found.graph, list(found.guards)
        graph = found.graph
        changing = {graph.variable(path, value.spec): value for path, value in found.updates.items()}
        self.updates = {
            variable: kept(graph, value, variable, changing) for variable, value in changing.items()
        }
        self.outputs = [kept(graph, value, None, changing) for value in found.outputs]
        if apart:
            self.outputs = made_apart(graph, self.outputs)
        roots = [*self.outputs, *self.updates.values(), *self.updates, *self.guards]
        self.nodes = needed(roots)
        self.read = {id(value) for value in (*roots, *(each for node in self.nodes for each in node.inputs))}
        check_dtypes(self.device, self.nodes)
        self.inputs = {node.op.name: node.outputs[0] for node in self.nodes if isinstance(node.op, Input)}
        self.variables = [node.outputs[0] for node in self.nodes if isinstance(node.op, Variable)]
        self.constants = [node.outputs[0] for node in self.nodes if isinstance(node.op, Constant)]
        bodies = {node.index: body for node in self.nodes if (body := node.op.inner()) is not None}
        self.bodies = {
            index: Program(body.graph, body.outputs, device=self.device, apart=True)
            for index, body in bodies.items()
        }
        self.unchanging = unchanging(self.nodes, found.updates, settled) if keeps else frozenset()
        self.writer = Writer(self)
        self.roots = {id(value): root_of(value) for node in self.nodes for value in node.outputs}
        self.steps = ordered(self)
        self._plans: OrderedDict[tuple[int, ...], Plan] = OrderedDict()
        self._lock = threading.Lock()
        # What only gives a size, such as the input of zeros_like, is read for it where it is passed.
        self._sized = {node.op.name: node.outputs[0] for node in graph.nodes if isinstance(node.op, Input)}
        self._composed = [
            name
            for name, value in self._sized.items()
            if any(isinstance(dim, str) and not dim.isidentifier() for dim in value.shape)
        ]
        self.dimensions = sorted({name for value in self._sized.values() for name in value.spec.names()})

    def root(self, value: Value) -> Value:
        """The value whose memory a value is: itself, or what it is a reshape of."""
        return self.roots[id(value)]

    def fork(self) -> Program:
        """The same program with plans, and a block of memory for them, of its own."""
        made = copy.copy(self)
        made._plans, made._lock, made._exact = OrderedDict(), threading.Lock(), None
        made.writer = Writer(made)
        return made

    def exact(self) -> Program:
        """The same computation where no bound is trusted, which is slower: the guards are looked at one by
        one, and so are all new values of variables before the first of them is written.

        A plan turns to it where numbers are so large that its gate can prove nothing.
        """
        with self._lock:
            if self._exact is None:
                self._exact = Program(*self._asked, device=self.device, is_exact=True)
            return self._exact

    def sizes(self, inputs: Mapping[str, np.ndarray]) -> dict[str, int]:
        """The sizes of named dimensions, from arrays.

        Raises:
            ShapeError: an input is missing or does not fit.
        """
        known: dict[str, int] = {}
        for name, value in self._sized.items():
            if name not in inputs and (name.startswith("~") or name not in self.inputs):
                continue
            if name not in inputs:
                raise ShapeError(f"the input '{name}' is missing.", fix=f"pass an array for '{name}'.")
            problem = match(value.shape, np.shape(inputs[name]), known)
            if problem:
                raise ShapeError(f"input '{name}': {problem}.")
        for name in self._composed:  # their names may have been bound by later inputs
            if name in inputs and (problem := match(self._sized[name].shape, np.shape(inputs[name]), known)):
                raise ShapeError(f"input '{name}': {problem}.")
        return known

    def plan(self, variables: Variables, sizes: Mapping[str, int]) -> Plan:
        """The plan for some sizes, kept for the next time; at most `MOST_PLANS` are."""
        key = (id(variables), *(sizes.get(name, -1) for name in self.dimensions))
        found = self._plans.get(key)
        if found is not None:
            with contextlib.suppress(KeyError):  # another thread's new plan may just have taken its place
                self._plans.move_to_end(key)
            return found
        self._check(variables, sizes)
        with self._lock:
            found = self._plans.get(key) or self.device.plan(self, sizes, variables)
            self._plans[key] = found
            while len(self._plans) > MOST_PLANS:
                self._plans.popitem(last=False)
            for other in [other for other, plan in self._plans.items() if plan.arena is not found.arena]:
                del self._plans[other]  # it would keep a block that has become too small alive
        return found

    def listing(self, batch_size: int, sizes: Mapping[str, int]) -> list[PlannedStep]:
        """The steps of a plan, their kernels and what was chosen; nothing is compiled and nothing runs.

        Args:
            batch_size: of every named dimension that `sizes` leaves out.
            sizes: of named dimensions.

        Raises:
            ShapeError: a size is not positive, or there is no such dimension.
        """
        for name, size in {"N": batch_size, **sizes}.items():
            if size < 1:
                raise ShapeError(f"the size of {name} is {size}.", fix="sizes are 1 or more.")
            if name not in self.dimensions and name in sizes:
                names = ", ".join(self.dimensions) or "none"
                raise ShapeError(f"there is no dimension {name}.", fix=f"the free dimensions are: {names}.")
        return self.device.listing(self, {**dict.fromkeys(self.dimensions, batch_size), **sizes})

    def _check(self, variables: Variables, sizes: Mapping[str, int]) -> None:
        for value in self.variables:
            path = value.node.op.path  # type: ignore[attr-defined]  # variables come from Variable ops
            found = variables.spec(path)
            if found != value.spec and found != value.spec.bind(sizes):
                raise GraphError(
                    f"the graph takes the variable for {value.spec}, but it is {found}.",
                    where=path,
                )

    def run(self, variables: Variables, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Compute the outputs (copies) and update the variables.

        Inputs whose names start with "~" (the seed, the step, the learning rate) are 0 unless given.

        Raises:
            NumericsError: a guard is not finite; no variable was changed.
            DataError: a label or index is out of range; no variable was changed.
        """
        return self.plan(variables, self.sizes(inputs)).run(inputs)
