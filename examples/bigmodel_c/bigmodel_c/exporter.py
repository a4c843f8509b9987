"""The exporter: what it promises is proven by a C compiler before a file appears."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_c import compiled
from bigmodel_c.document import Document, document
from bigmodel_c.source import is_written, refuse_unwritten


@dataclass(frozen=True)
class Report:
    """A file that was written.

    Args:
        path: the file.
        function: the prediction, as it is declared.
        size: bytes of the file.
        parameters: how many numbers of the model are in it.
        workspace: bytes of static memory that a prediction needs.
        steps: how many functions it is made of.
        agreement: how it agrees with the model; None if nobody ran it.
    """

    path: Path
    function: str
    size: int
    parameters: int
    workspace: int
    steps: int
    agreement: compiled.Agreement | None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return {**asdict(self), "path": str(self.path), "verified": self.agreement is not None}

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.size:,} bytes, {self.parameters:,} parameters, {self.steps} steps,"
            f" {self.workspace:,} bytes of scratch memory",
            self.function,
        ]
        if self.agreement is None:
            return "\n".join([*lines, "NOT VERIFIED: it was neither compiled nor compared with the model."])
        found = self.agreement
        return "\n".join(
            [
                *lines,
                f"{found.compiler} ({found.flags}): {found.samples} of {found.samples} samples agree, largest"
                f" difference {found.difference:.1e}",
            ]
        )


@dataclass(frozen=True)
class C(bm.Exporter):
    """Writes a prediction as one C99 file that needs nothing but <math.h>, <stdint.h> and <string.h>.

    Args:
        sizes: sizes of named dimensions other than that of the batch, such as "T=50".
        with_preprocessing: take raw values; give probabilities, or numbers in the units of the targets.
        verify: compile and run the file, and compare it with the model, before it appears.
        compiler: the C compiler; that of the environment variable CC, cc, gcc or clang if empty.
        count: how many samples are compared.
        tolerance: relative difference that is allowed; by number type if None.
        parameter_limit: the most parameters that are written: compilers take some 300 bytes for each.

    Raises:
        ConfigError: an option makes no sense.
    """

    suffix: ClassVar[str] = ".c"

    sizes: tuple[str, ...] = ()
    with_preprocessing: bool = False
    verify: bool = True
    compiler: str = ""
    count: int = 5
    tolerance: float | None = None
    parameter_limit: int = 12_000_000

    def __post_init__(self) -> None:
        bm.check_number(self, "count", whole=True, at_least=2)
        bm.check_number(self, "parameter_limit", whole=True, at_least=1)
        if self.tolerance is not None:
            bm.check_number(self, "tolerance", above=0, below=1)
        for text in self.sizes:
            if not re.fullmatch(r"\w+=[1-9]\d*", text):
                raise bm.errors.ConfigError(
                    f"{text!r} gives no dimension a size.", where="C: sizes", fix='write "T=50".'
                )

    def export(  # type: ignore[override]  # names what it uses
        self,
        model: Any,
        path: Path,
        *,
        name: str | None = None,
        samples: Any = None,
        data: bm.Data | None = None,
        encoding: bm.Encoding | None = None,
        labels: Sequence[str] | None = None,
        preprocessing: bm.Preprocessing | None = None,
        **details: Any,
    ) -> Report:
        """Write a built model, after a compiled file has computed the same as the model.

        Args:
            model: a built model.
            path: where to write.
            name: what the model is called.
            samples: inputs to compare on, an array or one for each input; drawn at random if None.
            data: a data set that says how raw values became inputs, what classes are called.
            encoding: the same of data that are not at hand.
            labels: the names of the classes.
            preprocessing: how raw values became inputs.
            details: whatever else is known of the run; it is not in the file.

        Raises:
            ExportError: the model cannot be written, or the file differs from it; nothing is left behind.
            ConfigError: a size or the preprocessing is missing.
        """
        command = compiled.compiler_named(self.compiler) if self.verify else None
        known = encoding or (data.encoding if data is not None else None) or bm.Encoding()
        said = {"labels": tuple(labels) if labels else None, "preprocessing": preprocessing}
        known = replace(known, **{key: value for key, value in said.items() if value is not None})
        raw = known.preprocessing if self.with_preprocessing else None
        if self.with_preprocessing and raw is None:
            raise bm.errors.ConfigError(
                "with_preprocessing needs to know how raw input becomes model input.",
                where="C.export",
                fix="pass preprocessing=bm.Preprocessing(...), or data=...",
                shell="leave --with-preprocessing out: the checkpoint does not say how its input was made.",
            )
        graph = bm.prediction_graph(model, self._sample(model), writes=is_written)
        refuse_unwritten(graph)
        self._check_parameters(graph)
        answer = None
        if raw is not None:
            answer = _Answer.of(graph, known)
            _check_raw(graph, raw)
        written = document(
            _identifier(path.stem),
            graph if answer is None else answer.graph,
            raw=raw,
            target=None if answer is None else answer.target,
            labels=known.labels,
            title=name or type(getattr(model, "layer", model)).__name__,
        )
        found = None
        if command is not None:
            found = self._compared(model, graph, written, command, raw, answer, samples)
        path.write_text(written.text, encoding="ascii")
        return Report(
            path,
            written.signature,
            path.stat().st_size,
            written.parameters,
            written.workspace,
            written.steps,
            found,
        )

    def _sample(self, model: Any) -> list[bm.Spec]:
        """The specs of one sample: the dimension that all inputs and outputs begin with is 1."""
        network = model.network if isinstance(model, bm.Layer) else model
        given = {key: int(size) for key, _, size in (text.partition("=") for text in self.sizes)}
        first = {spec.shape[0] if spec.shape else None for spec in (*network.inputs, *network.outputs)}
        batch = first.pop() if len(first) == 1 else None
        sizes = {**({str(batch): 1} if batch is not None and not isinstance(batch, int) else {}), **given}
        free = {name: None for spec in network.inputs for name in spec.names()}
        missing = [key for key in free if key not in sizes]
        if missing:
            raise bm.errors.ConfigError(
                f"the size of {', '.join(missing)} is free, and a C file has fixed sizes.",
                where="C: sizes",
                fix=f"say it: sizes=({missing[0] + '=50'!r},).",
                shell=f"say it: --set sizes={missing[0]}=50.",
            )
        unknown = [key for key in given if key not in free]
        if unknown:
            raise bm.errors.ConfigError(
                f"no input has the dimension {unknown[0]}.",
                where="C: sizes",
                fix=f"the free dimensions are {', '.join(free) or 'none'}.",
            )
        return [spec.bind(sizes) for spec in network.inputs]

    def _check_parameters(self, graph: bm.PredictionGraph) -> None:
        count = 0
        for value, array in graph.arrays.items():
            count += array.size
            if value in graph.names and array.dtype.kind == "f" and not np.isfinite(array).all():
                raise bm.errors.ExportError(
                    "the parameter holds numbers that are not finite.",
                    where=graph.names[value],
                    fix="export a checkpoint from before its training diverged; no file was written.",
                )
        if count > self.parameter_limit:
            raise bm.errors.ExportError(
                f"the model has {count:,} parameters, more than the {self.parameter_limit:,} that are written"
                " as source.",
                fix="export it to ONNX; or raise parameter_limit, if the compiler has the memory.",
                shell="export it to ONNX; or --set parameter_limit=..., if the compiler has the memory.",
            )

    def _compared(
        self,
        model: Any,
        graph: bm.PredictionGraph,
        written: Document,
        command: Sequence[str],
        raw: bm.Preprocessing | None,
        answer: _Answer | None,
        samples: Any,
    ) -> compiled.Agreement:
        """Run the file and the model on the same samples."""
        network = model.network if isinstance(model, bm.Layer) else model
        is_batched = bool(network.inputs[0].shape) and not isinstance(network.inputs[0].shape[0], int)
        if samples is None:
            given = _drawn(graph, self.count, is_batched)
        else:
            several = samples if isinstance(samples, (tuple, list)) else (samples,)
            given = [np.asarray(item)[: self.count] for item in several]
        recorded = given
        if raw is not None:
            recorded = [_raw(given[0], raw)]
            given = [raw.apply(recorded[0]).astype(given[0].dtype)]
        results = network(*given) if is_batched else _one_by_one(network, given)
        outputs = [np.asarray(item) for item in _taken_apart(results)]
        if not is_batched:
            recorded = given
        wanted = outputs if answer is None else [answer.expected(outputs[0])]
        found = compiled.run(
            written, command, compiled.FLAGS, dict(zip(written.inputs, recorded, strict=True))
        )
        shaped = [item.reshape(array.shape) for item, array in zip(wanted, found, strict=True)]
        tolerances = [
            self.tolerance or bm.dtypes.DTYPES[value.dtype].export_tolerance
            for value in graph.outputs.values()
        ]
        difference = compiled.agreement(found, shaped, list(written.outputs), tolerances)
        flags = " ".join(compiled.FLAGS)
        return compiled.Agreement(len(found[0]), difference, compiled.version(command), flags)


@dataclass(frozen=True)
class _Answer:
    """What comes after the model where a file takes raw values.

    Args:
        graph: the model's, with the step to probabilities.
        target: how recorded targets became those of the model, which is undone.
        kind: "softmax", "sigmoid", or empty.
    """

    graph: bm.PredictionGraph
    target: bm.Preprocessing | None = None
    kind: str = ""

    @classmethod
    def of(cls, graph: bm.PredictionGraph, known: bm.Encoding) -> _Answer:
        if len(graph.outputs) != 1 or len(graph.inputs) != 1:
            raise bm.errors.ConfigError(
                "with_preprocessing is for models of one input and one output.",
                where="C.export",
                fix="export it without.",
            )
        (value,) = graph.outputs.values()
        if known.task == "regression":
            return cls(graph, known.target_preprocessing)
        if known.task is None or bm.probabilities.makes_probabilities(value):
            return cls(graph)
        kind = "sigmoid" if known.task == "binary" else "softmax"
        made = bm.ops.sigmoid(value) if kind == "sigmoid" else bm.ops.softmax(value)
        nodes = (*graph.nodes, made.node)
        return cls(replace(graph, outputs={"probabilities": made}, nodes=nodes), None, kind)

    def expected(self, output: np.ndarray) -> np.ndarray:
        """The same in NumPy."""
        if self.kind:
            return np.asarray(getattr(bm.probabilities, self.kind)(output))
        if self.target is None:
            return output
        std, mean = np.array(self.target.std), np.array(self.target.mean)
        return (output.astype("float64") * std + mean) / self.target.scale


def _check_raw(graph: bm.PredictionGraph, raw: bm.Preprocessing) -> None:
    """Raise ExportError if raw samples have another shape than the model's input."""
    (value,) = graph.inputs.values()
    if value.shape[1:] != raw.raw_shape:
        raise bm.errors.ExportError(
            f"raw samples are {bm.format_shape(raw.raw_shape)}, the model takes"
            f" {bm.format_shape(value.shape[1:])}.",
            where="preprocessing",
            fix="pass the preprocessing of the model's own data.",
        )


