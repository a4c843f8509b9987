"""Using what was trained: evaluate, export, predict, info, with their JSON and their errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from .conftest import Command


def images() -> tuple[np.ndarray, np.ndarray]:
    """The bundled digits as they were recorded: (n, 8, 8) values of 0 to 16, and labels."""
    from importlib.resources import files

    with (files("bigmodel_datasets") / "data" / "digits.npz").open("rb") as stream, np.load(stream) as arrays:
        return arrays["images"].reshape(-1, 8, 8), arrays["labels"]


# evaluate -------------------------------------------------------------------------------------------------


def test_evaluate_says_what_training_said(in_trained: Command) -> None:
    found = in_trained("evaluate", "--json").json
    said = json.loads(Path("runs/mlp-001/run.json").read_text())["results"]["test"]
    assert found["metrics"] == said
    assert (found["data"], found["split"], found["samples"]) == ("digits", "test", 359)


@pytest.mark.parametrize(
    "what", ["runs/mlp-001", "mlp-001", "runs/mlp-001/best.safetensors", "model.onnx", "raw.onnx"]
)
def test_evaluate_agrees_however_the_model_is_kept(what: str, in_trained: Command) -> None:
    reference = in_trained("evaluate", "--json").json["metrics"]["accuracy"]
    assert in_trained("evaluate", what, "--json").json["metrics"]["accuracy"] == reference


def test_evaluate_takes_metrics_and_splits(in_trained: Command) -> None:
    result = in_trained(
        "evaluate", "--metrics", "confusion_matrix,top_k_accuracy:k=3", "--split", "train", "--json"
    )
    matrix = np.array(result.json["metrics"]["confusion_matrix"])
    assert matrix.shape == (10, 10) and matrix.sum() == 1438
    assert result.json["metrics"]["top_k_accuracy"] >= matrix.trace() / 1438


def test_evaluate_shows_a_table_for_people(in_trained: Command) -> None:
    lines = in_trained("evaluate", "--metrics", "accuracy,confusion_matrix").out.splitlines()
    assert lines[0] == "runs/mlp-001/best.safetensors on 359 test samples of digits"
    assert len(lines) == 1 + 2 + 1 + 10  # loss and accuracy, then the matrix under its name


def test_evaluate_names_the_splits_there_are(in_trained: Command) -> None:
    result = in_trained("evaluate", "--split", "tset")
    assert result.code == 2 and "test" in result.err


def test_evaluate_refuses_data_of_another_shape(in_trained: Command, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n".join(f"{n},{n % 2}" for n in range(10)))
    for what in ("mlp-001", "model.onnx"):
        result = in_trained("evaluate", what, "--data", "csv:header=false", "--data-dir", tmp_path / "t.csv")
        assert result.code == 1
        assert "Traceback" not in result.err and "(1, 8, 8)" in result.err.replace(
            "(N, 1, 8, 8)", "(1, 8, 8)"
        )


# export ---------------------------------------------------------------------------------------------------


def test_export_writes_what_onnx_accepts_with_what_is_known(in_trained: Command, tmp_path: Path) -> None:
    import onnx

    target = tmp_path / "m.onnx"
    report = in_trained("export", target, "--opset", 18, "--name", "mine", "--json").json
    model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    texts = {item.key: item.value for item in model.metadata_props}
    assert model.opset_import[0].version == report["opset"] == 18
    assert texts["model"] == "mine" and texts["dataset"] == "digits"
    assert json.loads(texts["labels"]) == list("0123456789")
    metrics = json.loads(texts["metrics"])
    assert {"val_accuracy", "test_accuracy"} <= set(metrics)
    assert not {"seconds", "samples_per_second"} & set(metrics)


def test_export_takes_the_options_of_an_exporter(in_trained: Command, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    report = in_trained("export", target, "--set", "opset=18", "--set", "batch-sizes=2,5", "--json").json
    assert report["opset"] == 18
    assert len(report["differences"]) == 2 and all(
        any(size in where for size in ("2", "5")) for where in report["differences"]
    )
    report = in_trained("export", target, "--exporter", "onnx:opset=19,fold=false", "--json").json
    assert report["opset"] == 19


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "opsett=18"), "did you mean 'opset'?"),
        (("--set", "opset=many"), "Onnx.opset"),
        (("--set", "opset"), "write key=value"),
        (("--set", "opset=18", "--opset", 17), "opset is given twice"),
        (("--set", "tolerance=2"), "the tolerance is 2.0"),
    ],
)
def test_a_wrong_option_of_an_exporter_is_named(
    in_trained: Command, tmp_path: Path, arguments: tuple[object, ...], said: str
) -> None:
    result = in_trained("export", tmp_path / "m.onnx", *arguments)
    assert result.code == 2 and said in result.err
    assert not list(tmp_path.iterdir())


def test_export_twice_gives_the_same_bytes(in_trained: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert in_trained("export", tmp_path / f"{name}.onnx", "-q").code == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_export_takes_a_run_or_a_checkpoint(in_trained: Command, tmp_path: Path) -> None:
    for number, what in enumerate(("mlp-001", "runs/mlp-001", "runs/mlp-001/last.safetensors")):
        assert in_trained("export", tmp_path / f"{number}.onnx", "--run", what, "-q").code == 0


def test_a_damaged_checkpoint_is_not_exported(in_trained: Command, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    content = bytearray(Path("runs/mlp-001/best.safetensors").read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    result = in_trained("export", tmp_path / "m.onnx", "--run", damaged)
    assert result.code == 1
    assert "damaged.safetensors" in result.err
    assert not (tmp_path / "m.onnx").exists()


# predict ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["model.onnx", "raw.onnx", "mlp-001"])
def test_predict_reads_arrays_and_images_alike(model: str, in_trained: Command, tmp_path: Path) -> None:
    from PIL import Image

    raw, labels = images()
    np.save(tmp_path / "many.npy", raw[:20])
    np.savez(tmp_path / "one.npz", raw[0])
    for number in range(5):
        grey = np.rint(raw[number] * (255 / 16)).astype(np.uint8)
        Image.fromarray(np.kron(grey, np.ones((4, 4), np.uint8))).save(tmp_path / f"{number}.png")
    arrays = in_trained("predict", model, tmp_path / "many.npy", "--json").json
    assert [item["input"] for item in arrays[:2]] == ["many.npy[0]", "many.npy[1]"]
    assert sum(item["index"] == label for item, label in zip(arrays, labels, strict=False)) >= 17
    pictures = in_trained("predict", model, *(tmp_path / f"{n}.png" for n in range(5)), "--json").json
    single = in_trained("predict", model, tmp_path / "one.npz", "--json").json
    assert single[0]["probability"] == pytest.approx(arrays[0]["probability"], abs=1e-5)
    for picture, array in zip(pictures, arrays, strict=False):
        assert picture["label"] == array["label"]
        assert picture["probability"] == pytest.approx(array["probability"], abs=1e-4)


def test_predict_agrees_with_onnx_runtime_itself(in_trained: Command, tmp_path: Path) -> None:
    import onnxruntime

    raw, _ = images()
    np.save(tmp_path / "x.npy", raw[:7])
    session = onnxruntime.InferenceSession("raw.onnx", providers=["CPUExecutionProvider"])
    label, probability = session.run(["label", "probability"], {"x": raw[:7, np.newaxis]})
    found = in_trained("predict", "model.onnx", tmp_path / "x.npy", "--json").json
    assert [item["index"] for item in found] == label.tolist()
    assert np.allclose([item["probability"] for item in found], probability, atol=1e-6)


def test_predict_takes_floats_as_they_are(in_trained: Command, tmp_path: Path) -> None:
    raw, _ = images()
    np.save(tmp_path / "raw.npy", raw[:3])
    np.save(tmp_path / "ready.npy", ((raw[:3] / 16 - 0.3053) / 0.376).astype("float32"))
    first, second = (
        in_trained("predict", "model.onnx", tmp_path / f"{name}.npy", "--json").json
        for name in ("raw", "ready")
    )
    assert np.allclose([a["probability"] for a in first], [b["probability"] for b in second], atol=1e-5)


def test_predict_inverts_dark_ink_on_white_paper(in_trained: Command, tmp_path: Path) -> None:
    from PIL import Image

    raw, _ = images()
    grey = np.rint(raw[3] * (255 / 16)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "light.png")
    Image.fromarray(255 - grey).convert("RGB").save(tmp_path / "dark.png")
    (light,) = in_trained("predict", "model.onnx", tmp_path / "light.png", "--json").json
    (dark,) = in_trained("predict", "model.onnx", tmp_path / "dark.png", "--invert", "--json").json
    assert light["probability"] == pytest.approx(dark["probability"], abs=1e-6)


@pytest.mark.parametrize("model", ["model.onnx", "raw.onnx", "mlp-001"])
def test_predict_shows_test_samples_beside_the_truth(model: str, in_trained: Command) -> None:
    found = in_trained("predict", model, "--data", "digits", "--count", 4, "--json").json
    reference = in_trained("evaluate", "--json").json["metrics"]["accuracy"]
    assert found["samples"] == 359 and found["accuracy"] == pytest.approx(reference)
    assert len(found["predictions"]) == 4 and found["predictions"][0]["truth"] in "0123456789"
    assert found["by"] == ("bigmodel" if model == "mlp-001" else "ONNX Runtime")


def bad_files(folder: Path) -> dict[str, tuple[str, int]]:
    """Files that cannot be predicted: what the message says, and the exit code."""
    raw, _ = images()
    np.save(folder / "wide.npy", np.zeros((2, 9, 9), np.float32))
    np.save(folder / "text.npy", np.array(["a", "b"]))
    np.save(folder / "objects.npy", np.array([None, 1], object), allow_pickle=True)
    np.savez(folder / "two.npz", a=raw[0], b=raw[1])
    np.save(folder / "large.npy", raw[:2].astype(np.int64) + 1000)
    (folder / "torn.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "words.csv").write_text("a,b\nc,d\n")
    (folder / "notes.txt").write_text("hello")
    return {
        "wide.npy": ("shape (2, 9, 9), expected (1, 8, 8)", 1),
        "text.npy": ("the array holds", 1),
        "objects.npy": ("cannot read the array", 1),
        "two.npz": ("2 arrays (a, b)", 1),
        "large.npy": ("uint8", 1),
        "torn.npy": ("cannot read the array", 1),
        "torn.png": ("cannot read the image", 1),
        "words.csv": ("expected 64", 1),
        "notes.txt": ("'.txt' cannot be read", 2),
        "missing.png": ("no such file", 1),
    }


def test_files_that_do_not_fit_are_told_by_name(in_trained: Command, tmp_path: Path) -> None:
    for name, (message, code) in bad_files(tmp_path).items():
        result = in_trained("predict", "model.onnx", tmp_path / name)
        assert result.code == code, (name, result)
        assert message in result.err, (name, result.err)
        assert result.out == "" and "Traceback" not in result.err


def test_a_damaged_onnx_file_is_told(bigmodel: Command, tmp_path: Path, trained: Path) -> None:
    (tmp_path / "torn.onnx").write_bytes((trained / "model.onnx").read_bytes()[:500])
    (tmp_path / "text.onnx").write_text("not a model")
    for command in (("predict", "torn.onnx", "x.npy"), ("info", "text.onnx"), ("evaluate", "torn.onnx")):
        result = bigmodel(*command)
        assert result.code == 1
        assert ".onnx" in result.err and "Traceback" not in result.err


# info -------------------------------------------------------------------------------------------------------


def test_info_of_a_model_counts_as_by_hand(bigmodel: Command) -> None:
    found = bigmodel("info", "mlp", "--json").json
    assert found["parameters"] == 784 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10
    assert found["multiply_adds"] == 784 * 64 + 64 * 64 + 64 * 10
    assert found["memory"]["parameters"] == 4 * found["parameters"]
    shapes = {row["path"]: row["output"] for row in found["layers"]}
    assert shapes["dense_1"] == ["N", 64] and shapes["dense_3"] == ["N", 10]


def test_info_of_a_model_takes_options_data_and_shapes(bigmodel: Command) -> None:
    found = bigmodel("info", "mlp:dropout=0.5", "--set", "widths=7", "--data", "digits", "--json").json
    assert found["parameters"] == 64 * 7 + 7 + 7 * 10 + 10
    assert found["config"]["fields"]["dropout"] == 0.5
    found = bigmodel(
        "info", "logistic-regression", "--input-shape", "3,4", "--set", "classes=2", "--json"
    ).json
    assert found["parameters"] == 12 * 2 + 2


def test_info_of_a_run_and_of_its_file_agree(in_trained: Command) -> None:
    run, checkpoint, file = (
        in_trained("info", what, "--json").json
        for what in ("mlp-001", "runs/mlp-001/best.safetensors", "model.onnx")
    )
    assert run["kind"] == "run" and run["run"]["epochs"] == 8
    assert (
        run["parameters"]
        == checkpoint["parameters"]
        == file["parameters"]
        == 64 * 64 + 64 + 64 * 64 + 64 + 650
    )
    assert run["multiply_adds"] == sum(row["multiply_adds"] for row in file["layers"])
    assert file["kind"] == "onnx" and file["inputs"][0]["shape"] == ["N", 1, 8, 8]
    assert run["metrics"]["test_accuracy"] == run["run"]["results"]["test"]["accuracy"]


def test_info_lists_the_kernels_of_a_model(bigmodel: Command) -> None:
    found = bigmodel("info", "lenet", "--kernels", "--batch-size", 2, "--json").json
    predicted, trained = found["kernels"]["predict"], found["kernels"]["train"]
    assert sum(step["multiply_adds"] for step in predicted) == 2 * found["multiply_adds"]
    (convolution,) = [step for step in predicted if step["path"] == "conv2d_2"]
    assert [kernel["name"] for kernel in convolution["kernels"]] == ["arrange_filters", "convolution"]
    assert convolution["kernels"][1]["choice"].startswith("direct")
    assert {step["path"] for step in trained} > {"loss", "optimizer", "conv2d_1", "dense_3"}
    assert found["vector_unit"] in ("avx512", "avx2", "neon", "generic")


def test_info_lists_the_kernels_for_people(in_trained: Command) -> None:
    model, run = (in_trained("info", what, "--kernels").out for what in ("mlp", "mlp-001"))
    for text in (model, run):
        assert "Prediction of 1 sample\n" in text
        assert "Training step of 64 samples, CrossEntropy, Adam" in text
        assert "matrix product" in text
    assert "kernels" not in in_trained("info", "mlp", "--json").json
    refused = in_trained("info", "model.onnx", "--kernels")
    assert refused.code == 2 and "ONNX Runtime" in refused.err


@pytest.mark.parametrize("what", ["mlp", "mlp-001", "model.onnx", "raw.onnx"])
def test_info_for_people_is_aligned(what: str, in_trained: Command) -> None:
    lines = in_trained("info", what).out.splitlines()
    header = next(line for line in lines if "Multiply-adds" in line)
    rows = lines[lines.index(header) + 1 :]
    total = next(line for line in rows if line.startswith("Total"))
    assert len(total) == len(header)  # numbers end where their column does
    assert all(line == line.rstrip() for line in lines)


def test_info_without_a_name_is_about_the_newest_run(in_trained: Command) -> None:
    assert in_trained("info", "--json").json["path"] == "runs/mlp-001"


# data -------------------------------------------------------------------------------------------------------


def test_data_lists_what_the_registry_knows(bigmodel: Command) -> None:
    from bigmodel_core import registry

    assert [item["name"] for item in bigmodel("data", "list", "--json").json] == registry.names("dataset")
    assert "digits" in bigmodel("data", "list").out


def test_data_info_shows_a_set(bigmodel: Command, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,kind\n" + "\n".join(f"{n},{n},{'xy'[n % 2]}" for n in range(10)))
    found = bigmodel(
        "data", "info", "csv:target=kind", "--data-dir", "t.csv", "--set", "test_fraction=0.5", "--json"
    ).json
    assert found["samples"] == {"train": 5, "test": 5} and found["labels"] == ["x", "y"]
    assert "Handwritten" not in bigmodel("data", "info", "digits").out.splitlines()[0]
    assert "1,438 train, 359 test" in bigmodel("data", "info", "digits").out
