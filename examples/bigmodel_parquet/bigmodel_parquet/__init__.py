"""Tables in Parquet files as a data set of bigmodel, read by row group as their samples are needed."""

from __future__ import annotations

import bigmodel_core as bm

from .dataset import Parquet

__all__ = ["Parquet"]


@bm.hookimpl
def bigmodel_datasets() -> list[type[bm.Dataset]]:
    return [Parquet]
