"""Einstein's summation: products of arrays whose axes are named by letters, summed over some of them.

It is made of what it means: diagonals, sums, transposes and reshapes, products number by number, and matrix
products where letters of two operands are summed over. Operands are combined from left to right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import ConfigError, DtypeError, ShapeError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, dim_product, format_shape
from bigmodel_core.ops.comparison import where
from bigmodel_core.ops.creation import diagonal
from bigmodel_core.ops.elementwise import constant_like
from bigmodel_core.ops.linear import MatMul
from bigmodel_core.ops.operands import as_values
from bigmodel_core.ops.reduce import sum as sum_
from bigmodel_core.ops.shape import reshape, transpose
from bigmodel_core.ops.slicing import index

Labels = tuple[str, ...]
"""The names of axes: letters, and ".0", ".1" and so on for those of an ellipsis, from the last one on."""


@dataclass(frozen=True)
class _Term:
    """An array and the names of its axes."""

    value: Value
    labels: Labels

    def dims(self, labels: Sequence[str]) -> tuple[Dim, ...]:
        """The sizes of some axes."""
        return tuple(self.value.shape[self.labels.index(label)] for label in labels)

    def arranged(self, labels: Sequence[str]) -> _Term:
        """With axes in another order."""
        order = [self.labels.index(label) for label in labels]
        return _Term(transpose(self.value, order), tuple(labels))

    def summed(self, kept: set[str]) -> _Term:
        """Summed over the axes that nothing needs."""
        gone = tuple(axis for axis, label in enumerate(self.labels) if label not in kept)
        rest = tuple(label for label in self.labels if label in kept)
        return _Term(sum_(self.value, gone), rest) if gone else self


def einsum(equation: str, *operands: Any) -> Value:
    """Products of arrays whose axes are named by letters, summed over those that the result does not have.

    A letter twice in one operand takes its diagonal. `...` stands for axes that broadcast. Without `->`, the
    result has the axes of `...`, then the letters that occur once, in alphabetical order.

    Args:
        equation: the letters of each operand and of the result, such as "bij,bjk->bik".
        operands: Values and arrays, of one number type.

    Raises:
        ConfigError: the equation makes no sense, or has another number of operands.
        ShapeError: an operand has not the axes that the equation gives it, or a letter has two sizes.
        DtypeError: the operands differ in type, or are truth values.

    >>> import numpy as np
    >>> from bigmodel_core.testing import compute
    >>> compute(lambda a, b: einsum("ij,kj->ik", a, b), np.eye(2), np.array([[1.0, 2.0]]))
    array([[1.],
           [2.]])
    """
    if not isinstance(equation, str):
        raise ConfigError(
            f"the first argument of einsum is a {type(equation).__name__}.",
            fix="write the equation first: ops.einsum('ij,jk->ik', a, b).",
        )
    inputs, output = _parsed(equation)
    values = as_values(operands, "einsum")
    if len(inputs) != len(values):
        raise ConfigError(
            f"einsum('{equation}') has {len(inputs)} operands, got {len(values)}.",
            fix="separate the letters of operands by commas.",
        )
    kinds = sorted({value.dtype for value in values})
    if len(kinds) > 1 or kinds == ["bool"]:
        raise DtypeError(
            f"einsum cannot multiply {' and '.join(kinds)}.", fix="convert: x.astype('float32')."
        )
    terms = _terms(equation, inputs, values)
    result = _result(equation, output, terms)
    found = [_diagonal(term) for term in terms]
    while len(found) > 1:
        left, right, *rest = found
        kept = {*result, *(label for term in rest for label in term.labels)}
        left, right = left.summed(kept | {*right.labels}), right.summed(kept | {*left.labels})
        found = [_product(left, right, kept, result if not rest else ()), *rest]
    return found[0].summed({*result}).arranged(result).value


def _parsed(equation: str) -> tuple[list[str], str | None]:
    """The parts of an equation, with one "." for an ellipsis."""
    text = "".join(equation.split()).replace("...", ".")
    left, arrow, right = text.partition("->")
    parts = [*left.split(","), *([right] if arrow else [])]
    for part in parts:
        if part.count(".") > 1 or (not part.replace(".", "").isalpha() and part not in ("", ".")):
            raise ConfigError(
                f"einsum('{equation}') has '{part}' in the place of letters.",
                fix="write letters, '...' once at most, commas and one '->': 'bij,bjk->bik'.",
            )
    return left.split(","), right if arrow else None


def _terms(equation: str, inputs: Sequence[str], values: Sequence[Value]) -> list[_Term]:
    """The operands with names for all axes; those of an ellipsis that broadcast are dropped."""
    found = [
        _Term(value, _labels(equation, text, value, number))
        for number, (text, value) in enumerate(zip(inputs, values, strict=True), 1)
    ]
    sizes: dict[str, Dim] = {}
    for term in found:
        for label, dim in zip(term.labels, term.value.shape, strict=True):
            known = sizes.setdefault(label, dim)
            if known == dim:
                continue
            if label.startswith(".") and 1 in (known, dim):
                sizes[label] = dim if known == 1 else known
                continue
            name = f"'{label}'" if not label.startswith(".") else "an axis of '...'"
            raise ShapeError(
                f"einsum('{equation}'): {name} has the sizes {known} and {dim} in"
                f" {' and '.join(format_shape(value.shape) for value in values)}.",
                fix="give axes of different sizes different letters.",
            )
    return [_without_repeated(term, sizes) for term in found]


def _labels(equation: str, text: str, value: Value, number: int) -> Labels:
    letters = len(text.replace(".", ""))
    if letters > value.ndim or ("." not in text and letters != value.ndim):
        raise ShapeError(
            f"einsum('{equation}') names {letters} axes of operand {number}, which has {value.ndim}:"
            f" {format_shape(value.shape)}.",
            fix="name each axis by a letter, or write '...' for the others.",
        )
    before, _, behind = text.partition(".")
    rest = value.ndim - letters
    return (*before, *(f".{place}" for place in reversed(range(rest))), *behind)


def _without_repeated(term: _Term, sizes: dict[str, Dim]) -> _Term:
    """Without axes of size 1 that are repeated."""
    pairs = list(zip(term.labels, term.value.shape, strict=True))
    kept = [(label, dim) for label, dim in pairs if dim == sizes[label]]
    if len(kept) == len(pairs):
        return term
    return _Term(reshape(term.value, [dim for _, dim in kept]), tuple(label for label, _ in kept))


def _result(equation: str, output: str | None, terms: Sequence[_Term]) -> Labels:
    """The names of the result's axes."""
    counts = Counter(label for term in terms for label in term.labels)
    ellipsis = sorted((label for label in counts if label.startswith(".")), key=lambda label: -int(label[1:]))
    if output is None:
        once = sorted(label for label, count in counts.items() if count == 1 and not label.startswith("."))
        return (*ellipsis, *once)
    before, dots, behind = output.partition(".")
    found = (*before, *(ellipsis if dots else ()), *behind)
    unknown = [label for label in found if label not in counts]
    twice = [label for label, count in Counter(found).items() if count > 1]
    if unknown:
        what, fix = (
            f"no operand has the axis '{unknown[0]}' of the result",
            "name axes of operands behind '->'.",
        )
    elif twice:
        what, fix = f"the result has the axis '{twice[0]}' twice", "name each axis of the result once."
    elif ellipsis and not dots:
        what, fix = (
            "'...' is in an operand and not in the result",
            "write it behind '->', or letters instead.",
        )
    else:
        return found
    raise ConfigError(f"einsum('{equation}'): {what}.", fix=fix)


