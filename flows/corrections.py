"""Corrections with history: values of a trial, mix, cell or cycle that were wrong, and changes of state that need a reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from campaign import quantity
from campaign.errors import Refusal
from campaign.names import nearest
from campaign.recipe import PROTOCOL_COLUMNS, RECIPE_COLUMNS, TEXT_COLUMNS, complete
from campaign.trial import SubjectId, Trial, read_id
from flows import batches
from flows.intake import cells, standing, times, whose
from flows.intake import done as really
from flows.people import Act
from flows.session import Session
from ingest import numbers
from ingest.tables_in import POWDER

_CYCLE = (
    "discharge_areal_capacity_mAh_cm2",
    "charge_areal_capacity_mAh_cm2",
    "discharge_capacity_mAh",
    "charge_capacity_mAh",
)
_CELL_DETAILS = ("label", "file", "note", "started_at", "stopped_at")
_CELL = ("channel", "active_mass_mg", "area_cm2", *_CELL_DETAILS)
_MIX = (
    "weighed_active_g",
    "weighed_sse_g",
    "weighed_carbon_g",
    "weighed_balls_g",
    "sse_lot",
    "mixed_at",
    "mixed_by",
    "note",
)
_TIMES = ("mixed_at", "started_at", "stopped_at")
_TEXT = (*TEXT_COLUMNS, "channel", "label", "file", "note", "sse_lot", "mixed_by", "start")


def subject_of(session: Session, text: str) -> SubjectId:
    """Read a subject of this campaign: its id, or the lab's own name of a cell.

    Raises:
        Refusal: no id, or of another campaign.
    """
    named = whose.subject_named(session.ledger, text)
    trial = session.ledger.trial(str(named))
    if trial.campaign != session.name:
        raise Refusal(f"{named} belongs to campaign {trial.campaign!r}, not to {session.name!r}")
    return named


def read_values(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Read `NAME=VALUE` pairs.

    Raises:
        Refusal: no name, a name twice, or a value that is no number where one is needed.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip()
        if not equals or not name or not text.strip():
            raise Refusal(f"--set {pair}: write it as NAME=VALUE, such as --set area_cm2=0.785")
        if name in values:
            raise Refusal(f"--set {name} stands twice; which of the two is right?")
        try:
            values[name] = _value(name, text)
        except ValueError as error:
            raise Refusal(f"--set {pair}: {error}") from None
        if name in _TIMES:
            times.refuse_future(datetime.fromisoformat(values[name]), f"--set {pair}")
        if isinstance(values[name], float) and values[name] < 0:
            raise Refusal(f"--set {pair}: {name} cannot be negative")
    return values


def _value(name: str, text: str) -> float | str:
    if name in _TIMES:
        return numbers.moment(text).isoformat()
    return text.strip() if name in _TEXT else numbers.number(text)


def amend(
    session: Session, subject: SubjectId, values: Mapping[str, Any], act: Act, *, cycle: int | None = None
) -> str:
    """Correct values of a trial, mix, cell, or of one cycle of a cell; what they replace stays in the history.

    Raises:
        Refusal: no reason, a name that this subject does not have, or a value that cannot be.
    """
    if not (act.why or "").strip():
        raise Refusal("an amendment needs a reason: --why '…', so that the history can be understood later")
    if not values:
        raise Refusal("say what is right: --set NAME=VALUE")
    key = act.key("amend", subject, cycle or "", json.dumps(values, sort_keys=True))
    told = ", ".join(f"{name} {value}" for name, value in values.items())
    if cycle is not None:
        doubts = _amend_cycle(session, subject, values, act, cycle=cycle, key=key)
        return "; ".join([f"{subject}, cycle {cycle}: {told}", *doubts])
    if subject.kind == "cell":
        told = "; ".join([told, *_amend_cell(session, str(subject), values, act, key)])
    elif subject.kind == "mix":
        told = "; ".join([told, *_amend_mix(session, subject, values, act, key)])
    else:
        told = "; ".join([told, *_amend_trial(session, str(subject), values, act, key)])
    cells.share_follows(session.ledger, subject.trial, by=act.by, at=act.at)
    return f"{subject}: {told}"


def _amend_cycle(
    session: Session, subject: SubjectId, values: Mapping[str, Any], act: Act, *, cycle: int, key: str
) -> list[str]:
    """Correct one cycle; returns sentences about what then hardly can be, which its row carries as a flag too."""
    _check_names(values, _CYCLE, f"{subject}, cycle {cycle}")
    table = session.ledger.cycling(session.name, with_excluded=True)
    mine = table[table["subject"].eq(str(subject)) & table["cycle"].eq(cycle)]
    if mine.empty:
        known = table.loc[table["subject"].eq(str(subject)), "cycle"]
        has = f"it has cycles {known.min()} to {known.max()}" if len(known) else "it has no cycles yet"
        raise Refusal(f"{subject}: cycle {cycle} is not recorded, so it cannot be corrected; {has}")
    row = {
        "subject": str(subject),
        "cycle": cycle,
        "file": mine["file"].iloc[0],
        "partial": mine["partial"].iloc[0],
        **values,
    }
    doubts: list[str] = []
    if subject.kind == "cell":
        cell = cells.cell_of(session, str(subject))
        for areal, amount in cells.AREAL.items():  # what is given in mAh is followed by what is given per cm2, and back
            if amount in values and areal not in values and cell.area_cm2:
                row[areal] = values[amount] / cell.area_cm2
            elif areal in values and amount not in values and cell.area_cm2:
                row[amount] = values[areal] * cell.area_cm2
        doubts = cells.doubts_of_cycle(session, cell, row)
        given = [cells.given_in("mAh/cm2", cell.trial)] if set(values) <= set(cells.AREAL) else []
        row["flags"] = "; ".join([*given, *(f"flag: {doubt}" for doubt in doubts)]) or None
    session.ledger.amend(cycling=pd.DataFrame([row]), why=str(act.why), key=key, at=act.at, by=act.by)
    return doubts


def _amend_cell(session: Session, cell: str, values: Mapping[str, Any], act: Act, key: str) -> list[str]:
    """Correct a cell; what follows from its mass and area follows. Returns sentences about what then hardly can be."""
    _check_names(values, (*_CELL, *PROTOCOL_COLUMNS), cell)
    table = session.ledger.cells(session.name)
    if cell not in table.index:
        raise Refusal(f"there is no cell {cell} in the ledger; was it started? mixwright start {cell}")
    row = table.loc[cell]
    new: dict[str, Any] = {name: values[name] for name in ("channel", "active_mass_mg", "area_cm2") if name in values}
    details = {name: values[name] for name in _CELL_DETAILS if name in values}
    protocol = {name: values[name] for name in PROTOCOL_COLUMNS if name in values}
    new |= {"details": json.loads(row["details"] or "{}") | details} if details else {}
    new |= {"protocol": json.loads(row["protocol"] or "{}") | protocol} if protocol else {}
    if {"started_at", "stopped_at"} & set(values):
        times.refuse_disorder(
            cell,
            mixed=times.noted(session.ledger, read_id(cell).mix, "mixed"),
            started=times.read(values.get("started_at")) or times.noted(session.ledger, cell, "start"),
            stopped=times.read(values.get("stopped_at")) or times.noted(session.ledger, cell, "stop"),
        )
    doubts = cells.doubts_with(session, cells.cell_of(session, cell), new)
    cells.tell(session.ledger, cell, new, key=key, by=act.by, at=act.at, why=str(act.why))
    return doubts


def _amend_mix(session: Session, mix: SubjectId, values: Mapping[str, Any], act: Act, key: str) -> list[str]:
    """Correct a batch. Returns sentences about what then lies outside of the space, or hardly can be."""
    _check_names(values, (*RECIPE_COLUMNS, *_MIX, *POWDER), str(mix))
    table = session.ledger.mixes(session.name)
    if str(mix) not in table.index:
        raise Refusal(f"there is no mix {mix} in the ledger; was it mixed? mixwright mixed {mix}")
    row = table.loc[str(mix)]
    done = {name: values[name] for name in RECIPE_COLUMNS if name in values}
    details = {name: values[name] for name in _MIX if name in values}
    changes: dict[str, dict[str, Any]] = {str(mix): {}, mix.trial: {}}
    trial = session.ledger.trial(mix.trial)
    notes = really.check(trial, values, session.space.parameters, place=str(mix))
    if done:
        _refuse_no_recipe(batches.own(session.ledger, trial, mix), done, str(mix))
        changes[str(mix)]["recipe_done"] = json.loads(row["recipe_done"] or "{}") | done
        changes[mix.trial]["recipe_done"] = dict(trial.recipe_done or {}) | done
    if "mixed_at" in values:
        table = session.ledger.cells(session.name)
        for cell in table.index[table["mix"].eq(str(mix))]:
            started = times.noted(session.ledger, str(cell), "start")
            times.refuse_disorder(str(cell), mixed=times.read(values["mixed_at"]), started=started)
    if details:
        changes[str(mix)]["details"] = json.loads(row["details"] or "{}") | details
        notes += really.batch_doubts(str(mix), changes[str(mix)]["details"], session.spec.lab.batch_mass_g)
    results, fresh = _powder(session, str(mix), {name: values[name] for name in POWDER if name in values})
    if fresh:
        raise Refusal(
            f"{mix}: {fresh[0]} was not measured yet, so there is nothing to correct; hand it in with mixwright ingest"
        )
    session.ledger.amend(
        subjects={name: new for name, new in changes.items() if new},
        results=pd.DataFrame(results) if results else None,
        why=str(act.why),
        key=key,
        at=act.at,
        by=act.by,
    )
    return notes


def _powder(session: Session, mix: str, values: Mapping[str, float]) -> tuple[list[dict[str, Any]], list[str]]:
    table = session.ledger.results(session.name, with_excluded=True)
    mine = table[table["subject"].eq(mix)].set_index("observable")["result"]
    split = {name: quantity.split(name)[0] for name in values}
    results = [{"result": int(mine[split[n]]), "value": value} for n, value in values.items() if split[n] in mine.index]
    return results, [name for name in values if split[name] not in mine.index]


def _amend_trial(session: Session, name: str, values: Mapping[str, Any], act: Act, key: str) -> list[str]:
    """Correct a trial. Returns sentences about what then lies outside of the space."""
    _check_names(values, (*RECIPE_COLUMNS, *PROTOCOL_COLUMNS, "start", "note"), name)
    trial = session.ledger.trial(name)
    if values.get("start", "discharge") not in ("discharge", "charge"):
        raise Refusal(f"{name}: start is {values['start']!r}; a cycle starts with discharge or charge")
    new: dict[str, Any] = {}
    done = {column: values[column] for column in RECIPE_COLUMNS if column in values}
    protocol = {column: values[column] for column in PROTOCOL_COLUMNS if column in values}
    notes = really.check(trial, done, session.space.parameters)
    _refuse_no_recipe(trial, done | protocol, name)
    words = {"cycle_start": values.get("start"), "note": values.get("note")}
    told = {word: value for word, value in words.items() if value is not None}
    new |= {"recipe_done": dict(trial.recipe_done or {}) | done} if done else {}
    new |= {"protocol": dict(trial.protocol) | protocol} if protocol else {}
    new |= {"provenance": dict(trial.provenance) | told} if told else {}
    subjects = {name: new}
    mixes = session.ledger.mixes(session.name)
    for mix, row in mixes[mixes["trial"].eq(name) & ~mixes["state"].eq(batches.PLANNED)].iterrows():
        if done:  # what is said of the whole trial is said of each batch: another one that comes later is not meant
            subjects[str(mix)] = {"recipe_done": json.loads(row["recipe_done"] or "{}") | done}
    session.ledger.amend(subjects=subjects, why=str(act.why), key=key, at=act.at, by=act.by)
    return notes


def _refuse_no_recipe(trial: Trial, new: Mapping[str, Any], place: str) -> None:
    """Refuse what would leave a recipe that is none, such as shares that do not sum to 100: no model could learn from it."""
    try:
        complete(pd.DataFrame([{**trial.recipe, **trial.protocol, **new}]))
    except Refusal as refusal:
        more = "; correct the shares together, one --set for each" if "sum to" in str(refusal) else ""
        raise Refusal(f"{place}: {str(refusal).removeprefix('row 0: ')}{more}") from None


def _check_names(values: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for name in values:
        if name not in known:
            raise Refusal(f"{place}: {name!r} cannot be corrected here: {nearest(name, known)}")


# ---- changes of state ----------------------------------------------------------------------------------------------
_DONE = {"fail": "failed", "abandon": "abandoned", "exclude": "excluded"}


def change_state(session: Session, verb: str, subject: SubjectId, act: Act) -> str:
    """Fail, abandon, exclude, or take back the last change of state (`undo`).

    Raises:
        Refusal: no reason, or a change that the table of states does not know.
    """
    if not (act.why or "").strip():
        raise Refusal(f"{verb} needs a reason: --why '…', so that the history can be understood later")
    if verb == "abandon" and subject.kind != "trial":
        raise Refusal(f"{subject} is a {subject.kind}; what is abandoned is a whole trial: {subject.trial}")
    if verb in _DONE and _DONE[verb] == _state(session, subject):
        return f"{subject} is {_DONE[verb]} already; nothing has changed"
    if verb == "undo":
        return standing.undo(session.ledger, subject, act)
    new = getattr(session.ledger, verb)(
        str(subject), key=act.key(verb, subject), at=act.at, by=act.by, why=str(act.why)
    )
    return f"{subject} is {new}"


def _state(session: Session, subject: SubjectId) -> str | None:
    if subject.kind == "trial":
        return session.ledger.trial(str(subject)).state
    table = session.ledger.mixes(session.name) if subject.kind == "mix" else session.ledger.cells(session.name)
    return str(table.loc[str(subject), "state"]) if str(subject) in table.index else None


# ---- history -------------------------------------------------------------------------------------------------------
def history(session: Session, subject: SubjectId) -> pd.DataFrame:
    """What happened to a trial, its mixes and cells and their results, oldest first: at, by, what, subject, said, why."""
    rows = [
        {**row, "said": _words(json.loads(row["new"]))}
        for row in session.ledger.history(subject.trial).to_dict("records")
    ]
    for table, say in ((session.ledger.results, _result), (session.ledger.cycling, _cycles)):
        found = table(session.name, with_excluded=True, superseded=True)
        mine = found[found["trial"].eq(subject.trial)]
        for (seq, name), part in mine.groupby(["seq", "subject"], sort=True):
            first = part.iloc[0]
            rows.append(
                {
                    "seq": seq,
                    "at": first["at"],
                    "by": first["by"],
                    "verb": "result",
                    "subject": name,
                    "said": say(part),
                    "why": first["why"],
                }
            )
    names = session.ledger.files(session.name).set_index("sha256")["name"]
    for row in rows:
        row["subject"] = f"file {names[row['subject']]}" if row["subject"] in names.index else row["subject"]
    full = pd.DataFrame(rows, columns=["seq", "at", "by", "verb", "subject", "said", "why"])
    chosen = full["subject"].eq(str(subject)) | full["subject"].str.startswith(f"{subject}-")
    full = full[chosen] if subject.kind != "trial" else full
    return full.sort_values("seq", kind="stable").reset_index(drop=True)


def _words(new: Mapping[str, Any]) -> str:
    parts = []
    for name, value in new.items():
        value = json.loads(value) if isinstance(value, str) and value[:1] == "{" else value
        if isinstance(value, Mapping):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        if value not in (None, ""):
            parts.append(f"{name}: {value}")
    return "; ".join(parts)


def _result(part: pd.DataFrame) -> str:
    words = ("withdrawn " if part["withdrawn"].any() else "") + "; ".join(
        f"{row['observable']} {row['value']:.6g} {row['unit']}" for row in part.to_dict("records")
    )
    return words


def _cycles(part: pd.DataFrame) -> str:
    first, last = int(part["cycle"].min()), int(part["cycle"].max())
    span = f"cycle {first}" if first == last else f"cycles {first} to {last}"
    if part["withdrawn"].all():
        return f"{span} withdrawn"
    values = part["discharge_areal_capacity_mAh_cm2"].dropna()
    return span + (f": {values.iloc[0]:.4g} to {values.iloc[-1]:.4g} mAh/cm2" if len(values) else "")
