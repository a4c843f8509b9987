"""Products of matrices as Gemm, and as products that broadcast implicitly."""

from __future__ import annotations

from bigmodel_core.graph import Node, Value
from bigmodel_core.ops import arithmetic, linear, shape
from bigmodel_onnx.emit import Emitter, broadcasts_to
from bigmodel_onnx.matching import Match, Uses, before_broadcast


def flat_product(value: Value) -> tuple[Value, Value, bool, bool] | None:
    """The operands of a product of two matrices and whether each is transposed."""
    op = value.node.op
    if not isinstance(op, linear.MatMul) or any(item.ndim != 2 for item in value.node.inputs):
        return None
    a, b = value.node.inputs
    transposed = [op.transpose_a, op.transpose_b]
    operands = [a, b]
    for place, operand in enumerate(operands):
        if isinstance(operand.node.op, shape.Transpose):  # of a matrix: always the two axes exchanged
            operands[place] = operand.node.inputs[0]
            transposed[place] = not transposed[place]
    return operands[0], operands[1], transposed[0], transposed[1]


def gemm(node: Node, uses: Uses) -> Match | None:
    """A product of matrices plus a bias."""
    if not isinstance(node.op, arithmetic.Add):
        return None
    for product, bias in (node.inputs, node.inputs[::-1]):
        found = flat_product(product) if uses.once(product) else None
        if found is None or product.shape != node.outputs[0].shape:
            continue
        bias = (
            before_broadcast(bias)
            if broadcasts_to([product.shape, before_broadcast(bias).shape], product.shape)
            else bias
        )
        return Match(
            node, (found[0], found[1], bias), lambda emit, a, b, c, f=found: write_gemm(emit, f, a, b, c)
        )
    return None


def matrix_product(node: Node, uses: Uses) -> Match | None:
    """A product of transposed matrices, and batched products that broadcast implicitly."""
    if not isinstance(node.op, linear.MatMul):
        return None
    found = flat_product(node.outputs[0])
    if found is not None and (found[2] or found[3]):
        return Match(node, found[:2], lambda emit, a, b: write_gemm(emit, found, a, b))
    sources = tuple(before_broadcast(value) for value in node.inputs)
    if any(source is not value for source, value in zip(sources, node.inputs, strict=True)) and all(
        source.shape[-2:] == value.shape[-2:] for source, value in zip(sources, node.inputs, strict=True)
    ):
        if broadcasts_to([source.shape[:-2] for source in sources], node.outputs[0].shape[:-2]):
            return Match(node, sources, node.op.onnx)
    return None


def write_gemm(emit: Emitter, found: tuple[Value, Value, bool, bool], *names: str) -> str:
    """A product of the operands that `flat_product` found, plus a bias if there is a third."""
    flags = {"transA": int(found[2]) or None, "transB": int(found[3]) or None}
    return str(emit.Gemm(*names, **flags))
