"""Operators on arrays as other exporters write them are read as ONNX Runtime computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import bigmodel_core as bm
from bigmodel_core.errors import ExportError
from tests.onnx.conftest import each, run
from tests.onnx.test_old_files import write

Case = tuple[int, list[Any], dict[str, Any], str]


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


WHOLE = [node("Cast", "x", "i", to=7), node("Cast", "z", "j", to=7)]
CASES: dict[str, Case] = {
    "split in equal parts": (13, [node("Split", "x", "y b", axis=1)], {}, "y b"),
    "split by sizes": (13, [node("Split", "x s", "y b", axis=-1)], {"s": [1, 5]}, "y b"),
    "split by an attribute": (11, [node("Split", "x", "y b c", axis=1, split=[3, 1, 2])], {}, "y b c"),
    "split with a rest": (18, [node("Split", "x", "y b c d", axis=1, num_outputs=4)], {}, "y b c d"),
    "split of a free size": (18, [node("Split", "x", "y b", axis=0, num_outputs=2)], {}, "y b"),
    "tile": (13, [node("Tile", "x r")], {"r": [2, 3]}, "y"),
    "triangle above": (14, [node("Trilu", "x")], {}, "y"),
    "triangle below": (14, [node("Trilu", "x k", upper=0)], {"k": np.array(1)}, "y"),
    "diagonal": (13, [node("EyeLike", "x", "e", k=1), node("Add", "x e")], {}, "y"),
    "diagonal of a type": (13, [node("EyeLike", "x", "e", dtype=7), node("Cast", "e", to=1)], {}, "y"),
    "remainder like C": (13, [node("Mod", "x z", fmod=1)], {}, "y"),
    "remainder of integers": (13, [*WHOLE, node("Mod", "i j", "m"), node("Cast", "m", to=1)], {}, "y"),
    "remainder like C of integers": (
        *(13, [*WHOLE, node("Mod", "i j", "m", fmod=1), node("Cast", "m", to=1)], {}, "y"),
    ),
    "quotient of integers": (13, [*WHOLE, node("Div", "i j", "m"), node("Cast", "m", to=1)], {}, "y"),
    "round": (13, [node("Round", "x")], {}, "y"),
    "either": (
        13,
        [
            node("Less", "x z", "a"),
            node("Less", "x n", "b"),
            node("Xor", "a b", "c"),
            node("Cast", "c", to=1),
        ],
        {"n": np.float32(0)},
        "y",
    ),
    "sums": (14, [node("CumSum", "x a", exclusive=1, reverse=1)], {"a": np.array(-1)}, "y"),
    "equation": (13, [node("Einsum", "x z", equation="ni, mi -> nm")], {}, "y"),
    "backwards": (
        13,
        [node("Slice", "x s e a t")],
        {"s": [-1, 4], "e": [-(2**63), 0], "a": [0, 1], "t": [-2, -1]},
        "y",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_operators_are_read_as_onnx_runtime_computes_them(name: str, tmp_path: Path) -> None:
    opset, nodes, weights, outputs = CASES[name]
    path = write(tmp_path / "m.onnx", nodes, {"x": ["N", 6], "z": ["N", 6]}, weights, opset, outputs)
    model = bm.from_onnx(path)
    for rows in (2, 5):
        generator = np.random.default_rng(rows)
        x, z = (generator.normal(size=(rows, 6)).astype("float32") * 9 for _ in range(2))
        z += np.sign(z)  # no integer of it is 0
        for found, wanted in zip(each(model(x, z)), run(path, x, z), strict=True):
            assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_parts_that_are_not_the_whole_are_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.onnx", [node("Split", "x s", "y b", axis=1)], {"x": ["N", 6]}, {"s": [1, 4]}, 13, "y b"
    )
    with pytest.raises(ExportError, match=r"the parts of Split have 5 along axis 1 of \(N, 6\)"):
        bm.from_onnx(path)
