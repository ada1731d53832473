"""From a file's bytes to what it says (runs in the parsing process): format by content, reader, integration, checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from campaign.errors import Refusal
from ingest import capacity_table, checks, cycles, formats, halfcycles
from ingest.checks import CellFacts
from ingest.findings import Finding, Start
from ingest.limits import Limits
from ingest.series import Series
from ingest.tables import Table

_CELL_ID = re.compile(r"(?i)\b(?:cell[ _-]?id|cell|barcode)\s*[:=]\s*([A-Za-z0-9][A-Za-z0-9_.-]{1,60})")


def cycler(folder: Path, limits: Limits, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Read a cycler file or a capacity table and return the parts of a `CyclingFile` as JSON data."""
    place = arguments["name"]
    facts = CellFacts(**arguments["facts"])
    found = formats.read(folder, place, limits=limits, arguments=arguments)
    if isinstance(found.content, Table):
        start: Start = arguments["start"] or "discharge"
        table, findings = capacity_table.read(found.content, start=start, facts=facts, need_mAh=arguments["need_mAh"])
        findings += checks.plausible(table, facts, start=start, place=place)
        return _result(found, table, findings, start, facts, first_partial=False, rows=found.content.rows)
    return _series(found, found.content, facts, arguments)


def _series(found: formats.Found, series: Series, facts: CellFacts, arguments: Mapping[str, Any]) -> dict[str, Any]:
    place = arguments["name"]
    halves = halfcycles.split(series)
    if not halves or max(half.charge_mAh for half in halves) <= 0:
        raise Refusal(f"{place}: carries no current, so it holds no cycle (a rest or open-circuit record)")
    findings = [Finding("file", "note", note) for note in series.notes]
    findings.append(checks.sign(series, place))
    findings.append(checks.time_unit(series, place))
    findings += checks.coarse_current(series) + checks.gaps(series, halves)
    _refuse_sweep(series, halves, place)
    begins = cycles.first_direction(halves)
    start: Start = arguments["start"] or begins
    if start != begins:
        findings.append(
            Finding(
                "start",
                "warning",
                f"the trial starts with {start} but the file begins with a {begins}; that half-cycle belongs to no cycle",
            )
        )
    states, state_findings = cycles.states(series, halves, finished=arguments["finished"])
    findings += state_findings
    table = cycles.table(series, halves, states, start)
    findings += checks.two_capacities(table)
    findings += checks.plausible(table, facts, start=start, place=place)
    findings += [
        Finding("pulse", "note", f"{half.pulses} short pulse(s) under 2 % of the largest half-cycle were left out")
        for half in halves
        if half.pulses
    ]
    return _result(found, table, findings, start, facts, first_partial=states[0] == "partial", rows=series.rows)


def _refuse_sweep(series: Series, halves: list[halfcycles.HalfCycle], place: str) -> None:
    """Refuse a voltammogram: its current follows the voltage, and its half-cycles last seconds to minutes."""
    return None


def _columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): [None if pd.isna(cell) else cell for cell in table[name].tolist()] for name in table.columns}


def _per_gram_and_area(table: pd.DataFrame, facts: CellFacts) -> pd.DataFrame:
    """Fill capacity per gram of active and per cm2 where the cell's own mass and area are known."""
    filled = table.copy()
    for kind in ("discharge", "charge"):
        amount = table[f"{kind}_capacity_mAh"]
        if facts.active_mass_mg is not None:
            filled[f"{kind}_capacity_mAh_g"] = amount / facts.active_mass_mg * 1000.0
        if facts.area_cm2 is not None:
            filled[f"{kind}_areal_capacity_mAh_cm2"] = amount / facts.area_cm2
    return filled


def _result(
    found: formats.Found,
    table: pd.DataFrame,
    findings: list[Finding],
    start: Start,
    facts: CellFacts,
    *,
    first_partial: bool,
    rows: int,
) -> dict[str, Any]:
    metadata = {key: text[:500] for key, text in found.metadata.items() if text}
    return {
        "format": found.format,
        "rows": rows,
        "start": start,
        "first_cycle_partial": first_partial,
        "cycles": _columns(_per_gram_and_area(table, facts)),
        "findings": [asdict(finding) for finding in findings],
        "metadata": metadata,
        "cell_id": _cell_id(metadata),
    }


def _cell_id(metadata: Mapping[str, str]) -> str | None:
    for key in ("cell_id", "barcode"):
        if metadata.get(key):
            return metadata[key]
    for text in metadata.values():
        match = _CELL_ID.search(text)
        if match:
            return match[1]
    return None
