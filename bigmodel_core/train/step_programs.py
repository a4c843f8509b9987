"""The programs of a training step: all of it as one, or its two halves, each made when first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.nn.patterns import layers_within, matching
from bigmodel_core.nn.trace import Trace
from bigmodel_core.plan import Program
from bigmodel_core.train.by_output import Losses
from bigmodel_core.train.measured import Measured, measured, warn_of_probabilities
from bigmodel_core.train.objective import Goal
from bigmodel_core.train.teacher import Teacher
from bigmodel_core.train.updates import AVERAGE, STATE, Groups, Updates, updates_of

GRADIENT = "~gradient/"
"""What the names of graph inputs that hold gradients start with."""
WEIGHT, KEEP = "~weight", "~keep"
"""The graph inputs of accumulation: how many samples a batch has, whether it adds to others."""


def sum_of(term: int, path: str) -> str:
    """The path of the added-up gradients of a parameter, those of one term of the loss."""
    return f"~sum/{term}/{path}"


def scale_of(term: int) -> str:
    """The graph input that the added-up gradients of a term of the loss are multiplied with."""
    return f"~scale/{term}"


Name = Literal["step", "gradients", "terms", "accumulate", "apply", "apply_sum"]


@dataclass
class Differentiated:
    """The first half of a step as a graph: the model in training, the loss, and its gradients.

    Args:
        graph: the graph.
        trace: the model in it.
        loss: the loss.
        measured: the same, with the losses that it is the sum of.
        terms: what it is the sum of, apart where it counts differently, each with what the batch counts in
            it; None for what counts by samples.
        trained: the parameters that the step changes, by path.
        gradients: theirs.
        assigned: the new values of parameters that layers assign, such as running statistics.
    """

    graph: Graph
    trace: Trace
    loss: Value
    measured: Measured
    terms: list[tuple[Value, Value | None]]
    trained: dict[str, Value]
    gradients: dict[str, Value]
    assigned: dict[str, Value]

    def gradients_of(self, term: Value) -> dict[str, Value]:
        """The gradients of a term of the loss, by path."""
        if term is self.loss:
            return self.gradients
        return dict(zip(self.trained, gradients(term, list(self.trained.values())), strict=True))

    def watched(self) -> dict[str, Value]:
        """What must be finite, by what it is called."""
        found = {"the loss": self.loss}
        found.update({f"the gradient of '{path}'": value for path, value in self.gradients.items()})
        found.update({f"the new value of '{path}'": value for path, value in self.assigned.items()})
        return found


@dataclass
class StepProgram:
    """A part of a step that runs as one, with what it must not give NaN or infinity for, by name."""

    program: Program
    watched: dict[str, Value]


class StepPrograms:
    """The programs of a step.

    Args:
        network: the model.
        loss: the loss.
        optimizer: the optimizer; of a schedule nothing is baked in.
        goal: what targets and weights look like.
        freeze: patterns of parameters that stay as they are.
        only: patterns of the only parameters that change; None for all.
        averages: whether averages of the parameters are kept.
        teacher: whose scores are learned, too.

    Raises:
        GraphError: nothing is left to train.
        UnknownNameError: a pattern matches no parameter.

    Warns:
        BigmodelWarning: the loss makes probabilities of what are probabilities already.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | Losses,
        optimizer: Optimizer,
        goal: Goal,
        *,
        freeze: Sequence[str] = (),
        only: Sequence[str] | None = None,
        averages: bool = False,
        teacher: Teacher | None = None,
    ) -> None:
        self.network, self.loss, self.optimizer, self.goal = network, loss, optimizer, goal
        self.averages, self.teacher = averages, teacher
        if teacher is not None:
            teacher.check(network, loss, network.encoding)
        paths = list(network.parameters)
        self._frozen = set(matching(freeze, paths, "freeze"))
        self._kept = set(self._frozen)
        """The paths of parameters that the step does not change, statistics included."""
        if only is not None:
            self._kept |= set(paths) - set(matching(only, paths, "only"))
        optimizer.check_groups(paths)
        self.shares: dict[str, float] = {}
        """What the losses of outputs are called in logs, and multiplied with in the sum."""
        self.counted: list[str] = []
        """Those in which a batch counts by a sum of its own; "" for one loss that is all."""
        self.terms = 0
        """How many terms the loss has that count differently: by samples, or each by a sum of its own."""
        self._fresh: Differentiated | None = self._differentiated()
        warn_of_probabilities(loss, self._fresh.trace)
        self._assigned = list(self._fresh.trace.updates)
        self.groups = Groups(optimizer, {path: value.spec for path, value in self._fresh.trained.items()})
        self._states: dict[str, dict[str, Spec]] = {path: {} for path in self.groups.trained}
        self._programs: dict[Name, StepProgram] = {}

    def first_arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """What the step keeps besides the model's parameters, before it runs, by path.

        Raises:
            OutOfMemoryError: it needs more than there is.
        """
        for path, name, array in self.groups.first_states(self.optimizer):
            self._states[path][name] = Spec(array.shape, array.dtype.name)
            yield f"{STATE}/{name}/{path}", array
        for path in self.groups.trained if self.averages else ():
            yield f"{AVERAGE}/{path}", self.network.variables.read(path)

    @property
    def frozen_layers(self) -> frozenset[str]:
        """The paths of layers that compute as in inference."""
        return layers_within(self._frozen, self.network.parameters)

    def take_goal(self, goal: Goal) -> None:
        """Go on with targets and weights of another kind: the programs are made anew."""
        self.goal, self._fresh = goal, None
        self._programs.clear()

    def check_samples_apart(self) -> None:
        """Raise unless a sample's gradient is its own: no layer takes statistics of the batch.

        Raises:
            GraphError: one does, as batch normalisation in training; or batches have a fixed size.
        """
        for spec in self.network.inputs:
            if spec.ndim and isinstance(spec.shape[0], int) and spec.shape[0] != 1:
                raise GraphError(
                    f"the model takes batches of {spec.shape[0]} only, so a sample alone has no gradient.",
                    fix='build it with a free first dimension, such as "N".',
                )
        for path in self._assigned:
            raise GraphError(
                "it takes statistics of the batch, so that a sample has no gradient of its own.",
                where=path.rpartition("/")[0],
                fix="use GroupNorm or LayerNorm, or freeze the layer with its statistics.",
            )

    def __getitem__(self, name: Name) -> StepProgram:
        if name not in self._programs:
            make = {
                "step": self._whole,
                "gradients": self._first,
                "terms": self._first_by_terms,
                "accumulate": self._adding,
                "apply": self._second_of_given,
                "apply_sum": self._second_of_sum,
            }[name]
            self._programs[name] = make()
        return self._programs[name]

    # First half: the loss and its gradients --------------------------------------------------------------

    def _differentiated(self) -> Differentiated:
        """A graph of its own with the first half of the step."""
        network, kept, graph = self.network, self._kept, Graph()
        trace = network.traced_into(graph, training=True, frozen=self.frozen_layers)
        found_loss = measured(self.loss, trace, self.goal)
        if self.teacher is not None:
            found_loss = self.teacher.taught(found_loss, trace, self.loss)
        loss = found_loss.loss
        if unknown := [path for path in trace.parameters if path not in network.parameters]:
            raise GraphError(
                f"the loss asks for the parameter '{unknown[0]}', which the model has not.",
                fix="call the layer in the model's __call__, too, and return what the loss needs.",
                where="loss",
            )
        trained = {
            path: value
            for path, value in trace.values.items()
            if trace.parameters[path].trainable and path not in kept
        }
        if not trained:
            raise GraphError(
                "the model has no trainable parameters, so a training step would change nothing.",
                fix="freeze fewer parameters, or name others in `only`."
                if kept
                else "add a layer with parameters, or mark parameters as trainable.",
                where=type(network.layer).__name__,
            )
        found = dict(zip(trained, gradients(loss, list(trained.values())), strict=True))
        assigned = {path: value for path, value in trace.updates.items() if path not in kept}
        with graph.active(), graph.scope("loss", ""):
            terms = found_loss.terms()
        self.shares, self.counted, self.terms = found_loss.shares, list(found_loss.counted), len(terms)
        return Differentiated(graph, trace, loss, found_loss, terms, trained, found, assigned)

    def _first_half(self) -> Differentiated:
        found, self._fresh = self._fresh or self._differentiated(), None
        return found

    def _updates(
        self, graph: Graph, trained: Mapping[str, Value], found: Mapping[str, Value]
    ) -> tuple[Updates, list[Value]]:
        """The update, added to a graph, and what of it must be finite before anything is written."""
        with graph.active(), graph.scope("optimizer", type(self.optimizer).__name__):
            updates = updates_of(
                graph,
                self.optimizer,
                self.groups,
                self._states,
                trained,
                found,
                self.network.dtype,
                averages=self.averages,
            )
            return updates, [*updates.rates.values(), *self.optimizer.guards(found)]

    def _whole(self) -> StepProgram:
        half = self._first_half()
        updates, guards = self._updates(half.graph, half.trained, half.gradients)
        watched = {"the loss": half.loss, **_named(updates), **half.watched(), **_new(updates)}
        guards = [half.loss, *guards, *half.assigned.values()]
        results = [half.loss, *half.measured.noted()]
        return self._program(half.graph, results, {**updates.new, **half.assigned}, guards, watched)

    def _first(self) -> StepProgram:
        half = self._first_half()
        found = [half.loss, *half.gradients.values()]
        guards = [*found, *half.measured.parts.values(), *half.assigned.values()]
        results = [*found, *half.measured.noted()]
        return self._program(half.graph, results, half.assigned, guards, half.watched())

    def _first_by_terms(self) -> StepProgram:
        half = self._first_half()
        results: list[Value] = []
        with half.graph.active():
            weight = half.graph.input(WEIGHT, Spec((), "float64"))
            for term, counted in half.terms:
                count = weight if counted is None else counted.astype("float64")
                results += [term, count, *half.gradients_of(term).values()]
        guards = [*results, *half.assigned.values()]
        return self._program(half.graph, results, half.assigned, guards, half.watched())

    def _adding(self) -> StepProgram:
        half = self._first_half()
        graph, sums, counts = half.graph, dict[str, Value](), list[Value]()
        with graph.active(), graph.scope("accumulation", ""):
            weight, keep = (graph.input(name, Spec((), "float64")) for name in (WEIGHT, KEEP))
            for number, (term, counted) in enumerate(half.terms):
                counts.append(weight if counted is None else counted.astype("float64"))
                for path, value in half.gradients_of(term).items():
                    before = graph.variable(sum_of(number, path), value.spec)
                    share = value * counts[-1].astype(value.dtype)
                    sums[sum_of(number, path)] = before * keep.astype(value.dtype) + share
        guards = [half.loss, *sums.values(), *half.assigned.values()]
        results = [half.loss, *counts, *half.measured.noted()]
        return self._program(graph, results, {**sums, **half.assigned}, guards, half.watched())

    # Second half: the update -----------------------------------------------------------------------------

    def _second_of_given(self) -> StepProgram:
        graph = Graph()
        return self.second_half(
            graph,
            {path: graph.input(GRADIENT + path, spec) for path, spec in self.groups.trained.items()},
        )

    def _second_of_sum(self) -> StepProgram:
        graph, found = Graph(), dict[str, Value]()
        for number in range(self.terms):
            scale = graph.input(scale_of(number), Spec((), "float64"))
            for path, spec in self.groups.trained.items():
                mean = graph.variable(sum_of(number, path), spec) * scale.astype(spec.dtype)
                found[path] = found[path] + mean if path in found else mean
        return self.second_half(graph, found)

    def second_half(self, graph: Graph, found: Mapping[str, Value]) -> StepProgram:
        """The update with gradients that are values of a graph, by path."""
        trained = {path: graph.variable(path, spec) for path, spec in self.groups.trained.items()}
        updates, guards = self._updates(graph, trained, found)
        watched = {f"the gradient of '{path}'": value for path, value in found.items()}
        return self._program(graph, [], updates.new, guards, {**_named(updates), **watched, **_new(updates)})

    def _program(
        self,
        graph: Graph,
        outputs: Sequence[Value],
        updates: Mapping[str, Value],
        guards: Sequence[Value],
        watched: dict[str, Value],
    ) -> StepProgram:
        guards = [value for value in guards if value.spec.is_float]
        return StepProgram(Program(graph, outputs, updates, guards, device=self.network.device), watched)


def _named(updates: Updates) -> dict[str, Value]:
    """The learning rates, by what they are called."""
    return {
        "the learning rate" + (f" ({name.partition('/')[2]})" if "/" in name else ""): value
        for name, value in updates.rates.items()
    }


def _new(updates: Updates) -> dict[str, Value]:
    return {f"the new value of '{path}'": value for path, value in updates.new.items()}
