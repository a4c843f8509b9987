"""The image sets: digits as published, MNIST and Fashion-MNIST from files of their form."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from bigmodel_core.data.files import RemoteFile
from bigmodel_core.errors import DataError
from bigmodel_datasets import Digits, FashionMnist, Mnist
from bigmodel_datasets.mnist import FASHION_MNIST_FILES, MNIST_FILES

NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def write_set(folder, rename=lambda name: name, pack=bytes, **changes):
    """Four small files in the form of MNIST; `changes` replaces the array of a file."""
    rng = np.random.default_rng(0)
    arrays = {
        "train_images": rng.integers(0, 256, (6, 28, 28), dtype=np.uint8),
        "train_labels": np.array([0, 9, 2, 3, 4, 5], np.uint8),
        "t10k_images": rng.integers(0, 256, (3, 28, 28), dtype=np.uint8),
        "t10k_labels": np.array([1, 2, 3], np.uint8),
        **changes,
    }
    folder.mkdir(exist_ok=True)
    for name, array in zip(NAMES, arrays.values(), strict=True):
        (folder / rename(name)).write_bytes(pack(idx(array)))
    return arrays


def test_digits_are_those_of_scikit_learn():
    reference = pytest.importorskip("sklearn.datasets").load_digits()
    data = Digits().load()
    x = np.concatenate([data.train.x, data.test.x]).reshape(-1, 64)
    y = np.concatenate([data.train.y, data.test.y])
    expected = data.preprocessing.apply(reference.images.astype(np.uint8)[:, np.newaxis]).reshape(-1, 64)
    ours, theirs = (
        [(*row, label) for row, label in zip(*pair, strict=True)]
        for pair in [(x, y), (expected, reference.target)]
    )
    assert sorted(ours) == sorted(theirs)


def test_digits_have_the_published_counts():
    data = Digits().load()
    counts = np.bincount(data.train.y) + np.bincount(data.test.y)
    # The class table of the test part in the description that comes with the UCI set.
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_keep_classes_in_proportion():
    data = Digits().load()
    assert len(data.test) == 359
    assert set(np.bincount(data.test.y)) <= {35, 36, 37}


def test_digits_train_and_test_share_no_image():
    data = Digits().load()
    train, test = ({image.tobytes() for image in split.x} for split in (data.train, data.test))
    assert len(train) + len(test) == 1797
    assert not train & test


def test_digits_are_the_same_every_time():
    first, second = Digits().load(), Digits().load()
    assert np.array_equal(first.test.x, second.test.x)


def test_digits_are_normalised():
    x = Digits().load().train.x
    assert x.shape[1:] == (1, 8, 8)
    assert abs(x.mean()) < 2e-3
    assert abs(x.std() - 1) < 2e-3


def test_digits_refuse_a_folder():
    with pytest.raises(DataError, match="comes with bigmodel"):
        Digits().load(Path("somewhere"))


@pytest.mark.parametrize("dataset", [Mnist(), FashionMnist()])
def test_idx_sets_give_normalised_images_and_labels(tmp_path, dataset):
    arrays = write_set(tmp_path)
    data = dataset.load(tmp_path)
    preprocessing = data.preprocessing
    expected = (arrays["train_images"] / 255 - preprocessing.mean[0]) / preprocessing.std[0]
    np.testing.assert_allclose(data.train.x[:, 0], expected, rtol=1e-5, atol=1e-6)
    assert data.train.x.shape == (6, 1, 28, 28)
    assert data.train.y.tolist() == [0, 9, 2, 3, 4, 5]
    assert data.test.y.tolist() == [1, 2, 3]
    assert len(data.labels) == 10


@pytest.mark.parametrize(
    ("rename", "pack"),
    [
        (lambda name: name.replace("-idx", ".idx"), bytes),
        (lambda name: name + ".gz", gzip.compress),
        (lambda name: name.replace("-idx", ".idx") + ".gz", gzip.compress),
    ],
)
def test_other_names_of_the_files_are_found(tmp_path, rename, pack):
    write_set(tmp_path, rename, pack)
    assert len(Mnist().load(tmp_path).train) == 6


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_file_is_named(tmp_path, missing):
    write_set(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(DataError, match=f"no {missing} in it"):
        Mnist().load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"train_labels": np.zeros(5, np.uint8)}, "train-labels.*5 labels.*6 images"),
        ({"train_labels": np.full(6, 10, np.uint8)}, "train-labels.*label 10"),
        ({"t10k_images": np.zeros((3, 28, 27), np.uint8)}, r"t10k-images.*expected uint8 \(n, 28, 28\)"),
        ({"t10k_images": np.zeros(3, np.uint8)}, "t10k-images.*swapped"),
        ({"t10k_labels": np.zeros((3, 28, 28), np.uint8)}, "t10k-labels.*swapped"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path, changes, culprit):
    write_set(tmp_path, **changes)
    with pytest.raises(DataError, match=f"(?s){culprit}"):
        Mnist().load(tmp_path)


def test_the_environment_names_the_folder_of_folders(tmp_path, monkeypatch):
    write_set(tmp_path / "fashion-mnist")
    monkeypatch.setenv("BIGMODEL_DATA_DIR", str(tmp_path))
    assert len(FashionMnist().load().train) == 6


def real_folder(name: str) -> Path:
    folder = Path(os.environ.get("BIGMODEL_DATA_DIR", "")) / name
    if not os.environ.get("BIGMODEL_DATA_DIR") or not folder.is_dir():
        pytest.skip(f"needs the {name} files in BIGMODEL_DATA_DIR")
    return folder


@pytest.mark.parametrize(("name", "files"), [("mnist", MNIST_FILES), ("fashion-mnist", FASHION_MNIST_FILES)])
def test_pinned_sizes_and_hashes_are_those_of_the_files(name, files: tuple[RemoteFile, ...]):
    folder = real_folder(name)
    for file in files:
        content = file.find(folder).read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        assert len(content) == file.size
        assert hashlib.sha256(content).hexdigest() == file.sha256


@pytest.mark.parametrize("dataset", [Mnist(), FashionMnist()])
def test_the_real_sets_are_whole_and_scaled_to_1(dataset):
    data = dataset.load(real_folder(dataset.name))
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    mean, std = (0.1307, 0.3081) if dataset.name == "mnist" else (0.2860, 0.3530)  # as is widely published
    assert abs(data.train.x.mean(dtype=np.float64) - mean) < 1e-4
    assert abs(data.train.x.std(dtype=np.float64) - std) < 1e-4
    if dataset.name == "mnist":  # as published with the set
        assert np.bincount(data.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    else:
        assert np.bincount(data.test.y).tolist() == [1000] * 10
