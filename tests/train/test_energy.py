"""What a run used, as its configuration says."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, MissingPackageError
from bigmodel_core.train.energy import usual_watts
from bigmodel_core.train.trainer import Trainer

from .conftest import labelled

DATA = labelled(60)


def used(out: Path, energy: bm.Energy | None = None) -> dict[str, Any]:
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd", energy=energy, out=out)
    trainer.fit(DATA, epochs=2, batch_size=10, verbose=False)
    return read(out)


def read(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text())["energy"]
    return found


def test_energy_is_estimated_from_the_cpu_time(tmp_path: Path) -> None:
    found = used(tmp_path, bm.Energy(watts=36.0, carbon_intensity=500.0, price=0.25))
    assert found["how"] == "estimate" and found["cpu_seconds"] > 0 and found["seconds"] > 0
    assert found["kwh"] == pytest.approx(found["cpu_seconds"] * 1e-5)
    assert found["co2_kg"] == pytest.approx(found["kwh"] * 0.5)
    assert found["cost"] == pytest.approx(found["kwh"] * 0.25)


def test_a_resumed_run_adds_to_what_it_had_used_and_counts_it_alike(tmp_path: Path) -> None:
    used(tmp_path, bm.Energy(watts=36.0, carbon_intensity=100.0, price=2.0))
    before = {"kwh": 1.0, "cpu_seconds": 1e5, "seconds": 2e5, "leaves_out": "the GPU"}
    manifest = json.loads((tmp_path / "run.json").read_text())
    manifest["energy"].update(before)
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    Trainer.resume(tmp_path).fit(DATA, epochs=3, verbose=False)
    after = read(tmp_path)
    more = {name: after[name] - before[name] for name in ("kwh", "cpu_seconds", "seconds")}
    assert 0 < more["cpu_seconds"] < 60 and 0 < more["seconds"] < 60 and after["leaves_out"] == "the GPU"
    assert more["kwh"] == pytest.approx(more["cpu_seconds"] * usual_watts(os.cpu_count() or 1) / 3.6e6)
    assert after["co2_kg"] == pytest.approx(after["kwh"] * 0.1)
    assert after["cost"] == pytest.approx(after["kwh"] * 2.0)


def test_numbers_come_from_the_environment_unless_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WATTS": "3.6", "CARBON_INTENSITY": "20", "ENERGY_PRICE": "0.5"}.items():
        monkeypatch.setenv(f"BIGMODEL_{name}", value)
    assert bm.Energy() == bm.Energy(watts=3.6, carbon_intensity=20.0, price=0.5)
    assert bm.Energy(price=0.1).price == 0.1
    assert used(tmp_path)["carbon_intensity"] == 20.0
    monkeypatch.setenv("BIGMODEL_WATTS", "many")
    with pytest.raises(ConfigError, match="BIGMODEL_WATTS is 'many'"):
        bm.Energy()


def test_a_core_of_a_large_machine_takes_fewer_watts() -> None:
    assert [usual_watts(cores) for cores in (1, 8, 9, 32, 33, 256)] == [10, 10, 6, 6, 4, 4]


def test_codecarbon_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with pytest.raises(MissingPackageError, match=r'pip install "bigmodel\[energy\]"'):
        used(tmp_path / "run", bm.Energy(codecarbon=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore")
def test_codecarbon_measures(tmp_path: Path) -> None:
    pytest.importorskip("codecarbon", reason="codecarbon is not installed")
    found = used(tmp_path, bm.Energy(codecarbon=True))
    assert found["how"] == "codecarbon" and found["kwh"] > 0
