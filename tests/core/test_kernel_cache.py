"""The kernel cache: a second process compiles nothing, and nothing breaks it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache as memo
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigmodel_core.kernels import cache
from bigmodel_core.kernels.cpu.engine.fingerprint import fingerprint
from tests.processes import run_code

SMALL = """
import sys, warnings
import numpy as np
import bigmodel_core as bm
from bigmodel_core.kernels import cache
from bigmodel_core.plan import Program, Variables, device_named

def run():
    graph = bm.Graph()
    x = graph.input("x", bm.Spec(("N",)))
    return Program(graph, [x * 2.0 + 1.0]).run(Variables(device_named("cpu")), {"x": np.ones(3, "float32")})

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    result = run()[0].tolist()
print(result, len(cache.compilations), "numba" in sys.modules, len(caught))
for warning in caught:
    print(warning.category.__name__, warning.message)
"""
WARM = "[3.0, 3.0, 3.0] 0 False 0"
COLD = "[3.0, 3.0, 3.0] 3 True"  # the chain, the walker and the workers' loop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty cache folder; kernels go into `kernels` in it."""
    return tmp_path / "cache"


def files(folder: Path) -> list[Path]:
    return sorted((folder / "kernels").glob("*.o"))


def test_a_second_process_compiles_nothing_and_imports_no_numba(folder: Path) -> None:
    first = run_code(SMALL, BIGMODEL_CACHE_DIR=str(folder), BIGMODEL_NUM_THREADS="2")
    assert first.stdout.strip() == f"{COLD} 0"
    for seed in ("1", "2"):  # nor do keys depend on the order of sets
        second = run_code(
            SMALL, BIGMODEL_CACHE_DIR=str(folder), BIGMODEL_NUM_THREADS="2", PYTHONHASHSEED=seed
        )
        assert second.stdout.strip() == WARM
    assert len(files(folder)) == 3


NETWORKS = {
    "dense": """bm.Sequential(
    bm.layers.Dense(8), bm.layers.Gelu(), bm.layers.Dropout(0.5), bm.layers.Dense(3))
x = np.ones((32, 4), "float32")""",
    "lenet": """bm.models.build("lenet", classes=3)
x = np.ones((5, 1, 32, 32), "float32")""",
    "resnet20": """bm.models.build("resnet20", classes=3)
x = np.ones((3, 3, 16, 16), "float32")""",
    "lstm": """bm.models.build("lstm-classifier", classes=3)
x = np.ones((5, 6, 5), "float32")""",  # for up to four sequences, threads share a step by another kernel
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_second_process_trains_without_compiling(network: str) -> None:
    code = f"""
import sys
import numpy as np
import bigmodel_core as bm
from bigmodel_core.kernels import cache
model = {NETWORKS[network]}
step = bm.compile(model, "cross_entropy", bm.optimizers.Adam(clip_norm=1.0))
for _ in range(3):
    step(x, np.zeros(len(x), "int64"))
model(x)
print(len(cache.compilations), sorted({{"numba", "onnx", "onnxruntime"}} & set(sys.modules)))
"""
    run_code(code)
    # Other sizes take the same kernels.
    other = code.replace("np.ones((", "np.ones((2 + ")
    assert run_code(other, PYTHONHASHSEED="5").stdout.strip() == "0 []"


@pytest.mark.slow
def test_four_cold_processes_agree_on_one_empty_cache(folder: Path) -> None:
    environment = {**os.environ, "BIGMODEL_CACHE_DIR": str(folder), "BIGMODEL_NUM_THREADS": "2"}
    started = [
        subprocess.Popen([sys.executable, "-c", SMALL], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=300)[0].strip() for process in started]
    assert all(process.returncode == 0 for process in started)
    assert {answer.partition("]")[0] for answer in answers} == {"[3.0, 3.0, 3.0"}
    assert {answer[-1] for answer in answers} == {"0"}  # no warnings
    assert len(files(folder)) == 3
    assert [path.name for path in (folder / "kernels").iterdir() if path.name.startswith(".new")] == []


# Folders that cannot be used -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unusable", ["a file in the way", "no such user", "no rights"], ids=lambda name: name.replace(" ", "-")
)
def test_without_a_usable_folder_kernels_work_with_one_warning(tmp_path: Path, unusable: str) -> None:
    if unusable == "a file in the way":
        (tmp_path / "file").write_text("")
        chosen = str(tmp_path / "file" / "cache")
    elif unusable == "no such user":
        chosen = "~no-such-user/cache"
    else:
        if not hasattr(os, "getuid") or os.getuid() == 0:
            pytest.skip("root may write everywhere")
        (tmp_path / "closed").mkdir(mode=0o500)
        chosen = str(tmp_path / "closed" / "cache")
    lines = run_code(SMALL, BIGMODEL_CACHE_DIR=chosen).stdout.splitlines()
    assert lines[0].startswith("[3.0, 3.0, 3.0]") and lines[0].endswith(" 1")
    assert lines[1].startswith("KernelCacheWarning the") or lines[1].startswith("KernelCacheWarning there")
    assert "BIGMODEL_CACHE_DIR" in lines[1]
    assert len(lines) == 2


