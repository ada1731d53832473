"""Taking in what the lab sends back: a filled sheet, or a file of one cell. The same file twice changes nothing.

`ingest` says what a file holds; here it finds its place in the ledger. Everything is read and checked before the first
write, and every write is keyed by the file's content, so that an interrupted intake is finished by repeating it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from campaign.errors import Refusal
from campaign.trial import read_id
from flows.session import Session, now
from ingest import CellFacts, CyclingFile, SheetRow, read_cycler, read_sheet
from ingest.workbook import marker

_CELL_ID = re.compile(r"T\d{1,9}-?M\d{1,4}-?C\d{1,4}(?!\d)", re.IGNORECASE)
_TYPED = re.compile(r"discharge_areal_capacity_cycle_(\d+)_mAh_cm2")
_POWDER_UNITS = {
    "surface_halide_to_P": ("surface_halide_to_P", "1"),
    "crystallite_size_um": ("crystallite_size", "um"),
    "sse_pellet_conductivity_mS_cm": ("sse_pellet_conductivity", "mS/cm"),
}
_CYCLING = {
    "cycle": "cycle",
    "discharge_areal_capacity_mAh_cm2": "discharge_areal_capacity_mAh_cm2",
    "charge_areal_capacity_mAh_cm2": "charge_areal_capacity_mAh_cm2",
    "discharge_capacity_mAh": "discharge_capacity_mAh",
    "charge_capacity_mAh": "charge_capacity_mAh",
    "ce_same_cycle": "coulombic_efficiency",
    "mean_discharge_voltage_V": "mean_discharge_voltage_V",
    "mean_charge_voltage_V": "mean_charge_voltage_V",
    "polarisation_V": "polarisation_V",
    "vendor_cycle": "vendor_cycle",
    "vendor_discharge_capacity_mAh": "vendor_discharge_capacity_mAh",
    "vendor_charge_capacity_mAh": "vendor_charge_capacity_mAh",
}


@dataclass(frozen=True)
class Taken:
    """What came of one file, in a sentence, and the trials that it touched."""

    sentence: str
    trials: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def take_in(
    session: Session,
    path: Path,
    *,
    by: str,
    cell: str | None = None,
    active_mass_mg: float | None = None,
    area_cm2: float | None = None,
) -> Taken:
    """Take in one file: a filled lab sheet, or a cell's file.

    Args:
        session: an open campaign.
        path: the file.
        by: who brings it.
        cell: the cell that a cycler file is of; without it, an id in the file's name or metadata, or the sheet's file column.
        active_mass_mg: mass of active in that cell, where no sheet has said it.
        area_cm2: area of that cell, likewise.

    Raises:
        Refusal: the file is not understood, or does not fit what the ledger knows; nothing of it is taken then.
    """
    if not path.is_file():
        raise Refusal(f"there is no file {path}")
    if path.suffix.lower() in (".xlsx", ".xlsm", ".ods") and marker(path):
        return _take_sheet(session, path, by)
    return _take_cell_file(session, path, by, cell, {"active_mass_mg": active_mass_mg, "area_cm2": area_cm2})


# ---- the lab sheet -----------------------------------------------------------------------------------------------------
def _take_sheet(session: Session, path: Path, by: str) -> Taken:
    asked = session.ledger.trials(session.name, recipe="asked")
    sheet = read_sheet(path, known_trials=asked[asked["evaluator"].eq("lab")])
    known = session.ledger.files(session.name)["sha256"].eq(sheet.sha256).any()
    if known:
        return Taken(f"{sheet.name}: was taken in before; nothing has changed")
    for row in sheet.rows:
        _take_row(session, row, by, f"sheet {sheet.sha256[:16]} row {row.row}", sheet.name)
    session.ledger.register_file(
        session.name,
        sheet.sha256,
        name=sheet.name,
        size=path.stat().st_size,
        at=now(),
        by=by,
        details={"kind": "sheet"},
    )
    trials = tuple(dict.fromkeys(row.trial for row in sheet.rows))
    said = (
        f"{sheet.name}: {len(sheet.rows)} rows of {len(trials)} trials taken in"
        if trials
        else f"{sheet.name}: nothing is filled in yet"
    )
    return Taken(said, trials, tuple(finding.sentence for finding in sheet.findings if finding.level != "ok"))


def _take_row(session: Session, row: SheetRow, by: str, key: str, name: str) -> None:
    ledger = session.ledger
    if row.state in ("failed", "abandoned"):
        verb = ledger.fail if row.state == "failed" else ledger.abandon
        if ledger.trial(row.trial).state != row.state:
            verb(row.trial, key=f"{key} {row.state}", at=now(), by=by, why=row.note or f"so said by {name}")
        return
    begun = (
        row.done or row.mix or row.powder or row.cell or row.outcome or row.state in ("mixing", "testing", "completed")
    )
    if not begun:
        return
    mix = _mix_of(session, row, by, key)
    _take_powder(session, mix, row, by, key)
    if row.cell or row.outcome:
        cell = _cell_of(session, mix, row, by, key)
        _take_typed(session, cell, row, by, key)
    if row.state == "completed" and ledger.trial(row.trial).state != "completed":
        ledger.complete(row.trial, key=f"{key} completed", at=now(), by=by)


def _mix_of(session: Session, row: SheetRow, by: str, key: str) -> str:
    """The trial's mix, made if the ledger has none, brought up to what the sheet says."""
    mixes = session.ledger.mixes(session.name)
    mine = mixes[mixes["trial"].eq(row.trial)]
    if mine.empty:
        return session.ledger.mixed(
            row.trial, key=f"{key} mixed", at=now(), by=by, recipe_done=dict(row.done), details=dict(row.mix)
        )
    mix = str(mine.index[0])
    new = {
        column: known | dict(said)
        for column, said in (("recipe_done", row.done), ("details", row.mix))
        if (known := json.loads(mine.iloc[0][column] or "{}")) | dict(said) != known
    }
    if new:
        # What the trial's recipe really was is learned from the trial; the mix keeps it with its own masses and lots.
        trial = {row.trial: {"recipe_done": new["recipe_done"]}} if "recipe_done" in new else {}
        session.ledger.amend(why="the sheet says more", subjects={mix: new, **trial}, key=f"{key} mix", at=now(), by=by)
    return mix


