"""Trained models as one C99 file each: `bigmodel export model.c`."""

from __future__ import annotations

from typing import Any

import bigmodel_core as bm
from bigmodel_c.emit import Emit
from bigmodel_c.exporter import C, Report

__all__ = ["C", "Emit", "Report"]


@bm.hookimpl
def bigmodel_exporters() -> list[type[Any]]:
    """The C exporter."""
    return [C]
