"""A trained model that is ready to predict, whether it comes from a checkpoint or from a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from bigmodel_core.cli.port import Port
    from bigmodel_core.cli.sources import Known
    from bigmodel_core.nn.predictions import Prediction

BATCH = 256


@dataclass(frozen=True)
class Predictor:
    """A model that is ready to predict.

    Args:
        run: outputs by name for a batch of its inputs, numbers in the units of the recorded targets.
        ports: what it takes, by name.
        known: what it says about itself.
        by: what computes.
        are_probabilities: whether its own last step makes probabilities.
    """

    run: Callable[..., dict[str, np.ndarray]]
    ports: dict[str, Port]
    known: Known
    by: str
    are_probabilities: bool = False

    @property
    def port(self) -> Port:
        """What it takes as its one input.

        Raises:
            UsageError: it takes several.
        """
        if len(self.ports) != 1:
            raise UsageError(
                f"the model takes {len(self.ports)} inputs: {', '.join(self.ports)}.",
                fix="pass a .npz with an array for each of them.",
            )
        return next(iter(self.ports.values()))

    def read(self, path: Path, *, invert: bool = False) -> tuple[list[str], list[np.ndarray]]:
        """The samples in a file, with a name for each: a batch for each input."""
        from bigmodel_core.cli.inputs import read, read_arrays

        if len(self.ports) > 1:
            return read_arrays(path, self.ports)
        names, batch = read(path, self.port, invert=invert)
        return names, [batch]

    def prepared(self, x: Any, start: int, stop: int) -> list[np.ndarray]:
        """A batch for each input from some samples of a data set, which are preprocessed already.

        Args:
            x: of a split.
            start, stop: which samples.

        Raises:
            UsageError: the samples have other inputs.
        """
        return [port.from_prepared(array[start:stop]) for port, array in self.matched(x)]

    def matched(self, x: Any) -> list[tuple[Port, Any]]:
        """Each input with the array of a split for it: by name, or in their order.

        Raises:
            UsageError: there are more or fewer arrays than inputs.
        """
        from bigmodel_core.data.tree import leaves

        found = {path[1:]: array for path, array in leaves(x).items()}
        if set(found) == set(self.ports):
            return [(port, found[name]) for name, port in self.ports.items()]
        if len(found) != len(self.ports):
            inputs = "1 input" if len(found) == 1 else f"{len(found)} inputs"
            raise UsageError(
                f"the samples have {inputs}, and the model takes {len(self.ports)}: {', '.join(self.ports)}.",
                fix="name the data set that the model was trained on.",
            )
        return list(zip(self.ports.values(), found.values(), strict=True))

    def predictions(self, *inputs: np.ndarray) -> list[Prediction]:
        """The predictions for a batch of any size."""
        from bigmodel_core.cli.port import converted
        from bigmodel_core.nn.predictions import predictions

        ports = self.ports.values()
        given = [converted(x, port, "input") for x, port in zip(inputs, ports, strict=True)]
        count = next((len(x) for x, port in zip(given, ports, strict=True) if port.is_batched), 1)
        found: list[Prediction] = []
        for start in range(0, count, BATCH):
            parts = [
                x[start : start + BATCH] if port.is_batched else x
                for x, port in zip(given, ports, strict=True)
            ]
            found += predictions(
                self.run(*parts), self.known.task, self.known.labels, self.are_probabilities, start
            )
        return found


def load(what: str) -> Predictor:
    """The named model, ready to predict.

    Raises:
        BigmodelError: it is missing or damaged.
    """
    from bigmodel_core.cli.sources import found, is_onnx

    return _from_file(found(what)) if is_onnx(what) else _from_checkpoint(what)


def _from_checkpoint(what: str) -> Predictor:
    import numpy as np

    from bigmodel_core.cli.port import Port
    from bigmodel_core.cli.sources import checkpoint, known_of
    from bigmodel_core.nn.outputs import listed
    from bigmodel_core.nn.probabilities import makes_probabilities
    from bigmodel_core.train.evaluation import in_recorded_units

    content = checkpoint(what)
    model, known = content.restore(), known_of(content)
    network = model.network
    ports = {name: Port.of(spec.shape, spec.dtype, known.encoding) for name, spec in model.inputs.items()}

    def run(*inputs: np.ndarray) -> dict[str, np.ndarray]:
        outputs = [in_recorded_units(np.asarray(array), known.encoding) for array in listed(model(*inputs))]
        return dict(zip(network.output_names, outputs, strict=True))

    last = network.trace(training=False).outputs[0]
    return Predictor(run, ports, known, "bigmodel", makes_probabilities(last))


def _from_file(path: Path) -> Predictor:
    from bigmodel_core.cli.port import Port
    from bigmodel_core.cli.sources import known_of_file
    from bigmodel_core.exporting.export import reader_of
    from bigmodel_core.train.evaluation import in_recorded_units

    session = reader_of(path, "session").session(path)
    known = known_of_file(session.metadata)
    is_whole = session.metadata.get("input") == "raw"
    is_raw = known.preprocessing is not None and is_whole
    ports = {
        name: Port.of(dims, dtype, known.encoding, is_raw=is_raw and len(session.input_specs) == 1)
        for name, (dtype, dims) in session.input_specs.items()
    }

    def run(*inputs: np.ndarray) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = session.run(*inputs)
        if is_whole:  # the file itself undoes the scaling after the model
            return found
        return {key: in_recorded_units(array, known.encoding) for key, array in found.items()}

    are_probabilities = bool(getattr(session, "gives_probabilities", False))
    return Predictor(run, ports, known, "ONNX Runtime", are_probabilities)


def check_samples(predictor: Predictor, data: Any) -> None:
    """Raise unless the samples of a data set are as large as the model's inputs.

    Raises:
        DataError: they are not.
    """
    import math

    from bigmodel_core.errors import DataError

    for port, array in predictor.matched(data.train.x):
        shape = array.shape[1:]
        if not port.takes(shape) and math.prod(shape) != math.prod(port.shape):
            raise DataError(
                f"its samples have shape {shape}, the model takes {port.shape}.",
                where=data.name,
                fix="name the data set that the model was trained on.",
            )
