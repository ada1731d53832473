"""Measured rows as people write them, made into what the model compares: relations, units, names, gaps; or why not.

A row that cannot be compared (a material that nobody defined, a unit of something else, no value) stays in the table with its
reason and is printed `not modelled`; the others are scored. Nothing is dropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from campaign import quantity
from campaign.errors import Refusal
from campaign.materials import Materials
from campaign.recipe import (
    DESIGN_COLUMNS,
    PUBLISHED_PROTOCOL,
    PUBLISHED_RECIPE,
    TEXT_COLUMNS,
    complete,
)
from campaign.units import factor, plain

REQUIRED = ("id", "active", "sse", "speed_rpm", "time_h", "observable", "value", "relation")
LAST_CYCLE = 2000
"""Longest record that is followed."""

_RELATIONS = {
    "=": "=", "==": "=", "~": "=", "≈": "=", "about": "=", "": "=", ">=": ">=", "≥": ">=", ">": ">=", "=>": ">=",
    "at least": ">=", "<=": "<=", "≤": "<=", "<": "<=", "=<": "<=", "at most": "<=",
}  # fmt: skip
_WORDS = {"yes": 1.0, "true": 1.0, "seen": 1.0, "no": 0.0, "false": 0.0, "not seen": 0.0, "none": 0.0}
_UNITS: tuple[tuple[str, str, str], ...] = (
    ("areal_capacity", "capacity_per_area", "mAh/cm2"),
    ("specific_capacity", "capacity_per_mass", "mAh/g"),
    ("retention", "share", "%"),
    ("utilisation", "share", "%"),
    ("volume_change", "share", "%"),
    ("coulombic_efficiency", "share", "%"),
    ("thickness", "length", "nm"),
    ("size", "length", "um"),
    ("conductivity", "conductivity", "mS/cm"),
    ("voltage", "voltage", "V"),
    ("pressure", "pressure", "MPa"),
    ("temperature", "temperature", "degC"),
)
"""Word in the name of an observable -> its quantity and the unit in which the model gives it."""

_DEFAULT_HEAT_H = 3.0
"""A heat step without its time is taken as long as those of the paper."""

_LI_IN_V = 0.62


@dataclass(frozen=True)
class Tidy:
    """Rows, their completed designs, and why a row cannot be compared (None where it can).

    `value` and `abs_uncertainty` of a row are in the model's unit, which is that of the row times `scale` plus `offset`.
    """

    rows: pd.DataFrame
    designs: pd.DataFrame
    reasons: list[str | None]


def tidy(table: pd.DataFrame, materials: Materials | None) -> Tidy:
    """Make n rows comparable.

    Raises:
        Refusal: a column is missing, or the rows are no table of measurements at all.
    """
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise Refusal(f"the rows lack the column {missing[0]}; needed are {', '.join(REQUIRED)}")
    rows = table.reset_index(drop=True).copy()
    reasons: list[str | None] = [None] * len(rows)
    rows["observable"] = rows["observable"].map(_text)
    rows["cycle"] = pd.to_numeric(rows["cycle"], errors="coerce") if "cycle" in rows else np.nan
    for name in ("rel_uncertainty", "abs_uncertainty"):
        rows[name] = pd.to_numeric(rows[name], errors="coerce").abs() if name in rows else np.nan
    read = [_read(record) for record in rows.to_dict("records")]
    for name in ("observable", "relation", "value", "abs_uncertainty", "scale", "offset"):
        rows[name] = [getattr(one, name) for one in read]
    reasons = [one.reason for one in read]
    designs = _designs(rows, materials, reasons)
    return Tidy(rows, designs, reasons)


@dataclass(frozen=True)
class _Read:
    observable: str
    relation: str
    value: float
    abs_uncertainty: float
    scale: float
    offset: float
    reason: str | None


def _read(row: Mapping[object, object]) -> _Read:
    """Observable, relation, value and its error of one row in the model's own words and units."""
    observable, unit = _text(row["observable"]), _text(row.get("unit"))
    if not unit and quantity.split(observable)[0] != observable:
        observable, unit = quantity.split(observable)
    relation = _text(row["relation"]).lower()
    value = _value(row["value"])
    error = float(str(row["abs_uncertainty"]))
    reason, scale, offset = _wrong(relation, value, float(str(row["cycle"]))), 1.0, 0.0
    if reason is None:
        try:
            scale, offset = _conversion(observable, unit)
        except Refusal as why:
            reason = str(why)
        else:
            value, error = value * scale + offset, error * abs(scale)
    return _Read(observable, _RELATIONS.get(relation, relation), value, error, scale, offset, reason)


def _text(cell: object) -> str:
    empty = cell is None or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell))
    return "" if empty else str(cell).strip()


