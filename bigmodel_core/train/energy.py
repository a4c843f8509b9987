"""What a run used: energy by codecarbon's measurement or from CPU time, carbon dioxide and money."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import ConfigError, UsageError
from bigmodel_core.extras import optional
from bigmodel_core.registry.field_limits import check_number

INTENSITY = 480.0
"""Grams of carbon dioxide for a kWh of electricity, the world's mean of 2023 (Ember, 2024)."""
WATTS = ((8, 10.0), (32, 6.0), (None, 4.0))
"""Watts of a busy core, with its share of memory and supply, of machines of up to so many cores: a laptop or
desktop processor of 65 W has 6 or 8 of them, a server's of 240 W has 64."""


@dataclass(frozen=True, kw_only=True)
class Energy:
    """How the energy of a run is counted. What is None is taken from the environment, else a usual value.

    Args:
        watts: of a busy core; `BIGMODEL_WATTS`, else 10 of machines of up to 8 cores, 6 up to 32, 4 above.
        carbon_intensity: grams of carbon dioxide for a kWh; `BIGMODEL_CARBON_INTENSITY`, else 480, the
            world's mean.
        price: of a kWh; `BIGMODEL_ENERGY_PRICE`, else unknown, and so is the cost.
        codecarbon: measure with codecarbon, the extra `energy`, which also sees memory and NVIDIA's GPUs,
            rather than estimate from CPU time.

    Raises:
        ConfigError: a number is negative, or none.

    >>> import bigmodel_core as bm
    >>> bm.Energy(price=0.3).price
    0.3
    """

    watts: float | None = None
    carbon_intensity: float | None = None
    price: float | None = None
    codecarbon: bool = False

    def __post_init__(self) -> None:
        for name in ("watts", "carbon_intensity", "price"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, _from_environment(name))
            else:
                check_number(self, name, at_least=0)

    def of(self, kwh: float, before: Mapping[str, Any] | None = None) -> dict[str, float | None]:
        """What an amount of energy means: carbon dioxide and money, as what came before counted them unless
        other numbers are given."""
        known = before or {}
        intensity = (
            self.carbon_intensity if self.carbon_intensity is not None else known.get("carbon_intensity")
        )
        price = self.price if self.price is not None else known.get("price")
        intensity = INTENSITY if intensity is None else intensity
        return {
            "kwh": kwh,
            "co2_kg": kwh * intensity / 1000,
            "cost": None if price is None else kwh * price,
            "carbon_intensity": intensity,
            "price": price,
        }


def _from_environment(name: str) -> float | None:
    variable = {"price": "BIGMODEL_ENERGY_PRICE"}.get(name, f"BIGMODEL_{name.upper()}")
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ConfigError(
            f"{variable} is {text!r}, expected a number of at least 0.", fix="set it, or unset it."
        )
    return number


def usual_watts(cores: int) -> float:
    """Watts of a busy core of a machine of so many."""
    return next(watts for most, watts in WATTS if most is None or cores <= most)


class Meter:
    """Counts what this process uses, from when it is made.

    Args:
        energy: how.
        on_gpu: whether a GPU computes, which an estimate from CPU time leaves out.

    Raises:
        UsageError: `energy` is something else.
        MissingPackageError: codecarbon is to measure, and is not installed.
    """

    def __init__(self, energy: Energy, *, on_gpu: bool = False) -> None:
        if not isinstance(energy, Energy):
            raise UsageError(
                f"energy is a {type(energy).__name__}, expected an Energy.",
                fix="pass energy=bm.Energy(price=0.3).",
            )
        self.energy, self.on_gpu = energy, on_gpu
        self._tracker: Any = None
        if energy.codecarbon:
            module = optional("codecarbon", "energy", "measurements of energy")
            logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
            self._tracker = module.OfflineEmissionsTracker(
                country_iso_code="USA", save_to_file=False, log_level="critical", allow_multiple_runs=True
            )
            self._tracker.start()
        self._seconds, self._cpu_seconds = time.perf_counter(), time.process_time()

    def read(self, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What was used, with what the run had used before; the meter then stops.

        Returns:
            `kwh`, `co2_kg`, `cost` (None without a price), `how` ("codecarbon" or "estimate"), `seconds`,
            `cpu_seconds` and what they were counted with.
        """
        known = before or {}
        seconds, cpu = time.perf_counter() - self._seconds, time.process_time() - self._cpu_seconds
        if self._tracker is not None:
            self._tracker.stop()
            kwh = float(self._tracker.final_emissions_data.energy_consumed)
        else:
            cores = os.cpu_count() or 1
            watts = usual_watts(cores) if self.energy.watts is None else self.energy.watts
            kwh = cpu * watts / 3.6e6
        is_measured = self._tracker is not None and known.get("how", "codecarbon") == "codecarbon"
        found: dict[str, Any] = self.energy.of(kwh + known.get("kwh", 0.0), known)
        found["how"] = "codecarbon" if is_measured else "estimate"
        found["seconds"] = seconds + known.get("seconds", 0.0)
        found["cpu_seconds"] = cpu + known.get("cpu_seconds", 0.0)
        if (self.on_gpu and self._tracker is None) or known.get("leaves_out"):
            found["leaves_out"] = "the GPU"
        return found


def described(used: Mapping[str, Any]) -> str:
    """What a run used, for people.

    >>> described({"kwh": 0.0021, "co2_kg": 0.001, "cost": 0.00063, "how": "estimate"})
    '2.1 Wh, 1 g of CO2, cost 0.00063 (an estimate from CPU time)'
    """
    cost = "" if used.get("cost") is None else f", cost {used['cost']:.2g}"
    left = f", without {used['leaves_out']}" if used.get("leaves_out") else ""
    how = "measured by codecarbon" if used["how"] == "codecarbon" else f"an estimate from CPU time{left}"
    return f"{1000 * used['kwh']:.3g} Wh, {1000 * used['co2_kg']:.3g} g of CO2{cost} ({how})"
