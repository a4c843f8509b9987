"""What runs on the tiles of what, and what runs as one: the results are those of steps on their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import KernelError
from bigmodel_core.graph import Graph, Op, Value
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches
from bigmodel_core.plan import Program, Variables, device_named, schedule
from bigmodel_core.plan.cpu import CpuDevice
from tests.ops.image_reference import convolved, padded, windows

CPU = device_named("cpu")
L = bm.layers
Build = Callable[..., Value]


def program_of(build: Build, arrays: Sequence[np.ndarray], training: bool) -> tuple[Program, dict[str, Any]]:
    """An expression of inputs, and its gradients where training."""
    graph = Graph()
    given = {f"x{number}": array for number, array in enumerate(arrays)}
    values = [graph.input(name, Spec(array.shape, array.dtype.name)) for name, array in given.items()]
    with graph.active():
        y = build(*values)
        wanted = [y]
        if training:
            weight = graph.constant(np.random.default_rng(9).standard_normal(y.shape).astype(y.dtype))
            wanted += [value for value in gradients(ops.sum(y * y * weight), values) if value is not None]
    return Program(graph, wanted), given


def epilogues(program: Program) -> list[str]:
    """The steps with epilogues that all run on tiles, as 'Conv2d -> Relu -> MaxPool'."""
    listed = program.listing(1, {})
    return [
        " -> ".join([step.op.split(", then ")[0], *kernel.epilogue.split(", then ")])
        for step in listed
        for kernel in step.kernels
        if kernel.epilogue
    ]


def check(
    build: Build, arrays: Sequence[np.ndarray], monkeypatch: Any, rtol: float, training: bool = True
) -> Program:
    """The results are the same where nothing is an epilogue; returns the program with epilogues."""
    program, given = program_of(build, arrays, training)
    found = program.run(Variables(CPU), given)
    with monkeypatch.context() as patch:
        patch.setattr(schedule, "_can_be_epilogue", lambda *_: False)
        plain, _ = program_of(build, arrays, training)
    assert all(step.epilogue is None for step in plain.steps)
    for ours, expected in zip(found, plain.run(Variables(CPU), given), strict=True):
        if rtol:
            np.testing.assert_allclose(ours, expected, rtol=rtol, atol=rtol * np.abs(expected).max(initial=0))
        else:
            np.testing.assert_array_equal(ours, expected)
    return program


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


def test_a_pool_follows_the_convolution_and_its_relu(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [images(30, 3, 12, 12), images(8, 3, 3, 3)]
    program = check(
        lambda x, w: ops.max_pool(ops.relu(ops.conv2d(x, w, padding=1)), 2), arrays, monkeypatch, 0, False
    )
    assert epilogues(program) == ["Conv2d -> Relu -> MaxPool"]


@pytest.mark.parametrize(
    ("n", "size", "window", "stride", "padding", "follows"),
    [
        (40, 12, 3, 2, 1, True),  # whole images in each chunk
        (1, 96, 2, 2, 0, True),  # parts of one image, no window over two of them
        (1, 96, 3, 2, 1, False),  # windows over two chunks
        (1, 97, 2, 2, 0, False),  # a row below that is under no window
        (0, 12, 2, 2, 0, False),
    ],
)
@pytest.mark.parametrize("kind", ["max", "average"])
def test_pools_of_all_kinds(
    n: int,
    size: int,
    window: int,
    stride: int,
    padding: int,
    follows: bool,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = ops.max_pool if kind == "max" else ops.average_pool
    arrays = [images(n, 6, size, size), images(20, 6, 3, 3)]
    program = check(
        lambda x, w: pool(ops.conv2d(x, w, padding="same"), window, stride, padding),
        arrays,
        monkeypatch,
        1e-4,
    )
    assert any("Pool" in name for name in epilogues(program)) == follows
    x, w = (array.astype("float64") for array in arrays)
    y, border = convolved(x, w, np.zeros(20), (1, 1), (1, 1, 1, 1), (1, 1), 1), (padding,) * 4
    under = windows(padded(y, border, -np.inf if kind == "max" else 0.0), (window, window), (stride, stride))
    expected = under.max((-2, -1)) if kind == "max" else under.mean((-2, -1))
    found = program.run(Variables(CPU), dict(zip(("x0", "x1"), arrays, strict=True)))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("filters", [6, 70])
def test_behind_a_matrix_product_whose_tiles_hold_no_images(
    filters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 1 x 1 convolution is one: its tiles are runs of pixels across images, and of some filters."""
    arrays = [images(5, 9, 14, 14), images(filters, 9, 1, 1), 1 + 0.1 * images(filters), images(filters)]

    def build(x: Value, w: Value, scale: Value, shift: Value) -> Value:
        y = ops.conv2d(x, w)
        return ops.max_pool(y, 2) + ops.max_pool(ops.batch_norm(y, scale, shift)[0], 2)

    program = check(build, arrays, monkeypatch, 1e-4)
    x, w, scale, shift = (array.astype("float64") for array in arrays)
    y = np.einsum("nchw,kc->nkhw", x, w[:, :, 0, 0])
    normal = (y - y.mean((0, 2, 3), keepdims=True)) / np.sqrt(y.var((0, 2, 3), keepdims=True) + 1e-5)
    expected = sum(
        windows(part, (2, 2), (2, 2)).max((-2, -1))
        for part in (y, normal * scale[:, None, None] + shift[:, None, None])
    )
    found = program.run(Variables(CPU), {f"x{n}": array for n, array in enumerate(arrays)})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_gradients_of_pool_and_bias_follow_the_next_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [images(24, 3, 12, 12), images(6, 3, 3, 3), images(6), images(9, 6, 3, 3)]

    def build(x: Value, w: Value, b: Value, v: Value) -> Value:
        return ops.conv2d(ops.max_pool(ops.relu(ops.conv2d(x, w, b)), 2), v)

    program = check(build, arrays, monkeypatch, 1e-5)
    assert "ConvTranspose2d -> _ReluGrad -> _MaxPoolGrad -> ChannelSum" in epilogues(program)


