"""Gradients of layers, models and single ops, and the gradients of these."""

from __future__ import annotations

import numpy as np

from bigmodel_core.errors import GraphError
from bigmodel_core.nn.model import Model
from bigmodel_core.testing.backward import Backward
from bigmodel_core.testing.checks import CheckSkipped
from bigmodel_core.testing.gradients import compare
from bigmodel_core.testing.kernel_checks import is_of_the_core
from bigmodel_core.testing.layer_subject import LayerSubject

MOST, FEW = 60, 12
"""How many numbers of each array are moved; and of a model of the core's ops, whose layers have checks of
their own."""


def check_gradient(subject: LayerSubject) -> None:
    """Gradients of inputs and parameters in training mode equal finite differences in float64."""
    _compare_gradients(subject, subject.backward("float64"))


def check_second_gradient(subject: LayerSubject) -> None:
    """So do the gradients of the sum of the squares of all gradients, where a plugin's ops have them."""
    if not _has_own_ops(subject):
        raise CheckSkipped("it has no op of its own")
    try:
        backward = Backward(subject.network("float64"), order=2)
    except GraphError as error:
        raise CheckSkipped(error.message) from error
    _compare_gradients(subject, backward)


def _has_own_ops(subject: LayerSubject) -> bool:
    return not all(map(is_of_the_core, subject.ops()))


def _compare_gradients(subject: LayerSubject, backward: Backward) -> None:
    network = subject.network("float64")
    if not backward.differentiable:
        raise CheckSkipped("the outputs are not floats")
    limit = FEW if isinstance(subject.layer, Model) and not _has_own_ops(subject) else MOST
    arrays = subject.arrays(subject.batch, "float64")
    _, _, gradients = backward.run(arrays)
    named = dict(zip(network.input_names, arrays, strict=True))
    for name, gradient in gradients.items():
        if name in named:
            compare(lambda: backward.run(arrays)[1], named[name], gradient, f"input '{name}'", limit=limit)
            continue
        values = network.variables.read(name)

        def moved(name: str = name, values: np.ndarray = values) -> float:
            network.variables.write(name, values)
            return backward.run(arrays)[1]

        compare(moved, values, gradient, f"parameter '{name}'", limit=limit)
        network.variables.write(name, values)
