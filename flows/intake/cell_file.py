"""A cycler file or a table of capacities into the record of its cell.

All is read and compared first. The writes then follow in an order in which a kill between any two leaves a file that is
not yet registered: taking it in again finishes them, because each is keyed by the file's content and checked against
what stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from campaign.errors import Refusal
from campaign.trial import TRANSITIONS, read_id
from flows.intake import cells, rows, versions, whose
from flows.intake.cells import Cell
from flows.intake.kept import Kept, Taken, called, limits
from flows.session import Session, now
from ingest import CellFacts, CyclingFile, inspect, read_cycler


@dataclass(frozen=True)
class Said:
    """What a person said with a file."""

    by: str
    cell: str | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    """`active_mass_mg`, `area_cm2` of the cell, where no sheet has said them."""
    amend: bool = False
    why: str = ""
    finished: bool = False
    """A person's word that the test is over."""
    continues: bool = False
    """A person's word that the file is the next part of the test."""


def take(session: Session, file: Kept, said: Said) -> Taken:
    """Take in one file of one cell.

    Raises:
        Refusal: it is not understood, or does not fit what the ledger knows; nothing of it is taken then.
    """
    if said.amend and not said.why.strip():
        raise Refusal("--amend needs a reason: --why 'what was wrong', so that the history can be understood later")
    assigned = whose.find_cell(session, file.name, said=said.cell)
    known = _where_taken(session, file)
    if assigned.cell is None and known is not None:
        return Taken(
            f"{file.name}: was taken in before for {known}, by whatever name; nothing has changed",
            (str(read_id(known).trial),),
        )
    if assigned.cell is None:
        looked = look(file)
        if looked.cell_id:
            assigned = whose.find_cell(session, file.name, said=None, metadata_id=looked.cell_id)
        if assigned.cell is None:
            return _leave_unassigned(session, file, looked, assigned.sentence, said.by)
    return record(session, file, assigned.cell, said)


def look(file: Kept) -> CyclingFile:
    """Understand a file without a cell."""
    with called({file.sha256: file.name}):
        return _named(inspect(file.path, limits=limits()), file)


def record(session: Session, file: Kept, name: str, said: Said) -> Taken:
    """Record a file whose cell is known."""
    cell = cells.cell_of(session, name)
    known = _where_taken(session, file)
    if known == name and not (said.finished or said.amend):
        doubts = cells.doubts_with(session, cell, said.facts) if said.facts else []
        again = _correct_facts(session, cell, said, file) or "nothing has changed"
        sentence = f"{file.name}: was taken in before for {name}; {again}"
        return Taken(sentence, (cell.trial.id,), tuple(doubts), flagged=bool(doubts))
    if known not in (None, name):
        raise Refusal(
            f"{file.name}: was taken in for {known}; if it belongs to {name}, move it: "
            f"mixwright assign CAMPAIGN {file.sha256[:12]} {name} --why '…'"
        )
    cells.share_follows(session.ledger, name, by=said.by, at=now())
    facts = cells.facts_of(session, cell, said.facts)
    found = read(file, cell, facts, finished=said.finished)
    related = _related(session, file, found, name, known, said)
    if related.kind in ("same", "contained") and not said.finished:
        _register(session, file, found, name, related, said.by, cut=False)
        return Taken(f"{file.name}: {related.sentence}; nothing new for {name}", (cell.trial.id,))
    given = "" if found.given == "mAh" else cells.given_in(found.given, cell.trial)
    new = rows.ledger_rows(found, name, given=given, offset=related.offset, finished=said.finished)
    rows.refuse_without_capacity(found, new.table, name)
    doubts = cells.refuse_impossible(new.table, facts, cells.loading_mg_cm2(cell, said.facts), found.name)
    doubts += cells.mass_doubts(cell, said.facts, usual_area_cm2=session.spec.lab.cell_area_cm2)
    beside = rows.against(new.table, _history(session, cell, said), name)
    if len(beside.contradicting) and related.kind != "extends" and not said.amend:
        raise Refusal(
            f"{file.name}: differs from what {name} has already: {beside.sentence}. Nothing was taken. If the new file is "
            "right, repeat with --amend --why '…'"
        )
    again = _correct_facts(session, cell, said, file)
    return _write(session, file, found, cell, related, new, said, beside, doubts, again)


def _history(session: Session, cell: Cell, said: Said) -> pd.DataFrame:
    """Every row of the ledger, and those of this cell as they will stand with the mass and area that came with the file."""
    history = session.ledger.cycling(session.name, with_excluded=True, superseded=True)
    follow = cells.rows_with(session.ledger, cell, said.facts) if said.facts else None
    if follow is None:
        return history
    newest = history[history["subject"].eq(cell.id)].drop_duplicates("cycle", keep="last").set_index("cycle")
    newest.update(follow.set_index("cycle")[[*cells.AREAL, *cells.AREAL.values()]])
    return pd.concat([history, newest.reset_index()], ignore_index=True)


