"""What people did with a trial: mixed, started, corrected; and the files they handed in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from campaign.errors import Refusal
from campaign.names import nearest
from campaign.recipe import PROTOCOL_COLUMNS, RECIPE_COLUMNS, TEXT_COLUMNS
from campaign.trial import SubjectId, read_id
from store import schema
from store.recording import ensure, measured
from store.write import Write, canonical, write

AMENDABLE: Mapping[str, tuple[str, ...]] = {
    kind: tuple(name for name in schema.MUTABLE[kind] if name != "state") for kind in schema.SUBJECT_TABLES
}


def design_part(values: Mapping[str, Any], columns: tuple[str, ...], place: str) -> dict[str, Any]:
    """Checked part of a design: only known columns, finite numbers and text; what is NaN or None is left out.

    Raises:
        Refusal: names the column and the nearest right one.
    """
    part = {}
    for name, value in values.items():
        if name not in columns:
            raise Refusal(f"{place}: column {name!r} is not known here: {nearest(str(name), columns)}")
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        part[name] = str(value) if name in TEXT_COLUMNS else measured(value, f"{place}, column {name}")
    return part


def whole_trial(name: str) -> SubjectId:
    """Read the id of a trial; one of a mix or cell is refused."""
    subject = read_id(name)
    if subject.kind != "trial":
        raise Refusal(f"{name} is a {subject.kind}; this is done to a whole trial: {subject.trial}")
    return subject


def mixed(
    write: Write, subject: SubjectId, *, recipe_done: Mapping[str, Any] | None, details: Mapping[str, Any] | None
) -> str:
    """A batch was mixed: the named one, or the trial's next. The trial then stands on what was really done."""
    if subject.kind == "cell":
        raise Refusal(f"{subject} is a cell; what is mixed is a mix: {subject.mix}")
    if subject.kind == "trial":
        subject = SubjectId(subject.trial_number, _next_free(write, schema.mix, subject, state="planned"))
    trial = SubjectId(subject.trial_number)
    ensure(write, subject)
    new: dict[str, Any] = {}
    of_trial: dict[str, Any] = {}
    if recipe_done:
        new["recipe_done"] = canonical(design_part(recipe_done, RECIPE_COLUMNS, str(subject)))
        of_trial["recipe_done"] = new["recipe_done"]
    if details:
        new["details"] = canonical(details)
    write.move(subject, "mix", **new)
    write.move(trial, "mix", **of_trial)
    return str(subject)


def start(
    write: Write,
    subject: SubjectId,
    *,
    new: Mapping[str, Any],
    protocol: Mapping[str, Any] | None,
    details: Mapping[str, Any] | None,
) -> str:
    """A cell's test was started: the named one, or the mix's next. A mix that nobody announced was evidently mixed."""
    if subject.kind == "trial":
        subject = SubjectId(subject.trial_number, 1)
    if subject.kind == "mix":
        number = _next_free(write, schema.cell, subject, state="planned")
        subject = SubjectId(subject.trial_number, subject.mix_number, number)
    ensure(write, subject)
    mix = SubjectId(subject.trial_number, subject.mix_number)
    if write.state_of(mix) == "planned":
        write.move(mix, "mix")
    values = cell_values({name: value for name, value in new.items() if value is not None}, str(subject))
    if protocol:
        values["protocol"] = canonical(design_part(protocol, PROTOCOL_COLUMNS, str(subject)))
    if details:
        values["details"] = canonical(details)
    write.move(subject, "start", **values)
    write.move(SubjectId(subject.trial_number), "start")
    return str(subject)