def _diagonal(term: _Term) -> _Term:
    """With each letter once: the places where axes of one letter are equal."""
    for label, count in Counter(term.labels).items():
        for _ in range(count - 1):
            term = _one_diagonal(term, label)
    return term


def _one_diagonal(term: _Term, label: str) -> _Term:
    first = term.labels.index(label)
    second = term.labels.index(label, first + 1)
    others = [axis for axis in range(term.value.ndim) if axis not in (first, second)]
    moved, size = transpose(term.value, [*others, first, second]), term.value.shape[first]
    labels = (*(term.labels[axis] for axis in others), label)
    if isinstance(size, int):
        flat = reshape(moved, (*moved.shape[:-2], size * size))
        return _Term(index(flat, (..., slice(None, None, size + 1))), labels)
    on = diagonal(moved.node.graph, size, size)
    return _Term(sum_(where(on, moved, constant_like(0, moved)), -1), labels)


def _product(left: _Term, right: _Term, kept: set[str], result: Labels) -> _Term:
    """Two operands multiplied, and summed over the letters of both that are not kept."""
    batch = [label for label in left.labels if label in right.labels and label in kept]
    summed = [label for label in left.labels if label in right.labels and label not in kept]
    down = [label for label in left.labels if label not in right.labels]
    across = [label for label in right.labels if label not in left.labels]
    if not summed or not (down or across) or not left.value.spec.is_float:
        order = result if {*result} == {*batch, *down, *across} else (*batch, *down, *across)
        wide = _Term(_spread(left, (*order, *summed)) * _spread(right, (*order, *summed)), (*order, *summed))
        return wide.summed({*order})
    if result == (*batch, *across, *down):
        left, right, down, across = right, left, across, down
        batch = [label for label in left.labels if label in batch]
        summed = [label for label in left.labels if label in summed]
    return _matrix_product(left, right, batch, summed, down, across)


def _spread(term: _Term, labels: Labels) -> Value:
    """With an axis for each label, of size 1 where the array has none."""
    own = [label for label in labels if label in term.labels]
    value = term.arranged(own).value
    sizes = dict(zip(own, value.shape, strict=True))
    return reshape(value, tuple(sizes.get(label, 1) for label in labels))


def _matrix_product(
    left: _Term, right: _Term, batch: list[str], summed: list[str], down: list[str], across: list[str]
) -> _Term:
    is_turned = left.labels == (*batch, *summed, *down)
    left = left if is_turned else left.arranged((*batch, *down, *summed))
    is_turned_right = right.labels == (*batch, *across, *summed)
    right = right if is_turned_right else right.arranged((*batch, *summed, *across))
    shape = (*left.dims(batch), *left.dims(down), *right.dims(across))
    m, k, n = (dim_product(dims) for dims in (left.dims(down), left.dims(summed), right.dims(across)))
    lead = left.dims(batch)
    a, b = left.value, right.value
    if batch or is_turned or not down or len(summed) > 1:  # else rows of any rank are a batch of their own
        a = reshape(a, (*lead, k, m) if is_turned else (*lead, m, k))
    b = reshape(b, (*lead, n, k) if is_turned_right else (*lead, k, n))
    return _Term(reshape(MatMul(is_turned, is_turned_right)(a, b), shape), (*batch, *down, *across))


__all__ = ["einsum"]
