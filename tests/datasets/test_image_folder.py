"""Image folders: what is read from files that Pillow wrote, when it is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bigmodel_core as bm
from bigmodel_core.data import images
from bigmodel_core.data.source import Source
from bigmodel_core.errors import BigmodelError, ConfigError, DataError
from bigmodel_core.testing import checks_for
from bigmodel_core.testing.checks import run_checks
from bigmodel_datasets import ImageFolder

DRAW = np.random.default_rng(5)


def picture(path: Path, height: int = 4, width: int = 6, channels: int = 3) -> np.ndarray:
    """Writes an image of random pixels and gives them, (channels, height, width)."""
    pixels = DRAW.integers(0, 256, (height, width, channels), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return pixels.transpose(2, 0, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three images each, to be parted."""
    for label in ("cat", "dog"):
        for number in range(3):
            picture(tmp_path / "animals" / label / f"{number}.png")
    return tmp_path / "animals"


def parted(tmp_path: Path) -> dict[str, np.ndarray]:
    """Splits as folders; the pixels of each image by its path."""
    names = ["train/cat/0.png", "train/cat/1.png", "train/dog/0.png", "test/cat/9.png", "test/dog/7.png"]
    return {name: picture(tmp_path / name) for name in names}


def test_splits_labels_and_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    written = parted(tmp_path)
    data = ImageFolder().load(tmp_path)
    assert data.labels == ("cat", "dog")
    assert data.train.y.tolist() == [0, 0, 1] and data.test.y.tolist() == [0, 1]
    assert data.train.x.shape == (3, 3, 4, 6) and data.validation is None
    for x, name in zip(data.train.x, list(written)[:3], strict=True):
        assert np.allclose(x, written[name] / 255, atol=1e-7)
    assert np.allclose(data.test.x[1], written["test/dog/7.png"] / 255, atol=1e-7)


def test_a_validation_folder_is_a_split(tmp_path: Path) -> None:
    parted(tmp_path)
    for label in ("cat", "dog"):
        picture(tmp_path / "validation" / label / "5.png")
    assert len(ImageFolder().load(tmp_path).validation) == 2


def test_a_share_of_each_class_is_held_out_where_there_are_no_split_folders(folder: Path) -> None:
    data = ImageFolder(test_fraction=1 / 3).load(folder)
    assert sorted(data.train.y.tolist()) == [0, 0, 1, 1] and sorted(data.test.y.tolist()) == [0, 1]
    again = ImageFolder(test_fraction=1 / 3).load(folder)
    assert np.array_equal(np.asarray(data.train.x), np.asarray(again.train.x))


