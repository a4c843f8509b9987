"""Proof that a file computes what the model computes, and the first layer that differs if it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.errors import BigmodelError, ExportError, ShapeError
from bigmodel_core.graph import LEAVES, Value, needed, with_inner
from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.graph.spec import Spec, dim_add
from bigmodel_core.nn.given import inputs_of
from bigmodel_core.nn.network import Network
from bigmodel_core.ops.indexing import Gather, GatherND, TakeAlong
from bigmodel_core.ops.recurrent import Recurrent
from bigmodel_core.ops.scatter import Scatter
from bigmodel_core.ops.updates import UpdateSlice
from bigmodel_core.plan import Program
from bigmodel_onnx import reading
from bigmodel_onnx.carried import Calls
from bigmodel_onnx.forms import Form
from bigmodel_onnx.lowering import Lowered
from bigmodel_onnx.session import open_session, run_session

Arrays = Mapping[str, np.ndarray]

CALLS = 3
"""Calls that follow each other, of a model that carries state."""


@dataclass(frozen=True)
class Comparison:
    """What a file is compared with.

    Args:
        network: the model.
        lowered: which value of its graph is which value of the file.
        form: which inputs and outputs the file has in place of the model's.
        tolerance: relative difference that is allowed; by number type if None.
        to_model: makes the model's inputs from the file's.
        expected: makes the file's outputs from the model's.
        comparable: what of the file's outputs and of the expected ones is compared.
    """

    network: Network
    lowered: Lowered
    form: Form
    tolerance: float | None = None
    to_model: Callable[[Arrays], Arrays] = dict
    expected: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]] = list
    comparable: Callable[[np.ndarray], np.ndarray] = np.asarray

    @property
    def kept(self) -> Sequence[str]:
        """The paths of the states that the file has as inputs and outputs."""
        return list(self.form.past)


def check_finite(network: Network) -> None:
    """Raise unless all parameters are numbers.

    Raises:
        ExportError: one holds NaN or infinity.
    """
    used = network.trace(training=False).parameters
    for path, array in network.state().items():
        if path in used and array.dtype.kind == "f" and not np.isfinite(array).all():
            wrong = array[~np.isfinite(array)]
            raise ExportError(
                f"the parameter holds {wrong[0]}; {wrong.size} of its {array.size} numbers are not finite.",
                where=path,
                fix="export a checkpoint from before its training diverged; no file was written.",
            )


def verify(path: Path, comparison: Comparison, runs: Mapping[str, Arrays]) -> dict[str, float]:
    """Run the file and the model on the same inputs; returns the largest difference of each run.

    Args:
        path: the file.
        comparison: what it is compared with.
        runs: the model's inputs as the file takes them, by a text that says which run it is.

    Raises:
        ExportError: the results differ, and the message names the first layer where they do; or the model
            gives no number at all to compare with.
    """
    session = open_session(path)
    trace = comparison.network.trace(training=False)
    program = Program(trace.graph, trace.outputs, device=comparison.network.device)
    differences = {}
    for sizes, inputs in runs.items():
        given = comparison.to_model(inputs)
        if trace.carried:
            differences[sizes] = _verify_calls(path, session, comparison, inputs, given, sizes)
            continue
        outputs = comparison.expected(_run_model(program, comparison.network, given, sizes))
        ports = comparison.form.inputs(inputs, {})
        found = run_session(session, ports, path.name)
        differences[sizes] = _compared(path, comparison, ports, given, outputs, found, sizes)
    return differences


def _verify_calls(
    path: Path, session: Any, comparison: Comparison, inputs: Arrays, given: Arrays, sizes: str
) -> float:
    """The same for calls that follow each other: each of the two goes on from its own state."""
    network = comparison.network
    calls = Calls(network, given)
    states: dict[str, np.ndarray] = calls.state()
    begin = comparison.form.inputs(inputs, states)
    largest = 0.0
    for number in range(CALLS):
        try:
            outputs = calls(given)
        except BigmodelError as error:
            if number:  # a cache is full
                break
            raise _failed(sizes, error) from error
        following = calls.state()
        wanted = [*comparison.expected(outputs), *(following[path] for path in comparison.kept)]
        found = run_session(session, comparison.form.inputs(inputs, states), path.name)
        text = f"{sizes}, call {number + 1}"
        largest = max(largest, _compared(path, comparison, begin, given, wanted, found, text))
        own = found[len(found) - len(comparison.kept) :]
        states = {**following, **dict(zip(comparison.kept, own, strict=True))}
    return largest


def _compared(
    path: Path,
    comparison: Comparison,
    inputs: Arrays,
    given: Arrays,
    expected: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    text: str,
) -> float:
    """The largest difference of a run.

    Raises:
        ExportError: it is too large.
    """
    largest = 0.0
    results = comparison.lowered.emitter.results
    count = len(results) - len(comparison.kept)
    for number, (port, wanted, got) in enumerate(zip(results, expected, found, strict=True)):
        where = f"{text}, output {port.name}"
        _check_comparable(wanted, where)
        comparable = comparison.comparable if number < count else np.asarray
        gap, allowed = difference(comparable(got), comparable(wanted), comparison.tolerance)
        largest = max(largest, gap)
        if gap > allowed:
            if port.name == "label" and _are_ties(got != wanted, found, comparison):
                continue
            if port.name in ("start", "end") and results[-1].name == "probability":
                continue  # of two spans that are equally probable: how probable they are is compared
            raise _mismatch(path, comparison, inputs, given, where, gap, allowed)
    return largest


def difference(got: np.ndarray, wanted: np.ndarray, tolerance: float | None = None) -> tuple[float, float]:
    """The largest difference between two arrays and what is allowed; infinite if they are not comparable.

    Differences are measured against the largest number expected: numbers near zero are no false alarm. NaN
    equals NaN if it is expected, and differs from every number.
    """
    if got.shape != wanted.shape:
        return float("inf"), 0.0
    if wanted.dtype.kind != "f" or got.dtype.kind != "f":
        return float(not np.array_equal(got, wanted)), 0.0
    limit = tolerance if tolerance is not None else DTYPES[got.dtype.name].export_tolerance
    left, right = got.astype(np.float64), wanted.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    if same.all():
        return 0.0, limit
    finite = right[np.isfinite(right)]
    with np.errstate(invalid="ignore"):
        gaps = np.abs(left - right)[~same]
    gap = float(np.inf if not np.isfinite(gaps).all() else gaps.max())
    return gap, limit * max(1.0, float(np.abs(finite).max(initial=0.0)))


def _check_comparable(wanted: np.ndarray, where: str) -> None:
    if wanted.dtype.kind == "f" and wanted.size and not np.isfinite(wanted).any():
        raise ExportError(
            f"there is nothing to compare the file with ({where}): the model returns {wanted.flat[0]}"
            " for every sample.",
            fix="pass samples=... with real inputs, or check the model; no file was written.",
            shell="check the model, or export it from Python with real samples; no file was written.",
        )


def _are_ties(differ: np.ndarray, found: Sequence[np.ndarray], comparison: Comparison) -> bool:
    """Whether the two most probable classes are as good as equal for all these samples, so that rounding
    decides."""
    names = [port.name for port in comparison.lowered.emitter.results]
    chances = found[names.index("probabilities")].astype(np.float64)[differ]
    if chances.ndim == 1:
        return bool((np.abs(chances - 0.5) < 1e-5).all())
    top = np.sort(chances, axis=1)[:, -2:]
    return bool((top[:, 1] - top[:, 0] < 1e-5).all())


def _run_model(program: Program, network: Network, given: Arrays, sizes: str) -> list[np.ndarray]:
    try:
        return program.run(network.variables, given)
    except BigmodelError as error:
        raise _failed(sizes, error) from error


def _failed(sizes: str, error: BigmodelError) -> ExportError:
    return ExportError(
        f"the model itself fails on inputs drawn for the comparison ({sizes}): {error}",
        fix="pass samples=... with real inputs.",
        shell="export it from Python with real samples.",
    )


# Where it begins to differ -------------------------------------------------------------------------------


def _mismatch(
    path: Path, comparison: Comparison, inputs: Arrays, given: Arrays, where: str, gap: float, allowed: float
) -> ExportError:
    layer = first_difference(path, comparison, inputs, given)
    return ExportError(
        f"the file does not compute what the model computes ({where}): the largest difference is {gap:.3g}, "
        f"expected at most {allowed:.3g}. "
        + (
            f"The first layer that differs is {layer}."
            if layer
            else "Each layer alone agrees within its tolerance."
        ),
        where=path.name,
        fix="check the ONNX lowering of that layer; no file was written."
        if layer
        else "rounding errors accumulate: raise tolerance if the model is so sensitive; no file was written.",
    )


def first_difference(path: Path, comparison: Comparison, inputs: Arrays, given: Arrays) -> str | None:
    """The first layer whose values differ: the file is run once more with every value as an output."""
    import onnx

    lowered = comparison.lowered
    trace = comparison.network.trace(training=False)
    renamed = lowered.emitter.renamed
    model = reading.read(path)
    made = {name for node in model.graph.node for name in node.output}
    pairs: list[tuple[Value, str]] = []
    for node in needed(trace.outputs):
        for value in node.outputs:
            name = lowered.names.get(value)
            name = renamed.get(name, name) if name else None
            if name is not None and name in made and not isinstance(node.op, LEAVES):
                pairs.append((value, name))
    if not pairs:
        return None
    del model.graph.output[:]
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in dict.fromkeys(name for _, name in pairs)
    )
    del model.graph.value_info[:]
    probe = path.with_name(f".probe-{path.name}")
    try:
        probe.write_bytes(model.SerializeToString())
        session = open_session(probe)
    finally:
        probe.unlink(missing_ok=True)
    names = [item.name for item in session.get_outputs()]
    found = dict(zip(names, run_session(session, inputs, path.name), strict=True))
    program = Program(trace.graph, [value for value, _ in pairs], device=comparison.network.device)
    for (value, name), wanted in zip(pairs, program.run(comparison.network.variables, given), strict=True):
        gap, allowed = difference(found[name], wanted, comparison.tolerance)
        if gap > allowed:
            place = value.node.place or "the model itself"
            return f"{place}, {type(value.node.op).__name__} (difference {gap:.3g})"
    return None


# Inputs to compare on -------------------------------------------------------------------------------------


def drawn_inputs(
    network: Network, batch_sizes: Sequence[int], seed: int = 0
) -> dict[str, dict[str, np.ndarray]]:
    """Inputs for the comparison: normal numbers, and integers that every table of the model has a row for.

    The first free dimension takes the batch sizes in turn; other free dimensions take sizes of their own.
    """
    generator = np.random.default_rng(seed)
    names = list(dict.fromkeys(name for spec in network.inputs for dim in spec.shape for name in _names(dim)))
    runs: dict[str, dict[str, np.ndarray]] = {}
    least = _least_sizes(network, names)
    for turn, batch in enumerate(batch_sizes):
        sizes = {name: batch if place == 0 else least + 2 * turn + place for place, name in enumerate(names)}
        text = ", ".join(f"{name} = {size}" for name, size in sizes.items()) or f"draw {turn + 1}"
        values = network.trace(training=False).inputs
        runs[text] = {
            name: _draw(generator, value.spec.bind(sizes), _index_limit(network, sizes, value))
            for name, value in zip(network.input_names, values, strict=True)
        }
    return runs


def _least_sizes(network: Network, names: Sequence[str]) -> int:
    """A size of free dimensions at which every filter fits what it is moved over."""
    for least in (5, 16, 64, 256):
        sizes = {name: least if place else 1 for place, name in enumerate(names)}
        with suppress(ShapeError):
            for node in needed(network.trace(training=False).outputs):
                for value in node.outputs:
                    if 0 in value.spec.bind(sizes).shape:
                        raise ShapeError("an axis is empty.")
            return least
    return 5


def _names(dim: Any) -> list[str]:
    from bigmodel_core.graph.spec import dim_names

    return sorted(dim_names(dim))


def _draw(generator: np.random.Generator, spec: Spec, limit: int) -> np.ndarray:
    if spec.is_float:
        return generator.standard_normal(spec.sizes).astype(spec.dtype)
    if spec.dtype == "bool":
        return generator.random(spec.sizes) < 0.5
    return generator.integers(0, min(limit, 256), spec.sizes).astype(spec.dtype)


def _index_limit(network: Network, sizes: Mapping[str, int], value: Value) -> int:
    """How far the integers of an input may go: tables have so many rows, ops so many classes, sequences such
    lengths, arrays such places for a block."""
    limits = [256]
    nodes, reached = needed(network.trace(training=False).outputs), {value.node}
    outside = set(nodes)
    for node in with_inner(nodes):
        if any(item.node in reached for item in node.inputs):
            reached.add(node)
        elif node in outside:
            continue
        rows: Any = getattr(node.op, "classes", None)
        if isinstance(node.op, (Gather, TakeAlong, Scatter)):
            rows = node.inputs[0].spec.bind(sizes).shape[node.op.axis]
        elif isinstance(node.op, GatherND):
            rows = min(node.inputs[0].spec.bind(sizes).sizes[: int(node.inputs[1].shape[-1])])
        elif isinstance(node.op, Recurrent) and node.op.has_lengths:
            rows = dim_add(node.inputs[0].spec.bind(sizes).shape[0], 1)
        elif isinstance(node.op, UpdateSlice):
            whole, part = (value.spec.bind(sizes).sizes for value in node.inputs[:2])
            rows = min(whole[axis] - part[axis] for axis in node.op.axes) + 1
        if isinstance(rows, int):
            limits.append(rows)
    return min(limits)


def sampled_inputs(
    network: Network, samples: Any, batch_sizes: Sequence[int]
) -> dict[str, dict[str, np.ndarray]]:
    """Inputs for the comparison taken from real samples: the first few, as many as each batch size says."""
    given = network.check_inputs(inputs_of(network, samples))
    first = network.inputs[0].shape[:1]
    runs = {}
    for size in batch_sizes:
        taken = {
            name: array[:size] if spec.shape[:1] == first and isinstance(first[0], str) else array
            for (name, array), spec in zip(given.items(), network.inputs, strict=True)
        }
        runs[f"{first[0] if first else 'samples'} = {len(next(iter(taken.values())))}"] = taken
    return runs
