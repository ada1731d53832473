"""Tables that people bring: powder results of known mixes, and earlier work without trial ids."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pandas as pd

from campaign import outcome, quantity
from campaign.errors import Refusal
from campaign.materials import Materials
from campaign.names import nearest
from campaign.recipe import DESIGN_COLUMNS
from campaign.trial import read_id
from flows import history
from flows.intake.kept import Kept, Taken, called, limits
from flows.session import Session, now
from ingest import read_history, read_powder
from ingest.tables_in import POWDER

_PER_AREA = ("discharge_areal_capacity_cycle_", "discharge_capacity_cycle_")


# ---- powder results ------------------------------------------------------------------------------------------------
def take_powder(session: Session, file: Kept, by: str) -> Taken:
    """Take in a table of powder results: `trial` or `mix`, and what was measured.

    Raises:
        Refusal: an unknown trial or column, or a value that cannot be; nothing is taken then.
    """
    with called({file.sha256: file.name}):
        table = read_powder(file.path, limits=limits())
    known = session.ledger.trials(session.name).index
    values: dict[str, dict[str, float]] = {}
    for row in table.to_dict("records"):
        mix = _mix_named(str(row["trial"]), known, f"{file.name}, row {row['row']}, column 'trial'")
        for name in (name for name in POWDER if not pd.isna(row[name])):
            before = values.setdefault(mix, {}).setdefault(name, float(row[name]))
            if before != float(row[name]):
                raise Refusal(
                    f"{file.name}, row {row['row']}: {name} of {mix} is {row[name]:g} here and {before:g} above"
                )
    for mix, measured in values.items():
        if powder_differs(session, mix, measured):
            key = f"powder {file.sha256} {mix} after {session.ledger.seq}"
            record_powder(session, mix, measured, by, key, f"{file.name} says another value", file.sha256)
    session.ledger.register_file(
        session.name, file.sha256, name=file.name, size=file.size, at=now(), by=by, details={"kind": "powder"}
    )
    trials = tuple(dict.fromkeys(read_id(mix).trial for mix in values))
    return Taken(f"{file.name}: powder results of {len(values)} mixes taken in", trials)


def _mix_named(text: str, known: pd.Index, place: str) -> str:
    try:
        named = read_id(text)
    except Refusal as refusal:
        raise Refusal(f"{place}: {refusal}") from None
    if named.trial not in known:
        raise Refusal(f"{place}: nobody knows {named.trial}: {nearest(named.trial, [str(t) for t in known])}")
    return named.mix if named.mix_number else f"{named.trial}-M1"


def powder_differs(session: Session, mix: str, values: Mapping[str, float]) -> bool:
    """Whether the ledger holds other values, or none."""
    standing = _standing(session, mix)
    return any(standing.get(quantity.split(name)[0], (0, None))[1] != value for name, value in values.items())


def record_powder(
    session: Session, mix: str, values: Mapping[str, float], by: str, key: str, why: str, file: str | None = None
) -> None:
    """Record powder results; one that stands with another value is amended, with its history kept."""
    standing = _standing(session, mix)
    fresh, changed = [], []
    for name, value in values.items():
        observable, unit = quantity.split(name)
        row = {"subject": mix, "observable": observable, "unit": unit, "value": value, "file": file}
        if observable not in standing:
            fresh.append(row)
        elif standing[observable][1] != value:
            changed.append({"result": standing[observable][0], "value": value, "file": file})
    if changed:
        session.ledger.amend(results=pd.DataFrame(changed), why=why, key=f"{key} amended", at=now(), by=by)
    if fresh:
        session.ledger.record(results=pd.DataFrame(fresh), unplanned=True, key=key, at=now(), by=by)


def _standing(session: Session, subject: str) -> dict[str, tuple[int, float]]:
    results = session.ledger.results(session.name, with_excluded=True)
    mine = results[results["subject"].eq(subject) & results["cycle"].isna()]
    return {str(r["observable"]): (int(r["result"]), float(r["value"])) for r in mine.to_dict("records")}


# ---- earlier work --------------------------------------------------------------------------------------------------
def take_measurements(session: Session, file: Kept, by: str) -> Taken:
    """Take in earlier work as one row a measurement (`trial`, `observable`, `unit`, `value`, …)."""
    with called({file.sha256: file.name}):
        count = history.import_file(session, file.path, name=file.name, by=by, evaluator="earlier")
    return Taken(f"{file.name}: {count} earlier trials are in the ledger")


def take_earlier(session: Session, file: Kept, by: str) -> Taken:
    """Take in earlier work as one row a recipe, outcomes in columns that end in their unit; all or nothing.

    Raises:
        Refusal: a column that nobody knows, a cell that is no number, shares that do not sum to 100.
    """
    with called({file.sha256: file.name}):
        earlier = read_history(file.path, limits=limits())
    designs = earlier.designs.set_axis([f"row {row}" for row in earlier.rows])
    outcomes = earlier.outcomes.set_axis(designs.index)
    results = [
        {"design": label, **_result(str(name), float(value), designs.loc[[label]], session.materials, file.name)}
        for name in outcomes
        for label, value in outcomes[name].items()
        if not pd.isna(value)
    ]
    notes = earlier.notes.set_axis(designs.index)
    provenance = {
        label: {"history": file.name, "row": label, **{k: v for k, v in notes.loc[label].items() if v}}
        for label in designs.index
    }
    ids = session.ledger.add_trials(
        session.name,
        designs,
        evaluator="earlier",
        key=f"earlier {session.name} {file.sha256}",
        at=now(),
        by=by,
        results=pd.DataFrame(results) if results else None,
        provenance=provenance,
    )
    session.ledger.register_file(
        session.name, file.sha256, name=file.name, size=file.size, at=now(), by=by, details={"kind": "history"}
    )
    learned = (
        ""
        if "earlier" in session.spec.learn_from
        else "; write learn_from: [earlier] in the campaign file to learn from them"
    )
    return Taken(f"{file.name}: {len(ids)} earlier trials taken in, {ids[0]} to {ids[-1]}{learned}", tuple(ids))


def _result(name: str, value: float, design: pd.DataFrame, materials: Materials, place: str) -> dict[str, object]:
    """One outcome column as a scalar result; a capacity of a cycle is kept per cm2, as a cell's record would have it."""
    cycle = outcome.cycle_of(name)
    if cycle is None or not name.startswith(_PER_AREA):
        observable, unit = quantity.split(name)
        return {"observable": observable, "unit": unit, "value": value}
    per_gram = {
        "mAh_cm2": 1000.0,
        "mAh_g_composite": float(outcome.composite_mg_cm2(design).iloc[0]),
        "mAh_g_active": float(design["loading_mg_cm2"].iloc[0]),
    }
    unit = name.partition(f"_cycle_{cycle}_")[2]
    if unit not in per_gram:
        raise Refusal(f"{place}: {name} is not per cm2 or per gram; without the cell's area it cannot be compared")
    areal = value * per_gram[unit] / 1000.0
    theory = float(outcome.theoretical_areal_capacity_mAh_cm2(design, materials).iloc[0])
    if theory and areal >= 10 * theory:
        raise Refusal(
            f"{place}: {name} of {value:g} is {areal / theory:.3g} times the theory of the active; is the unit right?"
        )
    return {"observable": "discharge_areal_capacity", "unit": "mAh/cm2", "value": areal, "cycle": cycle}


def kind_of(header: list[str]) -> str | None:
    """What kind of table a header row announces: `powder`, `measurements`, `earlier`, or None."""
    names = {name.strip().strip('"').casefold() for name in header}
    if {"trial", "check", "state"} <= names:
        return "sheet as text"
    if {"trial", "observable", "unit", "value"} <= names:
        return "measurements"
    design = {name.casefold() for name in DESIGN_COLUMNS} & names
    if len(design) >= 2 and not names & {"cycle", "cycle_number", "cycle index"}:
        return "earlier"
    words = " ".join(names)
    if names & {"trial", "mix", "trial_id", "mix_id"} and any(
        w in words for w in ("halide", "crystallite", "conductivity", "xrd", "eds", "sigma")
    ):
        return "powder"
    return None


def details_of(text: str | None) -> dict[str, object]:
    """JSON text of the ledger as a dict."""
    return dict(json.loads(text or "{}"))