def read(file: Kept, cell: Cell, facts: CellFacts, *, finished: bool) -> CyclingFile:
    """Read a file for its cell; a table per cm2 needs no area."""
    with called({file.sha256: file.name}):
        try:
            found = read_cycler(file.path, start=cell.start, cell=facts, finished=finished, limits=limits())
        except Refusal:
            if facts.area_cm2 is not None:
                raise
            found = inspect(file.path, start=cell.start, limits=limits())
            if found.format != "capacity-table" or found.cycles["discharge_areal_capacity_mAh_cm2"].isna().all():
                raise
            found = replace(found, findings=tuple(f for f in found.findings if f.check != "mass"))
    return _named(found, file)


def _named(found: CyclingFile, file: Kept) -> CyclingFile:
    findings = tuple(replace(f, sentence=f.sentence.replace(file.sha256, file.name)) for f in found.findings)
    return replace(found, name=file.name, findings=findings)


def _related(
    session: Session, file: Kept, found: CyclingFile, name: str, known: str | None, said: Said
) -> versions.Relation:
    if known == name:  # the same file again, with a person's word
        files = session.ledger.files(session.name)
        details = json.loads(files.loc[files["sha256"].eq(file.sha256), "details"].iloc[0])
        return versions.Relation("extends", int(details.get("offset", 0)))
    try:
        related = versions.relate(session, file, found, name, continues=said.continues)
    except Refusal:
        if not said.amend:
            raise
        return versions.Relation("changed")
    if related.kind == "changed" and not said.amend:
        raise Refusal(
            f"{file.name}: {related.sentence}. Nothing was taken. If the new file is right, repeat with --amend --why '…'; "
            "if it is the next part of the test, say --continues"
        )
    return related


def _write(
    session: Session,
    file: Kept,
    found: CyclingFile,
    cell: Cell,
    related: versions.Relation,
    new: rows.CellRows,
    said: Said,
    beside: rows.Against,
    doubts: list[str],
    again: str,
) -> Taken:
    ledger, name, key = session.ledger, cell.id, f"file {file.sha256} {cell.id}"
    standing = ledger.cycling(session.name, with_excluded=True)
    if len(beside.contradicting) and not said.amend:
        # The file's past is unchanged, so a person corrected these cycles in the ledger: that stands.
        new = replace(new, table=new.table.drop(beside.contradicting.index))
    if len(beside.typed):
        key_typed = f"{key} over typed {_digest(beside.typed)}"
        ledger.amend(
            cycling=beside.typed, why="measured by the cycler; typed before", key=key_typed, at=now(), by=said.by
        )
    if said.amend and cell.state is not None:
        gone = _left_behind(standing, new.table, name, related)
        at_now = f"{key} amended after {ledger.seq}"
        ledger.amend(cycling=new.table, withdraw_cycles=gone, why=said.why, key=at_now, at=now(), by=said.by)
    at_now = f"{key} after {ledger.seq}"  # rows that stand are recognised by what they say
    answer = ledger.record(cycling=new.table, unplanned=True, key=at_now, at=now(), by=said.by)
    _begin(session, cell, said, key)
    ended = _complete(session, cell, new.whole, said, key)
    _register(session, file, found, name, related, said.by, cut=new.cut)
    count = int(answer["cycles"]) + len(beside.typed)
    return _taken(session, file, found, cell, related, new, count, ended, doubts, again)


def _digest(table: pd.DataFrame) -> str:
    return f"{pd.util.hash_pandas_object(table.astype(str), index=False).sum():x}"


def _left_behind(
    standing: pd.DataFrame, new: pd.DataFrame, cell: str, related: versions.Relation
) -> pd.DataFrame | None:
    """Cycles that came from the replaced version and are not in the new one."""
    if related.older is None:
        return None
    mine = standing[standing["subject"].eq(cell) & standing["file"].eq(related.older)]
    gone = mine[~mine["cycle"].isin(new["cycle"])]
    return gone[["subject", "cycle"]] if len(gone) else None


def _correct_facts(session: Session, cell: Cell, said: Said, file: Kept) -> str:
    """Mass and area that came with the file, where the cell stands with others. Returns what followed, for people."""
    if cell.state is None or cell.state == "planned":
        return ""
    stands = {"active_mass_mg": cell.active_mass_mg, "area_cm2": cell.area_cm2}
    new = {name: value for name, value in said.facts.items() if stands[name] != value}
    if not new:
        return ""
    follow = cells.rows_with(session.ledger, cell, new)
    key = f"file {file.sha256} {cell.id} facts after {session.ledger.seq}"  # repeated after a kill there is nothing new
    cells.tell(session.ledger, cell.id, new, key=key, by=said.by, at=now(), why="told with a file")
    told = ", ".join(f"{name} {value:g}" for name, value in new.items())
    return f"{told} noted" + (f", {len(follow)} cycles reckoned again with it" if follow is not None else "")


