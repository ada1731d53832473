"""Column names with units: `crystallite_size` in `um` is the column `crystallite_size_um`, and back.

The paper's rows and the ledger keep observable and unit apart; tables carry both in the column name.
"""

from __future__ import annotations

_SUFFIX_OF_UNIT = {
    "1": "",
    "bool": "",
    "a.u.": "",
    "cycle": "",
    "%": "pct",
    "mAh/cm2": "mAh_cm2",
    "mAh/g composite": "mAh_g_composite",
    "mAh/g active": "mAh_g_active",
    "mAh/g": "mAh_g",
    "Wh/kg composite": "Wh_kg_composite",
    "mWh/cm2": "mWh_cm2",
    "mS/cm": "mS_cm",
    "S/cm": "S_cm",
    "mg/cm2": "mg_cm2",
    "mA/cm2": "mA_cm2",
    "ohm cm2": "ohm_cm2",
    "cm2/s": "cm2_s",
    "kJ/g": "kJ_g",
    "wt%": "wt_pct",
    "V": "V",
    "V vs Li-In": "V",
    "MPa": "MPa",
    "angstrom": "angstrom",
    "um": "um",
    "nm": "nm",
    "mg": "mg",
    "rpm": "rpm",
    "h": "h",
    "degC": "C",
    "W/g": "W_g",
}
_UNIT_OF_SUFFIX = {suffix: unit for unit, suffix in reversed(_SUFFIX_OF_UNIT.items()) if suffix}
_BY_LENGTH = sorted(_UNIT_OF_SUFFIX, key=len, reverse=True)


def column(observable: str, unit: str) -> str:
    """Return the column name of an observable in a unit.

    >>> column("crystallite_size", "um"), column("surface_halide_to_P", "1")
    ('crystallite_size_um', 'surface_halide_to_P')
    """
    suffix = _SUFFIX_OF_UNIT.get(unit, unit.replace("/", "_").replace(" ", "_"))
    return f"{observable}_{suffix}" if suffix else observable


def split(name: str) -> tuple[str, str]:
    """Return observable and unit of a column name; the unit of a bare number is `1`.

    >>> split("discharge_capacity_cycle_100_mAh_g_composite")
    ('discharge_capacity_cycle_100', 'mAh/g composite')
    >>> split("surface_halide_to_P")
    ('surface_halide_to_P', '1')
    """
    for suffix in _BY_LENGTH:
        if name.endswith("_" + suffix):
            return name[: -len(suffix) - 1], _UNIT_OF_SUFFIX[suffix]
    return name, "1"
