"""Random small graphs over all operators that can be read: attributes, opsets, shapes, types and constants.

Operands are inputs, initializers or Constant nodes, some of them behind nodes that leave them as they are.
Axes are fixed, of sizes 0 to 5, or free: "N" and "T", which each run gives other sizes, 1 among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper, shape_inference

SIZES = ({"N": 2, "T": 5}, {"N": 1, "T": 1}, {"N": 3, "T": 2})
"""What the free dimensions are in each run."""

TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9, "float64": 11}
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-30])


@dataclass
class Draw:
    """A graph under construction.

    Args:
        random: where all choices come from.
        opset: of the file.
        nodes: in order.
        inputs: type and shape of each.
        weights: initializers.
        ranges: how the numbers of an input are drawn.
        outputs: of the last node.
        newer: of a file of opset 6, the nodes that mean the same in opset 8, where they are not the same.
        count: of names that were given.
    """

    random: np.random.Generator
    opset: int
    nodes: list[Any] = field(default_factory=list)
    inputs: dict[str, tuple[str, tuple[Any, ...]]] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float, bool]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    newer: list[Any] = field(default_factory=list)
    count: int = 0

    # Choices ----------------------------------------------------------------------------------------------

    def any(self, *items: Any) -> Any:
        """One of the items."""
        return items[int(self.random.integers(len(items)))]

    def chance(self, share: float) -> bool:
        """True so often."""
        return bool(self.random.random() < share)

    def whole(self, low: int, high: int) -> int:
        """A number from low to high."""
        return int(self.random.integers(low, high + 1))

    def shape(self, rank: int | None = None, free: float = 0.4) -> tuple[Any, ...]:
        """A shape; the first axes may be free."""
        rank = self.whole(1, 3) if rank is None else rank
        dims: list[Any] = [self.any(1, 2, 3, 3, 4) for _ in range(rank)]
        if self.chance(0.04) and rank:
            dims[self.whole(0, rank - 1)] = 0
        for axis, name in enumerate(("N", "T")[:rank]):
            if self.chance(free):
                dims[axis] = name
        return tuple(dims)

    # Parts ------------------------------------------------------------------------------------------------

    def name(self, prefix: str = "v") -> str:
        """A name that nothing has."""
        self.count += 1
        return f"{prefix}{self.count}"

    def array(
        self, shape: Sequence[int], dtype: str, low: float = -2, high: float = 2, special: bool = False
    ) -> Any:
        """Random numbers; a few of them are special where that is asked for."""
        if dtype == "bool":
            return np.asarray(self.random.random(tuple(shape)) < 0.5)
        if dtype.startswith(("int", "uint")):
            least = max(int(low), 0) if dtype == "uint8" else int(low)
            return self.random.integers(least, int(high) + 1, tuple(shape)).astype(dtype)
        found = self.random.uniform(low, high, tuple(shape)).astype(dtype)
        if special and found.size:
            places = self.random.integers(0, found.size, max(1, found.size // 4))
            found.reshape(-1)[places] = self.random.choice(SPECIAL, len(places))
        return found

    def operand(
        self, shape: Sequence[Any], dtype: str = "float32", low: float = -2, high: float = 2,
        special: bool = False, kinds: str = "xxxwc",
    ) -> str:  # fmt: skip
        """An operand: input (x), initializer (w) or Constant node (c)."""
        kind = self.any(*kinds)
        if kind == "x" or any(isinstance(dim, str) for dim in shape):
            name = self.name("x")
            self.inputs[name] = dtype, tuple(shape)
            self.ranges[name] = low, high, special
        else:
            name = self.constant(self.array(shape, dtype, low, high, special), "w" if kind == "w" else "c")
        return self.moved(name, len(shape)) if shape and self.chance(0.15) else name

    def moved(self, name: str, rank: int) -> str:
        """The same numbers behind nodes that leave them as they are."""
        way = self.any("Identity", "Transpose", "Reshape", "Concat", "Unsqueeze")
        if way == "Transpose":
            order = [int(axis) for axis in self.random.permutation(rank)]
            there = self.add("Transpose", name, perm=order)
            return self.add("Transpose", there, perm=[int(axis) for axis in np.argsort(order)])
        if way == "Reshape":
            return self.add("Reshape", name, self.add("Shape", name))
        if way == "Unsqueeze":
            axis = self.whole(0, rank)
            given, axes = ([self.ints([axis])], None) if self.opset >= 13 else ([], [axis])
            there = self.add("Unsqueeze", name, *given, axes=axes)
            return self.add("Squeeze", there, *given, axes=axes)
        return self.add(way, name, axis=0 if way == "Concat" else None)

    def constant(self, array: Any, kind: str | None = None) -> str:
        """A constant as initializer or Constant node."""
        kind = kind or self.any("w", "c")
        name, array = self.name(kind), np.asarray(array)
        if kind == "w":
            self.weights[name] = array
        else:
            self.nodes.append(
                helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))
            )
        return name

    def ints(self, values: Sequence[int]) -> str:
        """A constant vector of int64."""
        return self.constant(np.asarray(list(values), np.int64))

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """A node; the name of its first output. All outputs leave the graph where it is the last node."""
        names = [self.name() for _ in range(outputs)]
        given = list(inputs)
        while given and not given[-1]:
            given.pop()
        kept = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(operator, given, names, name=f"node_{len(self.nodes)}", **kept))
        self.outputs = names
        return names[0]

    def axis(self, shape: Sequence[Any]) -> int:
        """An axis, counted from either end."""
        return self.whole(-len(shape), len(shape) - 1)

    # The file ---------------------------------------------------------------------------------------------

    def model(self, newer: bool = False) -> ModelProto:
        """The file, or one of opset 8 that means the same as this one of opset 6."""
        nodes, opset = (self.newer or self.nodes, 8) if newer else (self.nodes, self.opset)
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(n, TYPES[t], list(s)) for n, (t, s) in self.inputs.items()],
            [ValueInfoProto(name=name) for name in self.outputs],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        typed = shape_inference.infer_shapes(model)
        for port in typed.graph.output:
            port.type.tensor_type.elem_type = port.type.tensor_type.elem_type or TYPES["float32"]
            port.type.tensor_type.shape.SetInParent()  # the checker wants one where none was found, too
        del typed.graph.value_info[:]
        return typed

    def feeds(self, sizes: dict[str, int]) -> dict[str, np.ndarray]:
        """Numbers for all inputs."""
        return {
            name: self.array([sizes.get(dim, dim) for dim in shape], dtype, *self.ranges[name])
            for name, (dtype, shape) in self.inputs.items()
        }


Generator = Callable[[Draw, str], None]
GENERATORS: dict[str, tuple[Generator, int]] = {}
"""How a graph with each operator is drawn, and the oldest opset that has it."""


def draws(*operators: str, since: int = 6) -> Callable[[Generator], Generator]:
    def add(function: Generator) -> Generator:
        GENERATORS.update(dict.fromkeys(operators, (function, since)))
        return function

    return add


def partner(d: Draw, shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """A shape that repeats to a shape, or to a longer one."""
    kept = tuple(1 if d.chance(0.3) else dim for dim in shape)
    return kept[d.whole(0, len(kept)) :] if d.chance(0.4) else kept


# Elementwise ---------------------------------------------------------------------------------------------

POSITIVE = {"Log": (0.1, 3), "Sqrt": (0, 3), "Reciprocal": (0.2, 2)}


@draws(
    *("Ceil", "Exp", "Floor", "Log", "Reciprocal", "Relu", "Sigmoid", "Softplus", "Softsign"),
    *("Sqrt", "Tanh", "Elu", "LeakyRelu", "HardSigmoid", "Identity"),
)
@draws("Cos", "Sin", since=7)
def _unary(d: Draw, operator: str) -> None:
    special = d.chance(0.3) and operator not in ("Sin", "Cos")
    low, high = (-3, 3) if d.chance(0.3) else POSITIVE.get(operator, (-3, 3))
    dtype = d.any("float32", "float32", "float64")
    if operator == "Softplus":  # of float64, ONNX Runtime computes log(1 + exp(x)), which overflows
        dtype = "float32"
    x = d.operand(d.shape(), dtype, low, high, special)
    attributes = {}
    if operator in ("Elu", "LeakyRelu", "HardSigmoid"):
        attributes["alpha"] = d.any(None, 0.5, 1.5)
    d.add(operator, x, beta=d.any(None, 0.3) if operator == "HardSigmoid" else None, **attributes)


@draws("Erf", "Sign", since=9)
def _since_9(d: Draw, operator: str) -> None:
    d.add(operator, d.operand(d.shape(), "float32", -3, 3, d.chance(0.3)))


@draws("Gelu", since=20)
def _gelu(d: Draw, operator: str) -> None:
    d.add(operator, d.operand(d.shape(), "float32", -3, 3), approximate=d.any(None, "tanh", "none"))


@draws("Abs", "Neg")
def _signed(d: Draw, operator: str) -> None:
    d.add(operator, d.operand(d.shape(), d.any("float32", "int64", "int32", "float64"), -9, 9))


@draws("Round", since=11)
def _round(d: Draw, operator: str) -> None:
    """Halves among the numbers: they go to the even neighbour."""
    dtype = d.any("float32", "float64")
    whole = d.add("Cast", d.operand(d.shape(), "int64", -9, 9), to=TYPES[dtype])
    x = d.add("Mul", whole, d.constant(np.asarray(0.25, dtype)))
    d.add(operator, x)


@draws("Mod", since=10)
def _mod(d: Draw, operator: str) -> None:
    """Of floats with the sign of what is divided alone: ONNX has no other."""
    shape, dtype = d.shape(), d.any("float32", "float64", "int64", "int32")
    divisor = d.operand(partner(d, shape), dtype, *d.any((1, 5), (-5, -1)))
    d.add(operator, d.operand(shape, dtype, -9, 9), divisor, fmod=1 if dtype[0] == "f" else d.any(None, 0, 1))


@draws("Not", "And", "Or", "Xor", since=7)
def _logic(d: Draw, operator: str) -> None:
    shape = d.shape()
    inputs = [d.operand(shape, "bool")]
    if operator != "Not":
        inputs.append(d.operand(partner(d, shape), "bool"))
    d.add(operator, *inputs)


@draws("Add", "Sub", "Mul", "Div", since=7)
def _binary(d: Draw, operator: str) -> None:
    shape = d.shape()
    dtype = d.any("float32", "float32", "float32", "int64", "int32", "float64")
    if operator == "Div" and dtype.startswith("int"):
        return _integers(d, operator)
    pair = [d.operand(shape, dtype, -9, 9), d.operand(partner(d, shape), dtype, -9, 9)]
    d.add(operator, *(pair[::-1] if d.chance(0.5) else pair))


@draws("Equal", "Greater", "Less", since=7)
def _compared(d: Draw, operator: str) -> None:
    shape = d.shape()
    dtype = (
        d.any("int64", "int32")
        if d.opset < 9 or (operator == "Equal" and d.opset < 11)
        else d.any("float32", "int64", "int32")
    )
    if operator != "Equal" and d.opset < 9:
        dtype = "float32"
    d.add(operator, d.operand(shape, dtype, -2, 2), d.operand(partner(d, shape), dtype, -2, 2))


@draws("GreaterOrEqual", "LessOrEqual", since=12)
def _compared_too(d: Draw, operator: str) -> None:
    shape, dtype = d.shape(), d.any("float32", "int64", "int32")
    d.add(operator, d.operand(shape, dtype, -2, 2), d.operand(partner(d, shape), dtype, -2, 2))


@draws("Pow", since=7)
def _pow(d: Draw, operator: str) -> None:
    shape = d.shape()
    x = d.operand(shape, "float32", *d.any((0.1, 2), (-2, 2)))
    if d.chance(0.6):
        dtype = d.any("float32", "int64", "int32") if d.opset >= 12 else "float32"
        exponent = d.constant(np.asarray(d.any(2, 3, 0, -1, 1), dtype).reshape(d.any((), (1,), (1, 1))))
    else:
        exponent = d.operand(partner(d, shape), "float32", -2, 3)
    d.add(operator, x, exponent)


@draws("Max", "Min", "Sum", "Mean", since=8)
def _several(d: Draw, operator: str) -> None:
    shape = d.shape()
    kinds = ["float32", "float32", "float64"]
    kinds += ["int64", "int32"] if operator in ("Max", "Min") and d.opset >= 12 else []
    dtype = d.any(*kinds)
    special = d.chance(0.2)
    d.add(operator, d.operand(shape, dtype, -4, 4, special), *(
        d.operand(partner(d, shape), dtype, -4, 4) for _ in range(d.whole(0, 2))
    ))  # fmt: skip


@draws("Where", since=9)
def _where(d: Draw, operator: str) -> None:
    shape, dtype = d.shape(), d.any("float32", "int64", "float64")
    d.add(
        operator,
        *(d.operand(partner(d, shape), "bool"), d.operand(shape, dtype, -9, 9, d.chance(0.2))),
        d.operand(partner(d, shape), dtype, -9, 9),
    )


@draws("Cast")
def _cast(d: Draw, operator: str) -> None:
    source, target = d.any(*TYPES), d.any(*TYPES)
    low, high = (0, 200) if "uint8" in (source, target) else (-50, 50)
    d.add(operator, d.operand(d.shape(), source, low, high), to=TYPES[target])


@draws("Clip")
def _clip(d: Draw, operator: str) -> None:
    dtype = "float32" if d.opset < 12 else d.any("float32", "float32", "int64", "int32")
    x = d.operand(d.shape(), dtype, -4, 4, d.chance(0.2) and dtype == "float32")
    bounds = [d.any(None, -1, -2, *([3] if d.opset >= 11 else [])), d.any(None, 1, 2)]  # 3 above 2
    if d.opset < 11:
        d.add(
            operator, x, **{n: float(b) for n, b in zip(("min", "max"), bounds, strict=True) if b is not None}
        )
    else:
        d.add(operator, x, *("" if b is None else d.constant(np.asarray(b, dtype)) for b in bounds))


@draws("PRelu", since=7)
def _prelu(d: Draw, operator: str) -> None:
    shape = d.shape(d.whole(2, 3))
    d.add(operator, d.operand(shape), d.operand((*shape[1:],) if d.chance(0.5) else (1,) * len(shape)))


@draws("Dropout", since=7)
def _dropout(d: Draw, operator: str) -> None:
    x = d.operand(d.shape(), kinds="x")
    if d.opset < 12:
        d.add(operator, x, ratio=d.any(None, 0.3))
    else:
        d.add(operator, x, d.any("", d.constant(np.float32(0.4))))


@draws("Softmax", "LogSoftmax")
def _softmax(d: Draw, operator: str) -> None:
    shape = d.shape(d.whole(1, 4), 0.3)
    axis = d.axis(shape) if d.opset >= 11 else d.whole(0, len(shape) - 1)
    d.add(operator, d.operand(shape, kinds="x"), axis=d.any(axis, axis, None) if len(shape) > 1 else axis)


# Products, reductions ------------------------------------------------------------------------------------


@draws("Gemm", since=7)
def _gemm(d: Draw, operator: str) -> None:
    rows, inner, columns = d.any("N", 2, 3), d.whole(1, 4), d.whole(1, 4)
    flags = d.any(0, 1), d.any(0, 1)
    a = (inner, rows) if flags[0] else (rows, inner)
    b = (columns, inner) if flags[1] else (inner, columns)
    bias = d.any((columns,), (1, columns), (), (1,), (rows, columns), (rows, 1), None)
    d.add(
        operator,
        *(d.operand(a), d.operand(b), *([d.operand(bias)] if bias is not None else [d.operand((columns,))])),
        transA=flags[0], transB=flags[1], alpha=d.any(None, 0.5), beta=d.any(None, 2.0, 0.0),
    )  # fmt: skip


@draws("MatMul")
def _matmul(d: Draw, operator: str) -> None:
    inner = d.whole(1, 4)
    batch = d.shape(d.whole(0, 2))
    left = d.any((inner,), (d.any("T", 2, 3), inner), (*batch, d.whole(1, 3), inner))
    right = d.any((inner,), (inner, d.whole(1, 4)), (*partner(d, batch), inner, d.whole(1, 3)))
    d.add(operator, d.operand(left), d.operand(right))


@draws("ReduceSum", "ReduceSumSquare", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1")
@draws("ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
def _reduced(d: Draw, operator: str) -> None:
    shape = d.shape(d.whole(1, 4))
    if operator in ("ReduceMax", "ReduceMin", "ReduceLogSumExp", "ReduceMean"):  # of nothing: no number
        shape = tuple(2 if dim == 0 else dim for dim in shape)
    kinds = ["float32", "float32", "float64"]
    kinds += [] if operator in ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp") else ["int64", "int32"]
    dtype = d.any(*kinds)
    axes = sorted(d.random.choice(len(shape), d.whole(1, len(shape)), replace=False).tolist())
    if d.opset >= 11 and d.chance(0.4):
        axes = [axis - len(shape) for axis in axes]
    chosen = None if d.chance(0.2) else [int(axis) for axis in axes]
    keepdims = d.any(None, 0, 1)
    x = d.operand(shape, dtype, *((0.5, 4) if operator == "ReduceLogSum" else (-4, 4)))
    if d.opset >= 18 or (operator == "ReduceSum" and d.opset >= 13):
        more = [d.ints(chosen)] if chosen is not None else d.any([], [d.ints([])])
        d.add(operator, x, *more, keepdims=keepdims, noop_with_empty_axes=d.any(None, None, 0, 1))
    else:
        d.add(operator, x, axes=chosen, keepdims=keepdims)


@draws("ArgMax", "ArgMin")
def _argmax(d: Draw, operator: str) -> None:
    shape = tuple(2 if dim == 0 else dim for dim in d.shape())
    axis = d.axis(shape) if d.opset >= 11 else d.whole(0, len(shape) - 1)
    d.add(operator, d.operand(shape), axis=d.any(axis, axis, None), keepdims=d.any(None, 0, 1))


@draws("CumSum", since=11)
def _cumsum(d: Draw, operator: str) -> None:
    shape, dtype = d.shape(d.whole(1, 4)), d.any("float32", "float64", "int64", "int32")
    axis = d.constant(np.asarray(d.axis(shape), d.any("int64", "int32")))
    d.add(
        operator, d.operand(shape, dtype, -4, 4), axis, exclusive=d.any(None, 0, 1), reverse=d.any(None, 0, 1)
    )


EQUATIONS = {
    "ij,jk->ik": (("N", 3), (3, 2)),
    "nij,nkj->nik": (("N", 2, 3), ("N", 4, 3)),
    "bhid,bhjd->bhij": (("N", 2, 3, 4), ("N", 2, 5, 4)),
    "i,j->ij": ((3,), (2,)),
    "...i,...i->...": (("N", 2, 3), ("N", 2, 3)),
    "ii->i": ((3, 3),),
    "ij->ji": (("N", 3),),
    "ni,ij,nj->n": (("N", 2), (2, 3), ("N", 3)),
    "ij,ij": ((2, 3), (2, 3)),
}
"""Equations, and the shapes of their operands."""


@draws("Einsum", since=12)
def _einsum(d: Draw, operator: str) -> None:
    equation = d.any(*EQUATIONS)
    dtype = d.any("float32", "float64")
    d.add(operator, *(d.operand(shape, dtype) for shape in EQUATIONS[equation]), equation=equation)


@draws("TopK")
def _top_k(d: Draw, operator: str) -> None:
    """The numbers are apart: old opsets say nothing about equal ones, and NaN has no place."""
    shape = [dim or 2 for dim in d.shape()]
    axis = d.axis(shape) if d.opset >= 11 else d.whole(0, len(shape) - 1)
    if isinstance(shape[axis], str):
        shape[axis] = 3
    count = d.whole(1, shape[axis])
    dtype = d.any("float32", "float64", "int64") if d.opset >= 11 else "float32"
    x, largest = d.operand(shape, dtype, -9000, 9000), d.any(None, 0, 1) if d.opset >= 11 else None
    if d.opset < 10:
        d.add(operator, x, outputs=2, axis=axis, k=count)
    else:
        d.add(operator, x, d.ints([count]), outputs=2, axis=axis, largest=largest)


@draws("LRN")
def _local_response(d: Draw, operator: str) -> None:
    shape = (d.any("N", 2), d.whole(1, 6), *d.shape(2))
    settings = {"alpha": d.any(None, 0.2), "beta": d.any(None, 0.5), "bias": d.any(None, 2.0)}
    d.add(operator, d.operand(shape), size=d.any(1, 3, 5), **settings)


@draws("RMSNormalization", since=23)
def _rms_norm(d: Draw, operator: str) -> None:
    shape = (*d.shape(d.whole(1, 2)), d.whole(1, 5))
    axis = d.any(None, -1, len(shape) - 1)
    d.add(operator, d.operand(shape), d.operand(shape[-1:]), axis=axis, epsilon=d.any(None, 1e-3))


@draws("RotaryEmbedding", since=23)
def _rotary(d: Draw, operator: str) -> None:
    n, heads, steps, pairs = d.any("N", 2), d.whole(1, 3), d.whole(1, 4), d.whole(1, 3)
    rest = d.any(0, 0, 2)
    settings = {"interleaved": d.any(None, 1), "rotary_embedding_dim": 2 * pairs if rest else None}
    if d.chance(0.5):
        shape: tuple[Any, ...] = (n, heads, steps, 2 * pairs + rest)
    else:
        shape, settings["num_heads"] = (n, steps, heads * (2 * pairs + rest)), heads
    if d.chance(0.5):
        d.add(operator, d.operand(shape), *(d.operand((n, steps, pairs)) for _ in range(2)), **settings)
    else:
        tables = [d.operand((5, pairs)) for _ in range(2)]
        places = d.operand((n, steps), "int64", 0, 4, kinds="x")
        d.add(operator, d.operand(shape), *tables, places, **settings)


@draws("Attention", since=23)
def _attention(d: Draw, operator: str) -> None:
    n, groups, each, steps = d.any("N", 2), d.whole(1, 2), d.whole(1, 2), d.whole(1, 4)
    keys, width, causal = d.whole(1, 5), d.whole(1, 5), d.any(None, 0, 1)
    settings = {"is_causal": causal, "scale": d.any(None, 0.5)}
    if d.chance(0.5):
        shapes: list[tuple[Any, ...]] = [(n, groups * each, steps, width), *((n, groups, keys, width),) * 2]
    else:
        settings |= {"q_num_heads": groups * each, "kv_num_heads": groups}
        shapes = [(n, steps, groups * each * width), *((n, keys, groups * width),) * 2]
    d.add(operator, *(d.operand(shape) for shape in shapes), **settings)


# Shapes --------------------------------------------------------------------------------------------------


@draws("Flatten")
def _flatten(d: Draw, operator: str) -> None:
    shape = d.shape(d.whole(1, 4))
    d.add(
        operator, d.operand(shape), axis=d.any(None, d.whole(0 if d.opset < 11 else -len(shape), len(shape)))
    )


@draws("Transpose")
def _transpose(d: Draw, operator: str) -> None:
    shape = d.shape(d.whole(1, 4))
    order = [int(axis) for axis in d.random.permutation(len(shape))]
    d.add(operator, d.operand(shape, d.any("float32", "int64")), perm=d.any(None, order, order))


@draws("Reshape", since=7)
def _reshape(d: Draw, operator: str) -> None:
    x = d.operand(("N", "T", 2, 3), d.any("float32", "int64"))
    if d.chance(0.5):
        wanted = d.any(
            [0, 0, -1], [0, -1], [-1], [0, -1, 3], [0, 0, 3, 2], [-1, 6], [0, 0, 0, 3, 1], [1, 0, -1]
        )
        d.add(operator, x, d.ints(wanted))
        return
    whole = d.add("Shape", x)
    rows = d.add("Gather", whole, d.constant(np.int64(d.any(0, -4))), axis=0)
    steps = (
        d.add("Slice", whole, d.ints([1]), d.ints([2]))
        if d.opset >= 10
        else d.add("Slice", whole, starts=[1], ends=[2])
    )
    rows = d.add("Unsqueeze", rows, d.ints([0])) if d.opset >= 13 else d.add("Unsqueeze", rows, axes=[0])
    if d.chance(0.5):
        rows, rest = d.add("Mul", rows, d.ints([d.any(2, 3)])), [-1]
    else:
        rows, rest = d.add("Mul", rows, steps), [d.any(6, -1)]
    d.add(operator, x, d.add("Concat", rows, d.ints(rest), axis=0))


@draws("Shape", "Size")
def _sizes(d: Draw, operator: str) -> None:
    shape = d.shape(d.whole(0, 4))
    ends = {"start": d.any(None, -2, 0, 1, 9), "end": d.any(None, -1, 2, -9)} if d.opset >= 15 else {}
    x = d.operand(shape, kinds="x")
    found = d.add(operator, x, **(ends if operator == "Shape" else {}))
    if d.chance(0.6):
        found = d.add(
            d.any("Add", "Sub", "Mul", "Div"), found, d.constant(np.asarray(d.any(1, 2, 3), np.int64))
        )
    if d.chance(0.5):
        d.add("Cast", found, to=d.any(1, 6, 7))


@draws("ReduceProd")
def _product(d: Draw, operator: str) -> None:
    if d.chance(0.5):
        return _reduced(d, operator)
    found = d.add("Shape", d.operand(d.shape(), kinds="x"))
    if d.opset < 18:
        d.add(operator, found, keepdims=d.any(None, 0, 1))
        return
    more = d.any([], [[]], [[0]], [[-1]])
    d.add(
        operator,
        found,
        *(d.ints(axes) for axes in more),
        keepdims=d.any(None, 0, 1),
        noop_with_empty_axes=d.any(None, 0, 1),
    )


@draws("ConstantOfShape", since=9)
def _constant_of_shape(d: Draw, operator: str) -> None:
    value = d.any(None, np.float32([2.5]), np.int64([3]), np.array([True]))
    fill = None if value is None else numpy_helper.from_array(value, "value")
    shape = d.shape(d.whole(0, 3), 0)
    sizes = d.add("Shape", d.operand(d.shape(), kinds="x")) if d.chance(0.5) else d.ints(shape)
    d.operand(("N",), kinds="x")
    d.add(operator, sizes, value=fill)


@draws("Squeeze", "Unsqueeze")
def _squeezed(d: Draw, operator: str) -> None:
    shape = d.shape(d.whole(1, 3))
    if operator == "Squeeze":
        axes = sorted({d.whole(0, len(shape)) for _ in range(d.whole(1, 2))})
        for axis in axes:
            shape = (*shape[:axis], 1, *shape[axis:])
        rank = len(shape)
    else:
        rank = len(shape) + d.whole(1, 2)
        axes = sorted(d.random.choice(rank, rank - len(shape), replace=False).tolist())
    if d.opset >= 11 and d.chance(0.4):
        axes = [axis - rank for axis in axes]
    given = [int(axis) for axis in axes]
    x = d.operand(shape)
    if operator == "Squeeze" and d.chance(0.2):
        d.add(operator, x)
    elif d.opset >= 13:
        d.add(operator, x, d.ints(given))
    else:
        d.add(operator, x, axes=given)


@draws("Expand", since=8)
def _expand(d: Draw, operator: str) -> None:
    shape = d.shape()
    if d.chance(0.4):
        other = d.operand((2, *shape) if d.chance(0.5) else shape, kinds="x")
        d.add(operator, d.operand(partner(d, shape)), d.add("Shape", other))
        return
    wanted = [d.whole(1, 3) if dim == 1 else d.any(1, dim if isinstance(dim, int) else 1) for dim in shape]
    d.add(operator, d.operand(shape), d.ints([*([2] if d.chance(0.3) else []), *wanted]))


@draws("Split")
def _split(d: Draw, operator: str) -> None:
    shape = list(d.shape(d.whole(1, 3)))
    axis = d.axis(shape) if d.opset >= 11 else d.whole(0, len(shape) - 1)
    sizes = [d.whole(1, 3) for _ in range(d.whole(2, 3))]
    even, count = d.chance(0.4), len(sizes)
    shape[axis] = sizes[0] * count if even else sum(sizes)
    x, axis = d.operand(shape, d.any("float32", "int64")), d.any(axis, axis, None) if axis == 0 else axis
    if d.opset >= 18 and even:
        d.add(operator, x, outputs=count, axis=axis, num_outputs=count)
    elif even:
        d.add(operator, x, outputs=count, axis=axis)
    elif d.opset >= 13:
        d.add(operator, x, d.ints(sizes), outputs=count, axis=axis)
    else:
        d.add(operator, x, outputs=count, axis=axis, split=sizes)


@draws("Tile")
def _tile(d: Draw, operator: str) -> None:
    shape = d.shape(d.whole(1, 4))
    x = d.operand(shape, d.any("float32", "int64", "float64"))
    d.add(operator, x, d.ints([d.whole(1, 3) for _ in shape]))


@draws("Trilu", since=14)
def _trilu(d: Draw, operator: str) -> None:
    x = d.operand(d.shape(d.whole(2, 4)), d.any("float32", "int64", "float64"))
    more = [d.constant(np.asarray(d.whole(-2, 3), np.int64))] if d.chance(0.6) else []
    d.add(operator, x, *more, upper=d.any(None, 0, 1))


@draws("EyeLike", since=9)
def _eye_like(d: Draw, operator: str) -> None:
    x = d.operand((d.whole(1, 4), d.whole(1, 4)), d.any("float32", "int64"), kinds="x")
    d.add(operator, x, dtype=d.any(None, 1, 7), k=d.any(None, -1, 0, 2))


@draws("Concat")
def _concat(d: Draw, operator: str) -> None:
    shape = d.shape(d.whole(1, 3), 0.3)
    axis = d.axis(shape) if d.opset >= 11 else d.whole(0, len(shape) - 1)
    dtype = d.any("float32", "int64")
    parts = []
    for _ in range(d.whole(1, 3)):
        dims = list(shape)
        dims[axis] = d.any(dims[axis], 0, 1, 2)
        parts.append(d.operand(dims, dtype, -9, 9))
    d.add(operator, *parts, axis=axis)


@draws("Gather")
def _gather(d: Draw, operator: str) -> None:
    shape = tuple(dim or 2 for dim in d.shape(d.whole(1, 3), 0.3))
    axis = d.axis(shape) if d.opset >= 11 else d.whole(0, len(shape) - 1)
    size = shape[axis] if isinstance(shape[axis], int) else 1
    low = -size if d.opset >= 11 and d.chance(0.5) and isinstance(shape[axis], int) else 0
    inner = tuple(dim or 1 for dim in d.shape(d.whole(0, 2), 0))
    constant = d.chance(0.7)
    places = d.array(inner, "int64", low if constant else 0, size - 1)
    if constant:
        index = d.constant(places)
    else:
        index = d.operand(inner, "int64", 0, size - 1, kinds="x")
    d.add(
        operator, d.operand(shape), index, axis=d.any(axis, axis, None) if axis in (0, -len(shape)) else axis
    )


def _places(d: Draw, shape: Sequence[Any], low: int, high: int) -> str:
    """Places along an axis: constants may count from its end."""
    dtype = d.any("int64", "int32")
    if d.chance(0.5) and all(isinstance(dim, int) for dim in shape):
        return d.constant(d.array(shape, dtype, low, high))
    return d.operand(shape, dtype, 0, high, kinds="x")


def _lines(d: Draw) -> tuple[tuple[Any, ...], int, tuple[Any, ...], str]:
    """A shape, an axis of it of a fixed size, and the shape and name of indices along it."""
    shape = [dim or 2 for dim in d.shape()]
    axis = d.axis(shape)
    size = shape[axis] = d.any(2, 3, 4)
    wanted = list(shape)
    wanted[axis] = d.any(1, 3, 5)
    return tuple(shape), axis, tuple(wanted), _places(d, wanted, -size, size - 1)


@draws("GatherElements", since=11)
def _gather_elements(d: Draw, operator: str) -> None:
    shape, axis, _, places = _lines(d)
    x = d.operand(shape, d.any("float32", "int64", "float64"), -9, 9)
    d.add(operator, x, places, axis=d.any(axis, axis, None) if axis in (0, -len(shape)) else axis)


@draws("GatherND", since=11)
def _gather_nd(d: Draw, operator: str) -> None:
    shape = tuple(dim or 2 for dim in d.shape(d.whole(1, 3), 0))
    depth = d.whole(1, len(shape))
    inner, least = tuple(dim or 1 for dim in d.shape(d.whole(0, 2), 0)), min(shape[:depth])
    if d.chance(0.5):
        places = d.constant(d.array((*inner, depth), "int64", -least, least - 1))
    else:
        places = d.operand((*inner, depth), "int64", 0, least - 1, kinds="x")
    d.add(operator, d.operand(shape, d.any("float32", "int64"), -9, 9), places)


@draws("ScatterElements", since=11)
@draws("Scatter", since=9)
def _scatter_elements(d: Draw, operator: str) -> None:
    d.opset = min(d.opset, 10) if operator == "Scatter" else d.opset
    shape, axis, wanted, places = _lines(d)
    axis = axis % len(shape) if operator == "Scatter" else axis
    dtype = d.any("float32", "int64", "float64")
    x, updates = d.operand(shape, dtype, -9, 9), d.operand(wanted, dtype, -9, 9)
    reductions = [None, *(["add"] if d.opset >= 16 else []), *(["max", "min"] if d.opset >= 18 else [])]
    d.add(operator, x, places, updates, axis=axis, reduction=d.any(*reductions))


@draws("NonMaxSuppression", since=11)
def _non_max_suppression(d: Draw, operator: str) -> None:
    """What is kept is followed by rows of another kind, and cut where these may end."""
    images, count, most = d.any(1, 2, "N"), d.whole(1, 6), d.whole(1, 4)
    inputs = [d.operand((images, count, 4), "float32", -3, 3), d.operand((images, 1, count), "float32")]
    inputs += [d.ints([most]), d.constant(np.float32(d.random.uniform(0, 0.6)))]
    inputs += [d.constant(np.float32(0.1))] if d.chance(0.5) else []
    kept = d.add(operator, *inputs)
    size = d.add("Slice", d.add("Shape", inputs[0]), d.ints([0]), d.ints([1]))
    size = d.add("Mul", size, d.ints([most]))
    shape = d.add("Concat", size, d.ints([1]), axis=0)
    rest = d.add("Expand", d.constant(d.array((1, 3), "int64", -9, 9)), shape)
    d.add("Slice", d.add("Concat", kept, rest, axis=0), d.ints([0]), size, d.ints([0]))


@draws("OneHot", since=9)
def _one_hot(d: Draw, operator: str) -> None:
    shape, depth = d.shape(d.whole(1, 2)), d.whole(1, 4)
    places = d.operand(shape, "int64", -depth if d.opset >= 11 else 0, depth)  # depth itself names no place
    size = d.constant(np.asarray(depth, "int64").reshape(d.any((), (1,))))
    values = d.operand((2,), d.any("float32", "int64"), -9, 9)
    d.add(operator, places, size, values, axis=d.any(None, -1, d.whole(0, len(shape))))


@draws("ScatterND", since=11)
def _scatter(d: Draw, operator: str) -> None:
    """A block at a place that is an input, or some rows at constant places."""
    shape = tuple(dim or 2 for dim in d.shape(d.whole(1, 3), 0))
    depth, dtype = d.whole(1, len(shape)), d.any("float32", "int64")
    x = d.operand(shape, dtype)
    if d.chance(0.5):
        sizes = [d.whole(1, size) for size in shape[:depth]]
        room = min(size - part for size, part in zip(shape, sizes, strict=False))
        start = d.operand((depth,), "int64", 0, room, kinds="x")
        index = d.add("Add", d.constant(np.moveaxis(np.indices(sizes), 0, -1)), start)
        d.add(operator, x, index, d.operand((*sizes, *shape[depth:]), dtype))
        return
    places = np.stack(np.unravel_index(np.arange(np.prod(shape[:depth])), shape[:depth]), -1)
    rows = d.random.permutation(places)[: d.whole(1, 4)]
    rows = np.where(d.random.random(rows.shape) < 0.2, rows - shape[:depth], rows)
    d.add(operator, x, d.constant(rows.astype("int64")), d.operand((len(rows), *shape[depth:]), dtype))


@draws("Range", since=11)
def _range(d: Draw, operator: str) -> None:
    """Whole numbers from one to another, which no graph is about alone: they are added to an input."""
    start, count = d.whole(-3, 3), d.whole(1, 5)
    numbers = [d.constant(np.array(number, "int64")) for number in (start, start + count, 1)]
    d.add("Add", d.operand((count,), "int64"), d.add(operator, *numbers))


@draws("Slice")
def _slice(d: Draw, operator: str) -> None:
    shape = d.shape(d.whole(1, 3), 0.5)
    axes = sorted(d.random.choice(len(shape), d.whole(1, len(shape)), replace=False).tolist())
    bounds = [(d.whole(-6, 6), d.any(d.whole(-6, 6), 2**31 - 1, 2**62, -(2**62))) for _ in axes]
    starts, ends = [list(side) for side in zip(*bounds, strict=True)]
    whole = axes == list(range(len(axes))) and d.chance(0.5)
    x = d.operand(shape, d.any("float32", "int64"))
    if d.opset < 10:
        d.add(operator, x, starts=starts, ends=ends, axes=None if whole else [int(axis) for axis in axes])
        return
    steps = [d.any(1, 1, 2, 3, -1) if isinstance(shape[axis], int) else 1 for axis in axes]
    given = [int(axis) - (len(shape) if d.chance(0.3) else 0) for axis in axes]
    inputs = [d.ints(starts), d.ints(ends)]
    if not whole or any(step != 1 for step in steps):
        inputs.append(d.ints(given))
    if any(step != 1 for step in steps):
        inputs.append(d.ints(steps))
    d.add(operator, x, *inputs)


@draws("Pad")
def _pad(d: Draw, operator: str) -> None:
    mode = d.any(None, "constant", "constant", "edge", "reflect")
    shape = tuple(dim or 2 for dim in d.shape(d.whole(1, 4), 0.3))
    if mode == "reflect":
        shape = tuple(3 if isinstance(dim, int) else dim for dim in shape)
    low = -1 if mode in (None, "constant") and d.chance(0.2) and "N" not in shape and "T" not in shape else 0
    pads = [d.whole(low, 2) for _ in range(2 * len(shape))]
    pads = [max(pad, 0) if dim == 1 else pad for pad, dim in zip(pads, shape * 2, strict=True)]
    if mode == "reflect":  # a free axis may have one number
        pads = [0 if isinstance(dim, str) else pad for pad, dim in zip(pads, shape * 2, strict=True)]
    dtype = d.any("float32", "float32", "int64") if d.opset >= 13 else "float32"
    x = d.operand(shape, dtype)
    if d.opset < 11:
        d.add(operator, x, pads=pads, mode=mode, value=d.any(None, 1.5))
        return
    value = d.any(None, d.constant(np.dtype(dtype).type(1.5)))
    if d.opset >= 18 and d.chance(0.4):
        axes = [int(axis) for axis in d.random.permutation(len(shape))]
        pads = [pads[axis + side * len(shape)] for side in (0, 1) for axis in axes]
        given = [axis - len(shape) if d.chance(0.3) else axis for axis in axes]
        d.add(operator, x, d.ints(pads), value or "", d.ints(given), mode=mode)
    else:
        d.add(operator, x, d.ints(pads), *([value] if value else []), mode=mode)


@draws("Resize", since=11)
def _resize(d: Draw, operator: str) -> None:
    free = d.chance(0.3)
    shape = (d.any("N", 2), 2, *(("T", "T") if free else (d.whole(1, 4), d.whole(1, 5))))
    positions = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
    attributes = {
        "mode": "nearest",
        "coordinate_transformation_mode": d.any(None, *positions),
        "nearest_mode": d.any(None, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    }
    if d.chance(0.5):
        attributes = {
            "mode": d.any("linear", "cubic"),
            "coordinate_transformation_mode": d.any(None, *positions),
            "cubic_coeff_a": d.any(None, -0.5),
        }
    x = d.operand(shape)
    empty = "" if d.opset >= 13 else d.constant(np.zeros(0, np.float32))
    if free or d.chance(0.6):
        grows = free or (
            attributes["mode"] != "nearest" and 1 in shape[2:]
        )  # no mixture makes an empty image
        scales = [1, 1, d.any(2, 3, 1.5), d.any(1, 2)]
        if not grows:
            scales = [1, 1, d.any(0.5, 2, 3, 1.5), d.any(1, 2, 0.6)]
        d.add(operator, x, empty, d.constant(np.float32(scales)), **attributes)
    else:
        sizes = [shape[0], shape[1], d.whole(1, 7), d.whole(1, 7)]
        shape = tuple(2 if dim == "N" else dim for dim in sizes)
        if "N" in sizes:
            d.inputs = {
                n: (t, tuple(2 if dim == "N" else dim for dim in s)) for n, (t, s) in d.inputs.items()
            }
        d.add(operator, x, empty, empty, d.ints(shape), **attributes)


@draws("Upsample", since=7)
def _upsample(d: Draw, operator: str) -> None:
    d.opset = d.any(7, 8, 9)
    scales = [1.0, 1.0, d.any(1.0, 2.0, 3.0), d.any(2.0, 1.0)]
    x = d.operand(d.any(("N", 2, 3, 2), ("N", 1, "T", "T")))
    if d.opset < 9:
        d.add(operator, x, scales=scales, mode="nearest")
    else:
        d.add(operator, x, d.constant(np.float32(scales)), mode="nearest")


# Windows -------------------------------------------------------------------------------------------------


def _windows(d: Draw, rank: int) -> tuple[dict[str, Any], tuple[Any, ...], list[int]]:
    kernel = [d.whole(1, 3) for _ in range(rank)]
    size = [d.whole(5, 8) for _ in range(rank)]
    pad = d.any("none", "pads", "VALID", "SAME_UPPER", "SAME_LOWER")
    attributes: dict[str, Any] = {"strides": d.any(None, [d.whole(1, 3) for _ in range(rank)])}
    if pad == "pads":
        attributes["pads"] = [d.whole(0, k - 1) for k in kernel * 2]
    elif pad != "none":
        attributes["auto_pad"] = pad
    return attributes, (d.any("N", 2), d.any(2, 4), *size), kernel


@draws("Conv")
def _conv(d: Draw, operator: str) -> None:
    attributes, shape, kernel = _windows(d, d.whole(1, 3))
    groups = d.any(1, 2)
    weight = (d.any(2, 4), shape[1] // groups, *kernel)
    if "SAME" not in attributes.get("auto_pad", ""):
        attributes["dilations"] = d.any(None, [d.whole(1, 2) for _ in kernel])
    inputs = [d.operand(shape, kinds="x"), d.operand(weight), *d.any([], [d.operand(weight[:1])])]
    d.add(operator, *inputs, group=groups if groups > 1 else None, **attributes)


@draws("ConvTranspose")
def _conv_transpose(d: Draw, operator: str) -> None:
    attributes, shape, kernel = _windows(d, d.whole(1, 3))
    if "SAME" in attributes.get("auto_pad", "") or d.opset < 11:
        attributes.pop("auto_pad", None)
    groups = d.any(1, 2)
    weight = (shape[1], d.any(1, 2), *kernel)
    bias = d.any([], [d.operand((weight[1] * groups,))])
    d.add(operator, d.operand(shape, kinds="x"), d.operand(weight), *bias, group=groups, **attributes)


@draws("MaxPool", "AveragePool", since=7)
def _pool(d: Draw, operator: str) -> None:
    attributes, shape, kernel = _windows(d, d.whole(1, 3))
    if d.opset >= 10 and "auto_pad" not in attributes:
        attributes["ceil_mode"] = d.any(None, 1)
    if operator == "AveragePool":
        attributes["count_include_pad"] = d.any(None, 1)
    d.add(operator, d.operand(shape, kinds="x"), kernel_shape=kernel, **attributes)


@draws("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(d: Draw, operator: str) -> None:
    d.add(operator, d.operand(("N", 2, d.whole(1, 4), *d.any((), ("T",), (3, "T"))), kinds="x"))


# Normalisation, recurrence -------------------------------------------------------------------------------


@draws("BatchNormalization", "InstanceNormalization", since=7)
def _norm(d: Draw, operator: str) -> None:
    shape = ("N", 3, *d.any((), (4,), ("T", 2))) if operator[0] == "B" else ("N", 3, *d.any((4,), (3, 2)))
    vectors = [d.operand((3,), "float32", 0.5, 2) for _ in range(4 if operator[0] == "B" else 2)]
    more = {"spatial": d.any(None, 1)} if d.opset < 9 and operator[0] == "B" else {}
    d.add(operator, d.operand(shape, kinds="x"), *vectors, epsilon=d.any(None, 0.1), **more)


@draws("GroupNormalization", since=21)
def _group_norm(d: Draw, operator: str) -> None:
    groups = d.any(1, 2, 4)
    count = groups if d.opset < 21 else 4
    d.add(
        operator,
        d.operand(("N", 4, 3, 2), kinds="x"),
        d.operand((count,)),
        d.operand((count,)),
        num_groups=groups,
    )


@draws("LayerNormalization", since=17)
def _layer_norm(d: Draw, operator: str) -> None:
    shape = ("N", d.whole(1, 3), d.whole(2, 4))
    bias = d.any([], [d.operand(shape[-1:])])
    d.add(operator, d.operand(shape, kinds="x"), d.operand(shape[-1:]), *bias, axis=d.any(None, -1, 2))


@draws("RNN", "LSTM", "GRU", since=7)
def _recurrent(d: Draw, operator: str) -> None:
    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[operator]
    steps, batch, features, units = d.any("T", 3), d.any("N", 2), d.whole(1, 3), d.whole(1, 3)
    direction = d.any(None, "forward", "reverse", "bidirectional")
    count = 2 if direction == "bidirectional" else 1
    rows = gates * units
    inputs = [
        d.operand((steps, batch, features), kinds="x"),
        d.operand((count, rows, features), low=-1, high=1),
        d.operand((count, rows, units), low=-1, high=1),
        d.any("", d.operand((count, 2 * rows), kinds="wc", low=-1, high=1)),
    ]
    states = [d.operand((count, batch, units), kinds="x") for _ in range(d.any(0, 1 + (operator == "LSTM")))]
    inputs += ["", *states] if states else []
    more = {"linear_before_reset": 1} if operator == "GRU" else {}
    d.add(operator, *inputs, outputs=2 + (operator == "LSTM"), hidden_size=units, direction=direction, **more)


# Integers that are constants -----------------------------------------------------------------------------


def _integers(d: Draw, operator: str) -> None:
    """A few operators on constants, and what they make added to an input."""
    dtype = d.any("int64", "int32")
    value = d.constant(d.array((2, 3), dtype, -9, 9))
    steps: dict[str, Callable[[str], str]] = {
        "Div": lambda v: d.add("Div", v, d.constant(np.asarray(d.any(2, -2, 3, -4), dtype))),
        "Add": lambda v: d.add("Add", v, d.constant(d.array((3,), dtype, -9, 9))),
        "Mul": lambda v: d.add("Mul", v, d.constant(np.asarray(d.any(3, -7, 2**30), dtype))),
        "Sub": lambda v: d.add("Sub", v, d.constant(d.array((2, 1), dtype, -9, 9))),
        "Neg": lambda v: d.add("Neg", v),
        "Abs": lambda v: d.add("Abs", v),
        "Transpose": lambda v: d.add("Transpose", d.add("Transpose", v)),
        "Reshape": lambda v: d.add("Reshape", v, d.ints([2, 3])),
        "Concat": lambda v: (
            d.add("Slice", d.add("Concat", v, v, axis=0), starts=[1], ends=[3])
            if d.opset < 10
            else d.add("Slice", d.add("Concat", v, v, axis=0), d.ints([1]), d.ints([3]))
        ),
        "Gather": lambda v: d.add("Gather", v, d.ints([1, 0]), axis=0),
    }
    for name in (operator, *(d.any(*steps) for _ in range(d.whole(0, 3)))):
        value = steps.get(name, steps["Add"])(value)
    d.add("Add", d.operand(("N", 2, 3), dtype, kinds="x"), value)


# Loops ----------------------------------------------------------------------------------------------------


@draws("Scan", since=9)
def _scan(d: Draw, operator: str) -> None:
    """Up to two states, arrays that are taken apart along any axis in either direction, and an operand of the
    graph around the body."""
    part = d.shape(d.whole(0, 2))
    part = tuple(dim for dim in part if dim not in ("T", 0))
    dtype, length = d.any("float32", "float32", "float64", "int64"), d.any(1, 3, "T", "T")
    count, least = d.whole(1, 2), -len(part) - 1 if d.opset >= 11 else 0
    states = [d.operand(part, dtype, -1, 1) for _ in range(d.whole(0, 2))]
    axes = [d.whole(least, len(part)) for _ in range(count)]
    xs = []
    for axis in axes:
        place = axis % (len(part) + 1)
        xs.append(d.operand((*part[:place], length, *part[place:]), dtype, -1, 1))
    outside, squash = d.operand(part, dtype, -1, 1), "Identity" if dtype == "int64" else "Tanh"
    before, inside = ([d.name("b") for _ in items] for items in (states, xs))
    nodes: list[Any] = []

    def inner(kind: str, *inputs: str) -> str:
        nodes.append(helper.make_node(kind, inputs, [d.name("b")]))
        return str(nodes[-1].output[0])

    total = inner(d.any("Add", "Mul"), inside[0], outside)
    for name in inside[1:]:
        total = inner("Sub", total, name)
    after = [inner(squash, inner("Add", name, total)) for name in before]
    results = [inner("Identity", d.any(*before, *inside, total)), *d.any([], [inner("Mul", total, outside)])]
    body = helper.make_graph(
        nodes,
        "body",
        [helper.make_tensor_value_info(name, TYPES[dtype], list(part)) for name in (*before, *inside)],
        [helper.make_tensor_value_info(name, TYPES[dtype], list(part)) for name in (*after, *results)],
    )
    directions = d.any([0] * count, [1] * count, [d.whole(0, 1) for _ in xs])
    d.add(
        operator, *states, *xs, outputs=len(states) + len(results), body=body, num_scan_inputs=count,
        scan_input_axes=axes if any(axes) or d.chance(0.5) else None,
        scan_input_directions=directions if any(directions) else None,
        scan_output_axes=d.any(None, [d.whole(least, len(part)) for _ in results]),
        scan_output_directions=d.any(None, [d.whole(0, 1) for _ in results]),
    )  # fmt: skip


# Old opsets ----------------------------------------------------------------------------------------------


def _old_pair(d: Draw, operator: str) -> None:
    """The second operand repeats only where it is told to, along axes from one on."""
    shape = d.shape(d.whole(1, 4), 0)
    dtype = {"And": "bool", "Or": "bool", "Equal": "int64"}.get(operator, "float32")
    low, high = (0.5, 2) if operator in ("Div", "Pow") else (-3, 3)
    start = d.whole(0, len(shape) - 1)
    end = d.any(d.whole(start + 1, len(shape)), len(shape))
    axis = d.any(start, None) if end == len(shape) else start
    second, more = d.any(
        (shape[start:end], {"broadcast": 1, "axis": axis}), (shape, {}), ((1,), {"broadcast": 1})
    )
    a, b = d.operand(shape, dtype, low, high), d.operand(second, dtype, low, high)
    places = d.ints([*shape[start:end], *(1,) * (len(shape) - end)] if "axis" in more else second)
    before = list(d.nodes)
    y = d.add(operator, a, b, **more)
    aligned = helper.make_node("Reshape", [b, places], ["aligned"])
    d.newer = [*before, aligned, helper.make_node(operator, [a, "aligned"], [y])]


def _old_gemm(d: Draw, operator: str) -> None:
    rows, inner, columns = d.whole(1, 3), d.whole(1, 4), d.whole(1, 4)
    shape, more = d.any(
        ((columns,), {"broadcast": 1}), ((rows, columns), {}), ((1, columns), {"broadcast": 1})
    )
    operands = [d.operand(each) for each in ((rows, inner), (inner, columns), shape)]
    _added(d, operator, *operands, old=more, alpha=d.any(0.5, 1.0), beta=d.any(2.0, 1.0))


def _old_inference(d: Draw, operator: str) -> None:
    """Nodes that would be in training mode if they were not told otherwise."""
    x, vectors = d.operand(("N", 3, 2), kinds="x"), 4 if operator == "BatchNormalization" else 0
    _added(d, operator, x, *(d.operand((3,), "float32", 0.5, 2) for _ in range(vectors)), old={"is_test": 1})


def _added(d: Draw, operator: str, *inputs: str, old: dict[str, Any], **attributes: Any) -> None:
    """A node with attributes that newer opsets do not have, or need."""
    before = list(d.nodes)
    y = d.add(operator, *inputs, **old, **attributes)
    d.newer = [*before, helper.make_node(operator, list(inputs), [y], **attributes)]


OLD: dict[str, Generator] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Equal", "Greater", "Less"), _old_pair),
    **dict.fromkeys(("BatchNormalization", "Dropout"), _old_inference),
    "Gemm": _old_gemm,
}
"""How graphs of opset 6, where these operators had other rules, are drawn."""


def drawn(seed: int) -> tuple[str, Draw]:
    """The graph of a seed, and the operator it is about."""
    random = np.random.default_rng(seed)
    operators = sorted(GENERATORS)
    operator = operators[seed % len(operators)]
    function, since = GENERATORS[operator]
    opset = int(
        random.choice([max(since, old) for old in (6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 20, 21)])
    )
    if operator in OLD and random.random() < 0.3:
        function, opset = OLD[operator], 6
    elif opset > 6 and random.random() < 0.05:
        function = _integers
    draw = Draw(random, opset)
    function(draw, operator)
    if not draw.inputs:  # a model takes something
        draw.inputs["unused"] = "float32", ("N", 2)
        draw.ranges["unused"] = -1, 1, False
    return operator, draw
