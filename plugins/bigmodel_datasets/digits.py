"""The bundled data set: 1,797 handwritten digits of 8x8 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError


@dataclass(frozen=True)
class Digits(bm.Dataset):
    """Handwritten digits, 8x8 pixels of 0 to 16: 1,438 to train and 359 to test, always the same ones.

    The test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998; UCI Machine
    Learning Repository, CC BY 4.0). It comes with the package, so nothing is read from `data_dir`.

    >>> data = Digits().load()
    >>> data.train.x.shape, data.test.x.shape, data.classes
    ((1438, 1, 8, 8), (359, 1, 8, 8), 10)
    """

    name: ClassVar[str] = "digits"

    def load(self, data_dir: Path | None = None) -> bm.Data:
        """The data; images are (n, 1, 8, 8) float32.

        Raises:
            DataError: the installed file is damaged, or a `data_dir` was named.
        """
        if data_dir is not None:
            raise DataError(
                "digits comes with bigmodel and is not read from a folder.",
                where=str(data_dir),
                fix="leave the data directory out, or load another data set from it.",
            )
        images, targets = bundled_digits()
        preprocessing = bm.Preprocessing(
            scale=1 / 16, mean=(0.3053,), std=(0.376,), raw_dtype="uint8", raw_shape=images.shape[1:]
        )
        x = preprocessing.apply(images)
        train, test = bm.split_indices(len(x), 0.2, seed=0, classes=targets)
        everything = bm.Split(x, targets)
        return bm.Data(
            name=self.name,
            train=everything.take(train),
            test=everything.take(test),
            labels=tuple("0123456789"),
            task="classification",
            preprocessing=preprocessing,
            input_meaning="greyscale image of a handwritten digit, 8x8 pixels from 0 (paper) to 16 (ink)",
            source="Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, "
            "UCI Machine Learning Repository, CC BY 4.0",
        )


def bundled_digits() -> tuple[np.ndarray, np.ndarray]:
    """The images, (n, 1, 8, 8) from 0 to 16, and what they show.

    Raises:
        DataError: the installed file is damaged.
    """
    resource = files("bigmodel_datasets") / "data" / "digits.npz"
    try:
        with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return arrays["images"].reshape(-1, 1, 8, 8), arrays["labels"].astype(np.int64)
    except Exception as error:  # zipfile, zlib and NumPy each have their own
        raise DataError(
            f"cannot read it: {error}.",
            where="digits.npz",
            fix="install bigmodel again; its data file is damaged.",
        ) from error
