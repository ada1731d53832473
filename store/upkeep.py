"""Doors of the ledger that are not about results: leases, the projection's outbox, and keeping the whole safe."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pandas as pd
import sqlalchemy as sa

from campaign.errors import Refusal
from store import backup, exporting, leases, schema
from store.connection import transaction
from store.leases import Lease
from store.reading import Reader
from store.verify import verify


class Upkeep(Reader):
    """What `Ledger` adds to reading, apart from its verbs."""

    def __init__(self, engine: sa.Engine, path: Path | None) -> None:
        super().__init__(engine)
        self.path = path

    # ---- leases ----------------------------------------------------------------------------------------------------
    def claim(self, name: str, *, by: str, at: datetime, ttl_s: float) -> Lease | None:
        """Take the lease on a name (`tick my_campaign`); None where another has it. `by` names one process run."""
        return leases.claim(self._engine, name, by=by, at=at, ttl_s=ttl_s)

    def claim_next(self, campaign: str, *, by: str, at: datetime, ttl_s: float) -> Lease | None:
        """Take the lease on the next simulated trial that waits (`lease.name` is its id); None where none waits."""
        return leases.claim_next(self._engine, campaign, by=by, at=at, ttl_s=ttl_s)

    def holder(self, name: str) -> Lease | None:
        """Say who holds the lease on a name, or None where nobody ever did."""
        return leases.holder(self._engine, name)

    def renew(self, lease: Lease, *, at: datetime, ttl_s: float) -> Lease:
        """Keep a lease for longer; `Stale` where another has taken it over."""
        return leases.renew(self._engine, lease, at=at, ttl_s=ttl_s)

    def release(self, lease: Lease, *, at: datetime) -> None:
        """Give a lease back."""
        leases.release(self._engine, lease, at=at)

    # ---- projection ------------------------------------------------------------------------------------------------
    def pending_projection(self, campaign: str) -> pd.DataFrame:
        """What the projection still has to write: `trial` ("" = the campaign itself) and `seq`, to be given back when done."""
        box = schema.outbox
        query = sa.select(box.c.trial, box.c.seq).where(box.c.campaign == campaign, box.c.seq > box.c.done_seq)
        return self._table(query.order_by(box.c.seq, box.c.trial))

    def mark_projected(self, campaign: str, trial: str, seq: int) -> None:
        """The projection of a trial shows the ledger up to `seq`. What changed later stays pending."""
        box = schema.outbox
        here = (box.c.campaign == campaign) & (box.c.trial == trial) & (box.c.done_seq < seq)
        with transaction(self._engine, write=True) as connection:
            connection.execute(box.update().where(here).values(done_seq=seq))

    def reset_projection(self, campaign: str) -> None:
        """Make everything of a campaign pending again: the projection was lost or is to be rebuilt."""
        box = schema.outbox
        with transaction(self._engine, write=True) as connection:
            connection.execute(box.update().where(box.c.campaign == campaign).values(done_seq=0))

    # ---- keeping it ------------------------------------------------------------------------------------------------
    def backup(self, target: Path) -> str:
        """Make a verified copy while others go on writing; returns its sha256. See `store.backup`."""
        if self.path is None:
            raise Refusal("a ledger on a server is backed up by the server's own tools (pg_dump)")
        return backup.backup(self.path, target)

    def export(self, folder: Path, *, format: str = "csv", files: Mapping[str, Path] | None = None) -> dict[str, int]:
        """Write everything as plain files into a new folder; see `store.exporting`."""
        return exporting.export(self._engine, folder, format=format, files=files)

    def verify(self) -> None:
        """Check the ledger from end to end; a `Refusal` says what is not sound."""
        verify(self._engine)
