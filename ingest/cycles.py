"""From half-cycles to cycles: numbering, partial and running half-cycles, coulombic efficiencies by name.

start = discharge: cycle n is the n-th discharge and the charge after it; start = charge: the mirror. A half-cycle before
the first of the start's direction is cycle 0 and has no value. `ce_out_in` = Q_dis(n) / Q_chg(n-1) for start = discharge
(none at n = 1), Q_dis(n) / Q_chg(n) for start = charge; `ce_same_cycle` = Q_chg(n) / Q_dis(n). The vendor's cycle number
is kept and never used.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from ingest.findings import Finding, Start
from ingest.halfcycles import HalfCycle
from ingest.series import Series

COLUMNS = (
    "cycle",
    "discharge_capacity_mAh",
    "charge_capacity_mAh",
    "vendor_discharge_capacity_mAh",
    "vendor_charge_capacity_mAh",
    "ce_out_in",
    "ce_same_cycle",
    "mean_discharge_voltage_V",
    "mean_charge_voltage_V",
    "polarisation_V",
    "discharge_state",
    "charge_state",
    "discharge_so_far_mAh",
    "charge_so_far_mAh",
    "vendor_cycle",
    "discharge_capacity_mAh_g",
    "charge_capacity_mAh_g",
    "discharge_areal_capacity_mAh_cm2",
    "charge_areal_capacity_mAh_cm2",
)
"""Columns of a cycle table. `…_state` is complete, ended (with the file, and by all signs whole), running, partial or absent.