def test_moments_follow_the_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [images(20, 3, 10, 10), images(7, 3, 3, 3), 1 + 0.1 * images(7), images(7), images(5, 7, 3, 3)]

    def build(x: Value, w: Value, scale: Value, shift: Value, v: Value) -> Value:
        return ops.conv2d(ops.relu(ops.batch_norm(ops.conv2d(x, w, padding=1), scale, shift)[0]), v)

    names = epilogues(check(build, arrays, monkeypatch, 1e-4))
    assert "Conv2d -> BatchNorm" in names or "Conv2d -> BatchNorm -> Relu" in names
    assert "ConvTranspose2d -> _ReluGrad -> _BatchNormGrad" in names


def test_moments_behind_a_convolution_equal_numpy() -> None:
    """At sizes whose chunks hold no multiple of a usual block."""
    x, w = images(9, 4, 13, 11) + 3, images(18, 4, 3, 3)
    scale, shift = 1 + 0.1 * images(18), images(18)
    program, given = program_of(
        lambda x, w, scale, shift: ops.batch_norm(ops.conv2d(x, w, padding=1), scale, shift)[0],
        [x, w, scale, shift],
        False,
    )
    assert any(name.endswith("BatchNorm") for name in epilogues(program))
    (found,) = program.run(Variables(CPU), given)
    padded = np.pad(x.astype("float64"), ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    y = np.einsum("nchwrs,kcrs->nkhw", seen, w.astype("float64"))
    normal = (y - y.mean((0, 2, 3), keepdims=True)) / np.sqrt(y.var((0, 2, 3), keepdims=True) + 1e-5)
    expected = normal * scale[:, None, None] + shift[:, None, None]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_global_mean_follows_the_last_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [images(20, 3, 9, 9), images(7, 3, 3, 3)]
    program = check(
        lambda x, w: ops.global_average_pool(ops.relu(ops.conv2d(x, w))), arrays, monkeypatch, 1e-5, False
    )
    assert "Conv2d -> Relu -> Sum" in epilogues(program)


def test_what_is_read_elsewhere_is_written_by_every_part_of_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [images(24, 3, 12, 12), images(6, 3, 3, 3)]

    def build(x: Value, w: Value) -> Value:
        y = ops.conv2d(x, w)
        z = ops.relu(y)
        return ops.sum(ops.max_pool(z, 2)) + ops.sum(y * y) + ops.sum(ops.exp(z))

    check(build, arrays, monkeypatch, 1e-5)


# Updates as one ---------------------------------------------------------------------------------------------


def trained(optimizer: Any) -> tuple[Any, dict[str, np.ndarray]]:
    model = bm.Sequential(
        *(L.Conv2d(5, 3), L.BatchNorm(), L.Relu(), L.MaxPool2d(2), L.Conv2d(70, 3), L.Flatten(), L.Dense(3))
    )
    step = bm.compile(model, "cross_entropy", optimizer, seed=1)
    x = images(10, 2, 12, 12)
    for _ in range(3):
        step(x, np.arange(10) % 3)
    return step, step.state()


@pytest.mark.parametrize(
    "optimizer", [bm.optimizers.SGD(0.1, momentum=0.9), bm.optimizers.Adam(1e-2, clip_norm=1.0)], ids=repr
)
def test_updates_that_follow_no_tiles_are_one_launch(optimizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step, state = trained(optimizer)
    together = [s for s in step.programs["step"].program.steps if s.beside]
    updating = [s for s in together if any(len(part.writes) > 1 for part in s.parts())]
    assert len(updating) == 1
    assert not [s for s in step.programs["step"].program.steps if s.writes and s not in together]
    (planned,) = [s for s in step.kernels(batch_size=10) if f"and {len(updating[0].beside)} more" in s.op]
    assert [kernel.name for kernel in planned.kernels] == ["run_items"]
    assert planned.choice == f"{1 + len(updating[0].beside)} side by side"
    with monkeypatch.context() as patch:
        patch.setattr(CpuDevice, "passes", replace(CpuDevice.passes, steps=()))
        apart, expected = trained(optimizer)
    assert not any(s.beside for s in apart.programs["step"].program.steps)
    assert state.keys() == expected.keys()
    for path, array in state.items():
        np.testing.assert_array_equal(array, expected[path], err_msg=path)


def test_updates_that_read_each_other_see_the_old_values() -> None:
    graph = Graph()
    a, b, c = (graph.variable(name, Spec((4,))) for name in "abc")
    program = Program(graph, [], {"a": a + b, "b": b * 2.0 + c, "c": c + a})
    variables = Variables(CPU)
    for name, number in zip("abc", (1.0, 10.0, 100.0), strict=True):
        variables.create(name, np.full(4, number, "float32"))
    program.run(variables, {})
    found = [variables.read(name)[0] for name in "abc"]
    assert found == [11.0, 120.0, 101.0]


# Kernels of one's own ---------------------------------------------------------------------------------------


def _doubled(call: Any, chunks: int) -> list[Any]:
    kernel = bm.kernel(lambda out, x: None, views=lambda op, i, o: ([o[0].sizes], [i[0].sizes]))
    (launch,) = kernel.launches(call)
    launch.chunks = chunks
    return [launch]


@dataclass(frozen=True)
class WrongChunks(Op):
    """Claims to follow tiles, with a number of chunks of its own."""

    cpu = cpu_launches(epilogue=lambda call, tile: _doubled(call, 999), follows=0)(
        lambda call: _doubled(call, 1)
    )

    def infer(self, x: Spec) -> Spec:
        return x


def test_an_epilogue_with_other_chunks_is_refused() -> None:
    with pytest.raises(KernelError, match=r"(?s)999 chunks as an epilogue.*Fix: "):
        program, given = program_of(lambda x, w: WrongChunks()(x @ w), [images(90, 30), images(30, 4)], False)
        program.run(Variables(CPU), given)
