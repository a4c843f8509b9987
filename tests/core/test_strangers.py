"""A stranger's package beside ours: whose class a name means, in packages, in scripts and in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bigmodel_core import registry
from bigmodel_core.errors import UnknownNameError
from tests.processes import Done, python

from .conftest import write_package

Install = Callable[..., Path]

STRANGER = """
import bigmodel_core as bm
from bigmodel_core.data.augmentation import Augmentation
from bigmodel_core.train.callback import Callback
from bigmodel_core.data.dataset import Dataset
from bigmodel_core.exporting.exporter import Exporter
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.optimizer import Optimizer, Schedule

def named(base, *names):
    return [dataclass(frozen=True)(type(name, (base,), {"__doc__": "A stranger's."})) for name in names]

@hookimpl
def bigmodel_layers(): return named(Layer, "Dense", "Relu", "Conv2d", "BatchNorm", "Lstm", "Dropout")
@hookimpl
def bigmodel_losses(): return named(Loss, "CrossEntropy", "MeanSquaredError")
@hookimpl
def bigmodel_optimizers(): return named(Optimizer, "Adam", "SGD")
@hookimpl
def bigmodel_schedules(): return named(Schedule, "Cosine")
@hookimpl
def bigmodel_metrics(): return named(Metric, "Accuracy")
@hookimpl
def bigmodel_datasets(): return named(Dataset, "Digits")
@hookimpl
def bigmodel_augmentations(): return named(Augmentation, "RandomCrop")
@hookimpl
def bigmodel_callbacks(): return named(Callback, "EarlyStopping")
@hookimpl
def bigmodel_exporters(): return named(Exporter, "Onnx")
"""
"""A package that offers names of ours, of nearly every kind; none of its classes does anything."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the stranger's package, whose plugin even has the name of one of ours."""
    write_package(tmp_path, "acme", {"acme": STRANGER}, {"layers": "acme"}, "2.0")
    return tmp_path


def beside(site: Path, *arguments: str, cwd: Path) -> Done:
    """Run Python in a process that finds the packages of a folder, too."""
    return python(*arguments, beside=[site], cwd=cwd, ends=None)


def test_our_commands_work_beside_a_stranger_with_our_names(site: Path, tmp_path: Path) -> None:
    lines = (
        "train mlp --epochs 1 --quiet",
        "evaluate --json",
        "export mlp.onnx",
        "info resnet20",
        "info gru-classifier --input-shape 8,8",
        "doctor",
    )
    code = """
import sys
from bigmodel_core.cli.app import main
for line in sys.argv.pop(1).split(";"):
    sys.argv[1:] = line.split()
    assert main() == 0, line
"""
    done = beside(site, "-c", code, ";".join(lines), cwd=tmp_path)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_a_user_who_types_a_name_of_both_is_asked_whose(site: Path, tmp_path: Path) -> None:
    done = beside(site, "-m", "bigmodel_core.cli", "train", "mlp", "--optimizer", "adam", cwd=tmp_path)
    assert done.returncode == 2
    assert "acme 2.0" in done.stderr and "bigmodel" in done.stderr
    assert "layers:Adam" in done.stderr and "optimizers:Adam" in done.stderr


