"""One write: one transaction, one client key, one sequence number.

A write that was acknowledged is found again by its key, so that a caller who saw an error (and cannot know whether the
commit happened) repeats it without harm. The key stands for the content: the same key with other content is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from campaign.errors import Refusal
from campaign.names import nearest
from campaign.trial import BEFORE, FIRST_STATE, SubjectId, next_state, read_id, standing_states
from store import schema
from store.connection import transaction


class Stale(Refusal):
    """The ledger has moved on since the caller looked: read again, decide again."""


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no blanks, NaN as null.

    Raises:
        Refusal: an infinite number, or something that is no JSON.
    """
    try:
        text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()  # half a character (a broken file name) cannot be stored
    except (TypeError, ValueError) as error:
        raise Refusal(
            f"the ledger holds numbers, text, lists and tables of them; it cannot hold this: {error}"
        ) from error
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str | bytes):  # a numpy scalar
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def sha256(text: str) -> str:
    """Hash of a text, as hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def in_utc(at: datetime) -> datetime:
    """The same instant in UTC.

    Raises:
        Refusal: the time has no zone.
    """
    if at.tzinfo is None:
        raise Refusal(f"the time {at.isoformat()} has no zone; write it like {at.isoformat(timespec='minutes')}+00:00")
    return at.astimezone(UTC)


# The statements of every write, made once: SQLAlchemy then looks up what it compiled by the statement itself.
_NEXT_SEQ = schema.ledger.update().values(seq=schema.ledger.c.seq + 1).returning(schema.ledger.c.seq)
_EVENT_OF_KEY = sa.select(schema.event).where(schema.event.c.key == sa.bindparam("the_key"))
_NEW_EVENT = schema.event.insert()
_ANSWER = schema.event.update().where(schema.event.c.seq == sa.bindparam("the_seq")).values(answer=sa.bindparam("said"))
_CAMPAIGN_OF = sa.select(schema.trial.c.campaign).where(schema.trial.c.id == sa.bindparam("the_id"))
_PENDING = (
    schema.outbox.update()
    .where(schema.outbox.c.campaign == sa.bindparam("the_campaign"), schema.outbox.c.trial == sa.bindparam("the_trial"))
    .values(seq=sa.bindparam("the_seq"))
)


@cache
def _insert(table: sa.Table) -> sa.Insert:
    return table.insert()


@cache
def _state(table: sa.Table) -> sa.Select[Any]:
    return sa.select(table.c.state).where(table.c.id == sa.bindparam("the_id"))


@dataclass
class Write:
    """The open transaction that a verb works in."""

    connection: sa.Connection
    seq: int
    verb: str
    campaign: str | None = None
    _positions: int = 0
    _touched: set[str] = field(default_factory=set)

    def insert(self, table: sa.Table, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Insert one row or many."""
        if rows:
            self.connection.execute(_insert(table), rows)

    def one(self, table: sa.Table, **where: Any) -> sa.RowMapping | None:
        """The row whose columns have these values."""
        query = sa.select(table).where(*[table.c[name] == value for name, value in where.items()])
        return self.connection.execute(query).mappings().one_or_none()

    def change(self, kind: str, subject: str, new: Mapping[str, Any], *, verb: str, trial: str | None) -> None:
        """Note that mutable columns of a subject have new values (the caller writes them to its table)."""
        self.insert(
            schema.change,
            {
                "seq": self.seq,
                "position": self._positions,
                "verb": verb,
                "kind": kind,
                "subject": subject,
                "trial": trial,
                "new": canonical(new),
            },
        )
        self._positions += 1

    def set(self, subject: SubjectId, new: Mapping[str, Any], *, verb: str) -> None:
        """Give mutable columns of a trial, mix or cell new values, and note the change."""
        table = schema.SUBJECT_TABLES[subject.kind]
        self.connection.execute(table.update().where(table.c.id == str(subject)).values(dict(new)))
        self.change(subject.kind, str(subject), new, verb=verb, trial=subject.trial)
        self.touch(subject.trial)

    def begin(self, subject: SubjectId, row: Mapping[str, Any], *, verb: str, state: str | None = None) -> None:
        """Insert a new trial, mix or cell in its first state (or a given one)."""
        kind = subject.kind
        full = {**row, "id": str(subject), "state": state or FIRST_STATE[kind], "seq": self.seq}
        self.insert(schema.SUBJECT_TABLES[kind], full)
        new = {name: full.get(name) for name in schema.MUTABLE[kind]}
        self.change(kind, str(subject), new, verb=verb, trial=subject.trial)
        self.touch(subject.trial)

    def state_of(self, subject: SubjectId) -> str:
        """Present state.

        Raises:
            Refusal: there is no such trial, mix or cell; says what there is.
        """
        query = _state(schema.SUBJECT_TABLES[subject.kind])
        state = self.connection.execute(query, {"the_id": str(subject)}).scalar_one_or_none()
        if state is None:
            raise Refusal(f"there is no {subject.kind} {subject} in the ledger: {self._known_like(subject)}")
        return str(state)

    def _known_like(self, subject: SubjectId) -> str:
        table = schema.SUBJECT_TABLES[subject.kind]
        query = sa.select(table.c.id).order_by(table.c.id)
        if subject.kind != "trial":
            query = query.where(table.c.trial == subject.trial)
        known = [str(name) for name in self.connection.execute(query).scalars()]
        return (
            nearest(str(subject), known)
            if known
            else f"{subject.trial} has none yet"
            if subject.mix_number
            else "it has no trials"
        )

    def move(self, subject: SubjectId, verb: str, **new: Any) -> str:
        """Make one change of the table of states; `new` are further columns that it sets.

        Returns:
            The state after it.

        Raises:
            Refusal: the subject is unknown or the table has no such change.
        """
        state = self.state_of(subject)
        target = next_state(subject.kind, state, verb, name=str(subject))
        if target == BEFORE:
            target = self._state_before(subject)
        if target != state or new:
            self.set(subject, {"state": target, **new}, verb=verb)
        return target

    def _state_before(self, subject: SubjectId) -> str:
        change = schema.change
        query = sa.select(change.c.verb, change.c.new).where(change.c.subject == str(subject))
        rows = self.connection.execute(query.order_by(change.c.seq, change.c.position)).all()
        states = [(verb, json.loads(new).get("state")) for verb, new in rows]
        standing = standing_states((verb, state) for verb, state in states if state is not None)
        if len(standing) < 2:
            raise Refusal(f"{subject}: is as it was first recorded; there is nothing to undo")
        return standing[-2]

    def touch(self, trial: str) -> None:
        """Say that the projection of a trial ("" = of the campaign itself) has to be written again."""
        self._touched.add(trial)

    def fill_outbox(self) -> None:
        """Make the projection of everything that was touched pending; the last thing that a write does."""
        for trial in sorted(self._touched):
            campaign = self.campaign
            if campaign is None:
                campaign = self.connection.execute(_CAMPAIGN_OF, {"the_id": trial}).scalar_one_or_none()
            here = {"the_campaign": campaign, "the_trial": trial, "the_seq": self.seq}
            if self.connection.execute(_PENDING, here).rowcount == 0:
                new = {"campaign": campaign, "trial": trial, "seq": self.seq, "done_seq": 0}
                self.insert(schema.outbox, new)

    def known_subject(self, text: str) -> SubjectId:
        """Read an id and check that the ledger has it."""
        subject = read_id(text)
        self.state_of(subject)
        return subject

    def next_number(self, column: sa.Column[Any], *conditions: sa.ColumnElement[bool]) -> int:
        """One more than the largest number in a column: safe, because writers queue."""
        return int(self.connection.execute(sa.select(sa.func.max(column)).where(*conditions)).scalar() or 0) + 1


