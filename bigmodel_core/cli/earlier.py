"""`--from`: what a run takes over from a model that was trained before."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.cli.sources import checkpoint, is_published
from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.errors import ShapeError
from bigmodel_core.train.pretrained import CONFIG, read_pretrained
from bigmodel_core.train.weight_files import read_json

if TYPE_CHECKING:
    from bigmodel_core.cli.choice import Choice
    from bigmodel_core.data.data import Data

_OF_THE_TASK = ("size", "classes", "outputs")
"""Fields that a model does not take over: what its data say, and the name of sizes that are taken one by
one."""
_TOKENIZERS = ("tokenizer", "target_tokenizer")
_SHOWN = 4


@dataclass(frozen=True)
class Earlier:
    """A trained model, as far as another can begin with it.

    Args:
        path: its checkpoint.
        state: its parameters, by path.
        tokenizers: those of its data, by the options of data sets.
        model: the fields of its definition, if a plugin offers that.
    """

    path: Path
    state: Mapping[str, np.ndarray]
    tokenizers: Mapping[str, Tokenizer]
    model: Mapping[str, Any]

    @classmethod
    def read(cls, what: str, model: type[Any] | None = None) -> Earlier:
        """The model of a run or checkpoint, or of a folder with published weights.

        Args:
            what: its path.
            model: what is to begin with it: a model that takes published weights of the family takes those
                that it has, whatever the task of the file.

        Raises:
            CheckpointError: there is none, or it is damaged.
            ConfigError: no installed model computes what the published weights are of.
        """
        if is_published(Path(what)):
            return cls._published(Path(what), model)
        content = checkpoint(what)
        known, described = content.about.encoding, content.about.config or {}
        own = {} if known is None else {name: getattr(known, name) for name in _TOKENIZERS}
        tokenizers = {name: tokenizer for name, tokenizer in own.items() if tokenizer is not None}
        if len(set(map(id, tokenizers.values()))) < 2 or tokenizers["tokenizer"] == own["target_tokenizer"]:
            tokenizers.pop("target_tokenizer", None)  # targets have the tokens of samples
        sizes = described.get("fields")
        state = content.restore().state()
        return cls(content.path, state, tokenizers, sizes if isinstance(sizes, Mapping) else {})

    @classmethod
    def _published(cls, folder: Path, wanted: type[Any] | None) -> Earlier:
        from bigmodel_core.registry import config

        kind = read_json(folder / CONFIG).get("model_type")
        takes = any(family.kind == kind for family in getattr(wanted, "pretrained", ()))
        model, new = read_pretrained(folder, wanted if takes else None)
        known = model.network.encoding
        tokenizer = None if known is None else known.tokenizer
        tokenizers = {} if tokenizer is None else {"tokenizer": tokenizer}
        state = {path: array for path, array in model.state().items() if path not in new}
        return cls(folder, state, tokenizers, config.to_config(model)["fields"])

    def load(self, dataset: Any, choice: Choice | None, data_dir: Path | None) -> Data:
        """A data set in the tokens of the model, unless its options say which tokenizer it has."""
        given = set() if choice is None else choice.options
        own = {item.name for item in fields(dataset)} - given
        with tempfile.TemporaryDirectory() as folder:
            changes = {}
            for name, tokenizer in self.tokenizers.items():
                if name in own and not given & set(_TOKENIZERS):
                    changes[name] = str(tokenizer.save(Path(folder, name)))
            data: Data = replace(dataset, **changes).load(data_dir)
        return data

    def fields_for(self, choice: Choice) -> dict[str, Any]:
        """The sizes of the model that another one has, too; none of them if it was given a size by name."""
        if "size" in choice.options:
            return {}
        own = {item.name for item in fields(choice.cls())} - set(_OF_THE_TASK) - choice.options
        return {
            name: value
            for name, value in self.model.items()
            if name in own and isinstance(value, (bool, int, float, str, list, tuple))
        }

    def kept(self, data: Data) -> set[str]:
        """The fields that data do not change: a model may have more tokens than its tokenizer."""
        size, known = self.model.get("vocabulary"), data.tokenizer
        if known is None or known != self.tokenizers.get("tokenizer") or not isinstance(size, int):
            return set()
        return {"vocabulary"} if size > known.size else set()

    def put_into(self, model: Any, data: Data, seed: int, device: str) -> str:
        """Build a model for data, with the parameters that fit; what was taken and what was not, for people.

        Raises:
            ShapeError: none fits.
        """
        from bigmodel_core.nn.given import network_of
        from bigmodel_core.train.job import parted

        samples, _ = parted(data, None, seed, model)
        network = network_of(model, samples.first(1).inputs, seed, device)
        try:
            report = network.load_state(self.state, partial=True)
        except ShapeError as error:
            error.where = error.where or str(self.path)
            error.fix = "name a run of a model with the same layers, and give no other sizes with --set."
            raise
        lines = [f"from {self.path}: {len(report.loaded)} of {len(network.parameters)} arrays"]
        new = [path for path in report.missing if path not in report.misfits]
        for what, paths in (
            ("new", new),
            ("not used", report.unknown),
            ("of another shape, so new", tuple(report.misfits)),
        ):
            if paths:
                more = ", ..." if len(paths) > _SHOWN else ""
                lines.append(f"{what}: {', '.join(paths[:_SHOWN])}{more}")
        return "; ".join(lines) + "."
