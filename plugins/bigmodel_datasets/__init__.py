"""Data sets: bundled digits and sunspots, MNIST and Fashion-MNIST, sine waves, CSV tables, image folders."""

from __future__ import annotations

from bigmodel_core.dataset import Dataset
from bigmodel_core.hookspecs import hookimpl
from bigmodel_datasets.digits import Digits
from bigmodel_datasets.image_folder import ImageFolder
from bigmodel_datasets.mnist import FashionMnist, Mnist
from bigmodel_datasets.series import Sine, Sunspots
from bigmodel_datasets.table import Csv

__all__ = ["Csv", "Digits", "FashionMnist", "ImageFolder", "Mnist", "Sine", "Sunspots"]


@hookimpl
def bigmodel_datasets() -> list[type[Dataset]]:
    """The data sets of this package."""
    return [Digits, Mnist, FashionMnist, Sunspots, Sine, Csv, ImageFolder]
