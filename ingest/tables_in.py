"""Small tables that people bring: earlier work without trial ids, and powder results of known mixes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from campaign import units
from campaign.errors import Refusal
from campaign.names import nearest
from campaign.recipe import DESIGN_COLUMNS, TEXT_COLUMNS, complete
from ingest import numbers, sandbox
from ingest.headers import parse
from ingest.limits import Limits
from ingest.sheet_columns import outcome_column
from ingest.spreadsheet_text import bare

_NOTES = ("label", "source", "doi", "note", "date", "cell_id")
_OUTCOME = re.compile(
    r"[a-z][A-Za-z0-9_]*_(mAh_cm2|mAh_g_composite|mAh_g_active|mAh|pct|mS_cm|um|nm|Wh_kg_composite|V|h|P)|q2_over_q1"
)
_NUMERIC = tuple(name for name in DESIGN_COLUMNS if name not in TEXT_COLUMNS)

POWDER: Mapping[str, tuple[str, str, tuple[str, ...], float]] = MappingProxyType(
    {
        "surface_halide_to_P": (
            "ratio",
            "atomic ratio",
            ("surfacehalidetop", "halidetop", "clp", "cltop", "brtop", "edsratio", "edshalidetop", "xp"),
            100.0,
        ),
        "crystallite_size_um": ("length", "um", ("crystallitesize", "crystallitesizexrd", "xrdsize"), 1000.0),
        "sse_pellet_conductivity_mS_cm": (
            "conductivity",
            "mS/cm",
            ("ssepelletconductivity", "pelletconductivity", "conductivity", "sigma"),
            1000.0,
        ),
    }
)
"""Powder results: name -> (quantity, unit, header names, largest possible value)."""


@dataclass(frozen=True)
class History:
    """Earlier work: n recipes as a checked design table, and beside it what was measured of each (same index)."""

    name: str
    sha256: str
    designs: pd.DataFrame
    outcomes: pd.DataFrame
    """Numbers; NaN where not measured."""
    notes: pd.DataFrame
    """`label`, `source`, `doi`, `note`, `date`, `cell_id` as far as the file has them."""
    rows: tuple[int, ...]
    """Row number in the file, per recipe."""


def read_history(path: Path, *, limits: Limits | None = None) -> History:
    """Read earlier work: one row a recipe, columns named like ours (`speed_rpm`, …), outcomes ending in their unit.

    Raises:
        Refusal: a column that nobody knows, a cell that is no number, shares that do not sum to 100. Nothing is taken then.
    """
    place, content, snapshot = _page(path, limits)
    known = (*DESIGN_COLUMNS, *_NOTES)
    columns: dict[str, list[Any]] = {}
    for header, cells in content:
        if header not in known and not _OUTCOME.fullmatch(header):
            raise Refusal(
                f"{place}, row 1: nobody knows the column {header!r}: {nearest(header, known)}; an outcome's name "
                "ends in its unit, such as discharge_capacity_cycle_50_mAh_g_composite"
            )
        columns[header] = cells
    if not any(name in columns for name in ("speed_rpm", "time_h", "sse", "active_wt_pct")):
        raise Refusal(
            f"{place}: names no part of a recipe; right would be columns such as speed_rpm, time_h, active_wt_pct, sse"
        )
    count = len(next(iter(columns.values())))
    used = [row for row in range(count) if any(cells[row] not in ("",) for cells in columns.values())]
    first = snapshot["first_row"]
    table = pd.DataFrame(index=pd.RangeIndex(len(used)))
    for name in (name for name in columns if name in DESIGN_COLUMNS):
        numeric = name in _NUMERIC
        table[name] = [
            _number(columns[name][row], place, first + row, name) if numeric else bare(str(columns[name][row]))
            for row in used
        ]
    designs = pd.concat([_completed(table.iloc[[row]], place, first + used[row]) for row in range(len(used))])
    outcomes = pd.DataFrame(
        {
            name: [_outcome(columns[name][row], place, first + row, name) for row in used]
            for name in columns
            if name not in known
        },
        index=table.index,
    )
    notes = pd.DataFrame(
        {name: [bare(str(columns[name][row])) for row in used] for name in _NOTES if name in columns}, index=table.index
    )
    return History(snapshot["name"], snapshot["sha256"], designs, outcomes, notes, tuple(first + row for row in used))


def _completed(row: pd.DataFrame, place: str, number: int) -> pd.DataFrame:
    """Complete one recipe; what its row leaves empty takes the published value, as an absent column does."""
    given = row.loc[:, [name for name in row.columns if not _is_empty(row.iloc[0][name])]]
    try:
        return complete(given)
    except Refusal as refusal:
        raise Refusal(f"{place}, row {number}: {re.sub('^row [0-9]+(, |: )', '', str(refusal))}") from None


def _is_empty(value: Any) -> bool:
    return value == "" or (isinstance(value, float) and math.isnan(value))


def read_powder(path: Path, *, known_trials: pd.Index | None = None, limits: Limits | None = None) -> pd.DataFrame:
    """Read powder results: a column `trial` (or `mix`), and any of EDS halide-to-P ratio, crystallite size, conductivity.

    Returns:
        One row each: `trial`, the columns of `POWDER` in our units (NaN where not measured), `row` in the file.

    Raises:
        Refusal: an unknown column, trial or unit, or a value that cannot be.
    """
    place, content, snapshot = _page(path, limits)
    found: dict[str, list[Any]] = {}
    first = snapshot["first_row"]
    for header, cells in content:
        parsed = parse(header)
        name = next((name for name, (_, _, names, _) in POWDER.items() if header == name or parsed.name in names), None)
        if header.lower() in ("trial", "mix", "trial_id", "mix_id"):
            found["trial"] = [bare(str(cell)) for cell in cells]
        elif name is not None:
            found[name] = [
                _powder(cell, name, parsed.unit if header != name else None, place, first + row, header)
                for row, cell in enumerate(cells)
            ]
        elif header.lower() not in ("note", "date", "by"):
            raise Refusal(f"{place}, row 1: nobody knows the column {header!r}: {nearest(header, ('trial', *POWDER))}")
    if "trial" not in found or len(found) < 2:
        raise Refusal(f"{place}: powder results need a column 'trial' and one of " + ", ".join(POWDER))
    table = pd.DataFrame(found)
    for name in POWDER:
        if name not in table:
            table[name] = math.nan
    table["row"] = range(first, first + len(table))
    for row in table.to_dict(orient="records"):
        if known_trials is not None and row["trial"] not in known_trials:
            raise Refusal(
                f"{place}, row {row['row']}, column 'trial': nobody knows {row['trial']!r}: "
                f"{nearest(row['trial'], [str(t) for t in known_trials])}"
            )
    return table


def _powder(cell: Any, name: str, unit: str | None, place: str, row: int, header: str) -> float:
    quantity, ours, _, high = POWDER[name]
    value = _number(cell, place, row, header)
    if math.isnan(value):
        return value
    if unit is None and quantity != "ratio" and header != name:
        raise Refusal(f"{place}, row 1, column {header!r}: its header names no unit; write {header} ({ours})")
    amount = value * (units.factor(unit, quantity) if unit and quantity != "ratio" else 1.0)
    if not 0 <= amount <= high:
        raise Refusal(
            f"{place}, row {row}, column {header!r}: {value:g} is not possible; expected 0 to {high:g} {ours}"
        )
    return amount


def _page(path: Path, limits: Limits | None) -> tuple[str, list[tuple[str, list[Any]]], dict[str, Any]]:
    limits = limits or Limits.current()
    with sandbox.scratch_folder() as folder:
        snapshot = sandbox.take(Path(path), folder / sandbox.INPUT, limits=limits)
        page = sandbox.run("table", folder, snapshot.name, {"name": snapshot.name}, limits=limits)
    columns = [(header, cells) for header, cells in zip(page["header"], page["columns"], strict=True) if header]
    return page["place"], columns, {"name": snapshot.name, "sha256": snapshot.sha256, "first_row": page["first_row"]}


def _number(cell: Any, place: str, row: int, column: str) -> float:
    if isinstance(cell, bool):
        raise Refusal(f"{place}, row {row}, column {column!r}: {cell} is not a number; type the number alone")
    if str(cell).strip() in numbers.EMPTY:
        return math.nan
    try:
        return numbers.number(str(cell))
    except ValueError as error:
        raise Refusal(f"{place}, row {row}, column {column!r}: {error}") from None


def _outcome(cell: Any, place: str, row: int, column: str) -> float:
    value = _number(cell, place, row, column)
    if value < 0:
        raise Refusal(f"{place}, row {row}, column {column!r}: {value:g} is negative; it must be 0 or more")
    high = outcome_column(column).high
    if value > high:
        raise Refusal(
            f"{place}, row {row}, column {column!r}: {value:g} is not possible; expected 0 to {high:g}; is the unit right?"
        )
    return value
