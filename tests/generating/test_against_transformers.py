"""Generation writes what Hugging Face's `generate` writes from the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {"vocabulary": 11, "context": 40, "layers": 2, "heads": 4, "width": 16}
STOP = 3
PROMPTS = np.random.default_rng(0).integers(4, 11, (16, 5))


def gpt2() -> tuple[Any, Any]:
    config = transformers.GPT2Config(
        vocab_size=11, n_positions=40, n_embd=16, n_layer=2, n_head=4, eos_token_id=STOP, pad_token_id=STOP
    )
    theirs = drawn(transformers.GPT2LMHeadModel(config))
    state = numbers(theirs)
    names = {"embedding/weight": "wte.weight", "position/weight": "wpe.weight", "norm": "ln_f"}
    for layer in range(2):
        ours, start = f"block_{layer + 1}", f"h.{layer}"
        names |= {f"{ours}/attention_norm": f"{start}.ln_1", f"{ours}/feed_forward_norm": f"{start}.ln_2"}
        names |= {f"{ours}/attention/output": f"{start}.attn.c_proj"}
        names |= {
            f"{ours}/feed_forward/up": f"{start}.mlp.c_fc",
            f"{ours}/feed_forward/down": f"{start}.mlp.c_proj",
        }
        for part in ("weight", "bias"):
            pieces = np.split(state[f"transformer.{start}.attn.c_attn.{part}"], 3, -1)
            for name, piece in zip(("query", "key", "value"), pieces, strict=True):
                state[f"transformer.{start}.{name}.{part}"] = piece
                names[f"{ours}/attention/{name}"] = f"{start}.{name}"
    found = {}
    for ours, their in names.items():
        if their.endswith(".weight"):
            found[ours] = state[f"transformer.{their}"]
            continue
        parts = ("scale", "shift") if "norm" in ours else ("weight", "bias")
        for own, other in zip(parts, ("weight", "bias"), strict=True):
            found[f"{ours}/{own}"] = state[f"transformer.{their}.{other}"]
    return theirs, loaded("gpt", SIZES, found)


def llama() -> tuple[Any, Any]:
    config = transformers.LlamaConfig(
        vocab_size=11,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=40,
        rms_norm_eps=1e-5,
        bos_token_id=1,
        eos_token_id=STOP,
        pad_token_id=STOP,
    )
    theirs = drawn(transformers.LlamaForCausalLM(config))
    state = numbers(theirs)
    found = {
        "embedding/weight": state["model.embed_tokens.weight"],
        "norm/scale": state["model.norm.weight"],
        "output/weight": state["lm_head.weight"].T,
    }
    for layer in range(2):
        ours, start = f"block_{layer + 1}", f"model.layers.{layer}"
        found[f"{ours}/attention_norm/scale"] = state[f"{start}.input_layernorm.weight"]
        found[f"{ours}/feed_forward_norm/scale"] = state[f"{start}.post_attention_layernorm.weight"]
        for own, other in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "o")):
            found[f"{ours}/attention/{own}/weight"] = state[f"{start}.self_attn.{other}_proj.weight"].T
        for name in ("gate", "up", "down"):
            found[f"{ours}/feed_forward/{name}/weight"] = state[f"{start}.mlp.{name}_proj.weight"].T
    return theirs, loaded("llama", {**SIZES, "kv_heads": 2, "hidden": 24}, found)


def drawn(model: Any) -> Any:
    """Parameters that are large enough that tokens differ, and the end comes now and then."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return model.eval()


def numbers(model: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def loaded(name: str, sizes: dict[str, int], state: dict[str, np.ndarray]) -> Any:
    model = bm.models.build(name, **sizes)
    network = model.build(model.input_spec())
    network.load_state(state)
    return network


@pytest.fixture(scope="module", params=[gpt2, llama], ids=["gpt2", "llama"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    found: tuple[Any, Any] = request.param()
    return found


def their_texts(model: Any, **options: Any) -> list[list[int]]:
    tokens = torch.tensor(PROMPTS)
    options = {"do_sample": False, "max_new_tokens": 20, **options}
    found = model.generate(tokens, attention_mask=torch.ones_like(tokens), **options)[:, PROMPTS.shape[1] :]
    return [row[: row.index(STOP)] if STOP in row else row for row in found.tolist()]


def our_texts(network: Any, strategy: bm.Strategy) -> list[list[int]]:
    found = bm.generate(network, PROMPTS, strategy, max_tokens=20, stop=[STOP])
    return [row.tolist() for row in found]


def test_scores_are_theirs(pair: tuple[Any, Any]) -> None:
    theirs, ours = pair
    with torch.no_grad():
        expected = theirs(torch.tensor(PROMPTS)).logits.numpy()
    np.testing.assert_allclose(ours(PROMPTS), expected, atol=1e-4)


def test_greedy_texts_are_theirs(pair: tuple[Any, Any]) -> None:
    theirs, ours = pair
    assert our_texts(ours, bm.strategies.Greedy()) == their_texts(theirs)


@pytest.mark.parametrize(("width", "penalty"), [(2, 1.0), (4, 0.0), (4, 1.0), (5, 2.0)])
def test_texts_of_beam_search_are_theirs(pair: tuple[Any, Any], width: int, penalty: float) -> None:
    theirs, ours = pair
    expected = their_texts(theirs, num_beams=width, length_penalty=penalty)
    assert any(len(text) < 20 for text in expected)  # some end
    assert our_texts(ours, bm.strategies.Beam(width, length_penalty=penalty)) == expected
