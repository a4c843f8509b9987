"""Data sets: bundled digits, sunspots and a novel; MNIST and Fashion-MNIST; sine waves; your own tables,
series, strings and folders of images."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_datasets.digits import Digits
from bigmodel_datasets.image_folder import ImageFolder
from bigmodel_datasets.mnist import FashionMnist, Mnist
from bigmodel_datasets.series import Series, Sine, Sunspots
from bigmodel_datasets.table import Csv
from bigmodel_datasets.text import Text

__all__ = ["Csv", "Digits", "FashionMnist", "ImageFolder", "Mnist", "Series", "Sine", "Sunspots", "Text"]


@bm.hookimpl
def bigmodel_datasets() -> list[type[bm.Dataset]]:
    """The data sets of this package."""
    return [Digits, Mnist, FashionMnist, Sunspots, Sine, Text, Csv, Series, ImageFolder]
