"""Take a lab sheet back, partly filled, again and again: all of it is understood, or none of it is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from campaign.errors import Refusal
from campaign.names import nearest
from campaign.recipe import DESIGN_COLUMNS, complete
from ingest import numbers, sandbox
from ingest import sheet_columns as layout
from ingest.findings import Finding
from ingest.limits import Limits
from ingest.sheet_columns import Column, Group
from ingest.spreadsheet_text import bare

_SAME = 1e-4
_BALANCE = 0.02


@dataclass(frozen=True)
class SheetRow:
    """What one row says beyond what was asked; only what was typed in is there."""

    trial: str
    row: int
    """Row number in the spreadsheet."""
    state: str | None
    done: Mapping[str, float] = field(default_factory=dict)
    """What was really mixed, as recipe columns: `speed_rpm`, `time_h`, `active_wt_pct`, … (shares from the weighed grams)."""
    mix: Mapping[str, float | str] = field(default_factory=dict)
    """`weighed_active_g`, …, `sse_lot`, `mixed_at` (ISO, UTC), `mixed_by`."""
    powder: Mapping[str, float] = field(default_factory=dict)
    cell: Mapping[str, float | str] = field(default_factory=dict)
    """`cell_id`, `channel`, `active_mass_mg`, `area_cm2`, `started_at`, `stopped_at`, `file`."""
    outcome: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class SheetContent:
    """A sheet taken back: its rows in order, and what was noticed."""

    name: str
    sha256: str
    rows: tuple[SheetRow, ...]
    findings: tuple[Finding, ...]


def read_sheet(path: Path, *, known_trials: pd.DataFrame, limits: Limits | None = None) -> SheetContent:
    """Read a lab sheet and check it against what the ledger knows.

    Args:
        path: the workbook.
        known_trials: one row a trial, indexed by trial id, columns any subset of the design columns: as was asked.
        limits: of the parsing process.

    Returns:
        One `SheetRow` for each row that says anything; rows still as they were written are left away.

    Raises:
        Refusal: an unknown column or trial, a recipe that came apart from its id, a cell that is no number or no date, an
            impossible value, two rows that contradict each other. Nothing of the sheet is taken then.
    """
    limits = limits or Limits.current()
    with sandbox.scratch_folder() as folder:
        snapshot = sandbox.take(path, folder / sandbox.INPUT, limits=limits)
        page = sandbox.run("sheet", folder, snapshot.name, {"name": snapshot.name}, limits=limits)
    reader = _Reader(page, _asked(known_trials))
    rows = tuple(row for row in (reader.row(position) for position in range(reader.count)) if row is not None)
    _refuse_contradictions(rows, page["place"])
    return SheetContent(snapshot.name, snapshot.sha256, rows, tuple(reader.findings))


def _asked(known_trials: pd.DataFrame) -> dict[str, dict[str, Any]]:
    designs = complete(known_trials[[name for name in known_trials.columns if name in DESIGN_COLUMNS]])
    return {str(trial): {str(k): v for k, v in row.items()} for trial, row in designs.to_dict(orient="index").items()}


class _Reader:
    """One page with its columns recognised; turns row after row into `SheetRow`."""

    def __init__(self, page: Mapping[str, Any], asked: Mapping[str, Mapping[str, Any]]) -> None:
        self.place = page["place"]
        self.first_row = int(page["first_row"])
        self.asked = asked
        self.findings: list[Finding] = []
        by_header = {column.header: column for column in layout.columns(())} | {
            c.header: c for c in layout.OUTCOME_COLUMNS
        }
        self.cells: list[tuple[Column, list[Any]]] = []
        for header, cells in zip(page["header"], page["columns"], strict=True):
            if header or any(cell != "" for cell in cells):
                self.cells.append((self._column(header, by_header), cells))
        present = {(column.group, column.key) for column, _ in self.cells}
        for needed in layout.ID_COLUMNS:
            if ("id", needed.key) not in present:
                raise Refusal(
                    f"{self.place}, row 1: the column {needed.header!r} is missing; it says which trial a row "
                    "belongs to"
                )
        self.count = len(page["columns"][0]) if page["columns"] else 0

    def _column(self, header: str, by_header: Mapping[str, Column]) -> Column:
        if header in by_header:
            return by_header[header]
        outcome = layout.outcome_by_header(header)
        if outcome is not None:
            return outcome
        title = header.rpartition(" (")[0]
        if title and any(known.rpartition(" (")[0] == title for known in by_header):
            right = next(known for known in by_header if known.rpartition(" (")[0] == title)
            raise Refusal(
                f"{self.place}, row 1: the column {header!r} has another unit than the sheet was written with; right "
                f"is {right!r}"
            )
        hint = nearest(header, by_header)
        hint = "its columns are those that it was written with" if hint.startswith("known are") else hint
        raise Refusal(f"{self.place}, row 1: nobody knows the column {header!r}: {hint}")

    def row(self, position: int) -> SheetRow | None:
        """Read one row; None where it says nothing new."""
        cells = {(column.group, column.key): (column, values[position]) for column, values in self.cells}
        if all(value == "" for _, value in cells.values()):
            return None
        number = self.first_row + position
        trial = bare(str(cells["id", "trial"][1]))
        self._check_identity(trial, cells, number)
        read: dict[str, dict[str, Any]] = {group: {} for group in ("done", "powder", "cell", "outcome", "note")}
        for (group, key), (column, value) in cells.items():
            if group in read and value != "":
                parsed = self._value(column, value, number)
                if parsed is not None:
                    read[group][key] = parsed
        state = read["done"].pop("state", None)
        done, mix = self._mixed(trial, read["done"], number)
        note = str(read["note"].get("note", ""))
        if not (done or mix or read["powder"] or read["cell"] or read["outcome"] or note) and state in (None, "issued"):
            return None
        self._check_cell(trial, state, read, number)
        return SheetRow(trial, number, state, done, mix, read["powder"], read["cell"], read["outcome"], note)

    def _check_identity(self, trial: str, cells: Mapping[tuple[Group, str], tuple[Column, Any]], number: int) -> None:
        if not trial:
            raise Refusal(
                f"{self.place}, row {number}, column 'trial': empty, but the row holds values; copy the trial id and "
                "check of its trial"
            )
        if trial not in self.asked:
            raise Refusal(
                f"{self.place}, row {number}, column 'trial': nobody knows the trial {trial!r}: "
                f"{nearest(trial, self.asked)}"
            )
        asked = self.asked[trial]
        for column in layout.ASKED_COLUMNS:
            _, value = cells.get(("asked", column.key), (column, ""))
            if value == "":
                continue
            expected = asked[column.key]
            if not _same(value, expected):
                raise Refusal(
                    f"{self.place}, row {number}, column {column.header!r}: says {value} but trial {trial} was asked "
                    "at "
                    f"{layout.spelled(expected)}; was one column sorted alone? What was really done goes into the "
                    "'done' columns"
                )
        check = str(cells["id", "check"][1])
        if check and check != layout.checksum(trial, asked):
            raise Refusal(
                f"{self.place}, row {number}, column 'check': {check} does not belong to trial {trial}; was one "
                "column sorted or copied alone?"
            )
        if not check:
            raise Refusal(
                f"{self.place}, row {number}, column 'check': empty; copy it together with the trial id {trial}"
            )

    def _value(self, column: Column, value: Any, number: int) -> float | str | None:
        where = f"{self.place}, row {number}, column {column.header!r}"
        if column.kind == "number":
            if isinstance(value, bool):
                raise Refusal(f"{where}: {value} is not a number; type the number alone")
            if str(value) in numbers.EMPTY:
                return None
            try:
                amount = numbers.number(str(value))
            except ValueError as error:
                raise Refusal(f"{where}: {error}") from None
            return self._within(column, amount, where)
        text = bare(str(value))
        if column.kind == "date":
            try:
                return numbers.moment(text).isoformat()
            except ValueError as error:
                raise Refusal(f"{where}: {error}") from None
        if column.kind == "state":
            if text.lower() not in layout.STATES:
                near = get_close_matches(text.lower(), layout.STATES, n=1, cutoff=0.75)  # 'done' is near 'abandoned'
                right = "; ".join(f"{state} ({meaning})" for state, meaning in layout.STATES.items())
                hint = f"did you mean {near[0]}?" if near else f"right would be one of {right}"
                raise Refusal(f"{where}: {text!r} is no state; {hint}")
            return text.lower()
        return text

    def _within(self, column: Column, amount: float, where: str) -> float:
        if amount < 0 and column.low >= 0:
            raise Refusal(f"{where}: {amount:g} {column.unit} is negative; it must be 0 or more".replace("  ", " "))
        if not column.low <= amount <= column.high:
            raise Refusal(
                f"{where}: {amount:g} is not possible; expected {column.low:g} to {column.high:g} {column.unit}; is "
                "the unit right?"
            )
        return amount

    def _mixed(self, trial: str, typed: dict[str, Any], number: int) -> tuple[dict[str, float], dict[str, float | str]]:
        """Split what was typed about the mix into recipe columns (what the model learns from) and the record of the mix."""
        done: dict[str, float] = {key: float(typed.pop(key)) for key in ("speed_rpm", "time_h") if key in typed}
        weighed = {part: typed.get(f"weighed_{part}_g") for part in ("active", "sse", "carbon")}
        given = {part: float(mass) for part, mass in weighed.items() if mass is not None}
        asked = self.asked[trial]
        needed = [part for part in weighed if asked[f"{part}_wt_pct"] > 0]
        if given and all(part in given for part in needed):
            total = sum(given.values())
            if total <= 0:
                raise Refusal(f"{self.place}, row {number}: the weighed masses of trial {trial} sum to 0 g")
            for part in weighed:
                done[f"{part}_wt_pct"] = 100.0 * given.get(part, 0.0) / total
                gap = done[f"{part}_wt_pct"] - asked[f"{part}_wt_pct"]
                if abs(gap) > _BALANCE * 100:
                    self._notice(
                        "weighed",
                        "warning",
                        f"row {number}: {part} was weighed at {done[f'{part}_wt_pct']:.2f} wt% where "
                        f"{asked[f'{part}_wt_pct']:g} was asked",
                    )
        elif given:
            missing = next(part for part in needed if part not in given)
            self._notice(
                "weighed",
                "note",
                f"row {number}: the {missing} of trial {trial} is not weighed yet, so the shares stay as asked",
            )
        return done, typed

    def _check_cell(self, trial: str, state: str | None, read: Mapping[str, Mapping[str, Any]], number: int) -> None:
        cell, outcome = read["cell"], read["outcome"]
        if (outcome or cell.get("file")) and not cell.get("cell_id"):
            raise Refusal(
                f"{self.place}, row {number}, column 'cell id': empty, but the row holds a result of a cell of trial "
                f"{trial}; give the cell a name"
            )
        started, stopped = cell.get("started_at"), cell.get("stopped_at")
        if started and stopped and stopped < started:
            raise Refusal(f"{self.place}, row {number}, column 'stopped at': {stopped} is before the start {started}")
        if state in ("failed", "abandoned") and not read["note"]:
            self._notice("state", "warning", f"row {number}: trial {trial} is {state} and no note says why")
        if cell.get("active_mass_mg") == 1.0:
            self._notice(
                "mass",
                "flag",
                f"row {number}: an active mass of exactly 1 mg looks like a value never entered; is it right?",
            )
        mass, area = cell.get("active_mass_mg"), cell.get("area_cm2")
        if mass and area:
            loading, asked = float(mass) / float(area), float(self.asked[trial]["loading_mg_cm2"])
            if asked > 0 and not 0.5 <= loading / asked <= 2.0:
                level = (
                    f"row {number}: active mass {mass:g} mg on {area:g} cm2 is {loading:.3g} mg/cm2 where {asked:g} "
                    "was asked; is it mass of active, in mg?"
                )
                self._notice("mass", "flag", level)

    def _notice(self, check: str, level: Any, sentence: str) -> None:
        self.findings.append(Finding(check, level, f"{self.place}, {sentence}"))


def _same(value: Any, expected: Any) -> bool:
    if isinstance(expected, str):
        return bare(str(value)) == expected
    if isinstance(expected, float) and math.isnan(expected):
        return False
    try:
        return math.isclose(numbers.number(str(value)), float(expected), rel_tol=_SAME, abs_tol=1e-9)
    except ValueError:
        return False


def _refuse_contradictions(rows: tuple[SheetRow, ...], place: str) -> None:
    by_cell: dict[tuple[str, Any], SheetRow] = {}
    for row in rows:
        key = (row.trial, row.cell.get("cell_id"))
        other = by_cell.setdefault(key, row)
        same = (other.state, other.done, other.mix, other.powder, other.cell, other.outcome)
        if other is not row and same != (row.state, row.done, row.mix, row.powder, row.cell, row.outcome):
            what = f"cell {key[1]!r} of trial {row.trial}" if key[1] else f"trial {row.trial} without a cell id"
            raise Refusal(
                f"{place}, rows {other.row} and {row.row}: both speak of {what} and say different things; keep one, "
                "or give each cell its own id"
            )
    owner: dict[Any, SheetRow] = {}
    for row in rows:
        cell = row.cell.get("cell_id")
        if cell and owner.setdefault(cell, row).trial != row.trial:
            raise Refusal(
                f"{place}, row {row.row}, column 'cell id': cell {cell!r} stands at trial {owner[cell].trial} (row "
                f"{owner[cell].row}) already"
            )
