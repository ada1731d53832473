"""Where the physics refuses, and where it warns and widens: bounds as data, sentences as answers.

Refusals are for predictions to users; `facts` and `calibrate` speak of whatever was measured. The bounds and the reason of
each stand in `limits.yaml` (source: physics.md section 6).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import yaml

from campaign import materials as campaign_materials
from campaign.materials import Materials
from campaign.recipe import complete
from models.inputs import encode
from models.mixing import dose
from models.parameters import load

_FILE = Path(__file__).parent / "limits.yaml"
EXTRAPOLATION = "extrapolation"


@dataclass(frozen=True)
class Bound:
    """The range of one quantity and why it ends there."""

    name: str
    low: float
    high: float
    unit: str
    reason: str

    def refuse(self, value: float) -> str | None:
        """The sentence that refuses a value, or None."""
        if self.low <= value <= self.high:
            return None
        end = f"at least {self.low:g}" if value < self.low else f"at most {self.high:g}"
        return f"{self.name} is {value:g} {self.unit}, and must be {end} {self.unit}: {self.reason}"


@lru_cache(maxsize=1)
def _data() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return loaded


def _read_box() -> Mapping[str, Bound]:
    return MappingProxyType({name: Bound(name=name, **row) for name, row in _data()["box"].items()})


BOX: Mapping[str, Bound] = _read_box()
"""Bounds of every quantity of a design; a campaign's space must lie inside."""

REDUCED_ABOVE_V_VS_LI: float = _data()["reduced_above_V_vs_Li"]
"""An electrolyte whose window begins above this is reduced inside the cycling window."""


def refusals(designs: pd.DataFrame, *, materials: Materials | None = None) -> list[str | None]:
    """Say for each of n designs why no prediction is made, or None where one is."""
    stock = materials or campaign_materials.load()
    full = complete(designs, stock)
    return [_refuse(row, stock) for row in _records(full)]


def _records(full: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in full.to_dict("records")]


def _refuse(row: Mapping[str, Any], stock: Materials) -> str | None:
    mixer = stock.mixer(row["mixer"])
    if mixer.mixer_class != _data()["mixer_class"]:
        return (
            f"mixer {mixer.name} is of the class {mixer.mixer_class}; the model knows {_data()['mixer_class']} mixers "
            "only: rpm of different classes do not compare"
        )
    for column in ("speed_rpm", "premill_speed_rpm"):
        if row[column] > mixer.max_speed_rpm:
            return f"{column} is {row[column]:g} rpm, above the {mixer.max_speed_rpm:g} rpm that {mixer.name} can do"
    sse = stock.electrolyte(row["sse"])
    if sse.window_low_V_vs_Li > REDUCED_ABOVE_V_VS_LI:
        return (
            f"{sse.name} is reduced below {sse.window_low_V_vs_Li:g} V vs Li, inside the cycling window: the model has "
            f"no cathode whose electrolyte is stable only above {REDUCED_ABOVE_V_VS_LI:g} V"
        )
    for name, value in _bounded(row).items():
        sentence = BOX[name].refuse(value)
        if sentence:
            return sentence
    return None


def _bounded(row: Mapping[str, Any]) -> dict[str, float]:
    """The quantities of a design that have a bound: what a control has not is not bounded."""
    names = {"time_h", "current_mA_cm2", "temperature_C", "stack_pressure_MPa", "ball_ratio", "duty", "cycles"}
    if not (row["speed_rpm"] == 0 and row["time_h"] == 0):
        names.add("speed_rpm")
    if row["premill_h"] > 0:
        names |= {"premill_h", "premill_speed_rpm"}
    if row["heat_h"] > 0:
        names |= {"heat_h", "heat_C"}
    if row["active"] != "none":
        names |= {"active_wt_pct", "sse_wt_pct", "loading_mg_cm2"}
        if row["carbon"] == "none":
            names.discard("sse_wt_pct")
    if row["carbon"] != "none":
        names.add("carbon_wt_pct")
    values = {name: float(row[name]) for name in names}
    if row["active"] == "none":
        values["control_loading_mg_cm2"] = float(row["loading_mg_cm2"])
    return {name: values[name] for name in BOX if name in values}


