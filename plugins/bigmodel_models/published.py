"""The published weights of GPT-2 and Llama as parameters of `gpt` and `llama`, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError

Config = Mapping[str, Any]

GELUS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
"""Activations by their names in configurations."""


def keys_of(text: str) -> frozenset[str]:
    """Words of a text."""
    return frozenset(text.split())


def activation(name: Any) -> str:
    """Our name of an activation of a configuration.

    Raises:
        ConfigError: there is none.
    """
    if name not in GELUS:
        raise ConfigError(
            f"the activation is {name!r}, expected one of {', '.join(GELUS)}.", where="config.json"
        )
    return GELUS[name]


def _of_layers(model: Any, block: str, rows: list[bm.Weight]) -> list[bm.Weight]:
    """Rows of one block for all blocks: {n} in a name is the block's number from 0."""
    return [
        bm.Weight(f"block_{number + 1}/{row.path}", f"{block}{number}.{row.name}", row.transposed, row.part)
        for number in range(model.layers)
        for row in rows
    ]


# GPT-2 ----------------------------------------------------------------------------------------------------


def _gpt2_fields(config: Config) -> dict[str, Any]:
    return {
        "vocabulary": config["vocab_size"],
        "context": config["n_positions"],
        "layers": config["n_layer"],
        "heads": config["n_head"],
        "width": config["n_embd"],
        "hidden": config.get("n_inner"),
        "activation": activation(config.get("activation_function", "gelu_new")),
        "epsilon": config.get("layer_norm_epsilon", 1e-5),
        "dropout": config.get("resid_pdrop", 0.1),
        "tied": config.get("tie_word_embeddings", True),
    }


def _gpt2_config(model: Any) -> dict[str, Any]:
    return {
        "vocab_size": model.vocabulary,
        "n_positions": model.context,
        "n_layer": model.layers,
        "n_head": model.heads,
        "n_embd": model.width,
        "n_inner": model.hidden,
        "activation_function": next(name for name, ours in GELUS.items() if ours == model.activation),
        "layer_norm_epsilon": model.epsilon,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), model.dropout),
        "tie_word_embeddings": model.tied,
    }


def _gpt2_weights(model: Any) -> list[bm.Weight]:
    """GPT-2's products are (in, out), as ours; queries, keys and values are one."""
    own = "transformer."
    rows = [
        bm.Weight(f"attention/{part}/{ours}", f"attn.c_attn.{ours}", part=(number, 3))
        for number, part in enumerate(("query", "key", "value"))
        for ours in ("weight", "bias")
    ]
    for ours, name in (
        ("attention/output", "attn.c_proj"),
        ("feed_forward/up", "mlp.c_fc"),
        ("feed_forward/down", "mlp.c_proj"),
    ):
        rows += [bm.Weight(f"{ours}/{kind}", f"{name}.{kind}") for kind in ("weight", "bias")]
    for ours, name in (("attention_norm", "ln_1"), ("feed_forward_norm", "ln_2")):
        rows += [bm.Weight(f"{ours}/scale", f"{name}.weight"), bm.Weight(f"{ours}/shift", f"{name}.bias")]
    return [
        bm.Weight("embedding/weight", f"{own}wte.weight"),
        bm.Weight("position/weight", f"{own}wpe.weight"),
        *_of_layers(model, f"{own}h.", rows),
        bm.Weight("norm/scale", f"{own}ln_f.weight"),
        bm.Weight("norm/shift", f"{own}ln_f.bias"),
        *([] if model.tied else [bm.Weight("output/weight", "lm_head.weight", transposed=True)]),
    ]


GPT2 = bm.Pretrained(
    kind="gpt2",
    architectures=("GPT2LMHeadModel", "GPT2Model"),
    fields=_gpt2_fields,
    config=_gpt2_config,
    weights=_gpt2_weights,
    read=keys_of(
        "vocab_size n_positions n_ctx n_layer n_head n_embd n_inner activation_function "
        "layer_norm_epsilon resid_pdrop embd_pdrop attn_pdrop tie_word_embeddings summary_activation "
        "summary_first_dropout summary_proj_to_labels summary_type summary_use_proj"
    ),
    fixed={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
    },
    prefixes=("transformer.",),
    vocabulary="vocab.json",
    unused=("*.attn.bias", "*.attn.masked_bias", "lm_head.weight"),
)