def _cell_of(session: Session, mix: str, row: SheetRow, by: str, key: str) -> str:
    """The cell that a row speaks of: by its id or its label; made if the ledger has none."""
    label = str(row.cell.get("cell_id", ""))
    cells = session.ledger.cells(session.name)
    mine = cells[cells["mix"].eq(mix)]
    labels = mine["details"].map(lambda text: json.loads(text or "{}").get("label", ""))
    found = mine.index[labels.eq(label) | (mine.index == label.upper())]
    facts = {name: row.cell[name] for name in ("active_mass_mg", "area_cm2") if name in row.cell}
    channel = str(row.cell["channel"]) if "channel" in row.cell else None
    details = {"label": label} | {
        name: row.cell[name] for name in ("file", "started_at", "stopped_at") if name in row.cell
    }
    if not len(found):
        return session.ledger.start(
            mix,
            key=f"{key} cell",
            at=now(),
            by=by,
            channel=channel,
            details=details,
            **{k: float(v) for k, v in facts.items()},
        )
    cell = str(found[0])
    stands = cells.loc[cell]
    known = json.loads(stands["details"] or "{}")
    new: dict[str, Any] = {name: value for name, value in facts.items() if stands[name] != value}
    new |= {"channel": channel} if channel is not None and stands["channel"] != channel else {}
    new |= {"details": known | details} if known | details != known else {}
    if new:
        session.ledger.amend(why="the sheet says more", subjects={cell: new}, key=f"{key} cell", at=now(), by=by)
    return cell


def _take_powder(session: Session, mix: str, row: SheetRow, by: str, key: str) -> None:
    _take_scalars(
        session, mix, {_POWDER_UNITS[name]: float(value) for name, value in row.powder.items()}, by, f"{key} powder"
    )


