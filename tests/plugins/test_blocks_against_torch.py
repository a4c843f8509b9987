"""Blocks of Transformers, and the Transformer of them, give what PyTorch's give, and the same gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm

WIDTH, HEADS, HIDDEN = 8, 2, 32
SOURCE = np.array([[1, 5, 3, 6, 2], [4, 2, 0, -1, -1]])
TARGET = np.array([[0, 3, 4, 1], [0, 2, 5, 3]])


def redrawn(torch: Any, module: Any) -> Any:
    """A module with numbers that no part of it starts with."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.4)
    return module


def block_state(theirs: dict[str, Any], name: str, ours: str) -> dict[str, Any]:
    """The arrays of an encoder's or decoder's layer of PyTorch, parameters or gradients, under our names."""
    found = {}
    norms = ["attention_norm", "feed_forward_norm"]
    attentions = {"self_attn": "attention"}
    if f"{name}multihead_attn.in_proj_weight" in theirs:
        norms.insert(1, "cross_attention_norm")
        attentions["multihead_attn"] = "cross_attention"
    for part, own in attentions.items():
        for kind in ("weight", "bias"):
            whole = theirs[f"{name}{part}.in_proj_{kind}"].reshape(3, WIDTH, -1)
            for place, piece in zip(("query", "key", "value"), whole, strict=True):
                found[f"{own}/{place}/{kind}"] = piece.T if kind == "weight" else piece.reshape(-1)
            last = theirs[f"{name}{part}.out_proj.{kind}"]
            found[f"{own}/output/{kind}"] = last.T if kind == "weight" else last
    for number, own in enumerate(("up", "down"), 1):
        found[f"feed_forward/{own}/weight"] = theirs[f"{name}linear{number}.weight"].T
        found[f"feed_forward/{own}/bias"] = theirs[f"{name}linear{number}.bias"]
    for number, own in enumerate(norms, 1):
        found[f"{own}/scale"] = theirs[f"{name}norm{number}.weight"]
        found[f"{own}/shift"] = theirs[f"{name}norm{number}.bias"]
    return {f"{ours}{path}": array.numpy() for path, array in found.items()}


@dataclass(frozen=True)
class Alone(bm.Layer):
    """A block between arrays: x, and what its masks are made of."""

    block: bm.Layer

    def __call__(self, x: Any, tokens: Any, memory: Any = None) -> Any:
        return (
            self.block(x, None, tokens >= 0) if memory is None else self.block(x, memory, None, tokens >= 0)
        )


@pytest.mark.parametrize("pre_norm", (False, True), ids=("norm behind", "norm before"))
@pytest.mark.parametrize("kind", ("encoder", "decoder"))
def test_a_block_and_its_gradients_equal_pytorchs(torch: Any, kind: str, pre_norm: bool) -> None:
    is_decoder = kind == "decoder"
    made = torch.nn.TransformerDecoderLayer if is_decoder else torch.nn.TransformerEncoderLayer
    theirs = redrawn(torch, made(WIDTH, HEADS, HIDDEN, 0.0, "gelu", batch_first=True, norm_first=pre_norm))
    ours = Alone(bm.layers.TransformerBlock(HEADS, pre_norm=pre_norm, causal=is_decoder))
    generator = np.random.default_rng(0)
    steps = TARGET.shape[1] if is_decoder else SOURCE.shape[1]
    x, y = generator.normal(size=(2, 2, steps, WIDTH)).astype("float32")
    memory = generator.normal(size=(*SOURCE.shape, WIDTH)).astype("float32")

    hidden, given = torch.from_numpy(SOURCE < 0), torch.from_numpy(x).requires_grad_()
    if is_decoder:
        later = torch.triu(torch.ones(steps, steps, dtype=torch.bool), 1)
        out = theirs(given, torch.from_numpy(memory), tgt_mask=later, memory_key_padding_mask=hidden)
    else:
        out = theirs(given, src_key_padding_mask=hidden)
    ((out - torch.from_numpy(y)) ** 2).mean().backward()

    inputs = (x, SOURCE, memory) if is_decoder else (x, SOURCE)
    ours(*inputs)
    ours.load_state(block_state(theirs.state_dict(), "", "block/"))
    np.testing.assert_allclose(ours(*inputs), out.detach().numpy(), rtol=1e-4, atol=1e-5)
    wanted = {"x": given.grad.numpy()} | block_state(
        {name: parameter.grad for name, parameter in theirs.named_parameters()}, "", "block/"
    )
    evaluate = bm.value_and_grad(ours, "mean_squared_error", training=True, wrt=list(wanted))
    _, found = evaluate(inputs, y)
    for path, array in wanted.items():
        np.testing.assert_allclose(found[path], array, rtol=1e-3, atol=1e-5, err_msg=path)


@pytest.mark.parametrize("pre_norm", (False, True), ids=("norm behind", "norm before"))
def test_the_transformer_equals_one_of_pytorchs_parts(torch: Any, pre_norm: bool) -> None:
    more = {"dropout": 0.0, "batch_first": True, "norm_first": pre_norm}
    nn = torch.nn

    def last() -> Any:
        return nn.LayerNorm(WIDTH) if pre_norm else None

    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, **more), 2, last(), enable_nested_tensor=False
    )
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(WIDTH, HEADS, HIDDEN, **more), 2, last())
    tables = {"encoder": nn.Embedding(7, WIDTH), "decoder": nn.Embedding(6, WIDTH)}
    for module in (encoder, decoder, *tables.values()):
        redrawn(torch, module)
    source, target = torch.from_numpy(SOURCE), torch.from_numpy(TARGET)

    def embedded(name: str, tokens: Any) -> Any:
        steps, pairs = np.arange(tokens.shape[1])[:, None], np.arange(WIDTH // 2)
        angles = steps / 10000 ** (2 * pairs / WIDTH)
        waves = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(len(steps), WIDTH)
        there = (tokens >= 0)[..., None]
        vectors = tables[name](tokens.clamp(min=0)) * there
        return vectors * math.sqrt(WIDTH) + torch.from_numpy(waves).float()

    with torch.no_grad():
        memory = encoder(embedded("encoder", source), src_key_padding_mask=source < 0)
        later = torch.triu(torch.ones(4, 4, dtype=torch.bool), 1)
        out = decoder(embedded("decoder", target), memory, tgt_mask=later, memory_key_padding_mask=source < 0)
        wanted = out @ tables["decoder"].weight.T
    state: dict[str, Any] = {}
    for name, module in (("encoder", encoder), ("decoder", decoder)):
        theirs = module.state_dict()
        state[f"{name}/embedding/weight"] = tables[name].weight.detach().numpy()
        for number in range(2):
            state |= block_state(theirs, f"layers.{number}.", f"{name}/block_{number + 1}/")
        if pre_norm:
            state[f"{name}/norm/scale"] = theirs["norm.weight"].numpy()
            state[f"{name}/norm/shift"] = theirs["norm.bias"].numpy()

    sizes = {"vocabulary": 7, "target_vocabulary": 6, "layers": 2, "heads": HEADS, "width": WIDTH}
    model = bm.models.build("transformer", **sizes, pre_norm=pre_norm)
    model.build(*model.input_spec())
    model.load_state(state)
    np.testing.assert_allclose(model(SOURCE, TARGET), wanted.numpy(), rtol=1e-4, atol=1e-4)
