"""Published weights as models, and models as files that others read."""

from __future__ import annotations

import fnmatch
import json
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core import registry
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.like import encoding_held
from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.data.tokenizer_files import FILE as TOKENIZER
from bigmodel_core.data.tokenizer_files import SENTENCES
from bigmodel_core.errors import BigmodelWarning, CheckpointError, ConfigError, UsageError
from bigmodel_core.nn.pretrained import IGNORED, Pretrained, Weight
from bigmodel_core.train.atomic import write_atomically
from bigmodel_core.train.image_settings import read_image_settings, write_image_settings
from bigmodel_core.train.restored import RestoredModel
from bigmodel_core.train.weight_files import read_json, read_weights, write_weights

if TYPE_CHECKING:
    from bigmodel_core.nn.model import Model

CONFIG = "config.json"
SHARD = 5_000_000_000


_OF_TRAINING = ("size", "dropout", "recompute")
"""Fields that change no number that a model gives."""
_FOLLOWS = ("hidden", "head_width", "image", "patch", "groups")
"""Fields that follow from others where they are None."""
OLDER = {".gamma": ".weight", ".beta": ".bias"}
"""Endings of names in the oldest files, and what they are now."""


def from_pretrained(
    folder: str | Path, model: str | type[Any] | None = None, *, device: str = "cpu", **options: Any
) -> Model:
    """A model with the published weights in a folder, in the format of Hugging Face's transformers.

    The folder holds `config.json` and `model.safetensors`, or several files that
    `model.safetensors.index.json` names. The model keeps what else is there: a tokenizer, the labels of
    classes, and how pixels become its input (`preprocessor_config.json`). Which families are known depends on
    the plugins: a class of a model says so by its attribute `pretrained`.

    Args:
        folder: where the files are.
        model: a model of the same family, by name or class, for another task than that of the file; by
            default the one that computes what the file is for.
        device: where the model computes.
        options: fields of the model in place of what the configuration says, such as `classes`.

    Returns:
        The built model; its weights are those of the file, all of them. If a model or options are given, a
        head that the file has not, or for another number of classes, begins anew, and a warning says so.

    Raises:
        CheckpointError: a file is missing, damaged or pickled; an array is missing, superfluous or of another
            shape. The message lists the names.
        ConfigError: no installed model computes what `config.json` describes, or an option is unknown.
    """
    made, new = read_pretrained(folder, model, options, device)
    if new:
        listed = f"{', '.join(new[:4])}{', ...' if len(new) > 4 else ''}"
        warnings.warn(f"new, so to be trained: {listed}.", BigmodelWarning, stacklevel=2)
    return made