def test_without_a_home_folder_nothing_is_written_anywhere(tmp_path: Path) -> None:
    # The system knows no home: what HOME and the table of users would say is taken away.
    code = (
        f"import os, os.path; os.chdir({str(tmp_path)!r}); os.path.expanduser = lambda path: path\n" + SMALL
    )
    lines = run_code(code, BIGMODEL_CACHE_DIR=None, HOME=None, XDG_CACHE_HOME=None).stdout.splitlines()
    assert lines[0].endswith(" 1")
    assert "no home folder" in lines[1]
    assert list(tmp_path.iterdir()) == []


posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no modes of files")


@posix
def test_the_folder_is_private(folder: Path) -> None:
    run_code(SMALL, BIGMODEL_CACHE_DIR=str(folder))
    assert stat.S_IMODE((folder / "kernels").stat().st_mode) == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in files(folder))


@posix
def test_a_folder_that_others_may_read_is_closed(folder: Path) -> None:
    (folder / "kernels").mkdir(parents=True)
    (folder / "kernels").chmod(0o755)
    assert run_code(SMALL, BIGMODEL_CACHE_DIR=str(folder)).stdout.strip().endswith(" 0")
    assert stat.S_IMODE((folder / "kernels").stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    (folder / "kernels").mkdir(parents=True)
    (folder / "kernels").chmod(mode)
    monkeypatch.setenv("BIGMODEL_CACHE_DIR", str(folder))
    monkeypatch.setattr(cache, "_warned", set())
    with pytest.warns(cache.KernelCacheWarning, match="written by others"):
        cache.store("key", b"code")
    assert cache.load("key") is None
    assert list((folder / "kernels").iterdir()) == []


@posix
def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "kernels").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("BIGMODEL_CACHE_DIR", str(folder))
    monkeypatch.setattr(os, "getuid", lambda: (folder / "kernels").stat().st_uid + 1)
    monkeypatch.setattr(cache, "_warned", set())
    with pytest.warns(cache.KernelCacheWarning, match="another user"):
        cache.store("key", b"code")
    assert cache.load("key") is None


# Files -----------------------------------------------------------------------------


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of one file."""
    monkeypatch.setenv("BIGMODEL_CACHE_DIR", str(folder))
    cache.store("key", b"machine code " * 50)
    (found,) = files(folder)
    return found


def test_what_was_stored_is_loaded(store: Path) -> None:
    assert cache.load("key") == b"machine code " * 50
    assert cache.load("another key") is None


@pytest.mark.parametrize("damage", ["torn", "empty", "one bit", "longer", "other text", "check alone"])
def test_a_damaged_file_counts_as_absent_and_is_replaced(store: Path, damage: str) -> None:
    whole = store.read_bytes()
    store.write_bytes(
        {
            "torn": whole[:-7],
            "empty": b"",
            "one bit": whole[:-1] + bytes([whole[-1] ^ 1]),
            "longer": whole + b"x",
            "other text": b"hello\nworld",
            "check alone": whole.partition(b"\n")[0],
        }[damage]
    )
    assert cache.load("key") is None
    cache.store("key", b"new")
    assert cache.load("key") == b"new"


def test_the_file_of_another_key_counts_as_absent(store: Path) -> None:
    cache.store("another key", b"other machine code")
    (other,) = [path for path in store.parent.glob("*.o") if path != store]
    store.write_bytes(other.read_bytes())
    assert cache.load("key") is None
    assert cache.load("another key") == b"other machine code"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on POSIX systems only")
def test_a_pipe_counts_as_absent_and_is_not_waited_for(store: Path) -> None:
    store.unlink()
    os.mkfifo(store)
    assert cache.load("key") is None
    cache.store("key", b"new")
    assert cache.load("key") == b"new"


@pytest.mark.parametrize(
    "payload", [b"hello", b"name\n-\nno object", b"name\nother\n\x7fELF", b"\xff\n-\n", b"a\n-\n\x7fELF"]
)
def test_garbage_with_a_digest_of_its_own_is_compiled_again(folder: Path, payload: bytes) -> None:
    code = f"""
from bigmodel_core.kernels import cache
from bigmodel_core.kernels.cpu.engine import native
def add_one(a):
    return a + 1
