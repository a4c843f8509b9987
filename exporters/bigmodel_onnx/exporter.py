"""The ONNX exporter: what it promises is proven in ONNX Runtime before a file appears."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bigmodel_core.data.encoding import UNKNOWN, Encoding, Task
from bigmodel_core.data.like import encoding_held
from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.errors import ConfigError, ExportError
from bigmodel_core.exporting.export import staged
from bigmodel_core.exporting.exporter import Exporter
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.probabilities import makes_probabilities
from bigmodel_onnx.carried import described, next_name
from bigmodel_onnx.decoder import SCORES, DecoderForm
from bigmodel_onnx.report import ExportReport

if TYPE_CHECKING:
    from bigmodel_core.data.dataset import Data
    from bigmodel_core.data.tokenizer import Tokenizer
    from bigmodel_onnx.answer import Answer, Numbers
    from bigmodel_onnx.lowering import Lowered
    from bigmodel_onnx.session import OnnxSession


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
            task: "classification", "binary" or "regression"; found out from the rest if None.
            samples: inputs to compare on, one array an input; random numbers are drawn if None.
            data: a data set that says whatever of the above is not given.
            encoding: the same of data that are not at hand; that of the training if None.

        Raises:
            ExportError: the model cannot be exported or the file differs from it; nothing is left behind.
            ConfigError: a detail makes no sense.
        """
        from bigmodel_onnx import document
        from bigmodel_onnx.answer import check_labels

        network = model if isinstance(model, Network) else model.network
        known = encoding or (data.encoding if data is not None else None) or encoding_held(network) or UNKNOWN
        said: dict[str, Any] = {
            "labels": labels, "preprocessing": preprocessing, "name": dataset, "task": task,
            "input_meaning": input_meaning,
        }  # fmt: skip
        known = replace(known, **{key: value for key, value in said.items() if value is not None})
        known = replace(known, task=known.task or _task_of(network.layer))
        if self.with_preprocessing and known.preprocessing is None and not known.complete:
            raise ConfigError(
                "with_preprocessing needs to know how raw input becomes model input.",
                where="Onnx.export",
                fix="pass preprocessing=bm.Preprocessing(...), or data=...",
                shell="leave --with-preprocessing out: the checkpoint does not say how its input was made.",
            )
        check_labels(network.outputs, known.labels)
        _check_finite(network)
        steps = known.preprocessing if self.with_preprocessing else None
        title = name or _title(network.layer)
        texts = document.metadata(
            network.layer,
            title,
            encoding=known,
            metrics=metrics,
            takes_raw_input=self.with_preprocessing,
        )
        form = DecoderForm.of(network)
        texts |= described(network) if form is None else form.described()
        lowered, answer = self._lowered(network, steps, known)
        return self._written(
            network, lowered, answer, steps, Path(path), title, texts, samples, known.tokenizer
        )

    def _lowered(
        self, network: Network, steps: Preprocessing | None, known: Encoding
    ) -> tuple[Lowered, Answer | Numbers | None]:
        """The file's nodes, and those added after the model."""
        from bigmodel_onnx import answer, versions
        from bigmodel_onnx.emit import Emitter
        from bigmodel_onnx.lowering import lower
        from bigmodel_onnx.operations import Port

        opset, _ = versions.chosen(self.opset, self.target_runtime)
        emitter = Emitter(opset, self.fold)
        count = len(network.outputs)
        trace = network.trace(training=False)
        following = {**trace.carried, **trace.carried_updates}
        form = DecoderForm.of(network)
        kept = {path: next_name(path) for path in trace.carried} if form is None else form.present
        taken = {*network.input_names, *trace.carried} if form is None else set(form.taken())
        outputs = [f"{key}_output" if key in taken else key for key in network.output_names]
        outputs = outputs if form is None else [SCORES]
        emitter.reserve([*taken, *outputs, *kept.values(), "label", "probability", "probabilities"])
        if form is not None:
            lowered = lower(network, emitter, *form.write(emitter, network))
        else:
            inputs = {}
            for key, spec in zip(network.input_names, network.inputs, strict=True):
                if steps is not None and len(network.inputs) == 1:
                    inputs[key] = answer.write_front(emitter, key, spec, steps)
                else:
                    inputs[key] = emitter.port(key, spec.dtype, spec.shape)
            carried = trace.carried.items()
            states = {path: emitter.port(path, value.dtype, value.shape) for path, value in carried}
            lowered = lower(network, emitter, inputs, states)
        ports = [
            Port(key, value.dtype, value.shape) for key, value in zip(outputs, trace.outputs, strict=True)
        ]
        found = dict(zip(trace.carried, lowered.outputs[count:], strict=True))
        after = [
            (found[path], Port(name, following[path].dtype, following[path].shape))
            for path, name in kept.items()
        ]
        behind: Answer | Numbers | None = None
        if self.with_preprocessing and count == 1:
            last = trace.outputs[0]
            behind = answer.answer_for(last.spec, known, makes_probabilities(last))
        if isinstance(behind, answer.Numbers):
            results = behind.write(emitter, lowered.outputs[0], ports[0])
        elif behind is not None:
            results = behind.write(emitter, lowered.outputs[0])
        else:
            results = list(zip(lowered.outputs[:count], ports, strict=True))
        emitter.finish([*results, *after])
        return lowered, behind

    def _written(
        self,
        network: Network,
        lowered: Lowered,
        answer: Answer | Numbers | None,
        steps: Preprocessing | None,
        path: Path,
        title: str,
        texts: Mapping[str, str],
        samples: Any,
        tokenizer: Tokenizer | None,
    ) -> ExportReport:
        """Write, check and compare in a folder aside; the file appears when all of it went well."""
        import onnxruntime

        from bigmodel_onnx import document, reading, verify, versions
        from bigmodel_onnx.answer import Numbers

        opset, ir_version = versions.chosen(self.opset, self.target_runtime)
        comparison = verify.Comparison(network, lowered, self.tolerance, form=DecoderForm.of(network))
        runs = verify.drawn_inputs(network, self.batch_sizes)
        if steps is not None and len(network.inputs) == 1:
            comparison = _with_raw_input(comparison, network, steps)
            runs = {sizes: _raw(inputs, steps) for sizes, inputs in runs.items()}
        elif samples is not None:
            runs = verify.sampled_inputs(network, samples, self.batch_sizes)
        if isinstance(answer, Numbers):
            comparison = replace(
                comparison,
                expected=lambda outputs: [answer.compute(outputs[0])],
                comparable=lambda numbers: answer.steps.standard(numbers).astype(network.outputs[0].dtype),
            )
        elif answer is not None:
            comparison = replace(comparison, expected=lambda outputs: answer.compute(outputs[0]))
        with staged(path) as folder:
            sidecar = document.write(
                folder, path.name, lowered.emitter, ir_version, title, texts, self.single_file_limit
            )
            reading.check_rules(folder / path.name, shapes=True)
            differences = verify.verify(folder / path.name, comparison, runs)
            size = sum(file.stat().st_size for file in folder.iterdir())
            beside = None if tokenizer is None else f"{path.stem}.tokenizer.json"
            if tokenizer is not None and beside is not None:
                (folder / beside).write_text(tokenizer.to_json(), "utf-8")
        report = ExportReport(
            path,
            opset,
            ir_version,
            dict(Counter(operation.operator for operation in lowered.emitter.operations)),
            size,
            sidecar,
            onnxruntime.__version__,
            differences,
            tuple(port.name for port in lowered.emitter.results),
            beside,
        )
        self.tidy(path, report)
        return report

    def tidy(self, path: Path, report: ExportReport) -> None:
        """Remove the sidecars of earlier exports to this path."""
        from bigmodel_onnx import document

        for stale in document.stale_sidecars(path, report.sidecar):
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


def _with_raw_input(comparison: Any, network: Network, steps: Preprocessing) -> Any:
    (name,), dtype = network.input_names, network.inputs[0].dtype

    def to_model(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: steps.apply(inputs[name]).astype(dtype)}

    return replace(comparison, to_model=to_model)


def _raw(inputs: Mapping[str, np.ndarray], steps: Preprocessing) -> dict[str, np.ndarray]:
    """Raw values that the steps turn into about normal numbers, as far as the raw type has such values."""
    kind = np.dtype(steps.raw_dtype)
    as_floats = replace(steps, scale=steps.scale or 1.0, raw_dtype="float64")
    found = {}
    for name, array in inputs.items():
        raw = as_floats.invert(array)
        if kind.kind in "iu":
            raw = np.clip(np.rint(raw), np.iinfo(kind).min, np.iinfo(kind).max)
        found[name] = raw.astype(kind)
    return found


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


def _check_finite(network: Network) -> None:
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
