"""Every CUDA kernel compiled to PTX, without a device; float32 kernels compute nothing in float64."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigmodel_core.errors import KernelError
from bigmodel_core.graph.dtypes import COMPUTED
from bigmodel_core.plan import Device
from bigmodel_core.plan.cuda import CudaDevice
from tests.core.test_refused_kernels import REFUSED, marked

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("numba_cuda") is None or os.environ.get("NUMBA_ENABLE_CUDASIM") == "1",
        reason="the extra 'cuda' is not installed",
    ),
    pytest.mark.filterwarnings("ignore"),
]

FOLDER = Path(__file__).parent / "cuda"
DOUBLES = {
    "trigonometry": "libdevice reduces large angles in float64",
    "noise": "the angle of a normal number is one of those",
}
"""Cases whose kernels do compute something in float64."""
_seen: dict[tuple[Any, Any], str] = {}


class Host(Device):
    """A device that is only compiled for: its arrays stay here."""

    name, dtypes, passes = "cuda", COMPUTED, CudaDevice.passes

    def allocate(self, array: np.ndarray) -> np.ndarray:
        return np.array(array)

    def read(self, memory: np.ndarray) -> np.ndarray:
        return memory.copy()

    def write(self, memory: np.ndarray, array: np.ndarray) -> None:
        memory[...] = array


def loaded(name: str) -> Any:
    """A module of the simulator's tests, which is not collected here."""
    full = f"simulator_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, FOLDER / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


def example(name: str) -> Any:
    """The module of an example."""
    path = Path(__file__).parents[1] / "examples" / name / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ptx_of(launch: Any) -> str:
    from bigmodel_core.kernels.cuda.engine import headless

    key = launch.function, headless.signature(launch)
    if key not in _seen:
        _seen[key] = headless.ptx(launch)
    return _seen[key]


def launches_of(program: Any, sizes: dict[str, int]) -> list[Any]:
    from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer
    from bigmodel_core.plan.cuda_program import CudaProgram

    return CudaProgram(program, sizes, lambda value, spec: CudaBuffer(0)).launches


def takes_doubles(launch: Any) -> bool:
    dtypes = [getattr(argument, "dtype", None) for argument in launch.arguments]
    return any(str(dtype) == "float64" for dtype in dtypes)


def case_names() -> list[str]:
    return list(loaded("test_ops").CASES) if importlib.util.find_spec("numba_cuda") else []


@pytest.mark.parametrize("name", case_names())
def test_every_op_compiles_and_keeps_float32(name: str) -> None:
    from bigmodel_core.plan import Program

    cases = loaded("test_ops")
    arrays = cases.arrays_of(name, "float32")
    graph, results = loaded("conftest").graph_of(cases.CASES[name][0], arrays, free=False)
    launches = launches_of(Program(graph, results, device=Host()), {})
    assert launches
    for launch in launches:
        text = ptx_of(launch)
        assert ".visible .entry" in text
        if not takes_doubles(launch) and name not in DOUBLES:
            assert ".f64" not in text, launch.kernel.name


def test_a_training_step_compiles() -> None:
    import bigmodel_core as bm

    model = bm.Sequential(bm.layers.Dense(64), bm.layers.Relu(), bm.layers.Dense(10))
    network = model.build(bm.Spec(("N", 784)), device=Host())
    step = bm.compile(network, loss="cross_entropy", optimizer=bm.optimizers.Adam(1e-3))
    step.build([np.zeros((4, 784), "float32")], np.zeros(4, "int64"))
    launches = launches_of(step.programs["step"].program, {"N": 64})
    assert {"product", "cross_entropy_rows", "fused"} <= {launch.kernel.name for launch in launches}
    for launch in launches:
        if "product" in launch.kernel.name:
            assert "fma.rn.f32" in ptx_of(launch)
        assert ".visible .entry" in ptx_of(launch)