def _take_scalars(session: Session, subject: str, values: Mapping[tuple[str, str], float], by: str, key: str) -> None:
    """Record single values; one that stands already with another value is amended, with its history kept."""
    results = session.ledger.results(session.name, with_excluded=True)
    mine = results[results["subject"].eq(subject) & results["cycle"].isna()].set_index("observable")
    fresh, changed = [], []
    for (observable, unit), value in values.items():
        if observable not in mine.index:
            fresh.append({"subject": subject, "observable": observable, "unit": unit, "value": value})
        elif mine.loc[observable, "value"] != value:
            changed.append({"result": mine.loc[observable, "result"], "value": value})
    if fresh:
        session.ledger.record(results=pd.DataFrame(fresh), key=key, at=now(), by=by)
    if changed:
        session.ledger.amend(
            results=pd.DataFrame(changed), why="the sheet says another value", key=f"{key} amended", at=now(), by=by
        )


def _take_typed(session: Session, cell: str, row: SheetRow, by: str, key: str) -> None:
    typed = {int(found.group(1)): value for name, value in row.outcome.items() if (found := _TYPED.fullmatch(name))}
    if not typed:
        return
    standing = session.ledger.cycling(session.name, with_excluded=True)
    mine = standing[standing["subject"].eq(cell)].set_index("cycle")["discharge_areal_capacity_mAh_cm2"]
    for amend, chosen in (
        (False, {cycle: q for cycle, q in typed.items() if cycle not in mine.index}),
        (True, {cycle: q for cycle, q in typed.items() if cycle in mine.index and mine[cycle] != q}),
    ):
        if not chosen:
            continue
        rows = pd.DataFrame(
            {"subject": cell, "cycle": list(chosen), "discharge_areal_capacity_mAh_cm2": list(chosen.values())}
        )
        if amend:
            session.ledger.amend(
                cycling=rows, why="the sheet says another value", key=f"{key} retyped", at=now(), by=by
            )
        else:
            session.ledger.record(cycling=rows, key=f"{key} typed", at=now(), by=by)


# ---- a cell's file -----------------------------------------------------------------------------------------------------
def _take_cell_file(session: Session, path: Path, by: str, cell: str | None, said: Mapping[str, float | None]) -> Taken:
    subject = _find_cell(session, path, cell)
    if subject is None:
        return _leave_unassigned(session, path, by)
    facts = _facts(session, subject, said)
    with path.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    files = session.ledger.files(session.name)
    if (files["sha256"].eq(content) & files["subject"].eq(subject)).any():
        return Taken(f"{path.name}: was taken in before for {subject}; nothing has changed")
    found = read_cycler(path, start="discharge", cell=facts)
    rows = _ledger_rows(found, subject, facts)
    planned = int(session.ledger.trial(subject).protocol.get("cycles", 0) or 0)
    done = rows["cycle"].max() if len(rows) else 0
    reached = planned > 0 and bool(done >= planned)
    cells = session.ledger.cells(session.name)
    ended = subject in cells.index and cells.loc[subject, "state"] == "completed"
    _tell_cell(session, subject, said, f"file {found.sha256[:16]} {subject}", by)
    answer = session.ledger.record(
        cycling=rows.assign(file=found.sha256),
        complete=[subject, read_id(subject).trial] if reached and not ended else [],
        unplanned=True,
        key=f"file {found.sha256} {subject}",
        at=now(),
        by=by,
    )
    new = session.ledger.register_file(
        session.name, found.sha256, name=found.name, size=path.stat().st_size, at=now(), by=by, subject=subject,
        details={"format": found.format, "rows": found.rows},
    )  # fmt: skip
    if not new:  # it waited unassigned until now
        session.ledger.assign_file(
            session.name, found.sha256, subject, key=f"assign {found.sha256} {subject}", at=now(), by=by
        )
    more = f"; all {planned} planned cycles are there, the trial is complete" if reached else f" of {planned} planned"
    said = f"{found.name}: {found.format}, cycles 1 to {done}{more}; {answer['cycles']} new rows for {subject}"
    return Taken(
        said, (read_id(subject).trial,), tuple(f.sentence for f in found.findings if f.level in ("warning", "flag"))
    )