def read_pretrained(
    folder: str | Path,
    model: str | type[Any] | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> tuple[Model, list[str]]:
    """The model, and the paths of its parameters that begin anew; see `from_pretrained`."""
    place, options = Path(folder), options or {}
    config = read_json(place / CONFIG)
    cls, family = _class_for(config, str(place / CONFIG), model)
    fields = {**_fields_of(family, config, str(place / CONFIG)), **options}
    made: Model = registry.config.build(cls, fields)
    tokenizer = _tokenizer(place, family)
    _check_vocabulary(made, tokenizer, place)
    network = made.build(*family.inputs(made, config), device=device)
    specs = {path: parameter.spec for path, parameter in network.parameters.items()}
    may_be_new = family.new if model is not None or options else ()
    state = _state(made, family, read_weights(place), specs, place, may_be_new)
    network.load_state(state, partial=True)
    labels = _labels(made, config)
    network.encoding = Encoding(
        family.kind,
        None if labels is None else "classification",
        labels,
        read_image_settings(place, network.inputs),
        tokenizer=tokenizer,
    )
    return made, [path for path in specs if path not in state]


def _tokenizer(place: Path, family: Pretrained) -> Tokenizer | None:
    """That of a folder, if it has one; a vocabulary by itself counts if the family reads it in one way.

    Raises:
        DataError: it cannot be read, or is one of SentencePiece alone.
    """
    files = [TOKENIZER, *SENTENCES, *([family.vocabulary] if family.vocabulary else [])]
    return Tokenizer.load(place) if any((place / name).is_file() for name in files) else None


def _labels(model: Any, config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names of the classes, unless they are numbers, or others than the model's."""
    names = config.get("id2label")
    if not isinstance(names, dict) or len(names) < 2 or getattr(model, "classes", None) != len(names):
        return None
    found = [names.get(str(number)) for number in range(len(names))]
    if not all(isinstance(name, str) for name in found) or found == _numbered(len(found)):
        return None
    return tuple(map(str, found))


def _numbered(count: int) -> list[str]:
    return [f"LABEL_{number}" for number in range(count)]


def to_pretrained(model: Model, folder: str | Path, *, shard: int = SHARD) -> None:
    """Write a model as files that Hugging Face's transformers read.

    Args:
        model: a built or loaded model of a class that says how, by its attribute `pretrained`.
        folder: where to; `config.json`, the weights, and `tokenizer.json` if the model has a tokenizer.
        shard: the most bytes of a file with weights.

    Raises:
        UsageError: the class of the model does not say how.
    """
    model = _as_defined(model)
    families: tuple[Pretrained, ...] = getattr(type(model), "pretrained", ())
    if not families:
        raise UsageError(
            f"{type(model).__name__} has no form in which others read it.",
            fix="save it with bm.save, or export it with bm.export; of a model with adapters, pass merged().",
        )
    family, described = _described(model, families)
    place, state = Path(folder), model.state()
    arrays: dict[str, Any] = {}
    for weight in family.weights(model):
        array = weight.written(state[weight.path])
        if weight.part is None:
            arrays[weight.name] = array
        else:
            arrays.setdefault(weight.name, [None] * weight.part[1])[weight.part[0]] = array
    whole = {
        name: np.concatenate(array, -1) if isinstance(array, list) else array
        for name, array in arrays.items()
    }
    config = {
        "model_type": family.kind,
        "architectures": list(family.architectures[:1]),
        "torch_dtype": "float32",
        **described,
    }
    place.mkdir(parents=True, exist_ok=True)
    write_weights(place, whole, shard)
    encoding = encoding_held(model)
    if encoding is not None:
        write_image_settings(place, model.network.inputs, encoding.preprocessing)
    if encoding is not None and encoding.tokenizer is not None:
        encoding.tokenizer.save(place)
    write_atomically(place / CONFIG, [json.dumps(config, indent=2, sort_keys=True).encode()])


def _as_defined(model: Any) -> Any:
    """A loaded model as its class defines it, if a plugin offers that; others as they are."""
    about = getattr(model, "about", None) if isinstance(model, RestoredModel) else None
    if about is None or "name" not in (about.config or {}):
        return model
    found = registry.config.from_config("model", about.config)
    found.build(*model.network.inputs)
    found.load_state(model.state())
    found.network.encoding = encoding_held(model)
    return found


def _named_classes(model: Any) -> dict[str, Any]:
    """What a configuration says of the classes that a model tells apart."""
    count, encoding = getattr(model, "classes", None), encoding_held(model)
    if not isinstance(count, int):
        return {}
    labels = list(encoding.labels or ()) if encoding is not None else []
    if count == 1:  # the score of one class, whose probability is by a sigmoid
        return {
            "id2label": {"0": labels[1] if len(labels) == 2 else "LABEL_0"},
            "problem_type": "multi_label_classification",
        }
    labels = labels if len(labels) == count else _numbered(count)
    return {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def _described(model: Any, families: tuple[Pretrained, ...]) -> tuple[Pretrained, dict[str, Any]]:
    """Which of the families of a class computes what the model does, and the configuration: one that gives
    the fields of the model when it is read.

    Raises:
        UsageError: none does; names what they have otherwise.
    """
    classes = _named_classes(model)
    odd = []
    for family in families:
        config = {**classes, **family.config(model)}
        read = type(model)(**family.fields(config))
        found = [
            f"{item.name}={getattr(read, item.name)!r}"
            for item in fields(model)
            if item.name not in _OF_TRAINING
            and getattr(read, item.name) != getattr(model, item.name)
            and not (item.name in _FOLLOWS and getattr(model, item.name) is None)
        ]
        if not found:
            return family, config
        odd.append(f"{family.kind} has {', '.join(found)}")
    raise UsageError(
        f"no published family computes what this {type(model).__name__} does: {'; '.join(odd)}.",
        where="to_pretrained",
        fix="save it with bm.save, or export it with bm.export.",
    )


def _class_for(
    config: Mapping[str, Any], where: str, model: str | type[Any] | None
) -> tuple[type[Any], Pretrained]:
    """The class of models that a configuration describes, or that is asked for, and how it reads its
    weights."""
    kind, wanted = config.get("model_type"), config.get("architectures") or []
    known: list[tuple[type[Any], Pretrained]] = [
        (cls, family) for cls in registry.classes("model") for family in getattr(cls, "pretrained", ())
    ]
    asked = registry.get("model", model) if isinstance(model, str) else model
    of_kind = [
        (cls, family) for cls, family in known if family.kind == kind and (asked is None or cls is asked)
    ]
    for cls, family in of_kind:
        if not wanted or set(wanted) & set(family.architectures):
            return cls, family
    if asked is not None and of_kind:
        return of_kind[0]
    kinds = sorted({family.kind for _, family in known})
    what = " and ".join(map(str, wanted)) or repr(kind)
    if asked is not None:
        names = sorted({registry.display_name(cls) for cls, family in known if family.kind == kind})
        raise ConfigError(
            f"it describes {what}, which {registry.display_name(asked)} does not compute.",
            where=where,
            fix=f"models of this family are {', '.join(names)}."
            if names
            else f"known families are {', '.join(kinds)}; a plugin's model may offer others.",
        )
    offered = [f"{registry.display_name(cls)} ({', '.join(family.architectures)})" for cls, family in of_kind]
    raise ConfigError(
        f"it describes {what}, which no installed model computes.",
        where=where,
        fix=f"of this family there are {', '.join(offered)}; one that is named takes what fits, and begins"
        " its head anew: bm.from_pretrained(folder, model=...)."
        if offered
        else f"known families are {', '.join(kinds)}; a plugin's model may offer others.",
    )


def _fields_of(family: Pretrained, config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of the class for a configuration.

    Raises:
        ConfigError: it asks for what the class does not compute, or says what nobody here knows.
    """
    for key, value in family.fixed.items():
        if config.get(key, value) not in (value, None):
            raise ConfigError(
                f"{key} is {config[key]!r}, and models of this kind compute with {value!r} alone.",
                where=where,
                fix="use weights that were trained so.",
            )
    if config.get("pruned_heads"):
        raise ConfigError("some heads are pruned, which is not known here.", where=where)
    unknown = sorted(set(config) - IGNORED - family.read - set(family.fixed))
    if unknown:
        raise ConfigError(
            f"the configuration has keys that are not known here: {', '.join(unknown)}.",
            where=where,
            fix="remove those that change no number; the others need a model that computes them.",
        )
    try:
        return family.fields(config)
    except KeyError as error:
        raise ConfigError(
            f"the configuration has no {error.args[0]}.",
            where=where,
            fix="use the config.json that belongs to the weights.",
        ) from None


def _check_vocabulary(model: Any, tokenizer: Tokenizer | None, place: Path) -> None:
    size = getattr(model, "vocabulary", None)
    if tokenizer is not None and isinstance(size, int) and tokenizer.size > size:
        raise CheckpointError(
            f"the tokenizer has {tokenizer.size} tokens, and the model {size}.",
            where=str(place),
            fix="use the tokenizer that the model was trained with.",
        )


def _state(
    model: Any,
    family: Pretrained,
    arrays: Mapping[str, np.ndarray],
    specs: Mapping[str, Any],
    place: Path,
    new: tuple[str, ...],
) -> dict[str, np.ndarray]:
    """The parameters of a model, out of the arrays of a file; without those that may begin anew, and do.

    Raises:
        CheckpointError: others are missing, superfluous or of another shape.
    """
    arrays = {_renamed(name): array for name, array in arrays.items()}
    found, used, missing, misshapen = {}, set(), [], []
    for weight in family.weights(model):
        may_be_new = any(fnmatch.fnmatchcase(weight.path, pattern) for pattern in new)
        names = [prefix + weight.name for prefix in ("", *family.prefixes)]
        names += [weight.name.removeprefix(prefix) for prefix in family.prefixes]
        name = next((name for name in names if name in arrays), None)
        if name is None:
            if not may_be_new:
                missing.append(weight.name)  # once for each part of it
            continue
        used.add(name)
        found[weight.path] = weight.taken(arrays[name])
        if found[weight.path].shape != specs[weight.path].shape:
            del found[weight.path]
            if not may_be_new:
                expected = _shape_in_file(weight, specs[weight.path].shape)
                misshapen.append(f"{name} is {arrays[name].shape}, expected {expected}")
    unused = [
        name
        for name in arrays
        if name not in used and not any(fnmatch.fnmatchcase(name, pattern) for pattern in family.unused)
    ]
    odd = {"missing": missing, "of another shape": misshapen, "superfluous": unused}
    if any(odd.values()):
        listed = "; ".join(
            f"{what}: {', '.join(sorted(set(names))[:8])}{', ...' if len(set(names)) > 8 else ''}"
            for what, names in odd.items()
            if names
        )
        raise CheckpointError(
            f"the weights do not fit the configuration ({listed}).",
            where=str(place),
            fix="fetch the files again, or use the configuration that belongs to them; no weight was taken.",
        )
    return found


def _renamed(name: str) -> str:
    for old, now in OLDER.items():
        if name.endswith(old):
            return name.removesuffix(old) + now
    return name


def _shape_in_file(weight: Weight, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the array in the file that gives a parameter of a shape."""
    found: tuple[int, ...] = weight.written(np.empty(shape, np.int8)).shape
    return found if weight.part is None else (*found[:-1], found[-1] * weight.part[1])
