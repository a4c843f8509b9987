"""Methods that nobody would ever call are refused, where a class is registered and where it is used."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import registry
from bigmodel_core.errors import BigmodelError, ConfigError, PluginError
from bigmodel_core.registry.discovery import PLURALS


@dataclass(frozen=True)
class Late(bm.Callback):
    """An event that does not exist."""

    def on_epoch_finish(self, trainer: Any, epoch: int, logs: Any) -> None:
        raise AssertionError


@dataclass(frozen=True)
class Narrow(bm.Callback):
    """An event as another framework passes it, without the trainer."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        raise AssertionError


@dataclass(frozen=True)
class Forward(bm.Layer):
    """A layer as PyTorch writes it."""

    def forward(self, x: Any) -> Any:
        return x


@dataclass(frozen=True)
class Called(bm.Loss):
    """A loss as Keras writes it."""

    def call(self, target: Any, prediction: Any) -> Any:
        return prediction


@dataclass(frozen=True)
class Stepping(bm.Optimizer):
    """An optimizer as PyTorch writes it."""

    learning_rate: float = 0.1

    def step(self) -> None:
        raise AssertionError


@dataclass(frozen=True)
class Indexed(bm.Dataset):
    """A data set as PyTorch writes it."""

    def __getitem__(self, index: int) -> Any:
        return index


@dataclass(frozen=True)
class Computing(bm.Metric):
    """A metric as torchmetrics writes it."""

    def empty(self) -> Any:
        return {}

    def update(self, state: Any, prediction: Any, target: Any) -> Any:
        return state

    def merge(self, a: Any, b: Any) -> Any:
        return a

    def compute(self) -> float:
        return 0.0


@dataclass(frozen=True)
class Writing(bm.Exporter):
    """An exporter that does not export."""

    def write(self, model: Any, path: Any) -> None:
        raise AssertionError


WRONG = [
    ("callback", Late, "on_epoch_finish", "did you mean on_epoch_end?"),
    ("callback", Narrow, "on_epoch_end", "def on_epoch_end(self, trainer, epoch, logs)"),
    ("layer", Forward, "forward", "__call__ instead of forward"),
    ("loss", Called, "call", "each instead of call"),
    ("optimizer", Stepping, "step", "update instead of step"),
    ("dataset", Indexed, "__getitem__", "load instead of __getitem__"),
    ("metric", Computing, "compute", "result instead of compute"),
    ("exporter", Writing, "write", "export instead of write"),
]


@pytest.mark.parametrize(
    ("kind", "cls", "named", "fix"), WRONG, ids=lambda item: getattr(item, "__name__", "")
)
def test_a_method_nobody_calls_is_refused_at_registration(kind: str, cls: Any, named: str, fix: str) -> None:
    plugin = types.SimpleNamespace(**{f"bigmodel_{PLURALS[kind]}": bm.hookimpl(lambda: [cls])})
    with pytest.raises(PluginError) as caught:
        registry.register(plugin, "wrong")
    assert cls.__name__ in str(caught.value) and named in str(caught.value) and fix in str(caught.value)
    assert "wrong" not in [info.name for info in registry.plugins()]


@pytest.mark.parametrize("callback", [Late(), Narrow()], ids=lambda item: type(item).__name__)
def test_a_callback_nobody_calls_is_refused_by_the_trainer(callback: bm.Callback) -> None:
    with pytest.raises(ConfigError, match="on_epoch_"):
        bm.Trainer(bm.layers.Dense(2), "cross_entropy", callbacks=[callback])


def test_losses_and_optimizers_are_refused_by_the_trainer() -> None:
    with pytest.raises(ConfigError, match="each instead of call"):
        bm.Trainer(bm.layers.Dense(2), Called())
    with pytest.raises(ConfigError, match="update instead of step"):
        bm.Trainer(bm.layers.Dense(2), "cross_entropy", Stepping())


def test_a_layer_without_a_call_says_what_it_has_instead() -> None:
    with pytest.raises(BigmodelError, match=r"does not define __call__; it has forward"):
        Forward()(np.zeros((2, 3), "float32"))


def test_events_helpers_and_options_are_allowed() -> None:
    @dataclass(frozen=True)
    class Right(bm.Callback):
        """Every event with names of its own, a helper, and an option that looks like an event."""

        on_trouble: Any = print

        def on_epoch_end(self, run: Any, number: int, values: Any, extra: int = 0) -> None:
            self._on_anything()

        def _on_anything(self) -> None:
            pass

    bm.Trainer(bm.layers.Dense(2), "cross_entropy", callbacks=[Right()])
