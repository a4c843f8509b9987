"""How a family of encoders calls the parameters and fields that ours have.

A model has one head: "pairs" (of pre-training), "masked", "classifier", "tagger", "spans"; or none,
"encoder".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import bigmodel_core as bm
from bigmodel_models.published import GELUS, Config, activation, keys_of

Names = Mapping[str, str]
"""Parts of a model, or parameters of it, and what they are called in files."""

_NEW = ("output/*", "pooler/*", "transform/*", "transform_norm/*", "masked/*", "next/*")
"""Parameters of heads: what a model has that begins with another head's weights."""
_UNUSED = (
    *("*position_ids", "cls.*", "lm_head.*", "predictions.*", "vocab_*", "*classifier.*", "*pooler.*"),
    "qa_outputs.*",
)
_PLAIN = {"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"}


def rows(names: Names, start: str = "", to: str = "") -> list[bm.Weight]:
    """The arrays of dense layers, of normalisations (parts whose names end so) and of single parameters.

    Args:
        names: of parts, or of parameters: those with "/weight" or "/bias".
        start: what comes before their names in the file.
        to: what comes before their paths.
    """
    found = []
    for ours, theirs in names.items():
        path, name = f"{to}{ours}", f"{start}{theirs}"
        if ours.endswith(("/weight", "/bias")):
            found.append(bm.Weight(path, name))
        elif ours.endswith("norm"):
            found += [
                bm.Weight(f"{path}/scale", f"{name}.weight"),
                bm.Weight(f"{path}/shift", f"{name}.bias"),
            ]
        else:
            found.append(bm.Weight(f"{path}/weight", f"{name}.weight", transposed=True))
            found.append(bm.Weight(f"{path}/bias", f"{name}.bias"))
    return found


def classes_in(config: Config) -> int:
    """How many classes a configuration tells apart."""
    return int(config.get("num_labels") or len(config.get("id2label") or (0, 1)))


@dataclass(frozen=True)
class Encoder:
    """A family of encoders: how its configurations and files call what ours have.

    Args:
        kind: its `model_type`.
        title: what the names of its architectures begin with.
        block: the parts of a block.
        place: of a block's parts, in which {} is its number from 0.
        heads: the parts of each head.
        keys: of the configuration, by our fields.
        usual: values of fields that a configuration may leave out, or that it has no key for.
        fixed: see `bm.Pretrained`.
        more: further keys that change no number.
        vocabulary: see `bm.Pretrained`.
    """

    kind: str
    title: str
    block: Names
    place: str
    heads: Mapping[str, Names]
    keys: Names
    usual: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    more: str = ""
    vocabulary: str | None = None

    def fields(self, config: Config) -> dict[str, Any]:
        """The fields of a model without those of a head."""
        found = dict(self.usual)
        for ours, theirs in self.keys.items():
            if config.get(theirs) is not None or ours not in found:
                found[ours] = config[theirs]
        found["activation"] = activation(found["activation"])
        if "segments" in self.keys:
            found["segments"] = max(1, found["segments"])
        if self.kind == "roberta":  # whose table of positions begins with rows that nothing uses
            found["first_position"] = config.get("pad_token_id", 1) + 1
            found["context"] -= found["first_position"]
        return found

    def config(self, model: Any) -> dict[str, Any]:
        """A configuration of a model."""
        found = {theirs: getattr(model, ours) for ours, theirs in self.keys.items()}
        found[self.keys["hidden"]] = model.hidden or 4 * model.width
        found[self.keys["activation"]] = next(
            name for name, ours in GELUS.items() if ours == model.activation
        )
        found["attention_dropout" if self.kind == "distilbert" else "attention_probs_dropout_prob"] = (
            model.dropout
        )
        if self.kind == "albert":
            found["num_hidden_groups"] = model.groups or model.layers
        if self.kind == "roberta":
            found["max_position_embeddings"] += model.first_position
            found["pad_token_id"] = model.first_position - 1
        return found

    def weights(self, model: Any, head: str) -> list[bm.Weight]:
        """The arrays of a model with a head."""
        start = f"{self.kind}."
        own = {"embedding/weight": "word_embeddings.weight", "position/weight": "position_embeddings.weight"}
        if model.segments:
            own["segment/weight"] = "token_type_embeddings.weight"
        found = rows({**own, "norm": "LayerNorm"}, f"{start}embeddings.")
        if model.embedding_width is not None:
            found += rows({"widening": f"{start}encoder.embedding_hidden_mapping_in"})
        for number in range(model.groups or model.layers):
            found += rows(self.block, f"{start}{self.place.format(number)}.", f"block_{number + 1}/")
        return found + rows(self.heads[head])

    def pretrained(self, head: str, architecture: str) -> bm.Pretrained:
        """What a class of models with a head says of the family."""
        of_head: dict[str, Any] = {"pairs": {"pairs": True}, "masked": {"pairs": False}}.get(head, {})
        takes_classes = head in ("classifier", "tagger")
        tied = {"tie_word_embeddings": True} if of_head else {}
        return bm.Pretrained(
            kind=self.kind,
            architectures=(architecture,),
            fields=lambda config: {
                **self.fields(config),
                **of_head,
                **({"classes": classes_in(config)} if takes_classes else {}),
            },
            config=self.config,
            weights=lambda model: self.weights(model, head),
            read=frozenset(self.keys.values()) | keys_of(self.more),
            fixed={**_PLAIN, **self.fixed, **tied},
            prefixes=(f"{self.kind}.",),
            unused=_UNUSED,
            new=_NEW,
            vocabulary=self.vocabulary,
        )