def test_a_checkpoint_says_whose_layer_it_was_and_old_ones_load(site: Path, tmp_path: Path) -> None:
    code = """
import json, bigmodel_core as bm
from bigmodel_core.registry import config
ours = bm.layers["bigmodel:Dense"](3)
theirs = bm.layers["acme:Dense"]()
saved = json.loads(json.dumps([config.to_config(ours), config.to_config(theirs)]))
back = [config.from_config("layer", item) for item in saved]
assert [type(item) for item in back] == [type(ours), type(theirs)], saved
old = {"kind": "layer", "name": "layers:Dense", "fields": {"units": 3}}  # as it was always written
assert config.from_config("layer", old) == ours
assert saved[1]["distribution"] == "acme"
"""
    done = beside(site, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


# Who asks -------------------------------------------------------------------------------------------------

ASKER = """
import bigmodel_core as bm
from bigmodel_core.registry import config
from bigmodel_core.nn.model import Model
def ask(): return bm.layers.Swish
def make(): return config.make("layer", "swish")
"""
SWISH = """
@dataclass(frozen=True)
class Swish(Layer):
    beta: float = 1.0
@hookimpl
def bigmodel_layers(): return [Swish]
"""


def test_a_package_finds_its_own_first_from_any_of_its_modules(install: Install) -> None:
    modules = {"one": ASKER + SWISH, "one_more": ASKER}
    install("one", modules=modules, plugins={"one": "one", "more": "one_more"})
    install("two", SWISH)
    import one
    import one_more

    for module in (one, one_more):
        assert module.ask() is type(module.make()) is one.Swish
    with pytest.raises(UnknownNameError, match=r"'one' \(one 1.0\) and by 'two' \(two 1.0\)"):
        registry.get("layer", "swish")
    assert registry.get("layer", "two:swish").__module__ == "two"


def test_a_package_finds_those_it_requires_before_strangers(install: Install) -> None:
    site = install("needs", ASKER + "\n@hookimpl\ndef bigmodel_layers(): return []")
    install("one", SWISH)
    install("two", SWISH)
    import needs

    with pytest.raises(UnknownNameError, match="offered by"):
        needs.ask()
    metadata = site / "needs-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text() + "Requires-Dist: two>=1\n")
    assert needs.ask().__module__ == "two"


def test_a_name_nobody_else_has_needs_no_owner(install: Install) -> None:
    install("needs", ASKER + "\n@hookimpl\ndef bigmodel_layers(): return []")
    install("one", SWISH)
    import needs

    assert needs.ask().__module__ == "one"


def test_a_model_finds_the_loss_that_its_own_package_names(install: Install) -> None:
    source = """
    from bigmodel_core.nn.loss import Loss
    from bigmodel_core.nn.model import Model
    @dataclass(frozen=True)
    class Mine(Loss):
        def each(self, prediction, target): return prediction - target
    @dataclass(frozen=True)
    class Net(Model):
        loss = "mine"
        metrics = ()
        def __call__(self, x): return x
    @dataclass(frozen=True)
    class Optimal(Optimizer):
        learning_rate: float = 0.1
        name = "adam"
    @hookimpl
    def bigmodel_losses(): return [Mine]
    @hookimpl
    def bigmodel_models(): return [Net]
    @hookimpl
    def bigmodel_optimizers(): return [Optimal]
    """.replace(
        "from bigmodel_core.nn.model",
        "from bigmodel_core.nn.optimizer import Optimizer\n    from bigmodel_core.nn.model",
    )
    install("one", source)
    install("two", source.replace("prediction - target", "target"))
    import bigmodel_core as bm

    one = registry.get("model", "one:Net")
    trainer = bm.Trainer(one(), optimizer=registry.get("optimizer", "one:adam")())
    assert type(trainer.step.loss).__module__ == "one"
    with pytest.raises(
        UnknownNameError, match="offered by"
    ):  # "adam", which bigmodel's Model names, not one's
        bm.Trainer(one())


# Exporters ------------------------------------------------------------------------------------------------

EXPORTER = """
    from bigmodel_core.exporting.exporter import Exporter
    class Told:
        def __init__(self, path): self.path = path
        def __str__(self): return f"wrote {self.path}"
        def to_dict(self): return {"path": str(self.path)}
    class Mute:
        def __init__(self, path): pass
    class Odd(Told):
        def to_dict(self): return {"path": self.path}
    @dataclass(frozen=True)
    class Plain(Exporter):
        suffix = ".plain"
        report: str = "Told"
        def export(self, model, path, **kwargs):
            (path.parent / "beside.bin").write_text("weights")
            path.write_text("new")
            return globals()[self.report](path)
    @hookimpl
    def bigmodel_exporters(): return [Plain]
"""


def test_a_report_that_cannot_be_shown_is_an_error_before_the_file_takes_its_name(
    install: Install, tmp_path: Path
) -> None:
    import bigmodel_core as bm
    from bigmodel_core.errors import PluginError

    install("plain", EXPORTER)
    target = tmp_path / "model.plain"
    target.write_text("old")
    for report in ("Mute", "Odd"):
        with pytest.raises(PluginError, match="its report") as caught:
            bm.export(bm.Sequential(), target, report=report)
        assert "to_dict()" in str(caught.value)
        assert target.read_text() == "old" and not (tmp_path / "beside.bin").exists()
    report = bm.export(bm.Sequential(), target, report="Told", labels=("a", "b"))
    assert target.read_text() == "new" and (tmp_path / "beside.bin").exists()
    assert str(report) == f"wrote {target}" and not list(tmp_path.glob(".*"))


def test_a_file_ending_of_two_exporters_is_the_users_to_settle(install: Install, tmp_path: Path) -> None:
    import bigmodel_core as bm
    from bigmodel_core.errors import UsageError

    install("one", EXPORTER)
    install("two", EXPORTER.replace("Plain", "Other"))
    with pytest.raises(UsageError, match="one:Plain and two:Other") as caught:
        bm.export(bm.Sequential(), tmp_path / "model.plain")
    assert 'exporter="one:Plain"' in str(caught.value)
    bm.export(bm.Sequential(), tmp_path / "model.plain", exporter="two:Other")
    assert (tmp_path / "model.plain").is_file()


# Plugins that print ---------------------------------------------------------------------------------------

LOUD = """
import bigmodel_core as bm
from bigmodel_core.data.dataset import Dataset
import os, subprocess, sys
print("imported")
if "LOUDER" in os.environ:
    os.write(1, b"written to the descriptor\\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"])
@dataclass(frozen=True)
class Noise(Dataset):
    '''Prints while it is loaded.'''
    def load(self, data_dir=None):
        print("loaded")
        return bm.datasets.load("digits")
@hookimpl
def bigmodel_datasets():
    print("asked")
    return [Noise]
"""


def test_a_plugin_that_prints_spoils_no_json(tmp_path: Path) -> None:
    import json

    write_package(tmp_path, "loud", {"loud": LOUD}, {"loud": "loud"}, "1.0")
    for line in ("plugins list --json", "data info noise --json", "--strict-plugins data list --json"):
        done = beside(tmp_path, "-m", "bigmodel_core.cli", *line.split(), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)
        assert "imported" in done.stderr and "asked" in done.stderr
        assert ("loaded" in done.stderr) is ("noise" in line)
    louder = ("-m", "bigmodel_core.cli", "plugins", "list", "--json")
    done = python(*louder, beside=[tmp_path], cwd=tmp_path, LOUDER="1")
    json.loads(done.stdout)
    assert "written to the descriptor" in done.stderr and "from a child" in done.stderr
    code = "import bigmodel_core as bm; print(bm.datasets.Noise.__name__)"
    done = beside(tmp_path, "-c", code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("Noise\n", "imported\nasked\n")


# Ops in checkpoints ---------------------------------------------------------------------------------------

OP = """
import bigmodel_core as bm
@dataclass(frozen=True)
class Times(bm.Op):
    cpu, cuda = bm.elementwise(lambda x: x * FACTOR)
    def infer(self, x): return x
@dataclass(frozen=True)
class Scale(Layer):
    def __call__(self, x): return Times()(x)
@hookimpl
def bigmodel_layers(): return [Scale]
"""


def test_ops_of_plugins_of_one_name_are_told_apart(tmp_path: Path) -> None:
    code = """
import numpy as np, bigmodel_core as bm
x = np.ones((2, 3), "float32")
for name, factor in (("one", 2), ("two", 3)):
    model = bm.layers[f"{name}:Scale"]()
    assert (model(x) == factor).all()
    bm.save(model, f"{name}.safetensors")
    assert (bm.load(f"{name}.safetensors")(x) == factor).all()
"""
    write_package(tmp_path, "one", {"one": OP.replace("FACTOR", "2")}, {"scale": "one"}, "1.0")
    assert beside(tmp_path, "-c", code.replace(', ("two", 3)', ","), cwd=tmp_path).returncode == 0
    (tmp_path / "one.safetensors").rename(tmp_path / "alone.safetensors")
    write_package(tmp_path, "two", {"two": OP.replace("FACTOR", "3")}, {"scale": "two"}, "1.0")
    read = 'print(bm.load("alone.safetensors")(x[:1]))'  # written when there was one plugin of that name
    done = beside(tmp_path, "-c", code + read, cwd=tmp_path)
    assert done.stdout.strip() == "[[2. 2. 2.]]", done.stderr
