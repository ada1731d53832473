"""From a file's bytes to what it says (runs in the parsing process): format by content, reader, integration, checks."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from campaign.errors import Refusal
from ingest import capacity_table, checks, cycles, formats, halfcycles
from ingest.checks import CellFacts
from ingest.cycles import Row
from ingest.findings import Finding, Start
from ingest.limits import Limits
from ingest.series import CURRENT, TEST_TIME, VOLTAGE, Series
from ingest.tables import Table

_CELL_ID = re.compile(r"(?i)\b(?:cell[ _-]?id|cell|barcode)\s*[:=]\s*([A-Za-z0-9][A-Za-z0-9_.-]{1,60})")


def cycler(folder: Path, limits: Limits, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Read a cycler file or a capacity table and return the parts of a `CyclingFile` as JSON data."""
    place = arguments["name"]
    facts = CellFacts(**arguments["facts"])
    found = _open(folder, "input", place, arguments["converted"], limits)
    if isinstance(found.content, Table):
        start: Start = arguments["start"] or "discharge"
        table, findings = capacity_table.read(found.content, start=start, facts=facts, need_mAh=arguments["need_mAh"])
        findings += checks.plausible(table, facts, start=start, place=place)
        given = capacity_table.given(found.content)
        return _result(found, table, findings, start, facts, first_partial=False, rows=found.content.rows, given=given)
    return _series(found, found.content, facts, arguments)


def _open(folder: Path, stem: str, place: str, converted: str | None, limits: Limits) -> formats.Found:
    return formats.read(
        folder / (f"{stem}.converted" if converted else stem), place, converted=converted, limits=limits
    )


def compare(folder: Path, limits: Limits, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the rows of two versions of a file: the first rows that differ, and how many there are of each."""
    names = arguments["names"]
    older = _open(folder, "older", names[0], arguments["converted"][0], limits)
    newer = _open(folder, "input", names[1], arguments["converted"][1], limits)
    if older.format != newer.format:
        raise Refusal(
            f"{names[1]}: is {newer.format} where the earlier version {names[0]} was {older.format}; they cannot be "
            "compared row by row"
        )
    old, new = _rows(older), _rows(newer)
    count = min(len(next(iter(old.values()))), len(next(iter(new.values()))))
    differences: list[dict[str, Any]] = []
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            raise Refusal(f"{names[1]}: has no {name}, which the earlier version had")
        wrong = np.flatnonzero(~np.isclose(before[:count], after[:count], rtol=1e-9, atol=1e-12, equal_nan=True))
        differences += [
            {"row": int(row) + 1, "column": name, "old": float(before[row]), "new": float(after[row])}
            for row in wrong[:20]
        ]
    return {
        "old_rows": len(next(iter(old.values()))),
        "new_rows": len(next(iter(new.values()))),
        "differences": sorted(differences, key=lambda found: found["row"])[:20],
    }


def _rows(found: formats.Found) -> dict[str, np.ndarray]:
    if isinstance(found.content, Series):
        return {
            TEST_TIME: found.content.time_s,
            CURRENT: found.content.current_mA,
            VOLTAGE: found.content.voltage_V,
        }
    table = found.content
    return {
        name: table.floats(position, empty=True)
        for position, name in enumerate(table.header)
        if _numeric(table, position)
    }


def _numeric(table: Table, position: int) -> bool:
    try:
        table.floats(position, empty=True)
    except Refusal:
        return False
    return True


def _series(found: formats.Found, series: Series, facts: CellFacts, arguments: Mapping[str, Any]) -> dict[str, Any]:
    place = arguments["name"]
    halves = halfcycles.split(series)
    if not halves or max(half.charge_mAh for half in halves) <= 0:
        raise Refusal(f"{place}: carries no current, so it holds no cycle (a rest or open-circuit record)")
    findings = [Finding("file", "note", note) for note in series.notes]
    checks.refuse_sweep(series, halves, place)
    findings.append(checks.sign(series, place))
    findings.append(checks.time_unit(series, place))
    findings += checks.step_clock(series, place) + checks.gaps(series, halves) + checks.sampling(halves)
    begins = cycles.first_direction(halves)
    start: Start = arguments["start"] or begins
    if start != begins:
        findings.append(
            Finding(
                "start",
                "warning",
                f"the trial starts with {start} but the file begins with a {begins}; that half-cycle belongs to no "
                "cycle",
            )
        )
    states, state_findings = cycles.states(series, halves, finished=arguments["finished"])
    findings += state_findings
    table = cycles.table(series, halves, states, start)
    compared = checks.two_capacities(table)
    findings += compared + checks.coarse_current(series, compared)
    findings += checks.plausible(table, facts, start=start, place=place)
    findings += [
        Finding("pulse", "note", f"{half.pulses} short pulse(s) under 2 % of the largest half-cycle were left out")
        for half in halves
        if half.pulses
    ]
    return _result(found, table, findings, start, facts, first_partial=states[0] == "partial", rows=series.rows)


def _per_gram_and_area(rows: list[Row], facts: CellFacts) -> None:
    """Fill capacity per gram of active and per cm2 where the cell's own mass and area are known."""
    for row in rows:
        for kind in ("discharge", "charge"):
            amount = row[f"{kind}_capacity_mAh"]
            if facts.active_mass_mg is not None:
                row[f"{kind}_capacity_mAh_g"] = amount / facts.active_mass_mg * 1000.0
            if facts.area_cm2 is not None:
                row[f"{kind}_areal_capacity_mAh_cm2"] = amount / facts.area_cm2


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _result(
    found: formats.Found,
    table: list[Row],
    findings: list[Finding],
    start: Start,
    facts: CellFacts,
    *,
    first_partial: bool,
    rows: int,
    given: str = "mAh",
) -> dict[str, Any]:
    _per_gram_and_area(table, facts)
    metadata = {key: text[:500] for key, text in found.metadata.items() if text}
    return {
        "format": found.format,
        "rows": rows,
        "start": start,
        "first_cycle_partial": first_partial,
        "cycles": {name: [_plain(row[name]) for row in table] for name in cycles.COLUMNS},
        "findings": [asdict(finding) for finding in findings],
        "metadata": metadata,
        "cell_id": _cell_id(metadata),
        "given": given,
    }


def _cell_id(metadata: Mapping[str, str]) -> str | None:
    for key in ("cell_id", "cell", "cell_name", "barcode"):
        if metadata.get(key):
            return metadata[key]
    for text in metadata.values():
        match = _CELL_ID.search(text)
        if match:
            return match[1]
    return None