def warnings(designs: pd.DataFrame, *, materials: Materials | None = None) -> list[list[str]]:
    """Say for each of n designs in what it leaves the calibrated range; each sentence widens the prediction."""
    rules: Mapping[str, Mapping[str, Any]] = _data()["calibrated"]
    out = []
    for row, values in _quantities(designs, materials):
        told = [f"{EXTRAPOLATION}: {name} is {values[name]:.4g}; {rules[name]['text']}" for name in _departures(values)]
        if row["active"] == "none" or row["carbon"] == "none" or row["time_h"] == 0:
            told.append("control: no cathode that anyone would build, shown for comparison")
        out.append(told)
    return out


def departures(designs: pd.DataFrame, *, materials: Materials | None = None) -> list[list[str]]:
    """Names of the quantities in which each of n designs leaves the calibrated range."""
    return [_departures(values) for _, values in _quantities(designs, materials)]


def widening(designs: pd.DataFrame, *, materials: Materials | None = None) -> np.ndarray:
    """Sd in ln of a capacity that each quantity outside its calibrated range adds, (n, quantities).

    The last one is the box: a measured row outside it is scored, though nobody would get a prediction there.
    """
    rules: Mapping[str, Mapping[str, Any]] = _data()["calibrated"]
    left = departures(designs, materials=materials)
    rows = [[rule["widens"] if name in names else 0.0 for name, rule in rules.items()] for names in left]
    outside = [float(_data()["outside_widens"]) if why else 0.0 for why in refusals(designs, materials=materials)]
    return np.column_stack([np.array(rows, dtype=float).reshape(len(left), len(rules)), outside])


def _departures(values: Mapping[str, float]) -> list[str]:
    rules: Mapping[str, Mapping[str, Any]] = _data()["calibrated"]
    return [name for name, rule in rules.items() if name in values and not _inside(values[name], rule)]


def _quantities(designs: pd.DataFrame, materials: Materials | None) -> list[tuple[Mapping[str, Any], dict[str, float]]]:
    stock = materials or campaign_materials.load()
    full = complete(designs, stock)
    p, x = load().values(), encode(full, stock)
    doses = dose(x.speed_rpm, x.time_h, ball_ratio=x.ball_ratio, exponent=p["dose_exponent"], p=p).tolist()
    rows = _records(full)
    return [(row, _numbers(row, stock, dose_h)) for row, dose_h in zip(rows, doses, strict=True)]


def _numbers(row: Mapping[str, Any], stock: Materials, dose_h: float) -> dict[str, float]:
    sse, anode = stock.electrolyte(row["sse"]), stock.anode(row["anode"])
    always = ("speed_rpm", "stack_pressure_MPa", "ball_ratio", "duty", "cycles")
    values = {name: float(row[name]) for name in always}
    values["lot_conductivity_mS_cm"] = sse.conductivity_mS_cm
    values["anode_V_vs_Li"] = anode.potential_V_vs_Li
    if not math.isnan(sse.halide_per_P):
        values["halide_per_P"] = sse.halide_per_P
    if row["active"] != "none":
        values["active_wt_pct"] = float(row["active_wt_pct"])
        values["active_melting_C"] = stock.active(row["active"]).melting_point_C
    if row["heat_h"] > 0:
        values |= {"heat_h": float(row["heat_h"]), "heat_C": float(row["heat_C"])}
    if row["time_h"] > 0:
        values["dose_h"] = dose_h
    return values


def _inside(value: float, rule: Mapping[str, Any]) -> bool:
    if "near" in rule:
        return any(abs(value - point) <= rule["within"] for point in rule["near"])
    return value in rule.get("also", ()) or rule["low"] <= value <= rule["high"]
