"""bigmodel: train networks with kernels written in Python, extend it by plugins, deploy with ONNX Runtime.

>>> import bigmodel_core as bm
>>> model = bm.Sequential(bm.layers.Dense(16), bm.layers.Relu(), bm.layers.Dense(3))
>>> import numpy as np
>>> model(np.zeros((5, 4), "float32")).shape
(5, 3)

Names are looked up on first use: importing this module imports neither Numba nor ONNX nor any plugin.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bigmodel_core.data.recorded import read_with
from bigmodel_core.version import __version__ as __version__

if TYPE_CHECKING:
    from pathlib import Path

_PLACES = {
    "bigmodel_core.accounting.privacy": ("Privacy",),
    "bigmodel_core.auditing.anomalies": ("Anomalies", "anomalies"),
    "bigmodel_core.data.augmentation": ("Augmentation", "Draws", "Mixing"),
    "bigmodel_core.data.columns": ("Column", "Columns"),
    "bigmodel_core.data.data": ("Data",),
    "bigmodel_core.data.dataset": ("Dataset",),
    "bigmodel_core.data.encoding": ("Encoding", "Task"),
    "bigmodel_core.data.folds": ("folds",),
    "bigmodel_core.data.loader": ("Loader",),
    "bigmodel_core.data.preprocessing": ("Preprocessing",),
    "bigmodel_core.data.ragged": ("Ragged",),
    "bigmodel_core.data.sampling": ("batches", "split_groups", "split_indices"),
    "bigmodel_core.data.source": ("Source",),
    "bigmodel_core.data.split": ("Split",),
    "bigmodel_core.data.target": ("Target",),
    "bigmodel_core.data.text_stream": ("TextStream",),
    "bigmodel_core.data.timeline": ("Timeline",),
    "bigmodel_core.data.tokenizer": ("Tokenizer", "Tokens"),
    "bigmodel_core.explaining.attribution": ("Attribution",),
    "bigmodel_core.explaining.explain": ("explain",),
    "bigmodel_core.explaining.explainer": ("Explainer",),
    "bigmodel_core.explaining.question": ("Question",),
    "bigmodel_core.exporting.export": ("export", "from_onnx"),
    "bigmodel_core.exporting.exporter": ("Exporter",),
    "bigmodel_core.exporting.prediction_graph": ("PredictionGraph", "prediction_graph"),
    "bigmodel_core.graph": ("Graph", "Kernel", "Node", "Op", "Value", "register_kernel"),
    "bigmodel_core.graph.emit": ("Emit",),
    "bigmodel_core.graph.spec": (
        "Dim",
        "Shape",
        "Spec",
        "SymbolicDim",
        "broadcast",
        "dim_add",
        "dim_divide",
        "dim_floor_divide",
        "dim_max",
        "dim_min",
        "dim_multiply",
        "dim_product",
        "dim_subtract",
        "format_shape",
    ),
    "bigmodel_core.kernels.call": ("Call", "Operand"),
    "bigmodel_core.kernels.cpu.engine.kernels": ("cpu_launches", "kernel"),
    "bigmodel_core.kernels.cpu.engine.threads": ("num_threads", "set_num_threads"),
    "bigmodel_core.kernels.cuda.engine.kernels": ("cuda_kernel", "cuda_launches"),
    "bigmodel_core.kernels.cuda.engine.runtime": ("cuda",),
    "bigmodel_core.kernels.authoring": ("elementwise", "expression"),
    "bigmodel_core.kernels.expressions": ("Expression",),
    "bigmodel_core.nn.activations": ("activations",),
    "bigmodel_core.nn.gradients": ("gradients",),
    "bigmodel_core.nn.encoder_decoder": ("encoder_decoder",),
    "bigmodel_core.nn.function": ("function",),
    "bigmodel_core.nn.buildable": ("clone",),
    "bigmodel_core.nn.layer": ("Layer",),
    "bigmodel_core.nn.loss": ("Loss", "one_output"),
    "bigmodel_core.nn.model": ("Model",),
    "bigmodel_core.nn.optimizer": ("Optimizer", "Schedule"),
    "bigmodel_core.nn.pretrained": ("Pretrained", "Weight"),
    "bigmodel_core.nn.sequential": ("Sequential",),
    "bigmodel_core.nn.states": ("LoadReport",),
    "bigmodel_core.nn.strategy": ("Search", "Strategy"),
    "bigmodel_core.nn.trace": ("adapting", "freezing", "recomputing"),
    "bigmodel_core.registry.field_limits": ("check_number",),
    "bigmodel_core.registry.hookspecs": ("hookimpl",),
    "bigmodel_core.reporting.report": ("report",),
    "bigmodel_core.shrinking.low_rank": ("factorize",),
    "bigmodel_core.shrinking.pruning": ("prune",),
    "bigmodel_core.train.atomic": ("write_atomically",),
    "bigmodel_core.train.advice": ("advise",),
    "bigmodel_core.train.backtesting": ("Backtest", "backtest"),
    "bigmodel_core.train.baselines": ("ForecastError", "baselines"),
    "bigmodel_core.train.batch_size_finder": ("find_batch_size",),
    "bigmodel_core.train.callback": ("Callback",),
    "bigmodel_core.train.checkpoint": ("load", "save"),
    "bigmodel_core.train.compiling": ("compile",),
    "bigmodel_core.train.energy": ("Energy",),
    "bigmodel_core.train.forecasting": ("Forecast", "SeriesForecast", "forecast"),
    "bigmodel_core.train.generation": ("generate",),
    "bigmodel_core.train.history": ("deciding_loss",),
    "bigmodel_core.train.learning_rate_finder": ("find_learning_rate",),
    "bigmodel_core.train.metric": ("Metric", "MetricState"),
    "bigmodel_core.train.pretrained": ("from_pretrained", "to_pretrained"),
    "bigmodel_core.train.recommending": ("ranking", "recommend"),
    "bigmodel_core.train.run": ("Run", "runs"),
    "bigmodel_core.train.profile": ("Profile", "profile"),
    "bigmodel_core.train.step_file": ("load_steps", "save_steps"),
    "bigmodel_core.train.teacher": ("Teacher",),
    "bigmodel_core.train.trainer": ("Trainer",),
    "bigmodel_core.train.value_and_grad": ("value_and_grad",),
}
_HOMES = {name: module for module, names in _PLACES.items() for name in names}
_MODULES = {
    "cells": "bigmodel_core.data.cells",
    "charts": "bigmodel_core.charts",
    "columns": "bigmodel_core.data.columns",
    "conforming": "bigmodel_core.data.conforming",
    "dtypes": "bigmodel_core.graph.dtypes",
    "errors": "bigmodel_core.errors",
    "extras": "bigmodel_core.extras",
    "fairness": "bigmodel_core.auditing.fairness",
    "files": "bigmodel_core.data.files",
    "images": "bigmodel_core.data.images",
    "initializers": "bigmodel_core.nn.initializers",
    "ops": "bigmodel_core.ops",
    "plot": "bigmodel_core.plot",
    "privacy": "bigmodel_core.auditing.privacy",
    "probabilities": "bigmodel_core.nn.probabilities",
    "boxes": "bigmodel_core.nn.boxes",
    "registry": "bigmodel_core.registry",
    "shrinking": "bigmodel_core.shrinking",
    "sklearn": "bigmodel_core.sklearn",
    "status": "bigmodel_core.kernels.status",
    "table_files": "bigmodel_core.data.table_files",
    "testing": "bigmodel_core.testing",
}
_NAMESPACES = {
    "layers": "layer",
    "losses": "loss",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "metrics": "metric",
    "datasets": "dataset",
    "augmentations": "augmentation",
    "models": "model",
    "callbacks": "callback",
    "exporters": "exporter",
    "strategies": "strategy",
    "explainers": "explainer",
}
_RENAMED: dict[str, str] = {}
"""Names by those that they had before; each stays for one minor version, with a DeprecationWarning."""

__all__ = sorted([*_HOMES, *_MODULES, *_NAMESPACES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    elif name in _NAMESPACES:
        from bigmodel_core import registry

        kinds = {"dataset": registry.DatasetNamespace, "model": registry.ModelNamespace}
        kind = _NAMESPACES[name]
        value = kinds[kind]() if kind in kinds else registry.Namespace(kind)
    elif name in _RENAMED:
        import warnings

        new = _RENAMED[name]
        warnings.warn(f"bm.{name} is called bm.{new} now.", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(__name__), new)
    else:
        raise AttributeError(f"module 'bigmodel_core' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def _recorded_encoding(path: Path) -> Encoding | None:
    """What a run, a checkpoint or an exported file says of its data; see `data/recorded.py`."""
    from bigmodel_core.exporting import export
    from bigmodel_core.train import checkpoint

    is_exported = path.suffix.lower() == ".onnx"
    return export.recorded_encoding(path) if is_exported else checkpoint.recorded_encoding(path)


read_with(_recorded_encoding)


if TYPE_CHECKING:
    from bigmodel_core import charts as charts
    from bigmodel_core import errors as errors
    from bigmodel_core import extras as extras
    from bigmodel_core import ops as ops
    from bigmodel_core import plot as plot
    from bigmodel_core import registry as registry
    from bigmodel_core import shrinking as shrinking
    from bigmodel_core import sklearn as sklearn
    from bigmodel_core import testing as testing
    from bigmodel_core.data import cells as cells
    from bigmodel_core.data import columns as columns
    from bigmodel_core.data import conforming as conforming
    from bigmodel_core.data import files as files
    from bigmodel_core.data import images as images
    from bigmodel_core.data import table_files as table_files
    from bigmodel_core.data.augmentation import Augmentation as Augmentation
    from bigmodel_core.data.augmentation import Draws as Draws
    from bigmodel_core.data.augmentation import Mixing as Mixing
    from bigmodel_core.data.columns import Column as Column
    from bigmodel_core.data.columns import Columns as Columns
    from bigmodel_core.data.data import Data as Data
    from bigmodel_core.data.dataset import Dataset as Dataset
    from bigmodel_core.data.encoding import Encoding as Encoding
    from bigmodel_core.data.encoding import Task as Task
    from bigmodel_core.data.folds import folds as folds
    from bigmodel_core.data.loader import Loader as Loader
    from bigmodel_core.data.preprocessing import Preprocessing as Preprocessing
    from bigmodel_core.data.sampling import batches as batches
    from bigmodel_core.data.sampling import split_groups as split_groups
    from bigmodel_core.data.sampling import split_indices as split_indices
    from bigmodel_core.data.source import Source as Source
    from bigmodel_core.data.split import Split as Split
    from bigmodel_core.data.target import Target as Target
    from bigmodel_core.explaining.attribution import Attribution as Attribution
    from bigmodel_core.explaining.explain import explain as explain
    from bigmodel_core.explaining.explainer import Explainer as Explainer
    from bigmodel_core.explaining.question import Question as Question
    from bigmodel_core.exporting.export import export as export
    from bigmodel_core.exporting.export import from_onnx as from_onnx
    from bigmodel_core.exporting.exporter import Exporter as Exporter
    from bigmodel_core.exporting.prediction_graph import PredictionGraph as PredictionGraph
    from bigmodel_core.exporting.prediction_graph import prediction_graph as prediction_graph
    from bigmodel_core.graph import Graph as Graph
    from bigmodel_core.graph import Kernel as Kernel
    from bigmodel_core.graph import Node as Node
    from bigmodel_core.graph import Op as Op
    from bigmodel_core.graph import Value as Value
    from bigmodel_core.graph import dtypes as dtypes
    from bigmodel_core.graph import register_kernel as register_kernel
    from bigmodel_core.graph.emit import Emit as Emit
    from bigmodel_core.graph.spec import Dim as Dim
    from bigmodel_core.graph.spec import Shape as Shape
    from bigmodel_core.graph.spec import Spec as Spec
    from bigmodel_core.graph.spec import SymbolicDim as SymbolicDim
    from bigmodel_core.graph.spec import broadcast as broadcast
    from bigmodel_core.graph.spec import dim_add as dim_add
    from bigmodel_core.graph.spec import dim_divide as dim_divide
    from bigmodel_core.graph.spec import dim_floor_divide as dim_floor_divide
    from bigmodel_core.graph.spec import dim_max as dim_max
    from bigmodel_core.graph.spec import dim_min as dim_min
    from bigmodel_core.graph.spec import dim_multiply as dim_multiply
    from bigmodel_core.graph.spec import dim_product as dim_product
    from bigmodel_core.graph.spec import dim_subtract as dim_subtract
    from bigmodel_core.graph.spec import format_shape as format_shape
    from bigmodel_core.kernels import status as status
    from bigmodel_core.kernels.authoring import elementwise as elementwise
    from bigmodel_core.kernels.authoring import expression as expression
    from bigmodel_core.kernels.call import Call as Call
    from bigmodel_core.kernels.call import Operand as Operand
    from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches as cpu_launches
    from bigmodel_core.kernels.cpu.engine.kernels import kernel as kernel
    from bigmodel_core.kernels.cpu.engine.threads import num_threads as num_threads
    from bigmodel_core.kernels.cpu.engine.threads import set_num_threads as set_num_threads
    from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel as cuda_kernel
    from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches as cuda_launches
    from bigmodel_core.kernels.cuda.engine.runtime import cuda as cuda
    from bigmodel_core.kernels.expressions import Expression as Expression
    from bigmodel_core.nn import boxes as boxes
    from bigmodel_core.nn import initializers as initializers
    from bigmodel_core.nn import probabilities as probabilities
    from bigmodel_core.nn.activations import activations as activations
    from bigmodel_core.nn.buildable import clone as clone
    from bigmodel_core.nn.encoder_decoder import encoder_decoder as encoder_decoder
    from bigmodel_core.nn.function import function as function
    from bigmodel_core.nn.gradients import gradients as gradients
    from bigmodel_core.nn.layer import Layer as Layer
    from bigmodel_core.nn.loss import Loss as Loss
    from bigmodel_core.nn.loss import one_output as one_output
    from bigmodel_core.nn.model import Model as Model
    from bigmodel_core.nn.optimizer import Optimizer as Optimizer
    from bigmodel_core.nn.optimizer import Schedule as Schedule
    from bigmodel_core.nn.pretrained import Pretrained as Pretrained
    from bigmodel_core.nn.pretrained import Weight as Weight
    from bigmodel_core.nn.sequential import Sequential as Sequential
    from bigmodel_core.nn.states import LoadReport as LoadReport
    from bigmodel_core.nn.strategy import Search as Search
    from bigmodel_core.nn.strategy import Strategy as Strategy
    from bigmodel_core.nn.trace import adapting as adapting
    from bigmodel_core.nn.trace import freezing as freezing
    from bigmodel_core.nn.trace import recomputing as recomputing
    from bigmodel_core.registry.field_limits import check_number as check_number
    from bigmodel_core.registry.hookspecs import hookimpl as hookimpl
    from bigmodel_core.reporting.report import report as report
    from bigmodel_core.shrinking.low_rank import factorize as factorize
    from bigmodel_core.shrinking.pruning import prune as prune
    from bigmodel_core.train.atomic import write_atomically as write_atomically
    from bigmodel_core.train.callback import Callback as Callback
    from bigmodel_core.train.checkpoint import load as load
    from bigmodel_core.train.checkpoint import save as save
    from bigmodel_core.train.compiling import compile as compile
    from bigmodel_core.train.generation import generate as generate
    from bigmodel_core.train.history import deciding_loss as deciding_loss
    from bigmodel_core.train.metric import Metric as Metric
    from bigmodel_core.train.metric import MetricState as MetricState
    from bigmodel_core.train.pretrained import from_pretrained as from_pretrained
    from bigmodel_core.train.pretrained import to_pretrained as to_pretrained
    from bigmodel_core.train.profile import Profile as Profile
    from bigmodel_core.train.profile import profile as profile
    from bigmodel_core.train.step_file import load_steps as load_steps
    from bigmodel_core.train.step_file import save_steps as save_steps
    from bigmodel_core.train.teacher import Teacher as Teacher
    from bigmodel_core.train.trainer import Trainer as Trainer
    from bigmodel_core.train.value_and_grad import value_and_grad as value_and_grad

    layers: Any
    losses: Any
    optimizers: Any
    schedules: Any
    metrics: Any
    datasets: registry.DatasetNamespace
    augmentations: Any
    models: registry.ModelNamespace
    callbacks: Any
    exporters: Any
    strategies: Any
    explainers: Any
