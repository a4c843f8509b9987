"""A built model: a layer, the specs of its inputs, and the parameters that belong to them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from bigmodel_core.data.source import Source
from bigmodel_core.errors import DtypeError, GraphError, ShapeError, UnknownParameterError, UsageError
from bigmodel_core.graph import Graph
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS
from bigmodel_core.graph.spec import Dim, Spec
from bigmodel_core.nn import initializers
from bigmodel_core.nn.calling import check_count, wrong_count
from bigmodel_core.nn.fitting import check_fits, check_spec, checked, input_spec, of_samples
from bigmodel_core.nn.habits import ADVICE
from bigmodel_core.nn.outputs import taken_apart
from bigmodel_core.nn.parameters import KnownInputs, Owned, Parameter, claimed
from bigmodel_core.nn.states import LoadReport, fitting
from bigmodel_core.nn.trace import Trace
from bigmodel_core.ops.carried import without_past
from bigmodel_core.ops.random import SEED, STEP

if TYPE_CHECKING:
    from bigmodel_core.data.encoding import Encoding
    from bigmodel_core.nn.inference import Inference
    from bigmodel_core.nn.layer import Layer
    from bigmodel_core.nn.session import Session
    from bigmodel_core.nn.summary import Summary
    from bigmodel_core.plan import Program, Variables
    from bigmodel_core.plan.listing import PlannedStep


class Network:
    """A built model.

    Args:
        layer: the definition.
        inputs: the spec of each input; named dimensions stay free.
        seed: the first values of the parameters that are drawn are a function of it and of their paths.
        draws_anew: whether it draws all of them, and not only those that the layers do not have yet.
        dtype: the number type of parameters, "float32" or "float64".
        device: "cpu" or "cuda".
        is_explicit: whether parameters that do not fit are converted or drawn anew; else they are an error.

    Raises:
        ShapeError, DtypeError: the layers do not fit together; the message names the layer.
        ConfigError: the seed is no integer.
    """

    def __init__(
        self,
        layer: Layer,
        inputs: Sequence[Spec],
        *,
        seed: int = 0,
        draws_anew: bool = False,
        dtype: str = "float32",
        device: str = "cpu",
        is_explicit: bool = True,
    ) -> None:
        from bigmodel_core.plan import device_named

        if dtype not in COMPUTED_FLOATS:
            raise DtypeError(
                f"a model cannot have parameters of type {dtype!r}.",
                fix=f"use {' or '.join(map(repr, COMPUTED_FLOATS))}.",
            )
        if not inputs:
            raise GraphError(
                "a model needs at least one input.", fix="pass a Spec or an array for each input."
            )
        check_count(layer, len(inputs))
        self.layer, self.inputs, self.dtype = layer, tuple(inputs), dtype
        self.seed = initializers.check_seed(seed)
        self.device = device_named(device)
        self.encoding: Encoding | None = None
        """How the data it was trained on became numbers; a `Trainer` writes it down."""
        self._variables: Variables | None = None
        self._lock = threading.RLock()
        self._calls = itertools.count(1)
        self._traces: dict[bool, Trace] = {}
        self._programs: dict[Any, Any] = {}
        self._resized: dict[tuple[Spec, ...], Network] = {}
        trace = self.trace(training=True)
        self.parameters: dict[str, Parameter] = dict(trace.parameters)
        for path, parameter in self.trace(training=False).parameters.items():
            if self.parameters.setdefault(path, parameter).spec != parameter.spec:
                raise ShapeError(
                    f"it is {self.parameters[path].spec} in training and {parameter.spec} in inference.",
                    fix="a layer made in one mode only shifts the names after it: hold the layers as fields.",
                    where=path,
                )
        owners = {**self.trace(training=False).owners, **trace.owners}
        self.owned: dict[str, Owned] = claimed(
            self,
            {path: (*owners[path], parameter) for path, parameter in self.parameters.items()},
            initializers.draw,
            draws_anew=draws_anew,
            is_explicit=is_explicit,
        )
        for inner, specs in trace.layers.values():
            if specs and inner is not layer and "_known_inputs" not in inner.__dict__:
                object.__setattr__(inner, "_known_inputs", KnownInputs.met(specs))

    @property
    def variables(self) -> Variables:
        """The parameters' memory: taken, and filled with their first values, when it is first asked for.

        Raises:
            OutOfMemoryError: they need more than there is.
        """
        if self._variables is None:
            with self._lock:
                if self._variables is None:
                    self._variables = self._drawn()
        return self._variables

    def _drawn(self) -> Variables:
        from bigmodel_core.plan import Variables
        from bigmodel_core.plan.capacity import refused_politely

        sizes = {path: owned.spec.nbytes for path, owned in self.owned.items() if not owned.is_stored}
        found = Variables(self.device)
        largest = max(sizes, key=lambda path: sizes[path], default=None)
        with refused_politely(
            sum(sizes.values()), "the model's parameters need", "use smaller layers.", largest
        ):
            for path, owned in self.owned.items():
                found.add(path, owned.stored())
        return found

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs: "x", or those of the arguments of `__call__` if there are several."""
        if len(self.inputs) == 1:
            return ("x",)
        return self.layer._argument_names(len(self.inputs))

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs: the keys of a dict, the fields of a named tuple, else "y", or "y_1",
        "y_2" if there are several."""
        trace = self.trace(training=False)
        return trace.form.names_of(len(trace.outputs))

    def __repr__(self) -> str:
        named, count = (
            type(self.layer).__name__,
            sum(int(item.spec.size) for item in self.parameters.values()),
        )
        ports = f"{', '.join(map(repr, self.inputs))} to {', '.join(map(repr, self.outputs))}"
        return f"<Network of {named}: {ports}, {count:,} parameters, {self.device.name}>"

    if not TYPE_CHECKING:  # type checkers go on finding names that do not exist

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):  # what Python and libraries look for
                raise AttributeError(name)
            raise UnknownParameterError(
                f"a built model has no attribute '{name}'.",
                fix=ADVICE.get(name) or "its layer is model.layer, and model.state() has its parameters.",
            )

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "a built model is not copied or pickled.",
            fix="copy its layer, which has the parameters: bm.clone(network.layer).",
        )

    def summary(self, batch_size: int = 1) -> Summary:
        """Print the layers with shapes, parameters and multiply-adds, as `bigmodel info` does.

        Args:
            batch_size: batch size of the prediction whose memory is shown.

        Returns:
            What was printed: `str()` of it is the text, its fields are the numbers.
        """
        from bigmodel_core.nn.summary import summarise

        found = summarise(self, batch_size)
        print(found)
        return found

    def trace(self, training: bool) -> Trace:
        """The graph in one mode; traced once."""
        if training not in self._traces:
            self._traces[training] = self.traced_into(Graph(), training)
        return self._traces[training]

    def traced_into(self, graph: Graph, training: bool, frozen: frozenset[str] = frozenset()) -> Trace:
        """The model added to a graph, for instance that of a training step.

        Args:
            graph: the graph.
            training: whether layers behave as in training.
            frozen: the paths of layers that behave as in inference all the same.
        """
        trace = Trace(graph, training, self.dtype, frozen=frozen)
        with trace.active():
            trace.inputs = tuple(
                graph.input(name, spec) for name, spec in zip(self.input_names, self.inputs, strict=True)
            )
            result = self.layer(*trace.inputs)
        trace.form, trace.outputs = taken_apart(result, type(self.layer).__name__)
        return trace

    @property
    def outputs(self) -> tuple[Spec, ...]:
        """The specs of the outputs of a call, which no other went before."""
        return tuple(without_past(value.spec) for value in self.trace(training=False).outputs)

    def output_spec(self, *inputs: Any) -> Any:
        """The spec of the output for inputs of some specs, checked against the model's own; of several
        outputs their specs, in the form that the model returns them."""
        known: dict[str, int] = {}
        for name, item, spec in self._paired(inputs):
            check_spec(name, input_spec(item, self.dtype), spec, known)
        found = self.outputs if not known else tuple(_partly(spec, known) for spec in self.outputs)
        return self.trace(training=False).form.pack(found)

    # Parameters ------------------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """Copies of the parameters, by path."""
        return {path: self.variables.read(path) for path in self.parameters}

    def load_state(self, state: Mapping[str, np.ndarray], *, partial: bool = False) -> LoadReport:
        """Set the parameters; all of them, with their shapes, or nothing changes.

        Args:
            state: arrays by path.
            partial: whether to set those that fit, and leave the others as they are.

        Raises:
            ShapeError, DtypeError, DataError: the state does not fit; with `partial`, nothing in it does.
        """
        found, report = fitting(state, self._specs(), partial)
        for path, array in found.items():
            self.variables.write(path, array)
        return report

    def check_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Raise as `load_state` would; nothing changes."""
        fitting(state, self._specs(), partial=False)

    def _specs(self) -> dict[str, Spec]:
        return {path: parameter.spec for path, parameter in self.parameters.items()}

    # Inference -------------------------------------------------------------------------------------------

    def __call__(self, *arrays: Any) -> Any:
        """The outputs for a batch, in inference mode: NumPy in, NumPy out.

        Raises:
            ShapeError, DtypeError: an array does not fit the input.
            UsageError: it is called inside another model; there, layers are called.
        """
        return self._inference()(arrays)

    def drawing(self, program: Program) -> dict[str, Any]:
        """What a program of inference draws random numbers by, if it does: no two calls draw the same, and
        none what a training step draws."""
        return {SEED: self.seed, STEP: -next(self._calls)} if SEED in program.inputs else {}

    def _inference(self) -> Inference:
        """How it predicts, made once."""
        found: Inference | None = self._programs.get("predict")
        if found is None:
            from bigmodel_core.nn.inference import Inference

            found = self.made_once("predict", lambda: Inference(self))
        return found

    def session(
        self, batch_size: int | None = None, capacity: int | None = None, fixed: Sequence[Any] = ()
    ) -> Session:
        """Calls that follow each other, with what layers carry; see `Layer.session`."""
        from bigmodel_core.nn.session import Session

        return Session(self, batch_size, capacity, tuple(fixed))

    def session_programs(self, capacity: int = 0, fixed: int = 0) -> Any:
        """What its sessions run, made once; see `Programs.of`."""
        from bigmodel_core.nn.session_programs import Programs

        return self.made_once(("session", capacity, fixed), lambda: Programs.of(self, capacity, fixed))

    def made_once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What belongs to the model and is kept with it, such as a program, by a key."""
        with self._lock:
            if key not in self._programs:
                self._programs[key] = make()
            return self._programs[key]

    def for_inputs(self, inputs: tuple[Spec, ...]) -> Network:
        """The same model, with the same parameters, for inputs of other fixed sizes; made once.

        Raises:
            ShapeError: the layers or their parameters do not fit them.
        """
        from bigmodel_core.nn.session_programs import MOST_SIZES

        with self._lock:
            found = self._resized.get(inputs)
            if found is None:
                settings: dict[str, Any] = {
                    "seed": self.seed,
                    "dtype": self.dtype,
                    "device": self.device.name,
                }
                found = self._resized[inputs] = Network(self.layer, inputs, is_explicit=False, **settings)
                if len(self._resized) > MOST_SIZES:
                    del self._resized[next(iter(self._resized))]
            return found

    def kernels(self, batch_size: int = 1, **sizes: int) -> list[PlannedStep]:
        """The steps that a prediction runs on the CPU, in order, with what was chosen for their shapes.

        Choices follow from shapes and the processor's vector unit alone; nothing is compiled and nothing
        runs. `bm.compile(...).kernels()` lists those of a training step.

        Args:
            batch_size: samples of the prediction; the size of every named dimension not in `sizes`.
            sizes: sizes of named dimensions, as in T=50.

        Raises:
            ShapeError: a size is not positive, or there is no such dimension.
            DeviceError: the model is on another device.

        >>> import bigmodel_core as bm
        >>> model = bm.Sequential(bm.layers.Dense(8), bm.layers.Relu(), bm.layers.Dense(3))
        >>> steps = model.build(bm.Spec(("N", 4))).kernels(batch_size=10)
        >>> [(step.op, step.path, step.multiply_adds) for step in steps]
        [('Affine', 'dense_1', 320), ('Affine', 'dense_2', 240)]
        >>> steps[0].kernels[0].epilogue
        'Relu'
        """
        found: list[PlannedStep] = self._inference().program.listing(batch_size, sizes)
        return found

    def check_inputs(
        self, arrays: Sequence[Any], known: dict[str, int] | None = None
    ) -> dict[str, np.ndarray]:
        """Arrays by input name, converted if nothing is lost.

        Args:
            arrays: one an input.
            known: gets the sizes of named dimensions.

        Raises:
            ShapeError, DtypeError, DataError: an array does not fit the input.
        """
        known = {} if known is None else known
        return {name: checked(name, array, spec, known) for name, array, spec in self._paired(arrays)}

    def check_samples(self, inputs: Sequence[np.ndarray | Source]) -> tuple[np.ndarray | Source, ...]:
        """Samples for each input, converted if nothing is lost; what is read later is not read now.

        Raises:
            ShapeError, DtypeError: some do not fit the input.
        """
        known: dict[str, int] = {}
        found: list[np.ndarray | Source] = []
        for name, samples, own in self._paired(inputs):
            spec = of_samples(own)
            if isinstance(samples, Source):
                check_fits(name, samples, spec, known)
                found.append(samples if samples.dtype == spec.dtype else samples.astype(spec.dtype))
            else:
                found.append(checked(name, samples, spec, known))
        return tuple(found)

    def _paired(self, arrays: Sequence[Any]) -> list[tuple[str, Any, Spec]]:
        """Each input's name, what was given for it, and its spec."""
        if len(arrays) != len(self.inputs):
            raise wrong_count(self.layer, self.input_names, len(arrays))
        return list(zip(self.input_names, arrays, self.inputs, strict=True))


def _partly(spec: Spec, known: Mapping[str, int]) -> Spec:
    from bigmodel_core.graph.spec import dim_names, dim_value

    shape: list[Dim] = [dim_value(dim, known) if dim_names(dim) <= set(known) else dim for dim in spec.shape]
    return spec.with_shape(shape)
