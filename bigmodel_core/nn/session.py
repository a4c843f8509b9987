"""Sessions: calls of a model that follow each other, and the state that layers carry from one to the next."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import DataError, ShapeError, UsageError
from bigmodel_core.graph.spec import Spec, dim_value, format_shape
from bigmodel_core.nn.fitting import checked
from bigmodel_core.nn.session_programs import INDICES, MOST_SIZES, Programs
from bigmodel_core.nn.session_sizes import fixed_sizes, resized, samples_of, shapes_of, steps_of
from bigmodel_core.nn.states import check_paths, fitting_state
from bigmodel_core.ops.carried import PAST

if TYPE_CHECKING:
    from bigmodel_core.nn.network import Network
    from bigmodel_core.plan import Program, Variables
    from bigmodel_core.plan.listing import PlannedStep

FILLED = "~filled"
"""The input of the programs that says how many steps are remembered; see `plan/growth.py`."""

FIRST_ROOM = 64
"""The steps for which a session of no stated capacity takes memory first."""


@dataclass(eq=False)
class Session:
    """Calls of a model that follow each other; `model.session()` makes one.

    It is called like the model, and shares its parameters: what training changes, it sees. What layers carry
    stays on the device from call to call, and is the session's own.

    Args:
        network: the built model.
        batch_size: of all calls; that of the first if None.
        capacity: how many steps attention can look back on; None takes memory as it is needed.
        fixed: arrays for the last inputs, which stay the same in all calls.

    Attributes:
        filled: how many steps it has to look back on.
    """

    network: Network
    batch_size: int | None = None
    capacity: int | None = None
    fixed: tuple[np.ndarray, ...] = ()
    filled: int = field(default=0, init=False)
    _others: dict[tuple[int, ...], tuple[Network, Programs]] = field(default_factory=dict, repr=False)
    _variables: Variables | None = field(default=None, repr=False)
    _is_torn: bool = field(default=False, repr=False)
    _lock: Any = field(default_factory=threading.RLock, repr=False)

    def __post_init__(self) -> None:
        if self.capacity is not None and (not isinstance(self.capacity, int) or self.capacity < 1):
            raise ShapeError(f"the capacity of a session is {self.capacity!r}, expected 1 or more steps.")
        self._room = self.capacity or FIRST_ROOM
        if self.fixed:
            self._check_fixed()
        self._own: Programs = self._programs(self.network)
        if self.batch_size is not None:
            self._begin(self.batch_size)

    def __call__(self, *arrays: Any) -> Any:
        """The outputs for a batch, in inference mode: NumPy in, NumPy out.

        Sizes other than the batch's may differ from call to call, also where the model was built for fixed
        ones: a model that learned from 20 steps answers step by step.

        Raises:
            ShapeError, DtypeError: an array does not fit the input, or the batch is not the session's.
            DataError: a label, index or position is out of range.
        """
        return self._run_call(arrays, is_read=False)

    def read(self, *arrays: Any) -> None:
        """Take a batch as a call does, without outputs: what only they need is not computed, such as the
        scores of the tokens of a prompt but its last.

        Raises:
            ShapeError, DtypeError, DataError: as a call.
        """
        self._run_call(arrays, is_read=True)

    def reset(self) -> None:
        """Let all states begin anew; the batch size stays."""
        with self._lock:
            self.filled = 0
            if self._variables is not None:
                self._run(self._own.reset, {})
                for path, axis in self._own.growing.items():
                    if self._own.states[path].dtype == "bool":  # false behind what is there
                        self._variables.write(path, self._padded(path, axis, None))
                self._is_torn = False

    def copy(self, indices: Any = None) -> Session:
        """A session that goes on from the same state, on its own.

        Args:
            indices: the samples of the batch that it goes on from, some perhaps several times, as beam search
                follows several texts after one prompt; all if None.

        Raises:
            DataError: an index is out of range.
            UsageError: there are indices, but no state yet.
        """
        if indices is None:
            made = Session(self.network, self.batch_size, self.capacity, self.fixed)
            if self._variables is not None:
                made.load_state(self.state())
        else:
            taken, own = self._indices(indices), self._own
            state = samples_of(self.state(), own.states, own.batch, taken)
            fixed = samples_of(dict(zip(own.fixed, self.fixed, strict=True)), own.fixed, own.batch, taken)
            made = Session(self.network, len(taken), self.capacity, tuple(fixed.values()))
            made.load_state(state)
        made._is_torn = self._is_torn
        return made

    def reorder(self, indices: Any) -> None:
        """Let each sample go on from the state of another, as beam search does; fixed inputs stay.

        Args:
            indices: for each sample of the batch, the one whose state it takes over; some may be taken
                twice, others not at all.

        Raises:
            DataError: the indices are not as many as the batch, or out of its range.
            UsageError: there is no state yet.
        """
        found = self._indices(indices, self._size())
        with self._lock:
            self._run(self._own.reorder, {INDICES: found})

    def state(self) -> dict[str, np.ndarray]:
        """Copies of what is carried, by path; of what grows, as much as there is.

        Raises:
            UsageError: there is no state yet.
        """
        self._size()
        with self._lock:
            return self._state()

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Set what is carried; all of it, with its shapes, or nothing changes.

        Args:
            state: arrays by path, as `state()` gives them.

        Raises:
            UsageError: it is no mapping.
            ShapeError, DtypeError, DataError: the state does not fit the session.
        """
        programs = self._own
        check_paths(state, programs.states, "session")
        size = self.batch_size
        for path, spec in programs.states.items():
            shape = np.shape(state[path])
            if size is None and programs.batch in spec.shape and len(shape) == spec.ndim:
                size = shape[spec.shape.index(programs.batch)]
        bound = {path: spec.bind(programs.sizes(size or 1)) for path, spec in programs.states.items()}
        filled = steps_of(state, programs.growing)
        for path, axis in programs.growing.items():
            shape = bound[path].shape
            bound[path] = bound[path].with_shape((*shape[:axis], filled, *shape[axis + 1 :]))
        found = {path: fitting_state(path, state[path], spec) for path, spec in bound.items()}
        with self._lock:
            self._begin(size or 1)
            assert self._variables is not None
            self.filled = 0
            self._room_for(filled)
            self._write(found)
            self.filled, self._is_torn = filled, False

    def kernels(self, batch_size: int = 1, **sizes: int) -> list[PlannedStep]:
        """The steps that a call runs on the CPU, as `network.kernels()` lists those of a prediction."""
        found: list[PlannedStep] = self._own.call.listing(batch_size, sizes)
        return found

    # Inside ----------------------------------------------------------------------------------------------

    def _run_call(self, arrays: Sequence[Any], is_read: bool) -> Any:
        """What a call gives; None if what it reads is all that matters."""
        arrays = (*arrays, *self.fixed)
        with self._lock:
            network, programs = self._fitting(arrays)
            known: dict[str, int] = {}
            given = network.check_inputs(arrays, known)
            self._begin(known[programs.batch] if isinstance(programs.batch, str) else programs.batch)
            steps = 0 if programs.added is None else dim_value(programs.added, known)
            if self._room_for(steps):
                network, programs = self._fitting(arrays)
            if self._is_torn:
                raise UsageError(
                    "an earlier call of the session failed on its way, so its state may be half new.",
                    fix="reset() it, or load_state(...) what state() gave before.",
                )
            assert self._variables is not None
            self._is_torn = True
            program = programs.read if is_read else programs.call
            given |= network.drawing(program)
            if programs.growing:
                given[FILLED] = np.array([self.filled])
            if self.fixed:
                given = {name: array for name, array in given.items() if name not in self._fixed_names}
                results = program.plan(self._variables, known | program.sizes(given)).run(given)
            else:
                results = program.run(self._variables, given)
            sizes = {**known, PAST: self.filled}
            self.filled += steps
            self._is_torn = False
        if is_read:
            return None
        for place, axis, dim in programs.longer:
            results[place] = results[place][(*(slice(None),) * axis, slice(dim_value(dim, sizes)))]
        return network.trace(training=False).form.pack(results)

    def _programs(self, network: Network) -> Programs:
        found: Programs = network.session_programs(self._room, len(self.fixed)).forked()
        return found

    def _check_fixed(self) -> None:
        """Take fixed inputs as the model does.

        Raises:
            ShapeError, DtypeError, DataError: one does not fit its input.
        """
        network, known, first = self.network, dict[str, int](), len(self.network.inputs) - len(self.fixed)
        if first < 1:
            raise ShapeError(
                f"there are {len(self.fixed)} fixed inputs, but the model takes {len(network.inputs)}.",
                fix="leave one at least to be passed in each call.",
            )
        self._fixed_names = network.input_names[first:]
        rows = zip(self._fixed_names, self.fixed, network.inputs[first:], strict=True)
        self.fixed = tuple(checked(name, array, spec, known) for name, array, spec in rows)

    def _indices(self, indices: Any, count: int | None = None) -> np.ndarray:
        """Samples of the batch by number.

        Raises:
            DataError: there are not `count`, or one is out of range.
        """
        size, found = self._size(), np.asarray(indices)
        if found.dtype.kind not in "iu" or found.ndim != 1 or count not in (None, len(found)):
            wanted = f"integers ({'M' if count is None else count},)"
            raise DataError(
                f"the indices are {found.dtype} {format_shape(found.shape)}, expected {wanted}.",
                fix="name for each sample of the batch the one whose state it takes over.",
            )
        if ((found < 0) | (found >= size)).any():
            wrong = found[(found < 0) | (found >= size)][0]
            raise DataError(f"the index {wrong} is out of range for a batch of {size}.")
        return found.astype(np.int64)

    def _fitting(self, arrays: Sequence[Any]) -> tuple[Network, Programs]:
        """The model for sizes as these arrays have them, where it was built for other fixed ones."""
        specs, shapes = self.network.inputs, [np.shape(array) for array in arrays]
        if [spec.ndim for spec in specs] != list(map(len, shapes)):
            return self.network, self._own
        pairs = [pair for spec, shape in zip(specs, shapes, strict=True) for pair in fixed_sizes(spec, shape)]
        if all(wanted == size for wanted, size in pairs):
            return self.network, self._own
        key = tuple(size for _, size in pairs)
        if key not in self._others:
            network = self._network_for(tuple(map(resized, specs, shapes)))
            programs = self._programs(network)
            self._check_states(programs)
            self._others[key] = network, programs
            if len(self._others) > MOST_SIZES:
                del self._others[next(iter(self._others))]
        return self._others[key]

    def _network_for(self, inputs: tuple[Spec, ...]) -> Network:
        """The model for inputs of other sizes.

        Raises:
            ShapeError: it cannot take them; the message says for which it was built.
        """
        try:
            return self.network.for_inputs(inputs)
        except ShapeError as error:
            own, other = (shapes_of(specs) for specs in (self.network.inputs, inputs))
            raise ShapeError(
                f"the model was built for {own} and cannot take {other}: {error.message}",
                fix="give each step as many features as the model was built for.",
                where=error.where,
            ) from None

    def _begin(self, batch_size: int) -> None:
        """Take memory for the states of a batch of this size, and let them begin.

        Raises:
            ShapeError: the session has another batch size.
        """
        programs = self._own
        wanted = self.batch_size if isinstance(programs.batch, str) else programs.batch
        if (wanted is not None and batch_size != wanted) or batch_size < 1:
            raise ShapeError(
                f"the session has a batch size of {wanted}, got {batch_size}."
                if wanted is not None and batch_size > 0
                else f"the batch size of a session is {batch_size}, expected 1 or more.",
                fix="make a session for the other batch: model.session().",
            )
        self.batch_size = batch_size
        if self._variables is not None:
            return
        from bigmodel_core.plan import Variables

        made = Variables(self.network.device, shared=self.network.variables)
        for path, spec in programs.states.items():
            bound = spec.bind(programs.sizes(batch_size))
            made.create(path, np.zeros(bound.sizes, bound.dtype))
        for path, array in zip(programs.fixed, self.fixed, strict=True):
            made.create(path, array)
        self._variables = made
        self._run(programs.reset, {})

    def _room_for(self, steps: int) -> bool:
        """Take more memory for what grows, if some more steps need it; whether they did.

        Raises:
            ShapeError: the session's capacity is smaller.
        """
        wanted = self.filled + steps
        if wanted <= self._room:
            return False
        if self.capacity is not None:
            raise ShapeError(
                f"the session has a capacity of {self.capacity} steps; it remembers {self.filled} and cannot"
                f" take {steps} more.",
                fix="make it larger, model.session(capacity=...), or reset() it.",
            )
        while self._room < wanted:
            self._room *= 2
        state = self._state()
        self._own, self._variables = self._programs(self.network), None
        self._others.clear()
        assert self.batch_size is not None
        self._begin(self.batch_size)
        self._write(state)
        return True

    def _state(self) -> dict[str, np.ndarray]:
        assert self._variables is not None
        found = {path: self._variables.read(path) for path in self._own.states}
        for path, axis in self._own.growing.items():
            found[path] = found[path][(*(slice(None),) * axis, slice(self.filled))].copy()
        return found

    def _write(self, state: Mapping[str, np.ndarray]) -> None:
        assert self._variables is not None
        for path, array in state.items():
            axis = self._own.growing.get(path)
            self._variables.write(path, array if axis is None else self._padded(path, axis, array))

    def _padded(self, path: str, axis: int, array: np.ndarray | None) -> np.ndarray:
        """What a state that grows has so far, with zeros behind it."""
        assert self.batch_size is not None
        spec = self._own.states[path].bind(self._own.sizes(self.batch_size))
        found = np.zeros(spec.sizes, spec.dtype)
        if array is not None:
            found[(*(slice(None),) * axis, slice(array.shape[axis]))] = array
        return found

    def _check_states(self, programs: Programs) -> None:
        """Raise where a model of other sizes would carry something else."""
        own = self._own.states
        for path in {**own, **programs.states}:
            if own.get(path) != programs.states.get(path):
                raise ShapeError(
                    f"the session carries {own.get(path, 'nothing')}, but for this input it would be"
                    f" {programs.states.get(path, 'nothing')}.",
                    fix="call the session with inputs of the sizes that the model was built for.",
                    where=path,
                )

    def _run(self, program: Program, inputs: Mapping[str, np.ndarray]) -> None:
        assert self._variables is not None and self.batch_size is not None
        sizes = self._own.sizes(self.batch_size)
        program.plan(self._variables, sizes).run(inputs)

    def _size(self) -> int:
        if self.batch_size is None or self._variables is None:
            raise UsageError(
                "the session carries nothing yet.",
                fix="call it first, or fix its batch size: model.session(batch_size=4).",
            )
        return self.batch_size
