"""The checks of explainers: they explain small models of tables, images and tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from bigmodel_core import ops, registry
from bigmodel_core.errors import BigmodelError, NumericsError, UsageError
from bigmodel_core.explaining.attribution import Attribution
from bigmodel_core.explaining.explain import explain
from bigmodel_core.explaining.explainer import Explainer
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.buildable import clone
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.sequential import Sequential
from bigmodel_core.registry.askers import CORE
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, expect
from bigmodel_core.testing.registry_checks import registry_checks

TARGETS = [2, 0, 1, 2]
"""What is explained of each sample."""


def explainer_checks(explainer: Explainer, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of an explainer; the reference is a function of a linear model's weight (features, classes),
    samples (N, features) and their targets."""

    def each(check: Callable[[Explainer, Case], None]) -> Callable[[], None]:
        return partial(_over_cases, explainer, check)

    return {
        "explains a model": each(check_explains),
        "reference": partial(check_reference, explainer, reference),
        **({"adds up": each(check_adds_up)} if explainer.is_additive else {}),
        "the same again": each(check_again),
        "samples do not matter to each other": each(check_neighbours),
        "depends on the weights": each(check_weights),
        **registry_checks(explainer),
    }


@dataclass(frozen=True)
class Case:
    """A small model and samples.

    Args:
        name: what it is of.
        model: of three classes.
        other: the same with other weights.
        x: four samples.
    """

    name: str
    model: Layer
    other: Layer
    x: np.ndarray

    def explained(self, explainer: Explainer, model: Layer | None = None) -> Attribution:
        """The answer of an explainer about the model, or another one."""
        return explain(model or self.model, self.x, explainer, TARGETS, y=np.array(TARGETS))


@dataclass(frozen=True)
class _Reader(Layer):
    """Scores of texts, by attention."""

    def __call__(self, tokens: Value) -> Any:
        embedding, attention, dense = (
            registry.get("layer", name, owner=CORE) for name in ("embedding", "multi_head_attention", "dense")
        )
        x = embedding(7, 4, padded=True)(tokens)
        return dense(3)(ops.mean(x + attention(2)(x, None, tokens >= 0), 1))


@cache
def cases() -> tuple[Case, ...]:
    """Models of tables, images and tokens, and what was planned for them."""
    dense, relu, flatten, convolution = (
        registry.get("layer", name, owner=CORE) for name in ("dense", "relu", "flatten", "conv2d")
    )
    draw = np.random.default_rng(0)
    made = {
        "a table": (Sequential(dense(5), relu(), dense(3)), draw.normal(size=(4, 4)).astype("float32")),
        "images": (
            Sequential(convolution(2, 3), relu(), flatten(), dense(3)),
            draw.normal(size=(4, 1, 6, 6)).astype("float32"),
        ),
        "texts": (_Reader(), np.array([[1, 2, 3], [4, 5, -1], [6, 0, 1], [2, 2, 5]])),
    }
    found = []
    for name, (model, x) in made.items():
        sizes = ("T",) if x.dtype.kind == "i" else x.shape[1:]
        other = clone(model)
        for seed, built in enumerate((model, other)):
            built.build(Spec(("N", *sizes), x.dtype.name), seed=seed)
        found.append(Case(name, model, other, x))
    return tuple(found)


def _over_cases(explainer: Explainer, check: Callable[[Explainer, Case], None]) -> None:
    """A check of all models that the explainer fits."""
    refused: list[str] = []
    skipped: list[CheckSkipped] = []
    count = 0
    for case in cases():
        try:
            check(explainer, case)
            count += 1
        except UsageError as error:
            refused.append(f"{case.name}: {error.message}")
        except NumericsError as error:
            raise AssertionError(f"{case.name}: {error}") from error
        except CheckSkipped as error:
            skipped.append(error)
        except BigmodelError as error:
            raise AssertionError(
                f"{case.name}: {error}; raise a UsageError where it does not fit a model"
            ) from error
    expect(count or skipped, f"it explains none of the models: {'; '.join(refused)}")
    if not count:
        raise skipped[0]


def check_explains(explainer: Explainer, case: Case) -> None:
    """The values have the form of the inputs, and say what was explained; nothing is written to."""
    before = case.x.copy()
    found = case.explained(explainer)
    expect(np.array_equal(before, case.x), "it wrote to the samples; make copies")
    expect(
        isinstance(found, Attribution), f"it returned a {type(found).__name__}, expected question.answer(...)"
    )
    values = np.asarray(found.values)
    shape = case.x.shape[1:] if found.is_global else case.x.shape
    fits = values.ndim == len(shape) and all(
        own in (1, size) for own, size in zip(values.shape, shape, strict=True)
    )
    expect(fits, f"{case.name}: the values are {values.shape}, expected {shape}, or 1 in place of a size")
    if not found.is_global:
        scores = np.asarray(case.model(case.x))[np.arange(4), TARGETS]
        outputs = np.nan if found.outputs is None else found.outputs
        np.testing.assert_allclose(outputs, scores, rtol=1e-4, atol=1e-5, err_msg="not what is explained")
    if not explainer.is_signed:
        expect(bool((values >= 0).all()), "it is not signed, but gave values below 0")


def check_reference(explainer: Explainer, reference: Any) -> None:
    """Values for a linear model equal the reference's."""
    if reference is None:
        raise CheckSkipped("no reference was passed")
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    model = registry.get("layer", "dense", owner=CORE)(3)
    model.build(Spec(("N", 3)), seed=0)
    found = explain(model, x, explainer, TARGETS, y=np.array(TARGETS))
    wanted = reference(model.state()["weight"].astype(np.float64), x.astype(np.float64), np.array(TARGETS))
    np.testing.assert_allclose(found.values, wanted, rtol=1e-3, atol=1e-5)


def check_adds_up(explainer: Explainer, case: Case) -> None:
    """The values of an additive explainer add up; `explain` raises where they do not."""
    found = case.explained(explainer)
    expect(
        found.baseline is not None, "it is additive, and says no baseline: question.answer(has_baseline=True)"
    )


def check_again(explainer: Explainer, case: Case) -> None:
    """Asked again, it gives the same bits."""
    first, again = (case.explained(explainer).values for _ in range(2))
    expect(np.array_equal(first, again), "the same question got another answer; draw by a seed")


def check_neighbours(explainer: Explainer, case: Case) -> None:
    """What is said of a sample is the same without the others."""
    found = case.explained(explainer)
    if found.is_global:
        raise CheckSkipped("its values concern all samples together")
    alone = explain(case.model, case.x[:1], explainer, TARGETS[:1], y=np.array(TARGETS[:1]))
    np.testing.assert_allclose(
        found.values[:1],
        alone.values,
        rtol=1e-3,
        atol=1e-5,
        err_msg="other samples changed the first's values",
    )


def check_weights(explainer: Explainer, case: Case) -> None:
    """Another model gets another answer (Adebayo et al., 2018): values that do not depend on weights explain
    the samples alone."""
    own, other = (case.explained(explainer, model).values for model in (case.model, case.other))
    expect(
        not np.allclose(own, other, rtol=1e-3, atol=1e-7),
        f"{case.name}: a model with other weights got the same values",
    )
