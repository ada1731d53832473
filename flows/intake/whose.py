"""Which cell of the campaign a file is of: as said, by an id in its name or metadata, or by the lab sheet; never guessed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePath

import pandas as pd

from campaign.errors import Refusal
from campaign.names import nearest
from campaign.trial import SubjectId, read_id
from flows.session import Session
from ingest import Assignment
from ingest import find_cell as find
from store import Ledger

_SPELLED = re.compile(r"(?<![A-Za-z0-9])T\d{1,9}[-_ ]?M\d{1,4}[-_ ]?C\d{1,4}(?![A-Za-z0-9])", re.IGNORECASE)
_TRIAL = re.compile(r"(?<![A-Za-z0-9])T\d{1,9}(?![A-Za-z0-9])", re.IGNORECASE)


def find_cell(session: Session, name: str, *, said: str | None, metadata_id: str | None = None) -> Assignment:
    """Find the cell of a file.

    An id that names a trial of this campaign is believed although nobody announced the cell: news may come late.

    Raises:
        Refusal: `said` names no cell of this campaign.
    """
    trials = set(session.ledger.trials(session.name).index)
    labels = labels_of(session)
    if said is not None:
        return Assignment(cell_named(session, said, trials, labels), "said", "as said")
    known = {text: cell for text, cell in _ids_in(name).items() if cell in _cells_of(trials, cell)}
    known |= {label: cell for label, cell in labels.items() if _tells(label) or label == PurePath(name).stem}
    if metadata_id is not None and metadata_id.strip().lower() not in {text.lower() for text in known}:
        told = [cell for cell in _ids_in(metadata_id).values() if cell in _cells_of(trials, cell)]
        known |= {metadata_id: told[0]} if told else {}
    by_sheet = _by_sheet(session, name, known)
    found = find(name, known_cells=list(known), metadata_id=metadata_id, sheet_files=by_sheet)
    if found.cell is not None:
        return Assignment(known[found.cell], found.how, found.sentence)
    return Assignment(None, "unassigned", _unassigned(found.sentence, name, trials))


def cell_named(session: Session, said: str, trials: set[str], labels: Mapping[str, str]) -> str:
    """The cell that a person named, by its id as loosely as people type it, or by the lab's own label.

    Raises:
        Refusal: the campaign has no such cell.
    """
    if said.strip() in labels:
        return labels[said.strip()]
    spelled = re.sub(r"[_ ]", "-", said.strip())
    try:
        named = read_id(spelled)
    except Refusal:
        raise Refusal(
            f"--cell {said}: nobody knows this cell; write it like T0001-M1-C1"
            + (f", or the lab's own name: {nearest(said, labels)}" if labels else "")
        ) from None
    if named.trial not in trials:
        raise Refusal(
            f"--cell {said}: campaign {session.name!r} has no trial {named.trial}"
            + (f": {nearest(named.trial, sorted(trials))}" if trials else " (it has none yet)")
        )
    if named.kind != "cell":
        raise Refusal(f"--cell {said}: this names no cell; write it like {named.trial}-M{named.mix_number or 1}-C1")
    return str(named)


def subject_named(ledger: Ledger, text: str) -> SubjectId:
    """Read an id of a trial, mix or cell, or the lab's own name of a cell (as typed into the sheet's `cell id`).

    Raises:
        Refusal: it is neither.
    """
    try:
        return read_id(text)
    except Refusal as refusal:
        labels = _labels(ledger.cells())
        if text.strip() in labels:
            return read_id(labels[text.strip()])
        known = f"; cells with a name of their own: {nearest(text, labels)}" if labels else ""
        raise Refusal(f"{refusal}{known}") from None


def labels_of(session: Session) -> dict[str, str]:
    """The lab's own names of cells -> cell ids; a name that two cells share counts for none."""
    return _labels(session.ledger.cells(session.name))


def _labels(cells: pd.DataFrame) -> dict[str, str]:
    details = {str(cell): json.loads(text or "{}") for cell, text in cells["details"].items()}
    count = Counter(known["label"] for known in details.values() if known.get("label"))
    return {known["label"]: cell for cell, known in details.items() if count.get(known.get("label")) == 1}


def _tells(label: str) -> bool:
    """Whether a label is long and odd enough that finding it inside a file's name is no accident."""
    return len(label) >= 3 and any(ch.isdigit() for ch in label) and any(ch.isalpha() for ch in label)


def _ids_in(text: str) -> dict[str, str]:
    """Ids that stand in a text, as spelled there -> as we write them; each id once."""
    found: dict[str, str] = {}
    for match in _SPELLED.finditer(text):
        cell = str(read_id(re.sub(r"[_ ]", "-", match.group())))
        if cell not in found.values():
            found[match.group()] = cell
    return found


def _cells_of(trials: set[str], cell: str) -> tuple[str, ...]:
    return (cell,) if read_id(cell).trial in trials else ()


def _by_sheet(session: Session, name: str, known: dict[str, str]) -> dict[str, str]:
    """The cell whose row on a sheet names this file (with or without its ending), where just one does."""
    wanted = {name.casefold(), PurePath(name).stem.casefold()}
    details = session.ledger.cells(session.name)["details"]
    cells = [
        str(cell)
        for cell, text in details.items()
        if (said := str(json.loads(text or "{}").get("file", "")))
        and wanted & {part.strip().casefold() for part in _names(said)}
    ]
    if len(cells) != 1:
        return {}
    known.setdefault(cells[0], cells[0])
    spelled = next(text for text, cell in known.items() if cell == cells[0])
    return {name: spelled}


def _names(said: str) -> list[str]:
    return [said, *re.split(r"[;,]", said)]


def _unassigned(sentence: str, name: str, trials: set[str]) -> str:
    cells = list(_ids_in(name).values())
    if len(cells) == 1 and not _cells_of(trials, cells[0]):
        trial = read_id(cells[0]).trial
        return f"its name says {cells[0]}, and this campaign has no trial {trial}; it waits until you say --cell ID"
    if cells:
        return sentence
    named = [str(SubjectId(read_id(match.group()).trial_number)) for match in _TRIAL.finditer(name)]
    here = [trial for trial in named if trial in trials]
    if here:
        return f"{name} names trial {here[0]} but no cell of it; it waits until you say which, such as --cell {here[0]}-M1-C1"
    return sentence
