"""A table of capacity against cycle: mAh, mAh per gram or mAh per cm2, turned into mAh with the cell's own mass and area."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from campaign import units
from campaign.errors import Refusal
from ingest.checks import CellFacts
from ingest.cycles import Row, empty, with_efficiencies
from ingest.findings import Finding, Start
from ingest.headers import Header, find, parse
from ingest.numbers import EMPTY
from ingest.tables import Floats, Table

_DISCHARGE: tuple[str, ...] = (
    "dischargecapacity",
    "dischargearealcapacity",
    "arealdischargecapacity",
    "dischargespecificcapacity",
    "specificdischargecapacity",
    "specificcapacitydischarge",
    "capacitydischarge",
    "dischargecap",
    "dischgcapacity",
    "dchgcapacity",
    "dchgcap",
    "dchgspeccap",
    "qdis",
    "qdischarge",
    "qd",
    "dischargecapacitycomposite",
    "capacity",
    "specificcapacity",
    "arealcapacity",
)
_CHARGE: tuple[str, ...] = (
    "chargecapacity",
    "chargearealcapacity",
    "arealchargecapacity",
    "chargespecificcapacity",
    "specificchargecapacity",
    "specificcapacitycharge",
    "capacitycharge",
    "chargecap",
    "chgcapacity",
    "chgcap",
    "chgspeccap",
    "qchg",
    "qcharge",
    "qcha",
    "qc",
)
_EFFICIENCY = ("coulombicefficiency", "ce", "efficiency", "cesamecycle", "ceoutin")
_VOLTAGES = {
    "mean_discharge_voltage_V": ("meandischargevoltage", "averagedischargevoltage"),
    "mean_charge_voltage_V": ("meanchargevoltage", "averagechargevoltage"),
}
_CAPACITIES = ("capacity", "capacity_per_mass", "capacity_per_area")
_GIVEN: Mapping[str | None, str] = MappingProxyType(
    {"capacity": "mAh", "capacity_per_mass": "mAh/g", "capacity_per_area": "mAh/cm2"}
)


def is_capacity_table(headers: list[Header]) -> bool:
    """Say whether a table with these headers lists capacities by cycle."""
    timed = find(headers, "time_s") is not None or find(headers, "step_time_s") is not None
    no_series = not timed or find(headers, "current_mA") is None
    return (
        no_series
        and find(headers, "cycle") is not None
        and (_find(headers, _DISCHARGE) or _find(headers, _CHARGE)) is not None
    )


def _find(headers: list[Header], names: tuple[str, ...]) -> int | None:
    found = [(names.index(header.name), position) for position, header in enumerate(headers) if header.name in names]
    return min(found)[1] if found else None


def read(table: Table, *, start: Start, facts: CellFacts, need_mAh: bool) -> tuple[list[Row], list[Finding]]:
    """Return one row a cycle (`ingest.cycles.COLUMNS`) and what was noticed.

    Args:
        table: a header and its columns.
        start: direction of the first half-cycle of cycle 1.
        facts: mass and area of the cell.
        need_mAh: refuse where mass or area is missing; else leave the value out and say so (`inspect`).

    Raises:
        Refusal: cycle numbers that are not whole and rising, a capacity without a known unit, a negative or missing value.
    """
    headers = [parse(name) for name in table.header]
    position = find(headers, "cycle")
    assert position is not None
    cycle = _cycles(table, position)
    rows = [empty(number) for number in cycle]
    findings: list[Finding] = [Finding("file", "note", note) for note in table.notes]
    for kind, names in (("discharge", _DISCHARGE), ("charge", _CHARGE)):
        column = _find(headers, names)
        if column is not None:
            values, given, key = _capacity(table, headers[column], column, facts, findings, need_mAh)
            for row, value, as_given in zip(rows, values.tolist(), given.tolist(), strict=True):
                row |= {f"{kind}_{key}": as_given, f"{kind}_capacity_mAh": value}
                row[f"{kind}_state"] = "complete" if math.isfinite(value) else "absent"
    for name, names in _VOLTAGES.items():
        column = _find(headers, names)
        if column is not None:
            volts = table.floats(column, empty=True) * units.factor(headers[column].unit or "V", "voltage")
            for row, volt in zip(rows, volts.tolist(), strict=True):
                row[name] = volt
    rows = with_efficiencies(rows, start)
    _compare_efficiency(table, headers, rows, findings)
    if any(after - before > 1 for before, after in pairwise(cycle)):
        findings.append(
            Finding("cycles", "note", "some cycles are left out in this table; nothing is filled in between")
        )
    return rows, findings


def _cycles(table: Table, position: int) -> list[int]:
    cycle = table.floats(position)
    for row, value in enumerate(cycle.tolist()):
        if value != round(value) or value < 0:
            raise Refusal(f"{table.where(row, position)}: {value:g} is no cycle number; expected 1, 2, 3, …")
        if row and value == cycle[row - 1]:
            raise Refusal(
                f"{table.where(row, position)}: cycle {value:g} stands there twice; are two channels or cells in one "
                "file?"
            )
        if row and value < cycle[row - 1]:
            raise Refusal(
                f"{table.where(row, position)}: cycle {value:g} comes after cycle {cycle[row - 1]:g}; are two "
                "channels or cells in one file?"
            )
    if len(cycle) and cycle[0] == 0:
        raise Refusal(
            f"{table.where(0, position)}: cycles are counted from 1; is cycle 0 the formation? Number it on and say "
            "so on the trial"
        )
    return [int(value) for value in cycle.tolist()]


def given(table: Table) -> str:
    """Return what the capacities of a table are given in: `mAh`, `mAh/g`, `mAh/g of composite` or `mAh/cm2`.

    Raises:
        Refusal: discharge and charge are given in different ones, so that a corrected mass would part them.
    """
    headers = [parse(name) for name in table.header]
    columns = [column for names in (_DISCHARGE, _CHARGE) if (column := _find(headers, names)) is not None]
    units_given = []
    for column in columns:
        _, quantity, of_composite = _unit(headers[column])
        per_composite = of_composite and quantity == "capacity_per_mass"
        units_given.append(_GIVEN[quantity] + (" of composite" if per_composite else ""))
    if len(set(units_given)) > 1:
        raise Refusal(
            f"{table.place}: discharge is given in {units_given[0]} and charge in {units_given[1]}; give both in one unit"
        )
    return units_given[0]


def _unit(header: Header) -> tuple[str, str | None, bool]:
    """Return the bare unit of a capacity column, its quantity (None: no capacity), and whether it is per composite."""
    unit, of_composite = header.unit or "", False
    for ending in ("_composite", "_active"):
        if unit.endswith(ending):
            unit, of_composite = unit.removesuffix(ending), "composite" in ending
    return unit, next((kind for kind in _CAPACITIES if units.is_unit(unit, kind)), None), of_composite


def _capacity(
    table: Table, header: Header, column: int, facts: CellFacts, findings: list[Finding], need_mAh: bool
) -> tuple[Floats, Floats, str]:
    """Return a capacity column in mAh, as it was given, and the name of the latter."""
    place = f"{table.place}, column {header.text!r}"
    if header.unit is None:
        raise Refusal(f"{place}: its header names no unit; write {header.text.strip()} (mAh), (mAh/g) or (mAh/cm2)")
    unit, quantity, of_composite = _unit(header)
    if quantity is None:
        raise Refusal(
            f"{place}: unit {header.unit!r} is no unit of a capacity; right would be mAh, Ah, mAh/g or mAh/cm2"
        )
    cells = table.texts(column)
    values = table.floats(column, empty=True) * units.factor(unit, quantity)
    for row, value in enumerate(values.tolist()):
        if math.isnan(value) and row < len(values) - 1:
            raise Refusal(
                f"{table.where(row, column)}: {cells[row] or 'empty'} where a capacity is needed; leave the row out "
                "or give its value"
            )
        if value < 0:
            raise Refusal(f"{table.where(row, column)}: {value:g} is negative; a capacity is 0 or more")
    if len(values) and math.isnan(values[-1]) and cells[-1] in EMPTY:
        findings.append(Finding("running", "note", f"the last cycle has no value of {header.text.strip()!r} yet"))
    if quantity == "capacity":
        return values, values, "capacity_mAh"
    gram = None if facts.active_mass_mg is None else facts.active_mass_mg / 1000.0
    if quantity == "capacity_per_area":
        key, per, scale, needed = "areal_capacity_mAh_cm2", "cm2", facts.area_cm2, "area of the cell"
    elif not of_composite:
        key, per, scale, needed = "capacity_mAh_g", "gram of active", gram, "active mass of the cell"
    else:
        key, per, needed = "capacity_mAh_g_composite", "gram of composite", "active mass of the cell and its share"
        share = facts.active_wt_pct
        scale = None if gram is None or share is None else gram * 100.0 / share
    if scale is None:
        sentence = (
            f"{place}: counts per {per}, so the {needed} is needed; give it with the cell (a file's own is never used)"
        )
        if need_mAh:
            raise Refusal(sentence)
        findings.append(Finding("mass", "flag", sentence))
        return np.full(table.rows, np.nan), values, key
    findings.append(
        Finding("mass", "note", f"{header.text.strip()} was read per {per} and turned into mAh with the {needed}")
    )
    return values * scale, values, key


def _compare_efficiency(table: Table, headers: list[Header], rows: list[Row], findings: list[Finding]) -> None:
    """Say which of the named efficiencies the file's own column is; it is a witness and is not taken over."""
    column = _find(headers, _EFFICIENCY)
    if column is None or not any(math.isfinite(row["ce_same_cycle"]) for row in rows):
        return
    given = table.floats(column, empty=True)
    fraction = given / 100.0 if np.nanmax(given, initial=0.0) > 3.0 else given
    same = np.array([row["ce_same_cycle"] for row in rows])
    out_in = np.array([row["ce_out_in"] for row in rows])
    candidates = {"ce_out_in": out_in, "ce_same_cycle": same, "Q_dis(n)/Q_chg(n)": 1.0 / same}
    for name, ours in candidates.items():
        both = np.isfinite(ours) & np.isfinite(fraction)
        if both.any() and np.allclose(ours[both], fraction[both], rtol=0.01):
            findings.append(Finding("efficiency", "ok", f"the file's efficiency is {name}"))
            return
    findings.append(
        Finding(
            "efficiency",
            "warning",
            "the file's efficiency column fits none of the definitions; are charge and discharge swapped?",
        )
    )
