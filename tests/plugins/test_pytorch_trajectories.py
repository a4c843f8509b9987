"""Training steps equal PyTorch's from the same weights: architectures with SGD, each optimizer."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm

pytestmark = pytest.mark.torch

ACTIVATIONS = {
    "relu": "ReLU",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "gelu": "GELU",
    "silu": "SiLU",
    "elu": "ELU",
    "softplus": "Softplus",
    "leaky_relu": "LeakyReLU",
}


def torch() -> Any:
    return importlib.import_module("torch")


def mirrored(network: Any, layers: list[Any]) -> Any:
    """PyTorch's Sequential of layers, with the weights of a built model."""
    model = torch().nn.Sequential(*layers)
    state = network.state()
    numbers = {"dense": 0, "layer_norm": 0}
    with torch().no_grad():
        for layer in model:
            if isinstance(layer, torch().nn.Linear):
                numbers["dense"] += 1
                path = f"dense_{numbers['dense']}"
                layer.weight.copy_(torch().tensor(state[f"{path}/weight"].T))
                layer.bias.copy_(torch().tensor(state[f"{path}/bias"]))
    return model


def weights_of(model: Any) -> dict[str, np.ndarray]:
    """The weights of PyTorch's model by this project's paths."""
    found, dense, norm = {}, 0, 0
    for layer in model:
        if isinstance(layer, torch().nn.Linear):
            dense += 1
            found[f"dense_{dense}/weight"] = layer.weight.detach().numpy().T
            found[f"dense_{dense}/bias"] = layer.bias.detach().numpy()
        if isinstance(layer, torch().nn.LayerNorm):
            norm += 1
            found[f"layer_norm_{norm}/scale"] = layer.weight.detach().numpy()
            found[f"layer_norm_{norm}/shift"] = layer.bias.detach().numpy()
    return found


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for path, array in ours.items():
        scale = np.abs(theirs[path]).max()
        assert np.abs(array - theirs[path]).max() <= tolerance * scale, path


@pytest.mark.parametrize("seed", range(10))
def test_five_sgd_steps_on_a_random_architecture(seed: int) -> None:
    generator = np.random.default_rng(seed)
    width, classes, batch = int(generator.integers(3, 60)), int(generator.integers(2, 12)), 32
    nn, features = torch().nn, width
    ours: list[Any] = []
    theirs: list[Any] = []
    for _ in range(generator.integers(1, 4)):
        units, name = int(generator.integers(4, 80)), str(generator.choice(list(ACTIVATIONS)))
        ours += [bm.layers.Dense(units), bm.layers.get(name)()]
        theirs += [nn.Linear(features, units), getattr(nn, ACTIVATIONS[name])()]
        if generator.random() < 0.4:
            ours.append(bm.layers.LayerNorm())
            theirs.append(nn.LayerNorm(units))
        features = units
    ours.append(bm.layers.Dense(classes))
    theirs.append(nn.Linear(features, classes))
    x = generator.normal(size=(batch, width)).astype("float32")
    if seed % 3 == 2:
        loss, criterion = bm.losses.MeanSquaredError(), nn.MSELoss()
        y: np.ndarray = generator.normal(size=(batch, classes)).astype("float32")
    else:
        loss, criterion = bm.losses.CrossEntropy(), nn.CrossEntropyLoss()
        y = generator.integers(0, classes, batch)
    momentum = float(generator.choice([0.0, 0.9]))
    network = bm.Sequential(ours).build(bm.Spec(("N", width)), seed=seed)
    model = mirrored(network, theirs)
    optimizer = torch().optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
    step = bm.compile(network, loss, bm.optimizers.SGD(0.05, momentum=momentum))
    for _ in range(5):
        found = step(x, y)
        optimizer.zero_grad()
        expected = criterion(model(torch().tensor(x)), torch().tensor(y))
        expected.backward()
        optimizer.step()
        assert found == pytest.approx(expected.item(), rel=1e-5)
    assert_same(network.state(), weights_of(model), 1e-5)


OPTIMIZERS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "sgd": (bm.optimizers.SGD(0.1), lambda p: torch().optim.SGD(p, lr=0.1)),
    "sgd nesterov": (
        bm.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: torch().optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "adam": (bm.optimizers.Adam(), lambda p: torch().optim.Adam(p)),
    "adam with decay": (
        bm.optimizers.Adam(0.01, beta1=0.8, beta2=0.99, epsilon=1e-6, weight_decay=0.1),
        lambda p: torch().optim.Adam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1),
    ),
    "adamw": (bm.optimizers.AdamW(0.01), lambda p: torch().optim.AdamW(p, lr=0.01)),
    "adamw strong": (
        bm.optimizers.AdamW(0.01, weight_decay=0.3),
        lambda p: torch().optim.AdamW(p, lr=0.01, weight_decay=0.3),
    ),
    "rmsprop": (bm.optimizers.RMSprop(0.001), lambda p: torch().optim.RMSprop(p, lr=0.001)),
    "rmsprop momentum": (
        bm.optimizers.RMSprop(0.001, decay=0.9, momentum=0.5),
        lambda p: torch().optim.RMSprop(p, lr=0.001, alpha=0.9, momentum=0.5),
    ),
    "adagrad": (
        bm.optimizers.Adagrad(0.05, initial_accumulator=0.1),
        lambda p: torch().optim.Adagrad(p, lr=0.05, initial_accumulator_value=0.1),
    ),
}


@pytest.mark.parametrize(("optimizer", "theirs"), OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("clip", [None, 0.2], ids=["", "clipped"])
def test_thirty_steps_of_each_optimizer(
    optimizer: Any, theirs: Callable[[Any], Any], clip: float | None
) -> None:
    from dataclasses import replace

    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(16, 7)), generator.integers(0, 3, 16)
    network = bm.Sequential(bm.layers.Dense(9), bm.layers.Tanh(), bm.layers.Dense(3)).build(
        bm.Spec(("N", 7), "float64"), dtype="float64"
    )
    nn = torch().nn
    model = mirrored(network, [nn.Linear(7, 9).double(), nn.Tanh(), nn.Linear(9, 3).double()])
    reference = theirs(model.parameters())
    step = bm.compile(network, "cross_entropy", replace(optimizer, clip_norm=clip))
    for _ in range(30):
        step(x, y)
        reference.zero_grad()
        nn.functional.cross_entropy(model(torch().tensor(x)), torch().tensor(y)).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        reference.step()
    assert_same(network.state(), weights_of(model), 1e-9)
