"""The page on operators is complete and true: names on it exist, none is missing, and its lines hold.

It states which versions of PyTorch and JAX it is about. Others have other names, and are not compared.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.graph import Graph
from tests.onnx.conftest import Function, run

PAGE = (Path(__file__).parents[1] / "docs" / "operators.md").read_text()
MODULES = {
    "PyTorch": {"torch": "", "torch.nn.functional": "F."},
    "JAX": {"jax.numpy": "", "jax.nn": "nn.", "jax.lax": "lax."},
}
"""Where functions are, and what is written before their names."""

INSIDES = ("*torch_function*", "assert_int_or_pair", "boolean_dispatch", "Optional")
"""What `torch.nn.functional` has beside functions for its users."""


def codes(text: str) -> list[str]:
    """The pieces of code in a text."""
    return [code.replace("\\|", "|") for code in re.findall(r"`([^`]+)`", text)]


def rows() -> Iterator[dict[str, str]]:
    """The rows of all tables: cells by the heads of their columns."""
    heads: list[str] = []
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)][1:-1]
        if not heads or not cells:
            heads = cells
        elif cells[0] != "---":
            yield dict(zip(heads, cells, strict=True))


def column(head: str) -> list[str]:
    """The pieces of code in a column of all tables that have it."""
    return [code for row in rows() for code in codes(row.get(head, ""))]


def named(library: str) -> set[str]:
    """A library's functions on the page, with their prefixes; they may be patterns."""
    lists = "".join(re.findall(rf"^- {library}: (.*?)$(?=\n-|\n\n|\Z)", PAGE, re.MULTILINE | re.DOTALL))
    found = {name for code in column(library) + codes(lists) for name in re.findall(r"^[\w.*]+", code)}
    return {name for name in found if name.split(".")[0] != "x"}  # but methods of an array


def functions(module: str) -> set[str]:
    """The public functions of a module; of PyTorch's, its operators."""
    home = importlib.import_module(module)
    public = {name for name in dir(home) if not name.startswith("_") and callable(getattr(home, name))}
    public = {name for name in public if not isinstance(getattr(home, name), type)}
    if module == "torch":
        overridable = home.overrides.get_testing_overrides()
        return {x for x in public if getattr(home, x) in overridable or hasattr(home.ops.aten, x)}
    if module == "torch.nn.functional":
        return {name for name in public if not matches(name, INSIDES)}
    return {name for name in public if name[0].islower()}  # not types of arguments


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_complete(library: str) -> None:
    """No function of a library is missing.

    A name without a prefix stands for all modules that have it. What both of PyTorch's have is one function,
    so that either name will do.
    """
    listed = named(library)
    missing = [
        f"{module}.{name}"
        for module, prefix in MODULES[library].items()
        for name in sorted(functions(module))
        if not matches(name, listed) and not matches(prefix + name, listed)
        if not (module == "torch" and matches(f"F.{name}", listed))
    ]
    assert not missing, f"add to docs/operators.md, beside what does it or to what is left out: {missing}"


def check_names(library: str) -> None:
    """Each name or pattern of a library on the page is that of something in it."""
    unknown = []
    for name in sorted(named(library)):
        prefix, _, rest = name.rpartition(".")
        homes = {prefix[:-1]: module for module, prefix in MODULES[library].items()}
        module = importlib.import_module(homes.get(prefix, prefix))
        if not any(fnmatchcase(item, rest) for item in dir(module)):
            unknown.append(name)
    assert not unknown, f"{library} has no {unknown}"


def check_version(library: str, installed: str) -> None:
    stated = re.search(rf"{library} (\d+\.\d+)", PAGE)
    assert stated is not None
    if not installed.startswith(f"{stated[1]}."):
        pytest.skip(f"the page is about {library} {stated[1]}, not {installed}")


# Ours -------------------------------------------------------------------------------------------------------


def test_every_op_is_on_the_page() -> None:
    missing = sorted(set(ops.__all__) - set(column("ours")))
    assert not missing, f"add to docs/operators.md: {missing}"


def test_what_the_page_calls_ours_is_there() -> None:
    layers = {layer.__name__ for layer in bm.registry.classes("layer")}
    graph = Graph()
    with graph.active():
        scope = {name: graph.input(name, bm.Spec((3, 4))) for name in "xy"}
        for code in column("ours"):
            is_name = code in layers or code in ops.__all__
            assert is_name or eval(code, {"losses": bm.losses, **scope}) is not None, code
    mentioned = {code for code in column("note") if code[0].isupper()}
    assert mentioned <= layers


