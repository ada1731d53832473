"""The door for everything that the lab sends back: a filled sheet, a cell's file, powder results, earlier work.

Each file is archived by its content, recognised by its content, and taken whole or not at all; the same file twice changes
nothing, and an intake that was interrupted is finished by repeating it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from campaign.errors import Refusal
from flows.intake import cell_file, sheet, tables, whose
from flows.intake.cell_file import Said
from flows.intake.kept import Kept, NotNow, Taken, called, from_archive, keep, one_at_a_time
from flows.session import Session, now
from ingest.sheet_columns import SHEET
from ingest.workbook import marker, part_text

__all__ = ["NotNow", "Taken", "assign", "look_again", "take_in"]

_HEAD = 1 << 16


def take_in(
    session: Session,
    path: Path,
    *,
    by: str,
    cell: str | None = None,
    active_mass_mg: float | None = None,
    area_cm2: float | None = None,
    amend: bool = False,
    why: str = "",
    finished: bool = False,
    continues: bool = False,
) -> Taken:
    """Take in one file.

    Args:
        session: an open campaign.
        path: the file.
        by: who brings it.
        cell: the cell that a cycler file is of; without it, an id in the file's name or metadata, or the sheet's file column.
        active_mass_mg: mass of active in that cell, where no sheet has said it.
        area_cm2: area of that cell, likewise.
        amend: accept that the past of a file was changed; needs `why`.
        why: the reason, for the history.
        finished: a person's word that the cell's test is over.
        continues: a person's word that the file is the next part of the test.

    Raises:
        Refusal: the file is not understood, or does not fit what the ledger knows; nothing of it is taken then.
        NotNow: it could not be kept now; the same file may be right later.
    """
    facts = {"active_mass_mg": active_mass_mg, "area_cm2": area_cm2}
    known = {name: value for name, value in facts.items() if value is not None}
    said = Said(by, cell, known, amend=amend, why=why, finished=finished, continues=continues)
    with one_at_a_time(session):
        return _take(session, keep(session, path), said)


def _take(session: Session, file: Kept, said: Said) -> Taken:
    kind = _kind(file)
    if kind == "sheet":
        taken = sheet.take(session, file, said.by)
        return _with_waiting(session, taken, said.by)
    if kind is not None and session.ledger.files(session.name)["sha256"].eq(file.sha256).any():
        return Taken(
            f"{file.name}: was taken in before; nothing has changed"
        )  # also if its values were corrected since
    if kind == "powder":
        return tables.take_powder(session, file, said.by)
    if kind == "measurements":
        return tables.take_measurements(session, file, said.by)
    if kind == "earlier":
        return tables.take_earlier(session, file, said.by)
    return cell_file.take(session, file, said)


def _kind(file: Kept) -> str | None:
    """What a file is, by its content: our sheet carries a mark; tables that people bring are told by their header."""
    with file.path.open("rb") as stream:
        head = stream.read(_HEAD)
    if head.startswith(b"PK"):
        return "sheet" if marker(file.path) or _has_trials_page(file.path) else None
    line = next((part for part in head.decode("utf-8-sig", errors="replace").splitlines() if part.strip()), "")
    cut = max(",;\t", key=line.count)
    kind = tables.kind_of(line.split(cut))
    if kind == "sheet as text":
        raise Refusal(f"{file.name}: is a lab sheet saved as text; save it as .xlsx, so that nothing of it is lost")
    return kind


def _has_trials_page(path: Path) -> bool:
    """Whether a workbook without our mark (some programs drop it) has the page of our lab sheets."""
    return f'name="{SHEET}"' in (part_text(path, "xl/workbook.xml", _HEAD) or "")


def _with_waiting(session: Session, taken: Taken, by: str) -> Taken:
    """After a sheet: files that waited for their cell may have found it."""
    found = look_again(session, by=by)
    if not found:
        return taken
    more = tuple(sentence for item in found for sentence in (item.sentence, *item.findings))
    return Taken(taken.sentence, taken.trials, (*taken.findings, *more), flagged=taken.flagged)


def look_again(session: Session, *, by: str) -> list[Taken]:
    """Take in the files that wait unassigned and whose cell is known by now; one that does not fit goes on waiting."""
    done = []
    for sha256, name in _waiting(session).items():
        if whose.find_cell(session, name, said=None).cell is None:
            continue
        try:
            done.append(cell_file.take(session, from_archive(session, sha256, name), Said(by)))
        except Refusal as refusal:
            done.append(Taken(f"{name} goes on waiting: {refusal}", unassigned=True))
    return done


def _waiting(session: Session) -> dict[str, str]:
    files = session.ledger.files(session.name)
    mine = files[files["subject"].isna()]
    cycler = mine[[tables.details_of(text).get("kind") == "cycler" for text in mine["details"]]]
    return {str(row["sha256"]): str(row["name"]) for row in cycler.to_dict("records")}


def assign(session: Session, which: str, cell: str, *, by: str, why: str = "", **facts: float) -> Taken:
    """Say which cell a file is of that was taken in before; one that stood at another cell is moved, with its rows.

    Args:
        session: an open campaign.
        which: the file's name, or the beginning of its sha256.
        cell: id or label of the cell.
        by: who says so.
        why: reason; needed where the file stood at another cell.
        facts: `active_mass_mg`, `area_cm2` of the cell.

    Raises:
        Refusal: no such file or cell, or no reason for moving it.
    """
    with one_at_a_time(session):
        file, subject = _file_named(session, which)
        target = whose.find_cell(session, file.name, said=cell).cell
        assert target is not None
        if subject is not None and subject != target:
            _take_away(session, file, subject, by, why)
        moved = subject is not None and subject != target
        return cell_file.record(session, file, target, Said(by, target, facts, amend=moved, why=why))


def _file_named(session: Session, which: str) -> tuple[Kept, str | None]:
    files = session.ledger.files(session.name)
    typed = which.strip()
    found = files[files["name"].eq(typed)]
    if found.empty and len(typed) >= 6:
        found = files[files["sha256"].str.startswith(typed.lower())]
    if found["sha256"].nunique() > 1:
        named = ", ".join(text[:12] for text in found["sha256"])
        raise Refusal(f"{which}: {len(found)} files have this name; say which by its hash: {named}")
    if found.empty:
        from campaign.names import nearest

        known = [str(name) for name in files["name"]]
        raise Refusal(
            f"{which}: campaign {session.name!r} holds no such file"
            + (f": {nearest(which, known)}" if known else "; hand it in first with mixwright ingest")
        )
    row = found.iloc[0]
    subject = None if pd.isna(row["subject"]) else str(row["subject"])
    return from_archive(session, str(row["sha256"]), str(row["name"])), subject


def _take_away(session: Session, file: Kept, subject: str, by: str, why: str) -> None:
    if not why.strip():
        raise Refusal(f"{file.name} stands at {subject}; to move it, say why: --why '…'")
    standing = session.ledger.cycling(session.name, with_excluded=True)
    mine = standing[standing["subject"].eq(subject) & standing["file"].eq(file.sha256)]
    key = f"assign {file.sha256} away from {subject} {session.ledger.seq}"
    with called({file.sha256: file.name}):
        if len(mine):
            gone = mine[["subject", "cycle"]]
            session.ledger.amend(withdraw_cycles=gone, why=why, key=key, at=now(), by=by)
        session.ledger.assign_file(session.name, file.sha256, None, key=f"{key} file", at=now(), by=by, why=why)