Only complete and ended half-cycles have a capacity; what a running or partial one gave stands in `…_so_far_mAh`.
Efficiencies are fractions. Per gram of active and per cm2 only with the cell's own mass and area, or as a table gives them.
"""

Row = dict[str, Any]
"""One cycle: column -> value; NaN where there is none."""

State = Literal["complete", "ended", "running", "partial", "absent"]
PARTIAL_SHARE = 0.7
"""A first half-cycle under this share of the next of its direction did not start from a limit. A pristine chalcogen cell
loses capacity from cycle 1 to 2 (Q2/Q1 0.2 to 1.0 in the published cells), so a first one that is far smaller is partial."""
_END_SHARE = 0.02
_FULL_SHARE = 0.8


def first_direction(halves: list[HalfCycle]) -> Start:
    """Return the direction in which a file begins."""
    return "discharge" if halves and halves[0].sign < 0 else "charge"


def states(series: Series, halves: list[HalfCycle], *, finished: bool) -> tuple[list[State], list[Finding]]:
    """Say of each half-cycle whether it is whole."""
    found: list[State] = ["complete"] * len(halves)
    findings: list[Finding] = []
    if not halves:
        return found, findings
    found[-1] = "complete" if finished else _last_state(series, halves)
    kind = "discharge" if halves[-1].sign < 0 else "charge"
    if found[-1] == "running":
        findings.append(
            Finding("running", "note", f"the last {kind} is still running or was cut off; it has no value yet")
        )
    elif found[-1] == "ended":
        findings.append(
            Finding(
                "running", "note", f"the file ends with a {kind} that looks whole; a longer version of the file decides"
            )
        )
    reason = _partial_reason(series, halves)
    if reason:
        found[0] = "partial"
        findings.append(Finding("first_half_cycle", "warning", reason))
    return found, findings


def _last_state(series: Series, halves: list[HalfCycle]) -> State:
    last = halves[-1]
    earlier = [half for half in halves[:-1] if half.sign == last.sign]
    rest_follows = last.last < series.rows - 1
    if earlier:
        ends = np.array([series.voltage_V[half.last] for half in halves[:-1]])
        window = max(float(ends.max() - ends.min()), 1e-3)
        at_limit = abs(series.voltage_V[last.last] - series.voltage_V[earlier[-1].last]) <= _END_SHARE * window
        by_charge = abs(last.charge_mAh / earlier[-1].charge_mAh - 1) < 0.01
        if rest_follows:
            whole = at_limit or by_charge or (last.rests == 0 and last.charge_mAh > 0.5 * earlier[-1].charge_mAh)
            return "complete" if whole else "running"
        return "ended" if (at_limit and last.charge_mAh > 0.5 * earlier[-1].charge_mAh) or by_charge else "running"
    if rest_follows and last.rests == 0:
        return "complete"
    return "ended" if len(halves) > 1 and last.charge_mAh >= _FULL_SHARE * halves[-2].charge_mAh else "running"


def _partial_reason(series: Series, halves: list[HalfCycle]) -> str | None:
    first = halves[0]
    kind = "discharge" if first.sign < 0 else "charge"
    counter = series.discharge_counter_mAh if first.sign < 0 else series.charge_counter_mAh
    counter = counter if counter is not None else series.counter_mAh
    begun = float(abs(counter[0])) if counter is not None and len(counter) else 0.0
    if begun > 0.01 * max(half.charge_mAh for half in halves):
        return (
            f"the file starts in the middle of a test (its counter begins at {begun:.4g} mAh), so the first {kind} "
            "is partial"
        )
    following = [half for half in halves[1:] if half.sign == first.sign]
    if len(halves) > 2 and following and first.charge_mAh < PARTIAL_SHARE * following[0].charge_mAh:
        share = first.charge_mAh / following[0].charge_mAh
        return f"the first {kind} gave {share:.0%} of the next one, so it did not start from a limit and is partial"
    if len(halves) > 1 and halves[1].charge_mAh > 3 * first.charge_mAh:
        return (
            f"the first {kind} gave less than a third of what followed it, so it did not start from a limit and is "
            "partial"
        )
    return None


def table(series: Series, halves: list[HalfCycle], found: list[State], start: Start) -> list[Row]:
    """Return one row a cycle with the columns `COLUMNS`."""
    leading = -1 if start == "discharge" else 1
    rows: list[Row] = []
    number = 0
    for half, state in zip(halves, found, strict=True):
        if half.sign == leading or not rows:
            number += 1 if half.sign == leading else 0
            rows.append(empty(number))
        kind = "discharge" if half.sign < 0 else "charge"
        row = rows[-1]
        state = "partial" if number == 0 else state
        row[f"{kind}_state"] = state
        row[f"vendor_{kind}_capacity_mAh"] = half.vendor_mAh
        row[f"mean_{kind}_voltage_V"] = half.mean_voltage_V if state in ("complete", "ended") else math.nan
        row[f"{kind}_capacity_mAh" if state in ("complete", "ended") else f"{kind}_so_far_mAh"] = half.charge_mAh
        if series.vendor_cycle is not None and math.isnan(row["vendor_cycle"]):
            row["vendor_cycle"] = float(series.vendor_cycle[half.first])
    return with_efficiencies(rows, start)


def empty(number: int) -> Row:
    """Return a row of which nothing is known yet."""
    row: Row = dict.fromkeys(COLUMNS, math.nan)
    return row | {"cycle": number, "discharge_state": "absent", "charge_state": "absent"}


def with_efficiencies(rows: list[Row], start: Start) -> list[Row]:
    """Fill the two coulombic efficiencies and the polarisation from the capacities and voltages of each cycle."""
    charged = math.nan
    before = 0
    for row in rows:
        discharge, charge = row["discharge_capacity_mAh"], row["charge_capacity_mAh"]
        previous = charged if row["cycle"] == before + 1 and row["cycle"] > 1 else math.nan
        put_in = previous if start == "discharge" else charge
        row["ce_out_in"] = discharge / put_in if put_in > 0 else math.nan
        row["ce_same_cycle"] = charge / discharge if discharge > 0 else math.nan
        row["polarisation_V"] = row["mean_charge_voltage_V"] - row["mean_discharge_voltage_V"]
        charged, before = charge, row["cycle"]
    return rows
