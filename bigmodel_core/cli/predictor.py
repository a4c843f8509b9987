"""A trained model that is ready to predict, whether it comes from a checkpoint or from a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core.data.dataset import Dataset
from bigmodel_core.errors import UsageError
from bigmodel_core.nn.predictions import Prediction, of_spans, predictions

if TYPE_CHECKING:
    import numpy as np

    from bigmodel_core.cli.augmented import Augmented
    from bigmodel_core.cli.port import Port
    from bigmodel_core.cli.sources import Known

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
        model: the model itself; None where ONNX Runtime computes.
        gives_masks: whether it says of each pixel of an image what it shows.
    """

    run: Callable[..., dict[str, np.ndarray]]
    ports: dict[str, Port]
    known: Known
    by: str
    are_probabilities: bool = False
    model: Any = None
    gives_masks: bool = False

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
        import numpy as np

        from bigmodel_core.cli.inputs import read, read_arrays, read_table
        from bigmodel_core.data.table_files import SUFFIXES, suffix_of

        if self.known.encoding.columns is not None and suffix_of(path) in SUFFIXES:
            names, x = read_table(path, self.known.encoding, self.takes_cells)
            return names, [np.asarray(array) for _, array in self.matched(x)]
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

    @property
    def takes_cells(self) -> bool:
        """Whether it takes the cells of a table as they are: an input for each column."""
        columns = self.known.encoding.columns
        return columns is not None and set(self.ports) == set(columns.names)

    @property
    def takes_texts(self) -> bool:
        """Whether it was trained on a data set of texts."""
        made = self.known.encoding.made_by()
        return made is not None and type(made).of_texts is not Dataset.of_texts

    def of_texts(self, texts: Sequence[str]) -> list[Prediction]:
        """The predictions for texts: a class, a label for each part, or a text that is written.

        Raises:
            DataError: a text is empty, or cannot be used.
        """
        import numpy as np

        from bigmodel_core.data.loader import Loader
        from bigmodel_core.data.split import Split
        from bigmodel_core.errors import DataError

        empty = next((number for number, text in enumerate(texts, 1) if not text.strip()), None)
        if empty is not None:
            raise DataError(f"text {empty} is empty.", fix="pass a text with at least one word.")
        encoding = self.known.encoding
        made = encoding.made_by()
        x, found = made.of_texts(texts, encoding), list[Prediction]()
        for batch, _ in Loader(Split(x), BATCH):
            inputs = [array for _, array in self.matched(batch)]
            some = texts[len(found) : len(found) + len(inputs[0])]
            if encoding.target_tokenizer is not None and len(inputs) > 1:
                found += self._written(inputs, made.length)
                continue
            outputs = self.run(*inputs)
            scores: Any = outputs if len(outputs) > 1 else next(iter(outputs.values()))
            if "probabilities" in outputs:  # of a file that gives labels
                scores = np.log(np.maximum(outputs["probabilities"], np.finfo(np.float32).tiny))
            spans = made.spans(some, scores, encoding)
            found += (
                predictions(outputs, encoding.task, encoding.labels, self.are_probabilities, len(found))
                if spans is None
                else map(of_spans, spans)
            )
        return found

    def _written(self, inputs: Sequence[np.ndarray], most: int) -> list[Prediction]:
        """The texts that a model writes, the most probable token after each.

        Args:
            inputs: the sources, and the beginnings of targets.
            most: tokens at most.
        """
        from bigmodel_core.generating.generate import written
        from bigmodel_core.generating.prompts import Prompts
        from bigmodel_core.generating.writer import Writer

        encoding = self.known.encoding
        tokenizer, sources = encoding.target_tokenizer, [row[row >= 0] for row in inputs[0]]
        assert tokenizer is not None
        if self.model is not None:
            writer = Writer.of(self.model.network, sources, encoding)
        else:
            writer = Writer.of_pairs(
                lambda *arrays: next(iter(self.run(*arrays).values())),
                Prompts(sources, are_texts=False, is_single=False),
                tokenizer,
                tokenizer.size,
            )
        return [Prediction(tokenizer.decode(tokens)) for tokens in written(writer, max_tokens=most)]

    def matched(self, x: Any) -> list[tuple[Port, Any]]:
        """Each input with the array of a split for it: by name, or in their order.

        Raises:
            UsageError: there are more or fewer arrays than inputs, or it takes cells of a table as they are.
        """
        from bigmodel_core.data.tree import leaves

        found = {path[1:]: array for path, array in leaves(x).items()}
        if self.takes_cells and set(found) != set(self.ports):
            raise UsageError(
                "the file takes the cells of a table as they are, and the samples of a data set are numbers.",
                fix="pass the table itself, as in: bigmodel predict model.onnx table.csv",
            )
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


def load(what: str, augment: Augmented | None = None) -> Predictor:
    """The named model, ready to predict.

    Args:
        what: an ONNX file, a run or a checkpoint.
        augment: how samples are augmented; None if they are not.

    Raises:
        BigmodelError: it is missing or damaged.
        UsageError: samples are to be augmented for a file.
    """
    from bigmodel_core.cli.sources import found, is_onnx

    if not is_onnx(what):
        return _from_checkpoint(what, augment)
    if augment is not None:
        augment.refuse_file()
    return _from_file(found(what))


def _from_checkpoint(what: str, augment: Augmented | None) -> Predictor:
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
    are_masks = last.spec.ndim == 4 and known.labels is not None
    own = makes_probabilities(last)
    if augment is not None:
        run = augment.averaged(run, content, len(ports), own)
    return Predictor(run, ports, known, "bigmodel", own, model, are_masks)


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
    ranks = {name: len(dims) for name, (_, dims) in getattr(session, "output_specs", {}).items()}
    rank = ranks["label"] + 1 if "label" in ranks else next(iter(ranks.values()), 0)
    are_masks = rank == 4 and known.labels is not None
    return Predictor(run, ports, known, "ONNX Runtime", are_probabilities, gives_masks=are_masks)


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
