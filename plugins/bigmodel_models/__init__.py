"""The models that come with bigmodel."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_models.alexnet import Alexnet
from bigmodel_models.autoencoder import Autoencoder
from bigmodel_models.bert import Bert, BertClassifier, BertEncoder, BertSpans, BertTagger
from bigmodel_models.bigmodel_cnn import BigmodelCnn
from bigmodel_models.densenet import Densenet121
from bigmodel_models.forecasting import NBeats, Tcn
from bigmodel_models.ft_transformer import FtTransformer
from bigmodel_models.gpt import Gpt
from bigmodel_models.inception import Inception
from bigmodel_models.lenet import Lenet
from bigmodel_models.linear import LinearRegression, LinearSvm, LogisticRegression
from bigmodel_models.llama import Llama
from bigmodel_models.matrix_factorization import MatrixFactorization
from bigmodel_models.mlp import Mlp
from bigmodel_models.recurrent import (
    CharRnn,
    GruClassifier,
    LstmClassifier,
    RnnClassifier,
    RnnRegressor,
    TimeSeriesForecaster,
)
from bigmodel_models.resnet import Resnet18, Resnet20, Resnet50
from bigmodel_models.seq2seq import Seq2seqGru
from bigmodel_models.ssd import Ssd
from bigmodel_models.tabular_mlp import TabularMlp
from bigmodel_models.transformer import Transformer
from bigmodel_models.two_tower import TwoTower
from bigmodel_models.unet import Unet
from bigmodel_models.vgg import Vgg11, Vgg16
from bigmodel_models.vit import Vit
from bigmodel_models.wide_and_deep import WideAndDeep

__all__ = [
    "Alexnet",
    "Autoencoder",
    "Bert",
    "BertClassifier",
    "BertEncoder",
    "BertSpans",
    "BertTagger",
    "BigmodelCnn",
    "CharRnn",
    "Densenet121",
    "FtTransformer",
    "Gpt",
    "GruClassifier",
    "Inception",
    "Lenet",
    "LinearRegression",
    "LinearSvm",
    "Llama",
    "LogisticRegression",
    "LstmClassifier",
    "MatrixFactorization",
    "Mlp",
    "NBeats",
    "Resnet18",
    "Resnet20",
    "Resnet50",
    "RnnClassifier",
    "RnnRegressor",
    "Seq2seqGru",
    "Ssd",
    "TabularMlp",
    "Tcn",
    "TimeSeriesForecaster",
    "Transformer",
    "TwoTower",
    "Unet",
    "Vgg11",
    "Vgg16",
    "Vit",
    "WideAndDeep",
]


@bm.hookimpl
def bigmodel_models() -> list[type[bm.Model]]:
    """The models of this package."""
    return [
        LinearRegression,
        LogisticRegression,
        LinearSvm,
        Mlp,
        TabularMlp,
        WideAndDeep,
        FtTransformer,
        Autoencoder,
        MatrixFactorization,
        TwoTower,
        Lenet,
        RnnRegressor,
        RnnClassifier,
        LstmClassifier,
        GruClassifier,
        TimeSeriesForecaster,
        NBeats,
        Tcn,
        CharRnn,
        Seq2seqGru,
        Gpt,
        Llama,
        Transformer,
        Unet,
        Ssd,
        Bert,
        BertEncoder,
        BertClassifier,
        BertTagger,
        BertSpans,
        Alexnet,
        BigmodelCnn,
        Densenet121,
        Inception,
        Resnet18,
        Resnet20,
        Resnet50,
        Vgg11,
        Vgg16,
        Vit,
    ]
