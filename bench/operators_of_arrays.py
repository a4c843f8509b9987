"""Ops of every day beside PyTorch's: picking, sorting, sums along an axis, functions, random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.operators import Arrays, Case, normal

Function = Callable[..., Any]


def whole(below: int, *shape: int) -> np.ndarray:
    """Operands: integers from 0 on."""
    return np.random.default_rng(0).integers(0, below, shape)


def compared(
    label: str, ours: Function, torch: Function, *arrays: np.ndarray, slopes: Sequence[int] = ()
) -> list[Case]:
    """An op, and the op with its gradients.

    Args:
        label: what it is called.
        ours: of (ops, Values...).
        torch: of (torch, tensors...).
        arrays: the operands.
        slopes: which operands have gradients; none if it is compared without.
    """

    def forward(*values: Any) -> Sequence[Any]:
        from bigmodel_core import ops

        made = ours(ops, *values)
        return list(made) if isinstance(made, tuple) else [made]

    def torch_forward(*tensors: Any) -> Callable[[], Any]:
        import torch as framework

        def call() -> Any:
            with framework.no_grad():
                return torch(framework, *tensors)

        return call

    found = [Case(label, 0, lambda: arrays, forward, torch_forward)]
    if slopes:
        found.append(_with_gradients(label, ours, torch, arrays, slopes))
    return found


def _with_gradients(
    label: str, ours: Function, torch: Function, arrays: Arrays, slopes: Sequence[int]
) -> Case:
    """The gradient of the result is the result itself, which costs neither side anything."""

    def both(*values: Any) -> Sequence[Any]:
        from bigmodel_core import ops
        from bigmodel_core.graph.autodiff import pulled_back

        made = ours(ops, *values)
        made = made[0] if isinstance(made, tuple) else made
        return [made, *pulled_back([made], [made], [values[place] for place in slopes])]

    def torch_both(*tensors: Any) -> Callable[[], Any]:
        import torch as framework

        wanted = [tensors[place].requires_grad_() for place in slopes]

        def call() -> Any:
            made = torch(framework, *tensors)
            made = made[0] if isinstance(made, tuple) else made
            return framework.autograd.grad(made, wanted, made.detach())

        return call

    return Case(f"{label}, with gradient", 0, lambda: arrays, both, torch_both)


def picking(rows: int, columns: int, width: int) -> list[Case]:
    """Elements at computed places."""
    x, few = normal(rows, columns), whole(columns, rows, width)
    places = np.stack([whole(rows, 4 * rows), whole(columns, 4 * rows)], 1)
    name = f"of {rows}x{columns}"
    updates = normal(rows, width)
    return [
        *compared(
            f"gather {name}, axis 1",
            lambda ops, x, i: ops.gather(x, i, 1),
            lambda torch, x, i: x.index_select(1, i),
            *(x, few[0]),
            slopes=(0,),
        ),
        *compared(
            f"take_along_axis {name}, {width} each",
            lambda ops, x, i: ops.take_along_axis(x, i, 1),
            lambda torch, x, i: x.gather(1, i),
            *(x, few),
            slopes=(0,),
        ),
        *compared(
            f"gather_nd {name}, {4 * rows} numbers",
            lambda ops, x, i: ops.gather_nd(x, i),
            lambda torch, x, i: x[i[:, 0], i[:, 1]],
            *(x, places),
            slopes=(0,),
        ),
        *compared(
            f"scatter {name}, adding {width} each",
            lambda ops, x, i, u: ops.scatter(x, i, u, 1, "add"),
            lambda torch, x, i, u: x.scatter_add(1, i, u),
            *(x, few, updates),
            slopes=(0, 2),
        ),
        *compared(
            f"one_hot of {rows}, depth {columns}",
            lambda ops, i: ops.one_hot(i, columns),
            lambda torch, i: torch.nn.functional.one_hot(i, columns).float(),
            few[:, 0],
        ),
    ]


def order(rows: int, columns: int, k: int) -> list[Case]:
    """Sorting along the last axis."""
    x, name = normal(rows, columns), f"{rows}x{columns}"
    return [
        *compared(f"sort {name}", lambda ops, x: ops.sort(x), lambda torch, x: x.sort()[0], x, slopes=(0,)),
        *compared(
            f"argsort {name}", lambda ops, x: ops.argsort(x), lambda torch, x: x.argsort(stable=True), x
        ),
        *compared(f"argmin {name}", lambda ops, x: ops.argmin(x, 1), lambda torch, x: x.argmin(1), x),
        *compared(
            f"top_k {name}, k = {k}",
            lambda ops, x: ops.top_k(x, k),
            lambda torch, x: tuple(x.topk(k)),
            x,
            slopes=(0,),
        ),
    ]


def sums(rows: int, columns: int) -> list[Case]:
    """Sums of many kinds, along either axis."""
    x, name = normal(rows, columns), f"{rows}x{columns}"
    found = []
    for axis in (1, 0):
        place = f"{name}, axis {axis}"
        found += [
            *compared(
                f"cumsum {place}",
                lambda ops, x, axis=axis: ops.cumsum(x, axis),
                lambda torch, x, axis=axis: x.cumsum(axis),
                x,
                slopes=(0,),
            ),
            *compared(
                f"logsumexp {place}",
                lambda ops, x, axis=axis: ops.logsumexp(x, axis),
                lambda torch, x, axis=axis: x.logsumexp(axis),
                x,
                slopes=(0,),
            ),
            *compared(
                f"var {place}",
                lambda ops, x, axis=axis: ops.var(x, axis),
                lambda torch, x, axis=axis: x.var(axis, correction=0),
                x,
                slopes=(0,),
            ),
            *compared(
                f"norm {place}",
                lambda ops, x, axis=axis: ops.norm(x, axis=axis),
                lambda torch, x, axis=axis: x.norm(dim=axis),
                x,
                slopes=(0,),
            ),
            *compared(
                f"prod {place}",
                lambda ops, x, axis=axis: ops.prod(x, axis),
                lambda torch, x, axis=axis: x.prod(axis),
                *(np.exp(x / 50),),
                slopes=(0,),
            ),
            *compared(
                f"any {place}",
                lambda ops, x, axis=axis: ops.any(x, axis),
                lambda torch, x, axis=axis: x.any(axis),
                x > 9,
            ),
        ]
    return found


def products(heads: int, steps: int, width: int) -> list[Case]:
    """einsum: products of matrices in other orders, and one of three operands."""
    q, k = normal(4, steps, heads, width), normal(4, steps, heads, width, seed=1)
    rows, columns = normal(512, 256), normal(512, 256, seed=1)
    found = []
    for text, arrays in (("bqhd,bkhd->bhqk", (q, k)), ("ij,ij->i", (rows, columns)), ("bqhd->bhd", (q,))):
        found += compared(
            f"einsum {text}, {'x'.join(map(str, arrays[0].shape))}",
            lambda ops, *x, text=text: ops.einsum(text, *x),
            lambda torch, *x, text=text: torch.einsum(text, *x),
            *arrays,
            slopes=range(len(arrays)),
        )
    return found


def moving(rows: int, columns: int, image: tuple[int, ...]) -> list[Case]:
    """Numbers that are only moved."""
    x, name, images = normal(rows, columns), f"{rows}x{columns}", normal(*image)
    pads = f"pad {'x'.join(map(str, image))} by 2"
    borders = ((0, 0), (0, 0), (2, 2), (2, 2))
    return [
        *(
            case
            for mode, theirs in (("constant", "constant"), ("reflect", "reflect"), ("edge", "replicate"))
            for case in compared(
                f"{pads}, {mode}",
                lambda ops, x, mode=mode: ops.pad(x, borders, mode),
                lambda torch, x, mode=theirs: torch.nn.functional.pad(x, (2, 2, 2, 2), mode),
                images,
                slopes=(0,),
            )
        ),
        *compared(
            f"stack {name}, axis 1",
            lambda ops, x, y: ops.stack([x, y], 1),
            lambda torch, x, y: torch.stack([x, y], 1),
            *(x, x + 1),
            slopes=(0, 1),
        ),
        *compared(
            f"roll {name}", lambda ops, x: ops.roll(x, 7, 1), lambda torch, x: x.roll(7, 1), x, slopes=(0,)
        ),
        *compared(f"flip {name}", lambda ops, x: ops.flip(x, 1), lambda torch, x: x.flip(1), x, slopes=(0,)),
        *compared(
            f"tile {name}, 2x3",
            lambda ops, x: ops.tile(x, (2, 3)),
            lambda torch, x: x.tile(2, 3),
            x,
            slopes=(0,),
        ),
        *compared(f"triu {name}", lambda ops, x: ops.triu(x), lambda torch, x: x.triu(), x, slopes=(0,)),
    ]


def scaling(image: tuple[int, ...], size: int) -> list[Case]:
    """Images in another size."""
    x, name = normal(*image), "x".join(map(str, image))
    return [
        case
        for method in ("nearest", "bilinear", "bicubic")
        for case in compared(
            f"resize {name} to {size}, {method}",
            lambda ops, x, method=method: ops.resize(x, size, method),
            lambda torch, x, method=method: torch.nn.functional.interpolate(x, (size, size), mode=method),
            x,
            slopes=(0,),
        )
    ]


def functions(count: int) -> list[Case]:
    """Functions of each number."""
    x = normal(count)
    return [
        case
        for name, array in (
            ("erf", x),
            ("expm1", x),
            ("log1p", np.abs(x)),
            ("log", np.abs(x)),
            ("cos", 9 * x),
        )
        for case in compared(
            f"{name} of {count}",
            lambda ops, x, name=name: getattr(ops, name)(x),
            lambda torch, x, name=name: getattr(torch, name)(x),
            array,
            slopes=(0,),
        )
    ]


def noise(count: int) -> list[Case]:
    """Random numbers, which differ between the two."""
    return [
        *compared(
            f"uniform {count}",
            lambda ops, x: ops.uniform(x.shape) + x,
            lambda torch, x: torch.rand(x.shape[0]) + x,
            normal(count),
        ),
        *compared(
            f"normal {count}",
            lambda ops, x: ops.normal(x.shape) + x,
            lambda torch, x: torch.randn(x.shape[0]) + x,
            normal(count),
        ),
    ]


def normalisation(rows: int, columns: int, image: tuple[int, ...]) -> list[Case]:
    """By the root mean square of a row, and among neighbouring channels."""
    return [
        *compared(
            f"rms_norm {rows}x{columns}",
            lambda ops, x, scale: ops.rms_norm(x, scale),
            lambda torch, x, scale: torch.nn.functional.rms_norm(x, (columns,), scale, 1e-6),
            *(normal(rows, columns), normal(columns)),
            slopes=(0, 1),
        ),
        *compared(
            f"local_response_norm {'x'.join(map(str, image))}",
            lambda ops, x: ops.local_response_norm(x, 5),
            lambda torch, x: torch.nn.functional.local_response_norm(x, 5),
            normal(*image),
            slopes=(0,),
        ),
    ]


def alignments(samples: int, steps: int, classes: int, labels: int) -> list[Case]:
    """The loss of connectionist temporal classification."""
    lengths = np.full(samples, steps), np.full(samples, labels)

    def torch_loss(torch: Any, x: Any, targets: Any, steps: Any, labels: Any) -> Any:
        chances = x.log_softmax(-1).transpose(0, 1)
        return torch.nn.functional.ctc_loss(chances, targets, steps, labels, reduction="none")

    return compared(
        f"ctc_loss {samples}x{steps}x{classes}, {labels} labels",
        lambda ops, *operands: ops.ctc_loss(*operands),
        torch_loss,
        *(normal(samples, steps, classes), whole(classes - 1, samples, labels) + 1, *lengths),
        slopes=(0,),
    )