def write(
    engine: sa.Engine,
    verb: str,
    content: Any,
    work: Callable[[Write], Any],
    *,
    key: str,
    at: datetime,
    by: str,
    why: str | None = None,
    campaign: str | None = None,
    checks: Iterable[Callable[[sa.Connection], None]] = (),
) -> Any:
    """Run `work` as one write; a repeated key gives the first answer again and changes nothing.

    Args:
        engine: the database.
        verb: what is done, for the history.
        content: everything that makes this write what it is, except who and when; compared on a repeated key.
        work: makes the change and returns its answer, as JSON can hold it.
        key: the caller's name for this write, unique in the ledger.
        at: when it was done, with a zone; shown, never used for order.
        by: who did it.
        why: reason, kept in the history.
        campaign: campaign that it belongs to, where the verb is about one.
        checks: run first, after the key was found to be new (a lease's fence).

    Raises:
        Refusal: the key was used for something else, or `work` refuses. Nothing is changed then.
    """
    if not key or not by.strip():
        raise Refusal(f"{verb}: a write needs a key and a name of who did it")
    at = in_utc(at)
    canonical([key, by, why])
    digest = sha256(canonical([verb, campaign, content]))
    with transaction(engine, write=True) as connection:
        seq = connection.execute(_NEXT_SEQ).scalar_one()
        known = connection.execute(_EVENT_OF_KEY, {"the_key": key}).mappings().one_or_none()
        if known is not None:
            connection.rollback()
            if known["content_sha256"] != digest:
                raise Refusal(
                    f"the key {key!r} was used for another write ({known['verb']}, {known['at']:%Y-%m-%d %H:%M} UTC, by "
                    f"{known['by']}); a new write needs a new key"
                )
            return json.loads(known["answer"])
        for check in checks:
            check(connection)
        row = {"seq": seq, "key": key, "verb": verb, "content_sha256": digest, "answer": "null"}
        connection.execute(_NEW_EVENT, {**row, "campaign": campaign, "at": at, "by": by.strip(), "why": why})
        this = Write(connection, seq, verb, campaign)
        answer = canonical(work(this))
        this.fill_outbox()
        connection.execute(_ANSWER, {"the_seq": seq, "said": answer})
    return json.loads(answer)