@pytest.mark.parametrize(
    ("name", "op", "shapes"),
    [
        ("bigmodel_swish", lambda module: module.SwishOp(1.5), [(3, 5)]),
        ("bigmodel_rms_norm", lambda module: module.RmsNormOp(1e-5), [(3, 5)]),
        ("bigmodel_distances", lambda module: module.ManhattanOp(), [(30, 5), (20, 5)]),
        ("bigmodel_distances", lambda module: module.ManhattanOp(), [(30, 5), (7, 5)]),
    ],
)
def test_examples_compute_nothing_in_float64(name: str, op: Any, shapes: list[tuple[int, ...]]) -> None:
    from bigmodel_core import ops
    from bigmodel_core.graph import Graph
    from bigmodel_core.graph.autodiff import gradients
    from bigmodel_core.graph.spec import Spec
    from bigmodel_core.plan import Program

    graph = Graph()
    inputs = [graph.input(f"x{number}", Spec(shape, "float32")) for number, shape in enumerate(shapes)]
    with graph.active():
        y = op(example(name))(*inputs)
        results = [y, *gradients(ops.sum(y * y), inputs)]
    launches = launches_of(Program(graph, results, device=Host()), {})
    assert launches
    for launch in launches:
        assert ".f64" not in ptx_of(launch), launch.function.__name__


def test_the_scan_of_the_example_keeps_float32() -> None:
    """The states of a thread lie in registers, but for those of its piece on the way back."""
    from bigmodel_core.graph import Graph
    from bigmodel_core.graph.spec import Spec
    from bigmodel_core.plan import Program

    mamba = example("bigmodel_mamba")
    shapes = [(2, 40, 20)] * 3 + [(20, 16)] + [(2, 40, 16)] * 2 + [(20,)]
    graph = Graph()
    dy, *inputs = (graph.input(f"x{number}", Spec(shape, "float32")) for number, shape in enumerate(shapes))
    results = [mamba.SelectiveScan()(*inputs), *mamba.SelectiveScanGradients()(dy, *inputs)]
    launches = launches_of(Program(graph, results, device=Host()), {})
    assert {launch.function.__name__ for launch in launches} >= {"cuda_scan", "cuda_gradients"}
    for launch in launches:
        text, name = ptx_of(launch), launch.function.__name__
        assert ".f64" not in text, name
        assert (".local" in text) == (name == "cuda_gradients"), name
        assert "0 bytes spill stores, 0 bytes spill loads" in assembled(text), name


@pytest.mark.parametrize("tile", ["SMALL", "MEDIUM", "LARGE"])
@pytest.mark.parametrize(
    "form", [(False, False), (True, False), (False, True)], ids=["plain", "left", "right"]
)
def test_a_thread_keeps_its_part_of_c_in_registers(tile: str, form: tuple[bool, bool]) -> None:
    """Unrolled over the part of C, with no local memory; the assembler finds nothing to spill."""
    from bigmodel_core.kernels.cuda import gemm
    from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer
    from bigmodel_core.kernels.matrix_product import MatrixProduct

    chosen = getattr(gemm, tile)
    problem = MatrixProduct(512, 512, 512, "float32", *form)
    (launch,) = gemm.launches(problem, CudaBuffer(0), CudaBuffer(0), CudaBuffer(0), None, chosen)
    text = ptx_of(launch)
    assert text.count("fma.rn.f32") % (chosen.rows * chosen.columns) == 0
    assert text.count("fma.rn.f32") > 0
    assert ".local" not in text
    log = assembled(text)
    assert "0 bytes spill stores, 0 bytes spill loads" in log, log


def assembled(text: str) -> str:
    """What NVIDIA's assembler says about PTX."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    linker = Linker(
        ObjectCode.from_ptx(text.encode()), options=LinkerOptions(arch="sm_90", ptxas_options=["-v"])
    )
    linker.link("cubin")
    return str(linker.get_info_log())


@pytest.mark.parametrize("function", REFUSED, ids=lambda item: item.__name__)
def test_the_line_of_a_kernel_that_cannot_be_compiled_is_named(function: Any) -> None:
    from bigmodel_core.kernels.cuda.engine import array, headless
    from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer, CudaLaunch, View

    arrays = [View(CudaBuffer(24), (3, 2), "float32") for _ in range(2)]
    launch = CudaLaunch(array.wrapper(function, 2), arrays, (1,), 32)
    with pytest.raises(Exception) as caught:
        headless.ptx(launch)
    error = launch.kernel.failure(caught.value)
    assert isinstance(error, KernelError)
    text = str(error)
    assert f"{marked.__code__.co_filename}, line {marked(function)}" in text, text
    assert f"the CUDA kernel '{function.__name__}'" in text and len(text.splitlines()) <= 8
