"""Names and numbers for people: units as they are written on paper, four significant digits, short recipes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

UNITS = {
    "mAh_g_composite": "mAh g⁻¹ composite",
    "mAh_g_active": "mAh g⁻¹ active",
    "mAh_g": "mAh g⁻¹",
    "Wh_kg": "Wh kg⁻¹",
    "mAh_cm2": "mAh cm⁻²",
    "mWh_cm2": "mWh cm⁻²",
    "mS_cm": "mS cm⁻¹",
    "S_cm": "S cm⁻¹",
    "mg_cm2": "mg cm⁻²",
    "mA_cm2": "mA cm⁻²",
    "cm2_s": "cm² s⁻¹",
    "kJ_g": "kJ g⁻¹",
    "wt_pct": "wt%",
    "pct": "%",
    "rpm": "rpm",
    "MPa": "MPa",
    "kJ": "kJ",
    "kWh": "kWh",
    "Wh": "Wh",
    "um": "µm",
    "nm": "nm",
    "mg": "mg",
    "h": "h",
    "C": "°C",
    "V": "V",
}
"""Unit at the end of a column name -> the unit as written."""

_WORDS = {
    "surface_halide_to_P": "halide to P at the surface",
    "q2_over_q1": "Q2 / Q1",
    "sse": "SSE",
    "active": "active material",
    "carbon": "carbon",
    "time_h": "net time (h)",
    "trial_id": "trial",
    "coulombic_efficiency": "coulombic efficiency",
}
_SHORT = {"active_wt_pct": "active", "sse_wt_pct": "SSE", "carbon_wt_pct": "carbon"}


def unit_of(column: str) -> str:
    """Return the unit of a column as written, or an empty string.

    >>> unit_of("discharge_areal_capacity_mAh_cm2")
    'mAh cm⁻²'
    """
    return next((text for tail, text in UNITS.items() if column.endswith("_" + tail)), "")


def label(column: str) -> str:
    """Return a column name as words with the unit in brackets.

    >>> label("speed_rpm"), label("discharge_capacity_cycle_100_mAh_g_composite")
    ('speed (rpm)', 'discharge capacity cycle 100 (mAh g⁻¹ composite)')
    """
    if column in _WORDS:
        return _WORDS[column]
    for tail, text in UNITS.items():
        if column.endswith("_" + tail):
            return f"{_spaced(column[: -len(tail) - 1])} ({text})"
    return _spaced(column)


def plain_name(column: str) -> str:
    """Return a column name as words, without its unit.

    >>> plain_name("stack_pressure_MPa"), plain_name("ball_ratio")
    ('stack pressure', 'ball ratio')
    """
    words, unit = label(column), unit_of(column)
    return words.removesuffix(f" ({unit})") if unit else words


def _spaced(column: str) -> str:
    return " ".join("SSE" if word == "sse" else word for word in column.split("_"))


def number(value: Any, digits: int = 4) -> str:
    """Write a number with at most `digits` significant digits; a dash where there is none.

    >>> number(353.2481), number(float("nan")), number(1850.0), number(0.00001234567)
    ('353.2', '–', '1850', '1.235e-05')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{float(f'{value:.{digits}g}'):.10g}"
    return f"{value:.{digits}g}"


def text(value: Any) -> str:
    """Write any cell of a table: numbers by `number`, missing ones as a dash, all else as it stands."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if hasattr(value, "__float__") and not isinstance(value, str):
        return number(float(value))
    return "–" if value is None or value is pd.NA or value is pd.NaT else str(value)


def shorten(words: str, longest: int) -> str:
    """Cut words to at most `longest` letters, an ellipsis at the end where something was cut; line breaks become blanks.

    >>> shorten("a very long name", 8)
    'a very …'
    """
    line = " ".join(words.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def short_recipe(recipe: Mapping[Any, Any]) -> str:
    """Return a recipe in one line, what decides first.

    >>> short_recipe({"speed_rpm": 1850.0, "time_h": 4.25, "active": "S", "active_wt_pct": 27.5, "sse": "LPSClI"})
    '1850 rpm, 4.25 h, S 27.5 wt%, LPSClI'
    """
    given = {name: value for name, value in recipe.items() if text(value) != "–"}
    parts = [f"{number(given[name])} {unit}" for name, unit in (("speed_rpm", "rpm"), ("time_h", "h")) if name in given]
    if "active_wt_pct" in given:
        parts.append(f"{shorten(str(given.get('active', 'active')), 20)} {number(given['active_wt_pct'])} wt%")
    parts += [shorten(str(given["sse"]), 30)] if "sse" in given else []
    return ", ".join(parts)
