"""Leases: who works on what now, for simulated trials and for ticks. Lab work is never leased: no clock may give it away.

A lease ends by its time; whoever takes it over gets a higher fencing number, and a write that carries the old number is
refused. So a worker that slept through its lease cannot record over its successor. Asking again by the same holder
gives the same lease: the holder's name (one for each process run) is the key of these verbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from campaign.trial import SIMULATED
from store import schema
from store.connection import transaction
from store.write import Stale, in_utc


@dataclass(frozen=True)
class Lease:
    """The right of one holder to work on what `name` stands for, until `expires_at`."""

    name: str
    holder: str
    fence: int
    expires_at: datetime


def claim(engine: sa.Engine, name: str, *, by: str, at: datetime, ttl_s: float) -> Lease | None:
    """Take the lease on a name, or None where another holder has it."""
    with transaction(engine, write=True) as connection:
        return _claim(connection, name, by=by, at=in_utc(at), ttl_s=ttl_s)


def holder(engine: sa.Engine, name: str) -> Lease | None:
    """Say who holds the lease on a name (it may have run out), or None where nobody ever did."""
    query = sa.select(schema.lease).where(schema.lease.c.name == name)
    with transaction(engine, write=False) as connection:
        row = connection.execute(query).mappings().one_or_none()
    return None if row is None else Lease(row["name"], row["holder"], row["fence"], row["expires_at"])


def claim_next(engine: sa.Engine, campaign: str, *, by: str, at: datetime, ttl_s: float) -> Lease | None:
    """Take the lease on the first simulated trial of a campaign that is proposed and that nobody works on."""
    at = in_utc(at)
    trial, lease = schema.trial, schema.lease
    held = sa.select(lease.c.name).where(lease.c.expires_at > at, lease.c.holder != by)
    query = (
        sa.select(trial.c.id)
        .where(trial.c.campaign == campaign, trial.c.state == "proposed", trial.c.evaluator.in_(SIMULATED))
        .where(trial.c.id.not_in(held))
        .order_by(trial.c.number)
        .limit(1)
    )
    with transaction(engine, write=True) as connection:
        _queue_writers(connection)
        name = connection.execute(query).scalar_one_or_none()
        return None if name is None else _claim(connection, name, by=by, at=at, ttl_s=ttl_s)


def renew(engine: sa.Engine, lease: Lease, *, at: datetime, ttl_s: float) -> Lease:
    """Keep a lease for longer.

    Raises:
        Stale: another holder has taken it over.
    """
    with transaction(engine, write=True) as connection:
        _queue_writers(connection)
        check_fence(connection, lease)
        return _put(connection, lease.name, lease.holder, lease.fence, in_utc(at) + timedelta(seconds=ttl_s))


def release(engine: sa.Engine, lease: Lease, *, at: datetime) -> None:
    """Give a lease back; nothing happens where it is another's by now."""
    with transaction(engine, write=True) as connection:
        _queue_writers(connection)
        row = schema.lease
        mine = (row.c.name == lease.name) & (row.c.holder == lease.holder) & (row.c.fence == lease.fence)
        connection.execute(row.update().where(mine).values(expires_at=in_utc(at)))


def check_fence(connection: sa.Connection, lease: Lease) -> None:
    """Refuse to go on where the lease is another's by now. An expired lease that nobody took over still holds."""
    query = sa.select(schema.lease).where(schema.lease.c.name == lease.name)
    now = connection.execute(query).mappings().one_or_none()
    if now is None or now["fence"] != lease.fence or now["holder"] != lease.holder:
        other = "nobody" if now is None else now["holder"]
        raise Stale(
            f"the lease on {lease.name} went from {lease.holder} to {other}; this work is theirs now and was not recorded"
        )


def _claim(connection: sa.Connection, name: str, *, by: str, at: datetime, ttl_s: float) -> Lease | None:
    _queue_writers(connection)
    query = sa.select(schema.lease).where(schema.lease.c.name == name)
    now = connection.execute(query).mappings().one_or_none()
    if now is not None and now["expires_at"] > at:
        if now["holder"] != by:
            return None
        return Lease(name, by, now["fence"], now["expires_at"])
    fence = 1 if now is None else now["fence"] + 1
    return _put(connection, name, by, fence, at + timedelta(seconds=ttl_s), new=now is None)


def _put(
    connection: sa.Connection, name: str, holder: str, fence: int, expires_at: datetime, *, new: bool = False
) -> Lease:
    row = schema.lease
    values = {"holder": holder, "fence": fence, "expires_at": expires_at}
    if new:
        connection.execute(row.insert(), {"name": name, **values})
    else:
        connection.execute(row.update().where(row.c.name == name).values(values))
    return Lease(name, holder, fence, expires_at)


def _queue_writers(connection: sa.Connection) -> None:
    """Take the lock that every write takes first (SQLite has it already; PostgreSQL gets it here)."""
    connection.execute(schema.ledger.update().values(seq=schema.ledger.c.seq))
