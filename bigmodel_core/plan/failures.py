"""Failures: the error for a status that a kernel reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bigmodel_core.errors import BigmodelError, DataError, KernelError, NumericsError
from bigmodel_core.kernels import status as codes

if TYPE_CHECKING:
    from bigmodel_core.plan.steps import Step


class Unproven(NumericsError):
    """Numbers that are finite and so large that a gate can prove nothing; nothing was changed."""


@dataclass(frozen=True)
class Failure:
    """The meaning of one code.

    Args:
        error: the class of the error.
        message: its message, with the fields `found`, `limit`, `last` (limit - 1), `position` and `op`.
        fix: what to do about it, with the same fields.
        is_placed: whether the step that reported it is where it belongs to.
    """

    error: type[BigmodelError]
    message: str
    fix: str = ""
    is_placed: bool = True


FAILURES = {
    codes.LABEL_OUT_OF_RANGE: Failure(
        DataError,
        "the label {found} (sample {position} of the batch) is out of range for {limit} classes.",
        "labels run from 0 to {last}; set the model's number of classes, or fix the labels.",
    ),
    codes.INDEX_OUT_OF_RANGE: Failure(
        DataError,
        "the index {found} (position {position}) is out of range for a table of {limit} rows.",
        "indices run from 0 to {last}.",
    ),
    codes.LENGTH_OUT_OF_RANGE: Failure(
        DataError,
        "the length {found} (sample {position} of the batch) is out of range for sequences of {limit} steps.",
        "lengths run from 0 to {limit}.",
    ),
    codes.SLICE_OUT_OF_RANGE: Failure(
        DataError,
        "a slice would begin at {found}; in this array it may begin from 0 to {limit}.",
        "write within the array: a cache holds a fixed number of steps.",
    ),
    codes.PLACE_OUT_OF_RANGE: Failure(
        DataError,
        "the index {found} (position {position}) is out of range for an axis of {limit}.",
        "indices run from 0 to {last}.",
    ),
    codes.TARGET_OUT_OF_RANGE: Failure(
        DataError,
        "the label {found} (position {position} of all targets) is out of range for {limit} classes.",
        "labels run from 0 to {last}; what pads them is no label: pass target_lengths.",
    ),
    codes.TARGET_IS_BLANK: Failure(
        DataError,
        "the label {found} (position {position} of all targets) is the blank, which stands between labels.",
        "number the labels so that none is the blank; what pads them is no label: pass target_lengths.",
    ),
    codes.TARGET_LENGTH_OUT_OF_RANGE: Failure(
        DataError,
        "the length {found} (sample {position} of the batch) is out of range for targets of {limit} labels.",
        "lengths run from 0 to {limit}.",
    ),
    codes.NOT_FINITE: Failure(
        NumericsError, "a number that must be finite is NaN or infinite.", "nothing was changed."
    ),
    codes.UNPROVEN: Failure(Unproven, "numbers are too large to tell whether all that follows is finite."),
    codes.WRITTEN_NOT_FINITE: Failure(
        NumericsError,
        "a variable was overwritten with numbers that are NaN or infinite.",
        "load an earlier state.",
        is_placed=False,
    ),
    codes.KERNEL_RAISED: Failure(KernelError, "the kernel of {op} raised an exception."),
}


def error_of(step: Step | None, status: Sequence[int] | np.ndarray, is_found: bool = True) -> BigmodelError:
    """The error for a status.

    Args:
        step: the step that reported it, where that is known.
        status: integers, in the places that `kernels.status` names.
        is_found: whether they say what was found, and where.
    """
    code = int(status[codes.CODE])
    failure = FAILURES.get(code) or Failure(KernelError, f"the kernel of {{op}} reported the status {code}.")
    limit = int(status[codes.LIMIT])
    fields = {
        "found": int(status[codes.FOUND]) if is_found else "?",
        "limit": limit,
        "last": limit - 1,
        "position": int(status[codes.POSITION]) if is_found else "?",
        "op": type(step.node.op).__name__ if step else "an op",
    }
    fix = failure.fix.format_map(fields)
    if not is_found and "{found}" in failure.message:
        fix += " Run it on the CPU to see which."
    error = failure.error(
        failure.message.format_map(fields),
        fix=fix or None,
        where=_place_of(step, failure),
    )
    if isinstance(error, NumericsError):
        error.is_written = code == codes.WRITTEN_NOT_FINITE
    return error


def _place_of(step: Step | None, failure: Failure) -> str | None:
    """Where a step belongs to; for what is wrong with data, the op as well where no path leads to its
    layer: a function or a model as a whole may apply many."""
    if step is None or not failure.is_placed:
        return None
    node = step.node
    if node.path or not issubclass(failure.error, DataError):
        return node.place or None
    op = type(node.op).__name__
    return f"{node.place}, {op}" if node.place else op
