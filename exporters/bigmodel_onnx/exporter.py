"""The ONNX exporter: what it promises is proven in ONNX Runtime before a file appears."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bigmodel_core.data.columns import Columns
from bigmodel_core.data.encoding import UNKNOWN, Encoding, Task
from bigmodel_core.data.like import encoding_held
from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.errors import ConfigError
from bigmodel_core.exporting.export import staged
from bigmodel_core.exporting.exporter import Exporter
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.probabilities import makes_probabilities
from bigmodel_onnx.decoder import DecoderForm
from bigmodel_onnx.forms import ENCODER, IDS, MASK, MASKS, Form, TokensForm
from bigmodel_onnx.pair import Halves, PairForm, encoder_name, form_of, tokenizers
from bigmodel_onnx.report import ExportReport

if TYPE_CHECKING:
    from bigmodel_core.data.data import Data
    from bigmodel_onnx.answer import Answers
    from bigmodel_onnx.emit import Emitter
    from bigmodel_onnx.lowering import Lowered
    from bigmodel_onnx.session import OnnxSession
    from bigmodel_onnx.verify import Comparison

Runs = Mapping[str, Mapping[str, np.ndarray]]
"""Inputs to compare on, by a text that says which they are."""


@dataclass(frozen=True)
class Onnx(Exporter):
    """Writes ONNX files that stock ONNX Runtime runs, and reads them.

    Args:
        opset: the operator set; 17 by default, which every ONNX Runtime since 1.12 runs.
        target_runtime: the oldest ONNX Runtime that has to run the file, such as "1.17"; chooses the opset.
        with_preprocessing: take raw input and give label and probability.
        batch_sizes: the sizes of the first free dimension at which the file is compared with the model.
        tolerance: relative difference that is allowed; by number type if None.
        single_file_limit: bytes of weights above which they go to a sidecar file.
        fold: put batch normalisation into the weights of the convolution or dense layer before it.

    Raises:
        ConfigError: an option makes no sense.
    """

    suffix: ClassVar[str] = ".onnx"

    opset: int | None = None
    target_runtime: str | None = None
    with_preprocessing: bool = False
    batch_sizes: tuple[int, ...] = (1, 7)
    tolerance: float | None = None
    single_file_limit: int = 2**31 - 2**24
    fold: bool = True

    def __post_init__(self) -> None:
        from bigmodel_onnx import versions

        versions.chosen(self.opset, self.target_runtime)
        if len(set(self.batch_sizes)) < 2 or min(self.batch_sizes) < 1:
            raise ConfigError(
                f"the batch sizes are {self.batch_sizes}.",
                where="Onnx",
                fix="name at least two different ones.",
            )
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ConfigError(
                f"the tolerance is {self.tolerance}.", where="Onnx", fix="use a number from 0 to 1."
            )

    def export(  # type: ignore[override]  # takes more keywords than the hook
        self,
        model: Layer | Network,
        path: str | Path,
        *,
        name: str | None = None,
        labels: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
        metrics: Mapping[str, float] | None = None,
        dataset: str | None = None,
        input_meaning: str | None = None,
        task: str | None = None,
        samples: Any = None,
        data: Data | None = None,
        encoding: Encoding | None = None,
    ) -> ExportReport:
        """Write a built model, after ONNX Runtime has computed the same as the model at two batch sizes.

        Args:
            model: a built model.
            path: where to write.
            name: what the model is called; its class name by default.
            labels: the names of the classes.
            preprocessing: how raw input becomes the model's input.
            metrics: results of the run, by name.
            dataset: what it was trained on.
            input_meaning: what the input is, in words.
            task: as in `bm.Data`; found out from the rest if None.
            samples: inputs to compare on, one array an input; random numbers are drawn if None.
            data: a data set that says whatever of the above is not given.
            encoding: the same of data that are not at hand; that of the training if None.

        Raises:
            ExportError: the model cannot be exported or the file differs from it; nothing is left behind.
            ConfigError: a detail makes no sense.
        """
        from bigmodel_onnx import document
        from bigmodel_onnx.answer import check_labels
        from bigmodel_onnx.verify import check_finite

        network = model if isinstance(model, Network) else model.network
        known = encoding or (data.encoding if data is not None else None) or encoding_held(network) or UNKNOWN
        said: dict[str, Any] = {
            "labels": labels, "preprocessing": preprocessing, "name": dataset, "task": task,
            "input_meaning": input_meaning,
        }  # fmt: skip
        known = replace(known, **{key: value for key, value in said.items() if value is not None})
        known = replace(known, task=known.task or _task_of(network.layer))
        form = form_of(network)
        if self.with_preprocessing and isinstance(form, (DecoderForm, PairForm)):
            raise ConfigError(
                "the model writes texts: it gives scores of the next token, and no label.",
                where="Onnx.export",
                fix="leave with_preprocessing out.",
                shell="leave --with-preprocessing out.",
            )
        needs_steps = not isinstance(form, TokensForm)
        columns = known.columns if self.with_preprocessing else None
        if self.with_preprocessing and needs_steps and not (known.preprocessing or known.complete):
            raise ConfigError(
                "with_preprocessing needs to know how raw input becomes model input.",
                where="Onnx.export",
                fix="pass preprocessing=bm.Preprocessing(...), or data=...",
                shell="leave --with-preprocessing out: the checkpoint does not say how its input was made.",
            )
        if known.task != "regression":  # labels of boxes are no scores of their own
            check_labels(network.outputs, known.labels)
        check_finite(network)
        steps = known.preprocessing if self.with_preprocessing else None
        title = name or _title(network.layer)
        texts = document.metadata(
            network.layer,
            title,
            encoding=known,
            metrics=metrics,
            takes_raw_input=self.with_preprocessing,
        )
        if type(form) is not Form or len(network.inputs) != 1:
            steps = None
        if columns is not None and type(form) is not Form:
            columns = None
        lowered, answer = self._lowered(form, steps, columns, known)
        comparison, runs = self._compared(form, lowered, answer, steps, columns, samples)
        return self._written(comparison, runs, Path(path), title, texts, known)

    def _versions(self, columns: Columns | None) -> tuple[int, int]:
        """The operator set and the file version to write."""
        from bigmodel_onnx import table_front, versions

        opset = self.opset
        if columns is not None:
            opset = table_front.check_opset(columns, opset, self.target_runtime)
        return versions.chosen(opset, self.target_runtime)

    def _lowered(
        self, form: Form, steps: Preprocessing | None, columns: Columns | None, known: Encoding
    ) -> tuple[Lowered, Answers | None]:
        """The file's nodes, and those added after the model."""
        from bigmodel_onnx import answer, table_front
        from bigmodel_onnx.emit import Emitter
        from bigmodel_onnx.lowering import lower
        from bigmodel_onnx.operations import Port

        opset, _ = self._versions(columns)
        emitter = Emitter(opset, self.fold)
        network, trace, outputs = form.network, form.trace, form.outputs
        count, following = len(outputs), {**trace.carried, **trace.carried_updates}
        names = [*form.taken, *outputs, *form.present.values(), "label", "probability", "probabilities"]
        emitter.reserve(names)
        if steps is not None:
            (name,), (spec,) = network.input_names, network.inputs
            made = answer.write_front(emitter, name, spec, steps)
            lowered = lower(network, emitter, {name: made}, form.write_states(emitter))
        elif columns is not None:
            front = table_front.write_front(emitter, columns, names)
            if columns.form == "one-hot":
                front = {network.input_names[0]: front["numbers"]}
            lowered = lower(network, emitter, front, form.write_states(emitter))
        else:
            lowered = lower(network, emitter, *form.write(emitter))
        ports = [
            Port(key, value.dtype, value.shape) for key, value in zip(outputs, trace.outputs, strict=True)
        ]
        found = dict(zip(trace.carried, lowered.outputs[count:], strict=True))
        after = [
            (found[path], Port(name, following[path].dtype, following[path].shape))
            for path, name in form.present.items()
        ]
        behind: Answers | None = None
        if self.with_preprocessing and count == 1:
            last = trace.outputs[0]
            behind = answer.answer_for(last.spec, known, makes_probabilities(last))
        elif self.with_preprocessing and set(outputs) == answer.SpanAnswer.scores:
            behind = answer.SpanAnswer(outputs)
        if isinstance(behind, answer.Numbers):
            results = behind.write(emitter, lowered.outputs[0], ports[0])
        elif behind is not None:
            results = behind.write(emitter, *lowered.outputs[:count])
        else:
            results = list(zip(lowered.outputs[:count], ports, strict=True))
        emitter.finish([*results, *after])
        return lowered, behind

    def _compared(
        self,
        form: Form,
        lowered: Lowered,
        answer: Answers | None,
        steps: Preprocessing | None,
        columns: Columns | None,
        samples: Any,
    ) -> tuple[Comparison, Runs]:
        """What the file is compared with, and on what inputs."""
        from bigmodel_onnx import table_front, verify
        from bigmodel_onnx.answer import Numbers, raw_values

        network = form.network
        comparison = verify.Comparison(network, lowered, form, self.tolerance)
        drawn = verify.drawn_inputs(network, self.batch_sizes)
        runs: Runs = {sizes: form.drawn(inputs) for sizes, inputs in drawn.items()}
        if columns is not None:
            runs = {f"N = {n}": table_front.drawn_cells(columns, n) for n in table_front.COUNTS}
            comparison = replace(
                comparison, to_model=lambda raw: table_front.to_inputs(columns, raw, network.input_names)
            )
        elif steps is not None:
            (name,), dtype = network.input_names, network.inputs[0].dtype
            comparison = replace(
                comparison, to_model=lambda raw: {name: steps.apply(raw[name]).astype(dtype)}
            )
            runs = {sizes: raw_values(inputs, steps) for sizes, inputs in runs.items()}
        elif samples is not None:
            runs = verify.sampled_inputs(network, samples, self.batch_sizes)
        if isinstance(answer, Numbers):
            comparison = replace(
                comparison,
                expected=lambda outputs: [answer.compute(outputs[0])],
                comparable=lambda numbers: answer.steps.standard(numbers).astype(network.outputs[0].dtype),
            )
        elif answer is not None:
            comparison = replace(comparison, expected=lambda outputs: answer.compute(*outputs))
        return comparison, runs

    def _written(
        self,
        comparison: Comparison,
        runs: Runs,
        path: Path,
        title: str,
        texts: Mapping[str, str],
        known: Encoding,
    ) -> ExportReport:
        """Write, check and compare in a folder aside; the files appear when all of it went well."""
        import onnxruntime

        from bigmodel_onnx import document, pair_proof, reading, verify

        opset, ir_version = self._versions(known.columns if self.with_preprocessing else None)
        form, whole = comparison.form, comparison.lowered.emitter
        sidecars: dict[str, str | None] = {}

        def write(file: Path, emitter: Emitter, more: Mapping[str, str]) -> None:
            told, limit = {**texts, **more}, self.single_file_limit
            file.parent.mkdir(exist_ok=True)
            sidecars[file.name] = document.write(
                file.parent, file.name, emitter, ir_version, title, told, limit
            )
            reading.check_rules(file, shapes=True)

        files, encoder = {path.name: whole}, None
        with staged(path) as folder, tempfile.TemporaryDirectory() as aside:
            checked = (folder if not isinstance(form, PairForm) else Path(aside)) / path.name
            write(checked, whole, form.described())
            differences = verify.verify(checked, comparison, runs)
            if isinstance(form, PairForm):
                encoder = encoder_name(path.name)
                halves = Halves.of(whole)
                files = {encoder: halves.encoder, path.name: halves.decoder}
                write(folder / encoder, halves.encoder, {MASKS: json.dumps({MASK: IDS})})
                write(checked := folder / path.name, halves.decoder, {**form.described(), ENCODER: encoder})
                start = pair_proof.start_of(known.target_tokenizer or known.tokenizer)
                text = f"{pair_proof.STEPS} tokens written"
                differences[text] = pair_proof.prove(folder / encoder, checked, form, start, self.tolerance)
            size = sum(file.stat().st_size for file in folder.iterdir())
            beside = tokenizers(path.stem, known)
            for name, tokenizer in beside.items():
                (folder / name).write_text(tokenizer.to_json(), "utf-8")
        report = ExportReport(
            path,
            opset,
            ir_version,
            dict(Counter(node.operator for emitter in files.values() for node in emitter.operations)),
            size,
            sidecars[path.name],
            onnxruntime.__version__,
            differences,
            tuple(port.name for port in files[path.name].results),
            next(iter(beside), None),
            encoder,
            None if encoder is None else sidecars[encoder],
            next(iter([*beside][1:]), None),
        )
        self.tidy(path, report)
        return report

    def tidy(self, path: Path, report: ExportReport) -> None:
        """Remove the sidecars of earlier exports to this path."""
        from bigmodel_onnx import document

        files = {path: report.sidecar}
        if report.encoder is not None:
            files[path.with_name(report.encoder)] = report.encoder_sidecar
        for file, sidecar in files.items():
            for stale in document.stale_sidecars(file, sidecar):
                stale.unlink(missing_ok=True)

    # Reading ----------------------------------------------------------------------------------------------

    def load(self, path: str | Path) -> Layer:
        """A trainable model from a file.

        Raises:
            ExportError: the file is missing, damaged or unsafe, or uses operators that cannot be read.
        """
        from bigmodel_onnx.import_ import from_onnx

        return from_onnx(path)

    def session(self, path: str | Path, *, threads: int = 2) -> OnnxSession:
        """The file in ONNX Runtime, ready to answer.

        Raises:
            ExportError: the file is missing, damaged or unsafe, or the runtime cannot run it.
        """
        from bigmodel_onnx.session import OnnxSession

        return OnnxSession(path, threads=threads)

    def describe(self, path: str | Path) -> dict[str, Any]:
        """What a file holds, as JSON-able values: layers, shapes, parameters, operators, metadata.

        Raises:
            ExportError: the file is missing, damaged or unsafe.
        """
        from bigmodel_onnx.describe import describe

        return describe(Path(path))


def _title(layer: Layer) -> str:
    from bigmodel_core import registry

    return registry.display_name(type(layer))


def _task_of(layer: Layer) -> Task | None:
    """What a ready-made model is trained for, as its loss says."""
    loss = getattr(type(layer), "loss", None)
    if not isinstance(loss, str):
        return None
    key = loss.lower().replace("-", "").replace("_", "").split(":")[-1]
    tasks: dict[str, Task] = {
        "crossentropy": "classification", "binarycrossentropy": "binary",
        "meansquarederror": "regression", "meanabsoluteerror": "regression", "huber": "regression",
    }  # fmt: skip
    return tasks.get(key)