def _value(cell: object) -> float:
    if isinstance(cell, bool):
        return float(cell)
    text = _text(cell).lower()
    if text in _WORDS:
        return _WORDS[text]
    number = pd.to_numeric(text, errors="coerce")
    return float(number)


def _wrong(relation: str, value: float, cycle: float) -> str | None:
    if relation not in _RELATIONS:
        return f"relation {relation!r} is none of =, <=, >="
    if not math.isfinite(value):
        return "no value"
    if not math.isnan(cycle) and not 1 <= cycle <= LAST_CYCLE:
        return f"cycle {cycle:g} is outside 1 to {LAST_CYCLE}"
    return None


def _conversion(observable: str, unit: str) -> tuple[float, float]:
    """Factor and offset from a unit to the model's own; an observable whose unit has no other spelling stays as it is."""
    known = next(((kind, own) for word, kind, own in _UNITS if word in observable), None)
    if known is None or not unit:
        return 1.0, 0.0
    kind, own = known
    against = 0.0
    if kind == "voltage" and "gap" not in observable and re.search(r"vs\.?\s*Li(?!\s*[-–]?\s*In)", unit):
        against = -_LI_IN_V
    return factor(plain(unit), kind) / factor(own, kind), against


def _designs(rows: pd.DataFrame, materials: Materials | None, reasons: list[str | None]) -> pd.DataFrame:
    """Completed designs of n rows; a row that is no recipe gets the published one and its reason."""
    given = _filled(rows[[name for name in DESIGN_COLUMNS if name in rows]])
    try:
        return complete(given, materials)
    except Refusal:
        return pd.concat([_one(given, k, materials, reasons) for k in range(len(given))], ignore_index=True)


def _one(given: pd.DataFrame, k: int, materials: Materials | None, reasons: list[str | None]) -> pd.DataFrame:
    try:
        return complete(given.iloc[[k]], materials)
    except Refusal as why:
        reasons[k] = reasons[k] or re.sub(r"^row \d+[:,] ", "", str(why))
        return complete(pd.DataFrame({"time_h": [5.0]}, index=[k]), materials)


def _filled(given: pd.DataFrame) -> pd.DataFrame:
    """Cells left empty take the published value, except what a control has not and a heat step that is not there."""
    full = given.copy()
    for name in full:
        if name in TEXT_COLUMNS:
            full[name] = full[name].map(lambda text: text if pd.isna(text) else str(text).strip())
        else:
            numbers = pd.to_numeric(full[name], errors="coerce")
            # A cell that holds something but no number must not turn into the published value in silence.
            full[name] = numbers if numbers.notna().eq(full[name].notna()).all() else full[name]
    for kind in ("active", "carbon"):
        share = full.get(f"{kind}_wt_pct")
        if kind in full and share is not None:
            full[kind] = full[kind].where(full[kind].notna() | share.ne(0), "none")
            full[kind] = full[kind].map(
                lambda text: "none" if isinstance(text, str) and text.lower() == "none" else text
            )
            full[f"{kind}_wt_pct"] = share.where(share.notna() | full[kind].ne("none"), 0.0)
    for name, value in {**PUBLISHED_RECIPE, **PUBLISHED_PROTOCOL}.items():
        if name in full and name != "heat_C":
            full[name] = full[name].where(full[name].notna(), value)
    if "carbon_wt_pct" in full:
        active = full.get("active_wt_pct", pd.Series(PUBLISHED_RECIPE["active_wt_pct"], full.index))
        sse = full.get("sse_wt_pct", pd.Series(PUBLISHED_RECIPE["sse_wt_pct"], full.index))
        rest = 100.0 - pd.to_numeric(active, errors="coerce") - pd.to_numeric(sse, errors="coerce")
        full["carbon_wt_pct"] = full["carbon_wt_pct"].where(full["carbon_wt_pct"].notna(), rest)
    if "heat_C" in full:
        hours = full.get("heat_h", pd.Series(0.0, full.index))
        full["heat_h"] = hours.where(full["heat_C"].isna() | hours.ne(0), _DEFAULT_HEAT_H)
    return full


def mix_columns(designs: pd.DataFrame) -> pd.DataFrame:
    """What makes one mix: active, SSE, wt%, carbon, speed, time, pre-mill, heat; what a step that is not there says is void."""
    names = [
        "active", "sse", "active_wt_pct", "sse_wt_pct", "carbon_wt_pct", "carbon", "speed_rpm", "time_h", "premill_h",
        "premill_speed_rpm", "heat_C", "heat_h",
    ]  # fmt: skip
    mix = designs[names].copy()
    mix["premill_speed_rpm"] = mix["premill_speed_rpm"].where(mix["premill_h"] > 0, 0.0)
    mix["heat_C"] = mix["heat_C"].where(mix["heat_h"] > 0)
    return mix