def _identifier(stem: str) -> str:
    found = re.sub(r"\W", "_", stem, flags=re.ASCII)
    return found if found[:1].isalpha() else f"model_{found}"


def _taken_apart(results: Any) -> Sequence[Any]:
    if isinstance(results, Mapping):
        return list(results.values())
    return results if isinstance(results, tuple) else (results,)


def _one_by_one(network: Any, given: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A model of fixed sizes, called for each sample."""
    each = [_taken_apart(network(*(array[row] for array in given))) for row in range(len(given[0]))]
    return [np.stack(items) for items in zip(*each, strict=True)]


def _raw(inputs: np.ndarray, raw: bm.Preprocessing) -> np.ndarray:
    """Raw values that become about normal numbers, as far as the raw type has such values."""
    kind = np.dtype(raw.raw_dtype)
    found = replace(raw, raw_dtype="float64").invert(inputs)
    if kind.kind in "iu":
        found = np.clip(np.rint(found), np.iinfo(kind).min, np.iinfo(kind).max)
    return found.astype(kind)


def _drawn(graph: bm.PredictionGraph, count: int, is_batched: bool) -> list[np.ndarray]:
    """Random samples: normal numbers, and integers that are in range wherever they pick something."""
    random = np.random.default_rng(0)
    limits = _limits(graph)
    found = []
    for value in graph.inputs.values():
        shape = (count, *value.spec.sizes[1:]) if is_batched else (count, *value.spec.sizes)
        kind = bm.dtypes.DTYPES[value.dtype]
        if kind.is_float:
            found.append(random.standard_normal(shape).astype(value.dtype))
        else:
            most = 2 if kind.kind == "bool" else limits.get(value, 100)
            found.append(random.integers(0, most, shape).astype(value.dtype))
    return found


def _limits(graph: bm.PredictionGraph) -> dict[bm.Value, int]:
    """By value, the size of the smallest axis that it may pick places of."""
    found: dict[bm.Value, int] = {}
    for node in reversed(graph.nodes):
        if type(node.op).__name__ in ("Gather", "TakeAlong"):
            rows, indices = node.inputs
            size = rows.spec.sizes[getattr(node.op, "axis", 0)]
            found[indices] = min(found.get(indices, size), size)
        elif type(node.op).__name__ == "Recurrent" and len(node.inputs) > 5:
            lengths = node.inputs[5]
            if not lengths.spec.is_float:
                found[lengths] = min(found.get(lengths, 2**31), node.inputs[0].spec.sizes[0] + 1)
        limits = [found[value] for value in node.outputs if value in found]
        if limits:
            for value in node.inputs:
                if not value.spec.is_float:
                    found[value] = min([*limits, found.get(value, 2**31)])
    return found
