"""Data sets: bundled digits, sunspots and a novel; MNIST and Fashion-MNIST; sine waves; your own tables,
series, texts and folders of images."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_datasets.canvases import DigitBoxes, DigitMasks
from bigmodel_datasets.coco import Coco
from bigmodel_datasets.digits import Digits
from bigmodel_datasets.image_folder import ImageFolder
from bigmodel_datasets.labelled_images import LabelledImages
from bigmodel_datasets.masked_text import MaskedText
from bigmodel_datasets.masks import Masks
from bigmodel_datasets.mnist import FashionMnist, Mnist
from bigmodel_datasets.question_answers import QuestionAnswers
from bigmodel_datasets.ratings import Ratings
from bigmodel_datasets.rows import Rows
from bigmodel_datasets.series import Series
from bigmodel_datasets.sunspots import Sine, Sunspots
from bigmodel_datasets.table import Csv
from bigmodel_datasets.text import Text
from bigmodel_datasets.text_classification import TextClassification
from bigmodel_datasets.text_pairs import TextPairs
from bigmodel_datasets.token_tags import TokenTags

__all__ = [
    "Coco",
    "Csv",
    "DigitBoxes",
    "DigitMasks",
    "Digits",
    "FashionMnist",
    "ImageFolder",
    "LabelledImages",
    "MaskedText",
    "Masks",
    "Mnist",
    "QuestionAnswers",
    "Ratings",
    "Rows",
    "Series",
    "Sine",
    "Sunspots",
    "Text",
    "TextClassification",
    "TextPairs",
    "TokenTags",
]


@bm.hookimpl
def bigmodel_datasets() -> list[type[bm.Dataset]]:
    """The data sets of this package."""
    texts: list[type[bm.Dataset]] = [
        Text,
        TextClassification,
        TokenTags,
        TextPairs,
        MaskedText,
        QuestionAnswers,
    ]
    images: list[type[bm.Dataset]] = [DigitMasks, DigitBoxes, ImageFolder, LabelledImages, Masks, Coco]
    return [Digits, Mnist, FashionMnist, Sunspots, Sine, *texts, Csv, Rows, Ratings, Series, *images]
