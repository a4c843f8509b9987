"""Ops refuse what they cannot compute, before any kernel runs: the message says what came in."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
import pytest

from bigmodel_core import ops
from bigmodel_core.errors import (
    BigmodelError,
    ConfigError,
    DataError,
    DtypeError,
    GraphError,
    OutOfMemoryError,
    ShapeError,
)
from bigmodel_core.graph import Graph
from bigmodel_core.graph.spec import Spec
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.testing import compute

F23, F4, I3 = np.zeros((2, 3)), np.zeros(4), np.zeros(3, "int64")
IMAGE = np.zeros((1, 2, 2, 2))


def _loop(carry: Any, x: Any) -> Any:
    return carry, x


REFUSED: list[tuple[str, Callable[..., Any], list[np.ndarray], type[BigmodelError], str]] = [
    ("shapes that do not broadcast", ops.add, [F23, F4], ShapeError, r"\(2, 3\) and \(4,\)"),
    ("mixed types", ops.add, [F23, F23.astype("float32")], DtypeError, "float32 and float64"),
    ("float number and integers", lambda x: x + 0.5, [I3], DtypeError, "0.5 does not fit"),
    ("NumPy's float and integers", lambda x: x == np.float32(0.5), [I3], DtypeError, "0.5 does not fit"),
    ("floats and integers", lambda x: x * np.ones(3), [I3], DtypeError, "an array of float64 does not fit"),
    ("list of floats and integers", lambda x: x == [0.5, 1.5, 2], [I3], DtypeError, "float64 does not fit"),
    ("large number", lambda x: x + 2**70, [I3], DtypeError, f"{2**70} does not fit values of type int64"),
    ("large numbers", lambda x: x + np.array([2**40]), [I3.astype("int32")], DtypeError, "of type int32"),
    ("number below 0", lambda x: x + -1, [I3.astype("uint8")], DtypeError, "-1 does not fit .* uint8"),
    ("number as truth", lambda x: (x > 0) == 2, [I3], DtypeError, "2 does not fit values of type bool"),
    ("None as a number", lambda x: x + None, [F4], DtypeError, "None is no number"),
    ("texts as numbers", lambda x: x == ["a", "b"], [F4], DtypeError, "is no number"),
    ("lists of lengths that differ", lambda x: x == [1, [2]], [F4], DtypeError, "is no number"),
    ("complex number", lambda x: x * 1j, [F4], DtypeError, "1j is no number"),
    ("division of integers", ops.divide, [I3, I3], DtypeError, "int64"),
    ("activation of integers", ops.relu, [I3], DtypeError, "int64"),
    ("mean of integers", ops.mean, [I3], DtypeError, "int64"),
    ("sum of truth values", lambda x: ops.sum(x > 0), [F4], DtypeError, "bool"),
    ("rotary of an odd width", lambda x, i: ops.rotary(x, i, width=1), [F23, I3[:2]], ConfigError, "1 of 3"),
    (
        "rotary without a position for each step",
        ops.rotary,
        [np.zeros((2, 3, 4)), I3[:2]],
        ShapeError,
        "3, 4",
    ),
    ("rotary of float positions", ops.rotary, [F23, F4[:2]], DtypeError, "int64"),
    (
        "rotary with too few frequencies",
        lambda x, i: ops.rotary(x, i, width=2, frequencies=[]),
        [F23, I3[:2]],
        ConfigError,
        "0 frequencies for 1 pair",
    ),
    ("empty clip", lambda x: ops.clip(x, 1, 0), [F4], ConfigError, "1.0 to 0.0"),
    ("norm of a text", lambda x: ops.norm(x, "fro"), [F4], ConfigError, "ord of norm is 'fro'"),
    (
        "slope of nothing",
        lambda x: ops.leaky_relu(x, slope=None),
        [F4],
        ConfigError,
        "slope of leaky_relu is N",
    ),
    ("stack of nothing", lambda x: ops.stack(None), [F4], GraphError, "stack takes several values, not None"),
    ("no number type", lambda x: x.astype(None), [F4], DtypeError, "cast: None is no number type"),
    ("number as a type", lambda x: x.astype(3), [F4], DtypeError, "cast: 3 is no number type"),
    ("no groups", lambda x: ops.conv2d(x, x, groups=0), [IMAGE], ConfigError, "conv2d: .* has 0 groups"),
    (
        "no groups of a transpose",
        lambda x: ops.conv_transpose3d(x[None], x[None], groups="a"),
        [IMAGE],
        ConfigError,
        "conv_transpose3d: .* has 'a' groups",
    ),
    ("empty clip of integers", lambda x: ops.clip(x, 1, 0), [I3], ConfigError, "1.0 to 0.0"),
    ("clip without a bound", lambda x: ops.clip(x, None, None), [F4], ConfigError, "clip got no bound"),
    ("clip at a text", lambda x: ops.clip(x, "a", 1), [F4], DtypeError, "clip: .*'a' is no number"),
    ("clip at other shapes", lambda x: ops.clip(x, F23, 1), [F4], ShapeError, r"\(4,\) and \(2, 3\)"),
    ("dropout of a text", lambda x: ops.dropout(x, "a"), [F4], ConfigError, "rate of dropout is 'a'"),
    ("unequal inner sizes", ops.matmul, [F23, F23], ShapeError, r"\(2, 3\) by \(2, 3\)"),
    ("number in a product", lambda x: x @ 2.0, [F23], ShapeError, r"matmul: .*\(2, 3\) and \(\)"),
    ("vector of another length", ops.matmul, [F23, F4], ShapeError, r"expected 3 and 4 to be equal"),
    ("vector in a product", ops.linear.MatMul(), [F23, I3.astype(float)], ShapeError, "two dimensions"),
    (
        "width of affine",
        ops.affine,
        [F23, np.zeros((4, 5)), np.zeros(5)],
        ShapeError,
        "expected 4 input features",
    ),
    ("reshape", lambda x: ops.reshape(x, (4, 2)), [F23], ShapeError, "number of elements differs"),
    (
        "reshape with a rest",
        lambda x: ops.reshape(x, (4, -1)),
        [F23],
        ShapeError,
        "6 elements do not divide by 4",
    ),
    ("two inferred dimensions", lambda x: ops.reshape(x, (-1, -1)), [F23], ShapeError, "more than one -1"),
    ("loop of no function", lambda x: ops.scan(x, 0.0, x), [F4], ConfigError, "body of scan is a Value"),
    ("loop of no length", lambda x: ops.scan(_loop, x), [F4], ConfigError, "how many steps scan makes"),
    ("loop of length -1", lambda x: ops.scan(_loop, x, length=-1), [F4], ConfigError, "length of scan is -1"),
    (
        "loop over a number",
        lambda x: ops.scan(_loop, 0.0, (x, 1.0)),
        [F4],
        ShapeError,
        r"xs\[1\] of scan is \(\): axis 0",
    ),
    (
        "loop over two lengths",
        lambda x, y: ops.scan(_loop, 0.0, {"a": x, "b": (y,)}, 0),
        [F4, F23],
        ShapeError,
        r"that of xs\['a'\] is 4 and that of xs\['b'\]\[0\] is 2",
    ),
    (
        "loop over an array and another length",
        lambda x: ops.scan(_loop, 0.0, x, length=3),
        [F4],
        ShapeError,
        "that of length is 3 and that of xs is 4",
    ),
    (
        "loop over an axis that results have not",
        lambda x: ops.scan(lambda c, x: (c, ops.sum(x)), 0.0, x, 1),
        [F23],
        ShapeError,
        r"y of scan is \(\) at each step, so the results have no axis 1",
    ),
    ("loop of one result", lambda x: ops.scan(lambda c, x: c, 0.0, x), [F4], GraphError, "returned a Value"),
    ("loop of three", lambda x: ops.scan(lambda c, x: (c, x, x), 0.0, x), [F4], GraphError, "3 items"),
    ("loop of nothing", lambda x: ops.scan(lambda c, x: (None, None), None, x), [F4], GraphError, "nothing"),
    (
        "loop whose carry changes its form",
        lambda x: ops.scan(lambda c, x: ({"h": c["h"]}, x), {"h": x[0], "c": (x[0],)}, x),
        [F4],
        GraphError,
        r"scan carries {'h': a value, 'c': \(a value,\)}, but its body carries on {'h': a value}",
    ),
    (
        "loop whose carry changes its shape",
        lambda x: ops.scan(lambda c, x: ((c[0], c[1] + x), None), (0.0, 0.0), x),
        [F23],
        ShapeError,
        r"carry\[1\] of scan is Spec\(\(\), float64\), but its body carries on Spec\(\(3,\), float64\)",
    ),
    (
        "loop whose carry changes its type",
        lambda x: ops.scan(lambda c, x: (c.astype("float32") + x, None), 0, x),
        [F4.astype("float32")],
        DtypeError,
        r"carry of scan is Spec\(\(\), int64\), but its body carries on Spec\(\(\), float32\)",
    ),
    (
        "loop over a text",
        lambda x: ops.scan(lambda c, x: (c, None), {"a": "b"}, x),
        [F4],
        GraphError,
        r"carry\['a'\] is a str",
    ),
    (
        "loop whose result is a text",
        lambda x: ops.scan(lambda c, x: (c, [x, "b"]), 0.0, x),
        [F4],
        GraphError,
        r"y\[1\] is a str",
    ),
    ("sum up to a truth", lambda x: ops.cumsum(x > 0), [F4], DtypeError, "Cumsum needs numbers, got bool"),
    ("sums along no axis", lambda x: ops.cumsum(x, 1), [F4], ShapeError, "axis 1 is out of range"),
    ("product of truths", lambda x: ops.prod(x > 0), [F4], DtypeError, "ops.all"),
    ("variance of integers", ops.var, [I3], DtypeError, "var needs float32 or float64, got int64"),
    ("norm of integers", ops.norm, [I3], DtypeError, "norm needs"),
    ("norm of no order", lambda x: ops.norm(x, 0), [F4], ConfigError, "no norm of order 0"),
    ("logsumexp of integers", ops.logsumexp, [I3], DtypeError, "logsumexp needs"),
    ("any out of range", lambda x: ops.any(x, 2), [F23], ShapeError, "axis 2 is out of range"),
    ("equation of one", lambda x: ops.einsum("ij,jk", x), [F23], ConfigError, "2 operands, got 1"),
    (
        "equation of signs",
        lambda x: ops.einsum("i1->i", x),
        [F23],
        ConfigError,
        "'i1' in the place of letters",
    ),
    ("equation of dots", lambda x: ops.einsum("i..->i", x), [F23], ConfigError, r"'i\.\.' in the place"),
    ("two arrows", lambda x: ops.einsum("ij->i->j", x), [F23], ConfigError, "in the place of letters"),
    ("unknown letter", lambda x: ops.einsum("ij->ik", x), [F23], ConfigError, "no operand has the axis 'k'"),
    ("letter twice", lambda x: ops.einsum("ij->ii", x), [F23], ConfigError, "has the axis 'i' twice"),
    ("lost dots", lambda x: ops.einsum("...j->j", x), [F23], ConfigError, "'...' is in an operand"),
    (
        "too few letters",
        lambda x: ops.einsum("i->i", x),
        [F23],
        ShapeError,
        r"names 1 .* 1, which has 2: \(2, 3\)",
    ),
    ("too many letters", lambda x: ops.einsum("ijk...", x), [F23], ShapeError, "names 3 axes of operand 1"),
    ("two sizes", lambda x: ops.einsum("ij,jk", x, x), [F23], ShapeError, "'j' has the sizes 3 and 2"),
    (
        "sizes of dots",
        lambda x: ops.einsum("...,...", x, x[:, :2]),
        [F23],
        ShapeError,
        r"an axis of '...' has",
    ),
    ("no square", lambda x: ops.einsum("ii", x), [F23], ShapeError, "'i' has the sizes 2 and 3"),
    ("two types", lambda x, i: ops.einsum("i,i", x, i), [F4[:3], I3], DtypeError, "float64 and int64"),
    ("no equation", lambda x: ops.einsum(x, "ij"), [F23], ConfigError, "write the equation first"),
    ("axis out of range", lambda x: ops.sum(x, 2), [F23], ShapeError, "axis 2"),
    ("axis twice", lambda x: ops.sum(x, (0, -2)), [F23], ShapeError, "one axis twice"),
    ("maximum of nothing", lambda x: ops.max(x, 0), [np.zeros((0, 3))], ShapeError, "empty axis"),
    ("not a permutation", lambda x: ops.transpose(x, (0, 0)), [F23], ShapeError, "permutation"),
    ("too many indices", lambda x: x[0, 0, 0], [F23], ShapeError, "3 indices for 2 dimensions"),
    ("index out of range", lambda x: x[2], [F23], ShapeError, "out of range"),
    ("index of an array", lambda x: x[:, np.array([0, 1])], [F23], ShapeError, "ops.gather"),
    ("index of a mask", lambda x: x[x > 0], [F23], ShapeError, "ops.where"),
    ("index of a truth", lambda x: x[True], [F23], ShapeError, "with True"),
    ("slice up to a value", lambda x: x[: x[0, 0]], [F23], ShapeError, "cannot index with Value"),
    ("slice up to a float", lambda x: x[:1.0], [F23], ShapeError, "with 1.0"),
    ("slice up to dots", lambda x: x[:...], [F4], ShapeError, "cannot index with Ellipsis"),
    ("slice up to a slice", lambda x: x[: slice(1)], [F4], ShapeError, r"cannot index with slice\("),
    ("index of a text", lambda x: x["a b"], [F4], ShapeError, "'a b' is not a dimension"),
    ("slice without a step", lambda x: x[::0], [F4], ShapeError, "has the step 0"),
    ("step of a free size", lambda x: x[::"T"], [F4], ShapeError, "has the step T"),
    ("unequal sections", lambda x: ops.split(x, 2, 1), [F23], ShapeError, r"axis 1 of \(2, 3\).* 2 equal"),
    ("sections out of order", lambda x: ops.split(x, (2, 1), 1), [F23], ShapeError, r"\(2, 1\) to cut"),
    ("nothing to stack", lambda x: ops.stack([]), [F4], ShapeError, "nothing to stack"),
    ("stack of two shapes", lambda a, b: ops.stack([a, b]), [F23, F4], ShapeError, r"\(2, 3\) and \(4,\)"),
    ("squeeze of a size", lambda x: ops.squeeze(x, 1), [F23], ShapeError, "its size is 3"),
    ("expanded too far", lambda x: ops.expand_dims(x, 3), [F23], ShapeError, "axis 3 is out of range"),
    ("roll along two axes", lambda x: ops.roll(x, (1,), (0, 1)), [F23], ConfigError, "1 shifts for 2 axes"),
    ("flip out of range", lambda x: ops.flip(x, 2), [F23], ShapeError, "axis 2 is out of range"),
    ("unknown borders", lambda x: ops.pad(x, 1, "wrap"), [F4], ConfigError, "no mode 'wrap'"),
    ("widths of three axes", lambda x: ops.pad(x, (1, 2, 3)), [F23], ShapeError, r"widths \(1, 2, 3\)"),
    ("widths of halves", lambda x: ops.pad(x, 0.5), [F4], ShapeError, "the widths 0.5"),
    ("widths of one axis twice", lambda x: ops.pad(x, {1: 1, -1: 2}), [F23], ShapeError, "got the widths"),
    ("borders along no axis", lambda x: ops.pad(x, {2: 1}), [F23], ShapeError, "axis 2 is out of range"),
    ("mirrored too far", lambda x: ops.pad(x, (1, 4), "reflect"), [F4], ShapeError, "needs 5 numbers along"),
    (
        "edges of nothing",
        lambda x: ops.pad(x[:0], 1, "edge"),
        [F4],
        ShapeError,
        "needs 1 numbers along axis 0",
    ),
    ("edges taken away", lambda x: ops.pad(x, -1, "edge"), [F4], ShapeError, "would take numbers away"),
    ("more taken away than there is", lambda x: ops.pad(x, -2), [F23], ShapeError, "takes 4 of 2 numbers"),
    ("borders of a half", lambda x: ops.pad(x, 1, value=0.5), [I3], DtypeError, "0.5 does not fit"),
    (
        "borders of an array",
        lambda x: ops.pad(x, 1, value=F4),
        [F4],
        ConfigError,
        "takes a number as the value",
    ),
    (
        "zeros taken away",
        lambda x: ops.zero_pad(x, (0, -1, 0, 0)),
        [np.zeros((1, 1, 2, 2))],
        ShapeError,
        "0 or",
    ),
    ("unknown resizing", lambda x: ops.resize(x, 2, "area"), [IMAGE], ConfigError, "no method 'area'"),
    ("no size", lambda x: ops.resize(x), [IMAGE], ConfigError, "either a size or a scale"),
    ("size and scale", lambda x: ops.resize(x, 2, scale=2), [IMAGE], ConfigError, "either a size or a scale"),
    ("size of nothing", lambda x: ops.resize(x, 0), [IMAGE], ShapeError, "the size 0 for 2 spatial axes"),
    ("sizes of three axes", lambda x: ops.resize(x, (1, 2, 3)), [IMAGE], ShapeError, "for 2 spatial axes"),
    ("scale of nothing", lambda x: ops.resize(x, scale=0), [IMAGE], ConfigError, "the scale 0 for 2"),
    ("scaled to nothing", lambda x: ops.resize(x, scale=0.1), [IMAGE], ShapeError, r"cannot make \(0, 0\)"),
    (
        "corners of pixels",
        lambda x: ops.resize(x, 2, "nearest", True),
        [IMAGE],
        ConfigError,
        "no align_corners",
    ),
    ("resized matrix", lambda x: ops.resize(x, 2), [F23], ShapeError, r"'nearest' got \(2, 3\)"),
    ("bicubic volume", lambda x: ops.resize(x[None], 2, "bicubic"), [IMAGE], ShapeError, "'bicubic' got"),
    ("mixed bytes", lambda x: ops.resize(x.astype("uint8"), 3, "bilinear"), [IMAGE], DtypeError, "uint8"),
    ("pixels of nothing", lambda x: ops.resize(x[:, :, :0], 3), [IMAGE], ShapeError, "cannot make"),
    ("tiled less than never", lambda x: ops.tile(x, -1), [F4], ConfigError, "less than never"),
    ("triangle of a row", ops.tril, [F4], ShapeError, r"tril needs two axes or more, got \(4,\)"),
    ("arange of no step", lambda x: x + ops.arange(1, 4, 0), [I3], ConfigError, "steps of 0"),
    ("constant of fractions", lambda x: x + ops.constant([0.5], "int64"), [I3], DtypeError, "it has 0.5"),
    ("constant of text", lambda x: x + ops.constant("a"), [I3], DtypeError, "is no number"),
    (
        "float array and integers",
        lambda x: x + np.ones(3),
        [I3],
        DtypeError,
        "array of float64 does not fit .*: it has 1.0",
    ),
    ("large array", lambda x: x.astype("float32") * np.array([1e39]), [F4], DtypeError, "1e\\+39"),
    ("large integer", lambda x: x.astype("uint8") + 300, [I3], DtypeError, "300 does not fit .* uint8"),
    ("array of unequal width", lambda x: x + np.ones(2), [F4], ShapeError, r"\(4,\) and \(2,\)"),
    ("bits of integers", lambda x: x & 1, [I3], DtypeError, "And needs bool, got int64 and int64"),
    ("remainder of truths", lambda x: (x > 0) % True, [F4], DtypeError, "bool"),
    ("round of integers", ops.round, [I3], DtypeError, "int64"),
    ("axis of a float", lambda x: ops.sum(x, 1.0), [F23], ShapeError, r"1\.0 is no axis"),
    ("axis of a truth", lambda x: ops.softmax(x, True), [F23], ShapeError, "True is no axis"),
    ("axis of nothing", lambda x: ops.sort(x, None), [F23], ShapeError, "None is no axis"),
    ("several axes for one", lambda x: ops.argmax(x, (0, 1)), [F23], ShapeError, r"\(0, 1\) is no axis"),
    ("axis of a number", lambda x: ops.sort(x[0]), [F4], ShapeError, "a number has no axes"),
    ("a list in the place of a value", lambda x: ops.sort([2.0, 1.0]), [F4], GraphError, "sort was applied"),
    ("roll by a half", lambda x: ops.roll(x, 0.5), [F4], ConfigError, "roll takes integers, not 0.5"),
    ("tiled by a half", lambda x: ops.tile(x, (1, 0.5)), [F4], ConfigError, "tile takes integers, not 0.5"),
    ("split at a half", lambda x: ops.split(x, [0.5]), [F4], ConfigError, "split takes integers, not 0.5"),
    ("half a decimal", lambda x: ops.round(x, 0.5), [F4], ConfigError, "cannot keep 0.5 decimals"),
    ("endless arange", lambda x: x + ops.arange(float("inf")), [F4], ConfigError, "arange got inf"),
    ("arange of a text", lambda x: x + ops.arange("T"), [F4], ConfigError, "arange got 'T'"),
    (
        "unknown type",
        lambda x: x + ops.constant(1.0, "float"),
        [F4],
        DtypeError,
        "unknown number type 'float'",
    ),
    ("negative eye", lambda x: ops.eye(-1), [F4], ShapeError, "a dimension is -1"),
    ("half a diagonal", lambda x: ops.triu(x, 0.5), [F23], ConfigError, "triu: there is no diagonal 0.5"),
    ("new axis of nothing", lambda x: ops.expand_dims(x, None), [F4], ShapeError, "None is no axis"),
    ("axes past the last", lambda x: ops.transpose(x, (0, 3)), [F23], ShapeError, "transpose: axis 3 is out"),
    ("branches that do not broadcast", lambda x, y: ops.where(x > 0, x, y), [F23, F4], ShapeError, "Where: "),
    ("broadcast to another size", lambda x: ops.broadcast_to(x, (3,)), [F4], ShapeError, "BroadcastTo: "),
    ("pool of a matrix", lambda x: ops.max_pool3d(x, 2), [F23], ShapeError, "MaxPool needs volumes"),
    ("nothing to concatenate", lambda x: ops.concatenate([]), [F4], ShapeError, "nothing"),
    ("update of other axes", lambda a, b: ops.update_slice(a, b, (0,)), [F4, F23], ShapeError, "no part of"),
    ("update of no axes", lambda a: ops.update_slice(a, a, ()), [F23], ShapeError, "names 0 axes"),
    ("update past the end", lambda a: ops.update_slice(a, a, (0, 1)), [F23], ShapeError, "runs past axis 1"),
    ("update before it", lambda a: ops.update_slice(a, a, (-3, 0)), [F23], ShapeError, "axis 0 of 2"),
    (
        "update too wide",
        lambda a, i: ops.update_slice(a[:1], a, (i, 0)),
        [F23, np.array(0)],
        ShapeError,
        "part",
    ),
    (
        "update of a kind",
        lambda a, b: ops.update_slice(a, b, (1,)),
        [F4, I3],
        DtypeError,
        "int64 into float64",
    ),
    (
        "update at floats",
        lambda a, b: ops.update_slice(a, a, (b,)),
        [F4, np.array(1.0)],
        DtypeError,
        "integers",
    ),
    (
        "update at one place",
        lambda a, i: ops.update_slice(a, a, i),
        [F23, I3],
        ShapeError,
        r"expected \(2,\)",
    ),
    ("unequal parts", lambda a, b: ops.concatenate([a, b], 0), [F23, np.zeros((2, 4))], ShapeError, "equal"),
    ("weight of rows", ops.rms_norm, [F23, F4], ShapeError, r"weight of \(3,\), got \(4,\)"),
    ("weight of another type", ops.rms_norm, [F23, I3], DtypeError, "float64 and int64"),
    ("rms of nothing", ops.rms_norm, [np.zeros((3, 0))], ShapeError, "no numbers"),
    ("neighbours of no channel", lambda x: ops.local_response_norm(x, 3), [F23], ShapeError, "three dim"),
    ("no neighbours", lambda x: ops.local_response_norm(x, 0), [F23[None]], ConfigError, "size .* is 0"),
    ("attention of other widths", ops.attention, [F23, F23.T, F23], ShapeError, r"\(2, 3\) and \(3, 2\)"),
    (
        "attention of odd heads",
        ops.attention,
        [np.zeros((3, 1, 2)), np.zeros((2, 1, 2)), np.zeros((2, 1, 2))],
        ShapeError,
        "a multiple",
    ),
    ("mask of integers", ops.attention, [F23, F23, F23, I3], DtypeError, "mask of attention is int64"),
    ("mask of other steps", ops.attention, [F23, F23, F23, F23], ShapeError, r"to \(2, 2\)"),
    ("condition of numbers", lambda c, x: ops.where(c, x, x), [F4, F4], DtypeError, "bool"),
    ("logic of numbers", ops.logical_and, [F4, F4], DtypeError, "bool"),
    ("float indices", ops.gather, [F23, F4], DtypeError, "float64"),
    ("gather along no axis", lambda x, i: ops.gather(x, i, 2), [F23, I3], ShapeError, "axis 2 is out"),
    ("places of floats", ops.take_along_axis, [F23, F23], DtypeError, "TakeAlong needs int32 or int64"),
    (
        "places of other axes",
        ops.take_along_axis,
        [F23, I3],
        ShapeError,
        r"as many axes as the array \(2, 3\)",
    ),
    (
        "places that do not broadcast",
        ops.take_along_axis,
        [F23, np.zeros((3, 2), "int64")],
        ShapeError,
        "take_along_axis.*do not broadcast along the axes other than 1",
    ),
    ("too many coordinates", ops.gather_nd, [F23, I3], ShapeError, r"1 to 2 of \(2, 3\)"),
    ("a class that is no integer", lambda x: ops.one_hot(x, 3), [F4], DtypeError, "one_hot needs"),
    ("no classes", lambda i: ops.one_hot(i, 0), [I3], ConfigError, "depth of one_hot is 0"),
    ("unknown scatter", lambda x, i: ops.scatter(x, i, x, 0, "mean"), [F4, I3], ConfigError, "by 'mean'"),
    ("scatter of other axes", ops.scatter, [F23, I3, F23], ShapeError, "scatter along axis 0"),
    (
        "scatter past the other axes",
        ops.scatter,
        [F23, np.zeros((2, 4), "int64"), np.zeros((2, 4))],
        ShapeError,
        r"indices \(2, 4\)",
    ),
    ("scatter of a kind", ops.scatter, [F4, I3, I3], DtypeError, "int64 into float64"),
    (
        "sums of truths",
        lambda x, i: ops.scatter(x > 0, i, x > 0, 0, "add"),
        [F4, np.zeros(4, "int64")],
        DtypeError,
        "cannot add truth",
    ),
    ("k above the axis", lambda x: ops.top_k(x, 5, 1)[0], [F23], ShapeError, r"k = 5 .*axis 1 .*which has 3"),
    ("no k", lambda x: ops.top_k(x, 0)[0], [F4], ConfigError, "top_k takes 0"),
    ("sort along no axis", lambda x: ops.sort(x, 2), [F23], ShapeError, "axis 2 is out of range"),
    ("smallest of nothing", lambda x: ops.argmin(x, 0), [np.zeros((0, 3))], ShapeError, "empty axis"),
    ("float labels", ops.cross_entropy, [F23, np.zeros(2)], DtypeError, "integer class labels"),
    ("labels of another length", ops.cross_entropy, [F23, I3], ShapeError, r"\(2, 3\) and \(3,\)"),
    (
        "labels with an axis",
        ops.multi_class_hinge,
        [F23, np.zeros((2, 1), int)],
        ShapeError,
        "without a last axis",
    ),
    ("one score", ops.multi_class_hinge, [np.zeros((2, 1)), np.zeros(2, int)], ShapeError, "two scores"),
    (
        "targets that broadcast",
        ops.binary_cross_entropy,
        [np.zeros((3, 1)), np.zeros(3)],
        ShapeError,
        "one shape",
    ),
    ("scale of layer norm", ops.layer_norm, [F23, F4, F4], ShapeError, r"\(3,\)"),
    ("truth of a value", lambda x: x if x > 0 else -x, [F4], GraphError, "where"),
]


@pytest.mark.parametrize(
    ("function", "arrays", "error", "text"), [item[1:] for item in REFUSED], ids=[item[0] for item in REFUSED]
)
def test_refused(function: Any, arrays: list[np.ndarray], error: type[BigmodelError], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        compute(function, *arrays)
    assert isinstance(caught.value, BigmodelError)


@pytest.mark.parametrize(
    "function", [ops.cross_entropy, ops.multi_class_hinge], ids=["cross_entropy", "hinge"]
)
@pytest.mark.parametrize(("label", "sample"), [(-1, 0), (3, 4), (2**40, 2)])
def test_labels_out_of_range(function: Any, label: int, sample: int) -> None:
    labels = np.zeros(5, "int64")
    labels[sample] = label
    with pytest.raises(DataError, match=f"label {label} \\(sample {sample} of the batch\\).*3 classes"):
        compute(function, np.zeros((5, 3)), labels)


def test_labels_as_numbers_are_checked() -> None:
    assert compute(lambda y: ops.label_values(y, 2, "float32"), np.array([0, 1, 1])).tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="label 2"):
        compute(lambda y: ops.label_values(y, 2, "float32"), np.array([0, 1, 2]))


@pytest.mark.parametrize("index", [-1, 2])
def test_indices_out_of_range(index: int) -> None:
    with pytest.raises(DataError, match=f"index {index} .*2 rows"):
        compute(ops.gather, F23, np.array([0, index]))


@pytest.mark.parametrize("index", [-1, 3])
@pytest.mark.parametrize(
    ("name", "function", "position"),
    [
        ("Gather", lambda x, i: ops.gather(x, i[:, 1], 1), 1),
        ("TakeAlong", ops.take_along_axis, 3),
        ("GatherND", ops.gather_nd, 3),
        ("Scatter", lambda x, i: ops.scatter(x, i, 1.0, 1), 3),
    ],
)
def test_the_op_and_the_index_out_of_range_are_named(
    name: str, function: Any, position: int, index: int
) -> None:
    indices = np.array([[0, 1], [1, index]])
    text = rf"^{name}: the index {index} \(position {position}\) is out of range for .* 3( rows)?\."
    with pytest.raises(DataError, match=text):
        compute(function, np.zeros((2, 3)), indices)


def test_whole_numbers_of_numpy_are_numbers() -> None:
    x, one, two = np.arange(12.0).reshape(3, 4), np.int64(1), np.int32(2)
    for ours, theirs in [
        (lambda x: ops.sum(x, one), x.sum(1)),
        (lambda x: ops.roll(x, two, one), np.roll(x, 2, 1)),
        (lambda x: ops.flip(x, [one]), x[:, ::-1]),
        (lambda x: ops.split(x, two, one)[1], x[:, 2:]),
        (lambda x: ops.split(x, np.array([1, 3]), 1)[1], x[:, 1:3]),
        (lambda x: ops.tile(x, np.array([2, 1])), np.tile(x, (2, 1))),
        (lambda x: ops.expand_dims(x, one), x[:, None]),
        (lambda x: ops.round(x / 3.0, one), np.round(x / 3, 1)),
        (lambda x: ops.full(two, 0.5), np.full(2, 0.5)),
        (lambda x: ops.reshape(x, -1), x.reshape(-1)),
        (lambda x: ops.broadcast_to(x, [two, 3, 4]), np.broadcast_to(x, (2, 3, 4))),
        (lambda x: ops.one_hot(np.array([1]), two), np.eye(2)[[1]]),
    ]:
        np.testing.assert_array_equal(compute(ours, x), theirs)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_a_free_axis_that_turns_out_empty_has_no_extreme(name: str) -> None:
    graph = Graph()
    with graph.active():
        made = getattr(ops, name)(graph.input("x", Spec(("N", "T"))), 1)
    program, variables = Program(graph, [made]), Variables(device_named("cpu"))
    assert program.run(variables, {"x": np.zeros((0, 2), "float32")})[0].shape == (0,)
    with pytest.raises(ShapeError, match=rf"(?i){name} along an empty axis of \(2, 0\)"):
        program.run(variables, {"x": np.zeros((2, 0), "float32")})


@pytest.mark.parametrize(
    "function",
    [lambda: ops.arange(10**13), lambda: ops.arange(0.0, 1e13), lambda: ops.eye(1, 10**13)],
    ids=["arange", "arange of floats", "eye"],
)
def test_a_range_past_any_memory_is_refused_before_any_is_taken(function: Any) -> None:
    with pytest.raises(OutOfMemoryError, match=r"^[A-Z]\w+: a run at fixed sizes needs .* GiB"):
        compute(lambda x: (x, function()), F4)


VALUES = {
    name: [kind for kind in inspect.signature(function).parameters.values() if kind.annotation == "Value"]
    for name, function in ((name, getattr(ops, name)) for name in ops.__all__)
    if isinstance(function, FunctionType)
}


@pytest.mark.parametrize("name", [name for name, values in VALUES.items() if values])
def test_nothing_in_the_place_of_a_value_is_refused(name: str) -> None:
    function = getattr(ops, name)
    needed = [item for item in inspect.signature(function).parameters.values() if item.default is item.empty]
    with Graph().active(), pytest.raises(GraphError, match=f"^{name} was applied to a NoneType"):
        function(*[None] * len(needed))


FURTHER: dict[str, tuple[Any, ...]] = {
    "expand_dims": (),
    "gather": (I3,),
    "one_hot": (3,),
    "roll": (1,),
    "scatter": (F23.astype("int64"), 1.0),
    "split": (1,),
    "take_along_axis": (F23.astype("int64"),),
    "top_k": (1,),
}
"""What functions take between an array and an axis."""


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in ops.__all__
        if {"x", "axis"} <= inspect.signature(getattr(ops, name)).parameters.keys()
    ],
)
def test_the_function_with_an_axis_out_of_range_is_named(name: str) -> None:
    with pytest.raises(ShapeError, match=f"^{name}: axis 9 is out of range for [23] dimensions"):
        compute(lambda x: getattr(ops, name)(x, *FURTHER.get(name, ()), axis=9), F23)


def test_a_failed_run_does_not_spoil_the_next() -> None:
    from bigmodel_core.testing.evaluate import Evaluation

    scores, labels = np.zeros((5, 3)), np.zeros(5, "int64")
    evaluation = Evaluation(ops.cross_entropy, [scores, labels])
    with pytest.raises(DataError):
        evaluation.run([scores, labels + 3])
    (losses,), _ = evaluation.run([scores, labels])
    np.testing.assert_allclose(losses, np.log(3))
