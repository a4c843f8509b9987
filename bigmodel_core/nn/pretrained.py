"""What a class of models says of the published weights that it can take, and what is what in their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.graph.spec import Spec


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


IGNORED = _keys(
    "_name_or_path _num_labels _attn_implementation architectures auto_map bad_words_ids "
    "begin_suppress_tokens bos_token_id chunk_size_feed_forward classifier_dropout "
    "cross_attention_hidden_size decoder_start_token_id diversity_penalty do_sample dtype "
    "early_stopping encoder_no_repeat_ngram_size eos_token_id eos_token_ids "
    "exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id "
    "gradient_checkpointing id2label initializer_range is_encoder_decoder "
    "keys_to_ignore_at_inference label2id language length_penalty max_length min_length model_type "
    "name no_repeat_ngram_size num_beam_groups num_beams num_labels num_return_sequences "
    "output_attentions output_hidden_states output_past output_scores pad_token_id prefix "
    "problem_type pruned_heads remove_invalid_values repetition_penalty return_dict "
    "return_dict_in_generate sep_token_id suppress_tokens task_specific_params temperature "
    "tf_legacy_loss tie_encoder_decoder tokenizer_class top_k top_p torch_dtype torchscript "
    "transformers_version typical_p use_bfloat16 use_cache"
)
"""Keys of `config.json` that change no number that a model computes of its inputs."""


@dataclass(frozen=True)
class Weight:
    """An array of a file, and the parameter that it is.

    Args:
        path: the parameter's, in our model.
        name: the array's, in the file.
        transposed: whether the file has (out, in) where we have (in, out).
        part: (i, n) if the parameter is the i-th of n equal parts along the array's last axis.
        shape: of the array, if it has more axes than the parameter, with -1 for what any size may be.
    """

    path: str
    name: str
    transposed: bool = False
    part: tuple[int, int] | None = None
    shape: tuple[int, ...] | None = None

    def taken(self, array: np.ndarray) -> np.ndarray:
        """The parameter, of the array in the file; an array that cannot be it as it is."""
        if self.part is not None and array.shape and array.shape[-1] % self.part[1] == 0:
            array = np.split(array, self.part[1], -1)[self.part[0]]
        if self.shape is not None:
            if len(self.shape) != array.ndim or any(
                size not in (-1, own) for size, own in zip(self.shape, array.shape, strict=True)
            ):
                return array
            ones = tuple(axis for axis, size in enumerate(self.shape) if size == 1)
            array = array.reshape(len(array), -1) if self.transposed else array.squeeze(ones)
        return array.T if self.transposed else array

    def written(self, parameter: np.ndarray) -> np.ndarray:
        """The array for the file, or the part of it, of the parameter."""
        array = parameter.T if self.transposed else parameter
        return array if self.shape is None else array.reshape(self.shape)


Config = Mapping[str, Any]


@dataclass(frozen=True)
class Pretrained:
    """The published weights that a model class can take, for its attribute `pretrained`.

    Args:
        kind: what their `config.json` calls the family: its `model_type`.
        architectures: which of the family's `architectures` the class computes.
        fields: makes the fields of the class from a configuration.
        config: makes a configuration from a model of the class.
        weights: the arrays of the file for a model of the class.
        read: the keys of the configuration that `fields` reads.
        fixed: keys that must have a value, if they are there, since the class computes nothing else.
        prefixes: what names in files may begin with, besides what `weights` says.
        unused: patterns of arrays that files may have and nothing needs.
        new: patterns of parameters, by our paths, that a file may lack where the class is asked for by name:
            those of a head.
        vocabulary: the file with the vocabulary of its tokenizer where there is no `tokenizer.json`:
            "vocab.txt" or "vocab.json".
        inputs: the inputs that a model of a configuration is built for; by default those it is designed for.
    """

    kind: str
    architectures: tuple[str, ...]
    fields: Callable[[Config], dict[str, Any]]
    config: Callable[[Any], dict[str, Any]]
    weights: Callable[[Any], Sequence[Weight]]
    read: frozenset[str]
    fixed: Mapping[str, Any]
    prefixes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    vocabulary: str | None = None
    inputs: Callable[[Any, Config], tuple[Spec, ...]] = lambda model, config: model._input_specs()
