"""What `bigmodel explain` is asked: the model, the samples, and what they are to people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.charts.texts import number
from bigmodel_core.cli.evaluate import split_of
from bigmodel_core.cli.names import named
from bigmodel_core.cli.predictor import Predictor, load
from bigmodel_core.cli.sources import found, is_onnx, load_data
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.loader import Loader
from bigmodel_core.data.split import Split
from bigmodel_core.errors import UsageError
from bigmodel_core.explaining.attribution import Attribution
from bigmodel_core.explaining.explain import explain, samples_of_texts
from bigmodel_core.explaining.explainer import Explainer
from bigmodel_core.nn.predictions import class_name
from bigmodel_core.reporting.explanation import Explained, quoted

MOST = 2000
"""Samples that methods about all samples look at; of more, as many in even distances."""


@dataclass(frozen=True)
class Request:
    """What is asked.

    Args:
        what: the run or checkpoint; the newest run if None.
        explainer: by which method; what suits the samples if None.
        data: the name of the data set; that of training if None.
        data_dir: where it is.
        part: the split.
        sample: the number of the sample; None for the first, or all of a table.
        text: what is answered, in place of a sample.
        target: as for `bm.explain`.
        output: the name of the output.
    """

    what: str | None
    explainer: Explainer | None
    data: str | None
    data_dir: Path | None
    part: str
    sample: int | None
    text: str | None
    target: Any
    output: str | None


@dataclass(frozen=True)
class _Samples:
    """Samples as the model takes them.

    Args:
        inputs: a batch of each input.
        title: what they are called.
        y: the true targets; None if they are not known.
    """

    inputs: tuple[np.ndarray, ...]
    title: str
    y: Any = None


def explained_by(request: Request, baseline: float | None, metric: str | None) -> tuple[Explained, Path]:
    """The answer, and the checkpoint or the folder of the run that it is about.

    Raises:
        UsageError: what is asked makes no sense for the model, or the method does not fit it.
        BigmodelError: the model or its data are missing or damaged.
    """
    path = found(request.what)
    if is_onnx(path):
        raise UsageError(
            "an ONNX file is run by ONNX Runtime, which gives no gradients.",
            where=str(path),
            fix="explain the run.",
        )
    predictor = load(str(path))
    explainer = request.explainer or _usual(predictor, request)
    samples = (
        _text(predictor, request) if request.text is not None else _samples(predictor, request, explainer)
    )
    if metric is not None and (samples.y is None or not explainer.is_global):
        raise UsageError("a metric is for methods that measure.", where="--metric", fix="leave it out.")
    asked: Any = None if baseline is None else _number(baseline)
    answer = explain(
        predictor.model,
        samples.inputs,
        explainer,
        request.target,
        output=request.output,
        baseline=asked,
        y=samples.y if explainer.is_global else None,
        metric=metric,
    )
    return _explained(predictor, answer, samples), path


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _usual(predictor: Predictor, request: Request) -> Explainer:
    """The method for a kind of samples, if none was named."""
    is_table = request.text is None and _kind(predictor) == "table"
    name = "integrated-gradients" if not is_table else "permutation" if request.sample is None else "shapley"
    made: Explainer = named("explainer", name, owner=__name__)
    return made


def _kind(predictor: Predictor) -> str:
    """Whether samples are texts, images, rows of a table, or something else."""
    if predictor.known.encoding.columns is not None:
        return "table"
    shapes = [(port.shape, np.dtype(port.dtype).kind) for port in predictor.ports.values()]
    if all(kind in "iu" for _, kind in shapes):
        return "text"
    if len(shapes) > 1:
        return "other"
    raw = None if predictor.known.preprocessing is None else predictor.known.preprocessing.raw_shape
    shape = shapes[0][0] if raw is None or math.prod(raw) != math.prod(shapes[0][0]) else raw
    if len(shape) == 3 and shape[0] in (1, 3):
        return "image"
    return "table" if len(shape) == 1 else "other"


# Samples --------------------------------------------------------------------------------------------------


def _text(predictor: Predictor, request: Request) -> _Samples:
    """The text that was typed.

    Raises:
        UsageError: the model takes no texts.
        DataError: the text is empty.
    """
    if request.explainer is not None and request.explainer.is_global:
        raise _of_all(request.explainer)
    x = samples_of_texts([request.text or ""], predictor.known.encoding)
    return _Samples(tuple(array for _, array in predictor.matched(x)), "the text")


def _samples(predictor: Predictor, request: Request, explainer: Explainer) -> _Samples:
    """A sample of the data, or all of them.

    Raises:
        UsageError: there is no such sample, or the method concerns all of them.
    """
    data = load_data(request.data, request.data_dir, predictor.known)
    split = split_of(data, request.part)
    if explainer.is_global:
        if request.sample is not None:
            raise _of_all(explainer)
        count = min(len(split), MOST)
        places = np.linspace(0, len(split) - 1, count).astype(np.int64)
        title = f"{count:,} {request.part} samples of {data.name}"
    else:
        place = request.sample or 0
        if not 0 <= place < len(split):
            raise UsageError(
                f"there is no sample {place}: {data.name} has {len(split):,} {request.part} samples.",
                where="--sample",
                fix=f"use 0 to {len(split) - 1}.",
            )
        places, title = np.array([place]), f"{request.part} sample {place} of {data.name}"
    some = Split(split.take(places).x, split.take(places).y)
    x, y = next(iter(Loader(some, len(places))))[:2]
    inputs = tuple(port.from_prepared(np.asarray(array)) for port, array in predictor.matched(x))
    return _Samples(inputs, title, y)


def _of_all(explainer: Explainer) -> UsageError:
    from bigmodel_core.cli.plugin_contents import shown_name

    return UsageError(
        f"{shown_name(type(explainer))} concerns all samples together.",
        where="--method",
        fix="leave --sample and --text out, or use another method, such as shapley.",
    )


# What people see ------------------------------------------------------------------------------------------


def _explained(predictor: Predictor, answer: Attribution, samples: _Samples) -> Explained:
    """The answer with the names of what it is about."""
    encoding, kind = predictor.known.encoding, _kind(predictor)
    answer = _in_units(answer, encoding)
    network = predictor.model.network
    label = _label(answer, encoding, samples)
    facts = {"Model": str(predictor.known.run or "a checkpoint"), "Samples": samples.title}
    if answer.is_global:
        title = f"What counts for {samples.title}"
        if "metric" in answer.facts:
            facts["Measured"] = f"{answer.facts['metric']}: {number(answer.facts['measured'])}"
            what = "column" if "columns" in answer.facts else "feature"
            facts["Value"] = f"what {answer.facts['metric']} loses if the {what} is shuffled"
        elif "weight" in answer.facts:
            facts["Value"] = f"weights of {answer.facts['weight']}, times the spread of the feature"
    else:
        facts |= _scores(answer, label, encoding)
        title = f"Why {facts['Explained'] if encoding.task == 'regression' else label} for {samples.title}"
        if (true := _true(samples.y, encoding)) is not None:
            facts["True"] = true
    facts["Method"] = answer.method
    if "layer" in answer.facts:
        facts["Layer"] = str(answer.facts["layer"])
    own: dict[str, Any] = {}
    if kind == "image":
        own["image"] = _pixels(samples.inputs[0][0], encoding)
    elif kind == "text":
        own["tokens"] = _tokens(answer, samples, encoding)
    else:
        shapes = {name: array.shape[not answer.is_global :] for name, array in answer.parts.items()}
        columns = answer.facts.get("columns")
        own["features"] = columns or _features(shapes, encoding)
        if not answer.is_global and columns and encoding.columns is not None:
            own["recorded"] = [encoding.columns.cell(name, *samples.inputs) for name in columns]
        elif not answer.is_global and len(samples.inputs) == 1:
            own["recorded"] = _recorded(samples.inputs[0], encoding)
    return Explained(answer, title, facts, network, samples.inputs, **own)


def _label(answer: Attribution, encoding: Encoding, samples: _Samples) -> str:
    """What is explained of the one sample, or of all."""
    if answer.target is None or answer.is_global:
        return "the answers"
    chosen = np.asarray(answer.target[0])
    *steps, last = chosen.reshape(-1).tolist()
    where = f" at step {', '.join(map(str, steps))}" if steps else ""
    tokenizer = encoding.target_tokenizer or encoding.tokenizer
    last_input = samples.inputs[-1]
    if len(steps) == 1 and tokenizer is not None and last_input.ndim == 2 and steps[0] < last_input.shape[1]:
        where += f" ({quoted(_piece(int(last_input[0, steps[0]]), tokenizer, None))})"
    if encoding.task == "regression":
        return (encoding.target or f"output {last}") + where
    if steps and tokenizer is not None and len(encoding.labels or ()) in (0, tokenizer.size):
        return f"the token {quoted(_piece(last, tokenizer, None))}{where}"
    return f"class {class_name(last, encoding.labels)}{where}"


def _scores(answer: Attribution, label: str, encoding: Encoding) -> dict[str, str]:
    assert answer.outputs is not None
    is_number, own = encoding.task == "regression", number(float(answer.outputs[0]))
    found = {"Explained": f"{label} = {own}" if is_number else f"{label}, score {own}"}
    if answer.baseline is not None:
        base, total = float(answer.baseline[0]), float(answer.total[0])
        above = number(float(answer.outputs[0]) - base)
        found["Adds up"] = f"{number(total)} of {above}, above {number(base)} at the baseline"
    return found


def _true(y: Any, encoding: Encoding) -> str | None:
    """The true target of one sample."""
    if not isinstance(y, np.ndarray) or y.reshape(-1).shape != (1,):
        return None
    if encoding.task == "regression":
        steps = encoding.target_preprocessing
        value = y if steps is None else steps.invert(y.reshape(1, *steps.raw_shape))
        return number(float(np.asarray(value).reshape(-1)[0]))
    return class_name(int(y.reshape(-1)[0]), encoding.labels)


def _in_units(answer: Attribution, encoding: Encoding) -> Attribution:
    """Values of numbers in the units of the recorded targets."""
    from dataclasses import replace

    steps = encoding.target_preprocessing
    if steps is None or answer.is_global or answer.outputs is None or len(steps.raw_shape) != 1:
        return answer
    place = int(np.asarray(answer.target).reshape(-1)[0])
    ends = np.asarray(steps.invert(np.stack([np.zeros(steps.raw_shape), np.ones(steps.raw_shape)])))[:, place]
    zero, unit = float(ends[0]), float(ends[1] - ends[0])
    values = answer.values
    wide = (
        tuple(None if array is None else array * unit for array in values)
        if isinstance(values, tuple)
        else values * unit
    )
    base = None if answer.baseline is None else zero + unit * answer.baseline
    return replace(answer, values=wide, outputs=zero + unit * answer.outputs, baseline=base)


def _pixels(x: np.ndarray, encoding: Encoding) -> np.ndarray:
    """A sample as pixels."""
    from bigmodel_core.charts.colours import image

    steps = encoding.preprocessing
    if steps is not None and math.prod(steps.raw_shape) == x.size:
        raw = np.asarray(steps.invert(x.reshape(1, *steps.raw_shape))[0], np.float64) * steps.scale
        if raw.min() >= -0.01 and raw.max() <= 1.01:
            return image(np.rint(np.clip(raw, 0, 1) * 255).astype(np.uint8))
        return image(raw)
    return image(x)


def _tokens(answer: Attribution, samples: _Samples, encoding: Encoding) -> dict[str, list[str]]:
    """The tokens of a text, by the name of the input that holds them."""
    found = {}
    tokenizers = [encoding.tokenizer, encoding.target_tokenizer if len(samples.inputs) > 1 else None]
    for at, name in enumerate(answer.names):
        tokenizer = tokenizers[at] if at < len(tokenizers) else None
        if (at and tokenizer is None) or name not in answer.parts:
            continue
        ids = samples.inputs[at][0]
        found[name] = [_piece(int(token), tokenizer, encoding.labels) for token in ids[ids >= 0]]
    return found


def _piece(token: int, tokenizer: Any, labels: Sequence[str] | None) -> str:
    if tokenizer is not None:
        return tokenizer.decode([token], keep_special=True) or str(token)
    return class_name(token, labels)


def _features(shapes: Mapping[str, Sequence[int]], encoding: Encoding) -> list[str]:
    """The names of a sample's numbers, of several inputs behind the name of theirs."""
    if len(shapes) > 1:
        columns = encoding.columns
        if columns is not None and set(shapes) == {"numbers", "categories"}:
            return [*columns.features, *columns.coded]
        named = {name: _features({name: shape}, encoding) for name, shape in shapes.items()}
        return [f"{name} {feature}" for name, features in named.items() for feature in features]
    (shape,) = shapes.values()
    count = math.prod(shape)
    if encoding.features is not None and len(encoding.features) == count:
        return list(encoding.features)
    if len(shape) == 1:
        return [f"column {place + 1}" for place in range(count)]
    if len(shape) == 2 and shape[1] == 1:
        return [f"step {place}" for place in range(count)]
    return [str(list(map(int, np.unravel_index(place, tuple(shape))))) for place in range(count)]


def _recorded(x: np.ndarray, encoding: Encoding) -> list[str]:
    """A sample's numbers as they were recorded."""
    steps = encoding.preprocessing
    raw = x
    if steps is not None and math.prod(steps.raw_shape) == x[0].size:
        raw = steps.invert(x.reshape(len(x), *steps.raw_shape))
    return [f"{float(value):.6g}" for value in np.asarray(raw[0]).reshape(-1)]