# Llama ----------------------------------------------------------------------------------------------------


def _rope(config: Config) -> Config:
    """How positions turn pairs, where newer and older configurations say it."""
    found = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    found.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    found["rope_type"] = found.get("rope_type", found.pop("type", "default"))
    return found


def frequencies(rope: Config, width: int) -> tuple[float, ...] | None:
    """The frequencies of pairs, where they are not those of the base: Llama 3.1 slows down those that turn
    less than once in the texts it was first trained on, and linear scaling all.

    Args:
        rope: `rope_parameters` of a configuration.
        width: of a head.

    Raises:
        ConfigError: they are scaled in another way.
    """
    kind, base = rope["rope_type"], rope["rope_theta"]
    plain = [base ** (-2 * pair / width) for pair in range(width // 2)]
    if kind == "default":
        return None
    if kind == "linear":
        return tuple(speed / rope["factor"] for speed in plain)
    if kind != "llama3":
        raise ConfigError(
            f"positions are scaled by {kind!r}, expected 'default', 'linear' or 'llama3'.",
            where="config.json",
        )
    factor, steps = rope["factor"], rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    found = []
    for speed in plain:
        turns = steps * speed / (2 * math.pi)
        share = min(max((turns - low) / (high - low), 0.0), 1.0)
        found.append(share * speed + (1 - share) * speed / factor)
    return tuple(found)


def _llama_fields(config: Config) -> dict[str, Any]:
    heads, width = config["num_attention_heads"], config["hidden_size"]
    head = config.get("head_dim") or width // heads
    rope = _rope(config)
    return {
        "vocabulary": config["vocab_size"],
        "context": config.get("max_position_embeddings", 2048),
        "layers": config["num_hidden_layers"],
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads,
        "width": width,
        "hidden": config["intermediate_size"],
        "head_width": head,
        "rotary": float(rope["rope_theta"]),
        "frequencies": frequencies(rope, head),
        "epsilon": config.get("rms_norm_eps", 1e-6),
        "tied": config.get("tie_word_embeddings", False),
    }


def _llama_config(model: Any) -> dict[str, Any]:
    if model.frequencies is not None:
        raise ConfigError(
            "the frequencies of positions are scaled, and the model keeps no word of how.",
            where="to_pretrained",
            fix="write models without `frequencies`.",
        )
    return {
        "vocab_size": model.vocabulary,
        "max_position_embeddings": model.context,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "hidden_size": model.width,
        "intermediate_size": model.hidden,
        "head_dim": model.head_width or model.width // model.heads,
        "rope_theta": model.rotary,
        "rms_norm_eps": model.epsilon,
        "tie_word_embeddings": model.tied,
        "hidden_act": "silu",
    }


def _llama_weights(model: Any) -> list[bm.Weight]:
    parts = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
    rows = [
        bm.Weight(f"attention/{ours}/weight", f"self_attn.{name}.weight", transposed=True)
        for ours, name in parts.items()
    ]
    rows += [
        bm.Weight(f"feed_forward/{part}/weight", f"mlp.{part}_proj.weight", transposed=True)
        for part in ("gate", "up", "down")
    ]
    rows += [
        bm.Weight("attention_norm/scale", "input_layernorm.weight"),
        bm.Weight("feed_forward_norm/scale", "post_attention_layernorm.weight"),
    ]
    return [
        bm.Weight("embedding/weight", "model.embed_tokens.weight"),
        *_of_layers(model, "model.layers.", rows),
        bm.Weight("norm/scale", "model.norm.weight"),
        *([] if model.tied else [bm.Weight("output/weight", "lm_head.weight", transposed=True)]),
    ]


LLAMA = bm.Pretrained(
    kind="llama",
    architectures=("LlamaForCausalLM",),
    fields=_llama_fields,
    config=_llama_config,
    weights=_llama_weights,
    read=keys_of(
        "vocab_size max_position_embeddings num_hidden_layers num_attention_heads num_key_value_heads "
        "hidden_size intermediate_size head_dim rope_theta rope_scaling rope_parameters rms_norm_eps "
        "tie_word_embeddings attention_dropout pretraining_tp"
    ),
    fixed={"hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
    prefixes=("model.",),
    unused=("*.rotary_emb.inv_freq", "lm_head.weight"),
)
