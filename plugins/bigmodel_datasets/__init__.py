"""Data sets: bundled digits, MNIST and Fashion-MNIST from IDX files, and tables from CSV files."""

from __future__ import annotations

from bigmodel_core.dataset import Dataset
from bigmodel_core.hookspecs import hookimpl
from bigmodel_datasets.digits import Digits
from bigmodel_datasets.mnist import FashionMnist, Mnist
from bigmodel_datasets.table import Csv

__all__ = ["Csv", "Digits", "FashionMnist", "Mnist"]


@hookimpl
def bigmodel_datasets() -> list[type[Dataset]]:
    """The data sets of this package."""
    return [Digits, Mnist, FashionMnist, Csv]
