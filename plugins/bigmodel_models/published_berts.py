"""The published weights of BERT, DistilBERT, RoBERTa and ALBERT as parameters of the models of `bert`."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_models.published_encoders import Encoder

_DENSE = {"output": "classifier"}
_SPANS = {"output": "qa_outputs"}
_KEYS = {
    "vocabulary": "vocab_size",
    "context": "max_position_embeddings",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "width": "hidden_size",
    "hidden": "intermediate_size",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "epsilon": "layer_norm_eps",
    "segments": "type_vocab_size",
}
_USUAL = {"activation": "gelu", "dropout": 0.1, "epsilon": 1e-12, "segments": 2}
_BERT_BLOCK = {
    "attention/query": "attention.self.query",
    "attention/key": "attention.self.key",
    "attention/value": "attention.self.value",
    "attention/output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward/up": "intermediate.dense",
    "feed_forward/down": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
_MORE = "attention_probs_dropout_prob tie_word_embeddings"

_BERT_MASKED = {
    "transform": "cls.predictions.transform.dense",
    "transform_norm": "cls.predictions.transform.LayerNorm",
    "masked/bias": "cls.predictions.bias",
}
_BERT_POOLER = {"pooler": "bert.pooler.dense"}
BERT = Encoder(
    kind="bert",
    title="Bert",
    vocabulary="vocab.txt",
    block=_BERT_BLOCK,
    place="encoder.layer.{}",
    heads={
        "encoder": {},
        "masked": _BERT_MASKED,
        "pairs": {**_BERT_MASKED, **_BERT_POOLER, "next": "cls.seq_relationship"},
        "classifier": {**_BERT_POOLER, **_DENSE},
        "tagger": _DENSE,
        "spans": _SPANS,
    },
    keys=_KEYS,
    usual=_USUAL,
    more=_MORE + " directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers"
    " pooler_size_per_head pooler_type",
)
ROBERTA = Encoder(
    kind="roberta",
    title="Roberta",
    vocabulary="vocab.json",
    block=_BERT_BLOCK,
    place="encoder.layer.{}",
    heads={
        "encoder": {},
        "masked": {
            "transform": "lm_head.dense",
            "transform_norm": "lm_head.layer_norm",
            "masked/bias": "lm_head.bias",
        },
        "classifier": {"pooler": "classifier.dense", "output": "classifier.out_proj"},
        "tagger": _DENSE,
        "spans": _SPANS,
    },
    keys=_KEYS,
    usual=_USUAL,
    fixed={"hidden_act": "gelu"},  # the head of masked tokens has it whatever the blocks have
    more=_MORE,
)
_ALBERT_MASKED = {
    "transform": "predictions.dense",
    "transform_norm": "predictions.LayerNorm",
    "masked/bias": "predictions.bias",
}
_ALBERT_POOLER = {"pooler": "albert.pooler"}
ALBERT = Encoder(
    kind="albert",
    title="Albert",
    block={
        "attention/query": "attention.query",
        "attention/key": "attention.key",
        "attention/value": "attention.value",
        "attention/output": "attention.dense",
        "attention_norm": "attention.LayerNorm",
        "feed_forward/up": "ffn",
        "feed_forward/down": "ffn_output",
        "feed_forward_norm": "full_layer_layer_norm",
    },
    place="encoder.albert_layer_groups.{}.albert_layers.0",
    heads={
        "encoder": {},
        "masked": _ALBERT_MASKED,
        "pairs": {**_ALBERT_MASKED, **_ALBERT_POOLER, "next": "sop_classifier.classifier"},
        "classifier": {**_ALBERT_POOLER, **_DENSE},
        "tagger": _DENSE,
        "spans": _SPANS,
    },
    keys={**_KEYS, "embedding_width": "embedding_size", "groups": "num_hidden_groups"},
    usual={**_USUAL, "activation": "gelu_new", "dropout": 0.0, "embedding_width": 128, "groups": 1},
    fixed={"inner_group_num": 1},
    more=_MORE + " classifier_dropout_prob down_scale_factor gap_size net_structure_type num_memory_blocks",
)
DISTILBERT = Encoder(
    kind="distilbert",
    title="DistilBert",
    vocabulary="vocab.txt",
    block={
        "attention/query": "attention.q_lin",
        "attention/key": "attention.k_lin",
        "attention/value": "attention.v_lin",
        "attention/output": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "feed_forward/up": "ffn.lin1",
        "feed_forward/down": "ffn.lin2",
        "feed_forward_norm": "output_layer_norm",
    },
    place="transformer.layer.{}",
    heads={
        "encoder": {},
        "masked": {
            "transform": "vocab_transform",
            "transform_norm": "vocab_layer_norm",
            "masked/bias": "vocab_projector.bias",
        },
        "classifier": {"pooler": "pre_classifier", **_DENSE},
        "tagger": _DENSE,
        "spans": _SPANS,
    },
    keys={
        "vocabulary": "vocab_size",
        "context": "max_position_embeddings",
        "layers": "n_layers",
        "heads": "n_heads",
        "width": "dim",
        "hidden": "hidden_dim",
        "activation": "activation",
        "dropout": "dropout",
    },
    usual={"activation": "gelu", "dropout": 0.1, "epsilon": 1e-12, "segments": 0, "pooling": "relu"},
    more="attention_dropout qa_dropout seq_classif_dropout sinusoidal_pos_embds tie_weights_"
    " tie_word_embeddings",
)
_ENDINGS = {
    "encoder": "Model",
    "pairs": "ForPreTraining",
    "masked": "ForMaskedLM",
    "classifier": "ForSequenceClassification",
    "tagger": "ForTokenClassification",
    "spans": "ForQuestionAnswering",
}
"""What the names of architectures with a head end with."""


def families(*heads: str) -> tuple[bm.Pretrained, ...]:
    """What a class of models with one of these heads can take."""
    return tuple(
        family.pretrained(head, family.title + _ENDINGS[head])
        for head in heads
        for family in (BERT, ROBERTA, ALBERT, DISTILBERT)
        if head in family.heads
    )
