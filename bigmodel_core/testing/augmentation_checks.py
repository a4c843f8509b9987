"""The checks of augmentations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bigmodel_core.data.augmentation import Augmentation, Draws, Mixing
from bigmodel_core.errors import BigmodelError, UsageError
from bigmodel_core.graph.spec import Spec
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, behind, expect
from bigmodel_core.testing.child import isolated
from bigmodel_core.testing.examples import PASS_INPUTS
from bigmodel_core.testing.registry_checks import registry_checks


def augmentation_checks(
    augmentation: Augmentation, inputs: Inputs | None = None, reference: Any = None
) -> Found:
    """The checks of an augmentation; the reference takes a batch in float64 and its draws."""

    def apart(check: Callable[..., None], *more: Any) -> Callable[[], None]:
        return lambda: isolated(lambda: check(augmentation, *more, _batch(augmentation, inputs)))

    found: Found = {
        "runs": apart(check_runs),
        "shape and dtype": apart(check_shape),
        "reference": apart(check_reference, reference),
        "keyed by seed, epoch and sample": apart(check_keyed),
        "inputs unmodified": apart(check_inputs_kept),
        "non-contiguous inputs": apart(check_strides),
    }
    return {**behind("runs", found), **registry_checks(augmentation)}


def _applied(augmentation: Augmentation, x: np.ndarray, samples: Any = None, epoch: int = 3) -> np.ndarray:
    numbers = np.arange(len(x)) if samples is None else np.asarray(samples)
    return augmentation(x, Draws(numbers, seed=11, epoch=epoch, stream=0))


def _batch(augmentation: Augmentation, inputs: Inputs | None) -> np.ndarray:
    """The batch that was passed, or the first of some shapes that the augmentation takes."""
    generator = np.random.default_rng(5)
    shapes: list[Any] = [(9, 3, 8, 6), (9, 1, 16, 16), (9, 3, 32, 32), (9, 12, 5), (9, 7)]
    for item in shapes if inputs is None else inputs[:1]:
        if isinstance(item, np.ndarray):
            return item
        shape = item.shape if isinstance(item, Spec) else item
        x = generator.normal(size=tuple(size if isinstance(size, int) else 9 for size in shape))
        try:
            _applied(augmentation, x.astype("float32"))
            return x.astype("float32")
        except BigmodelError:
            if inputs is not None:
                raise
    raise UsageError(f"no samples for {type(augmentation).__name__} were found.", fix=PASS_INPUTS)


def check_runs(augmentation: Augmentation, x: np.ndarray) -> None:
    """It takes a batch and gives an array."""
    found = _applied(augmentation, x)
    expect(isinstance(found, np.ndarray), f"it returned a {type(found).__name__}, expected an array")


def check_shape(augmentation: Augmentation, x: np.ndarray) -> None:
    """Batches of any size keep shape and number type, float64 too, and stay finite."""
    for batch in (x, x[:1], x[:0], x.astype("float64")):
        found = _applied(augmentation, batch)
        expect(found.shape == batch.shape, f"a batch {batch.shape} became {found.shape}")
        expect(found.dtype == batch.dtype, f"a batch of {batch.dtype} became {found.dtype}")
        expect(np.isfinite(found).all(), "finite samples became NaN or infinite")


def check_reference(augmentation: Augmentation, reference: Any, x: np.ndarray) -> None:
    """The batch equals the reference's."""
    if reference is None:
        raise CheckSkipped("no reference was passed")
    for epoch in range(4):
        wanted = reference(x.astype("float64"), Draws(np.arange(len(x)), seed=11, epoch=epoch, stream=0))
        np.testing.assert_allclose(_applied(augmentation, x, epoch=epoch), wanted, rtol=1e-5, atol=1e-6)


def check_keyed(augmentation: Augmentation, x: np.ndarray) -> None:
    """What happens to a sample depends on seed, epoch and its number alone: not on time, order or batch."""
    whole = _applied(augmentation, x)
    expect(np.array_equal(whole, _applied(augmentation, x)), "the same batch and key gave other samples")
    if isinstance(augmentation, Mixing):
        raise CheckSkipped("a mixed sample depends on the others of its batch")
    order = np.random.default_rng(6).permutation(len(x))
    shuffled = _applied(augmentation, x[order], order)
    expect(np.array_equal(whole[order], shuffled), "samples in another order were changed differently")
    for number in range(len(x)):
        alone = _applied(augmentation, x[number : number + 1], [number])
        expect(np.array_equal(whole[number], alone[0]), f"sample {number} alone was changed differently")


def check_inputs_kept(augmentation: Augmentation, x: np.ndarray) -> None:
    """The batch that was passed stays as it was."""
    given = x.copy()
    found = _applied(augmentation, given)
    expect(np.array_equal(given, x), "it wrote to the batch it was given")
    expect(not np.shares_memory(found, given) or found is given, "its result is a view of the batch")


def check_strides(augmentation: Augmentation, x: np.ndarray) -> None:
    """A batch that is not contiguous gives the same."""
    strided = np.asfortranarray(x)
    expect(
        np.array_equal(_applied(augmentation, strided), _applied(augmentation, x)),
        "a batch in another memory order gave other samples",
    )
