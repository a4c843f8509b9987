"""`bm.explain`: what of its inputs a model's answer came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.data.dataset import Dataset
from bigmodel_core.data.encoding import UNKNOWN, Encoding
from bigmodel_core.data.loader import Loader
from bigmodel_core.data.split import Split
from bigmodel_core.errors import DataError, ShapeError, UnknownNameError, UsageError
from bigmodel_core.explaining.attribution import Attribution
from bigmodel_core.explaining.explainer import Explainer
from bigmodel_core.explaining.measure import measure_of
from bigmodel_core.explaining.question import Question
from bigmodel_core.explaining.sums import check_sums
from bigmodel_core.explaining.targets import Known, targets_of
from bigmodel_core.generating.prompts import padded
from bigmodel_core.nn.given import check_model, inputs_of, network_of
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import listed
from bigmodel_core.nn.probabilities import makes_probabilities
from bigmodel_core.registry import config
from bigmodel_core.registry.askers import CORE
from bigmodel_core.train.checkpoint import load
from bigmodel_core.train.metric import Metric
from bigmodel_core.train.restored import RestoredModel
from bigmodel_core.train.trained_model import TrainedModel


def explain(
    model: Any,
    x: Any,
    method: str | Explainer = "integrated-gradients",
    target: Any = None,
    *,
    output: str | None = None,
    baseline: Any = None,
    y: Any = None,
    metric: str | Metric | None = None,
) -> Attribution:
    """What of its inputs a model's answers came from, in inference mode.

    Args:
        model: a built model or a layer, which is built for `x`; a trainer; or the path of a run or a
            checkpoint.
        x: a batch, as the model takes it: an array, or a tuple or a dict of several inputs. A text or a list
            of texts, if the model was trained on a data set of texts.
        method: an explainer, or its name, with options as in "integrated-gradients:steps=100":
            `bm.explainers` lists them.
        target: which number of the output is explained: the number of a class or its label, or the number of
            an output; for outputs of steps that of the last step, or a tuple (step, class); a list has one
            for each sample. The most probable class if None. Scores are explained as the model gives them.
        output: the name of the output, of a model that has several; the first if None.
        baseline: what counts as nothing: a number, an array that broadcasts to `x`, or the number of a token;
            of several inputs a tuple. If None, zeros: the mean of standardised features, and for tokens a
            vector of zeros.
        y: the true targets of the samples, for methods that measure.
        metric: what is measured; accuracy, or r2 of numbers, if None.

    Raises:
        UnknownNameError: there is no such method, output or layer.
        UsageError: the method does not fit the model, or there is no such target.
        NumericsError: the values of an additive method do not add up to within 1 % of what they should.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> model = bm.layers.Dense(1)
    >>> network = model.build(bm.Spec(("N", 2)))
    >>> report = model.load_state({"weight": np.array([[2.0], [-1.0]], "float32")}, partial=True)
    >>> explain(model, np.array([[3.0, 4.0]], "float32")).values.tolist()
    [[6.0, -4.0]]
    """
    method = config.make("explainer", method, owner=CORE)
    assert isinstance(method, Explainer)
    network, inputs, encoding = _known(model, x)
    number = _output_number(network, output)
    task = None if encoding is None else encoding.task
    value = network.trace(training=False).outputs[number]
    if not value.spec.is_float or value.ndim == 0:
        raise UsageError(
            f"the output is {value.spec}.", where=output, fix="explain scores, before argmax or a comparison."
        )
    outputs = np.asarray(listed(network(*inputs))[number])
    known = Known(
        task,
        None if encoding is None else encoding.labels,
        makes_probabilities(value),
        _last_steps(network, inputs, outputs),
    )
    question = Question(
        network,
        inputs,
        targets_of(target, outputs, known),
        number,
        _each(baseline, network),
        measure_of(y, metric, encoding, known),
        [_origins(array, encoding) for array in inputs],
    )
    found = method.explain(question)
    check_sums(found, method)
    return found


# What is given ----------------------------------------------------------------------------------------------


def _known(model: Any, x: Any) -> tuple[Network, tuple[np.ndarray, ...], Encoding | None]:
    """The built model, its inputs, and the encoding of the data that it was trained on."""
    encoding = None
    if isinstance(model, (str, Path)):
        model = load(model)
    if isinstance(model, TrainedModel):
        model, encoding = model.model, model.encoding
    check_model(model)
    layer = model.layer if isinstance(model, Network) else model
    if encoding is None and isinstance(layer, RestoredModel):
        encoding = layer.about.encoding
    if _is_text(x):
        x = samples_of_texts([x] if isinstance(x, str) else list(x), encoding or UNKNOWN)
    inputs = inputs_of(model, x)
    network = network_of(model, inputs, 0, "cpu")
    given = tuple(network.check_inputs(inputs).values())
    if any(spec.ndim == 0 for spec in network.inputs):
        raise UsageError(
            "the model has an input without an axis of samples.", fix="explain a model of batches."
        )
    if not len(given[0]):
        raise DataError("there is no sample to explain.", fix="pass at least one.")
    if len({len(array) for array in given}) > 1:
        raise ShapeError(
            f"the inputs differ in length: {', '.join(str(len(array)) for array in given)}.",
            fix="pass the same number of samples for each.",
        )
    return network, given, encoding or network.encoding


def _origins(array: np.ndarray, encoding: Encoding | None) -> tuple[str, ...] | None:
    """The column of a table that each feature of an input came from; None if it is no such table."""
    columns = None if encoding is None else encoding.columns
    if columns is None or array.ndim != 2:
        return None
    names = columns.coded if array.dtype.kind in "iu" else columns.origins
    return names if len(names) == array.shape[1] else None


def _is_text(x: Any) -> bool:
    return isinstance(x, str) or (
        isinstance(x, list) and bool(x) and all(isinstance(item, str) for item in x)
    )


def samples_of_texts(texts: Sequence[str], encoding: Encoding) -> Any:
    """The samples of texts, with -1 behind shorter ones; a language model goes on with their tokens.

    Raises:
        UsageError: the model was trained on no texts.
        DataError: a text is empty.
    """
    made = encoding.made_by()
    empty = next((number for number, text in enumerate(texts, 1) if not text.strip()), None)
    if empty is not None:
        which = "the text" if len(texts) == 1 else f"text {empty}"
        raise DataError(f"{which} is empty.", fix="pass a text with at least one word.")
    if made is not None and type(made).of_texts is not Dataset.of_texts:
        batch = next(iter(Loader(Split(made.of_texts(texts, encoding)), len(texts))))
        return batch[0]
    if encoding.tokenizer is not None:
        return padded([encoding.tokenizer.encode(text).ids for text in texts])
    if encoding.name:
        raise UsageError(
            f"the model was trained on {encoding.name}, whose samples are no texts.",
            fix="explain samples of its data.",
        )
    raise UsageError(
        "nothing says how a text becomes a sample of this model.",
        fix="pass arrays of tokens, or a model that was trained on a data set of texts.",
    )


def _output_number(network: Network, name: str | None) -> int:
    names = network.output_names
    if name is None:
        return 0
    if name not in names:
        raise UnknownNameError(f"the model has no output '{name}'.", fix=f"use one of {', '.join(names)}.")
    return names.index(name)


def _each(baseline: Any, network: Network) -> Sequence[Any]:
    """The baseline of each input."""
    names = network.input_names
    if isinstance(baseline, Mapping):
        if not set(baseline) <= set(names):
            odd = next(iter(set(baseline) - set(names)))
            raise UnknownNameError(
                f"the model has no input '{odd}'.", where="baseline", fix=f"use {', '.join(names)}."
            )
        return [baseline.get(name) for name in names]
    if isinstance(baseline, tuple):
        if len(baseline) != len(names):
            raise UsageError(
                f"there are {len(baseline)} baselines for {len(names)} inputs.",
                where="baseline",
                fix=f"pass one for each of {', '.join(names)}.",
            )
        return baseline
    return [baseline] * len(names)


def _last_steps(network: Network, inputs: Sequence[np.ndarray], outputs: np.ndarray) -> np.ndarray | None:
    """The last step of each sample that holds a token, where outputs have as many steps as tokens."""
    if outputs.ndim != 3:
        return None
    for array in reversed(inputs):
        if array.dtype.kind in "iu" and array.shape[:2] == outputs.shape[:2] and array.ndim == 2:
            steps = np.where(array >= 0, np.arange(array.shape[1]), 0)
            return np.asarray(steps.max(1, initial=0))
    return None
