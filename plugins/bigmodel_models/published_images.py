"""The published weights of vision Transformers as parameters of `vit`, and back."""

from __future__ import annotations

from typing import Any

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError
from bigmodel_models.published import GELUS, Config, activation, keys_of
from bigmodel_models.published_encoders import classes_in, rows

_BLOCK = {
    "attention/query": "attention.attention.query",
    "attention/key": "attention.attention.key",
    "attention/value": "attention.attention.value",
    "attention/output": "attention.output.dense",
    "attention_norm": "layernorm_before",
    "feed_forward/up": "intermediate.dense",
    "feed_forward/down": "output.dense",
    "feed_forward_norm": "layernorm_after",
}


def _fields(config: Config) -> dict[str, Any]:
    patch, image = config.get("patch_size", 16), config.get("image_size", 224)
    if not isinstance(patch, int):
        raise ConfigError(
            f"patches are {patch}, expected squares.", where="config.json", fix="use weights that have them."
        )
    return {
        "patch": patch,
        "image": (image, image) if isinstance(image, int) else tuple(image),
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "width": config["hidden_size"],
        "hidden": config["intermediate_size"],
        "activation": activation(config.get("hidden_act", "gelu")),
        "epsilon": config.get("layer_norm_eps", 1e-12),
        "dropout": config.get("hidden_dropout_prob", 0.0),
        "classes": classes_in(config),
    }


def _image(model: Any) -> tuple[int, int, int]:
    """The channels, height and width of the images whose positions a built model has learned."""
    channels, *size = model.network.inputs[0].shape[1:]
    return channels, *(model.image or size)


def _patch(model: Any) -> int:
    """The sides of the patches of a built model."""
    channels, _, _ = _image(model)
    numbers = model.network.parameters["embedding/projection/weight"].spec.shape[0]
    return round((numbers / channels) ** 0.5)


def _config(model: Any) -> dict[str, Any]:
    channels, height, width = _image(model)
    return {
        "patch_size": _patch(model),
        "image_size": height if height == width else [height, width],
        "num_channels": channels,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "hidden_size": model.width,
        "intermediate_size": model.hidden or 4 * model.width,
        "hidden_act": next(name for name, ours in GELUS.items() if ours == model.activation),
        "layer_norm_eps": model.epsilon,
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.dropout,
    }


def _weights(model: Any) -> list[bm.Weight]:
    patch, start = _patch(model), "vit.embeddings."
    projection = f"{start}patch_embeddings.projection"
    found = [
        bm.Weight("embedding/class_token", f"{start}cls_token", shape=(1, 1, -1)),
        bm.Weight("embedding/position", f"{start}position_embeddings", shape=(1, -1, model.width)),
        bm.Weight("embedding/projection/bias", f"{projection}.bias"),
        bm.Weight(
            "embedding/projection/weight",
            f"{projection}.weight",
            transposed=True,
            shape=(model.width, -1, patch, patch),
        ),
    ]
    for number in range(model.layers):
        found += rows(_BLOCK, f"vit.encoder.layer.{number}.", f"block_{number + 1}/")
    return found + rows({"norm": "vit.layernorm", "output": "classifier"})


def _inputs(model: Any, config: Config) -> tuple[bm.Spec, ...]:
    return (bm.Spec(("N", config.get("num_channels", 3), *model.image)),)


VIT = bm.Pretrained(
    kind="vit",
    architectures=("ViTForImageClassification",),
    fields=_fields,
    config=_config,
    weights=_weights,
    read=keys_of(
        "patch_size image_size num_channels num_hidden_layers num_attention_heads hidden_size "
        "intermediate_size hidden_act layer_norm_eps hidden_dropout_prob attention_probs_dropout_prob "
        "encoder_stride pooler_act pooler_output_size"
    ),
    fixed={"qkv_bias": True},
    prefixes=("vit.",),
    unused=("*pooler.*", "classifier.*"),
    new=("output/*",),
    inputs=_inputs,
)
