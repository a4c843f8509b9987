"""The checks of exporters: small models are written, and what is said of the files is true."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core import registry
from bigmodel_core.errors import BigmodelError
from bigmodel_core.exporting.export import export
from bigmodel_core.exporting.exporter import Exporter
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.sequential import Sequential
from bigmodel_core.registry.askers import CORE
from bigmodel_core.testing.callback_checks import small_data, small_model
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, expect
from bigmodel_core.testing.child import isolated
from bigmodel_core.testing.examples import draw
from bigmodel_core.testing.registry_checks import registry_checks


def exporter_checks(exporter: Exporter, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of an exporter."""
    subject = ExporterSubject(exporter)

    def on_model(check: Callable[[ExporterSubject], None]) -> Callable[[], None]:
        return lambda: isolated(check, subject.writing())

    return {
        "writes a file": subject.check_writes,
        "report": on_model(check_report),
        "as the command line calls it": on_model(check_command),
        "model unmodified": on_model(check_unmodified),
        "same bytes each time": on_model(check_bytes),
        "suffix": lambda: check_suffix(exporter),
        **registry_checks(exporter),
    }


@dataclass
class Written:
    """A file and its report.

    Args:
        path: the file.
        report: what was returned.
        content: the bytes of the file and of those beside it, by name.
    """

    path: Path
    report: Any
    content: dict[str, bytes]


def _of_vectors() -> Layer:
    model = small_model()
    model.build(Spec(("N", 4)), seed=0)
    return model


def _of_images() -> Layer:
    dense, flatten, convolution = (
        registry.get("layer", name, owner=CORE) for name in ("dense", "flatten", "conv2d")
    )
    model = Sequential(convolution(2, 3), flatten(), dense(3))
    model.build(Spec(("N", 1, 6, 6)), seed=0)
    return model


class ExporterSubject:
    """An exporter, and the first of a few small models that it can write."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        self._make: Callable[[], Layer] | None = None

    @contextmanager
    def written(self, model: Layer, **details: Any) -> Iterator[Written]:
        """A model's file, in a folder of its own."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model{self.exporter.suffix}"
            report = export(model, path, exporter=self.exporter, **details)
            content = {item.name: item.read_bytes() for item in sorted(Path(folder).iterdir())}
            yield Written(path, report, content)

    def check_writes(self) -> None:
        """A file that is not empty appears for a model of vectors or of images."""
        problem: BigmodelError | None = None
        for make in (_of_vectors, _of_images):
            try:
                isolated(self._check_write, make)
            except BigmodelError as error:
                problem = problem or error
                continue
            self._make = make
            return
        assert problem is not None
        raise AssertionError(f"it writes none of the small models; the first said: {problem}") from problem

    def _check_write(self, make: Callable[[], Layer]) -> None:
        with self.written(make()) as done:
            expect(done.content[done.path.name], "the file is empty")

    def writing(self) -> ExporterSubject:
        """Itself, once it has written a model.

        Raises:
            CheckSkipped: it cannot.
        """
        if self._make is None:
            try:
                self.check_writes()
            except Exception as error:
                raise CheckSkipped("the check 'writes a file' fails") from error
        return self

    @property
    def model(self) -> Layer:
        """A model that it writes, made anew, for the last export may have changed it."""
        assert self._make is not None
        return self._make()


def check_report(subject: ExporterSubject) -> None:
    """The report is for people and for programs, and names the file by its own place."""
    with subject.written(subject.model) as done:
        told = json.loads(json.dumps(done.report.to_dict(), allow_nan=False))
        text = str(done.report)
        expect(told, "to_dict() of the report is empty")
        expect(
            text.strip() and " object at 0x" not in text,
            f"str(report) is {text!r}; define __str__, which `bigmodel export` prints",
        )
        for where, said in (("to_dict()", json.dumps(told)), ("str()", text)):
            expect(
                f".{done.path.name}." not in said,
                f"{where} of the report names a folder that is gone, where the file was written first; keep"
                " the path that export was given in a field of the report, which is set to the file's place",
            )


def check_command(subject: ExporterSubject) -> None:
    """It takes what `bigmodel export` knows of a run: the model's name, its measures and its data."""
    details = {"name": "model", "metrics": {"val_loss": 0.5}, "encoding": small_data().encoding}
    try:
        with subject.written(subject.model, **details):
            pass
    except BigmodelError as error:
        raise AssertionError(
            f"with {', '.join(details)}, which `bigmodel export` passes: {error}; end the parameters of"
            " export with **details"
        ) from error


def check_unmodified(subject: ExporterSubject) -> None:
    """The model has the same parameters and computes the same afterwards."""
    model = subject.model
    network = model.network
    x = draw(network.inputs[0], 3)
    before, computed = {path: array.copy() for path, array in network.state().items()}, network(x)
    with subject.written(model):
        pass
    for path, array in network.state().items():
        expect(np.array_equal(array, before[path]), f"exporting changed {path}")
    expect(np.array_equal(network(x), computed), "after exporting the model computes something else")


def check_bytes(subject: ExporterSubject) -> None:
    """The same model gives the same files, so that files can be compared and say nothing of the machine."""
    with subject.written(subject.model) as first, subject.written(subject.model) as second:
        expect(list(first.content) == list(second.content), "a second export wrote other files")
        differing = [name for name, content in first.content.items() if content != second.content[name]]
        expect(not differing, f"a second export wrote other bytes to {', '.join(differing)}")


def check_suffix(exporter: Exporter) -> None:
    """The file ending that chooses it begins with a dot; without one it is chosen by its name alone."""
    suffix = exporter.suffix
    expect(isinstance(suffix, str), f"suffix is {suffix!r}, expected a text such as '.onnx'")
    expect(
        not suffix or (suffix == Path(f"model{suffix}").suffix and len(suffix) > 1),
        f"suffix is {suffix!r}, which is no file ending; write it with its dot, as in '.onnx'",
    )
