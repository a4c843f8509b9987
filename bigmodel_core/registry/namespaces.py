"""Namespaces: `bm.layers.Dense`, `bm.datasets.load("digits")`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bigmodel_core.errors import UnknownNameError
from bigmodel_core.registry import config
from bigmodel_core.registry.lookup import classes, get


class UnknownAttributeError(UnknownNameError, AttributeError):
    """A name a namespace does not have; an AttributeError too, so that hasattr() answers False."""


class Namespace:
    """The classes of one kind as attributes, `bm.layers.Dense`, and by name, `bm.layers["acme:Dense"]`.

    Args:
        kind: one of `KINDS`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def get(self, name: str) -> type[Any]:
        """The class with a name; the same look-up as an attribute's, for names that are text."""
        return get(self._kind, name)

    def __getitem__(self, name: str) -> type[Any]:
        return get(self._kind, name)

    def __getattr__(self, name: str) -> type[Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return get(self._kind, name)
        except UnknownNameError as error:
            raise UnknownAttributeError(error.message, fix=error.fix, where=error.where) from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(cls.__name__ for cls in classes(self._kind))})

    def __repr__(self) -> str:
        return f"<the {self._kind} namespace: {self._kind} classes of all plugins>"


class DatasetNamespace(Namespace):
    """The data sets, as classes and by name: `bm.datasets.load("digits")`."""

    def __init__(self) -> None:
        super().__init__("dataset")

    def load(self, name: str, data_dir: Any = None, *, like: Any = None, **fields: Any) -> Any:
        """The data of a data set: train and test split, labels and preprocessing.

        Args:
            name: a name of the registry, such as "digits"; options may follow, as in "csv:target=species".
            data_dir: the folder (or file) that holds the set, searched for if None; or a DataFrame, for data
                sets that take one, such as "csv".
            like: data, a model, or the path of a run or an exported file: labels, columns, preprocessing and
                options are those of its training, and nothing is fitted again.
            fields: options of the data set, by field name.

        Raises:
            UnknownNameError: no data set has this name.
            ConfigError: an option is unknown or has a wrong value.
            DataError: the files are missing or damaged, or do not fit `like`.
        """
        dataset = config.build_named("dataset", name, fields)
        place = Path(data_dir) if isinstance(data_dir, (str, Path)) else data_dir
        return dataset.load(place) if like is None else dataset.load(place, like=like)


class ModelNamespace(Namespace):
    """The ready-made models, as classes and by name: `bm.models.build("mlp")`."""

    def __init__(self) -> None:
        super().__init__("model")

    def build(self, name: str, **fields: Any) -> Any:
        """The model with a name.

        Args:
            name: a name of the registry, such as "mlp"; options may follow, as in "mlp:widths=64,32".
            fields: options of the model, by field name.

        Raises:
            UnknownNameError: no model has this name.
            ConfigError: an option is unknown or has a wrong value.
        """
        return config.build_named("model", name, fields)
