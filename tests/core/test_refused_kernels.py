"""What an author reads whose kernel cannot be compiled: the line, what is there, the mend; in a few lines."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import KernelError
from bigmodel_core.kernels.refusal import refused
from bigmodel_core.testing import compute
from tests.processes import run_code

TABLE = [1.0, 2.0]
THING = object()


def makes_an_array(out, x):
    scratch = np.zeros(4)  # here
    out[0, 0] = scratch[0]


def makes_a_list(out, x):
    out[0, 0] = [1.0, x[0, 0]][1]  # here


def unknown_attribute(out, x):
    for i in range(out.shape[0]):
        out[i, 0] = x.foo  # here


def unknown_name(out, x):
    out[0, 0] = y[0]  # type: ignore[name-defined]  # here  # noqa: F821


def stores_text(out, x):
    out[0, 0] = "a"  # here


def too_many_indices(out, x):
    out[0, 0] = x[0, 0]
    out[0, 0, 0, 0] = x[0, 0]  # here


def float_index(out, x):
    out[0, 0] = x[0.5, 0]  # here


def of_an_object(out, x):
    out[0, 0] = THING  # here


def of_a_list(out, x):
    out[0, 0] = TABLE[0]  # here


def with_an_import(out, x):
    import json  # here

    out[0, 0] = json.loads("1")


def with_a_context(out, x):
    with open("a") as _:  # here
        out[0, 0] = 1


def caught(out, x):
    try:
        out[0, 0] = 1
    except ValueError as error:  # here
        out[0, 0] = error


def wrong_call(out, x):
    out[0, 0] = math.exp(1, 2)  # type: ignore[call-arg]  # here


def helper(v):
    return v.nothing  # in the helper


def through_a_helper(out, x):
    out[0, 0] = helper(x)


def module_function(out, x):
    out[0, 0] = json.loads("1")  # here


REFUSED: dict[Callable[..., None], str] = {
    makes_an_array: "makes an array or a collection.*call.temporary",
    makes_a_list: "makes an array or a collection.*call.temporary",
    unknown_attribute: "uses '.foo' of a float32 array of 2 axes",
    unknown_name: "uses the unknown name 'y'.*top of the file",
    stores_text: "stores text in a float32 array of 2 axes",
    too_many_indices: "gives 4 indices to a float32 array of 2 axes",
    float_index: r"indexes a float32 array of 2 axes by \(float64, 0\)",
    of_an_object: "uses 'THING', a object.*fields of the op",
    of_a_list: "uses 'TABLE', a list.*tuple",
    with_an_import: "Python that kernels do not have",
    with_a_context: "context manager",
    caught: "Exception object",
    wrong_call: "calls a function with wrong arguments: too many positional",
    through_a_helper: "uses '.nothing'",
    module_function: "json",
}
"""Kernels, and what is said of the line that is marked."""


def op_of(function: Callable[..., None], **kernels: Any) -> bm.Op:
    made = kernels or {"cpu": bm.kernel(function)}
    infer = lambda self, x: x  # noqa: E731
    cls = dataclass(frozen=True)(type("OfKernel", (bm.Op,), {**made, "infer": infer}))
    return cls()


def marked(function: Callable[..., None]) -> int:
    """The line of a function that is marked."""
    lines, first = inspect.getsourcelines(function if function is not through_a_helper else helper)
    return first + next(number for number, line in enumerate(lines) if "# here" in line or "# in the" in line)


@pytest.mark.parametrize("function", REFUSED, ids=lambda item: item.__name__)
def test_the_line_of_a_kernel_that_cannot_be_compiled_is_named(function: Callable[..., None]) -> None:
    with pytest.raises(KernelError) as caught:
        compute(op_of(function), np.ones((3, 2), "float32"))
    text = str(caught.value)
    assert f"{__file__}, line {marked(function)}" in text
    assert function.__name__ in text and len(text.splitlines()) <= 8
    assert_matches(REFUSED[function], text)
    assert caught.value.details and caught.value.__cause__ is None


def assert_matches(pattern: str, text: str) -> None:
    import re

    assert re.search(pattern, text, re.DOTALL), text


def test_all_that_the_compiler_says_is_shown_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGMODEL_VERBOSE", "1")
    with pytest.raises(KernelError) as caught:
        compute(op_of(unknown_attribute), np.ones((3, 2), "float32"))
    assert "During: typing of get attribute" in str(caught.value) and caught.value.__cause__ is not None


def test_a_scalar_function_that_numba_refuses_is_named() -> None:
    scope: dict[str, Any] = {}
    exec("def odd(x):\n    return x.foo", scope)  # without a source that could be checked before
    cpu, _ = bm.elementwise(scope["odd"])
    with pytest.raises(KernelError, match=r"the kernel 'odd' cannot be compiled: .* uses '.foo' of float32"):
        compute(op_of(scope["odd"], cpu=cpu), np.ones(3, "float32"))


def test_messages_in_colour_are_read_alike() -> None:
    plain = "Unknown attribute 'foo' of type float32\n\nFile \"nowhere.py\", line 3:"
    painted = "\n".join(f"\x1b[1m\x1b[31m{line}\x1b[0m" for line in plain.splitlines())
    found = [str(refused(helper, ValueError(text))) for text in (plain, painted)]
    assert found[0] == found[1] and "uses '.foo' of float32" in found[0]


def test_a_generator_is_no_kernel() -> None:
    def yields(out, x):
        yield x

    with pytest.raises(KernelError, match="'yields' yields or awaits"):
        bm.kernel(yields)


def test_the_line_that_raises_in_the_simulator_is_named() -> None:
    code = """
import sys
import numpy as np
import bigmodel_core as bm
from bigmodel_core.errors import KernelError
from bigmodel_core.kernels.refusal import refused
from bigmodel_core.testing import compute
from tests.core import test_refused_kernels as here

def far(out, x, thread, threads):
    out[99, 0] = x[0, 0]

for function, line in ((here.outside, here.marked(here.outside)), (far, None)):
    try:
        op = here.op_of(function, cuda=bm.cuda_kernel(function))
        compute(op, np.ones((3, 2), "float32"), device="cuda")
    except KernelError as error:
        assert line is None or f"test_refused_kernels.py, line {line} raised IndexError" in str(error), error
        assert "the CUDA kernel" in str(error) and len(str(error).splitlines()) <= 8
    else:
        sys.exit(1)
"""
    done = run_code(code, NUMBA_ENABLE_CUDASIM="1")
    assert done.returncode == 0, done.stderr


def outside(out, x, thread, threads):
    out[99, 0] = x[0, 0]  # here