kernel = native.NativeFunction(add_one, "intp(intp)")
cache.store(kernel.key, {payload!r})
assert kernel.address and len(cache.compilations) == 1
again = native.NativeFunction(add_one, "intp(intp)")
assert again.address and len(cache.compilations) == 1
"""
    run_code(code, BIGMODEL_CACHE_DIR=str(folder))


def test_a_damaged_kernel_is_compiled_again(folder: Path) -> None:
    run_code(SMALL, BIGMODEL_CACHE_DIR=str(folder))
    broken = files(folder)[0]
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    assert run_code(SMALL, BIGMODEL_CACHE_DIR=str(folder)).stdout.startswith("[3.0, 3.0, 3.0] 1 True")
    assert run_code(SMALL, BIGMODEL_CACHE_DIR=str(folder)).stdout.strip() == WARM


def test_statistics_and_clearing(store: Path) -> None:
    found = cache.statistics()
    assert (found["usable"], found["files"], found["bytes"]) == (True, 1, store.stat().st_size)
    assert cache.clear() == 1
    assert cache.statistics()["files"] == 0


# Keys -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    bits: int


def closing_over(value: Any) -> Callable[..., Any]:
    def kernel(context: int, chunk: int) -> Any:
        return value

    return kernel


def compiled_from(text: str, name: str = "kernel", **scope: Any) -> Any:
    exec(text, scope)
    return scope[name]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, 1.0),
        (True, 1),
        (0.0, -0.0),
        ("a", "b"),
        (np.float32(1), np.float32(2)),
        (np.float32(1), np.float64(1)),
        (np.float32, np.float64),
        (np.arange(3), np.arange(1, 4)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        ((1, (2,)), ((1, 2),)),
        ({"a": 1}, {"a": 2}),
        (frozenset({1}), frozenset({2})),
        (Unit(256), Unit(512)),
        ((Unit(256),), (Unit(512),)),
        (closing_over(1), closing_over(2)),
    ],
    ids=lambda value: getattr(value, "__qualname__", str(value)),  # no address: the same in every process
)
def test_a_key_follows_what_a_closure_holds(one: Any, other: Any) -> None:
    assert fingerprint(closing_over(one)) != fingerprint(closing_over(other))
    assert fingerprint(closing_over(one)) == fingerprint(closing_over(one))


@pytest.mark.parametrize("body", ["x + 2", "x - 1", "x + y", "abs(x)"])
def test_a_key_follows_helper_functions(body: str) -> None:
    source = (
        "y = 5\ndef helper(x): return {}\ndef middle(x): return helper(x)\ndef kernel(c, i): return middle(c)"
    )
    first = fingerprint(compiled_from(source.format("x + 1")))
    assert fingerprint(compiled_from(source.format(body))) != first
    assert fingerprint(compiled_from(source.format("x + 1"))) == first


def test_a_key_follows_globals_defaults_and_modules() -> None:
    source = "def kernel(c, i, a={}, *, b={}): return c + SCALE + module.SCALE + a + b"

    def key(scale: int = 1, inner: int = 1, a: int = 1, b: int = 1) -> str:
        module = types.ModuleType("module")
        module.SCALE = inner
        return fingerprint(compiled_from(source.format(a, b), SCALE=scale, module=module))

    assert len({key(), key(scale=2), key(inner=2), key(a=2), key(b=2)}) == 5
    assert key() == key()


def test_a_key_follows_functions_behind_a_memo() -> None:
    def kernel(amount: int) -> Any:
        @memo
        def helper(x: int) -> int:
            return x + amount

        return closing_over(helper)

    assert fingerprint(kernel(1)) != fingerprint(kernel(2))


def test_a_key_follows_replacements() -> None:
    def exact(x: float) -> float:
        return x

    def quick(x: float) -> float:
        return x * 2

    kernel = closing_over(exact)
    assert fingerprint(kernel) != fingerprint(kernel, ((exact, quick),))


def test_functions_that_call_each_other_have_a_key() -> None:
    text = "def kernel(c, i): return other(c)\ndef other(c): return kernel(c, {})"
    assert fingerprint(compiled_from(text.format(1))) == fingerprint(compiled_from(text.format(1)))
    assert fingerprint(compiled_from(text.format(1))) != fingerprint(compiled_from(text.format(2)))


def test_keys_are_the_same_in_every_process() -> None:
    code = """
    from bigmodel_core.kernels.cpu.engine.fingerprint import fingerprint
    def kernel(context, chunk):
        return context in {"one", "two", "three", "four"}
    print(fingerprint(kernel))
    """
    assert len({run_code(code, PYTHONHASHSEED=seed).stdout for seed in ("0", "1", "2")}) == 1