def _find_cell(session: Session, path: Path, cell: str | None) -> str | None:
    """Cell of a file: as said, by an id in its name, or by the sheet's file column or cell label. Never guessed.

    An id that names a trial of this campaign is believed although nobody announced the cell: news may come late.
    """
    trials = session.ledger.trials(session.name).index
    if cell is not None:
        named = read_id(cell)
        if named.trial in trials and named.kind == "cell":
            return str(named)
        raise Refusal(
            f"--cell {cell}: campaign {session.name!r} has no trial {named.trial}"
            if named.trial not in trials
            else f"--cell {cell}: this names no cell; write it as {named.trial}-M1-C1"
        )
    in_name = _CELL_ID.search(path.name)
    if in_name and read_id(in_name.group()).trial in trials:
        return str(read_id(in_name.group()))
    details = session.ledger.cells(session.name)["details"].map(lambda text: json.loads(text or "{}"))
    by_sheet = [str(name) for name, known in details.items() if known.get("file") == path.name]
    by_label = [str(name) for name, known in details.items() if known.get("label") and known["label"] == path.stem]
    return next((found[0] for found in (by_sheet, by_label) if len(found) == 1), None)


def _leave_unassigned(session: Session, path: Path, by: str) -> Taken:
    from ingest import inspect

    found = inspect(path)
    session.ledger.register_file(
        session.name,
        found.sha256,
        name=found.name,
        size=path.stat().st_size,
        at=now(),
        by=by,
        details={"format": found.format},
    )
    return Taken(
        f"{found.name}: understood as {found.format} with {len(found.cycles)} cycles, but nothing says which cell it is of; "
        "it waits unassigned: say --cell T0001-M1-C1, or put the cell id into the file's name or the sheet's file column"
    )


def _tell_cell(session: Session, cell: str, said: Mapping[str, float | None], key: str, by: str) -> None:
    """Put mass and area that came with the file on the cell; a cell that nobody announced is made."""
    known = {name: value for name, value in said.items() if value is not None}
    cells = session.ledger.cells(session.name)
    if not known:
        return
    if cell not in cells.index:
        session.ledger.start(cell, key=f"{key} start", at=now(), by=by, **known)
    elif any(cells.loc[cell, name] != value for name, value in known.items()):
        session.ledger.amend(why="told with a file", subjects={cell: known}, key=f"{key} facts", at=now(), by=by)


def _facts(session: Session, cell: str, said: Mapping[str, float | None]) -> CellFacts:
    cells = session.ledger.cells(session.name)
    stands = cells.loc[cell] if cell in cells.index else pd.Series({"active_mass_mg": None, "area_cm2": None})
    recipe = session.ledger.trial(cell).recipe
    active = str(recipe.get("active", "none"))
    return CellFacts(
        active_mass_mg=said.get("active_mass_mg") or _number(stands["active_mass_mg"]),
        area_cm2=said.get("area_cm2") or _number(stands["area_cm2"]),
        active_wt_pct=_number(recipe.get("active_wt_pct")),
        capacity_mAh_g=None if active == "none" else session.materials.active(active).capacity_mAh_g,
    )


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _ledger_rows(found: CyclingFile, cell: str, facts: CellFacts) -> pd.DataFrame:
    """Cycles with a whole discharge; one whose charge still runs is marked partial, so that its longer version replaces it."""
    table = found.cycles
    whole = table[table["discharge_state"].isin(["complete", "ended"])]
    rows = whole[list(_CYCLING)].rename(columns=_CYCLING)
    if rows["discharge_areal_capacity_mAh_cm2"].isna().any():
        raise Refusal(
            f"{found.name}: capacity per area is not known for {cell}: "
            + ("its area is missing" if facts.area_cm2 is None else "the file gives none")
            + "; type area_cm2 on the lab sheet and bring the sheet first"
        )
    still_charging = ~whole["charge_state"].isin(["complete", "ended"]) & whole["charge_state"].ne("absent")
    return rows.assign(subject=cell, partial=still_charging.to_numpy())
