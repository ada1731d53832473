"""Is the ledger sound: pages, references, and whether the tables are what their history says."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from campaign.errors import Refusal
from store import schema
from store.connection import transaction, where


def verify(engine: sa.Engine) -> None:
    """Check a ledger from end to end; quick enough to run after every backup.

    Raises:
        Refusal: the first thing that is not sound.
    """
    with transaction(engine, write=False) as connection:
        if engine.dialect.name == "sqlite":
            _check_pages(connection)
        _check_numbering(connection)
        for kind in schema.MUTABLE:
            _check_fold(connection, kind)


def _check_pages(connection: sa.Connection) -> None:
    found = connection.exec_driver_sql("PRAGMA integrity_check(3)").scalar()
    if found != "ok":
        raise _damaged(connection, str(found))
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise _damaged(connection, f"a row of {broken[0]} refers to nothing")


def _check_numbering(connection: sa.Connection) -> None:
    event = schema.event
    count, last = connection.execute(sa.select(sa.func.count(), sa.func.max(event.c.seq))).one()
    seq = connection.execute(sa.select(schema.ledger.c.seq)).scalar_one()
    if count != seq or (last or 0) != seq:
        raise _damaged(connection, f"{count} writes are there, the last is number {last}, the counter says {seq}")


def _check_fold(connection: sa.Connection, kind: str) -> None:
    table = schema.file if kind == "file" else schema.SUBJECT_TABLES[kind]
    change, event = schema.change, schema.event
    query = sa.select(change.c.subject, change.c.new, event.c.campaign).join(event, event.c.seq == change.c.seq)
    folded: dict[tuple[str | None, str], dict[str, Any]] = {}
    for subject, new, campaign in connection.execute(
        query.where(change.c.kind == kind).order_by(change.c.seq, change.c.position)
    ):
        folded.setdefault((campaign if kind == "file" else None, subject), {}).update(json.loads(new))
    for row in connection.execute(sa.select(table)).mappings():
        key = (row["campaign"], row["sha256"]) if kind == "file" else (None, row["id"])
        expected = folded.pop(key, None)
        if expected is None or any(row[name] != expected.get(name) for name in schema.MUTABLE[kind]):
            raise _damaged(connection, f"{kind} {key[1]} is not what its history says")
    if folded:
        raise _damaged(connection, f"{kind} {next(iter(folded))[1]} has a history but no row")


def _damaged(connection: sa.Connection, what: str) -> Refusal:
    return Refusal(
        f"{where(connection.engine)}: {what}; keep the file aside and restore a backup with `mixwright restore`"
    )
