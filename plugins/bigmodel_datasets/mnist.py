"""MNIST and the sets of its form: images and labels in four IDX files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.idx import read_idx


def _files(mirrors: Sequence[str], hashes: dict[str, str]) -> tuple[bm.files.RemoteFile, ...]:
    """The four files, served gzipped by each mirror, with the SHA-256 of their unpacked content."""
    sizes = {
        "train-images": 47_040_016,
        "train-labels": 60_008,
        "t10k-images": 7_840_016,
        "t10k-labels": 10_008,
    }
    described = []
    for part, size in sizes.items():
        rank = 3 if part.endswith("images") else 1
        name = f"{part}-idx{rank}-ubyte"
        variants = (f"{part}.idx{rank}-ubyte", part)
        urls = tuple(f"{mirror}/{name}.gz" for mirror in mirrors)
        described.append(bm.files.RemoteFile(name, urls, hashes[part], size, variants))
    return tuple(described)


MNIST_FILES = _files(
    ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
    {
        "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)

FASHION_MNIST_FILES = _files(
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    ),
    {
        "train-images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)


@dataclass(frozen=True)
class Mnist(bm.Dataset):
    """Handwritten digits, 28x28 pixels of 0 to 255: 60,000 to train and 10,000 to test (LeCun et al., 1998).

    Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two `t10k-` files, gzipped or not;
    downloads them if they are not found. Pixels are scaled to 0 to 1.
    """

    name: ClassVar[str] = "mnist"

    def load(self, data_dir: Path | None = None) -> bm.Data:
        """The data; images are (n, 1, 28, 28) float32.

        Raises:
            DataError: files that are missing or corrupt.
        """
        return _load_idx_set(
            bm.files.locate(self.name, MNIST_FILES, data_dir),
            name=self.name,
            labels=tuple("0123456789"),
            input_meaning="greyscale image of a handwritten digit, 28x28 pixels from 0 (paper) to 255 (ink)",
            source="MNIST, Y. LeCun, C. Cortes and C. J. C. Burges, 1998, CC BY-SA 3.0",
        )

    @classmethod
    def example(cls, folder: Path) -> None:
        """Write the four files with a few images of noise, a class each in turn."""
        _write_idx_set(folder)


@dataclass(frozen=True)
class FashionMnist(bm.Dataset):
    """Articles of clothing, 28x28 pixels of 0 to 255: 60,000 to train and 10,000 to test (Xiao et al., 2017).

    Files, splits and form are those of MNIST. Pixels are scaled to 0 to 1.
    """

    name: ClassVar[str] = "fashion-mnist"

    def load(self, data_dir: Path | None = None) -> bm.Data:
        """The data; images are (n, 1, 28, 28) float32.

        Raises:
            DataError: files that are missing or corrupt.
        """
        return _load_idx_set(
            bm.files.locate(self.name, FASHION_MNIST_FILES, data_dir),
            name=self.name,
            labels=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            input_meaning="greyscale image of an article of clothing, 28x28 pixels from 0 (ground) to 255",
            source="Fashion-MNIST, H. Xiao, K. Rasul and R. Vollgraf, 2017, Zalando SE, MIT",
        )

    @classmethod
    def example(cls, folder: Path) -> None:
        """Write the four files with a few images of noise, a class each in turn."""
        _write_idx_set(folder)


def _load_idx_set(
    paths: dict[str, Path],
    *,
    name: str,
    labels: tuple[str, ...],
    input_meaning: str,
    source: str,
) -> bm.Data:
    preprocessing = bm.Preprocessing(scale=1 / 255, raw_dtype="uint8", raw_shape=(1, 28, 28))
    splits = []
    for part in ("train", "t10k"):
        images_path, labels_path = paths[f"{part}-images-idx3-ubyte"], paths[f"{part}-labels-idx1-ubyte"]
        targets = _checked(read_idx(labels_path), labels_path, ())
        images = _checked(read_idx(images_path), images_path, (28, 28))
        if len(images) != len(targets):
            raise DataError(
                f"{len(targets)} labels, but {images_path.name} has {len(images)} images.",
                where=str(labels_path),
                fix="take both files from the same data set.",
            )
        if targets.max() >= len(labels):
            raise DataError(
                f"sample {targets.argmax()} has label {targets.max()}, expected 0 to {len(labels) - 1}.",
                where=str(labels_path),
            )
        splits.append(bm.Split(preprocessing.apply(images[:, np.newaxis]), targets))
    train, test = splits
    return bm.Data(
        name=name,
        train=train,
        test=test,
        labels=labels,
        task="classification",
        preprocessing=preprocessing,
        input_meaning=input_meaning,
        source=source,
    )


def _write_idx_set(folder: Path) -> None:
    random = np.random.default_rng(0)
    for part, count in (("train", 50), ("t10k", 20)):
        images = random.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images", images), ("labels", labels)):
            sizes = np.array(array.shape, ">u4").tobytes()
            header = bytes([0, 0, 8, array.ndim]) + sizes
            (folder / f"{part}-{kind}-idx{array.ndim}-ubyte").write_bytes(header + array.tobytes())


def _checked(values: np.ndarray, path: Path, sample_shape: tuple[int, ...]) -> np.ndarray:
    if values.dtype != np.uint8 or values.shape[1:] != sample_shape or len(values) == 0:
        expected = ", ".join(["n", *map(str, sample_shape)])
        raise DataError(
            f"it holds {values.dtype} {values.shape}, expected uint8 ({expected}) with n of at least 1.",
            where=str(path),
            fix="check that images and labels are not swapped.",
        )
    return values
