"""The base class of the data sets: options, and `load`."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from bigmodel_core.data.data import Data
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.like import encoding_of
from bigmodel_core.data.table_files import is_frame
from bigmodel_core.data.timeline import Timeline
from bigmodel_core.errors import ConfigError, UsageError


class Dataset(ABC):
    """Base class of data sets: a frozen dataclass whose fields are the options, and `load`.

    `name` is what the registry and the command line call it.
    """

    name: ClassVar[str]
    takes_frames: ClassVar[bool] = False
    """Whether `load` takes a DataFrame in place of a path, too."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "load" in cls.__dict__:
            cls.load = _loading(cls.__dict__["load"])  # type: ignore[method-assign]  # every subclass's load is wrapped

    @abstractmethod
    def load(self, data_dir: Path | None = None) -> Data:
        """The data, read from `data_dir`, the folder or file that holds the set, or from its usual place.

        Every data set can be called with `like=` besides (data, a run, a model): its data then come as the
        model met its own. A `load` that has a parameter `like` gets the `Encoding` of that and may use it in
        place of what it would fit or decide; what another gives is converted afterwards.

        Raises:
            DataError: files that are missing or corrupt.
        """

    def suited(self, model: type) -> Dataset:
        """The data set with the options that a class of models asks for, where nobody chose them."""
        return self

    def of_texts(self, texts: Sequence[str], encoding: Encoding) -> Any:
        """Texts to predict as samples of a model: x of a split. For data sets of texts.

        Args:
            texts: what a user typed, or the lines of a file.
            encoding: of the training data, which holds the tokenizer.

        Raises:
            UsageError: the data set is none of texts.
            DataError: a text cannot be used.
        """
        name = getattr(type(self), "name", type(self).__name__)
        raise UsageError(
            f"the model was trained on {name}, whose samples are no texts.",
            fix="pass files: arrays, images or tables.",
        )

    def spans(
        self, texts: Sequence[str], scores: Any, encoding: Encoding
    ) -> list[list[dict[str, Any]]] | None:
        """What is predicted of places in texts; None if it is predicted of whole texts.

        For each text it is a list of its parts, as {"text": "dog", "start": 4, "end": 7, "label": "NOUN",
        "probability": 0.98}; the label is left out where parts have none.

        Args:
            texts: as for `of_texts`.
            scores: (n, T, C), the output of the model; a dict of outputs by name if it has several.
            encoding: of the training data.
        """
        return None

    def timelines(self, data_dir: Path | None, encoding: Encoding) -> list[Timeline]:
        """The whole series in the files, one or several, for forecasts past their ends. For data sets of
        series.

        Args:
            data_dir: as for `load`.
            encoding: of the training data.

        Raises:
            UsageError: the data set is none of series.
            DataError: files that are missing or corrupt.
        """
        name = getattr(type(self), "name", type(self).__name__)
        raise UsageError(
            f"the model was trained on {name}, which is no series.",
            fix="forecast with a model of a series, as in: bigmodel train n-beats --data series --data-dir"
            " FILE.csv",
        )

    @classmethod
    def example(cls, folder: Path) -> None:
        """Write small files that `load(folder)` reads into an empty folder; for data sets that read files.

        The conformance kit loads them where nobody names others, and people see what the files have to be.
        """
        raise ConfigError(
            f"{cls.__name__} has no example files.", fix="define the classmethod example(folder)."
        )


def _loading(load: Callable[..., Any]) -> Callable[..., Any]:
    """A data set's `load` with what all have in common: `like`, and data that know what made them."""
    takes_like = "like" in inspect.signature(load).parameters

    @functools.wraps(load)
    def loaded(self: Dataset, data_dir: Any = None, like: Any = None) -> Any:
        wanted = None if like is None else encoding_of(like)
        dataset = self if wanted is None else wanted.completed(self)
        is_path = data_dir is None or isinstance(data_dir, (str, Path))
        if not is_path and not (self.takes_frames and is_frame(data_dir)):
            raise UsageError(
                f"{self.name} was given a {type(data_dir).__name__}, expected the path of a file or folder"
                f"{', or a DataFrame' if self.takes_frames else ''}.",
                where=self.name,
                fix="pass a path.",
            )
        data = load(dataset, data_dir, like=wanted) if takes_like else load(dataset, data_dir)
        if not isinstance(data, Data):
            return data
        place = Path(data_dir).absolute() if is_path and data_dir is not None else None
        data = replace(data, made_by=data.made_by or dataset, data_dir=place)
        return data if wanted is None else data.like(wanted)

    return loaded
