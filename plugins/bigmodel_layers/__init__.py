"""The layers that come with bigmodel."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_layers.activations import (
    Elu,
    Gelu,
    LeakyRelu,
    LogSoftmax,
    Relu,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from bigmodel_layers.attention import MultiHeadAttention
from bigmodel_layers.channel_normalization import BatchNorm, GroupNorm, InstanceNorm
from bigmodel_layers.convolution import Conv1d, Conv2d, ConvTranspose2d
from bigmodel_layers.dense import Dense
from bigmodel_layers.dropout import Dropout
from bigmodel_layers.embedding import Embedding, TiedDense
from bigmodel_layers.feed_forward import FeedForward, SwiGlu
from bigmodel_layers.frozen import Frozen
from bigmodel_layers.lora import LoRA
from bigmodel_layers.normalization import LayerNorm, RmsNorm
from bigmodel_layers.patches import PatchEmbedding
from bigmodel_layers.pooling import (
    AdaptiveAveragePool2d,
    AveragePool1d,
    AveragePool2d,
    GlobalAveragePool,
    MaxPool1d,
    MaxPool2d,
    Resize,
    Upsample2d,
    ZeroPad2d,
)
from bigmodel_layers.positions import PositionalEmbedding, RotaryEmbedding, SinusoidalPositions, TokenSteps
from bigmodel_layers.recompute import Recompute
from bigmodel_layers.recurrent import GRU, LSTM, RNN
from bigmodel_layers.shape import Flatten, Reshape
from bigmodel_layers.transformer import TransformerBlock
from bigmodel_layers.volumes import AveragePool3d, Conv3d, ConvTranspose3d, MaxPool3d

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "AdaptiveAveragePool2d",
    "AveragePool1d",
    "AveragePool2d",
    "AveragePool3d",
    "BatchNorm",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Dense",
    "Dropout",
    "Elu",
    "Embedding",
    "FeedForward",
    "Flatten",
    "Frozen",
    "Gelu",
    "GlobalAveragePool",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LeakyRelu",
    "LoRA",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MultiHeadAttention",
    "PatchEmbedding",
    "PositionalEmbedding",
    "Recompute",
    "Relu",
    "Reshape",
    "Resize",
    "RmsNorm",
    "RotaryEmbedding",
    "Sigmoid",
    "Silu",
    "SinusoidalPositions",
    "Softmax",
    "Softplus",
    "Softsign",
    "SwiGlu",
    "Tanh",
    "TiedDense",
    "TokenSteps",
    "TransformerBlock",
    "Upsample2d",
    "ZeroPad2d",
]


@bm.hookimpl
def bigmodel_layers() -> list[type[bm.Layer]]:
    """The layers of this package."""
    return [
        Dense,
        Relu,
        LeakyRelu,
        Elu,
        Sigmoid,
        Tanh,
        Gelu,
        Silu,
        Softplus,
        Softsign,
        Softmax,
        LogSoftmax,
        Dropout,
        Frozen,
        Recompute,
        LoRA,
        LayerNorm,
        RmsNorm,
        Flatten,
        Reshape,
        Resize,
        Embedding,
        TiedDense,
        TokenSteps,
        PatchEmbedding,
        PositionalEmbedding,
        SinusoidalPositions,
        RotaryEmbedding,
        MultiHeadAttention,
        FeedForward,
        SwiGlu,
        TransformerBlock,
        RNN,
        LSTM,
        GRU,
        Conv1d,
        Conv2d,
        Conv3d,
        ConvTranspose2d,
        ConvTranspose3d,
        MaxPool1d,
        MaxPool2d,
        MaxPool3d,
        AveragePool1d,
        AveragePool2d,
        AveragePool3d,
        GlobalAveragePool,
        AdaptiveAveragePool2d,
        BatchNorm,
        GroupNorm,
        InstanceNorm,
        ZeroPad2d,
        Upsample2d,
    ]
