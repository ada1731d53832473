"""Earlier measurements into the ledger: the CSV that a campaign names under `history:`, each row just what was measured.

One row a measurement; rows with the same `trial` are one trial (one recipe under one protocol). Columns: `trial`, any columns
of a design, `observable`, `unit`, `value`, and optionally `cycle`, `relation`, `rel_uncertainty`, `abs_uncertainty`,
`provenance`, `fact`, `where`, `note`, `doi`, `use`, and `evaluator` (`published`, which is the default, or `earlier`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from campaign.errors import Refusal
from campaign.names import nearest
from campaign.recipe import DESIGN_COLUMNS, TEXT_COLUMNS, complete
from campaign.trial import check_evaluator
from flows.intake.kept import keep
from flows.session import Session, now, who

_MEASUREMENT = (
    "observable",
    "unit",
    "value",
    "cycle",
    "relation",
    "rel_uncertainty",
    "abs_uncertainty",
    "provenance",
    "note",
)
_SHARES = ("active_wt_pct", "sse_wt_pct", "carbon_wt_pct")
_NUMBERS = ("value", "cycle", "rel_uncertainty", "abs_uncertainty")
_SOURCE = ("fact", "where", "doi", "use")
_LARGEST_BYTES = 10 << 20
_KNOWN = ("trial", "evaluator", *DESIGN_COLUMNS, *_MEASUREMENT, *_SOURCE)


def import_history(session: Session) -> int:
    """Bring the campaign's earlier measurements into the ledger; what is there already is left alone.

    Returns:
        Number of trials that the file holds.

    Raises:
        Refusal: the file is missing or faulty; nothing of the faulty trial is written.
    """
    if session.spec.history is None:
        return 0
    path = session.loaded.file(session.spec.history)
    if not path.is_file():
        raise Refusal(f"history: there is no file {path}")
    keep(session, path)
    return import_file(session, path, by=who())


def import_file(session: Session, path: Path, *, by: str, name: str | None = None, evaluator: str = "published") -> int:
    """Bring one history CSV into the ledger.

    Args:
        session: an open campaign.
        path: the file.
        by: who brings it.
        name: what it is called, where that is not the path's name.
        evaluator: of trials whose rows do not say.

    Returns:
        Number of trials that the file holds.
    """
    table = read_history(path)
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    if not session.ledger.files(session.name)["sha256"].eq(content).any():
        trials = {str(label): _checked(path, str(label), rows) for label, rows in table.groupby("trial", sort=False)}
        if "evaluator" not in table:
            table = table.assign(evaluator=evaluator)
        for label, rows in table.groupby("trial", sort=False):
            _import_trial(session, name or path.name, str(label), rows, trials[str(label)], by)
        # Registered last: a file that is known was taken in to its end.
        session.ledger.register_file(
            session.name,
            content,
            name=name or path.name,
            size=path.stat().st_size,
            at=now(),
            by=by,
            details={"kind": "history"},
        )
    return int(table["trial"].nunique())


def read_history(path: Path) -> pd.DataFrame:
    """Read and check a history CSV; numbers are numbers, empty cells are missing.

    Raises:
        Refusal: names the file, the row and the column.
    """
    if not path.is_file():
        raise Refusal(f"history: there is no file {path}")
    if path.stat().st_size > _LARGEST_BYTES:
        raise Refusal(f"{path}: is larger than {_LARGEST_BYTES >> 20} MiB; a history of trials is a small table")
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False)
    except UnicodeDecodeError:
        raise Refusal(f"{path}: is not UTF-8 text; save it as CSV UTF-8") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise Refusal(f"{path}: is no table ({' '.join(str(error).split())})") from None
    for name in text.columns:
        if name not in _KNOWN:
            raise Refusal(f"{path}, row 1: the column {name!r} is unknown: {nearest(name, _KNOWN)}")
    for name in ("trial", "observable", "unit", "value"):
        if name not in text:
            raise Refusal(f"{path}, row 1: the column {name!r} is missing")
        empty = text.index[text[name].eq("")]
        if len(empty):
            raise Refusal(f"{path}, row {empty[0] + 2}, column {name}: is empty; it must be given")
    table = text.copy()
    for name in (*[n for n in DESIGN_COLUMNS if n not in TEXT_COLUMNS], *_NUMBERS):
        if name in text:
            table[name] = pd.to_numeric(text[name].replace("", None), errors="coerce")
            wrong = text.index[table[name].isna() & text[name].ne("")]
            if len(wrong):
                given = text.loc[wrong[0], name]
                raise Refusal(f"{path}, row {wrong[0] + 2}, column {name}: {given!r} is not a number")
    return table


def _checked(path: Path, label: str, rows: pd.DataFrame) -> pd.DataFrame:
    """One trial's recipe and protocol, as one row; all trials of a file are checked before the first is written."""
    designs = rows[[name for name in DESIGN_COLUMNS if name in rows]].iloc[[0]].set_axis([label])
    differing = [n for n in designs if rows[n].nunique(dropna=False) > 1]
    if differing:
        raise Refusal(
            f"{path}: the rows of trial {label} differ in {differing[0]}; one trial is one recipe under one protocol"
        )
    if "evaluator" in rows:
        check_evaluator(str(rows["evaluator"].iloc[0]))
    return _with_shares(path, label, designs.replace("", None).dropna(axis=1, how="all"))


def _with_shares(path: Path, label: str, designs: pd.DataFrame) -> pd.DataFrame:
    """Fill in the share that follows from the others: a recipe that does not sum to 100 would hold up every proposal."""
    try:
        whole = complete(designs)
    except Refusal as refusal:
        raise Refusal(f"{path}, trial {label}: {refusal}") from None
    given = [name for name in _SHARES if name in designs]
    return designs.assign(**{name: whole[name] for name in _SHARES}) if 0 < len(given) < len(_SHARES) else designs


def _provenance(row: pd.Series) -> str | None:
    """How far to trust one row, and where it stands: `printed; fact F048; where Fig 3A; use fit`."""
    words = [str(row["provenance"])] if row.get("provenance") else []
    words += [f"{name} {row[name]}" for name in ("fact", "where", "use") if row.get(name)]
    return "; ".join(words) or None


def _import_trial(session: Session, name: str, label: str, rows: pd.DataFrame, designs: pd.DataFrame, by: str) -> None:
    results = rows[[name for name in _MEASUREMENT if name in rows]].replace("", None).assign(design=label)
    results["provenance"] = [_provenance(row) for _, row in rows.iterrows()]
    source = {name: sorted({text for text in rows[name] if text}) for name in _SOURCE if name in rows}
    session.ledger.add_trials(
        session.name,
        designs,
        evaluator=str(rows["evaluator"].iloc[0]),
        key=f"history {session.name} {label}",
        at=now(),
        by=by,
        results=results,
        provenance={label: {"history": name, "trial": label, **source}},
    )
