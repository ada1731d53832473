"""The ledger: every verb is one transaction under one client key; `Reader` has the reading doors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from campaign.errors import Refusal
from campaign.trial import Decision, read_id
from store import leases, lifecycle, proposing, recording, schema, upgrade
from store.connection import Connect, connect, refuse_network_file_system, sqlite_engine
from store.leases import Lease
from store.upkeep import Upkeep
from store.write import Write, canonical, sha256, write


class Ledger(Upkeep):
    """The only source of truth about trials. Opened by `Ledger.open`."""

    @classmethod
    def open(cls, place: str | Path, *, create: bool = False, connect: Connect = connect) -> Ledger:
        """Open a ledger; an older schema is copied and upgraded first.

        Args:
            place: SQLite file, or a SQLAlchemy URL of a server (`postgresql+psycopg://…`).
            create: make it where there is none; otherwise a missing file is refused.
            connect: opens the SQLite file; a door for tests that put a failing disk underneath.

        Raises:
            Refusal: it is missing, empty, no ledger, damaged, of a newer schema, or on a network file system.
        """
        if isinstance(place, str) and "://" in place:
            engine = sa.create_engine(place, poolclass=sa.NullPool)
            upgrade.bring_up_to_date(engine, None, create_tables=create)
            return cls(engine, None)
        path = Path(place)
        refuse_network_file_system(path)
        if not path.exists():
            if not create:
                raise Refusal(
                    f"{path}: there is no ledger; check the path, or restore a backup with `mixwright restore`"
                )
            upgrade.create(path, connect)
        if path.is_file() and path.stat().st_size == 0:
            raise Refusal(
                f"{path}: the file is empty, so what it held is gone; restore a backup with `mixwright restore`, "
                "or delete it to start afresh"
            )
        engine = sqlite_engine(path, connect).execution_options(place=str(path))
        upgrade.bring_up_to_date(engine, path, create_tables=False)
        return cls(engine, path)

    # ---- campaigns and proposals -----------------------------------------------------------------------------------
    def put_campaign(self, name: str, spec: Mapping[str, Any], *, at: datetime, by: str) -> int:
        """Record a campaign's spec. The spec that stands is a no-op; any other is a new version (the caller decides if it may).

        Returns:
            The version that stands now, from 1.
        """
        text = canonical(spec)
        now = self.spec(name)
        if now is not None and canonical(now[1]) == text:
            return now[0]
        version = 1 if now is None else now[0] + 1

        def work(write: Write) -> int:
            if version == 1:
                write.insert(schema.campaign, {"name": name, "version": 1, "seq": write.seq})
            else:
                table = schema.campaign
                write.connection.execute(table.update().where(table.c.name == name).values(version=version))
            row = {"campaign": name, "version": version, "spec": text, "sha256": sha256(text), "seq": write.seq}
            write.insert(schema.campaign_version, row)
            write.touch("")
            return version

        key = f"campaign {name} version {version}"
        return int(write(self._engine, "campaign", text, work, key=key, at=at, by=by, campaign=name))

    def propose(
        self,
        campaign: str,
        designs: pd.DataFrame,
        decision: Decision,
        *,
        evaluator: str,
        trials_seen: int,
        key: str,
        at: datetime,
        by: str,
        lease: Lease | None = None,
    ) -> list[str]:
        """Add a batch of proposed trials with the reasons for them, or nothing.

        Args:
            campaign: its name.
            designs: one row a trial: columns of a design table, and for each, where known, `acquisition`, `reason`,
                `predicted_mean`, `predicted_p05`, `predicted_p95` (in the unit of `decision.outcome`).
            decision: what the batch was chosen from.
            evaluator: who is to answer.
            trials_seen: `len(ledger.trials(campaign))` when the choice was made. Trials are never erased, so the number
                tells whether another proposer was faster.
            key: client key.
            at: when.
            by: who or what.
            lease: refused where it is another's by now.

        Returns:
            The new ids, in the order of the rows.

        Raises:
            Stale: the campaign has more trials than were seen.
            Refusal: a design that cannot be stored, or an unknown campaign.
        """
        content = [
            proposing.content_of(designs),
            decision.__dict__ | {"details": dict(decision.details)},
            evaluator,
            trials_seen,
        ]

        def work(write: Write) -> list[str]:
            return proposing.propose(write, designs, decision, evaluator=evaluator, trials_seen=trials_seen)

        return list(self._write("propose", content, work, key=key, at=at, by=by, campaign=campaign, lease=lease))

    def add_trials(
        self,
        campaign: str,
        designs: pd.DataFrame,
        *,
        evaluator: str,
        key: str,
        at: datetime,
        by: str,
        results: pd.DataFrame | None = None,
        cycling: pd.DataFrame | None = None,
        provenance: Mapping[Any, Mapping[str, Any]] | None = None,
        state: str = "completed",
    ) -> list[str]:
        """Add trials that nobody proposed: published or earlier work, and lab results without a plan.

        Args:
            campaign: its name.
            designs: one row a trial; any of the columns of a design table, NaN where not known.
            evaluator: `published`, `earlier` or `lab`.
            key: client key: an import that is repeated is a no-op.
            at: when.
            by: who.
            results: scalar results; column `design` holds the row label of `designs`, the others are of `record`.
            cycling: cycling records, likewise.
            provenance: row label -> what is known of where it comes from (doi, fact ids).
            state: `completed`, or `testing` where more is to come.

        Returns:
            The new ids, in the order of the rows.
        """
        content = [proposing.content_of(t) for t in (designs, results, cycling)] + [evaluator, state]
        content += [{str(label): dict(known) for label, known in (provenance or {}).items()}]

        def work(write: Write) -> list[str]:
            return proposing.add_trials(
                write,
                designs,
                evaluator=evaluator,
                results=results,
                cycling=cycling,
                provenance=provenance or {},
                state=state,
            )

        return list(self._write("add_trials", content, work, key=key, at=at, by=by, campaign=campaign))

    # ---- what people (or the simulator) did -------------------------------------------------------------------------
    def issue(self, trials: Sequence[str], *, key: str, at: datetime, by: str) -> None:
        """The trials were given out: on a sheet, or to a person."""
        names = [str(read_id(name)) for name in trials]

        def work(write: Write) -> None:
            for name in names:
                write.move(lifecycle.whole_trial(name), "issue")

        self._write("issue", names, work, key=key, at=at, by=by)

    def mixed(
        self,
        subject: str,
        *,
        key: str,
        at: datetime,
        by: str,
        recipe_done: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        why: str | None = None,
    ) -> str:
        """A batch was mixed. For a trial's id the next mix is made; a mix's id names one.

        Args:
            subject: trial or mix.
            key: client key.
            at: when it was mixed.
            by: who mixed.
            recipe_done: recipe columns that differ from what was asked, or were measured (weighed shares, reached speed).
            details: anything else of this batch: weighed masses in g, lots, mixer log.
            why: remark.

        Returns:
            The id of the mix.
        """
        name = str(read_id(subject))
        content = [name, recipe_done, details]

        def work(write: Write) -> str:
            return lifecycle.mixed(write, read_id(name), recipe_done=recipe_done, details=details)

        return str(self._write("mixed", content, work, key=key, at=at, by=by, why=why))

    def start(
        self,
        subject: str,
        *,
        key: str,
        at: datetime,
        by: str,
        channel: str | None = None,
        active_mass_mg: float | None = None,
        area_cm2: float | None = None,
        protocol: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        why: str | None = None,
    ) -> str:
        """A cell's test was started. For a mix's id its next cell is made; a cell's id names one; a trial's id means mix 1.

        Returns:
            The id of the cell.
        """
        name = str(read_id(subject))
        new = {"channel": channel, "active_mass_mg": active_mass_mg, "area_cm2": area_cm2}
        content = [name, new, protocol, details]

        def work(write: Write) -> str:
            return lifecycle.start(write, read_id(name), new=new, protocol=protocol, details=details)

        return str(self._write("start", content, work, key=key, at=at, by=by, why=why))

    def stop(self, cell: str, *, key: str, at: datetime, by: str, why: str | None = None) -> str:
        """A cell's test was stopped before its planned cycles."""
        return self._move(cell, "stop", key=key, at=at, by=by, why=why)

    def complete(self, subject: str, *, key: str, at: datetime, by: str, why: str | None = None) -> str:
        """A trial is answered, or a cell has reached its planned cycles. Returns the new state."""
        return self._move(subject, "complete", key=key, at=at, by=by, why=why)

    def fail(self, subject: str, *, key: str, at: datetime, by: str, why: str) -> str:
        """A trial, mix or cell gave nothing that can be used. Returns the new state."""
        return self._move(subject, "fail", key=key, at=at, by=by, why=why)

    def abandon(self, trial: str, *, key: str, at: datetime, by: str, why: str) -> str:
        """A trial will not be done. Returns the new state."""
        return self._move(trial, "abandon", key=key, at=at, by=by, why=why)

    def exclude(self, subject: str, *, key: str, at: datetime, by: str, why: str) -> str:
        """Nothing is to be learned from a trial, mix or cell; its results stay. Returns the new state."""
        return self._move(subject, "exclude", key=key, at=at, by=by, why=why)

    def undo(self, subject: str, *, key: str, at: datetime, by: str, why: str | None = None) -> str:
        """Take back the last change of state of a trial, mix or cell. Returns the state it has again."""
        return self._move(subject, "undo", key=key, at=at, by=by, why=why)

    def _move(self, subject: str, verb: str, *, key: str, at: datetime, by: str, why: str | None) -> str:
        name = str(read_id(subject))
        return str(
            self._write(verb, name, lambda write: write.move(read_id(name), verb), key=key, at=at, by=by, why=why)
        )

    # ---- results ---------------------------------------------------------------------------------------------------
    def record(
        self,
        *,
        key: str,
        at: datetime,
        by: str,
        results: pd.DataFrame | None = None,
        cycling: pd.DataFrame | None = None,
        complete: Iterable[str] = (),
        unplanned: bool = False,
        why: str | None = None,
        lease: Lease | None = None,
    ) -> dict[str, Any]:
        """Record results, all of them or none. Never refused for the state that a trial is in: late results count too.

        Args:
            key: client key.
            at: when they were taken in.
            by: who or what.
            results: `subject` (id of trial, mix or cell), `observable`, `unit`, `value`; optional `cycle`, `relation`
                (`=`, `>=`, `<=`), `rel_uncertainty`, `abs_uncertainty`, `provenance`, `file` (sha256), `note`.
            cycling: `subject`, `cycle` (1, 2, …) and any of the columns of `Reader.cycling`; `partial` = not yet whole.
            complete: trials and cells that are complete with this, in the same transaction.
            unplanned: make mixes and cells that the ledger has not heard of, marked as not planned.
            why: remark.
            lease: for simulated work: refused where the lease is another's by now.

        Returns:
            `{"results": [ids], "cycles": number of new rows}`.

        Raises:
            Refusal: an unknown subject, a value that is no finite number, a cycle that differs from what stands.
        """
        scalars = recording.rows_of(results, recording.RESULT_COLUMNS, ("subject", "observable", "unit", "value"))
        cycles = recording.rows_of(cycling, recording.CYCLING_COLUMNS, ("subject", "cycle"))
        ended = [str(read_id(name)) for name in complete]

        def work(write: Write) -> dict[str, Any]:
            for name in sorted({row["subject"] for row in scalars + cycles}):
                if unplanned:
                    recording.ensure(write, read_id(name), planned=False)
                write.known_subject(name)
            ids = recording.add_results(write, scalars)
            count = recording.add_cycles(write, cycles)
            for name in ended:
                write.move(read_id(name), "complete")
            return {"results": ids, "cycles": count}

        answer = self._write("record", [scalars, cycles, ended], work, key=key, at=at, by=by, why=why, lease=lease)
        return dict(answer)

    def amend(
        self,
        *,
        why: str,
        key: str,
        at: datetime,
        by: str,
        results: pd.DataFrame | None = None,
        cycling: pd.DataFrame | None = None,
        withdraw: Iterable[int] = (),
        withdraw_cycles: pd.DataFrame | None = None,
        subjects: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Correct what stands; what it replaces stays in the history.

        Args:
            why: reason, in words; required.
            key: client key.
            at: when.
            by: who.
            results: `result` (id) and the columns that change (`value`, `unit`, `note`, …).
            cycling: rows as in `record`; columns that are left empty keep what stands.
            withdraw: ids of scalar results that do not count any more.
            withdraw_cycles: `subject`, `cycle` that do not count any more.
            subjects: id -> columns with their new values: of a trial `recipe_done`, `protocol`, `provenance`; of a mix
                `recipe_done`, `details`; of a cell `channel`, `active_mass_mg`, `area_cm2`, `protocol`, `details`.

        Returns:
            `{"results": [new ids], "cycles": number of new rows}`.

        Raises:
            Stale: a result is superseded already; amend the newer one.
            Refusal: no reason, unknown ids or columns.
        """
        if not why.strip():
            raise Refusal("an amendment needs a reason (--why), so that the history can be understood later")
        scalars = recording.rows_of(results, ("result", *recording.AMENDABLE), ("result",))
        cycles = recording.rows_of(cycling, recording.CYCLING_COLUMNS, ("subject", "cycle"))
        gone = recording.rows_of(withdraw_cycles, ("subject", "cycle"), ("subject", "cycle"))
        dropped = [int(number) for number in withdraw]
        changes = {str(read_id(name)): dict(new) for name, new in (subjects or {}).items()}

        def work(write: Write) -> dict[str, Any]:
            for name in sorted({row["subject"] for row in cycles + gone}):
                write.known_subject(name)
            ids = recording.amend_results(write, scalars, dropped)
            count = recording.add_cycles(write, cycles, amend=True) + recording.withdraw_cycles(write, gone)
            for name, new in changes.items():
                lifecycle.amend(write, read_id(name), new)
            return {"results": ids, "cycles": count}

        content = [scalars, cycles, gone, dropped, changes]
        return dict(self._write("amend", content, work, key=key, at=at, by=by, why=why))

    # ---- files -----------------------------------------------------------------------------------------------------
    def register_file(
        self,
        campaign: str,
        content_sha256: str,
        *,
        name: str,
        size: int,
        at: datetime,
        by: str,
        subject: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> bool:
        """Note that a file was taken in. Its content is its identity: renamed, copied or touched, it is the same file.

        Returns:
            True if it is new, False if the campaign knew it (nothing is changed then).
        """
        return lifecycle.register_file(
            self._engine, campaign, content_sha256, name=name, size=size, at=at, by=by, subject=subject, details=details
        )

    def assign_file(
        self,
        campaign: str,
        content_sha256: str,
        subject: str | None,
        *,
        key: str,
        at: datetime,
        by: str,
        why: str | None = None,
    ) -> None:
        """Say what a file belongs to; None makes it unassigned again."""
        target = None if subject is None else str(read_id(subject))

        def work(write: Write) -> None:
            lifecycle.assign_file(write, campaign, content_sha256, target)

        self._write("assign_file", [content_sha256, target], work, key=key, at=at, by=by, why=why, campaign=campaign)

    def _write(
        self,
        verb: str,
        content: Any,
        work: Callable[[Write], Any],
        *,
        key: str,
        at: datetime,
        by: str,
        why: str | None = None,
        campaign: str | None = None,
        lease: Lease | None = None,
    ) -> Any:
        checks = [] if lease is None else [lambda connection: leases.check_fence(connection, lease)]
        return write(
            self._engine, verb, content, work, key=key, at=at, by=by, why=why, campaign=campaign, checks=checks
        )
