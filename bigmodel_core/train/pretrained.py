"""Published weights as models, and models as files that others read."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.like import encoding_held
from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.errors import CheckpointError, ConfigError, UsageError
from bigmodel_core.nn.pretrained import IGNORED, Pretrained
from bigmodel_core.train.atomic import write_atomically
from bigmodel_core.train.weight_files import read_json, read_weights, write_weights

if TYPE_CHECKING:
    from bigmodel_core.nn.model import Model

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
SHARD = 5_000_000_000


def from_pretrained(folder: str | Path, *, device: str = "cpu") -> Model:
    """A model with the published weights in a folder, in the format of Hugging Face's transformers.

    The folder holds `config.json`, `model.safetensors` (or several files that `model.safetensors.index.json`
    names), and `tokenizer.json` where the model reads texts, which the model then keeps. Which families are
    known depends on the plugins: a class of a model says so by its attribute `pretrained`.

    Args:
        folder: where the files are.
        device: where the model computes.

    Returns:
        The built model; its weights are those of the file, all of them.

    Raises:
        CheckpointError: a file is missing, damaged or pickled; an array is missing, superfluous or of another
            shape. The message lists the names.
        ConfigError: no installed model computes what `config.json` describes.
    """
    place = Path(folder)
    config = read_json(place / CONFIG)
    cls, family = _class_for(config, str(place / CONFIG))
    model: Model = cls(**_fields_of(family, config, str(place / CONFIG)))
    tokenizer = Tokenizer.load(place) if (place / TOKENIZER).is_file() else None
    _check_vocabulary(model, tokenizer, place)
    network = model.build(*model._input_specs(), device=device)
    specs = {path: parameter.spec for path, parameter in network.parameters.items()}
    network.load_state(_state(model, family, read_weights(place), specs, place))
    if tokenizer is not None:
        network.encoding = Encoding(str(config.get("model_type", "")), tokenizer=tokenizer, complete=False)
    return model


def to_pretrained(model: Model, folder: str | Path, *, shard: int = SHARD) -> None:
    """Write a model as files that Hugging Face's transformers read.

    Args:
        model: a built model of a class that says how, by its attribute `pretrained`.
        folder: where to; `config.json`, the weights, and `tokenizer.json` if the model has a tokenizer.
        shard: the most bytes of a file with weights.

    Raises:
        UsageError: the class of the model does not say how.
    """
    families: tuple[Pretrained, ...] = getattr(type(model), "pretrained", ())
    if not families:
        raise UsageError(
            f"{type(model).__name__} has no form in which others read it.",
            fix="save it with bm.save, or export it with bm.export; a loaded model is made again with"
            " bm.models.build(...) and load_state.",
        )
    family, place, state = families[0], Path(folder), model.state()
    arrays: dict[str, Any] = {}
    for weight in family.weights(model):
        array = state[weight.path]
        array = array.T if weight.transposed else array
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
        **family.config(model),
    }
    place.mkdir(parents=True, exist_ok=True)
    write_weights(place, whole, shard)
    encoding = encoding_held(model)
    if encoding is not None and encoding.tokenizer is not None:
        encoding.tokenizer.save(place)
    write_atomically(place / CONFIG, [json.dumps(config, indent=2, sort_keys=True).encode()])


def _class_for(config: Mapping[str, Any], where: str) -> tuple[type[Any], Pretrained]:
    """The class of models that a configuration describes, and how it reads its weights."""
    from bigmodel_core import registry

    kind, wanted = config.get("model_type"), config.get("architectures") or []
    known: list[tuple[type[Any], Pretrained]] = [
        (cls, family) for cls in registry.classes("model") for family in getattr(cls, "pretrained", ())
    ]
    for cls, family in known:
        if family.kind == kind and (not wanted or set(wanted) & set(family.architectures)):
            return cls, family
    kinds = sorted({family.kind for _, family in known})
    of_kind = [name for _, family in known if family.kind == kind for name in family.architectures]
    raise ConfigError(
        f"it describes {' and '.join(map(str, wanted)) or kind!r}, which no installed model computes.",
        where=where,
        fix=f"of this family there are {', '.join(of_kind)}."
        if of_kind
        else f"known families are {', '.join(kinds)}; a plugin's model may offer others.",
    )


def _fields_of(family: Pretrained, config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of the class for a configuration.

    Raises:
        ConfigError: it asks for what the class does not compute, or says what nobody here knows.
    """
    for key, value in family.fixed.items():
        if config.get(key, value) != value:
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
    return family.fields(config)


def _check_vocabulary(model: Any, tokenizer: Tokenizer | None, place: Path) -> None:
    size = getattr(model, "vocabulary", None)
    if tokenizer is not None and isinstance(size, int) and tokenizer.size > size:
        raise CheckpointError(
            f"the tokenizer has {tokenizer.size} tokens, and the model {size}.",
            where=str(place / TOKENIZER),
            fix="use the tokenizer that the model was trained with.",
        )


def _state(
    model: Any, family: Pretrained, arrays: Mapping[str, np.ndarray], specs: Mapping[str, Any], place: Path
) -> dict[str, np.ndarray]:
    """The parameters of a model, out of the arrays of a file.

    Raises:
        CheckpointError: some are missing, superfluous or of another shape.
    """
    found, used, missing, misshapen = {}, set(), [], []
    for weight in family.weights(model):
        names = [prefix + weight.name for prefix in ("", *family.prefixes)]
        names += [weight.name.removeprefix(prefix) for prefix in family.prefixes]
        name = next((name for name in names if name in arrays), None)
        if name is None:
            missing.append(weight.name)  # once for each part of it
            continue
        used.add(name)
        found[weight.path] = weight.taken(arrays[name])
        if found[weight.path].shape != specs[weight.path].shape:
            misshapen.append(f"{name} {arrays[name].shape}")
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