def _begin(session: Session, cell: Cell, said: Said, key: str) -> None:
    """A cell whose file is here was evidently started."""
    if cells.cell_of(session, cell.id).state in (None, "planned"):
        session.ledger.start(cell.id, key=f"{key} start", at=now(), by=said.by, **_facts(said))


def _facts(said: Said) -> dict[str, Any]:
    return dict(said.facts)


def _complete(session: Session, cell: Cell, whole: int, said: Said, key: str) -> str | None:
    """Complete the cell by its planned cycles or a person's word, and its trial when no other cell of it runs.

    Returns:
        What ended: `trial`, `cell` or None.
    """
    reached = 0 < cell.planned_cycles <= whole
    state = session.ledger.cells(session.name).loc[cell.id, "state"]
    if not (reached or said.finished or state == "stopped"):
        return None
    why = "a person said that the test is over" if not reached else None
    if state in TRANSITIONS["cell"]["complete"] and (reached or said.finished):
        session.ledger.complete(cell.id, key=f"{key} cell complete {why or ''}", at=now(), by=said.by, why=why)
    if cells.others_run(session, cell.id):
        return "cell"
    if session.ledger.trial(cell.id).state in TRANSITIONS["trial"]["complete"]:
        trial = read_id(cell.id).trial
        session.ledger.complete(trial, key=f"{key} trial complete {why or ''}", at=now(), by=said.by, why=why)
    return "trial"


def _where_taken(session: Session, file: Kept) -> str | None:
    files = session.ledger.files(session.name)
    mine = files[files["sha256"].eq(file.sha256)]
    subject = mine["subject"].iloc[0] if len(mine) else None
    return None if subject is None or pd.isna(subject) else str(subject)


def _register(
    session: Session, file: Kept, found: CyclingFile, cell: str, related: versions.Relation, by: str, *, cut: bool
) -> None:
    looks = [f"{f.level}: {f.sentence}" for f in found.findings if f.level in ("flag", "warning") and f.cycle is None]
    details = {
        "kind": "cycler",
        "format": found.format,
        "rows": found.rows,
        "offset": related.offset,
        "cut": cut,
        "replaces": related.older,
        "checks": looks,
    }
    new = session.ledger.register_file(
        session.name, file.sha256, name=file.name, size=file.size, at=now(), by=by, subject=cell, details=details
    )
    if not new and _where_taken(session, file) != cell:  # it waited unassigned until now
        key = f"assign {file.sha256} {cell} {session.ledger.seq}"
        session.ledger.assign_file(session.name, file.sha256, cell, key=key, at=now(), by=by)


def _leave_unassigned(session: Session, file: Kept, looked: CyclingFile, sentence: str, by: str) -> Taken:
    details = {"kind": "cycler", "format": looked.format, "rows": looked.rows}
    session.ledger.register_file(
        session.name, file.sha256, name=file.name, size=file.size, at=now(), by=by, details=details
    )
    cycles = int((looked.cycles["cycle"] > 0).sum())
    return Taken(
        f"{file.name}: understood as {looked.format} with {cycles} cycles and kept, but unassigned: {sentence}",
        unassigned=True,
    )


def _taken(
    session: Session,
    file: Kept,
    found: CyclingFile,
    cell: Cell,
    related: versions.Relation,
    new: rows.CellRows,
    count: int,
    ended: str | None,
    doubts: list[str],
    again: str,
) -> Taken:
    span = (
        f"cycles {new.table['cycle'].min()} to {new.table['cycle'].max()}"
        if len(new.table)
        else "no cycle is whole yet"
    )
    planned = f" of {cell.planned_cycles} planned" if cell.planned_cycles else ""
    parts = [f"{file.name}: {found.format}, {span}{planned}, {count} new row{'s' * (count != 1)} for {cell.id}"]
    parts += [again] if again else []
    if related.sentence:
        parts.append(related.sentence)
    if len(new.table) and new.table["discharge_areal_capacity_mAh_cm2"].isna().any():
        parts.append(
            f"kept in mAh: capacity per cm2 follows as soon as the area of {cell.id} is known (--area-cm2, or the sheet)"
        )
    parts += {"trial": [f"{cell.id} is complete, and with it {cell.trial.id}"], "cell": [f"{cell.id} is complete"]}.get(
        ended or "", []
    )
    late = {
        "excluded": f"{cell.trial.id} is excluded, so this is kept and not learned from",
        "abandoned": f"{cell.trial.id} was abandoned; what was measured counts all the same",
        "failed": f"{cell.trial.id} stands as failed; what was measured counts all the same",
    }.get(cell.trial.state)
    parts += [late] if late and ended != "trial" else []
    notes = [f.sentence for f in found.findings if f.level in ("warning", "flag")] + doubts
    return Taken("; ".join(parts), (cell.trial.id,), tuple(notes), flagged=found.flagged or bool(doubts))