def cell_values(values: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Channel, mass and area of a cell, checked."""
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name in ("active_mass_mg", "area_cm2") and value is not None:
            checked[name] = measured(value, f"{place}, {name}")
            if checked[name] <= 0:
                raise Refusal(f"{place}, {name}: {checked[name]:g} is not possible; it must be more than 0")
        else:
            checked[name] = value
    return checked


def amend(write: Write, subject: SubjectId, new: Mapping[str, Any]) -> None:
    """Give mutable columns of a trial, mix or cell other values."""
    allowed = AMENDABLE[subject.kind]
    wrong = [name for name in new if name not in allowed]
    if wrong:
        raise Refusal(f"{subject}: {wrong[0]!r} of a {subject.kind} cannot be amended: {nearest(wrong[0], allowed)}")
    write.state_of(subject)
    values = cell_values(new, str(subject))
    for name, columns in (("recipe_done", RECIPE_COLUMNS), ("protocol", PROTOCOL_COLUMNS)):
        if values.get(name) is not None:
            values[name] = canonical(design_part(values[name], columns, str(subject)))
    for name in ("details", "provenance"):
        if name in values:
            values[name] = canonical(values[name] or {})
    write.set(subject, values, verb="amend")


def _next_free(write: Write, table: sa.Table, parent: SubjectId, *, state: str) -> int:
    """Number of the first child that is still in `state`, else of the one after the last."""
    column = table.c.trial if parent.kind == "trial" else table.c.mix
    rows = write.connection.execute(sa.select(table.c.id, table.c.state).where(column == str(parent))).all()
    numbers = {int(str(name).rsplit("-", 1)[1][1:]): found for name, found in rows}
    free = [number for number, found in numbers.items() if found == state]
    return min(free) if free else max(numbers, default=0) + 1


def register_file(
    engine: sa.Engine,
    campaign: str,
    content_sha256: str,
    *,
    name: str,
    size: int,
    at: datetime,
    by: str,
    subject: str | None,
    details: Mapping[str, Any] | None,
) -> bool:
    """See `Ledger.register_file`. The key is the content itself."""
    target = None if subject is None else str(read_id(subject))
    name = name.encode(
        errors="replace"
    ).decode()  # a name may hold bytes that are no text; the file is found by its hash
    is_new = False

    def work(write: Write) -> None:
        nonlocal is_new
        is_new = True
        _check_campaign(write, campaign)
        if target is not None:
            write.known_subject(target)
        new = {"subject": target, "details": canonical(details or {})}
        row = {"campaign": campaign, "sha256": content_sha256, "name": name, "size": size, "seq": write.seq, **new}
        write.insert(schema.file, row)
        trial = None if target is None else read_id(target).trial
        write.change("file", content_sha256, new, verb="register_file", trial=trial)

    key = f"file {campaign} {content_sha256}"
    write(engine, "register_file", [content_sha256, size], work, key=key, at=at, by=by, campaign=campaign)
    return is_new


def assign_file(write: Write, campaign: str, content_sha256: str, subject: str | None) -> None:
    """See `Ledger.assign_file`."""
    table = schema.file
    if write.one(table, campaign=campaign, sha256=content_sha256) is None:
        raise Refusal(
            f"campaign {campaign} has no file {content_sha256[:12]}…; take it in first with `mixwright ingest`"
        )
    if subject is not None:
        write.known_subject(subject)
    here = (table.c.campaign == campaign) & (table.c.sha256 == content_sha256)
    write.connection.execute(table.update().where(here).values(subject=subject))
    trial = None if subject is None else read_id(subject).trial
    write.change("file", content_sha256, {"subject": subject}, verb="assign_file", trial=trial)


def _check_campaign(write: Write, campaign: str) -> None:
    if write.one(schema.campaign, name=campaign) is None:
        known = [str(name) for name in write.connection.execute(sa.select(schema.campaign.c.name)).scalars()]
        raise Refusal(
            f"the ledger has no campaign {campaign!r}: " + (nearest(campaign, known) if known else "it has none yet")
        )


def campaign_version(write: Write, campaign: str) -> int:
    """Version of a campaign that stands now.

    Raises:
        Refusal: the ledger has no such campaign.
    """
    _check_campaign(write, campaign)
    row = write.one(schema.campaign, name=campaign)
    return int(row["version"]) if row else 0