# Composed in a line -----------------------------------------------------------------------------------------


def inputs() -> dict[str, np.ndarray]:
    """What the page says about the arrays of its lines."""
    generator = np.random.default_rng(0)
    sizes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys("xyz", (3, 4)),
        **dict.fromkeys("vw", (4,)),
        "m": (4, 4),
        "images": (2, 4, 6, 6),
        "s": (2, 4, 6),
        "f": (4, 4, 3),
    }
    return {
        **{name: generator.normal(size=size).astype("float32") for name, size in sizes.items()},
        **{name: generator.uniform(0.1, 0.9, (3, 4)).astype("float32") for name in "pq"},
        "c": generator.random((3, 4)) < 0.5,
        "n": generator.integers(0, 4, (3, 4)),
        "i": np.array([2, 0, 3]),
        "signs": generator.choice([-1, 1], (3, 4)).astype("float32"),
    }


def lines() -> list[tuple[str, dict[str, str]]]:
    """Lines, and the row of each."""
    return [(codes(row["in a line"])[0], row) for row in rows() if "in a line" in row]


def calls(row: Mapping[str, str], library: str) -> list[str]:
    return [code for code in codes(row[library]) if "(" in code]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What lines compute in ONNX Runtime, for which no kernels are compiled: one file holds them all.

    Lines with random numbers, which have no calls beside them, are traced only.
    """
    import bigmodel_onnx.verify

    arrays = inputs()
    counts: dict[str, int] = {}

    def apply(*values: bm.Value) -> tuple[bm.Value, ...]:
        found: list[bm.Value] = []
        for line, row in lines():
            result = eval(line, {"ops": ops, "np": np, **dict(zip(arrays, values, strict=True))})
            if calls(row, "PyTorch") or calls(row, "JAX"):
                parts = result if isinstance(result, tuple) else (result,)
                counts[line] = len(parts)
                found += parts
        return tuple(found)

    model = Function(apply)
    model.build(*[bm.Spec(array.shape, array.dtype.name) for array in arrays.values()])
    path = tmp_path_factory.mktemp("lines") / "model.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigmodel_onnx.verify, "verify", lambda *_: {})  # PyTorch and JAX are the oracles here
        bm.export(model, path)
    outputs = iter(run(path, *arrays.values()))
    return {line: [next(outputs) for _ in range(count)] for line, count in counts.items()}


def test_lines_can_be_exported(results: dict[str, Any]) -> None:
    assert len(results) > 100


def check_lines(library: str, results: Mapping[str, Any], scope: Mapping[str, Any]) -> None:
    """Lines compute what stands beside them."""
    for line, row in lines():
        for call in calls(row, library):
            wanted = eval(call, dict(scope))
            parts = wanted if isinstance(wanted, tuple | list) else (wanted,)
            for found, part in zip(results[line], parts, strict=True):
                expected = np.asarray(part)
                assert found.shape == expected.shape, call
                np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=call)


# Theirs -----------------------------------------------------------------------------------------------------


def test_no_operator_of_pytorch_is_missing(torch: Any) -> None:
    check_version("PyTorch", torch.__version__)
    check_complete("PyTorch")


def test_names_of_pytorch_exist(torch: Any) -> None:
    check_version("PyTorch", torch.__version__)
    check_names("PyTorch")


@pytest.mark.filterwarnings("ignore")
def test_lines_compute_what_pytorch_computes(torch: Any, results: dict[str, Any]) -> None:
    check_version("PyTorch", torch.__version__)
    tensors = {name: torch.from_numpy(array) for name, array in inputs().items()}
    check_lines("PyTorch", results, {**vars(torch), "F": torch.nn.functional, **tensors})


def test_no_operator_of_jax_is_missing() -> None:
    check_version("JAX", pytest.importorskip("jax").__version__)
    check_complete("JAX")


def test_names_of_jax_exist() -> None:
    check_version("JAX", pytest.importorskip("jax").__version__)
    check_names("JAX")


@pytest.mark.filterwarnings("ignore")
def test_lines_compute_what_jax_computes(results: dict[str, Any]) -> None:
    jax = pytest.importorskip("jax")
    check_version("JAX", jax.__version__)
    arrays = {name: jax.numpy.asarray(array) for name, array in inputs().items()}
    modules = {"jax": jax, "nn": jax.nn, "lax": jax.lax}
    check_lines("JAX", results, {**vars(jax.numpy), **modules, **arrays})
