"""Where the physics refuses, and where it warns and widens: bounds as data, sentences as answers.

Refusals are for predictions to users; `facts` and `calibrate` speak of whatever was measured. The bounds and the reason of
each stand in `limits.yaml` (source: physics.md section 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from campaign import materials as campaign_materials
from campaign.materials import Materials
from campaign.recipe import complete
from models.inputs import encode_complete
from models.mixing import dose
from models.parameters import load

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
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

    def holds(self, values: Floats) -> Mask:
        """Which of n values lie inside."""
        return np.asarray((self.low <= values) & (values <= self.high))

    def sentence(self, value: float) -> str:
        """What refuses a value outside."""
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
    told: list[str | None] = [None] * len(full)
    for refused, sentence in _refusals(full, stock):
        for place in np.flatnonzero(refused).tolist():
            told[place] = told[place] or sentence(place)
    return told


def _refusals(full: pd.DataFrame, stock: Materials) -> Iterator[tuple[Mask, Callable[[int], str]]]:
    """Which of n designs each rule refuses, and its sentence for one of them; the rules in the order in which they speak.

    Columns, not rows, are looked at: a prior asks about thousands of designs and needs no sentence.
    """
    mixer = [stock.mixer(name) for name in full["mixer"]]
    yield (
        np.array([one.mixer_class != _data()["mixer_class"] for one in mixer], dtype=bool),
        lambda i: (
            f"mixer {mixer[i].name} is of the class {mixer[i].mixer_class}; the model knows {_data()['mixer_class']} mixers "
            "only: rpm of different classes do not compare"
        ),
    )
    fastest = np.array([one.max_speed_rpm for one in mixer], dtype=float)

    def too_fast(column: str, i: int) -> str:
        rpm = full[column].iloc[i]
        return f"{column} is {rpm:g} rpm, above the {fastest[i]:g} rpm that {mixer[i].name} can do"

    for column in ("speed_rpm", "premill_speed_rpm"):
        yield full[column].to_numpy(dtype=float) > fastest, partial(too_fast, column)
    sse = [stock.electrolyte(name) for name in full["sse"]]
    yield (
        np.array([one.window_low_V_vs_Li > REDUCED_ABOVE_V_VS_LI for one in sse], dtype=bool),
        lambda i: (
            f"{sse[i].name} is reduced below {sse[i].window_low_V_vs_Li:g} V vs Li, inside the cycling window: the model has "
            f"no cathode whose electrolyte is stable only above {REDUCED_ABOVE_V_VS_LI:g} V"
        ),
    )
    bounded = _bounded(full)

    def outside(name: str, i: int) -> str:
        return BOX[name].sentence(bounded[name][0][i])

    for name, (values, where) in bounded.items():
        yield where & ~BOX[name].holds(values), partial(outside, name)


def _bounded(full: pd.DataFrame) -> dict[str, tuple[Floats, Mask]]:
    """The quantities of n designs that have a bound, and where: what a control has not is not bounded."""

    def column(name: str) -> Floats:
        return full[name].to_numpy(dtype=float)

    everywhere = np.ones(len(full), dtype=bool)
    mixed = ~((column("speed_rpm") == 0) & (column("time_h") == 0))
    premilled, heated = column("premill_h") > 0, column("heat_h") > 0
    active, carbon = full["active"].ne("none").to_numpy(), full["carbon"].ne("none").to_numpy()
    bounded = {"speed_rpm": mixed, "premill_h": premilled, "premill_speed_rpm": premilled}
    bounded |= {"heat_h": heated, "heat_C": heated, "carbon_wt_pct": carbon}
    bounded |= {"active_wt_pct": active, "loading_mg_cm2": active, "sse_wt_pct": active & carbon}
    for name in ("time_h", "current_mA_cm2", "temperature_C", "stack_pressure_MPa", "ball_ratio", "duty", "cycles"):
        bounded[name] = everywhere
    found = {name: (column(name), where) for name, where in bounded.items()}
    found["control_loading_mg_cm2"] = (column("loading_mg_cm2"), ~active)
    return {name: found[name] for name in BOX if name in found}


def warnings(designs: pd.DataFrame, *, materials: Materials | None = None) -> list[list[str]]:
    """Say for each of n designs in what it leaves the calibrated range; each sentence widens the prediction."""
    stock = materials or campaign_materials.load()
    full = complete(designs, stock)
    quantities = _quantities(full, stock)
    left = _departures(quantities)
    control = (full["active"].eq("none") | full["carbon"].eq("none") | full["time_h"].eq(0)).to_numpy()
    out = []
    for i in range(len(full)):
        told = [
            f"{EXTRAPOLATION}: {name} is {quantities[name][0][i]:.4g}; {_rules()[name]['text']}"
            for name, where in left.items()
            if where[i]
        ]
        if control[i]:
            told.append("control: no cathode that anyone would build, shown for comparison")
        out.append(told)
    return out


def departures(designs: pd.DataFrame, *, materials: Materials | None = None) -> list[list[str]]:
    """Names of the quantities in which each of n designs leaves the calibrated range."""
    stock = materials or campaign_materials.load()
    left = _departures(_quantities(complete(designs, stock), stock))
    return [[name for name, where in left.items() if where[i]] for i in range(len(designs))]


def widening(designs: pd.DataFrame, *, materials: Materials | None = None) -> Floats:
    """Sd in ln of a capacity that each quantity outside its calibrated range adds, (n, `n_quantities`).

    The last one is the box: a measured row outside it is scored, though nobody would get a prediction there.
    """
    stock = materials or campaign_materials.load()
    return widening_complete(complete(designs, stock), stock)


def widening_complete(full: pd.DataFrame, stock: Materials) -> Floats:
    """`widening` of n designs that `campaign.recipe.complete` has been through."""
    left = _departures(_quantities(full, stock))
    refused = np.zeros(len(full), dtype=bool)
    for here, _ in _refusals(full, stock):
        refused |= here
    columns = [np.where(where, float(_rules()[name]["widens"]), 0.0) for name, where in left.items()]
    return np.column_stack([*columns, np.where(refused, float(_data()["outside_widens"]), 0.0)])


def n_quantities() -> int:
    """How many quantities may leave their range, the box among them."""
    return len(_rules()) + 1


def _rules() -> Mapping[str, Mapping[str, Any]]:
    rules: Mapping[str, Mapping[str, Any]] = _data()["calibrated"]
    return rules


def _departures(quantities: Mapping[str, tuple[Floats, Mask]]) -> dict[str, Mask]:
    """Where each quantity that has a calibrated range leaves it, (n,) each, in the order of the rules."""
    nowhere = np.zeros(len(next(iter(quantities.values()))[0]), dtype=bool)
    left = {}
    for name, rule in _rules().items():
        values, known = quantities.get(name, (nowhere, nowhere))
        left[name] = known & ~_inside(values, rule)
    return left


def _quantities(full: pd.DataFrame, stock: Materials) -> dict[str, tuple[Floats, Mask]]:
    """What has a calibrated range, of n designs, and of which of them it can be said."""

    def column(name: str) -> Floats:
        return full[name].to_numpy(dtype=float)

    p, x = load().values(), encode_complete(full, stock)
    doses = dose(x.speed_rpm, x.time_h, ball_ratio=x.ball_ratio, exponent=p["dose_exponent"], p=p).numpy()
    everywhere = np.ones(len(full), dtype=bool)
    active, heated = full["active"].ne("none").to_numpy(), column("heat_h") > 0
    sse = [stock.electrolyte(name) for name in full["sse"]]
    halide = np.array([one.halide_per_P for one in sse], dtype=float)
    melting = np.array([stock.active(name).melting_point_C if name != "none" else np.nan for name in full["active"]])
    found = {
        name: (column(name), everywhere) for name in ("speed_rpm", "stack_pressure_MPa", "ball_ratio", "duty", "cycles")
    }
    return found | {
        "lot_conductivity_mS_cm": (np.array([one.conductivity_mS_cm for one in sse], dtype=float), everywhere),
        "anode_V_vs_Li": (
            np.array([stock.anode(name).potential_V_vs_Li for name in full["anode"]], dtype=float),
            everywhere,
        ),
        "halide_per_P": (halide, ~np.isnan(halide)),
        "active_wt_pct": (column("active_wt_pct"), active),
        "active_melting_C": (melting, active),
        "heat_h": (column("heat_h"), heated),
        "heat_C": (column("heat_C"), heated),
        "dose_h": (doses, column("time_h") > 0),
    }


def _inside(values: Floats, rule: Mapping[str, Any]) -> Mask:
    if "near" in rule:
        near = np.abs(values[:, None] - np.array(rule["near"], dtype=float)) <= rule["within"]
        return np.asarray(near.any(axis=1))
    between = (rule["low"] <= values) & (values <= rule["high"])
    return np.asarray(between | np.isin(values, rule.get("also", ())))