def test_images_are_read_when_they_are_needed_and_no_earlier(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = images.read_image
    monkeypatch.setattr(images, "read_image", lambda path, shape: read.append(path.name) or real(path, shape))
    data = ImageFolder().load(folder).split_validation(0.25)
    assert isinstance(data.train.x, Source) and read == []
    assert data.train.x[1].shape == (3, 4, 6) and len(read) == 1
    assert data.train.x[:2].shape == (2, 3, 4, 6) and len(read) == 3


def test_size_and_channels_are_those_of_the_first_image_or_as_asked_for(tmp_path: Path) -> None:
    parted(tmp_path)
    picture(tmp_path / "train" / "dog" / "1.png", 8, 12, 1)
    assert ImageFolder().load(tmp_path).train.x[3].shape == (3, 4, 6)
    assert ImageFolder(size=(2,), channels=1).load(tmp_path).input_shape == (1, 2, 2)
    assert ImageFolder(size=(2, 3)).load(tmp_path).input_shape == (3, 2, 3)


def test_an_image_that_shrinks_becomes_the_mean_of_its_pixels(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png", 8, 6)
    found = images.read_image(tmp_path / "a.png", (3, 4, 3))
    assert np.abs(found - pixels.reshape(3, 4, 2, 3, 2).mean((2, 4))).max() <= 1  # two roundings


def test_grey_is_the_luma_of_colours_and_colours_of_grey_are_equal(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png")
    luma = np.tensordot([0.299, 0.587, 0.114], pixels.astype(float), 1)  # ITU-R BT.601
    assert np.abs(images.read_image(tmp_path / "a.png", (1, 4, 6))[0] - luma).max() <= 1
    grey = picture(tmp_path / "g.png", channels=1)
    assert np.array_equal(images.read_image(tmp_path / "g.png", (3, 4, 6)), np.repeat(grey, 3, 0))


def test_sixteen_bits_keep_their_upper_eight(tmp_path: Path) -> None:
    values = DRAW.integers(0, 65536, (4, 6)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert images.image_shape(tmp_path / "deep.png") == (1, 4, 6)
    assert np.array_equal(images.read_image(tmp_path / "deep.png", (1, 4, 6))[0], values // 256)


def test_transparent_parts_are_white_and_cameras_held_upright_are_heeded(tmp_path: Path) -> None:
    Image.new("RGBA", (6, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert (images.read_image(tmp_path / "clear.png", (3, 4, 6)) == 255).all()
    pixels = DRAW.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was turned: to be shown a quarter turn clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=turned)
    assert images.image_shape(tmp_path / "turned.png") == (3, 6, 4)
    found = images.read_image(tmp_path / "turned.png", (3, 6, 4))
    assert np.array_equal(found.transpose(1, 2, 0), np.rot90(pixels, -1))


def test_mean_and_std_are_in_the_preprocessing(tmp_path: Path) -> None:
    written = parted(tmp_path)
    data = ImageFolder(mean=(0.5, 0.4, 0.3), std=(0.2,)).load(tmp_path)
    wanted = (written["train/cat/0.png"] / 255 - np.array([0.5, 0.4, 0.3])[:, None, None]) / 0.2
    assert np.allclose(data.train.x[0], wanted, atol=1e-5)
    assert data.preprocessing.raw_dtype == "uint8" and data.preprocessing.raw_shape == (3, 4, 6)


def test_hidden_files_are_passed_over_and_a_limit_is_kept(folder: Path) -> None:
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "cat" / ".hidden.png").write_bytes(b"x")
    data = ImageFolder(limit=2, test_fraction=0.5).load(folder)
    assert len(data.train) + len(data.test) == 4


def test_the_checks_of_data_sets_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.rename(folder.parent / "image-folder")
    monkeypatch.setenv("BIGMODEL_DATA_DIR", str(folder.parent))
    report = run_checks(checks_for(ImageFolder()))
    assert report.ok and report.count("skipped") == 0, report.outcomes


def test_stray_files_are_passed_over_and_counted(folder: Path) -> None:
    clean = ImageFolder().load(folder)
    for name in (
        "Thumbs.db",
        "cat/Thumbs.db",
        "cat/notes.txt",
        "dog/.DS_Store",
        "labels.csv",
        "dog/desktop.ini",
    ):
        (folder / name).write_bytes(b"x")
    picture(folder / "__MACOSX" / "cat" / "._0.png")
    data = ImageFolder().load(folder)
    assert data.labels == clean.labels == ("cat", "dog")
    assert np.array_equal(np.asarray(data.train.x), np.asarray(clean.train.x))
    assert clean.notes == () and "without" not in clean.source
    assert "without 7 other files" in data.source
    (note,) = data.notes
    assert note.startswith("7 files were skipped") and "Thumbs.db" in note


def test_what_lies_beside_the_splits_is_counted(tmp_path: Path) -> None:
    parted(tmp_path)
    picture(tmp_path / "val" / "cat" / "1.png")
    (tmp_path / "README.md").write_text("x")
    (note,) = ImageFolder().load(tmp_path).notes
    assert note == "2 files were skipped (not an image): README.md, val."


def test_broken_images_are_skipped_where_that_is_asked_for(folder: Path) -> None:
    (folder / "cat" / "1.png").write_bytes((folder / "cat" / "1.png").read_bytes()[:60])
    (folder / "dog" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="cannot read the image") as error:
        np.asarray(ImageFolder(size=(4, 6), channels=3).load(folder).train.x)
    assert "--skip-broken" in error.value.fix
    data = ImageFolder(skip_broken=True, test_fraction=0.5).load(folder)
    assert len(data.train) + len(data.test) == 4
    assert np.asarray(data.train.x).shape == (2, 3, 4, 6)
    assert "without 2 broken images" in data.source
    assert data.notes == ("2 files were skipped (broken): cat/1.png, dog/0.png.",)
    for path in (folder / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 3 images of this class can be read"):
        ImageFolder(skip_broken=True).load(folder)


def wrong(folder: Path, what: str) -> None:
    """Make one thing wrong."""
    if what == "no folder":
        folder.rename(folder.parent / "elsewhere")
    elif what == "no class":
        for path in folder.rglob("*.png"):
            path.unlink()
        for path in list(folder.iterdir()):
            path.rmdir()
    elif what == "one class":
        for path in (folder / "dog").iterdir():
            path.unlink()
        (folder / "dog").rmdir()
    elif what == "empty class":
        (folder / "bird").mkdir()
    elif what == "no image":
        (folder / "bird").mkdir()
        (folder / "bird" / "notes.txt").write_text("x")
    elif what == "image beside":
        picture(folder / "stray.png")
    elif what == "nested":
        (folder / "dog" / "more").mkdir()
    elif what == "train alone":
        picture(folder / "train" / "cat" / "1.png")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no folder", "animals: there is no such file or folder"),
        ("no class", "there is no class"),
        ("one class", "there is one class, cat"),
        ("empty class", "bird: there is no image of this class"),
        ("no image", "bird: there is no image of this class, but other files"),
        ("image beside", "stray.png: this image is beside the class folders"),
        ("nested", "more: it is a folder inside the folder of a class"),
        ("train alone", "there is a folder train with classes in it, but no folder test"),
    ],
)
def test_what_is_wrong_in_a_folder_is_named(folder: Path, what: str, message: str) -> None:
    wrong(folder, what)
    with pytest.raises(DataError) as error:
        ImageFolder().load(folder)
    assert message in str(error.value) and error.value.fix


@pytest.mark.parametrize(
    ("extra", "message"), [("test/bird/1.png", "bird is there"), ("train/ant/1.png", "ant is missing")]
)
def test_classes_that_differ_between_splits_are_named(tmp_path: Path, extra: str, message: str) -> None:
    parted(tmp_path)
    picture(tmp_path / extra)
    with pytest.raises(DataError, match=message):
        ImageFolder().load(tmp_path)


def test_a_damaged_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    parted(tmp_path)
    path = tmp_path / "train" / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:60])
    data = ImageFolder().load(tmp_path)
    data.train.x[0]
    with pytest.raises(DataError, match=r"cat/1.png: cannot read the image") as error:
        data.train.x[1]
    assert error.value.fix


@pytest.mark.parametrize(
    "options", [{"size": ()}, {"size": (0, 3)}, {"channels": 2}, {"limit": 0}, {"test_fraction": 1.0}]
)
def test_options_that_make_no_sense_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        ImageFolder(**options)


def test_training_from_files_gives_the_bits_of_training_from_memory(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(9):
            picture(tmp_path / label / f"{number}.png", 5, 5)
    data = ImageFolder().load(tmp_path)
    states = []
    for split in (data.train, bm.Split(np.asarray(data.train.x), data.train.y)):
        trainer = bm.Trainer(bm.models.build("logistic-regression", classes=2), seed=3)
        trainer.fit(split, 2, 4, validation=0.25, verbose=False)
        states.append(
            ({k: v for k, v in trainer.history.last.items() if "sec" not in k}, trainer.step.state())
        )
        assert np.array_equal(trainer.predict(split.x, 4), trainer.predict(np.asarray(split.x), 4))
    assert states[0][0] == states[1][0]
    assert all(np.array_equal(states[0][1][path], states[1][1][path]) for path in states[0][1])


def test_a_source_is_indexed_like_the_array_it_stands_for(folder: Path) -> None:
    x = ImageFolder().load(folder).train.x
    whole = np.asarray(x)
    for key in (0, -1, slice(1, 3), slice(None, None, -1), [2, 0], np.array([], int), np.arange(len(x)) == 1):
        assert np.array_equal(x[key], whole[key])
    assert np.array_equal(x.take(np.array([3, 1])).take(np.array([1]))[:], whole[[1]])
    assert x.astype("float64")[:2].dtype == np.float64
    with pytest.raises(IndexError):
        x[len(x)]
    with pytest.raises(BigmodelError, match="first axis"):
        x[:, 0]


def test_a_loader_reads_sources(folder: Path) -> None:
    split = ImageFolder().load(folder).train
    found = np.concatenate([x for x, _ in bm.Loader(split, 2)])
    assert np.array_equal(found, np.asarray(split.x))
